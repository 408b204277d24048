"""Asks Lambda for the first event while the main thread still loads the model, so that the init ends in time.

An init of more than 10 s is thrown away, and begun again within the first request
(https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html). Lambda takes it to be over when the
runtime asks for an event; so shortly before those 10 s a thread does that, and the loading goes on under the first
request, whose event is handed to the main thread as soon as the model is there.

The main thread keeps all that is the model's: imports, unpickling, `initialize` and `predict` run on it, one after the
other, as they would without a stand-in. A connection that SQLite ties to its thread, thread-local settings (torch's
gradients, scikit-learn's configuration), signal handlers and an event loop made in `initialize` work as people expect.
A library whose import holds Python's lock for long (a large shared object on a cold disk) holds up the thread as well.
"""

import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeAlias

INIT_ENDS_S = 9.5  # after the process's start
_MARGIN_MS = 1000  # before the event's deadline: for the answer that says so

Event: TypeAlias = Any  # awslambdaric's InvocationRequest
Handle: TypeAlias = Callable[[Any, Any], Any]  # Application.handle


class StandIn:
    """Takes events as long as the model is not there."""

    def __init__(self, after_s: float, margin_ms: float = _MARGIN_MS) -> None:
        """Begin to ask `after_s` seconds from now, unless the loading is over by then."""
        self._at = time.monotonic() + after_s
        self._margin_s = margin_ms / 1000
        self._over, self._asking, self._lock = threading.Event(), False, threading.Lock()
        self._ask: Callable[[], Event] | None = None
        self._answer: Callable[[Event, Handle], None] | None = None
        self._taken: SimpleQueue[Event | Exception] = SimpleQueue()

    def connect(self, ask: Callable[[], Event], answer: Callable[[Event, Handle], None]) -> None:
        """Say how: `ask` waits for an event, `answer` has a handler answer it, and sends that."""
        self._ask, self._answer = ask, answer

    def begin(self, handle: Handle, at_once: Callable[[Event], bool]) -> None:
        """Stand in from now on.

        `handle` answers what can't wait, without the model: an event for which `at_once` is true, and one whose
        deadline comes too near. Does nothing where nobody connected it.
        """
        if self._ask is not None:
            threading.Thread(target=self._work, args=(handle, at_once), name="stand-in", daemon=True).start()

    def end(self) -> None:
        """Say that the loading is over, whatever came of it: from now on the main thread takes the events."""
        with self._lock:
            self._over.set()

    def taken(self) -> Event | None:
        """Return the event that was taken and not answered, None when there was none; to be asked after `end`."""
        if not self._asking:
            return None
        self._asking = False
        event = self._taken.get()  # it may still be asking, and two that ask at once would take two events
        if isinstance(event, Exception):
            raise event
        return event

    def _work(self, handle: Handle, at_once: Callable[[Event], bool]) -> None:
        if self._over.wait(max(0.0, self._at - time.monotonic())):
            return
        with self._lock:
            if self._over.is_set():
                return
            self._asking = True
        assert self._ask is not None
        assert self._answer is not None
        try:
            while True:
                event = self._ask()
                if self._over.wait(0 if at_once(event) else self._patience_s(event)):
                    self._taken.put(event)
                    return
                self._answer(event, handle)
        except Exception as error:
            self._taken.put(error)

    def _patience_s(self, event: Event) -> float:
        left_s = int(event.deadline_time_in_ms) / 1000 - time.time()
        return max(0.0, left_s - self._margin_s)
