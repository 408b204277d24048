"""What an image installs, down to each file's hash; the same on every machine that has the same thampi.lock."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Distribution:
    """One distribution of the answer."""

    name: str  # canonical
    version: str
    has_wheel: bool = True  # for the image's Python and platform; else it is built inside the image
    size: int = 0  # bytes to download; 0: unknown


@dataclass(frozen=True)
class Resolved:
    """What is installed. `requirements` are lines with hashes, complete: installed with --no-deps.

    A wheel that was made on this machine is named by its place in the build instead, and by what it was made from.
    """

    requirements: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()  # conda's: URL#sha256, in the order of installation
    distributions: tuple[Distribution, ...] = ()
    # Wheels and conda packages that no build can fetch, by file name; a large one is where it lies.
    shipped: Mapping[str, bytes | Path] = field(default_factory=dict, repr=False)
    needed: tuple[str, ...] = ()  # the file names that have to be shipped; those of a lock are still to be found
    notes: tuple[str, ...] = ()
