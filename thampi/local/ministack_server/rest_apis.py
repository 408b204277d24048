"""REST APIs as API Gateway has them: what is patched is what was meant, and a key that is gone is in no plan.

ministack takes the name of a stage that is added to a usage plan for the list of all, and the text "false" for true.
"""

from typing import Any

_STAGES = "/apiStages"


def hold_stages(apigateway_v1: Any) -> None:
    """Let UpdateUsagePlan add and remove the stages that a plan holds."""
    update = apigateway_v1._update_usage_plan

    def updated(plan_id: str, data: dict[str, Any]) -> Any:
        operations = data.get("patchOperations", [])
        plan = apigateway_v1._usage_plans.get(plan_id)
        for each in operations if plan else []:
            if each.get("path") == _STAGES:
                api_id, _, stage = str(each.get("value", "")).partition(":")
                others = [
                    held for held in plan.get("apiStages") or [] if (held["apiId"], held["stage"]) != (api_id, stage)
                ]
                added = [{"apiId": api_id, "stage": stage}] if each.get("op") == "add" else []
                plan["apiStages"] = [*others, *added]
        return update(
            plan_id, {**data, "patchOperations": [each for each in operations if each.get("path") != _STAGES]}
        )

    apigateway_v1._update_usage_plan = updated


def forget_keys(apigateway_v1: Any) -> None:
    """Take a key that is deleted out of the plans."""
    delete = apigateway_v1._delete_api_key

    def deleted(key_id: str) -> Any:
        for plan_id in list(apigateway_v1._usage_plan_keys):
            apigateway_v1._usage_plan_keys[plan_id].pop(key_id, None)
        return delete(key_id)

    apigateway_v1._delete_api_key = deleted


def ask_for_keys(apigateway_v1: Any) -> None:
    """Let UpdateMethod switch off that a method asks for a key, not only on."""
    update = apigateway_v1._update_method

    def updated(api_id: str, resource_id: str, http_method: str, data: dict[str, Any]) -> Any:
        operations = [
            {**each, "value": each.get("value") in (True, "true")} if each.get("path") == "/apiKeyRequired" else each
            for each in data.get("patchOperations", [])
        ]
        return update(api_id, resource_id, http_method, {**data, "patchOperations": operations})

    apigateway_v1._update_method = updated
