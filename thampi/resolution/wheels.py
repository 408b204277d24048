"""A folder, archive or git repository of this machine -> a wheel that the image can install; the same each time."""

import hashlib
import io
import re
import shutil
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from packaging.tags import Tag
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from thampi.dependencies.wanted import Indexes, Local
from thampi.errors import BuildError, ConfigError
from thampi.resolution import checkout, failures, uv_command

# What a project's folder has that its wheel never needs, and what an earlier build left there.
_LEFT_OUT = ("__pycache__", "*.pyc", "node_modules", ".tox", ".nox", ".mypy_cache", ".ruff_cache", ".pytest_cache")
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first time that a zip file can say


@dataclass(frozen=True)
class Wheel:
    """A wheel's file name and content."""

    file: str
    content: bytes = field(repr=False)
    source: str  # what it is made of, in words that mean the same on another machine

    @property
    def name(self) -> str:
        """Return the distribution's name, in the spelling that names compare in."""
        return str(parse_wheel_filename(self.file)[0])

    @property
    def version(self) -> str:
        """Return the distribution's version."""
        return str(parse_wheel_filename(self.file)[1])

    @property
    def sha256(self) -> str:
        """Return the digest of the content."""
        return hashlib.sha256(self.content).hexdigest()


def make(local: Local, *, indexes: Indexes, fitting: Sequence[Tag], environ: Mapping[str, str]) -> Wheel:
    """Return the wheel of what lies on this machine or in a git repository.

    `fitting` are the tags of the wheels that the image can use. Raises BuildError for what can't be built, or is only
    for another system; ConfigError for what is no wheel, archive or project.
    """
    with tempfile.TemporaryDirectory(prefix="thampi-wheel-") as temporary:
        folder = Path(temporary)
        if is_remote(local):
            place, source = checkout.make(local, folder / "checkout", indexes.credentials, environ)
        else:
            place, source = Path(local.target), source_of(local)
        if place.suffix == ".whl":
            made = Wheel(place.name, _read(place, local), source)
        else:
            made = _build(local, place, source, folder, indexes, environ)
    _check(made, local, fitting)
    return made


def _read(file: Path, local: Local) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{local.line}: {file} can't be read: {error.strerror}", hint="correct the path in the dependency file"
        ) from error


def _build(local: Local, place: Path, source: str, folder: Path, indexes: Indexes, environ: Mapping[str, str]) -> Wheel:
    if place.is_dir():
        if not any((place / name).is_file() for name in ("pyproject.toml", "setup.py")):
            raise ConfigError(
                f"{local.line}: {place} has neither a pyproject.toml nor a setup.py: it can't be installed",
                hint="ship its modules instead, in thampi.toml under [build]: include = […]",
            )
        # Build backends write beside the sources; what an earlier build left there would get into the wheel.
        copy = folder / "project" / place.name
        shutil.copytree(place, copy, symlinks=True, ignore=_left_out)
        place = copy
    made = folder / "made"
    words = ["build", "--wheel", "--out-dir", str(made), *uv_command.index_words(indexes), str(place)]
    # Files get the times of their entries, and an archive's members must not be younger than 1980.
    done = uv_command.run(words, folder=folder, environ={**environ, "SOURCE_DATE_EPOCH": "315532800"}, indexes=indexes)
    if done.returncode != 0:
        raise failures.explain_local(local.line, done.stderr)
    [wheel] = made.glob("*.whl")
    return Wheel(wheel.name, normalised(wheel.read_bytes()), source)


def _left_out(folder: str, names: list[str]) -> set[str]:
    here = Path(folder)
    environments = {name for name in names if (here / name / "pyvenv.cfg").is_file()}
    stale = {"build"} & set(names) if _was_built(here) else set()
    return {*shutil.ignore_patterns(*_LEFT_OUT, "*.egg-info")(folder, names), *environments, *stale}


def _was_built(folder: Path) -> bool:
    """setuptools leaves build/lib and build/bdist.…; a package called `build` has neither."""
    return any((folder / "build").glob("lib*")) or any((folder / "build").glob("bdist.*"))


def _check(made: Wheel, local: Local, fitting: Sequence[Tag]) -> None:
    try:
        name, _, _, tags = parse_wheel_filename(made.file)
    except InvalidWheelFilename as error:
        raise ConfigError(
            f"{local.line}: {made.file} is not how a wheel is called",
            hint="give it back the name that it was built with: name-version-python-abi-platform.whl",
        ) from error
    if local.name is not None and canonicalize_name(local.name) != name:
        raise ConfigError(
            f"{local.line}: what lies there is {name}, not {local.name}", hint="correct the line in the dependency file"
        )
    if not tags & set(fitting):
        only = ", ".join(sorted(str(tag) for tag in tags)[:3])
        best = fitting[0]
        raise BuildError(
            f"{local.line}: its wheel is for {only}, and the image needs {best.interpreter}, {best.platform}",
            hint="it has compiled code: build its wheel on a machine like the image (a Linux container with that "
            "Python), and name the file in the dependency file instead",
        )


def normalised(wheel: bytes) -> bytes:
    """Return a wheel with the same files, in an order and with times that say nothing of who packed it, and when."""
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(wheel)) as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        # The record lists each file, in the order in which the backend met them: sorted it says the same.
        for name in sorted(entry.filename for entry in old.infolist() if not entry.is_dir()):
            content = old.read(name)
            if re.fullmatch(r"[^/]+\.dist-info/RECORD", name):
                content = b"".join(sorted(line + b"\n" for line in content.splitlines() if line.strip()))
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3
            executable = old.getinfo(name).external_attr >> 16 & 0o111
            entry.external_attr = (0o100755 if executable else 0o100644) << 16
            new.writestr(entry, content)
    return packed.getvalue()


def is_remote(local: Local) -> bool:
    """Say whether it comes from a repository, and not from this machine's disk."""
    return local.target.startswith("git+")


def source_of(local: Local) -> str:
    """Say what a local distribution is made of: a digest of all its files, or its repository's URL as it was asked."""
    if is_remote(local):
        return local.target
    place = Path(local.target)
    digest = hashlib.sha256()
    if not place.is_dir():
        digest.update(_read(place, local))
        return f"sha256:{digest.hexdigest()}"
    for file in sorted(_files(place), key=lambda path: path.relative_to(place).as_posix()):
        digest.update(f"{file.relative_to(place).as_posix()}\0".encode())
        digest.update(hashlib.sha256(_read(file, local)).digest())
    return f"sha256:{digest.hexdigest()}"


def _files(folder: Path) -> list[Path]:
    names = [path.name for path in folder.iterdir()]
    left_out = _left_out(str(folder), names) | {".git"}
    found: list[Path] = []
    for path in folder.iterdir():
        if path.name in left_out:
            continue
        if path.is_dir() and not path.is_symlink():
            found += _files(path)
        elif path.is_file():
            found.append(path)
    return found
