"""Keys belong to a stage: made before or after its first push, found by who asks, and gone with the stage alone."""

import http.server
import threading
from dataclasses import replace

import pytest

import thampi
from tests.operations.stand import BUCKET, REGION
from thampi.asking.failures import QuotaExceededError, UnauthorizedError
from thampi.config import Api, Plan
from thampi.errors import CloudError, ConfigError
from thampi.operations import destroy, keys, predict, replacement

KEYS = Api(type="rest", auth="api_key")
OPEN = Api(type="rest")
NAME = "thampi-scale-staging"


def with_api(stand, api=KEYS, **settings):
    return replace(stand.stage, api=api, **settings)


def plans(stand):
    return stand.snapshot()["usage plans"]


def names(stand):
    return [each["name"] for each in stand.snapshot()["API keys"]]


def held(stand):
    """What the one plan holds: the names of stages, and of keys."""
    (plan,) = plans(stand)
    return [each["stage"] for each in plan["apiStages"]], plan["keys"]


# ------------------------------------------------------------------------------------------------- a key and its stage


def test_a_key_that_is_made_before_the_first_push_is_in_the_plan_that_the_push_attaches(stand):
    stage = with_api(stand)
    made = keys.create(stage, stand.place, "anna")
    assert held(stand) == ([], [f"{NAME}-anna"])
    stand.push(stage)
    assert held(stand) == (["staging"], [f"{NAME}-anna"])
    assert keys.show(stage, stand.place, "anna") == made


def test_the_limits_are_those_of_the_last_push_whatever_a_new_key_finds_in_the_settings(stand):
    stand.push(with_api(stand, replace(KEYS, plan=Plan(quota=7))))
    keys.create(with_api(stand, replace(KEYS, plan=Plan(quota=9))), stand.place, "anna")
    assert plans(stand)[0]["quota"]["limit"] == 7


def test_plan_and_key_carry_the_tags_of_the_stage(stand):
    stage = with_api(stand, tags={"team": "ml"})
    keys.create(stage, stand.place, "anna")
    ours = {"thampi:project": "scale", "thampi:stage": "staging", "team": "ml"}
    found = stand.snapshot()
    assert [each["tags"] for each in found["usage plans"]] == [ours]
    assert [each["tags"] for each in found["API keys"]] == [{**ours, "thampi:key": "anna"}]


def test_keys_of_another_stage_are_not_seen(stand):
    production = with_api(stand, stage="production")
    keys.create(production, stand.place, "anna")
    assert keys.listed(with_api(stand), stand.place) == []
    made = keys.create(with_api(stand), stand.place, "anna")
    assert keys.show(production, stand.place, "anna").value != made.value


def test_neither_the_value_nor_what_has_it_shows_it_by_accident(stand):
    made = keys.create(with_api(stand), stand.place, "anna")
    assert made.value not in repr(made) + str(made)
    assert made.value not in repr(keys.listed(with_api(stand), stand.place))
    assert made.as_json()["value"] == made.value


@pytest.mark.parametrize("api", [OPEN, Api()])
def test_no_key_and_no_plan_is_made_where_nobody_is_asked_for_one(stand, api):
    with pytest.raises(ConfigError, match="API key"):
        keys.create(with_api(stand, api), stand.place, "anna")
    assert stand.calls == []


def test_two_keys_of_one_label_are_revoked_together(stand):
    stage = with_api(stand)
    keys.create(stage, stand.place, "anna")
    client = stand.clients["apigateway"]
    tags = stand.snapshot()["API keys"][0]["tags"]
    second = client.create_api_key(name=f"{NAME}-anna", enabled=True, tags=tags)["id"]
    plan = client.get_usage_plans()["items"][0]["id"]
    client.create_usage_plan_key(usagePlanId=plan, keyId=second, keyType="API_KEY")
    assert len(keys.revoke(stage, stand.place, "anna")) == 2
    assert names(stand) == []


# ---------------------------------------------------------------------------------------- what a push makes of the plan


def test_a_stage_that_asks_for_no_keys_has_no_plan_and_is_not_asked_about_one(stand):
    stand.push(with_api(stand, OPEN))
    stand.push(with_api(stand, replace(OPEN, auth="iam")))
    assert plans(stand) == []
    assert not [call for call in stand.calls if "UsagePlan" in call or "ApiKey" in call]


def test_nobody_is_asked_for_a_key_before_those_who_have_one_are_let_in(stand):
    stage = with_api(stand)
    keys.create(stage, stand.place, "anna")
    stand.push(with_api(stand, OPEN))
    seen = []
    stand.after = lambda call: seen.append((stand.whom_rest_lets_in(), held(stand)[0]))
    stand.push(stage)
    stand.undisturbed()
    asked = [stages for who, stages in seen if who == {("NONE", True)}]
    assert asked
    assert all(stages == ["staging"] for stages in asked)


def test_when_nobody_is_asked_any_more_keys_and_plan_stay_and_serve_again_later(stand):
    stage = with_api(stand)
    stand.push(stage)
    made = keys.create(stage, stand.place, "anna")
    stand.push(with_api(stand, OPEN))
    assert held(stand) == (["staging"], [f"{NAME}-anna"])
    stand.push(stage)
    assert keys.show(stage, stand.place, "anna") == made


def test_an_api_of_another_type_takes_its_place_and_keys_and_plan_stay_detached(stand):
    stage = with_api(stand)
    stand.push(stage)
    keys.create(stage, stand.place, "anna")
    stand.calls.clear()
    stand.push(with_api(stand, Api()), replace_endpoint=True)
    assert stand.calls.index("apigateway.UpdateUsagePlan") < stand.calls.index("apigateway.DeleteRestApi")
    assert held(stand) == ([], [f"{NAME}-anna"])
    stand.push(stage, replace_endpoint=True)
    assert held(stand) == (["staging"], [f"{NAME}-anna"])


def test_a_plan_is_tightened_before_the_release_and_loosened_after(stand):
    stand.push(with_api(stand, replace(KEYS, plan=Plan(rate_per_s=5.0, burst=10))))
    seen = []
    stage = with_api(stand, replace(KEYS, plan=Plan(rate_per_s=2.0, burst=20)), model_dir=stand.models[1])

    def after(call):
        if call in ("apigateway.UpdateUsagePlan", "lambda.UpdateAlias"):
            seen.append((call.partition(".")[2], plans(stand)[0]["throttle"]))

    stand.after = after
    stand.push(stage)
    stand.undisturbed()
    old = {"rateLimit": 5.0, "burstLimit": 10}
    strict, wanted = old | {"rateLimit": 2.0}, {"rateLimit": 2.0, "burstLimit": 20}
    assert seen == [
        ("UpdateAlias", old),  # the note of the stage's ground: nothing is made live yet
        ("UpdateUsagePlan", strict),
        ("UpdateAlias", strict),
        ("UpdateUsagePlan", wanted),
        ("UpdateAlias", wanted),
    ]


def test_a_plan_that_was_changed_or_taken_away_by_hand_is_put_right_by_a_push(stand):
    stage = with_api(stand, replace(KEYS, plan=Plan(quota=7)))
    pushed = stand.push(stage)
    golden = stand.snapshot()
    client = stand.clients["apigateway"]
    (plan,) = client.get_usage_plans()["items"]
    operations = [{"op": "replace", "path": "/quota/limit", "value": "70"}]
    operations.append({"op": "remove", "path": "/apiStages", "value": f"{plan['apiStages'][0]['apiId']}:staging"})
    client.update_usage_plan(usagePlanId=plan["id"], patchOperations=operations)
    changed = [row for row in stand.push(stage).rows if row.thing == "endpoint"]
    assert [line.partition(":")[0] for line in changed[0].changes] == ["plan.quota", "plan.api"]
    assert stand.snapshot() == golden
    client.update_usage_plan(usagePlanId=plan["id"], patchOperations=operations[1:])
    client.delete_usage_plan(usagePlanId=plan["id"])
    changed = [row for row in stand.push(stage).rows if row.thing == "endpoint"]
    assert changed[0].changes == ("plan: absent -> created",)
    assert stand.snapshot() == golden
    assert stand.push(stage).url == pushed.url


# ---------------------------------------------------------------------------------------------------------- destroy


def test_destroy_takes_keys_and_plan_after_the_endpoint_and_nobody_elses(stand):
    stage, production = with_api(stand), with_api(stand, stage="production")
    keys.create(production, stand.place, "anna")
    before = stand.snapshot()
    stand.push(stage)
    for label in ("anna", "ben"):
        keys.create(stage, stand.place, label)
    gone = destroy.destroy(stage, stand.place, who="ann@laptop")
    assert [(each.thing, each.name, each.was_there) for each in gone][:2] == [
        ("endpoint", NAME, True),
        ("API keys", NAME, True),
    ]
    after = stand.snapshot()
    assert (after["API keys"], after["usage plans"]) == (before["API keys"], before["usage plans"])
    assert after["REST APIs"] == []


def test_destroy_takes_keys_that_are_left_from_when_they_were_asked_for(stand):
    stand.push(with_api(stand))
    keys.create(with_api(stand), stand.place, "anna")
    stand.push(with_api(stand, Api()), replace_endpoint=True)
    gone = destroy.destroy(with_api(stand, Api()), stand.place, who="ann@laptop")
    assert "API keys" in [each.thing for each in gone]
    assert (names(stand), plans(stand)) == ([], [])


def test_destroy_says_nothing_of_keys_where_there_never_were_any(stand):
    stand.push()
    gone = destroy.destroy(stand.stage, stand.place, who="ann@laptop")
    assert "API keys" not in [each.thing for each in gone]


# -------------------------------------------------------------------------------------- what predict and clients send


class _Endpoint(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer()

    def do_GET(self):
        self.answer()

    def answer(self):
        self.server.asked.append(self.headers.get("x-api-key"))
        status, text = self.server.answers.pop(0) if self.server.answers else (200, '{"result": 6}')
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def endpoint():
    """What answers at the URL: `answers` are status and body, `asked` the keys that it was shown."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Endpoint) as server:
        server.asked, server.answers = [], []
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def local(stand, endpoint):
    """The stage `local`, which asks for keys, and whose URL leads to `endpoint`; its clients lead to moto."""
    stage = with_api(stand, stage="local")
    stand.push(stage)
    aws = replace(stand.place.aws, endpoint_url=f"http://127.0.0.1:{endpoint.server_port}")
    return stage, replace(stand.place, aws=aws)


def test_predict_sends_a_key_that_aws_tells(local, endpoint):
    stage, place = local
    values = [keys.create(stage, place, label).value for label in ("ben", "anna")]
    assert predict.through_url(stage, place, 1, environ={}) == {"result": 6}
    assert endpoint.asked[0] in values


def test_predict_sends_the_key_of_the_variable_and_asks_aws_for_none(stand, local, endpoint):
    stage, place = local
    keys.create(stage, place, "anna")
    stand.calls.clear()
    predict.through_url(stage, place, 1, environ={"THAMPI_API_KEY": "a-key-of-mine\n"})
    assert endpoint.asked == ["a-key-of-mine"]
    assert not [call for call in stand.calls if "ApiKey" in call]


def test_predict_passes_over_keys_that_would_not_be_let_in(stand, local, endpoint):
    stage, place = local
    client = stand.clients["apigateway"]
    disabled, unfinished, good = (keys.create(stage, place, label) for label in ("a", "b", "c"))
    off = [{"op": "replace", "path": "/enabled", "value": "false"}]
    client.update_api_key(apiKey=disabled.key.key_id, patchOperations=off)
    (plan,) = client.get_usage_plans()["items"]
    client.delete_usage_plan_key(usagePlanId=plan["id"], keyId=unfinished.key.key_id)
    predict.through_url(stage, place, 1, environ={})
    assert endpoint.asked == [good.value]


def test_without_a_key_predict_says_how_to_make_one_and_asks_nobody(local, endpoint):
    stage, place = local
    with pytest.raises(
        CloudError, match="the endpoint of stage local asks for an API key, and there is none"
    ) as refused:
        predict.through_url(stage, place, 1, environ={})
    assert "thampi keys local create me" in refused.value.hint
    assert endpoint.asked == []


def test_a_variable_that_is_no_key_is_refused_without_showing_it(local):
    stage, place = local
    with pytest.raises(ConfigError, match="THAMPI_API_KEY has to be one word of plain ASCII") as refused:
        predict.through_url(stage, place, 1, environ={"THAMPI_API_KEY": "sesame\r\nX-Other: 1"})
    assert "sesame" not in str(refused.value)


def test_an_open_endpoint_gets_no_key(stand, endpoint):
    stage = with_api(stand, OPEN, stage="local")
    stand.push(stage)
    aws = replace(stand.place.aws, endpoint_url=f"http://127.0.0.1:{endpoint.server_port}")
    predict.through_url(stage, replace(stand.place, aws=aws), 1, environ={"THAMPI_API_KEY": "a-key-of-mine"})
    assert endpoint.asked == [None]


@pytest.mark.parametrize(
    ("status", "said", "kind", "hint"),
    [
        (403, "Forbidden", UnauthorizedError, "api_key"),
        (429, "Limit Exceeded", QuotaExceededError, "wait for the next period"),
    ],
)
def test_what_a_gateway_says_of_a_key_is_said_with_the_cure_and_asked_once(local, endpoint, status, said, kind, hint):
    stage, place = local
    endpoint.answers = [(status, f'{{"message": "{said}"}}')] * 4
    with pytest.raises(kind, match=f"answered {status}: {said}") as refused:
        predict.through_url(stage, place, 1, environ={"THAMPI_API_KEY": "a-key-of-mine"})
    assert hint in refused.value.hint
    assert "a-key-of-mine" not in str(refused.value)
    assert len(endpoint.asked) == 1


def test_a_client_of_a_stage_finds_a_key_or_takes_the_one_it_is_given(stand, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.delenv("THAMPI_API_KEY", raising=False)
    monkeypatch.chdir(tmp_path)
    api = 'api = { type = "rest", auth = "api_key" }'
    said = f'name = "scale"\n[stages.staging]\nregion = "{REGION}"\nbucket = "{BUCKET}"\n{api}\n'
    (tmp_path / "thampi.toml").write_text(said)
    stage = with_api(stand)
    stand.push(stage)
    with pytest.raises(CloudError, match="asks for an API key, and there is none"):
        thampi.Client(stage="staging")

    def sent(client):
        return client._asker._authorize("POST", client.url, {}, b"")["x-api-key"]

    with thampi.Client(stage="staging", api_key="given") as client:
        assert sent(client) == "given"
    monkeypatch.setenv("THAMPI_API_KEY", "mine")
    with thampi.Client(stage="staging") as client:
        assert sent(client) == "mine"
    monkeypatch.delenv("THAMPI_API_KEY")
    made = keys.create(stage, stand.place, "anna")
    with thampi.Client(stage="staging") as client:
        assert sent(client) == made.value
        assert made.value not in repr(client)


# ------------------------------------------------------------------------------------------ a new endpoint is tried


def test_a_new_endpoint_that_asks_for_a_key_has_answered(stand, local, endpoint):
    stage, place = local
    endpoint.answers = [(403, '{"message": "Forbidden"}')]
    replacement.try_out(stage, place)
    assert endpoint.asked == [None]


def test_a_new_endpoint_at_which_there_is_nothing_has_not(stand, local, endpoint):
    stage, place = local
    endpoint.answers = [(403, '{"message": "Missing Authentication Token"}')] * 2 + [(403, '{"message": "Forbidden"}')]
    stand.sleeps.clear()
    replacement.try_out(stage, place)
    assert (len(endpoint.asked), stand.sleeps) == (3, [1.0, 2.0])
