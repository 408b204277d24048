"""Answers as JSON: what a model returns, numpy, pandas, Decimal and dates included, in the bytes that callers get.

NaN and infinity become null, which is all that JSON has for them. Decimal becomes a number, a date its ISO form, a
span of time its seconds, a table the list of its rows. Bytes are refused: JSON has no form for them that a caller
could tell from text.
"""

import contextlib
import dataclasses
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence, Set, ValuesView
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from numbers import Integral, Real
from types import UnionType
from typing import Any
from uuid import UUID

import orjson

# Dates pass through to `_plain`: orjson 3.13 loses a zero of a time's microseconds (0.010000 s becomes 0.10000 s).
_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS | orjson.OPT_PASSTHROUGH_DATETIME

# How objects of other libraries say what they hold: polars' tables, arrays and tensors of all kinds, pandas' and
# Arrow's columns, pydantic's models, TensorFlow's tensors, numpy's scalars.
_SPEAKERS = ("to_dicts", "tolist", "to_list", "to_pylist", "model_dump", "to_dict", "numpy", "item")

# What orjson makes of numpy's NaT, without a word: the beginning of time, or the end of its arithmetic.
_NAT_BY_ORJSON = (b'"1970-01-01T00:00:00"', b'"1677-09-21T00:12:43.145224"')


def encode(value: Any) -> bytes:
    """Return `value` as JSON; raise TypeError, naming the type, for what JSON can't say."""
    try:
        body = orjson.dumps(value, default=_plain, option=_OPTIONS)
    except TypeError:
        body = b""
    return body if body and not _may_hold_nat(body) else _encode_slowly(value)


def _may_hold_nat(body: bytes) -> bool:
    return "numpy" in sys.modules and any(mark in body for mark in _NAT_BY_ORJSON)


def _encode_slowly(value: Any) -> bytes:
    """Encode what orjson refuses: integers over 64 bits, keys of numpy's types, half a surrogate pair, deep nesting.

    It takes many times as long, and says the same of all the rest.
    """
    try:
        with _room_to_nest():
            return json.dumps(_plain_tree(value), allow_nan=False, separators=(",", ":")).encode()
    except RecursionError:
        raise TypeError("it is nested too deep for JSON, or contains itself") from None


@contextlib.contextmanager
def _room_to_nest() -> Iterator[None]:
    """Let what orjson can read, 1024 levels, be written too: its own writer stops at 254, Python's at about 330."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, 5000))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def _plain(value: Any) -> Any:
    """Return what an object means in JSON's own types; called for those that orjson doesn't know."""
    if type(value).__name__ in ("NaTType", "NAType"):  # pandas' words for a hole; the first is a datetime, too
        return None
    if _is_time(value):  # left alone, numpy says them as counts of nanoseconds: cut to what Python has for them
        return value.astype(f"{value.dtype.kind}8[us]").tolist()
    if _is_scattered(value):  # a copy is less work than Python's numbers are, and each keeps its own short form
        return value.copy(order="C")
    for kinds, form in _FORMS:
        if isinstance(value, kinds):
            return form(value)
    return _said_by(value)


def _said_by(value: Any) -> Any:
    if hasattr(value, "columns") and hasattr(value, "to_dict"):
        # A table of pandas or polars: the rows that it was fed with.
        return value.to_dicts() if hasattr(value, "to_dicts") else value.to_dict("records")
    if hasattr(type(value), "__struct_fields__"):  # msgspec's Structs, in the form that their own schema describes
        return sys.modules["msgspec"].to_builtins(value, enc_hook=_plain)
    for method in _SPEAKERS:
        if hasattr(value, method):
            return getattr(value, method)()
    raise _no_form(value)


def _is_time(value: Any) -> bool:
    """Say whether a value is, or is an array of, numpy's times or spans of time."""
    dtype = getattr(value, "dtype", None)
    return getattr(dtype, "kind", "") in ("M", "m") and type(dtype).__module__.startswith("numpy")


def _is_scattered(value: Any) -> bool:
    """Say whether an array is one of numbers that don't lie in order, as orjson wants them."""
    is_array = type(value).__module__ == "numpy" and type(value).__name__ == "ndarray"
    return is_array and value.dtype.kind in "biuf" and not value.flags.c_contiguous


def _refuse(value: Any) -> Any:
    raise _no_form(value)


def _no_form(value: Any) -> TypeError:
    kind = type(value)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return TypeError(f"`{name}` has no form in JSON")


# What objects of a kind mean, the first that fits. Bytes and such stand before the sequences that they are as well.
_FORMS: tuple[tuple[type | UnionType, Callable[[Any], Any]], ...] = (
    (datetime | date | time, lambda moment: moment.isoformat()),
    (timedelta, timedelta.total_seconds),
    (Decimal, lambda number: float(number) if number.is_finite() else None),
    (Integral, int),
    (Real, float),
    (Mapping, dict),
    (bytes | bytearray | memoryview | type, _refuse),
    (Set | Sequence | ValuesView, list),
)


def _plain_tree(value: Any) -> Any:
    """Return a value in JSON's own types all the way down, as orjson would."""
    if isinstance(value, Enum):
        return _plain_tree(value.value)
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {_plain_key(key): _plain_tree(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain_tree(item) for item in value]
    if isinstance(value, UUID):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [entry.name for entry in dataclasses.fields(value)]
        return {name: _plain_tree(getattr(value, name)) for name in names if not name.startswith("_")}
    return _plain_tree(_plain(value))


def _plain_key(key: Any) -> str:
    plain = _plain_tree(key)
    if isinstance(plain, list | dict):
        raise TypeError(f"a {type(key).__qualname__} can't be a key in JSON")
    return plain if isinstance(plain, str) else json.dumps(plain)
