"""Threads that decompress what others receive: as few as there are processors, however many connections there are.

A thread that allocates has an arena of malloc's of its own, which keeps what is given back to it: about 1 MiB here.
Sixteen connections that decompressed for themselves would keep sixteen of them for as long as the process lives.
"""

import os
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from thampi.runtime import codec

AT_ONCE = max(2, os.cpu_count() or 1)


class Decompressors:
    """Decompresses for those who use it, on threads that begin with the first work and end with the last user."""

    def __init__(self) -> None:
        self._todo: deque[_Work] = deque()
        self._changed = threading.Condition()
        self._users = self._threads = self._idle = 0

    @contextmanager
    def used(self) -> Iterator[None]:
        """Keep the threads while this lasts; they end when nobody does that any more."""
        with self._changed:
            self._users += 1
        try:
            yield
        finally:
            with self._changed:
                self._users -= 1
                self._changed.notify_all()

    def fill(self, stored: memoryview, targets: list[memoryview]) -> None:
        """Fill `targets` with the content of the frame in `stored`; return then, or raise as codec does."""
        work = _Work(stored, targets)
        with self._changed:
            beside = self._has_threads()
            if beside:
                self._todo.append(work)
                self._changed.notify()
        if not beside:
            work.do()
        work.done.wait()
        if work.failure is not None:
            raise work.failure

    def _has_threads(self) -> bool:
        """Begin a thread for one more piece of work, where it needs one; say whether there is any."""
        if self._idle <= len(self._todo) and self._threads < AT_ONCE:
            with suppress(RuntimeError):  # no more threads can be had here
                threading.Thread(target=self._work, name=f"decompress-{self._threads}", daemon=True).start()
                self._threads += 1
        return self._threads > 0

    def _work(self) -> None:
        while (work := self._next()) is not None:
            work.do()
            del work  # or it would hold the memory until there is more to do

    def _next(self) -> "_Work | None":
        with self._changed:
            self._idle += 1
            while not self._todo and self._users:
                self._changed.wait()
            self._idle -= 1
            if self._todo:
                return self._todo.popleft()
            self._threads -= 1
            return None


@dataclass
class _Work:
    """One frame to decompress, and what came of it."""

    stored: memoryview
    targets: list[memoryview]
    done: threading.Event = field(default_factory=threading.Event)
    failure: BaseException | None = None

    def do(self) -> None:
        try:
            codec.decompress_into(self.stored, self.targets)
        except BaseException as error:
            self.failure = error
        self.done.set()
