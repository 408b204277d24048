"""What an image is asked to have: values that were read from a dependency file, not yet resolved."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Credentials:
    """Who we are at one host of an index."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class Indexes:
    """Where distributions are looked for, as pip understands it; no URL has credentials in it."""

    index_url: str | None = None  # None: PyPI
    extra_index_urls: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()  # URLs, or absolute folders and files of this machine
    no_index: bool = False
    trusted_hosts: tuple[str, ...] = ()  # whose certificates are not looked at: host, or host:port
    written: tuple[str, ...] = ()  # of all these URLs and folders, those that the dependency file itself names
    credentials: Mapping[str, Credentials] = field(default_factory=dict, repr=False)  # by host
    ca_bundle: Path | None = None  # what vouches for the indexes, where the system's own certificates don't


@dataclass(frozen=True)
class Local:
    """A distribution that an image can't fetch by itself: it is made into a wheel here and shipped."""

    line: str  # as it stands in the file, without credentials; for people
    target: str  # an absolute folder, wheel or sdist of this machine, or git+https://…@revision
    name: str | None = None  # canonical, where it is known
    extras: tuple[str, ...] = ()
    marker: str = ""


@dataclass(frozen=True)
class Channels:
    """What a conda environment asks for."""

    channels: tuple[str, ...]  # names or URLs, in order; "conda-forge" when the file named none
    specs: tuple[str, ...]  # MatchSpecs; python and thampi are not among them
    python: str | None = None  # what the file says of python, a MatchSpec's version part
    unless_brought: tuple[str, ...] = ()  # of `requirements`, those that count only when no package brings them


@dataclass(frozen=True)
class Dependencies:
    """What the image is to have, and for people where it was found and what became of it on the way."""

    title: str
    requirements: tuple[str, ...] = ()  # PEP 508 lines, `--hash` options kept; no options of pip's, no paths
    constraints: tuple[str, ...] = ()
    options: tuple[str, ...] = ()  # of pip's that change what is chosen: --pre, --no-binary NAME, --only-binary NAME
    indexes: Indexes = field(default_factory=Indexes)
    local: tuple[Local, ...] = ()
    conda: Channels | None = None  # then `requirements` and the rest are its `pip:` section
    notes: tuple[str, ...] = ()  # what was left out or added, and why

    @property
    def manager(self) -> Literal["pip", "conda"]:
        """Say which package manager the image is made with."""
        return "conda" if self.conda else "pip"
