"""Ctrl-C, SIGTERM and a closed terminal are one thing: an interruption, which comes once."""

import contextlib
import signal
import threading
from collections.abc import Iterator

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")


class Interruption:
    """The interruption that may come; it waits while somebody holds it."""

    def __init__(self) -> None:
        self._is_held, self._is_waiting = False, False
        self._before = {
            number: signal.getsignal(number) for name in _NAMES if (number := getattr(signal, name, None)) is not None
        }

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Let the block finish first; for what can't be undone when it is cut off in the middle."""
        self._is_held = True
        try:
            yield
        finally:
            self._is_held = False
            if self._is_waiting:
                raise KeyboardInterrupt

    def expect(self) -> None:
        """Have the signals raise KeyboardInterrupt; those that nohup ignores stay ignored."""
        for number, handler in self._before.items():
            if number == signal.SIGINT or handler != signal.SIG_IGN:
                signal.signal(number, self._come)

    def restore(self) -> None:
        """Have the signals do again what they did."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _come(self, number: int, frame: object) -> None:
        for each in self._before:
            signal.signal(each, signal.SIG_IGN)
        if not self._is_held:
            raise KeyboardInterrupt
        self._is_waiting = True


@contextlib.contextmanager
def once() -> Iterator[Interruption]:
    """Raise KeyboardInterrupt at the first of the signals in the block; then nothing interrupts the clearing away."""
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption  # only the main thread has a say in signals
        return
    interruption.expect()
    try:
        yield interruption
    finally:
        interruption.restore()
