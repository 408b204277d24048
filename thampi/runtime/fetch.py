"""Bytes of a bundle from a folder or from S3 into their final place, each part checked before anyone sees it.

A part is hashed in the memory that it will be used from: what was checked is what is unpickled.
"""

import contextlib
import hashlib
import io
import mmap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, TypeAlias, cast

from thampi.errors import BundleError
from thampi.runtime.bundle import PART_SIZE, About, Part
from thampi.runtime.s3 import Prefix

Source: TypeAlias = Path | Prefix

_SMALL = 128 * 1024
_HUGE_PAGES_PAY = 4 * 1024 * 1024


def check(folder: Source, about: About) -> None:
    """Raise BundleError when a file of the bundle isn't there in full, before anything of it is used."""
    if isinstance(folder, Prefix):  # the manifest was uploaded last, and each part has its hash: no request for this
        return
    for role, known in about.files.items():
        with _open(folder, about, role) as file:
            size = file.seek(0, io.SEEK_END)
        if size != known.size:
            raise BundleError(
                f"the saved model in {folder} is damaged: {known.name} has {size} bytes, and {known.size} were saved",
                hint="copy it again from where it was saved, or save it again",
            )


def pickle_stream(folder: Source, about: About) -> BinaryIO:
    """Return the in-band pickle as a file; reading it raises BundleError at the first part that is not as saved."""
    raw = _CheckedParts(_open(folder, about, "pickle"), about.parts_of("pickle"), folder)
    return cast(BinaryIO, io.BufferedReader(raw, PART_SIZE))


def buffers(folder: Source, about: About) -> Iterator[memoryview]:
    """Yield the out-of-band buffers in order, each in writable memory of its own that only the receiver keeps alive."""
    if not about.buffers:
        return
    parts = iter(about.parts_of("buffers"))
    arrived = 0
    waiting: dict[int, memoryview] = {}  # the buffers that a part has begun and no reader has asked for
    with _open(folder, about, "buffers") as file:
        for number, (offset, size) in enumerate(about.buffers):
            while arrived < offset + size:
                part = next(parts)
                _fill(file, part, _targets(about.buffers, part, waiting, number), folder)
                arrived = part.offset + part.size
            yield waiting.pop(number, memoryview(b""))


def allocate(size: int) -> memoryview:
    """Return zeroed, writable memory: large pieces as a mapping of their own, given back as soon as it is dropped."""
    if size < _SMALL:
        return memoryview(bytearray(size))
    if not hasattr(mmap, "MAP_PRIVATE"):  # Windows
        return memoryview(mmap.mmap(-1, size))
    # Python's default would be shared memory, which the kernel gives no huge pages.
    piece = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if size >= _HUGE_PAGES_PAY and hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a kernel without them: slower, not wrong
            piece.madvise(mmap.MADV_HUGEPAGE)
    return memoryview(piece)


def _open(folder: Source, about: About, role: str) -> BinaryIO:
    if isinstance(folder, Prefix):
        return folder.open(about.files[role].name, about.files[role].size)
    path = folder / about.files[role].name
    try:
        file = path.open("rb", buffering=0)
    except OSError as error:
        raise BundleError(
            f"{path} is missing from the saved model ({error.strerror})",
            hint="save the model again, or copy the whole folder",
        ) from error
    return cast(BinaryIO, file)


def _targets(
    layout: Sequence[tuple[int, int]], part: Part, waiting: dict[int, memoryview], number: int
) -> list[memoryview]:
    """Return where the bytes of a part belong, in order; the padding between buffers goes to scratch."""
    targets = []
    place, end = part.offset, part.offset + part.size
    while place < end:
        offset, size = layout[number] if number < len(layout) else (end, 0)
        if place >= offset + size and number < len(layout):
            number += 1
        elif place < offset:
            until = min(offset, end)
            targets.append(memoryview(bytearray(until - place)))
            place = until
        else:
            if number not in waiting:
                waiting[number] = allocate(size)
            until = min(offset + size, end)
            targets.append(waiting[number][place - offset : until - offset])
            place = until
    return targets


def _fill(file: BinaryIO, part: Part, targets: list[memoryview], folder: Source) -> None:
    """Read one part into its targets and check it there."""
    digest = hashlib.sha256()
    for target in targets:
        done = 0
        while done < len(target):
            count = cast(io.RawIOBase, file).readinto(target[done:])
            if not count:
                raise _damaged(part, folder, "it ends too early")
            done += count
        digest.update(target)
    if digest.hexdigest() != part.sha256:
        raise _damaged(part, folder, "its bytes are not those that were saved")


def _damaged(part: Part, folder: Source, how: str) -> BundleError:
    return BundleError(
        f"the saved model in {folder} is damaged: {how} ({part.file}, at byte {part.offset})",
        hint="copy it again from where it was saved, or save it again; nothing of that part was used",
    )


class _CheckedParts(io.RawIOBase):
    """A file read part by part, of which only checked bytes come out."""

    def __init__(self, file: BinaryIO, parts: Sequence[Part], folder: Source) -> None:
        super().__init__()
        self._file, self._parts, self._folder = file, iter(parts), folder
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, wanted: memoryview) -> int:  # type: ignore[override]
        if not self._ready:
            part = next(self._parts, None)
            if part is None:
                return 0
            if len(wanted) >= part.size:  # the unpickler fills something large: no copy between
                _fill(self._file, part, [wanted[: part.size]], self._folder)
                return part.size
            self._ready = memoryview(bytearray(part.size))
            _fill(self._file, part, [self._ready], self._folder)
        count = min(len(wanted), len(self._ready))
        wanted[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count

    def close(self) -> None:
        self._file.close()
        super().close()
