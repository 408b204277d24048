"""What an image installs, down to each file's hash; the same on every machine that has the same thampi.lock."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Distribution:
    """One distribution of the answer."""

    name: str  # canonical
    version: str
    has_wheel: bool = True  # for the image's Python and platform; else it is built inside the image
    size: int = 0  # bytes to download; 0: unknown


@dataclass(frozen=True)
class Resolved:
    """What is installed. `requirements` are lines with hashes, complete: installed with --no-deps."""

    requirements: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()  # conda's: URL#sha256, in the order of installation
    distributions: tuple[Distribution, ...] = ()
    shipped: Mapping[str, bytes] = field(default_factory=dict, repr=False)  # wheels, conda packages, by file name
    notes: tuple[str, ...] = ()
