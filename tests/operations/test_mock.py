"""A stage that answers with an example before its model is there: what it is made of, what commands say of it."""

import json
from dataclasses import replace

import pytest

import thampi
from tests.aws.conftest import Death
from thampi.config import Api, Build, Cors, Limit
from thampi.errors import BundleError, CloudError, ConfigError
from thampi.operations import destroy, example, info, listing, mock, predict, rollback

MOCK = Api(type="rest", mock=True, mock_result={"label": "setosa"})
REST = Api(type="rest")


class Twice(thampi.Model):
    def predict(self, data: float, context) -> float:
        return 2 * data


class Long(thampi.Model):
    def predict(self, data, context):
        return "x" * data


def mocked(stand, **settings):
    return replace(stand.stage, api=replace(MOCK, **settings))


def test_there_is_an_api_and_a_bucket_and_nothing_else(accounts):
    with accounts.account() as stand:
        done = stand.push(mocked(stand))
        assert [(row.thing, row.action) for row in done.rows] == [
            ("bucket", "created"),
            ("endpoint", "created"),
            ("permission", "left"),
        ]
        state = stand.snapshot()
        assert {key for key, value in state.items() if value} == {"buckets", "REST APIs"}
        assert stand.example() == {"label": "setosa"}
        assert done.url.endswith("/staging/scale/predict")
        assert {call.split(".")[0] for call in stand.calls} <= {"s3", "apigateway", "apigatewayv2", "lambda", "sts"}


def test_a_second_push_only_reads(accounts):
    with accounts.account() as stand:
        stand.push(mocked(stand))
        stand.calls.clear()
        again = stand.push(mocked(stand))
        assert not again.changed
        assert not [each for each in stand.calls if not each.split(".")[1].startswith(("Get", "List", "Head"))]


def test_the_log_of_its_requests_is_there_before_it_and_goes_with_it(accounts):
    with accounts.account() as stand:
        role = {"op": "replace", "path": "/cloudwatchRoleArn", "value": "arn:aws:iam::123456789012:role/logs"}
        stand.clients["apigateway"].update_account(patchOperations=[role])
        stage = mocked(stand, access_log=True)
        assert ("access log", "created") in [(row.thing, row.action) for row in mock.looked_at(stage, stand.place).rows]
        stand.calls.clear()
        stand.push(stage)
        assert stand.calls.index("logs.CreateLogGroup") < stand.calls.index("apigateway.CreateStage")
        assert list(stand.snapshot()["log groups"]) == ["/aws/apigateway/thampi-scale-staging"]
        assert not stand.push(stage).changed
        destroy.destroy(stage, stand.place, who="me")
        assert not stand.snapshot()["log groups"]


def test_a_dry_run_says_what_would_be_and_changes_nothing(accounts):
    with accounts.account() as stand:
        before = stand.snapshot()
        seen = mock.looked_at(mocked(stand), stand.place)
        assert [(row.thing, row.action) for row in seen.rows] == [("bucket", "created"), ("endpoint", "created")]
        assert stand.snapshot() == before
        stand.push(mocked(stand))
        seen = mock.looked_at(mocked(stand, mock_result=[2]), stand.place)
        (line,) = next(row.changes for row in seen.rows if row.thing == "endpoint")
        assert line == "POST /scale/predict: answered by another -> an example"
        assert seen.url


@pytest.mark.parametrize("auth", ["none", "iam", "api_key"])
def test_whom_it_lets_in_is_as_it_will_be(accounts, auth):
    who = {"none": ("NONE", False), "iam": ("AWS_IAM", False), "api_key": ("NONE", True)}[auth]
    with accounts.account() as stand:
        stand.push(mocked(stand, auth=auth, cors=Cors(origins=("https://a.example",))))
        assert stand.whom_rest_lets_in() == {who}


def test_what_a_model_answers_and_an_example_have_the_same_shape(accounts):
    said = json.loads(example.answer(mocked(accounts, mock_result={"a": [1, 2.5, "$x #y", None]})))
    assert said["result"] == {"a": [1, 2.5, "$x #y", None]}
    assert said["properties"].pop("mock") is True
    about = thampi.runtime.bundle.About("", "")
    assert said["properties"].keys() == about.properties("").keys()


def test_a_limit_for_a_route_that_an_example_has_not_waits_for_the_model(accounts):
    limits = {"openapi": Limit(rate_per_s=1.0, burst=1), "ping": Limit(rate_per_s=2.0, burst=2)}
    with accounts.account() as stand:
        stand.push(mocked(stand, routes=limits, cache_ttl_s=60))
        (api,) = stand.snapshot()["REST APIs"]
        keys = api["stages"][0]["methodSettings"]
        assert "~1scale~1ping/GET" in keys
        assert "openapi" not in str(keys)
        assert "cacheClusterSize" not in api["stages"][0]


# ---------------------------------------------------------------------------------------------- where the example comes


def at(stand, folder):
    return replace(stand.stage, model_dir=folder, api=replace(MOCK, mock_result=None))


def test_the_example_is_what_the_saved_model_has_answered(accounts, tmp_path):
    folder = thampi.save(Twice(), "twice", tmp_path, example=1.5)
    assert thampi.runtime.bundle.read(folder).answer == 3.0
    assert mock.resolved(at(accounts, folder)).api.mock_result == 3.0
    told = replace(at(accounts, folder), api=MOCK)
    assert mock.resolved(told).api.mock_result == {"label": "setosa"}  # what is written counts


@pytest.mark.parametrize(
    ("model", "more"),
    [
        (Twice(), {}),
        (Twice(), {"example": 1.5, "verify": False}),
        (Long(), {"example": 100_000, "signature": False}),
    ],
)
def test_a_saved_model_without_an_answer_is_no_example(accounts, tmp_path, model, more):
    folder = thampi.save(model, "model", tmp_path, **more)
    with pytest.raises(
        ConfigError, match=r"has no answer to an example, and stages.staging.api.mock_result is not set"
    ):
        mock.resolved(at(accounts, folder))


def test_with_neither_it_is_said_what_to_write(accounts, tmp_path):
    with pytest.raises(ConfigError, match="no model is in") as caught:
        mock.resolved(at(accounts, tmp_path / "nothing"))
    assert 'mock_result = { label = "setosa" }' in caught.value.hint
    assert "save the model" not in caught.value.hint


def test_a_bundle_that_is_broken_is_said_to_be_so(accounts, tmp_path):
    (tmp_path / "thampi.json").write_text("{")
    with pytest.raises(BundleError):
        mock.resolved(at(accounts, tmp_path))


def test_an_example_that_api_gateway_would_not_keep_is_refused_before_anything_is_asked(accounts):
    room = 300_000 - len(example.answer(mocked(accounts, mock_result="")))
    mock.resolved(mocked(accounts, mock_result="x" * room))
    with pytest.raises(ConfigError, match=r"mock_result has 300,001 characters, and API Gateway keeps 300,000"):
        mock.resolved(mocked(accounts, mock_result="x" * (room + 1)))
    with pytest.raises(ConfigError):
        mock.resolved(mocked(accounts, mock_result="$" * (room // 2)))  # each takes six


@pytest.mark.parametrize("flag", ["--from", "--canary", "--model-dir"])
def test_what_is_of_a_release_is_refused(accounts, flag):
    with pytest.raises(ConfigError, match=f"{flag} is of a release, and stage staging releases none: mock = true"):
        mock.check_flags(mocked(accounts), {"--other": False, flag: True})
    mock.check_flags(mocked(accounts), {flag: False})


# ------------------------------------------------------------------------------------------- the model, and other types


def test_the_model_comes_to_the_same_url_and_is_tried_before_anybody_gets_it(accounts):
    with accounts.account() as stand:
        url = stand.push(mocked(stand)).url
        seen = []
        stand.after = lambda call: seen.append((call, stand.answers())) if call != "lambda.AddPermission" else None
        assert stand.push(replace(stand.stage, api=REST)).url == url
        stand.undisturbed()
        answers = list(dict.fromkeys(answer for _, answer in seen))
        assert answers == ["example {'label': 'setosa'}", "model-2"]
        calls = [call for call, answer in seen if answer != "model-2"]
        assert "lambda.Invoke" in calls
        assert "lambda.CreateAlias" in calls


def test_a_model_that_is_refused_leaves_the_example(accounts):
    def broken(call):
        if call == "lambda.Invoke":
            raise Death(call)

    with accounts.account() as stand:
        stand.push(mocked(stand))
        stand.before = broken
        with pytest.raises(Death):
            stand.push(replace(stand.stage, api=REST))
        stand.undisturbed()
        assert stand.answers() == "example {'label': 'setosa'}"


def test_the_releases_stay_when_the_example_comes_back_and_the_next_push_finds_what_has_changed(accounts):
    with accounts.account() as stand:
        real = replace(stand.stage, api=REST)
        stand.push(real)
        stand.push(mocked(stand))
        assert "version 1 stays, and gets no calls: callers get the example" in stand.said
        assert stand.answers() == "example {'label': 'setosa'}"
        assert stand.live() is not None
        # Also where only the release differs, and the note of the ground would say that nothing else does.
        stand.push(replace(real, model_dir=stand.models[1]))
        assert stand.answers() == "model-3"


def test_another_type_takes_the_url_of_an_example_only_when_it_is_asked_for(accounts):
    with accounts.account() as stand:
        stand.push(mocked(stand))
        with pytest.raises(ConfigError, match=r"is a REST API: \S+ would go") as caught:
            stand.push()
        assert "thampi push staging --replace-endpoint" in caught.value.hint
        stand.push(replace_endpoint=True)
        assert (stand.answers(), stand.example()) == ("model-2", None)
        with pytest.raises(ConfigError):
            stand.push(mocked(stand))
        stand.push(mocked(stand), replace_endpoint=True)
        assert stand.answers() == "example {'label': 'setosa'}"
        assert stand.snapshot()["apis"] == []


# --------------------------------------------------------------------------------------------------- the other commands


def test_info_and_list_say_that_it_is_an_example(accounts):
    with accounts.account() as stand:
        stage = mocked(stand, auth="iam")
        url = stand.push(stage).url
        said = info.info(stage, stand.place)
        assert (said["url"], said["mock"], said["auth"], said["version"]) == (url, True, "iam", "")
        (state,) = listing.states([stage], lambda _: stand.place)
        assert (state.state, state.url, state.version) == ("mock", url, "")
        stand.push(replace(stand.stage, api=REST))
        assert "mock" not in info.info(replace(stand.stage, api=REST), stand.place)


def test_predict_finds_the_url_and_knows_that_there_is_no_function(accounts):
    with accounts.account() as stand:
        stage = mocked(stand)
        url = stand.push(stage).url
        assert predict.reach(stage, stand.place).url == url
        with pytest.raises(ConfigError, match="--direct asks the function"):
            predict.directly(stage, stand.place, 1)


def test_destroy_leaves_nothing_and_a_rollback_has_nothing_to_go_back_to(accounts):
    with accounts.account() as stand:
        stage = mocked(stand)
        stand.push(stage)
        with pytest.raises(CloudError, match="nothing of scale is live"):
            rollback.rollback(stage, stand.place, say=stand.said.append)
        gone = destroy.destroy(stage, stand.place, who="me")
        assert [each.thing for each in gone if each.was_there] == ["endpoint"]
        assert stand.snapshot()["REST APIs"] == []


def test_an_image_with_the_model_in_it_is_checked_by_the_bundle_that_is_pushed(accounts, tmp_path):
    folder = thampi.save(Twice(), "twice", tmp_path, example=1.5, verify=False)
    with accounts.account() as stand:
        build = Build(dependency_file=stand.stage.build.dependency_file, model="image")
        stand.push(replace(stand.stage, api=REST, model_dir=folder, build=build))
        assert stand.checks() is not None
