"""Start the model load, then the runtime interface client."""

import os
import sys
from typing import Any

import orjson
from awslambdaric import bootstrap
from awslambdaric.lambda_runtime_client import LambdaRuntimeClient

from . import settings as environment
from .app import Application
from .startup import Startup


class _Marshaller:
    """Events and answers by orjson: awslambdaric's own simplejson takes 36 times as long for an array of floats."""

    def unmarshal_request(self, request: bytes, content_type: str | None = "application/json") -> Any:
        """Return the event; one that isn't JSON goes on as it is, to be refused by name."""
        try:
            return orjson.loads(request)
        except orjson.JSONDecodeError:
            return request

    def marshal_response(self, response: Any) -> tuple[bytes, str]:
        """Return the response's bytes; those of a direct answer are JSON already."""
        return response if isinstance(response, bytes) else orjson.dumps(response), "application/json"


def _fail_init(client: LambdaRuntimeClient, failure: Exception) -> None:
    client.post_init_error({"errorMessage": str(failure), "errorType": type(failure).__name__, "stackTrace": []})
    sys.exit(1)


if __name__ == "__main__":
    _settings = environment.read(os.environ)
    _startup = Startup(_settings)
    _startup.begin()
    LambdaRuntimeClient.marshaller = _Marshaller()
    _client = LambdaRuntimeClient(os.environ["AWS_LAMBDA_RUNTIME_API"], False)
    if _startup.failure is not None and _settings.waits_for_init:
        _fail_init(_client, _startup.failure)
    handle = Application(_settings, _startup).handle
    bootstrap.run("__main__.handle", _client)
