"""Bytes of a model go to the files of a bundle: in parts, each with its hash; the large buffers beside the pickle."""

import hashlib
import pickle
import sys
from concurrent.futures import Executor, wait
from typing import Any, BinaryIO

from thampi.errors import BundleError
from thampi.runtime.bundle import ALIGNMENT, PART_SIZE, Part

# Below this an array stays in the pickle: a mapping for each would cost more than the copy that it saves, and one
# small array that lives on would pin the large ones that share its part.
OUT_OF_BAND = 16 * 1024

_PIECE = 1024 * 1024  # what of a scattered array is put in order at a time
_WORTH_A_THREAD = 256 * 1024


class Parts:
    """A file to write to whose every PART_SIZE bytes get a hash of their own, made beside the writing."""

    def __init__(self, file: BinaryIO, role: str, beside: Executor) -> None:
        self._file, self._role, self._beside = file, role, beside
        self._digest, self._begun = hashlib.sha256(), 0
        self._ended: list[tuple[int, int, hashlib._Hash]] = []
        self.size = 0

    def write(self, data: Any) -> int:
        """Write all of `data`; raise BundleError when the disk won't have it."""
        view = memoryview(data).cast("B")
        written = len(view)
        hashing = []
        try:
            while view:
                piece = view[: PART_SIZE - (self.size - self._begun)]
                if len(piece) < _WORTH_A_THREAD:
                    self._digest.update(piece)
                else:  # each piece is of another part, so they don't wait for each other
                    hashing.append(self._beside.submit(self._digest.update, piece))
                self._put(piece)
                self.size += len(piece)
                view = view[len(piece) :]
                if self.size - self._begun == PART_SIZE:
                    self._end_part()
        finally:
            wait(hashing)  # after that the memory is the caller's again
        return written

    def finish(self) -> list[Part]:
        """Return the parts of all that was written."""
        if self.size > self._begun:
            self._end_part()
        return [
            Part(self._role, offset, size, size, "none", digest.hexdigest()) for offset, size, digest in self._ended
        ]

    def _put(self, piece: memoryview) -> None:
        try:
            self._file.write(piece)
        except OSError as error:  # of all that can fail while pickling, this is not the model's fault
            raise BundleError(
                f"can't write {self._file.name}: {error.strerror}", hint="check the folder's permissions and space"
            ) from error

    def _end_part(self) -> None:
        self._ended.append((self._begun, self.size - self._begun, self._digest))
        self._digest, self._begun = hashlib.sha256(), self.size


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
