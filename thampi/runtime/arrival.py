"""One file of a bundle on its way into memory: where its bytes belong, and which of its parts are there and checked.

The bytes may come in any order and in pieces of any size. A part is complete when its last byte has come: then it is
hashed in the memory that it will be used from, decompressed into its place when it was compressed, and only then does
anybody get to see it.
"""

import bisect
import hashlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from thampi.errors import BundleError
from thampi.runtime import codec, decompressing, memory
from thampi.runtime.bundle import Part


class Arrival:
    """Takes the bytes of one file, on any number of threads, and says when a part of it can be used."""

    def __init__(
        self,
        parts: Sequence[Part],
        room: Callable[[Part], list[memoryview]] | None,
        where: str,
        decompress: Callable[[memoryview, list[memoryview]], None] = codec.decompress_into,
    ) -> None:
        self._parts, self._room, self._where, self._decompress = parts, room, where, decompress
        self._begins = [0]  # of each part in the file, and where the last one ends
        for part in parts:
            self._begins.append(self._begins[-1] + part.stored)
        self._under_way: dict[int, _Piece] = {}
        self._scratch: list[memoryview] = []  # to be used again: for compressed parts, and for what is only checked
        self._done = bytearray(len(parts))
        self.waited_s = 0.0  # that the one who takes the parts has waited for them
        self._changed = threading.Condition()
        self._failure: BaseException | None = None

    @property
    def size(self) -> int:
        """Return the size of the file in bytes, compressed as it is."""
        return self._begins[-1]

    def views(self, begin: int, end: int) -> list[memoryview]:
        """Return where the bytes from `begin` on belong: up to `end`, or to where their part ends."""
        number = self._part_at(begin)
        with self._changed:
            if number not in self._under_way:
                self._under_way[number] = self._begin(self._parts[number])
            views = self._under_way[number].views
        start = self._begins[number]
        return _cut(views, begin - start, min(end, self._begins[number + 1]) - start)

    def arrived(self, begin: int, end: int) -> None:
        """Take note that these bytes of one part are in their place.

        Raises BundleError when the part is complete now, and is not the one that was saved.
        """
        number = self._part_at(begin)
        with self._changed:
            piece = self._under_way[number]
            piece.missing -= end - begin
            if piece.missing:
                return
            del self._under_way[number]
        self._finish(self._parts[number], piece)
        with self._changed:
            self._done[number] = 1
            self._changed.notify_all()

    def wait_for(self, number: int) -> None:
        """Return when a part is there and checked; raise what keeps it from coming."""
        if self._done[number]:
            return
        began = time.perf_counter()
        with self._changed:
            while not self._done[number]:
                if self._failure is not None:
                    raise self._failure
                self._changed.wait()
        self.waited_s += time.perf_counter() - began

    def fail(self, failure: BaseException) -> None:
        """Have those who wait raise this."""
        with self._changed:
            self._failure = self._failure or failure
            self._scratch.clear()
            self._changed.notify_all()

    def _part_at(self, place: int) -> int:
        return bisect.bisect_right(self._begins, place) - 1

    def _begin(self, part: Part) -> "_Piece":
        if self._room is not None and part.codec == codec.NONE:
            return _Piece(self._room(part), part.stored)
        scratch = self._scratch.pop() if self._scratch else memoryview(b"")
        if len(scratch) < part.stored:
            scratch = memory.allocate(part.stored)
        return _Piece([scratch[: part.stored]], part.stored, scratch)

    def _finish(self, part: Part, piece: "_Piece") -> None:
        digest = hashlib.sha256()
        for view in piece.views:
            digest.update(view)
        if digest.hexdigest() != part.sha256:
            raise damaged(self._where, part, "its bytes are not those that were saved")
        if piece.scratch is None:
            return
        if self._room is not None:
            with self._changed:
                targets = self._room(part)
            try:
                self._decompress(piece.views[0], targets)
            except ValueError as error:
                raise damaged(self._where, part, str(error)) from error
        with self._changed:
            # As the model grows in memory, what is under way must get less: what isn't needed at once is given back.
            if len(self._scratch) < decompressing.AT_ONCE and self._failure is None:
                self._scratch.append(piece.scratch)


@dataclass
class _Piece:
    """A part of which not all bytes have come."""

    views: list[memoryview]
    missing: int
    scratch: memoryview | None = None  # where the views are not the place that its content belongs


def damaged(where: str, part: Part, how: str) -> BundleError:
    """Return the failure of a part that is not as it was saved."""
    return BundleError(
        f"the saved model in {where} is damaged: {how} ({part.file}, at byte {part.offset})",
        hint="copy it again from where it was saved, or save it again; nothing of that part was used",
    )


def _cut(views: Sequence[memoryview], begin: int, end: int) -> list[memoryview]:
    """Return what lies between two places, counted from the start of the first view."""
    found, place = [], 0
    for view in views:
        piece = view[max(begin - place, 0) : max(end - place, 0)]
        if piece:
            found.append(piece)
        place += len(view)
    return found
