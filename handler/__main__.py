"""Start the runtime interface client, which has the model loaded and then asks Lambda for events."""

import os
import signal
import sys
from typing import Any

import orjson
from awslambdaric import bootstrap
from awslambdaric.lambda_runtime_client import LambdaRuntimeClient


class Marshaller:
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


def main() -> None:
    """Answer events until Lambda ends the process."""
    address = os.environ.get("AWS_LAMBDA_RUNTIME_API")
    if not address:
        sys.exit("AWS_LAMBDA_RUNTIME_API is not set: Lambda, its emulator or `thampi run` start this, and set it")
    # The client waits for events in C, where Python can't act on Ctrl-C: let the kernel do it.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    LambdaRuntimeClient.marshaller = Marshaller()
    # False: no thread for each wait, which costs more than all the rest of a small request.
    bootstrap.run(f"{__package__}.serving.handle", LambdaRuntimeClient(address, False))


if __name__ == "__main__":
    main()
