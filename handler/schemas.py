"""JSON Schemas of a model's signature, moved into the components of an OpenAPI document."""

import re
from collections.abc import Callable, Mapping
from typing import Any

_UNFIT = re.compile(r"[^A-Za-z0-9._-]")  # https://spec.openapis.org/oas/v3.1.0#fixed-fields-5, "component names"
_VALUES = ("const", "default", "enum", "example", "examples")  # what these hold is data, whatever it looks like
_OF_NAMES = ("properties", "patternProperties", "dependentSchemas", "$defs")  # these hold schemas by names of any kind


def components(title: str, schema: Any) -> dict[str, Any]:
    """Return the components that a self-contained schema becomes: itself as `title`, and each of its `$defs`.

    A reference within it, `#/$defs/Flower`, leads to `#/components/schemas/{title}.Flower` afterwards, and `#` to
    `#/components/schemas/{title}`. A schema may also be `true` or `false`.
    """
    if not isinstance(schema, Mapping):
        return {title: schema}
    inner = schema.get("$defs")
    inner = inner if isinstance(inner, Mapping) else {}
    names = _names(title, list(inner))

    def moved(reference: str) -> str:
        if reference == "#":
            return _pointer(title)
        kind, _, rest = reference.removeprefix("#/").partition("/")
        if not reference.startswith("#/"):
            return reference
        if kind != "$defs":
            return f"{_pointer(title)}/{reference.removeprefix('#/')}"
        name, *deeper = rest.split("/")
        found = names.get(name.replace("~1", "/").replace("~0", "~"))
        return reference if found is None else "/".join([_pointer(found), *deeper])

    itself = {key: value for key, value in schema.items() if key not in ("$defs", "$schema")}
    return {title: _moved(itself, moved)} | {names[name]: _moved(value, moved) for name, value in inner.items()}


def _names(title: str, inner: list[str]) -> dict[str, str]:
    """Name the component of each definition; two that come out equal are told apart by a number."""
    names: dict[str, str] = {}
    for name in inner:
        wanted = made = f"{title}.{_UNFIT.sub('_', name)}"
        number = 2
        while made in names.values():
            made, number = f"{wanted}_{number}", number + 1
        names[name] = made
    return names


def _pointer(name: str) -> str:
    return f"#/components/schemas/{name}"


def _moved(value: Any, moved: Callable[[str], str]) -> Any:
    """Return a schema, or a list of them, with its references led to where they are now."""
    if isinstance(value, list):
        return [_moved(item, moved) for item in value]
    if not isinstance(value, Mapping):
        return value
    found = {}
    for key, item in value.items():
        if key in _VALUES:
            found[key] = item
        elif key in _OF_NAMES and isinstance(item, Mapping):
            found[key] = {name: _moved(each, moved) for name, each in item.items()}
        elif key in ("$ref", "$dynamicRef") and isinstance(item, str):
            found[key] = moved(item)
        elif key == "discriminator" and isinstance(item, Mapping):  # pydantic's, in OpenAPI's own words
            mapping = item.get("mapping")
            mapping = mapping if isinstance(mapping, Mapping) else {}
            found[key] = {**item, "mapping": {name: moved(str(each)) for name, each in mapping.items()}}
        else:
            found[key] = _moved(item, moved)
    return found
