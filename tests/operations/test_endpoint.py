"""A stage has one endpoint, of the type that it wants; another type is another URL, and never comes unasked."""

import http.server
import threading
from dataclasses import replace

import pytest

from tests.operations.stand import Death, refusal
from thampi.aws import function_url, gateway, release
from thampi.config import Api
from thampi.errors import CloudError, ConfigError
from thampi.operations import destroy, endpoint, examine, info, listing, predict, replacement

URL, SIGNED_URL, SIGNED = Api(type="url"), Api(type="url", auth="iam"), Api(auth="iam")
NAME = "thampi-scale-staging"
READS = ("Get", "List", "Head", "Desc", "BatchGet")


def with_api(stand, api, **settings):
    return replace(stand.stage, api=api, **settings)


def statements(stand):
    return release.callers(stand.place.aws, NAME)


def standing(stand):
    """The types of what stands."""
    stand.undisturbed()
    stage, aws = stand.stage, stand.place.aws
    return {
        kind
        for kind, module in (("http", gateway), ("url", function_url))
        if module.read(aws, stage.name, stage.stage) is not None
    }


def examined(stand, stage, **more):
    return examine.examine(stage, stand.plan(stage), stand.place, **more)


# ------------------------------------------------------------------------------------------------------- function URLs


@pytest.mark.parametrize(("api", "ids"), [(URL, ["thampi-url-call", "thampi-url-invoke"]), (SIGNED_URL, [])])
def test_a_stage_gets_a_function_url_and_no_api(stand, api, ids):
    stage = with_api(stand, api)
    pushed = stand.push(stage)
    assert (standing(stand), sorted(statements(stand))) == ({"url"}, ids)
    assert pushed.url.endswith(".lambda-url.eu-central-1.on.aws/scale/predict")
    assert stand.answers("url") == "model-2"
    assert not [call for call in stand.calls if call.startswith("apigatewayv2.") and ".Get" not in call]
    found = info.info(stage, stand.place)
    assert (found["url"], found["endpoint"], found["auth"]) == (pushed.url, "url", api.auth)
    (state,) = listing.states([stage], lambda _: stand.place)
    assert (state.state, state.url) == ("live", pushed.url)


def test_a_push_to_a_function_url_that_changes_nothing_only_reads(stand):
    stage = with_api(stand, URL)
    first = stand.push(stage)
    stand.calls.clear()
    again = stand.push(stage)
    assert (again.changed, again.url, again.rows[-2].thing) == (False, first.url, "endpoint")
    assert not [call for call in stand.calls if not call.split(".")[1].startswith(READS)]


def test_a_new_model_behind_a_function_url_asks_nothing_of_what_stands_around_it(stand):
    first = stand.push(with_api(stand, URL))
    stand.calls.clear()
    pushed = stand.push(with_api(stand, URL, model_dir=stand.models[1]))
    assert (pushed.url, stand.answers()) == (first.url, "model-3")
    asked = [call for call in stand.calls if "Url" in call or "apigateway" in call or "Permission" in call]
    assert asked == ["lambda.GetFunctionUrlConfig"]


def test_a_function_url_is_tightened_before_the_release_and_loosened_after(stand):
    stand.push(with_api(stand, URL))
    stand.calls.clear()
    pushed = stand.push(with_api(stand, SIGNED_URL, model_dir=stand.models[1]))
    assert (
        stand.calls.index("lambda.UpdateFunctionUrlConfig") < stand.flip < stand.calls.index("lambda.RemovePermission")
    )
    says = {row.thing: row.changes for row in pushed.rows}
    assert (says["endpoint"], statements(stand)) == (("auth: none -> iam",), [])
    stand.calls.clear()
    stand.push(with_api(stand, URL))
    calls = [call for call in stand.calls[stand.flip :] if call in ("lambda.UpdateAlias", "lambda.AddPermission")]
    assert calls == ["lambda.UpdateAlias", "lambda.AddPermission", "lambda.AddPermission", "lambda.UpdateAlias"]


@pytest.mark.parametrize("api", [URL, Api()])
def test_destroy_takes_the_endpoint_whatever_its_type_first(stand, api):
    stand.push(with_api(stand, api))
    stand.calls.clear()
    gone = destroy.destroy(stand.stage, stand.place, who="me")  # also where the type was changed and never pushed
    assert (gone[0].thing, gone[0].was_there, standing(stand)) == ("endpoint", True, set())
    deletions = [call for call in stand.calls if ".Delete" in call and "s3" not in call]
    assert deletions[0] in ("apigatewayv2.DeleteApi", "lambda.DeleteFunctionUrlConfig")


def test_where_there_are_no_function_urls_a_stage_with_an_api_does_not_miss_them(stand):
    said = "Unable to determine service/operation name to be authorized"

    def before(call):
        return refusal("AccessDeniedException", 403, said) if "FunctionUrlConfig" in call else None

    stand.before = before
    assert stand.push().url
    assert endpoint.read(stand.stage, stand.place).in_use.type == "http"
    with pytest.raises(CloudError, match="no function URLs in the region"):
        stand.push(with_api(stand, URL, model_dir=stand.models[1]), replace_endpoint=True)
    assert stand.answers() == "model-2"
    assert destroy.destroy(stand.stage, stand.place, who="me")[0].was_there


# --------------------------------------------------------------------------------------------------- another type


@pytest.mark.parametrize(("old", "new"), [(Api(), URL), (URL, Api()), (Api(), SIGNED_URL), (SIGNED_URL, SIGNED)])
def test_another_type_is_refused_before_anything_is_made(stand, old, new):
    first = stand.push(with_api(stand, old))
    stand.calls.clear()
    before = stand.snapshot()
    with pytest.raises(ConfigError, match=r'api.type is "\w+", and what callers know is') as refused:
        stand.push(with_api(stand, new, model_dir=stand.models[1]))
    assert first.url in str(refused.value)
    assert "thampi push staging --replace-endpoint" in refused.value.hint
    assert f'type = "{old.type}" keeps it' in refused.value.hint
    assert stand.snapshot() == before
    with pytest.raises(ConfigError):
        examined(stand, with_api(stand, new))


@pytest.mark.parametrize(("old", "new"), [(Api(), URL), (URL, Api()), (Api(), SIGNED_URL), (URL, SIGNED)])
def test_another_type_that_was_asked_for_is_made_and_tried_and_the_old_one_goes_last(stand, old, new):
    first = stand.push(with_api(stand, old))
    stage = with_api(stand, new)
    would = examined(stand, stage, replace_endpoint=True)
    (gone,) = [row for row in would.rows if row.thing == "old endpoint"]
    assert gone.changes == (f"{first.url} -> removed",)
    stand.calls.clear()
    stood = []
    pushed = stand.push(
        stage, replace_endpoint=True, try_out=lambda *_: stood.append((standing(stand), stand.answers(new.type)))
    )
    assert stood == [({"http", "url"}, "model-2")]
    assert (standing(stand), pushed.version) == ({new.type}, "1")
    assert [row.changes for row in pushed.rows if row.thing == "old endpoint"] == [gone.changes]
    (said,) = [line for line in stand.said if "answers no longer" in line]
    assert first.url in said
    assert pushed.url in said
    prefix = {"http": "thampi-api", "url": "thampi-url"}[new.type]
    assert all(sid.startswith(prefix) for sid in statements(stand))
    stand.calls.clear()
    assert not stand.push(stage).changed


@pytest.mark.parametrize(("old", "new"), [("iam", "none"), ("none", "iam")])
def test_old_settings_after_a_run_that_died_do_not_pass_for_laid_with_another_model(stand, old, new):
    """The endpoint was opened, or closed, by the run that died; what callers get is by the settings that are pushed."""
    stand.push(with_api(stand, Api(auth=old)))

    def die(call):
        if call == "apigatewayv2.UpdateRoute":
            raise Death(call)

    stand.after = die
    with pytest.raises(Death):
        stand.push(with_api(stand, Api(auth=new)))
    stand.undisturbed()
    stand.push(with_api(stand, Api(auth=old), model_dir=stand.models[1]), force=True)
    assert endpoint.read(with_api(stand, Api(auth=old)), stand.place).wanted.auth == old


def test_settings_alone_are_tightened_before_they_are_loosened(stand):
    stand.push(with_api(stand, Api(auth="iam")))
    stand.calls.clear()
    stand.push(with_api(stand, Api(auth="none", rate_per_s=1.0)))
    calls = [call for call in stand.calls if call.startswith("apigatewayv2.Update")]
    assert calls == ["apigatewayv2.UpdateStage", "apigatewayv2.UpdateRoute"]


def test_while_the_type_changes_callers_are_told_of_the_old_endpoint_until_the_new_one_answers(stand):
    old, seen = stand.push().url, []

    def refuse(stage, place):
        seen.append(predict.reach(stage, place).url)
        seen.append(predict.reach(stage, place, is_new=True).url)
        raise CloudError("it does not answer", hint=None)

    with pytest.raises(CloudError):
        stand.push(with_api(stand, URL), replace_endpoint=True, try_out=refuse)
    assert seen[0] == old != seen[1]
    assert predict.reach(with_api(stand, URL), stand.place).url == old


def test_an_open_endpoint_that_will_go_is_closed_before_a_release_that_counts_on_it(stand):
    stand.push()
    stand.calls.clear()
    done = stand.push(with_api(stand, SIGNED_URL, model_dir=stand.models[1]), replace_endpoint=True)
    assert stand.calls.index("apigatewayv2.UpdateRoute") < stand.flip
    (row,) = [row for row in done.rows if row.thing == "endpoint"]
    assert row.changes == ("an HTTP API, which goes: auth: none -> iam",)


@pytest.mark.parametrize(
    ("old", "new", "last"),
    [
        (Api(), URL, "lambda.CreateFunctionUrlConfig"),
        (Api(), SIGNED_URL, "lambda.CreateFunctionUrlConfig"),
        (URL, Api(), "apigatewayv2.CreateApi"),
        (URL, Api(), "apigatewayv2.CreateStage"),
    ],
)
def test_a_run_that_died_with_the_new_endpoint_made_is_not_forgotten_under_the_old_settings(stand, old, new, last):
    stand.push(with_api(stand, old))

    def die(call):
        if call == last:
            raise Death(call)

    stand.after = die
    with pytest.raises(Death):
        stand.push(with_api(stand, new), replace_endpoint=True)
    stand.undisturbed()
    assert standing(stand) == {"http", "url"}
    with pytest.raises(ConfigError, match="would go"):
        stand.push(with_api(stand, old), force=True)
    stand.push(with_api(stand, old), force=True, replace_endpoint=True)
    assert standing(stand) == {old.type}
    assert not stand.push(with_api(stand, old)).changed


def test_a_new_endpoint_that_does_not_answer_leaves_the_old_one_and_the_next_push_goes_on(stand):
    first = stand.push()

    def silent(stage, place):
        raise CloudError("the new endpoint does not answer", hint="again")

    with pytest.raises(CloudError, match="does not answer"):
        stand.push(with_api(stand, URL), replace_endpoint=True, try_out=silent)
    assert (standing(stand), stand.answers("http")) == ({"http", "url"}, "model-2")
    # The old settings again, as they were: what stands beside is not forgotten, nor taken away unasked.
    with pytest.raises(ConfigError, match="what callers know is a function URL"):
        stand.push(replace(stand.stage, model_dir=stand.models[1]))
    back = stand.push(replace_endpoint=True)
    assert (standing(stand), back.url) == ({"http"}, first.url)


@pytest.mark.parametrize(("old", "new"), [(Api(), URL), (URL, SIGNED)])
def test_a_permission_whose_endpoint_is_gone_is_taken_back(stand, old, new):
    stand.push(with_api(stand, old))
    assert endpoint.KINDS[old.type].remove(stand.place.aws, "scale", "staging")
    stage = with_api(stand, new)
    assert [row.action for row in examined(stand, stage).rows if row.thing == "old permission"] == ["changed"]
    stand.push(stage)
    prefix = endpoint.KINDS[old.type].PERMISSION
    assert not [sid for sid in statements(stand) if sid.startswith(prefix)]
    assert not stand.push(stage).changed


def test_what_leads_nowhere_is_replaced_unasked(stand):
    stand.push()
    stand.clients["lambda"].delete_function(FunctionName=NAME)
    stand.push(with_api(stand, URL))
    assert (standing(stand), stand.answers("url")) == ({"url"}, "model-2")


# --------------------------------------------------------------------------------------------- does the new one answer


class _Endpoint(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append((self.path, self.headers.get("Authorization", "")))
        statuses = self.server.statuses
        self.send_response(statuses.pop(0) if len(statuses) > 1 else statuses[0])
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        pass


@pytest.fixture
def answering():
    """What answers at the URL, with these statuses, the last of them again and again."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Endpoint) as server:
        server.asked, server.statuses = [], [200]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def local(stand, answering):
    """Bring up the stage `local`, whose URL leads to `answering`; its clients are there already and lead to moto."""
    aws = replace(stand.place.aws, endpoint_url=f"http://127.0.0.1:{answering.server_port}")

    def make(api):
        stage = with_api(stand, api, stage="local")
        stand.push(stage, try_out=lambda *_: None)
        return stage, replace(stand.place, aws=aws)

    return make


@pytest.mark.parametrize(("api", "service"), [(Api(), ""), (URL, ""), (SIGNED, "execute-api"), (SIGNED_URL, "lambda")])
def test_a_new_endpoint_is_asked_as_its_callers_do(local, answering, api, service):
    replacement.try_out(*local(api))
    ((path, authorization),) = answering.asked
    where = "/_aws/lambda-url/" if api.type == "url" else "/_aws/execute-api/"
    assert path.startswith(where)
    assert path.endswith("/scale/ping")
    assert (f"/{service}/aws4_request" in authorization) if service else not authorization


def test_a_prediction_is_signed_for_lambda_where_lambda_asks(local, answering):
    stage, place = local(SIGNED_URL)
    reached = predict.reach(stage, place)
    assert "/lambda/aws4_request" in reached.authorize("POST", reached.url, {}, b"{}")["Authorization"]


def test_a_new_endpoint_may_need_a_moment(stand, local, answering):
    stage, place = local(URL)
    stand.sleeps.clear()
    answering.statuses = [404, 403, 200]
    replacement.try_out(stage, place)
    assert (len(answering.asked), stand.sleeps) == (3, [1.0, 2.0])


@pytest.mark.parametrize("status", [403, 404, 500])
def test_a_new_endpoint_that_never_answers_is_said_with_what_it_does(stand, local, answering, status):
    stage, place = local(URL)
    answering.statuses = [status]
    with pytest.raises(CloudError, match=f"the old one stays: .*{status}") as refused:
        replacement.try_out(stage, place)
    assert "thampi logs local" in refused.value.hint


def test_who_pushes_need_not_be_one_of_those_who_may_call(local, answering):
    answering.statuses = [403]
    replacement.try_out(*local(SIGNED_URL))
    assert len(answering.asked) == 1
