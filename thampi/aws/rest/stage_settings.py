"""The settings of a REST API's stage: what AWS says of it and what is wanted -> patches, and what they change; pure.

A stage is changed by one call that takes a list of patches, and the deployment that it serves is one of them: what is
returned here goes with it. `found` is a stage as GetStages says it.
https://docs.aws.amazon.com/apigateway/latest/api/patch-operations.html#UpdateStage-Patch
"""

from collections.abc import Mapping
from typing import Any

from thampi.aws.rest.wanted import Rest

Patch = Mapping[str, str]

_EVERYTHING = "*/*"


def differences(found: Mapping[str, Any], wanted: Rest) -> tuple[str, ...]:
    """Say what `patches` would change, a line each."""
    return tuple(f"{key}: {_shown(old)} -> {_shown(new)}" for key, old, new in _compared(found, wanted) if old != new)


def patches(found: Mapping[str, Any], wanted: Rest) -> list[Patch]:
    """Return what makes the stage as wanted."""
    return [_patch(key, new) for key, old, new in _compared(found, wanted) if old != new]


def stricter(found: Mapping[str, Any], wanted: Rest) -> tuple[list[Patch], tuple[str, ...]]:
    """Return what makes the stage as strict as wanted and nothing else, and the lines that say it."""
    lower = [each for each in _compared(found, wanted) if each[1] is None or each[2] < each[1]]
    return [_patch(key, new) for key, _, new in lower], tuple(
        f"{key}: {_shown(old)} -> {new:g}" for key, old, new in lower
    )


def _compared(found: Mapping[str, Any], wanted: Rest) -> list[tuple[str, float | None, float]]:
    has = (found.get("methodSettings") or {}).get(_EVERYTHING) or {}
    return [
        ("rate_per_s", has.get("throttlingRateLimit"), wanted.limit.rate_per_s),
        ("burst", has.get("throttlingBurstLimit"), wanted.limit.burst),
    ]


def _patch(key: str, value: float) -> Patch:
    setting = {"rate_per_s": "rateLimit", "burst": "burstLimit"}[key]
    return {"op": "replace", "path": f"/{_EVERYTHING}/throttling/{setting}", "value": f"{value:.15g}"}


def _shown(value: float | None) -> str:
    return "none" if value is None else f"{value:g}"
