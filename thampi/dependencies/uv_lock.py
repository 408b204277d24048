"""uv.lock -> what the image is asked to have, exactly as locked.

The format of the file is uv's own affair, so uv says what is in it (`uv export`): the one program that is run while
dependencies are read. It asks no network and changes no file.
"""

import re
import subprocess
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import uv

from thampi.dependencies import requirements, requirements_file, urls
from thampi.dependencies.mistakes import Mistakes
from thampi.dependencies.pip_options import Options, Places
from thampi.dependencies.wanted import Dependencies
from thampi.errors import ConfigError

_EXPORT = (
    *("export", "--frozen", "--no-dev", "--no-emit-project", "--format", "requirements.txt"),
    *("--no-header", "--no-annotate", "--offline", "--no-progress", "--color", "never"),
)
# Variables that mean another project or another lock; and an empty one is a mistake to uv, and nothing to people.
_MEANS_ANOTHER = ("UV_PROJECT", "UV_WORKING_DIR", "UV_LOCKED", "VIRTUAL_ENV")
_PYPI = "https://pypi.org/simple"


def read(
    file: Path,
    text: str,
    recorded: Mapping[str, str],
    *,
    extras: Sequence[str],
    environ: Mapping[str, str],
    project_dir: Path,
) -> Dependencies:
    """Return what a uv.lock says, with the chosen `extras` of its project.

    Raises ConfigError when uv can't export it: no pyproject.toml beside it, no such extra, a broken file.
    """
    if not (file.parent / "pyproject.toml").is_file():
        raise ConfigError(
            f"{file} has no pyproject.toml beside it, and uv reads the two together",
            hint='name the uv.lock of the project itself: dependency_file = "…/uv.lock"',
        )
    exported = _exported(file, extras, environ)
    mistakes = Mistakes()
    # uv wrote these lines, so their numbers are no help; and a `${VARIABLE}` in them is no variable.
    lines = [replace(line, number=0) for line in requirements_file.lines(file, exported)]
    note = f"{file.name}: the project itself is not installed; what the model uses of it goes into the saved model"
    return requirements.assemble(
        lines,
        recorded,
        mistakes,
        environ=environ,
        project_dir=file.parent,
        title=file.name + "".join(f"[{extra}]" for extra in extras),
        options=Options(places=_places(text, file.parent)),
        notes=[note],
    )


def _exported(file: Path, extras: Sequence[str], environ: Mapping[str, str]) -> str:
    done = subprocess.run(
        [uv.find_uv_bin(), *_EXPORT, *(word for extra in extras for word in ("--extra", extra))],
        cwd=file.parent,
        env={name: value for name, value in environ.items() if name not in _MEANS_ANOTHER and value},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
    )
    if done.returncode == 0:
        return done.stdout
    said = re.sub(r"^error: ", "", done.stderr.strip(), flags=re.IGNORECASE)
    cure = "correct build.extras in thampi.toml" if "xtra" in said else "make it anew: uv lock"
    raise ConfigError(f"{file} can't be read: {said}", hint=cure)


def _places(text: str, folder: Path) -> Places:
    """Return the indexes that the locked distributions come from; a folder's path is meant from `folder`."""
    try:
        packages: Any = tomllib.loads(text).get("package", [])
    except tomllib.TOMLDecodeError:  # uv has read it
        packages = []
    sources = [each.get("source", {}).get("registry") for each in packages if isinstance(each, dict)]
    found = dict.fromkeys(each for each in sources if isinstance(each, str) and each.rstrip("/") != _PYPI)
    folders = {each: (folder / urls.path_of(each)).resolve() for each in found if not urls.is_one(each)}
    flat = {each for each, path in folders.items() if any(path.glob("*.whl")) or any(path.glob("*.tar.gz"))}
    return Places(
        extra_index_urls=tuple(
            urls.uri_of(folders[each]) if each in folders else each for each in found if each not in flat
        ),
        find_links=tuple(str(folders[each]) for each in found if each in flat),
    )
