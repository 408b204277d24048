"""Amounts as people write them in a flag: 10, 10%, 15m, 800ms; what is none is said with an example."""

import re
from typing import Any

import click

_SECONDS = {"s": 1, "m": 60, "h": 3600}
_MS = {"ms": 1, "s": 1000}


class _Amount(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """A number with a unit."""

    def __init__(self, name: str, units: dict[str, float], example: str, low: float, high: float) -> None:
        self.name, self._units, self._example, self._low, self._high = name, units, example, low, high

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number in the smallest unit."""
        found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([a-z%]*)", str(value))
        factor = self._units.get(found[2]) if found else None
        if found is None or factor is None or not self._low <= float(found[1]) * factor <= self._high:
            self.fail(f"{value!r} should be like {self._example}", param, ctx)
        return float(found[1]) * factor


PERCENT = _Amount("PERCENT", {"": 1, "%": 1}, "10 or 10%, from 0 to 100", 0, 100)
SHARE = _Amount("PERCENT", {"": 1, "%": 1}, "10 or 10%, from 0.1 to 99", 0.1, 99)
SPAN = _Amount("TIME", dict(_SECONDS), "15m, 90s or 1h", 1, 7 * 86400)
LATENCY = _Amount("TIME", dict(_MS), "800ms or 2s", 1, 900_000)
