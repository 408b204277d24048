"""An endpoint of this process for a browser to open."""

import contextlib
import json
from collections.abc import Iterator

from tests.handler.inprocess import Invocation, Served
from thampi.local import invoked
from thampi.local.front import Front


@contextlib.contextmanager
def serving(served: Served) -> Iterator[str]:
    """Answer HTTP with an application of this process; yield the address of its page."""

    def invoke(payload: bytes) -> invoked.Invoked:
        answer = served.application.handle(json.loads(payload), Invocation())
        return invoked.answered(answer if isinstance(answer, bytes) else json.dumps(answer).encode())

    front = Front(0)
    try:
        with front.serving(invoke):
            yield f"http://127.0.0.1:{front.port}/iris"
    finally:
        front.close()
