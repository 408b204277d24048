"""Threads that decompress what others receive: as few as there are processors, however many connections there are.

A thread that allocates has an arena of malloc's of its own, which keeps what is given back to it: about 1 MiB here.
Sixteen connections that decompressed for themselves would keep sixteen of them for as long as the process lives.
"""

import os
import threading
from collections import deque
from dataclasses import dataclass, field

from thampi.runtime import codec

AT_ONCE = max(2, os.cpu_count() or 1)


@dataclass
class _Work:
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


class Decompressors:
    """Takes work from any number of threads; its own begin with the first of it, and end by `stop`."""

    def __init__(self) -> None:
        self._todo: deque[_Work] = deque()
        self._changed = threading.Condition()
        self._threads = 0
        self._stopped = False

    def fill(self, stored: memoryview, targets: list[memoryview]) -> None:
        """Fill `targets` with the content of the frame in `stored`; return then, or raise as codec does."""
        work = _Work(stored, targets)
        with self._changed:
            if self._threads < AT_ONCE and not self._stopped:
                threading.Thread(target=self._work, name=f"decompress-{self._threads}", daemon=True).start()
                self._threads += 1
            beside = not self._stopped
            if beside:
                self._todo.append(work)
                self._changed.notify()
        if not beside:  # somebody gave up; who still has something in hand ends it by itself
            work.do()
        work.done.wait()
        if work.failure is not None:
            raise work.failure

    def stop(self) -> None:
        """Let the threads end when they have done what they were given."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._todo:
                    if self._stopped:
                        return
                    self._changed.wait()
                work = self._todo.popleft()
            work.do()
            del work  # or it would hold the memory until there is more to do
