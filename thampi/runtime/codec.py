"""Bytes of a bundle in fewer bytes: each part a Zstandard frame of its own, made and undone without the others.

Zstandard is in Python's library from 3.14 on (PEP 784) and comes as `backports.zstd` before; it is imported when
there is something to compress or decompress, and not before.
"""

import sys
from typing import Any

from thampi.errors import BundleError

NONE = "none"
ZSTD = "zstd"

_LEVEL = 3
# 256 KiB. The memory of a decompression is the window, for each thread; and what fits a processor's own cache comes
# out faster (3.0 against 2.0 GB/s with the level's own 2 MiB, for 5 % more bytes).
_WINDOW_LOG = 18

_FED = 64 * 1024  # what goes in at a time: zstd keeps a copy of what it hasn't used yet
_TAKEN = 128 * 1024  # what comes out at a time


def compress(data: Any) -> bytes:
    """Return the bytes of any buffer as one frame; raises BundleError when there is no Zstandard here."""
    zstd = _zstd()
    options = {
        zstd.CompressionParameter.compression_level: _LEVEL,
        zstd.CompressionParameter.window_log: _WINDOW_LOG,
    }
    frame: bytes = zstd.compress(data, options=options)
    return frame


def decompress_into(stored: memoryview, targets: list[memoryview]) -> None:
    """Fill `targets`, one after the other, with the content of the one frame in `stored`.

    Raises ValueError when that is no frame, or one of more or fewer bytes than the targets take: they hold anything
    then. Raises BundleError when there is no Zstandard here.
    """
    zstd = _zstd()
    frame = zstd.ZstdDecompressor()
    free = sum(len(target) for target in targets)
    rest = iter(targets)
    target = memoryview(b"")
    try:
        while not frame.eof:
            if frame.needs_input and not stored:
                raise ValueError("the frame ends too early")
            fed, stored = (stored[:_FED], stored[_FED:]) if frame.needs_input else (stored[:0], stored)
            piece = memoryview(frame.decompress(fed, max_length=_TAKEN))
            free -= len(piece)
            if free < 0:
                raise ValueError("the frame holds more than it should")
            while piece:
                if not target:
                    target = next(rest)
                count = min(len(target), len(piece))
                target[:count] = piece[:count]
                target, piece = target[count:], piece[count:]
    except zstd.ZstdError as error:
        raise ValueError(str(error)) from error
    if free or stored or frame.unused_data:
        raise ValueError("the frame holds less than it should" if free else "something follows the frame")


def _zstd() -> Any:
    try:
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
    except ImportError as error:
        raise BundleError(
            f"the model is compressed, and Zstandard can't be imported here: {error}",
            hint="pip install backports.zstd, or add it to the dependency file and build again",
        ) from error
    return zstd
