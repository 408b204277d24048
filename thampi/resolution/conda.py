"""A conda environment -> the packages that the image installs, solved here for the image's system, and what pip adds.

The solver is py-rattler, in an environment of its own that uv makes and keeps: neither conda nor anything of it has to
be on this machine, and which system this machine has makes no difference.
"""

import contextlib
import dataclasses
import json
import re
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from thampi import shipped
from thampi.dependencies.wanted import Channels, Dependencies, Indexes
from thampi.errors import BuildError, ConfigError
from thampi.resolution import conda_failures, pip, platforms, uv_command
from thampi.resolution.resolved import Distribution, Resolved

_SOLVER = Path(__file__).with_name("conda_solver.py")
_SUBDIRS = {"linux/amd64": ("linux-64", "x86_64"), "linux/arm64": ("linux-aarch64", "aarch64")}
_KERNEL = "5.10"  # the oldest that Lambda runs: https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html


@dataclasses.dataclass(frozen=True)
class _Package:
    """One package of the solver's answer."""

    name: str
    version: str
    file: str
    url: str
    sha256: str
    size: int
    python: tuple[tuple[str, str], ...]  # the Python distributions in it: name and version

    @property
    def is_here(self) -> bool:
        """Say whether it comes from a folder of this machine."""
        return self.url.startswith("file:")

    @property
    def path(self) -> Path:
        """Return where it is on this machine."""
        return Path(url2pathname(urlsplit(self.url).path))


def resolve(
    dependencies: Dependencies,
    *,
    python: str,
    platform: str,
    environ: Mapping[str, str],
    say: Callable[[str], None],
    libc: tuple[int, int] = platforms.glibc(None),
    preferred: Mapping[str, str] | None = None,
    locked: Sequence[str] = (),
) -> Resolved:
    """Choose what a conda image installs for Python `python` (3.11) on `platform` (linux/amd64).

    `libc` is the version of glibc that packages may count on. `preferred` are versions of pip's part, and `locked` the
    `packages` of an earlier answer, that are kept where they still fit. Packages that lie on this machine stand in the
    answer by their file name alone.

    Raises ConfigError for what can't be read or is for another Python, and BuildError, in the solver's words, for what
    can't be had.
    """
    asked = dependencies.conda
    if asked is None:
        raise ValueError(f"{dependencies.title} is no environment of conda")
    _check_python(asked, python, dependencies.title)
    say(f"solving {dependencies.title} for Python {python} on {platform}")
    packages = _solve(asked, dependencies, python=python, platform=platform, libc=libc, environ=environ, locked=locked)
    brought = _brought(packages)
    added, notes = Resolved(), list[str]()
    if dependencies.requirements or dependencies.local:
        with _stand_ins(brought) as folder:
            wanted, notes = _beside(dependencies, brought, folder)
            added = pip.resolve(
                wanted,
                python=python,
                platform=platform,
                environ=environ,
                say=say,
                libc=libc,
                provided={name: _stand_in(version) for name, version in brought.items()},
                preferred=preferred,
            )
    return dataclasses.replace(
        added,
        packages=tuple(f"{each.file if each.is_here else each.url}#{each.sha256}" for each in packages),
        distributions=(*(each for package in packages for each in _distributions(package)), *added.distributions),
        shipped={**added.shipped, **{each.file: each.path for each in packages if each.is_here}},
        notes=(*notes, *added.notes),
    )


def _check_python(asked: Channels, python: str, title: str) -> None:
    """Refuse at once what names another minor version; ranges are the solver's matter."""
    named = re.match(r"=*\s*(\d+\.\d+)(?:[.*=\s]|$)", asked.python or "")
    if named and named[1] != python:
        raise ConfigError(
            f"{title} asks for Python {named[1]}, and the model was saved with Python {python}",
            hint=f"write python={python} there, or save the model with Python {named[1]}: a pickle can't change",
        )


# ------------------------------------------------------------------------------------------------------- conda's part


def _solve(
    asked: Channels,
    dependencies: Dependencies,
    *,
    python: str,
    platform: str,
    libc: tuple[int, int],
    environ: Mapping[str, str],
    locked: Sequence[str],
) -> list[_Package]:
    subdir, machine = _SUBDIRS[platform]
    said_of_python = [f"python {asked.python}"] if asked.python else []
    # What the image's system has is stated, never detected: this machine is another one.
    virtual = [
        ("__unix", "0", "0"),
        ("__linux", _KERNEL, "0"),
        ("__glibc", f"{libc[0]}.{libc[1]}", "0"),
        ("__archspec", "1", machine),
    ]
    question = {
        "channels": asked.channels,
        "specs": [f"python {python}.*", *said_of_python, *asked.specs],
        "subdir": subdir,
        "virtual": virtual,
        "constraints": pip.handler_constraints(),
        "locked": [package.partition("#")[0].rpartition("/")[2] for package in locked],
    }
    answer = _ask(question, dependencies.indexes, environ)
    match answer.get("failed"):
        case "spec":
            raise conda_failures.specs(dependencies.title, answer["specs"])
        case "channel":
            raise conda_failures.channel(dependencies.title, answer["said"])
        case "solve":
            raise conda_failures.solve(dependencies.title, subdir, python, answer["said"], asked.specs)
    packages = [_Package(**each) for each in answer["packages"]]
    for package in packages:
        if not package.sha256:
            raise BuildError(
                f"the channel of {package.name} does not say its sha256",
                hint="index the channel again (conda index): what nobody vouches for is not installed",
            )
    return packages


def _ask(question: Mapping[str, Any], indexes: Indexes, environ: Mapping[str, str]) -> dict[str, Any]:
    """Put a question to the solver; the first time, uv installs it."""
    # What the dependency file says of indexes is about the image; a tool of ours is had where pip is configured to.
    ours = dataclasses.replace(
        indexes,
        index_url=None if indexes.index_url in indexes.written else indexes.index_url,
        extra_index_urls=tuple(url for url in indexes.extra_index_urls if url not in indexes.written),
        find_links=tuple(place for place in indexes.find_links if place not in indexes.written),
        no_index=False,
    )
    with tempfile.TemporaryDirectory(prefix="thampi-conda-") as temporary:
        folder = Path(temporary)
        (folder / "question.json").write_text(json.dumps(question), "utf-8")
        words = [
            *("run", "--quiet", "--no-project", "--isolated", "--python", sys.executable),
            *("--with-requirements", str(shipped.folder() / "images/conda.txt")),
            *uv_command.index_words(ours),
            # -I: the modules beside the script are ours, and none of them is meant.
            *("python", "-I", str(_SOLVER), "question.json"),
        ]
        done = uv_command.run(words, folder=folder, environ=environ, indexes=ours)
    if done.returncode != 0:
        raise conda_failures.solver(done.stderr)
    return dict(json.loads(done.stdout))


def _brought(packages: Sequence[_Package]) -> dict[str, str]:
    """Return the Python distributions that conda installs, by canonical name, as far as pip can read their versions."""
    brought = {}
    for name, version in (each for package in packages for each in package.python):
        with contextlib.suppress(InvalidVersion):
            brought[str(canonicalize_name(name))] = str(Version(version))
    return brought


def _distributions(package: _Package) -> Iterator[Distribution]:
    """Yield what a package brings, in Python's names; a library without Python in it under conda's name."""
    named = package.python or ((package.name, package.version),)
    for number, (name, version) in enumerate(named):
        yield Distribution(str(canonicalize_name(name)), version, size=0 if number else package.size)


# --------------------------------------------------------------------------------------------------------- pip's part


def _beside(dependencies: Dependencies, brought: Mapping[str, str], folder: Path) -> tuple[Dependencies, list[str]]:
    """Return pip's part as pip would see it in the environment that conda made; with what is to be said of it."""
    notes = []
    for line in dependencies.requirements:
        with contextlib.suppress(InvalidRequirement):
            asked = Requirement(re.split(r"\s--hash", line, maxsplit=1)[0])
            if asked.extras and canonicalize_name(asked.name) in brought:
                notes.append(
                    f"{asked.name} comes from conda, so what its extra ({', '.join(sorted(asked.extras))}) needs does "
                    "not come with it: list that, too, where the model uses it"
                )
    soft = dependencies.conda.unless_brought if dependencies.conda else ()
    lines = [line for line in dependencies.requirements if line not in soft or _name(line) not in brought]
    indexes = dataclasses.replace(dependencies.indexes, find_links=(*dependencies.indexes.find_links, str(folder)))
    return dataclasses.replace(dependencies, conda=None, requirements=tuple(lines), indexes=indexes), notes


def _name(line: str) -> str:
    named = re.match(r"[\w.-]+", line)
    return str(canonicalize_name(named[0])) if named else ""


def _stand_in(version: str) -> str:
    """Return the version under which uv knows what conda installs: one that no index has, and that means the same."""
    return f"{version}{'.' if '+' in version else '+'}conda"


@contextlib.contextmanager
def _stand_ins(brought: Mapping[str, str]) -> Iterator[Path]:
    """Make an empty wheel for each distribution that conda installs, in a folder for the time of the block.

    So uv finds them in exactly these versions, though no index may have them, and without requirements: what they need
    came with them from conda, under other names.
    """
    with tempfile.TemporaryDirectory(prefix="thampi-brought-") as temporary:
        folder = Path(temporary)
        for name, version in brought.items():
            plain, known = name.replace("-", "_"), _stand_in(version)
            with zipfile.ZipFile(folder / f"{plain}-{known}-py3-none-any.whl", "w") as wheel:
                info = f"{plain}-{known}.dist-info"
                wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {known}\n")
                wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
                wheel.writestr(f"{info}/RECORD", "")
        yield folder
