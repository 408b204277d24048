"""What a saved model is on disk: thampi.json and the files that it names.

    models/iris-sklearn/
      thampi.json              what is known of the model; replaced last, so it is the one commit point
      model-<sha8>.pkl         pickle protocol 5, the in-band part
      model-<sha8>.buffers     the large buffers, 64-byte aligned, in the order that the pickle asks for them

Bundles of thampi 0.1.0 (`model.pkl` beside a thampi.json of four keys) are read as format 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

from thampi.errors import BundleError

MANIFEST = "thampi.json"
FORMAT = 1
DATA_VERSION = "0.1"  # of the keys that the original wrote; it goes out with every answer
PART_SIZE = 4 * 1024 * 1024
ALIGNMENT = 64
ORIGINAL_PICKLE = "model.pkl"


@dataclass(frozen=True)
class File:
    """One data file of a bundle: its name in the folder and its size in bytes."""

    name: str
    size: int


@dataclass(frozen=True)
class Part:
    """A stretch of a file with a hash of its own: nothing of it is used before the hash has passed.

    `offset` and `size` count the bytes of the file's content, `stored` those that are kept of it under `codec`.
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


def dump(about: About) -> bytes:
    """Render thampi.json: a line a key, so that people can read it and a large model's parts take no thousand lines."""
    lines = (b"  %b: %b" % (orjson.dumps(key), orjson.dumps(value)) for key, value in asdict(about).items())
    return b"{\n" + b",\n".join(lines) + b"\n}\n"


def parse(text: bytes, where: str) -> About:
    """Read thampi.json; raise BundleError, naming `where` it came from, when it can't be one."""
    try:
        found = orjson.loads(text)
        if "format" not in found:
            known = ("instance_id", "trained_time_utc", "tags", "thampi_data_version")
            return About(**{key: found[key] for key in known if key in found})
        if found["format"] > FORMAT:
            raise BundleError(
                f"{where} was saved by a newer thampi ({found.get('thampi')})",
                hint="pip install --upgrade thampi",
            )
        about = About(
            **found
            | {
                "files": {role: File(**file) for role, file in found["files"].items()},
                "parts": [Part(**part) for part in found["parts"]],
                "buffers": [(offset, size) for offset, size in found["buffers"]],
            }
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BundleError(f"{where} is not a thampi.json: {error}", hint="save the model again") from error
    _check_layout(about, where)
    return about


def _check_layout(about: About, where: str) -> None:
    """Refuse what would read outside the bundle or leave a byte without a hash."""
    for role, file in about.files.items():
        if Path(file.name).name != file.name:
            raise BundleError(f"{where} names a file outside the bundle: {file.name}", hint="save the model again")
        end = 0
        for part in about.parts_of(role):
            if part.offset != end or part.size <= 0:
                break
            end += part.size
        if end != file.size:
            raise BundleError(f"{where} has no hash for every byte of {file.name}", hint="save the model again")
    room = about.files["buffers"].size if "buffers" in about.files else 0
    end = 0
    for offset, size in about.buffers:
        if offset < end or size < 0:
            raise BundleError(f"{where} has buffers that overlap", hint="save the model again")
        end = offset + size
    if end > room or "pickle" not in about.files:
        raise BundleError(f"{where} names bytes that its files don't have", hint="save the model again")


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
