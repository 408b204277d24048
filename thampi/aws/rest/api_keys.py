"""The API keys of a stage: made by AWS, put into the stage's usage plan, listed, shown, revoked.

A key is found again by its name and tags: one that no plan holds is from a run that ended in between. Its value never
leaves this module but through `value`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from thampi import names
from thampi.aws.ensured import Ensured
from thampi.aws.rest import usage_plan
from thampi.aws.rest.again import again
from thampi.aws.session import Aws, absent_is_fine, doing

_LABEL = "thampi:key"  # the tag that has the label: names of two projects may meet in one


@dataclass(frozen=True)
class ApiKey:
    """A key as it is at AWS, without its value."""

    label: str
    key_id: str
    created: datetime
    enabled: bool
    in_plan: bool  # else it lets nobody in


@dataclass(frozen=True)
class Usage:
    """How much of its quota a key has asked for in the current period; AWS counts with some delay."""

    used: int
    remaining: int


def read(aws: Aws, project: str, stage: str, plan: usage_plan.Found | None) -> tuple[ApiKey, ...]:
    """Find the keys of a stage, by label and age; those in no plan, or in a double of it, say so."""
    prefix = names.api_key(project, stage, "")
    with doing(f"reading the API keys {prefix}*"):
        held = _held(aws, plan, prefix) if plan else set()
        ours = names.tags(project, stage).items()
        found = [
            ApiKey(
                label=each["tags"].get(_LABEL, each["name"].removeprefix(prefix)),
                key_id=each["id"],
                created=_utc(each["createdDate"]),
                enabled=each["enabled"],
                in_plan=each["id"] in held,
            )
            for each in _every(aws, "get_api_keys", nameQuery=prefix)
            # AWS takes the query for a beginning, but doesn't say so.
            if each["name"].startswith(prefix) and ours <= (each.get("tags") or {}).items()
        ]
    return tuple(sorted(found, key=lambda key: (key.label, key.created, key.key_id)))


def ensure(
    aws: Aws, *, project: str, stage: str, label: str, plan: usage_plan.Found, tags: Mapping[str, str]
) -> Ensured[ApiKey]:
    """Have a key of this label in the plan; what a run has begun that ended in between is finished, and made once.

    Raises CloudError when AWS refuses.
    """

    def look() -> list[ApiKey]:
        return [key for key in read(aws, project, stage, plan) if key.label == label]

    def write(found: list[ApiKey]) -> Ensured[ApiKey]:
        if not found:
            return Ensured(_make(aws, project, stage, label, plan, tags), "created")
        used = next((key for key in found if key.in_plan), found[0])
        # Others of that label, which nobody was told of.
        spare = [key for key in found if key is not used and not key.in_plan]
        if not used.in_plan:
            usage_plan.add_key(aws, plan.plan_id, used.key_id)
        for key in spare:
            _delete(aws, key.key_id)
        done = ApiKey(used.label, used.key_id, used.created, used.enabled, in_plan=True)
        return Ensured(done, "left" if used.in_plan and not spare else "changed")

    with doing(f"making the API key {names.api_key(project, stage, label)}"):
        return again(aws, look(), look, write)


def value(aws: Aws, key: ApiKey) -> str:
    """Return what callers send as x-api-key."""
    with doing(f"reading the API key {key.label}"):
        return str(aws.client("apigateway").get_api_key(apiKey=key.key_id, includeValue=True)["value"])


def usage(aws: Aws, plan: usage_plan.Found, today: date) -> dict[str, Usage]:
    """Return how much each key has used of its quota, by id; empty where the plan has none, or AWS can't say.

    `today` is the day in UTC: AWS keeps a line for each day, and the last one says what remains of the period.
    """
    if plan.limits.quota is None:
        return {}
    day = today.isoformat()
    with doing(f"reading the usage of the plan {plan.plan_id}"):
        pages = aws.client("apigateway").get_paginator("get_usage")
        days = {
            key_id: logged
            for page in pages.paginate(usagePlanId=plan.plan_id, startDate=day, endDate=day)
            for key_id, logged in (page.get("items") or {}).items()
        }
    found = {key_id: int(logged[-1][1]) for key_id, logged in days.items() if logged}
    return {key_id: Usage(max(0, plan.limits.quota - left), left) for key_id, left in found.items()}


def revoke(aws: Aws, key: ApiKey) -> None:
    """Delete a key: within about half a minute it lets nobody in any more. One that is gone is fine."""
    with doing(f"revoking the API key {key.label}"):
        _delete(aws, key.key_id)


# ------------------------------------------------------------------------------------------------------- the calls


def _make(aws: Aws, project: str, stage: str, label: str, plan: usage_plan.Found, tags: Mapping[str, str]) -> ApiKey:
    made = aws.once("apigateway").create_api_key(
        name=names.api_key(project, stage, label), enabled=True, tags={**tags, _LABEL: label}
    )
    usage_plan.add_key(aws, plan.plan_id, made["id"])
    return ApiKey(label, made["id"], _utc(made["createdDate"]), enabled=True, in_plan=True)


def _held(aws: Aws, plan: usage_plan.Found, prefix: str) -> set[str]:
    # The answer has the values, too: nothing but the ids is kept of it.
    return {each["id"] for each in _every(aws, "get_usage_plan_keys", usagePlanId=plan.plan_id, nameQuery=prefix)}


def _every(aws: Aws, operation: str, **of: str) -> list[dict[str, Any]]:
    pages = aws.client("apigateway").get_paginator(operation).paginate(**of)
    return [each for page in pages for each in page.get("items", [])]


def _delete(aws: Aws, key_id: str) -> None:
    with absent_is_fine("NotFoundException"):
        aws.client("apigateway").delete_api_key(apiKey=key_id)


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)
