"""What each API key may ask for: rate, burst and quota, as wanted and as AWS keeps them, and how to change them.

How AWS wants changes said: https://docs.aws.amazon.com/apigateway/latest/api/patch-operations.html
"""

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from thampi.aws.rest.wanted import Plan

_DAYS = {"day": 1, "week": 7, "month": 30}


def whole(limits: Plan) -> Plan:
    """Return the limits as AWS keeps them.

    Of rate and burst, one without the other is 0 there, which lets nothing through: it follows from the one that is
    given, as what comes in one second.
    """
    rate_per_s, burst = limits.rate_per_s, limits.burst
    if rate_per_s is not None and burst is None:
        burst = max(1, math.ceil(rate_per_s))
    if burst is not None and rate_per_s is None:
        rate_per_s = float(burst)
    period = Plan.period if limits.quota is None else limits.period
    return Plan(None if rate_per_s is None else float(rate_per_s), burst, limits.quota, period)


def of_plan(plan: Mapping[str, Any]) -> Plan:
    """Return the limits in what AWS says of a usage plan."""
    throttle, quota = plan.get("throttle") or {}, plan.get("quota") or {}
    has_throttle, has_quota = "rateLimit" in throttle or "burstLimit" in throttle, "limit" in quota
    return Plan(
        rate_per_s=float(throttle.get("rateLimit", 0)) if has_throttle else None,
        burst=int(throttle.get("burstLimit", 0)) if has_throttle else None,
        quota=int(quota["limit"]) if has_quota else None,
        period=str(quota.get("period", Plan.period)).lower() if has_quota else Plan.period,
    )


def as_created(limits: Plan) -> dict[str, Any]:
    """Return what CreateUsagePlan wants to hear of them."""
    made: dict[str, Any] = {}
    if limits.rate_per_s is not None:
        made["throttle"] = {"rateLimit": limits.rate_per_s, "burstLimit": limits.burst}
    if limits.quota is not None:
        made["quota"] = {"limit": limits.quota, "period": limits.period.upper()}
    return made


def patches(found: Plan, wanted: Plan) -> list[dict[str, str]]:
    """Return the operations that make one of the other; AWS takes `replace` also for what is not there yet."""
    made: list[dict[str, str]] = []
    if (found.rate_per_s, found.burst) != (wanted.rate_per_s, wanted.burst):
        made += _replaced("/throttle", {"rateLimit": _number(wanted.rate_per_s), "burstLimit": _number(wanted.burst)})
    if (found.quota, found.period) != (wanted.quota, wanted.period):
        period = None if wanted.quota is None else wanted.period.upper()
        made += _replaced("/quota", {"limit": _number(wanted.quota), "period": period})
    return made


def _replaced(path: str, values: Mapping[str, str | None]) -> list[dict[str, str]]:
    given = {key: value for key, value in values.items() if value is not None}
    if not given:
        return [{"op": "remove", "path": path}]
    return [{"op": "replace", "path": f"{path}/{key}", "value": value} for key, value in given.items()]


def stricter(found: Plan, wanted: Plan) -> Plan:
    """Return the stricter of each; of two quotas the one that lets less through in a day."""
    quota = found if _a_day(found) <= _a_day(wanted) else wanted
    return Plan(
        rate_per_s=_lower(found.rate_per_s, wanted.rate_per_s),
        burst=_lower(found.burst, wanted.burst),
        quota=quota.quota,
        period=quota.period,
    )


def _a_day(limits: Plan) -> float:
    return math.inf if limits.quota is None else limits.quota / _DAYS[limits.period]


def _lower(found: Any, wanted: Any) -> Any:
    return wanted if found is None else found if wanted is None else min(found, wanted)


def differences(found: Plan, wanted: Plan) -> tuple[str, ...]:
    """Say what would have to change, a line each."""
    old, new = asdict(found), asdict(wanted)
    return tuple(f"plan.{key}: {_shown(old[key])} -> {_shown(new[key])}" for key in new if old[key] != new[key])


def _number(value: float | None) -> str | None:
    if value is None:
        return None
    return str(int(value)) if value == int(value) else repr(float(value))


def _shown(value: object) -> str:
    return "absent" if value is None else str(value)
