"""thampi.toml + flags -> one frozen Stage, or every mistake at once.

Key by key: flag > THAMPI_* variable > [stages.X] > top of the file > default; the tables environment, tags, vpc and
api are merged key by key, too, and a table within api is taken whole. pydantic only says what is wrong with each layer;
what comes out are plain dataclasses.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path, PurePosixPath
from typing import Any

from thampi.config import endpoints, mistakes, tables
from thampi.config.settings import (
    FILE,
    LOCAL,
    VARIABLES,
    AnswerCache,
    Api,
    Build,
    Cors,
    Domain,
    Jwt,
    Limit,
    Masked,
    Plan,
    Stage,
    Vpc,
)
from thampi.errors import ConfigError

__all__ = [
    "FILE",
    "LOCAL",
    "VARIABLES",
    "AnswerCache",
    "Api",
    "Build",
    "Cors",
    "Domain",
    "Jwt",
    "Limit",
    "Masked",
    "Plan",
    "Stage",
    "Vpc",
    "find",
    "load",
    "stages",
]


def find(start: Path) -> Path:
    """Find the project's thampi.toml, in the folder `start` or above it."""
    start = start.resolve()
    for folder in (start, *start.parents):
        if (folder / FILE).is_file():
            return folder / FILE
    raise ConfigError(f"there is no {FILE} in {start} or above it", hint="run `thampi init`")


def stages(file: Path) -> tuple[str, ...]:
    """Name the stages of the project, in the order of the file; `local` is always one of them."""
    written = _read(file)
    mistakes.refuse(file, mistakes.check(tables.Project, written, mistakes.path))
    return _stages(written)


def load(file: Path, stage: str, *, flags: Mapping[str, object], environ: Mapping[str, str]) -> Stage:
    """Load one stage. A path that isn't absolute is meant from the folder of `file`, also in a flag or variable."""
    written = _read(file)
    given = {key: _plain(value) for key, value in flags.items() if value is not None}
    overrides = {key: environ[variable] for variable, key in VARIABLES.items() if environ.get(variable)}
    layers = {"": written, f"stages.{stage}.": _table(_table(written, "stages"), stage), "--": given}
    in_file = {path: layer for path, layer in layers.items() if path != "--"}
    variable_of = {key: variable for variable, key in VARIABLES.items()}
    environment = _merged(layers, "environment")
    vpc = _merged(layers, "vpc")
    api = _merged_api(layers)
    settings: dict[str, Any] = {**written, **layers[f"stages.{stage}."], **overrides, **given}
    mistakes.refuse(
        file,
        [
            *mistakes.check_stage(stage, _stages(written)),
            *mistakes.check(tables.Project, written, mistakes.path),
            *mistakes.check(tables.Override, overrides, lambda where: variable_of[str(where[0])]),
            *mistakes.check(tables.Override, given, lambda where: f"--{mistakes.path(where)}"),
            *mistakes.check_variables(environ),
            *mistakes.check_environment(environment, environ, cors_bytes=endpoints.told_bytes(api)),
            *mistakes.check_vpc(vpc),
            *mistakes.check_concurrency(in_file),
            *mistakes.check_snapstart(in_file),
            *endpoints.check_auth_is_said_once(layers),
            *endpoints.check_waiting(_last(layers, "timeout_s"), api),
            *endpoints.check(api, region=settings.get("region"), memory_mb=settings.get("memory_mb", Stage.memory_mb)),
        ],
    )
    folder = file.parent.resolve()
    build: dict[str, Any] = {**_table(written, "build"), **overrides, **given}
    settings |= {
        "project_dir": folder,
        "stage": stage,
        "model_dir": _resolved(folder, settings.get("model_dir", f"models/{settings['name']}")),
        "build": _make_build(folder, build),
        "environment": Masked({name: mistakes.value_of(value, environ) for name, (_, value) in environment.items()}),
        "tags": {name: value for name, (_, value) in _merged(layers, "tags").items()},
        "api": _make_api({key: value for key, (_, value) in api.items()}),
        "vpc": Vpc(**{key: tuple(ids) for key, (_, ids) in vpc.items()}) if vpc else None,
    }
    return Stage(**_only(Stage, settings))


def _read(file: Path) -> dict[str, Any]:
    try:
        text = file.read_bytes().decode("utf-8-sig")  # editors on Windows like to put a mark in front
    except FileNotFoundError:
        raise ConfigError(f"there is no {file}", hint="run `thampi init`") from None
    except OSError as error:
        raise ConfigError(f"{file} can't be read: {error.strerror}", hint="check the file's permissions") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} is not UTF-8 text", hint="save it again as UTF-8") from error
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = re.search(r" \(at line (\d+), column (\d+)\)$", str(error))
        line, column = place.groups() if place else (len(text.splitlines()), "its end")
        words = re.sub(r" \(at [^()]*\)$", "", str(error))
        raise ConfigError(
            f"{file}, line {line}, column {column}: {words}",
            hint="correct that line; https://toml.io shows how",
        ) from error


def _make_api(settings: dict[str, Any]) -> Api:
    tables_of = {"plan": Plan, "jwt": Jwt, "cors": Cors, "cache": AnswerCache, "domain": Domain}
    made = {key: tables_of[key](**_frozen(value)) for key, value in settings.items() if key in tables_of}
    if "routes" in settings:
        made["routes"] = {name: Limit(**_frozen(limit)) for name, limit in settings["routes"].items()}
    if "mock_result" in settings:
        made["mock_result"] = settings["mock_result"]  # as it is: it becomes JSON
    return Api(**_frozen(settings) | made)


def _frozen(table: Mapping[str, Any]) -> dict[str, Any]:
    frozen: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
    # 50 and 50.0 are one rate, and a push shall see no change in it.
    return {key: float(value) if key == "rate_per_s" else value for key, value in frozen.items()}


def _make_build(folder: Path, settings: dict[str, Any]) -> Build:
    settings = _only(Build, settings)
    if "dependency_file" in settings:
        settings["dependency_file"] = _resolved(folder, settings["dependency_file"])
    settings["extras"] = tuple(settings.get("extras", ()))
    settings["apt"] = tuple(settings.get("apt", ()))
    settings["include"] = tuple(str(PurePosixPath(path)) for path in settings.get("include", ()))
    return Build(**settings)


def _only(cls: type[Build] | type[Stage], settings: Mapping[str, Any]) -> dict[str, Any]:
    return {each.name: settings[each.name] for each in fields(cls) if each.name in settings}


def _resolved(folder: Path, text: str) -> Path:
    return folder / (Path(text).expanduser() if text.startswith("~/") else Path(text))


def _plain(value: object) -> object:
    """Turn a flag's value into what TOML would have given."""
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def _table(written: Mapping[str, Any], key: str) -> dict[str, Any]:
    found = written.get(key)
    return found if isinstance(found, dict) else {}


def _stages(written: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*_table(written, "stages"), LOCAL]))


def _merged(layers: Mapping[str, Mapping[str, Any]], key: str) -> dict[str, tuple[str, Any]]:
    """Merge a table of all layers; each value comes with the path where it is written."""
    return {
        name: (f"{place}{key}.{mistakes.bare(name)}", value)
        for place, layer in layers.items()
        for name, value in _table(layer, key).items()
    }


def _merged_api(layers: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[str, Any]]:
    """Merge the table api; `auth` beside it is the same as `auth` in it, and was there first."""
    merged: dict[str, tuple[str, Any]] = {}
    for place, layer in layers.items():
        if "auth" in layer:
            merged["auth"] = (f"{place}auth", layer["auth"])
        merged |= _merged({place: layer}, "api")
    return merged


def _last(layers: Mapping[str, Mapping[str, Any]], key: str) -> tuple[str, Any] | None:
    """Return a value, and the path where it is written."""
    written = [(f"{place}{key}", layer[key]) for place, layer in layers.items() if key in layer]
    return written[-1] if written else None
