"""The usage plan of a stage's API keys: read, compared, made as wanted, attached to a REST API, removed.

A key lets its owner in where one plan holds both the key and the stage of the API, and the plan says how much each key
may ask for. The plan needs no API to be there: keys may be made, and handed out, before the first push.

AWS takes a plan away from no API that goes, but deletes none that still has one: it is detached first
(aws-sdk-js#3841). How AWS wants changes said: https://docs.aws.amazon.com/apigateway/latest/api/patch-operations.html
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from thampi import names
from thampi.aws import owned
from thampi.aws.ensured import Ensured
from thampi.aws.rest.again import again
from thampi.aws.rest.limits import as_created, differences, of_plan, patches, stricter, whole
from thampi.aws.rest.wanted import Plan
from thampi.aws.session import Aws, absent_is_fine, doing


@dataclass(frozen=True)
class Found:
    """A plan as it is at AWS."""

    plan_id: str
    limits: Plan
    tags: Mapping[str, str] = field(default_factory=dict)
    api_ids: tuple[str, ...] = ()  # the APIs of which it holds this stage
    doubles: tuple[str, ...] = ()  # other plans of the same name and tags, from creations whose answer was lost


def read(aws: Aws, project: str, stage: str) -> Found | None:
    """Find the plan of a stage by its name and tags, with one call where there is one of it at most.

    One of that name without our tags is somebody else's, and not seen: API Gateway doesn't mind equal names. Of
    several, the one that holds an API is in use, or one that holds keys.
    """
    with doing(f"reading the usage plan {names.usage_plan(project, stage)}"):
        return _read(aws, project, stage)


def changes(
    found: Found | None, *, api_id: str | None, limits: Plan, tags: Mapping[str, str], keep: bool = False
) -> tuple[str, ...]:
    """Say what `ensure` would do, a line each."""
    if found is None:
        return ("plan: absent -> created",)
    attached = api_id is None or api_id in found.api_ids
    return (
        *differences(found.limits, found.limits if keep else whole(limits)),
        *(() if attached else (f"plan.api: {', '.join(found.api_ids) or 'none'} -> {api_id}",)),
        *(f"plan.{line}" for line in owned.changes(found.tags, tags)),
        *(f"double plan: {each} -> removed" for each in found.doubles),
    )


def ensure(
    aws: Aws,
    *,
    project: str,
    stage: str,
    api_id: str | None,
    limits: Plan,
    tags: Mapping[str, str],
    keep: bool = False,
) -> Ensured[Found]:
    """Make the plan so, and attach it to the stage of the API, which has to be there; None attaches it to none.

    With `keep` a plan that is there keeps its limits. Doubles are removed, and no key is lost with them.
    Raises CloudError when AWS refuses.
    """
    with doing(f"making the usage plan {names.usage_plan(project, stage)}"):
        first = _read(aws, project, stage)
        lines = changes(first, api_id=api_id, limits=limits, tags=tags, keep=keep)
        if first is not None and not lines:
            return Ensured(first, "left")

        def write(found: Found | None) -> Found:
            if found is None:
                return _make(aws, project, stage, api_id, whole(limits), tags)
            return _converge(aws, found, stage, api_id, found.limits if keep else whole(limits), tags)

        made = again(aws, first, lambda: _read(aws, project, stage), write)
    return Ensured(made, "created") if first is None else Ensured(made, "changed", lines)


def tighten(aws: Aws, found: Found, limits: Plan) -> Ensured[Found]:
    """Make the limits of a plan as strict as wanted, and nothing else."""
    aim = stricter(found.limits, whole(limits))
    lines = differences(found.limits, aim)
    if not lines:
        return Ensured(found, "left")
    with doing(f"tightening the usage plan {found.plan_id}"):
        _patch(aws, found.plan_id, patches(found.limits, aim))
    return Ensured(replace(found, limits=aim), "changed", lines)


def detach(aws: Aws, project: str, stage: str, api_id: str) -> bool:
    """Take the stage of an API out of the plan, before the API goes; the keys stay. Say whether it was in it."""
    with doing(f"detaching the usage plan {names.usage_plan(project, stage)}"):
        holding = [plan for plan in _ours(aws, project, stage) if api_id in _api_ids(plan, stage)]
        for plan in holding:
            _patch(aws, plan["id"], [_detached(api_id, stage)])
    return bool(holding)


def remove(aws: Aws, project: str, stage: str) -> bool:
    """Delete the plan of a stage, and its doubles; say whether there was one. Its keys are no business of this."""
    with doing(f"deleting the usage plan {names.usage_plan(project, stage)}"):
        plans = _ours(aws, project, stage)
        for plan in plans:
            _delete(aws, plan)
    return bool(plans)


# ------------------------------------------------------------------------------------------------------------- reading


def _read(aws: Aws, project: str, stage: str) -> Found | None:
    plans = _ours(aws, project, stage)
    if not plans:
        return None
    used = plans[0] if len(plans) == 1 else max(plans, key=lambda plan: (len(_api_ids(plan, stage)), _keys(aws, plan)))
    return Found(
        plan_id=used["id"],
        limits=of_plan(used),
        tags=_tags(aws, used),
        api_ids=_api_ids(used, stage),
        doubles=tuple(plan["id"] for plan in plans if plan is not used),
    )


def _ours(aws: Aws, project: str, stage: str) -> list[dict[str, Any]]:
    name, ours = names.usage_plan(project, stage), names.tags(project, stage).items()
    pages = aws.client("apigateway").get_paginator("get_usage_plans").paginate()
    plans = [plan for page in pages for plan in page.get("items", [])]
    mine = [plan for plan in plans if plan.get("name") == name and ours <= (plan.get("tags") or {}).items()]
    return sorted(mine, key=lambda plan: str(plan["id"]))


def _api_ids(plan: Mapping[str, Any], stage: str) -> tuple[str, ...]:
    return tuple(each["apiId"] for each in plan.get("apiStages") or () if each.get("stage") == stage)


def _keys(aws: Aws, plan: Mapping[str, Any]) -> int:
    return len(_key_ids(aws, plan["id"]))


def _key_ids(aws: Aws, plan_id: str) -> list[str]:
    # The answer has the values of the keys, too: nothing but the ids leaves here.
    pages = aws.client("apigateway").get_paginator("get_usage_plan_keys").paginate(usagePlanId=plan_id)
    return [str(key["id"]) for page in pages for key in page.get("items", [])]


def _tags(aws: Aws, plan: Mapping[str, Any]) -> dict[str, str]:
    """Return the tags of a plan: AWS lists them with it, what plays AWS locally those of its creation."""
    tags = dict(plan.get("tags") or {})
    if aws.endpoint_url is not None:
        tags |= aws.client("apigateway").get_tags(resourceArn=_arn(aws, plan["id"])).get("tags", {})
    return tags


def _arn(aws: Aws, plan_id: str) -> str:
    return aws.arn("apigateway", f"/usageplans/{plan_id}", account=False)


# ------------------------------------------------------------------------------------------------------------- writing


def _make(aws: Aws, project: str, stage: str, api_id: str | None, limits: Plan, tags: Mapping[str, str]) -> Found:
    more = as_created(limits)
    if api_id is not None:
        more["apiStages"] = [{"apiId": api_id, "stage": stage}]
    name = names.usage_plan(project, stage)
    made = aws.once("apigateway").create_usage_plan(name=name, tags=dict(tags), **more)
    return Found(made["id"], limits, dict(tags), () if api_id is None else (api_id,))


def _converge(aws: Aws, found: Found, stage: str, api_id: str | None, limits: Plan, tags: Mapping[str, str]) -> Found:
    for double in found.doubles:
        _take_over(aws, found.plan_id, double)
    operations = patches(found.limits, limits)
    if api_id is not None and api_id not in found.api_ids:
        operations.append({"op": "add", "path": "/apiStages", "value": f"{api_id}:{stage}"})
    if operations:
        _patch(aws, found.plan_id, operations)
    if owned.changes(found.tags, tags):
        aws.client("apigateway").tag_resource(resourceArn=_arn(aws, found.plan_id), tags=dict(tags))
    api_ids = (*found.api_ids, *([api_id] if api_id is not None and api_id not in found.api_ids else []))
    return Found(found.plan_id, limits, {**found.tags, **tags}, api_ids)


def _take_over(aws: Aws, plan_id: str, double: str) -> None:
    """Put the keys of a double into the plan, and delete it.

    It gives its APIs up first, because no key may be in two plans of one stage; a run that ends in between leaves the
    keys in the double, and the next one finds them there.
    """
    client = aws.client("apigateway")
    with absent_is_fine("NotFoundException"):
        _detach_all(aws, client.get_usage_plan(usagePlanId=double))
        for key_id in _key_ids(aws, double):
            add_key(aws, plan_id, key_id)
        client.delete_usage_plan(usagePlanId=double)


def add_key(aws: Aws, plan_id: str, key_id: str) -> None:
    """Put a key into the plan; one that is in it already stays."""
    try:
        aws.client("apigateway").create_usage_plan_key(usagePlanId=plan_id, keyId=key_id, keyType="API_KEY")
    except aws.client("apigateway").exceptions.ConflictException:
        if key_id not in _key_ids(aws, plan_id):
            raise


def _detached(api_id: str, stage: str) -> dict[str, str]:
    return {"op": "remove", "path": "/apiStages", "value": f"{api_id}:{stage}"}


def _patch(aws: Aws, plan_id: str, operations: Sequence[Mapping[str, str]]) -> None:
    aws.client("apigateway").update_usage_plan(usagePlanId=plan_id, patchOperations=list(operations))


def _delete(aws: Aws, plan: Mapping[str, Any]) -> None:
    with absent_is_fine("NotFoundException"):
        _detach_all(aws, plan)
        aws.client("apigateway").delete_usage_plan(usagePlanId=plan["id"])


def _detach_all(aws: Aws, plan: Mapping[str, Any]) -> None:
    holds = [_detached(each["apiId"], each["stage"]) for each in plan.get("apiStages") or ()]
    if holds:
        _patch(aws, plan["id"], holds)
