"""What goes into an image: everything that decides its content, as one value; touches no docker."""

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jinja2

from thampi import runtime_files, shipped
from thampi.errors import ConfigError
from thampi.resolution.resolved import Resolved
from thampi.version import __version__

BASE = "thampi-base"
MODEL_FOLDER = "/opt/model"  # in the image
# Unpacked, with all layers: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
LARGEST_BYTES = 10 * 1024**3
_OFFICIAL = "public.ecr.aws/docker/library/python:{minor}-slim-bookworm"
_TOOLS = {
    "pip": ("bytecode.py", "install.sh", "trim.py", "uv.txt"),
    "conda": ("bytecode.py", "conda.sh", "conda.txt", "conda_install.py", "install.sh", "trim.py", "uv.txt"),
}


@dataclass(frozen=True)
class Recipe:
    """A Dockerfile, the files of its build context and its arguments; the digest names the image.

    The files are in it as they were when it was made: one that changes meanwhile can't get under an old name.
    """

    dockerfile: str
    platform: str
    files: Mapping[str, bytes] = field(repr=False)  # by their path in the context
    arguments: Mapping[str, str] = field(default_factory=dict)
    # Files of the context, too, but none that decide: another file says what has to be in them, by hash or by source.
    # A large one is where it lies.
    carried: Mapping[str, bytes | Path] = field(default_factory=dict, repr=False, compare=False)

    @functools.cached_property
    def digest(self) -> str:
        """Return the sha256 of all that decides the image's content, shortened to what a person can compare."""
        # Comments are for people: the same lines from a file of another name are the same image.
        steps = [line for line in self.dockerfile.splitlines() if not line.startswith("#")]
        contents = {name: hashlib.sha256(content).hexdigest() for name, content in self.files.items()}
        decides = [steps, self.platform, sorted(contents.items()), sorted(self.arguments.items())]
        return hashlib.sha256(json.dumps(decides).encode()).hexdigest()[:16]


def make_base(python: str, platform: str, base_image: str | None = None) -> Recipe:
    """Return the recipe of the image that all models of a Python version share.

    `python` is a minor version like 3.12; `base_image` replaces the official Python image as its ground.
    """
    home = shipped.folder()
    files = {f"opt/{name}": path for name, path in runtime_files.files().items()}
    files["requirements.txt"] = home / "handler/requirements.txt"
    files |= {name: home / "images" / name for name in ("entrypoint.sh", "emulator.txt", "emulator.py", "trim.py")}
    return Recipe(
        dockerfile=(home / "Dockerfile.base").read_text("utf-8"),
        platform=platform,
        files=_contents(files),
        arguments={"PYTHON_IMAGE": base_image or python_image(python)},
    )


def python_image(python: str) -> str:
    """Return the name of the official image of a minor version like 3.12."""
    return _OFFICIAL.format(minor=python)


def reference(name: str, recipe: Recipe) -> str:
    """Return the local name of a recipe's image, `thampi-base:0f3c…` say."""
    return f"{name}:{recipe.digest}"


def make(
    base: Recipe,
    resolved: Resolved,
    *,
    title: str,
    apt: Sequence[str],
    include: Sequence[str],
    project_dir: Path,
    model: Mapping[str, bytes | Path] | None = None,
) -> Recipe:
    """Return the recipe of a model's image: its libraries, and the modules of the project that ship as files.

    `title` says for people where the libraries were asked for; `model` are the files of the model itself where it is to
    be in the image, by their names: those that are given as bytes decide, and vouch for those that lie at a path.
    Raises ConfigError when something to include isn't there.
    """
    home = shipped.folder()
    project = project_files(include, project_dir)
    text = jinja2.Environment(
        loader=jinja2.FileSystemLoader(home / "images"),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - a Dockerfile is no HTML
    )
    manager = "conda" if resolved.packages else "pip"
    dockerfile = text.get_template(f"{manager}.Dockerfile.j2").render(
        version=__version__, source=title, base=reference(BASE, base), apt=apt, include=bool(project), model=bool(model)
    )
    baked = {f"model/{name}": content for name, content in (model or {}).items()}
    files = {f"tools/{name}": home / "images" / name for name in _TOOLS[manager]}
    files |= {f"project/{name}": path for name, path in project.items()}
    listed = {"dependencies/requirements.txt": resolved.requirements}
    if resolved.packages:
        listed["dependencies/conda.txt"] = resolved.packages
    return Recipe(
        dockerfile=dockerfile,
        platform=base.platform,
        files={
            **{name: "".join(f"{line}\n" for line in lines).encode() for name, lines in listed.items()},
            **_contents(files),
            **{name: content for name, content in baked.items() if isinstance(content, bytes)},
        },
        carried={
            **carried(resolved.shipped),
            **{name: path for name, path in baked.items() if isinstance(path, Path)},
        },
    )


def carried(files: Mapping[str, bytes | Path]) -> dict[str, bytes | Path]:
    """Return what is shipped, by its path in the context."""
    return {
        f"dependencies/{'wheels' if name.endswith('.whl') else 'packages'}/{name}": at for name, at in files.items()
    }


def project_files(include: Sequence[str], project_dir: Path) -> dict[str, Path]:
    """Return the files under the entries of `build.include`, by their path in the project."""
    found: dict[str, Path] = {}
    for entry in include:
        start = project_dir / entry
        if not start.exists():
            raise ConfigError(
                f"build.include names {entry}, which is not in {project_dir}",
                hint="take it out of thampi.toml, or write the path as it is from there",
            )
        for path in [start] if start.is_file() else sorted(start.rglob("*")):
            inside = path.relative_to(project_dir)
            if path.is_file() and "__pycache__" not in inside.parts:
                found[inside.as_posix()] = path
    return found


def _contents(files: Mapping[str, Path]) -> dict[str, bytes]:
    try:
        return {name: path.read_bytes() for name, path in files.items()}
    except OSError as error:
        raise ConfigError(f"{error.filename} can't be read: {error.strerror}", hint="check its permissions") from error
