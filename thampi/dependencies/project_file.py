"""pyproject.toml -> what the image is asked to have: the project's dependencies and chosen extras, not the project.

What may stand in it: https://packaging.python.org/en/latest/specifications/pyproject-toml/
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from thampi.dependencies import requirements, uv_sources
from thampi.dependencies.mistakes import Mistakes
from thampi.dependencies.requirements_file import Line
from thampi.dependencies.wanted import Dependencies
from thampi.errors import ConfigError

_WITHOUT_PROJECT = {
    "poetry": "poetry self add poetry-plugin-export && poetry export --output requirements.txt",
    "pdm": "pdm export --prod --output requirements.txt",
    "pixi": "pixi workspace export conda-environment environment.yml",
    "flit": "write the dependencies under [project]: flit reads them there, too",
}


@dataclass(frozen=True)
class Project:
    """The parts of a pyproject.toml that say what is needed."""

    file: Path
    text: str
    name: str  # canonical, "" when there is none
    dependencies: tuple[str, ...]
    extras: Mapping[str, tuple[str, ...]]  # by canonical name
    tool: Mapping[str, Any]  # [tool.uv]


def read(
    file: Path,
    text: str,
    recorded: Mapping[str, str],
    *,
    extras: Sequence[str],
    environ: Mapping[str, str],
    project_dir: Path,
) -> Dependencies:
    """Return the dependencies of a project, and of those of its `extras` that are chosen.

    Raises ConfigError when it has none that can be read, or no such extra; and with every line that is wrong.
    """
    project = _parsed(file, text)
    mistakes = Mistakes()
    texts = [*project.dependencies]
    for extra in extras:
        texts += _of_extra(project, extra, mistakes)
    lines = [Line(file, _number(project, each), each, each) for each in _expanded(project, texts, mistakes)]
    sourced, options = uv_sources.applied(lines, project.tool, file.parent, mistakes)
    whose = project.name or "the project"
    note = f"{file.name}: {whose} itself is not installed; what the model uses of it goes into the saved model"
    return requirements.assemble(
        sourced,
        recorded,
        mistakes,
        environ=environ,
        project_dir=file.parent,
        title=file.name + "".join(f"[{extra}]" for extra in extras),
        options=options,
        notes=[note],
    )


def _parsed(file: Path, text: str) -> Project:
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file} is not TOML: {error}", hint="correct that line") from error
    tools = table.get("tool") if isinstance(table.get("tool"), dict) else {}
    project = table.get("project")
    if not isinstance(project, dict):
        raise _without_project(file, tools or {})
    dynamic = project.get("dynamic", [])
    absent = [key for key in ("dependencies", "optional-dependencies") if isinstance(dynamic, list) and key in dynamic]
    if absent:
        raise ConfigError(
            f"{file}: project.{absent[0]} is dynamic, so only building the project tells it",
            hint='uv pip compile pyproject.toml -o requirements.txt; then dependency_file = "requirements.txt"',
        )
    mistakes = Mistakes()
    optional = project.get("optional-dependencies", {})
    if not isinstance(optional, dict):
        mistakes.add(file, "project.optional-dependencies should be a table", 'write gpu = ["torch"] under it')
        optional = {}
    found = Project(
        file=file,
        text=text,
        name=canonicalize_name(str(project.get("name", ""))),
        dependencies=_texts(file, "dependencies", project.get("dependencies", []), mistakes),
        extras={
            canonicalize_name(name): _texts(file, f"optional-dependencies.{name}", value, mistakes)
            for name, value in optional.items()
        },
        tool=(tools or {}).get("uv", {}) if isinstance((tools or {}).get("uv"), dict) else {},
    )
    mistakes.check()
    return found


def _without_project(file: Path, tools: Mapping[str, Any]) -> ConfigError:
    known = next((tool for tool in _WITHOUT_PROJECT if tool in tools), None)
    if known is None:
        return ConfigError(
            f"{file} has no [project] table, so it says nothing about dependencies",
            hint="write them there, or name another file: the requirements.txt, say",
        )
    return ConfigError(
        f"{file} has its dependencies under [tool.{known}], where only {known} can read them",
        hint=f"{_WITHOUT_PROJECT[known]}; then name that file in thampi.toml: dependency_file = …",
    )


def _texts(file: Path, key: str, value: object, mistakes: Mistakes) -> tuple[str, ...]:
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return tuple(value)
    mistakes.add(file, f"project.{key} should be a list of texts", f'{key} = ["numpy>=2", "scipy"]')
    return ()


def _of_extra(project: Project, extra: str, mistakes: Mistakes) -> Sequence[str]:
    known = canonicalize_name(extra)
    if known in project.extras:
        return project.extras[known]
    there = f"it has: {', '.join(sorted(project.extras))}" if project.extras else "it has none"
    mistakes.add(project.file, f"there is no extra {extra}", f"correct build.extras in thampi.toml; {there}")
    return ()


def _expanded(project: Project, texts: Sequence[str], mistakes: Mistakes) -> list[str]:
    """Return `texts` with the project's own name in them (`all = ["demo[gpu,web]"]`) replaced by what it stands for."""
    found: list[str] = []
    waiting, seen = list(texts), set()
    while waiting:
        text = waiting.pop(0)
        if text in seen:
            continue
        seen.add(text)
        try:
            asked = Requirement(text)
        except InvalidRequirement:
            found.append(text)
            continue
        if project.name and canonicalize_name(asked.name) == project.name:
            inner = [each for extra in sorted(asked.extras) for each in _of_extra(project, extra, mistakes)]
            waiting = [*inner, *waiting]
        else:
            found.append(text)
    return found


def _number(project: Project, text: str) -> int:
    """Return the number of the line that a dependency stands in."""
    lines = project.text.splitlines()
    return next((number for number, line in enumerate(lines, 1) if text in line or text.replace('"', '\\"') in line), 1)
