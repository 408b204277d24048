"""Which Debian packages the wheels of some libraries leave out: known before the build, so that it doesn't fail."""

from collections.abc import Mapping
from dataclasses import dataclass

from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version


@dataclass(frozen=True)
class _Need:
    """What the wheels of a library load from the system, and can't be imported, or do anything, without."""

    packages: tuple[str, ...]
    versions: str = ""  # a specifier, when only some need it
    unless: str = ""  # another distribution, with which it is not needed
    advice: str = ""


_OPENCV = ("libgl1", "libglib2.0-0")
_HEADLESS = "{name}-headless needs none of that, and its image is 200 MB smaller"

# Each row was tried: the library's own wheel on a slim Debian 12 fails at the import, or at the first call, without
# these packages, and succeeds with them. Debian 13 has the same names, or provides them (libglib2.0-0t64).
# What is only a possibility of a library is not here (drawing with graphviz, sound with pydub): write it to build.apt.
_NEEDS = {
    "cairocffi": _Need(("libcairo2",)),
    "cairosvg": _Need(("libcairo2",)),
    "implicit": _Need(("libgomp1",)),
    "lightgbm": _Need(("libgomp1",)),
    "mediapipe": _Need(("libegl1", "libgles2"), versions=">=1"),
    "open3d": _Need(("libegl1", "libgl1", "libgomp1", "libusb-1.0-0", "libx11-6")),
    "opencv-contrib-python": _Need(_OPENCV, advice=_HEADLESS),
    "opencv-python": _Need(_OPENCV, advice=_HEADLESS),
    "openslide-python": _Need(("libopenslide0",), unless="openslide-bin"),
    "paddlepaddle": _Need(("libgomp1",)),
    "pdf2image": _Need(("poppler-utils",)),
    "psycopg": _Need(("libpq5",), unless="psycopg-binary"),
    "pygraphviz": _Need(("libglib2.0-0", "libx11-6", "libxext6", "libxrender1"), versions=">=2"),
    "pyodbc": _Need(("libodbc2",)),
    "pyqt5": _Need(_OPENCV),
    "pytesseract": _Need(("tesseract-ocr",)),
    "python-magic": _Need(("libmagic1",)),
    "pyzbar": _Need(("libzbar0",)),
    "rdkit": _Need(("libx11-6", "libxext6", "libxrender1")),
    "sounddevice": _Need(("libportaudio2",)),
    "soundfile": _Need(("libsndfile1",), versions="<0.11"),
    "weasyprint": _Need(("libharfbuzz-subset0", "libpango-1.0-0", "libpangoft2-1.0-0")),
}


def needed(distributions: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return the packages that an image with these distributions (name: version) needs, each with the reason.

    The reason reads on from "because": `lightgbm needs it`. Sorted, each package once.
    """
    found: dict[str, list[str]] = {}
    there: dict[str, str] = {canonicalize_name(name): version for name, version in distributions.items()}
    for name, need in _NEEDS.items():
        if name in there and need.unless not in there and _is_of(there[name], need.versions):
            advice = f" ({need.advice.format(name=name)})" if need.advice else ""
            for package in need.packages:
                found.setdefault(package, []).append(name + advice)
    return tuple(
        (package, f"{' and '.join(sorted(names))} need{'' if len(names) > 1 else 's'} it")
        for package, names in sorted(found.items())
    )


def _is_of(version: str, versions: str) -> bool:
    try:
        return SpecifierSet(versions).contains(Version(version), prereleases=True)
    except InvalidVersion:
        return True  # rather a package too many
