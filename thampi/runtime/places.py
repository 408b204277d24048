"""Where the content of a bundle's files belongs in memory, and how it goes on from there to the unpickler."""

import bisect
import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

from thampi.runtime import memory
from thampi.runtime.bundle import Part

Wait = Callable[[int], None]  # returns when the part of this number is there and checked

_MAPPED_FROM = 128 * 1024  # less is no page of its own, or hardly one


class PickleStream:
    """The in-band pickle as the unpickler reads it: each part in a block of its own, let go of when it was read."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._count = len(parts)
        self._numbers = {part.offset: number for number, part in enumerate(parts)}
        self._blocks: dict[int, memoryview] = {}
        self._next = 0
        self._ready = memoryview(b"")
        self._wait: Wait = lambda number: None

    def room(self, part: Part) -> list[memoryview]:
        """Return where the bytes of a part belong."""
        return [self._blocks.setdefault(self._numbers[part.offset], memory.allocate(part.size))]

    def begin(self, wait: Wait) -> None:
        """Take the parts from here on, each after `wait` for it."""
        self._wait = wait

    def peek(self, size: int) -> bytes:
        """Return some bytes that come next, without going on; the C unpickler looks ahead by this."""
        return bytes(self._ready[:size]) if self._more() else b""

    def read(self, size: int = -1) -> bytes:
        """Return the next `size` bytes, or all that is left."""
        pieces, left = [], size
        while left and self._more():
            piece = bytes(self._ready if size < 0 else self._ready[:left])
            self._ready = self._ready[len(piece) :]
            pieces.append(piece)
            left -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def readinto(self, wanted: memoryview) -> int:
        """Fill `wanted`, and return how much of it: all, but at the end."""
        target = memoryview(wanted).cast("B")
        done = 0
        while done < len(target) and self._more():
            count = min(len(target) - done, len(self._ready))
            target[done : done + count] = self._ready[:count]
            self._ready = self._ready[count:]
            done += count
        return done

    def readline(self) -> bytes:
        """Return the next bytes up to a line feed, with it."""
        line = b""
        while not line.endswith(b"\n") and self._more():
            at = bytes(self._ready[:256]).find(b"\n")
            line += self.read(at + 1 if at >= 0 else min(256, len(self._ready)))
        return line

    def _more(self) -> bool:
        if not self._ready and self._next < self._count:
            self._ready = memoryview(b"")  # the block is let go of before the next one is waited for
            self._wait(self._next)
            self._ready = self._blocks.pop(self._next)
            self._next += 1
        return bool(self._ready)


class Buffers:
    """The out-of-band buffers: each in writable memory of its own that only the receiver keeps alive."""

    def __init__(self, layout: Sequence[tuple[int, int]], parts: Sequence[Part]) -> None:
        self._layout, self._parts = layout, parts
        self._begins = [offset for offset, _ in layout]
        self._waiting: dict[int, memoryview] = {}  # the buffers that a part has begun and no reader has asked for

    def room(self, part: Part) -> list[memoryview]:
        """Return where the bytes of a part belong, in order; the padding between buffers goes to scratch."""
        targets = []
        number = max(bisect.bisect_right(self._begins, part.offset) - 1, 0)
        place, end = part.offset, part.offset + part.size
        while place < end:
            offset, size = self._layout[number] if number < len(self._layout) else (end, 0)
            if place < offset:
                until = min(offset, end)
                targets.append(memoryview(bytearray(until - place)))
            elif place < offset + size:
                until = min(offset + size, end)
                if number not in self._waiting:
                    self._waiting[number] = memory.allocate(size)
                targets.append(self._waiting[number][place - offset : until - offset])
            else:
                until = place
                number += 1
            place = until
        return targets

    def take(self, wait: Wait) -> Iterator[memoryview]:
        """Yield the buffers in order, each as soon as all of its parts are there."""
        for number, _ in enumerate(self._wait_for_each(wait)):
            yield self._waiting.pop(number)

    def map(self, wait: Wait, file: BinaryIO) -> Iterator[memoryview]:
        """Yield the buffers in order, in place in a file that nobody changes."""
        for offset, size in self._wait_for_each(wait):
            yield _mapped(file, offset, size)

    def _wait_for_each(self, wait: Wait) -> Iterator[tuple[int, int]]:
        arrived = number = 0
        for offset, size in self._layout:
            while arrived < offset + size:
                wait(number)
                arrived += self._parts[number].size
                number += 1
            yield offset, size


def _mapped(file: BinaryIO, offset: int, size: int) -> memoryview:
    if size >= _MAPPED_FROM:
        with contextlib.suppress(OSError, ValueError):  # a file system that can't, or more mappings than it may be
            return memory.map_file(file, offset, size)
    found = memory.allocate(size)
    file.seek(offset)
    came = 0
    while came < size:
        came += file.readinto(found[came:])  # type: ignore[attr-defined]
    return found
