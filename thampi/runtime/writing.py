"""Bytes of a model go to the files of a bundle: in parts, compressed where it pays, each with its hash.

What is slow about a part, its compression and its hash, is done beside the writing of those before it.
"""

import contextlib
import hashlib
import os
import pickle
import sys
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Executor, Future, wait
from typing import Any, BinaryIO

from thampi.errors import BundleError
from thampi.runtime import codec, forgetting
from thampi.runtime.bundle import ALIGNMENT, PART_SIZE, Part

# Below this an array stays in the pickle: a mapping for each would cost more than the copy that it saves, and one
# small array that lives on would pin the large ones that share its part.
OUT_OF_BAND = 16 * 1024

# A part is compressed when it shrinks to two thirds: with less to save, a network as fast as Lambda's at its best
# brings the bytes as soon as a processor would have decompressed them.
PAYS_FROM = 1.5

_TOO_SMALL_TO_COMPRESS = 1024 * 1024  # so many bytes come in the time that the import of Zstandard takes
_SAMPLES = 3
_SAMPLE = 32 * 1024
_PROMISING_FROM = 1.35  # less than PAYS_FROM: the whole has more to refer back to than a sample

_PIECE = 1024 * 1024  # what of a scattered array is put in order at a time
_AHEAD = 4  # parts that may be ready or under way before the one that is written next

# Bytes after which the disk begins with them: the kernel would leave most of them to the `fsync` at the end, and the
# disk would have little to do until then.
_DISK_BEGINS_AT = 64 * 1024 * 1024


class Parts:
    """A file to write to in parts of PART_SIZE bytes, of which no more than a few are held at a time."""

    def __init__(self, file: BinaryIO, role: str, beside: Executor) -> None:
        self._file, self._role, self._beside = file, role, beside
        self._filling = bytearray()
        self._under_way: deque[tuple[int, Future[tuple[Any, str, str]]]] = deque()
        self._ended: list[Part] = []
        self._unsaid = 0  # bytes written that the disk was not told to keep
        self._syncing: Future[None] | None = None
        self.name = file.name
        self.size = 0  # of the content

    def write(self, data: Any) -> int:
        """Take all of `data`, whose memory is the caller's again afterwards.

        Raises BundleError when the disk won't have it.
        """
        view = memoryview(data).cast("B")
        written = len(view)
        lent = False
        try:
            while view:
                if not self._filling and len(view) >= PART_SIZE:  # a whole part: it needs no copy
                    piece, lent = view[:PART_SIZE], True
                    self._prepare(piece)
                else:
                    piece = view[: PART_SIZE - len(self._filling)]
                    self._fill(piece)
                self.size += len(piece)
                view = view[len(piece) :]
            while lent and self._under_way:
                self._write_next()
        except BaseException:
            wait([future for _, future in self._under_way])
            if self._syncing is not None:
                wait([self._syncing])
            self._under_way.clear()
            raise
        return written

    def finish(self) -> list[Part]:
        """Return the parts of all that was written."""
        if self._filling:
            self._prepare(self._filling)
        while self._under_way:
            self._write_next()
        if self._syncing is not None:
            with _disk_is_to_blame(self.name):
                self._syncing.result()
        return self._ended

    def _fill(self, piece: memoryview) -> None:
        self._filling += piece
        if len(self._filling) == PART_SIZE:
            self._prepare(self._filling)
            self._filling = bytearray()

    def _prepare(self, content: Any) -> None:
        if len(self._under_way) == _AHEAD:
            self._write_next()
        self._under_way.append((len(content), self._beside.submit(_stored, content)))

    def _write_next(self) -> None:
        size, future = self._under_way.popleft()
        stored, how, sha256 = future.result()
        with _disk_is_to_blame(self.name):
            self._file.write(stored)
            self._have_the_disk_begin(len(stored))
        offset = self._ended[-1].offset + self._ended[-1].size if self._ended else 0
        self._ended.append(Part(self._role, offset, size, len(stored), how, sha256))

    def _have_the_disk_begin(self, count: int) -> None:
        """Have the disk write, beside us, what has been written so far; raise OSError when the last time failed."""
        self._unsaid += count
        if self._unsaid < _DISK_BEGINS_AT or not hasattr(os, "fdatasync"):
            return
        if self._syncing is not None:
            if not self._syncing.done():
                return
            self._syncing.result()  # whoever syncs next is not told again
        self._unsaid = 0
        self._syncing = self._beside.submit(os.fdatasync, self._file.fileno())


@contextlib.contextmanager
def _disk_is_to_blame(name: str) -> Iterator[None]:
    """Of all that can fail while pickling, this is not the model's fault."""
    try:
        yield
    except OSError as error:
        raise BundleError(
            f"can't write {name}: {error.strerror}", hint="check the folder's permissions and space"
        ) from error


def _stored(content: Any) -> tuple[Any, str, str]:
    """Return the bytes to keep for the content of a part, their codec and their hash."""
    kept, how = content, codec.NONE
    if _promises_to_shrink(content):
        frame = codec.compress(content)
        if len(frame) * PAYS_FROM <= len(content):
            kept, how = frame, codec.ZSTD
    return kept, how, hashlib.sha256(kept).hexdigest()


def _promises_to_shrink(content: Any) -> bool:
    """Compress a little of the beginning, the middle and the end: most arrays are as good as random."""
    if len(content) < _TOO_SMALL_TO_COMPRESS:
        return False
    view = memoryview(content)
    step = (len(view) - _SAMPLE) // (_SAMPLES - 1)
    samples = b"".join(view[step * number :][:_SAMPLE] for number in range(_SAMPLES))
    return len(codec.compress(samples)) * _PROMISING_FROM <= len(samples)


class InBand:
    """Takes the pickle itself and holds it back in `held`, a file, until it is whole."""

    def __init__(self, parts: Parts, held: BinaryIO) -> None:
        self._parts, self._held = parts, held

    def write(self, data: Any) -> int:
        """Take the next bytes of the pickle; raises BundleError when the disk won't have them."""
        with _disk_is_to_blame(self._parts.name):
            return self._held.write(data)

    def finish(self) -> list[Part]:
        """Write what was held back, without what nobody needs of it; return the parts of the file."""
        self._held.seek(0)
        forgetting.forget(self._held, self._parts.write)
        return self._parts.finish()


class Buffers:
    """Takes the large buffers as the pickler meets them and writes them at once: none is held or copied."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.layout: list[tuple[int, int]] = []
        self._stand_ins: dict[int, tuple[pickle.PickleBuffer, Any]] = {}

    def __call__(self, buffer: pickle.PickleBuffer) -> bool:
        """Take a buffer, or say True, so that its bytes go into the pickle."""
        if id(buffer) in self._stand_ins:
            self._write_in_order(self._stand_ins[id(buffer)][1])
            return False
        with buffer.raw() as raw:
            if raw.nbytes < OUT_OF_BAND:
                return True
            self._begin(raw.nbytes)
            self._parts.write(raw)
        return False

    def stand_in(self, array: Any) -> pickle.PickleBuffer:
        """Return what the pickler takes for the bytes of an array that can't give them as they are.

        A copy would do, if the pickler's memo didn't keep it until the end.
        """
        buffer = pickle.PickleBuffer(bytearray() if array.flags.writeable else b"")
        self._stand_ins[id(buffer)] = (buffer, array)
        return buffer

    def _write_in_order(self, array: Any) -> None:
        numpy: Any = sys.modules["numpy"]
        self._begin(array.nbytes)
        pieces = numpy.nditer(
            array,
            flags=["external_loop", "buffered"],
            op_flags=[["readonly", "contig"]],
            order="C",
            buffersize=max(1, _PIECE // array.itemsize),
        )
        for piece in pieces:
            self._parts.write(piece.view(numpy.uint8))

    def _begin(self, size: int) -> None:
        self._parts.write(b"\0" * (-self._parts.size % ALIGNMENT))
        self.layout.append((self._parts.size, size))
