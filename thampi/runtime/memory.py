"""Memory that the bytes of a model are received into, and that only what is made from them keeps alive."""

import contextlib
import mmap
from typing import BinaryIO

_SMALL = 128 * 1024
_HUGE_PAGES_PAY = 4 * 1024 * 1024


def allocate(size: int) -> memoryview:
    """Return zeroed, writable memory: large pieces as a mapping of their own, given back as soon as it is dropped.

    Raises MemoryError when there is none.
    """
    if size < _SMALL:
        return memoryview(bytearray(size))
    if not hasattr(mmap, "MAP_PRIVATE"):  # Windows
        return memoryview(mmap.mmap(-1, size))
    try:  # Python's default would be shared memory, which the kernel gives no huge pages
        piece = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError:  # a process may have 65,530 mappings; what the allocator has may still do
        return memoryview(bytearray(size))
    if size >= _HUGE_PAGES_PAY and hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a kernel without them: slower, not wrong
            piece.madvise(mmap.MADV_HUGEPAGE)
    return memoryview(piece)


def map_file(file: BinaryIO, offset: int, size: int) -> memoryview:
    """Return `size` bytes of a file from `offset` on, in place: writable, and what is written stays in this process.

    What nobody writes to is the page cache's own memory. The file must not change meanwhile: a byte that is cut off
    ends the process that looks at it. Raises OSError or ValueError where it can't be mapped.
    """
    begin = offset - offset % mmap.ALLOCATIONGRANULARITY
    piece = mmap.mmap(file.fileno(), offset + size - begin, access=mmap.ACCESS_COPY, offset=begin)
    return memoryview(piece)[offset - begin :]
