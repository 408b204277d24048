"""Dependency files that are not read: each is known by its name or content, and answered with what to do instead."""

import re
from pathlib import Path

from thampi.errors import ConfigError

# Keys of an environment.yml. A line of a requirements file can't begin so: pip knows no colon there.
_CONDA = re.compile(r"^[\"']?(name|channels|dependencies)[\"']?\s*:(\s|$)", re.MULTILINE)
_THEN = '; then name it in thampi.toml: dependency_file = "{}"'
_REQUIREMENTS = {
    "poetry.lock": "poetry self add poetry-plugin-export && poetry export --output requirements.txt",
    "Pipfile": "pipenv requirements > requirements.txt",
    "Pipfile.lock": "pipenv requirements > requirements.txt",
    "pdm.lock": "pdm export --prod --output requirements.txt",
    "pylock.toml": "export it with what wrote it, say uv export --format requirements.txt -o requirements.txt",
    "setup.py": "uv pip compile setup.py --output-file requirements.txt",
    "setup.cfg": "uv pip compile setup.cfg --output-file requirements.txt",
}
_ENVIRONMENT = {
    "pixi.lock": "pixi workspace export conda-environment environment.yml",
    "pixi.toml": "pixi workspace export conda-environment environment.yml",
    "conda-lock.yml": "conda env export --from-history > environment.yml",
}


def check(file: Path, text: str) -> None:
    """Raise ConfigError, with the command that exports it, when a file is of a kind that is not read."""
    known = _kind(file, text)
    if known in _REQUIREMENTS:
        cure = _REQUIREMENTS[known] + _THEN.format("requirements.txt")
    elif known in _ENVIRONMENT:
        cure = _ENVIRONMENT[known] + _THEN.format("environment.yml")
    elif file.suffix in (".ipynb", ".py", ".json", ".lock") and known != "uv.lock":
        cure = "name a requirements.txt, an environment.yml, a pyproject.toml or a uv.lock"
    else:
        return
    raise ConfigError(f"{file}: thampi can't read {known} files", hint=cure)


def is_conda(text: str) -> bool:
    """Say whether a text is a conda environment, whatever its file is called."""
    return _CONDA.search(text) is not None


def _kind(file: Path, text: str) -> str:
    if re.fullmatch(r"pylock(\.[^.]+)?\.toml", file.name):
        return "pylock.toml"
    # `conda list --explicit` writes the marker; conda-lock's own file is told by its name only.
    if re.fullmatch(r"[\w.-]*conda-lock\.ya?ml", file.name) or "@EXPLICIT" in text.splitlines():
        return "conda-lock.yml"
    return file.name
