"""The runtime interface client, as we use it: events and answers by orjson, and a stand-in for a slow start."""

import time
from typing import Any

import orjson
from awslambdaric.lambda_runtime_client import LambdaRuntimeClient

from .control import ModelFailed
from .stand_in import Handle, StandIn


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


class Client(LambdaRuntimeClient):  # type: ignore[misc]
    """Asks Lambda for events; where a stand-in took one, that is the next."""

    marshaller = Marshaller()

    def __init__(self, address: str, stand_in: StandIn | None) -> None:
        # False: no thread for each wait, which costs more than all the rest of a small request.
        super().__init__(address, False)
        self._stand_in = stand_in
        if stand_in is not None:
            stand_in.connect(super().wait_next_invocation, self._answer)

    def wait_next_invocation(self) -> Any:
        """Return the next event."""
        if self._stand_in is not None:
            taken, self._stand_in = self._stand_in.taken(), None
            if taken is not None:
                return taken
        return super().wait_next_invocation()

    def _answer(self, event: Any, handle: Handle) -> None:
        """Answer an event beside the loop of the interface client, which the main thread is not in yet."""
        ids = (event.invocation_id,) if hasattr(event, "invocation_id") else ()  # awslambdaric 4.1 and later
        try:
            asked = self.marshaller.unmarshal_request(event.event_body)
            body, kind = self.marshaller.marshal_response(handle(asked, _Invocation(event)))
        except ModelFailed as failure:  # a direct caller's function error
            said = orjson.dumps({"errorType": type(failure).__name__, "errorMessage": str(failure), "stackTrace": []})
            self.post_invocation_error(event.invoke_id, said.decode(), "", *ids)
        else:
            self.post_invocation_result(event.invoke_id, body, kind, *ids)


class _Invocation:
    """What Lambda says of one call, in the words of awslambdaric's LambdaContext."""

    def __init__(self, event: Any) -> None:
        self.aws_request_id, self._deadline_ms = str(event.invoke_id), int(event.deadline_time_in_ms)

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds until Lambda ends the call."""
        return max(0, self._deadline_ms - int(time.time() * 1000))
