"""msgspec's Structs can be pickled by value, like other classes of a script or of the project.

cloudpickle makes a class again in two steps, first empty and then with all that is in it: so it may contain itself. A
Struct has to know its fields from the start, so here it gets their names first, and what type they are with the rest.
What loading calls is found under `thampi`, as `Model` is: the name is part of the bundle's format.

msgspec is imported by the models that need it, and never by this module.
"""

import functools
import inspect
import sys
import typing
from collections.abc import Mapping, Sequence
from typing import Any

_SETTINGS = ("frozen", "eq", "order", "array_like", "omit_defaults", "forbid_unknown_fields", "gc", "weakref", "dict")
_MORE_SETTINGS = ("cache_hash", "repr_omit_defaults")
# What Python and msgspec put into a class by themselves.
_MADE = {"__module__", "__qualname__", "__annotations__", "__annotate__", "__annotate_func__", "__annotations_cache__"}
_MADE |= {"__slots__", "__dict__", "__weakref__", "__static_attributes__", "__firstlineno__", "__match_args__"}

REQUIRED, VALUE, FACTORY = "required", "value", "factory"


def is_one(obj: object) -> bool:
    """Say whether something is msgspec's: a class of Structs, or what `Annotated` says for it."""
    return type(obj).__module__.partition(".")[0] == "msgspec"


def reduce(obj: Any, by_value: bool) -> Any:
    """Return what a pickler's `reducer_override` answers for something of msgspec; NotImplemented for most."""
    meta: Any = sys.modules["msgspec"].Meta
    if isinstance(obj, meta):
        return functools.partial(meta, **dict(obj.__rich_repr__())), ()
    if not by_value or not isinstance(obj, type) or not hasattr(obj, "__struct_config__"):
        return NotImplemented
    from cloudpickle.cloudpickle import _class_setstate

    fields = _own_fields(obj)
    made = _MADE | {name for name, _, _ in fields}
    content = {name: value for name, value in vars(obj).items() if name not in made}
    content["__annotations__"] = _hints(obj, fields)
    place = {"__module__": obj.__module__, "__qualname__": obj.__qualname__}
    made_of = (obj.__name__, obj.__bases__, fields, _config(obj, fields), place)
    return struct, made_of, (content, {}), None, None, _class_setstate


def struct(
    name: str,
    bases: tuple[type, ...],
    fields: Sequence[tuple[str, str, Any]],
    config: Mapping[str, Any],
    place: Mapping[str, str],
) -> Any:
    """Make a class of Structs with the fields that its bases don't have; what types they are of comes later."""
    msgspec: Any = sys.modules["msgspec"]
    namespace: dict[str, Any] = {"__annotations__": {each: Any for each, _, _ in fields}, **place}
    for each, kind, default in fields:
        if kind != REQUIRED:
            namespace[each] = default if kind == VALUE else msgspec.field(default_factory=default)
    return type(bases[0])(name, bases, namespace, **config)


struct.__module__, struct.__name__, struct.__qualname__ = "thampi", "_struct", "_struct"


def _own_fields(made: Any) -> list[tuple[str, str, Any]]:
    """Return name, kind and default of each field that stands in the class itself."""
    names, defaults = made.__struct_fields__, made.__struct_defaults__
    known = dict(zip(names[len(names) - len(defaults) :], defaults, strict=True))
    nothing = sys.modules["msgspec"].NODEFAULT
    inherited = {name for base in made.__bases__ for name in getattr(base, "__struct_fields__", ())}
    said = _said(made)
    found = []
    for name in names:
        if name in inherited and name not in said:
            continue
        default = known.get(name, nothing)
        if default is nothing:
            found.append((name, REQUIRED, None))
        elif type(default).__name__ == "Factory":
            found.append((name, FACTORY, default.factory))
        else:
            found.append((name, VALUE, default))
    return found


def _config(made: Any, fields: Sequence[tuple[str, str, Any]]) -> dict[str, Any]:
    config = made.__struct_config__
    found = {name: getattr(config, name) for name in (*_SETTINGS, *_MORE_SETTINGS) if hasattr(config, name)}
    if config.tag is not None:
        found |= {"tag": config.tag, "tag_field": config.tag_field}
    own = [name for name, _, _ in fields]
    encoded = dict(zip(made.__struct_fields__, made.__struct_encode_fields__, strict=True))
    renamed = {name: encoded[name] for name in own if encoded[name] != name}
    by_keyword = bool(own) and not set(own) & set(made.__match_args__)
    return found | ({"rename": renamed} if renamed else {}) | ({"kw_only": True} if by_keyword else {})


def _hints(made: Any, fields: Sequence[tuple[str, str, Any]]) -> dict[str, Any]:
    """Return the hints of the fields, resolved: where the class is made again, names in text would lead nowhere."""
    try:
        known = typing.get_type_hints(made, localns={made.__name__: made}, include_extras=True)
    except (NameError, TypeError):
        known = _said(made)
    return {name: known.get(name, Any) for name, _, _ in fields}


def _said(made: Any) -> dict[str, Any]:
    """Return the hints that stand in the class itself, as they were written."""
    try:
        return inspect.get_annotations(made)
    except NameError:  # from Python 3.14 on they are read only now
        return {}
