"""What a saved model is on disk: thampi.json and the files that it names.

    models/iris-sklearn/
      thampi.json              what is known of the model; replaced last, so it is the one commit point
      model-<sha8>.pkl         pickle protocol 5, the in-band part
      model-<sha8>.buffers     the large buffers, 64-byte aligned, in the order that the pickle asks for them

Bundles of thampi 0.1.0 (`model.pkl` beside a thampi.json of four keys) are read as format 0.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import orjson

from thampi.errors import BundleError

MANIFEST = "thampi.json"
FORMAT = 1
DATA_VERSION = "0.1"  # of the keys that the original wrote; it goes out with every answer
PART_SIZE = 4 * 1024 * 1024
ALIGNMENT = 64
CODECS = ("none", "zstd")
ORIGINAL_PICKLE = "model.pkl"

_ORIGINAL_KEYS = ("instance_id", "trained_time_utc", "tags", "thampi_data_version")
_FILE_NAME = re.compile(r"\w[\w.-]*", re.ASCII)
_KINDS: dict[type, tuple[str, ...]] = {
    int: ("format",),
    str: ("instance_id", "trained_time_utc", "thampi_data_version", "python", "platform", "thampi", "cloudpickle"),
    dict: ("tags", "files", "distributions"),
    list: ("parts", "buffers", "modules"),
}


@dataclass(frozen=True)
class File:
    """One data file of a bundle: its name in the folder and its size there in bytes, compressed or not."""

    name: str
    size: int


@dataclass(frozen=True)
class Part:
    """A stretch of a file with a hash of its own: nothing of it is used before the hash has passed.

    `offset` and `size` count the bytes of the file's content, `stored` those that are kept of it under `codec`: one
    after the other, so that a part begins in the file where the parts before it end. `sha256` is of the stored bytes.
    """

    file: str
    offset: int
    size: int
    stored: int
    codec: str
    sha256: str


@dataclass(frozen=True)
class About:
    """What is known of a saved model: thampi.json as a value."""

    instance_id: str
    trained_time_utc: str
    tags: Mapping[str, Any] = field(default_factory=dict)
    thampi_data_version: str = DATA_VERSION
    format: int = 0
    python: str = ""
    platform: str = ""
    thampi: str = ""
    cloudpickle: str = ""
    files: Mapping[str, File] = field(default_factory=dict)
    parts: Sequence[Part] = ()
    buffers: Sequence[tuple[int, int]] = ()
    modules: Sequence[str] = ()
    distributions: Mapping[str, str] = field(default_factory=dict)
    example: Any = None
    signature: Any = None
    answer: Any = None  # to the example, as a caller gets it; None where nobody has asked, or it was long

    def properties(self, served_time_utc: str) -> dict[str, Any]:
        """Return what the endpoint says of the model with every answer, as the original did."""
        return {
            "instance_id": self.instance_id,
            "served_time_utc": served_time_utc,
            "tags": dict(self.tags),
            "thampi_data_version": self.thampi_data_version,
            "trained_time_utc": self.trained_time_utc,
        }

    def parts_of(self, file: str) -> list[Part]:
        """Return the parts of one file, in order."""
        return [part for part in self.parts if part.file == file]

    def content_size(self, file: str) -> int:
        """Return how many bytes a file holds once they are decompressed; 0 for one that the bundle doesn't have."""
        return sum(part.size for part in self.parts_of(file))


def dump(about: About) -> bytes:
    """Render thampi.json: a line a key, so that people can read it and a large model's parts take no thousand lines."""
    lines = (b"  %b: %b" % (orjson.dumps(key), orjson.dumps(value)) for key, value in asdict(about).items())
    return b"{\n" + b",\n".join(lines) + b"\n}\n"


def parse(text: bytes, where: str) -> About:
    """Read thampi.json; raise BundleError, naming `where` it came from, when it can't be one."""
    try:
        found = orjson.loads(text)
        if not isinstance(found, dict):
            raise TypeError("it is no table of keys")
        if type(found.get("format")) is int and found["format"] > FORMAT:
            raise BundleError(
                f"{where} was saved by a newer thampi ({found.get('thampi')})",
                hint="pip install --upgrade thampi",
            )
        _check_kinds(found)
        if "format" not in found:
            return About(**{key: found[key] for key in _ORIGINAL_KEYS if key in found})
        if found["format"] != FORMAT:
            raise ValueError(f"there is no format {found['format']}")
        # Every key has to be there; one that we don't know is something more that a newer thampi says of the model.
        about = About(
            **{each.name: found[each.name] for each in fields(About) if each.name != "answer"}
            | {
                "files": {role: File(**file) for role, file in found["files"].items()},
                "parts": [Part(**part) for part in found["parts"]],
                "buffers": [(offset, size) for offset, size in found["buffers"]],
                "answer": found.get("answer"),  # bundles from before have none
            }
        )
        _check_layout(about, where)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else error
        raise BundleError(f"{where} is not a thampi.json: {what}", hint="save the model again") from error
    return about


def _check_kinds(found: Mapping[str, Any]) -> None:
    for kind, keys in _KINDS.items():
        for key in keys:
            if key in found and type(found[key]) is not kind:
                raise TypeError(f"`{key}` can't be {found[key]!r:.50}")


def _check_layout(about: About, where: str) -> None:
    """Refuse what would read outside the bundle, or a byte without a hash, or a buffer where `save` puts none."""

    def refuse(why: str) -> BundleError:
        return BundleError(f"{where} {why}", hint="save the model again")

    _check_codecs(about, where)
    if not {"pickle"} <= about.files.keys() <= {"pickle", "buffers"}:
        raise refuse("doesn't name the files of a model")
    for role, file in about.files.items():
        if not _FILE_NAME.fullmatch(file.name):
            raise refuse(f"names a file outside the bundle: {file.name}")
        if not _covers(about.parts_of(role), file):
            raise refuse(f"has no hash for every byte of {file.name}")
    end = 0
    for offset, size in about.buffers:
        if type(size) is not int or size <= 0 or offset != end + -end % ALIGNMENT:
            raise refuse("names buffers that can't be where it says")
        end = offset + size
    if end != about.content_size("buffers"):
        raise refuse("names other buffers than its file has")


def _check_codecs(about: About, where: str) -> None:
    for part in about.parts:
        if part.codec not in CODECS:
            raise BundleError(
                f"{where} keeps bytes in a form that this version can't read", hint="pip install --upgrade thampi"
            )
        if part.codec == "none" and part.stored != part.size:
            raise BundleError(f"{where} has parts of another size than their bytes", hint="save the model again")


def _covers(parts: Sequence[Part], file: File) -> bool:
    """Say whether the parts follow each other from the first byte of the file to its last."""
    end = stored = 0
    for part in parts:
        sizes = (part.size, part.stored)
        if any(type(size) is not int or size <= 0 for size in sizes) or part.offset != end:
            return False
        end += part.size
        stored += part.stored
    return stored == file.size


def read(folder: Path) -> About:
    """Read what is known of the bundle in a folder; raise BundleError when there is none."""
    return parse(read_manifest(folder), str(folder / MANIFEST))


def read_manifest(folder: Path) -> bytes:
    """Return the bytes of a bundle's thampi.json; raise BundleError when there is none."""
    try:
        return (folder / MANIFEST).read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise BundleError(
            f"no saved model in {folder} (it has no {MANIFEST})",
            hint="save one with thampi.save(model, name, path), or name the right folder",
        ) from error
    except OSError as error:
        raise BundleError(f"can't read {folder / MANIFEST}: {error.strerror}", hint=None) from error
