"""Passes a log on, and keeps the end of it for the failure that it may explain."""

import time
from collections import deque
from collections.abc import Callable

_KEPT = 20
_LAG_S = 0.5  # a log comes a little later than the answer to which it belongs, on a busy machine more than a little


class LastLines:
    """The end of a log."""

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log, self._kept, self._changed = log, deque[str](maxlen=_KEPT), time.monotonic()

    def add(self, line: str) -> None:
        """Pass on a line, and keep it."""
        self._changed = time.monotonic()
        if line.strip():
            self._kept.append(line)
        self._log(line)

    def shown(self) -> str:
        """Return them indented, each after a line break, once no more of them come."""
        asked = time.monotonic()
        while time.monotonic() < min(asked + 2, max(asked, self._changed) + _LAG_S):
            time.sleep(0.02)
        return "".join(f"\n  {line}" for line in list(self._kept))
