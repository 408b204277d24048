"""Mistakes in the settings, all at once: each with its path, in the user's words and not pydantic's."""

import difflib
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from thampi.config import rules, tables
from thampi.config.settings import FILE, VARIABLES
from thampi.errors import ConfigError

# Read by the builder, by the local AWS, by who asks an endpoint, and (the others) by the handler inside the image.
_READ_ELSEWHERE = {
    "THAMPI_DOCKER", "THAMPI_LOCAL_PORT", "THAMPI_API_KEY", "THAMPI_TOKEN",
    "THAMPI_MODEL", "THAMPI_MANIFEST_SHA256", "THAMPI_FILES", "THAMPI_NAME", "THAMPI_STAGE", "THAMPI_SERVED_TIME_UTC",
    "THAMPI_PAGE", "THAMPI_CORS", "THAMPI_CACHE",
}  # fmt: skip
# Lambda takes 4 KB of environment in all; the rest is for what thampi itself tells the handler.
_ENVIRONMENT_BYTES = 3584

_Location = tuple[int | str, ...]
_KINDS = {
    "string_type": "text in quotes",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list, in [ ]",
    "dict_type": "a table",
    "model_type": "a table",
}


def refuse(file: Path, mistakes: list[str]) -> None:
    """Raise one ConfigError with all mistakes, if there are any."""
    if mistakes:
        count = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        raise ConfigError(
            "\n  ".join([f"{count} in the configuration ({file}):", *mistakes]),
            hint=f"`thampi init` in an empty folder writes a {FILE} in which every key is explained",
        )


def check(table: type[tables.Table], written: object, path: Callable[[_Location], str]) -> list[str]:
    """Find what pydantic finds wrong in a layer, in our words; `path` says where each stands for the user."""
    try:
        table.model_validate(written)
    except ValidationError as error:
        return [
            f"{path(where)}: {_words(each['type'], where, each['input'], each.get('ctx', {}), table)}"
            for each in error.errors(include_url=False)
            for where in [tuple(part for part in each["loc"] if part != "[key]")]
        ]
    return []


def _words(kind: str, where: _Location, value: object, context: Mapping[str, Any], table: type[tables.Table]) -> str:
    if kind == "value_error":
        return str(context["error"])
    if kind == "missing":
        return "is missing"
    if kind == "extra_forbidden":
        return _unknown(where, table)
    shown = "" if "environment" in where else f", is {rules.shown(value)}"
    return f"should be {_KINDS.get(kind, 'something else')}{shown}"


def _unknown(where: _Location, table: type[tables.Table]) -> str:
    key, home = str(where[-1]), tables.at(table, where[:-1])
    for place, other in tables.HOMES.items():
        if key in tables.keys(other):
            return f"unknown key here, it belongs {place}"
    return f"unknown key{_did_you_mean(key, tables.keys(home))}"


def check_stage(stage: str, defined: tuple[str, ...]) -> list[str]:
    """Find out whether a stage is one of those that are defined."""
    if stage in defined:
        return []
    suggestion = _did_you_mean(stage, defined) or "."
    return [f"stages: there is no {rules.shown(stage)}{suggestion} Defined: {', '.join(defined)}"]


def check_variables(environ: Mapping[str, str]) -> list[str]:
    """Find the variables that look as if they should set a key, and don't. All others are the user's business."""
    mistakes = []
    for variable in environ:
        if not variable.startswith("THAMPI_") or variable in VARIABLES or variable in _READ_ELSEWHERE:
            continue
        key = variable.removeprefix("THAMPI_").lower()
        if key in tables.Override.model_fields:
            mistakes.append(f"{variable}: there is no such variable, `{key}` is set in {FILE}")
        elif near := difflib.get_close_matches(variable, VARIABLES, n=1, cutoff=0.85):
            mistakes.append(f"{variable}: there is no such variable, did you mean `{near[0]}`?")
    return mistakes


def check_environment(
    environment: Mapping[str, tuple[str, Any]], environ: Mapping[str, str], *, cors_bytes: int
) -> list[str]:
    """Find the variables that can't be taken from the caller's own, and too much of them beside what CORS takes."""
    mistakes, size = [], 0
    for name, (path, value) in environment.items():
        if rules.wrong_variable_value(value):
            continue
        if isinstance(value, dict) and value["from_env"] not in environ:
            mistakes.append(f"{path}: your variable {value['from_env']} is not set")
            continue
        size += len(f"{name}{value_of(value, environ)}".encode(errors="replace"))
    if size + cors_bytes > _ENVIRONMENT_BYTES:
        also = f" with the {cors_bytes} that api.cors takes there" if cors_bytes else ""
        mistakes.append(
            f"environment: should be at most {_ENVIRONMENT_BYTES} bytes in all, is {size + cors_bytes}{also}"
        )
    return mistakes


def value_of(value: str | dict[str, str], environ: Mapping[str, str]) -> str:
    """Return the text of an environment entry: as written, or the caller's own variable."""
    return value if isinstance(value, str) else environ[value["from_env"]]


def check_vpc(vpc: Mapping[str, tuple[str, Any]]) -> list[str]:
    """Find the half of a network that is missing: Lambda wants both."""
    if not vpc:
        return []
    place = next(iter(vpc.values()))[0].rpartition(".")[0]
    return [
        f"{place}.{key}: should name at least one"
        for key in ("subnet_ids", "security_group_ids")
        if not vpc.get(key, ("", []))[1]
    ]


def check_concurrency(layers: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Find what can't be kept ready beside a release; `layers` are those of the file by their paths, the last wins."""
    found = _numbers(layers)
    if not {"provisioned_concurrency", "reserved_concurrency"} <= set(found):
        return []
    (where, ready), (_, reserved) = found["provisioned_concurrency"], found["reserved_concurrency"]
    if 2 * ready <= reserved:
        return []
    return [
        f"{where}: should be at most half of reserved_concurrency, which is {reserved}, is {ready}: "
        "a release starts its own before those of the old one are freed"
    ]


def check_snapstart(layers: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Find what Lambda doesn't have together with snapshots.

    https://docs.aws.amazon.com/lambda/latest/dg/snapstart.html: no provisioned concurrency, and /tmp of 512 MB.
    """
    written = [layer["snapstart"] for layer in layers.values() if "snapstart" in layer]
    if written[-1:] != [True]:
        return []
    found = _numbers(layers)
    mistakes = []
    if "provisioned_concurrency" in found:
        why = "Lambda keeps no environments ready that it makes of snapshots (snapstart)"
        mistakes.append(f"{found['provisioned_concurrency'][0]}: should be left out: {why}")
    if found.get("ephemeral_storage_mb", ("", 0))[1] > 512:
        why = "Lambda takes no snapshot of more than 512 MB of /tmp (snapstart)"
        mistakes.append(f"{found['ephemeral_storage_mb'][0]}: should be left out: {why}")
    return mistakes


def _numbers(layers: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[str, int]]:
    """Return the numbers of a stage, each with the path where it is written."""
    return {
        key: (f"{place}{key}", value)
        for place, layer in layers.items()
        for key, value in layer.items()
        if type(value) is int
    }


def _did_you_mean(word: str, known: Mapping[str, object] | tuple[str, ...]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1)
    return f", did you mean `{near[0]}`?" if near else ""


def path(where: _Location) -> str:
    """Write a place in the file as the user would: `stages.staging.memory_mb`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{bare(part)}" for part in where).removeprefix(".")


def bare(key: str) -> str:
    """Write a key as TOML does, in quotes only where it needs them."""
    return key if re.fullmatch(r"[\w-]+", key) else json.dumps(key)
