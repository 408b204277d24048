"""What wheels an image can use: its platform, its C library and its Python, as uv and wheels' names say them."""

import re
from collections.abc import Iterator

from packaging.tags import Tag, compatible_tags, cpython_tags

_MACHINES = {"linux/amd64": "x86_64", "linux/arm64": "aarch64"}
# Of the official image, which is Debian 12 (https://packages.debian.org/bookworm/libc6).
_OFFICIAL = (2, 36)
# By a word in a base image's name. What is not known gets the oldest that most wheels are made for: an image with a
# newer one can use them, too (https://github.com/pypa/manylinux#manylinux).
_GLIBC = (("trixie", (2, 40)), ("bookworm", (2, 36)), ("bullseye", (2, 31)), ("al2023", (2, 34)), ("noble", (2, 39)))
_UNKNOWN = (2, 28)


def glibc(base_image: str | None) -> tuple[int, int]:
    """Return the version of the C library that the wheels may count on; `base_image` None: the official one."""
    if base_image is None:
        return _OFFICIAL
    return next((version for word, version in _GLIBC if word in base_image), _UNKNOWN)


def for_uv(platform: str, libc: tuple[int, int]) -> str:
    """Return uv's word for a platform like linux/amd64."""
    return f"{_MACHINES[platform]}-manylinux_{libc[0]}_{libc[1]}"


def tags(platform: str, python: str, libc: tuple[int, int]) -> list[Tag]:
    """Return the tags of the wheels that fit, best first, as pip on that machine would; `python` is like 3.11."""
    version = (3, int(python.partition(".")[2]))
    names = list(_platforms(_MACHINES[platform], libc))
    return [
        *cpython_tags(version, platforms=names),
        *compatible_tags(version, interpreter=f"cp{version[0]}{version[1]}", platforms=names),
    ]


def is_other(text: str, platform: str) -> bool:
    """Say whether a platform tag belongs to another system or machine."""
    return text != "any" and not re.fullmatch(rf"(many)?linux.*_{_MACHINES[platform]}", text)


def _platforms(machine: str, libc: tuple[int, int]) -> Iterator[str]:
    """Yield the platform tags, newest C library first; the old names stand where their versions do (PEP 600)."""
    names = {17: "manylinux2014"} | ({12: "manylinux2010", 5: "manylinux1"} if machine == "x86_64" else {})
    for minor in range(libc[1], (4 if machine == "x86_64" else 16), -1):
        yield f"manylinux_2_{minor}_{machine}"
        if minor in names:
            yield f"{names[minor]}_{machine}"
    yield f"linux_{machine}"
