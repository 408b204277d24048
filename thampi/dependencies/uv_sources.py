"""[tool.uv.sources] of a pyproject.toml: where uv takes a dependency from instead of an index.

What may stand in it: https://docs.astral.sh/uv/concepts/projects/dependencies/#dependency-sources
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from thampi.dependencies.mistakes import Mistakes
from thampi.dependencies.pip_options import Options, Places
from thampi.dependencies.requirements_file import Line

_BY_LOCK = 'uv knows where it is: uv lock, then dependency_file = "uv.lock"'


def applied(
    lines: Sequence[Line], tool: Mapping[str, Any], folder: Path, mistakes: Mistakes
) -> tuple[list[Line], Options]:
    """Return the lines with their sources in them, and the indexes that only sources name.

    `tool` is the table [tool.uv], `folder` is where its paths are meant from.
    """
    table = tool.get("sources")
    sources = {canonicalize_name(name): value for name, value in table.items()} if isinstance(table, dict) else {}
    indexes = {
        each["name"]: each["url"]
        for each in (tool["index"] if isinstance(tool.get("index"), list) else [])
        if isinstance(each, dict) and isinstance(each.get("name"), str) and isinstance(each.get("url"), str)
    }
    found: list[Line] = []
    used: list[str] = []
    for line in lines:
        try:
            asked = Requirement(line.text)
        except InvalidRequirement:
            found.append(line)
            continue
        source = sources.get(canonicalize_name(asked.name))
        if source is None:
            found.append(line)
            continue
        for each in source if isinstance(source, list) else [source]:
            found += _with(line, asked, each, indexes, used, mistakes)
    return found, Options(places=Places(extra_index_urls=tuple(dict.fromkeys(used))))


def _with(
    line: Line, asked: Requirement, source: object, indexes: Mapping[str, str], used: list[str], mistakes: Mistakes
) -> list[Line]:
    """Return the line as one source changes it."""
    if not isinstance(source, dict):
        mistakes.add(line, f"the source of {asked.name} in [tool.uv.sources] is no table", "write it as uv does")
        return []
    place = _place(source)
    if "index" in source:
        if source["index"] not in indexes:
            mistakes.add(
                line,
                f"the source of {asked.name} is the index {source['index']}, which pyproject.toml does not define",
                "define it there, under [[tool.uv.index]]",
            )
            return []
        used.append(indexes[source["index"]])
    elif place is None:
        kind = "a member of the workspace" if source.get("workspace") else "of a kind that thampi does not know"
        mistakes.add(line, f"the source of {asked.name} is {kind}", _BY_LOCK)
        return []
    return [replace(line, text=_written(asked, place, source.get("marker")), written=line.written)]


def _place(source: Mapping[str, Any]) -> str | None:
    """Return where a source points, as a URL or path of a requirement."""
    inner = f"#subdirectory={source['subdirectory']}" if source.get("subdirectory") else ""
    if isinstance(source.get("git"), str):
        url = source["git"].removeprefix("git+")
        revision = next((source[key] for key in ("rev", "tag", "branch") if source.get(key)), None)
        return f"git+{url}" + (f"@{revision}" if revision else "") + inner
    if isinstance(source.get("url"), str):
        return f"{source['url']}{inner}"
    return source["path"] if isinstance(source.get("path"), str) else None


def _written(asked: Requirement, place: str | None, marker: object) -> str:
    extras = f"[{','.join(sorted(asked.extras))}]" if asked.extras else ""
    what = f"{asked.specifier}" if place is None else f" @ {place}"
    both = [f"({each})" if asked.marker and marker else str(each) for each in (asked.marker, marker) if each]
    return f"{asked.name}{extras}{what}" + (f" ; {' and '.join(both)}" if both else "")
