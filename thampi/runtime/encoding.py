"""Answers as JSON: what a model returns, numpy, pandas, Decimal and dates included, in the bytes that callers get.

NaN and infinity become null, which is all that JSON has for them. Decimal becomes a number, a date its ISO form.
"""

import contextlib
import json
import math
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import orjson

_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS


def encode(value: Any) -> bytes:
    """Return `value` as JSON; raise TypeError, naming the type, for what JSON can't say."""
    with contextlib.suppress(TypeError):
        return orjson.dumps(value, default=_plain, option=_OPTIONS)
    # What orjson refuses as a whole: integers over 64 bits, keys of numpy's types, arrays of unusual layout.
    return json.dumps(_plain_tree(value), allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()


def _plain(value: Any) -> Any:
    """Return what an object of another library means in JSON's own types; called for those that orjson doesn't know."""
    if isinstance(value, Decimal):
        return float(value) if value.is_finite() else None
    if isinstance(value, timedelta):
        return value.total_seconds()
    if _is_missing(value):
        return None
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, set | frozenset | range) or type(value).__name__ in ("dict_keys", "dict_values"):
        return list(value)
    if hasattr(value, "columns") and hasattr(value, "to_dict"):  # a pandas DataFrame, as the rows that it was fed with
        return value.to_dict("records")
    for method in (
        "tolist",
        "to_list",
        "_asdict",
        "to_dict",
        "item",
    ):  # arrays, series, tensors, their scalars
        if hasattr(value, method):
            return getattr(value, method)()
    raise TypeError(f"a {type(value).__module__}.{type(value).__qualname__} has no form in JSON")


def _plain_tree(value: Any) -> Any:
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {_plain_key(key): _plain_tree(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain_tree(item) for item in value]
    return _plain_tree(_plain(value))


def _plain_key(key: Any) -> str:
    if isinstance(key, str):
        return key
    plain = _plain_tree(key)
    if isinstance(plain, list | dict):
        raise TypeError(f"a {type(key).__qualname__} can't be a key in JSON")
    return json.dumps(plain) if not isinstance(plain, str) else plain


def _is_missing(value: Any) -> bool:
    return type(value).__name__ in ("NaTType", "NAType")  # pandas' words for a hole
