"""A push makes a URL that answers, in an order in which callers never get what doesn't, and only what differs."""

import contextlib
import dataclasses
import io
import json
import re
import signal
import threading
import time
from base64 import b64encode
from dataclasses import replace

import pytest
from botocore.awsrequest import AWSResponse
from moto.iam.models import IAMBackend

import thampi
from tests.operations.stand import BUCKET, Scale, refusal
from thampi.aws import lock, release, session
from thampi.config import Api, Build, Masked, Vpc
from thampi.errors import BundleError, CloudError, ReleaseError, ThampiError
from thampi.operations import examine, push
from thampi.operations.place import Place

NAME = "thampi-scale-staging"
ROLE = "thampi-scale-staging-eu-central-1"
GROUP = f"/aws/lambda/{NAME}"
READ = re.compile(r"\w+\.(Get|List|Head|Describe|BatchGet)\w+")
NO_READS = {"ecr.GetAuthorizationToken"}


def writes(stand):
    return [call for call in stand.calls if not READ.match(call) or call in NO_READS]


def of_callers(stand):
    """The writes but those of the lock and of the model."""
    return [call for call in writes(stand) if not call.startswith("s3.")]


def actions(pushed):
    return {row.thing: row.action for row in pushed.rows}


def forbidden(*_):
    raise AssertionError("the image was to be left alone")


def again(stand, stage=None, **more):
    """Push once more; return what came of it, with the calls of this push alone."""
    stand.calls.clear()
    return stand.push(stage, **more)


def answer(body, log="", **more):
    """What Lambda answers to an invocation."""
    payload = io.BytesIO(json.dumps(body).encode())
    return AWSResponse("", 200, {}, None), {
        "StatusCode": 200,
        "Payload": payload,
        "LogResult": b64encode(log.encode()).decode(),
        **more,
    }


def broken(stand, kind="ModelFailed", message="no such flower", log=""):
    """Let every version fail."""
    body = {"errorType": kind, "errorMessage": message}
    stand.before = lambda call: answer(body, log, FunctionError="Unhandled") if call == "lambda.Invoke" else None


def other_model(stand, **more):
    return replace(stand.stage, model_dir=stand.models[1], **more)


# ------------------------------------------------------------------------------------------------------- the order


def test_a_first_push_makes_everything_in_an_order_in_which_nothing_is_seen_too_early(stand):
    pushed = stand.push()
    calls = stand.calls

    def first(call):
        return calls.index(call)

    order = [
        "s3.CreateBucket",
        "s3.PutObject",  # the lock
        "ecr.CreateRepository",
        "lambda.CreateFunction",
        "lambda.PublishVersion",
        "lambda.Invoke",
        "lambda.CreateAlias",
        "apigatewayv2.CreateApi",
        "lambda.AddPermission",
        "s3.DeleteObject",  # the lock
    ]
    assert sorted(order, key=first) == order
    for before in ("logs.CreateLogGroup", "iam.CreateRole", "iam.PutRolePolicy"):
        assert first(before) < first("lambda.CreateFunction")
    assert stand.answers() == "model-2"
    assert set(actions(pushed).values()) == {"created"}
    assert (pushed.version, pushed.changed) == ("1", True)


def test_the_model_is_whole_before_a_function_names_it(stand):
    seen = []

    def look(call):
        if call == "lambda.CreateFunction":
            keys = [each["Key"] for each in stand.clients["s3"].list_objects_v2(Bucket=BUCKET)["Contents"]]
            seen.extend(key for key in keys if "/models/model-2/" in key)

    stand.before = look
    stand.push()
    assert "thampi/scale/models/model-2/thampi.json" in seen


def test_what_was_not_tried_is_never_seen_by_callers(stand):
    stand.push()
    seen = {}

    def look(call):
        seen[call] = stand.answers()

    stand.after = look
    stand.push(other_model(stand))
    assert seen["lambda.PublishVersion"] == seen["lambda.Invoke"] == "model-2"
    assert seen["lambda.UpdateAlias"] == stand.answers() == "model-3"


def test_the_trial_is_of_the_published_version_and_says_that_it_is_one(stand):
    asked = []
    stand.wire = lambda operation, request: asked.append(request) if operation == "lambda.Invoke" else None
    stand.push()
    (request,) = asked
    assert request.url.endswith(f"/functions/{NAME}/invocations?Qualifier=1")
    assert json.loads(request.body) == {"thampi": "trial"}
    assert stand.said == ["trying version 1"]


def test_what_the_trial_took_is_told_from_its_log_with_the_memory_that_would_do(stand):
    log = f"START RequestId: 1\n{COLD_START}\nREPORT RequestId: 1 Memory Size: 1024 MB Max Memory Used: 402 MB\n"
    stand.before = lambda call: answer({"thampi": "trial"}, log) if call == "lambda.Invoke" else None
    stand.push()
    assert stand.said[1:] == [
        "cold start: loaded in 1.84 s",
        "the peak is 402 MB of 1024: memory_mb = 576 would do; more memory is also more CPU",
    ]


def test_a_trial_that_took_almost_as_long_as_callers_wait_is_warned_of_and_goes_live(stand):
    log = COLD_START.replace('"peak_mb"', '"total_ms":25000.0,"peak_mb"')
    stand.before = lambda call: answer({"thampi": "trial"}, log) if call == "lambda.Invoke" else None
    stand.push()
    (said,) = [line for line in stand.said if "callers get an error after 29 s" in line]
    assert "the cold start took 25.0 s" in said
    assert stand.answers() == "model-2"


COLD_START = '{"thampi":"cold start","message":"loaded in 1.84 s","peak_mb":310}'


def test_the_lock_is_held_from_the_first_write_to_the_last_and_given_back(stand):
    stand.push()
    held = {}

    def look(call):
        held[call] = lock_is_there(stand)

    stand.before = look
    again(stand, other_model(stand))
    for call in ("lambda.UpdateFunctionConfiguration", "lambda.PublishVersion", "lambda.Invoke", "lambda.UpdateAlias"):
        assert held[call], call
    assert not lock_is_there(stand)


def lock_is_there(stand):
    found = stand.clients["s3"].list_objects_v2(Bucket=BUCKET, Prefix="thampi/scale/locks/")
    return found["KeyCount"] == 1


@pytest.mark.parametrize("call", ["lambda.CreateFunction", "apigatewayv2.CreateApi"])
def test_the_lock_is_given_back_when_a_push_fails(stand, call):
    stand.before = lambda asked: refusal("ValidationException", message="no") if asked == call else None
    with pytest.raises(CloudError):
        stand.push()
    assert not lock_is_there(stand)


def test_a_second_push_meanwhile_says_who_holds_the_lock_and_since_when(stand):
    stand.push()
    with lock.hold(stand.place.aws, BUCKET, "scale", "staging", who="ann@laptop"):
        stand.calls.clear()
        with pytest.raises(CloudError, match=r"another run is changing scale staging: ann@laptop, since 20\d\d-") as no:
            stand.push(other_model(stand))
        assert "--force takes it at once" in no.value.hint
        assert of_callers(stand) == []
        assert stand.answers() == "model-2"
        assert stand.push(other_model(stand), force=True).changed
    assert stand.answers() == "model-3"


def test_a_push_that_changes_nothing_waits_for_no_lock(stand):
    stand.push()
    with lock.hold(stand.place.aws, BUCKET, "scale", "staging", who="ann@laptop"):
        assert not stand.push().changed


# ------------------------------------------------------------------------------------------------ only what differs


def test_a_push_that_changes_nothing_only_reads_and_says_so(stand):
    first = stand.push()
    before = stand.snapshot()
    second = again(stand, deliver=forbidden)
    assert writes(stand) == []
    assert not second.changed
    assert set(actions(second).values()) == {"left"}
    assert (second.url, second.version) == (first.url, first.version)
    assert stand.snapshot() == before


def test_a_new_model_with_the_same_requirements_is_one_new_version_and_no_image(stand):
    stand.push()
    pushed = again(stand, other_model(stand), deliver=forbidden)
    assert actions(pushed)["model"] == "created"
    assert actions(pushed)["image"] == "left"
    assert of_callers(stand) == [
        "lambda.UpdateFunctionConfiguration",
        "lambda.PublishVersion",
        "lambda.Invoke",
        "lambda.UpdateAlias",
    ]
    assert (pushed.version, stand.answers()) == ("2", "model-3")
    (release,) = [row for row in pushed.rows if row.thing == "release"]
    assert release.changes == (
        "environment.THAMPI_FILES: changed",
        "environment.THAMPI_MANIFEST_SHA256: changed",
        "environment.THAMPI_MODEL: changed",
    )


def test_a_change_of_memory_alone_builds_nothing_and_uploads_nothing(stand):
    stand.push()
    uploaded = []
    pushed = again(stand, replace(stand.stage, memory_mb=2048), deliver=forbidden, uploaded=uploaded.append)
    assert of_callers(stand)[0] == "lambda.UpdateFunctionConfiguration"
    assert "lambda.UpdateFunctionCode" not in stand.calls
    assert uploaded == []
    assert stand.live()["MemorySize"] == 2048
    assert [row.changes for row in pushed.rows if row.thing == "release"] == [("memory_mb: 1024 -> 2048",)]


def test_tags_alone_make_no_new_version(stand):
    stand.push()
    tagged = replace(stand.stage, tags={"team": "ml"})
    pushed = again(stand, tagged, deliver=forbidden)
    assert (pushed.version, pushed.changed) == ("1", True)
    assert {"lambda.PublishVersion", "lambda.Invoke"}.isdisjoint(stand.calls)
    function = stand.snapshot()["functions"][NAME]
    assert function["tags"]["team"] == "ml"
    assert again(stand, tagged).changed is False


def test_other_requirements_are_another_image_and_the_old_one_stays(stand):
    stand.push()
    (stand.stage.project_dir / "other.txt").write_text("six==1.17.0\n")
    other = replace(stand.stage, build=Build(dependency_file=stand.stage.project_dir / "other.txt"))
    pushed = again(stand, other)
    assert actions(pushed)["image"] == "created"
    assert actions(pushed)["model"] == "left"
    assert "lambda.UpdateFunctionCode" in stand.calls
    assert len(stand.snapshot()["repositories"]["thampi-scale"]["images"]) == 2


def test_what_somebody_changed_by_hand_is_made_so_again(stand):
    stand.push()
    before = stand.snapshot()
    stand.clients["logs"].delete_retention_policy(logGroupName=GROUP)
    stand.clients["iam"].delete_role_policy(RoleName=ROLE, PolicyName="thampi")
    statement = before["functions"][NAME]["policy"][0]["Sid"]
    assert statement.startswith("thampi-api-")
    policy = json.loads(stand.clients["lambda"].get_policy(FunctionName=NAME, Qualifier="live")["Policy"])
    sid = policy["Statement"][0]["Sid"]
    stand.clients["lambda"].remove_permission(FunctionName=NAME, Qualifier="live", StatementId=sid)
    assert stand.answers() is None
    pushed = again(stand, deliver=forbidden)
    assert actions(pushed)["permission"] == "created"
    assert actions(pushed)["role"] == actions(pushed)["log group"] == "changed"
    assert actions(pushed)["release"] == "left"
    assert stand.snapshot() == before


def test_a_canary_that_was_begun_and_not_ended_ends_with_the_next_push(stand):
    stand.push()
    stand.push(other_model(stand))
    weights = {"AdditionalVersionWeights": {"1": 0.1}}
    stand.clients["lambda"].update_alias(FunctionName=NAME, Name="live", FunctionVersion="2", RoutingConfig=weights)
    pushed = again(stand, other_model(stand))
    assert (pushed.changed, pushed.version) == (True, "2")
    (alias,) = stand.snapshot()["functions"][NAME]["aliases"]
    assert not alias.get("RoutingConfig", {}).get("AdditionalVersionWeights")


def test_the_stages_of_a_project_share_image_and_model_and_nothing_else(stand):
    stand.push()
    pushed = again(stand, replace(stand.stage, stage="production"), deliver=forbidden)
    found = actions(pushed)
    assert {found[thing] for thing in ("bucket", "model", "image")} == {"left"}
    assert {found[thing] for thing in ("log group", "role", "release", "endpoint", "permission")} == {"created"}
    assert set(stand.snapshot()["functions"]) == {NAME, "thampi-scale-production"}


# ------------------------------------------------------------------------------------------------------ the dry run


def test_a_dry_run_changes_nothing_and_says_what_would(stand):
    would = examine.examine(stand.stage, stand.plan(stand.stage), stand.place)
    assert writes(stand) == []
    assert set(actions(would).values()) == {"created"}
    assert (would.url, would.version) == ("", "")
    stand.push()
    stand.calls.clear()
    wanted = other_model(stand, memory_mb=2048, api=Api(auth="iam"), log_retention_days=7)
    would = examine.examine(wanted, stand.plan(wanted), stand.place)
    assert writes(stand) == []
    says = {row.thing: row.changes for row in would.rows if row.action == "changed"}
    assert says["log group"] == ("retention_days: 30 -> 7",)
    assert says["endpoint"] == ("auth: none -> iam",)
    assert "memory_mb: 1024 -> 2048" in says["release"]
    done = stand.push(wanted)
    assert {row.thing: (row.action, row.changes) for row in done.rows} == {
        row.thing: (row.action, row.changes) for row in would.rows
    }


def test_what_is_mended_of_the_repository_is_said(stand):
    stand.push()
    stand.clients["ecr"].delete_repository_policy(repositoryName="thampi-scale")
    pushed = again(stand, deliver=forbidden)
    assert actions(pushed)["repository"] == "changed"
    assert pushed.changed
    assert of_callers(stand) == ["ecr.SetRepositoryPolicy"]


# ---------------------------------------------------------------------------------------------------- broken models


def test_a_model_that_fails_its_trial_never_becomes_live_and_its_last_words_are_told(stand):
    stand.push()
    log = "".join(f"line {number}\n" for number in range(99)) + '{"_aws": 1}\n\nTraceback: KeyError\n'
    broken(stand, message="the model needs `sklearn`", log=log)
    with pytest.raises(ReleaseError) as refused:
        stand.push(other_model(stand))
    said = refused.value.message.splitlines()
    assert said[0] == "version 2 did not become live, version 1 still is: the model needs `sklearn`"
    assert said[-2:] == ["  line 98", "  Traceback: KeyError"]
    assert 10 < len(said) < 30
    assert "thampi logs staging" in refused.value.hint
    assert refused.value.exit_code == 7
    assert stand.answers() == "model-2"
    assert not lock_is_there(stand)


def test_a_broken_first_model_leaves_no_endpoint_and_no_alias(stand):
    broken(stand)
    with pytest.raises(ReleaseError, match="version 1 did not become live, nothing is live yet"):
        stand.push()
    assert stand.snapshot()["apis"] == []
    assert stand.live() is None


@pytest.mark.parametrize(
    ("kind", "message", "log", "said"),
    [
        ("Runtime.OutOfMemory", "RequestId: 1 Error: Runtime exited", "Memory Size: 1024 MB", "it had 1024 MB"),
        ("Runtime.ExitError", "RequestId: 1 Error: Runtime exited with error: signal: killed", "", "raise memory_mb"),
        ("Sandbox.Timedout", "RequestId: 1 Error: Task timed out after 29.00 seconds", "", "raise it in thampi.toml"),
        ("Runtime.InvalidEntrypoint", "exec format error", "", "build.platform"),
    ],
)
def test_why_a_model_is_not_released_is_said_with_the_cure(stand, kind, message, log, said):
    broken(stand, kind, message, log)
    with pytest.raises(ReleaseError) as refused:
        stand.push()
    assert said in refused.value.message


@pytest.mark.parametrize("existing", [False, True], ids=["first push", "update"])
def test_the_same_broken_model_is_tried_again_and_the_mended_one_is_released(stand, existing):
    if existing:
        stand.push()
    for _ in range(2):
        broken(stand)
        stand.calls.clear()
        with pytest.raises(ReleaseError, match="no such flower"):
            stand.push(other_model(stand))
        assert stand.calls.count("lambda.Invoke") == 1
    would = examine.examine(other_model(stand), stand.plan(other_model(stand)), stand.place)
    assert would.changed
    stand.undisturbed()
    stand.push(other_model(stand))
    assert stand.answers() == "model-3"


def test_after_a_refused_model_the_old_one_pushed_again_is_no_change(stand):
    stand.push()
    broken(stand)
    with pytest.raises(ReleaseError):
        stand.push(other_model(stand))
    stand.undisturbed()
    assert not again(stand).changed
    assert writes(stand) == []


# ---------------------------------------------------------------------------------------------------- the endpoint


def test_an_endpoint_is_tightened_before_the_release_and_loosened_after(stand):
    stand.push()
    again(stand, other_model(stand, api=Api(auth="iam")))
    assert stand.calls.index("apigatewayv2.UpdateRoute") < stand.flip
    assert authorization(stand) == "AWS_IAM"
    again(stand, replace(stand.stage, api=Api(auth="none")))
    assert stand.calls.index("apigatewayv2.UpdateRoute") > stand.flip
    assert authorization(stand) == "NONE"


def authorization(stand):
    (api,) = stand.snapshot()["apis"]
    (route,) = api["routes"]
    return route["AuthorizationType"]


def test_a_change_of_auth_alone_makes_no_new_version(stand):
    stand.push()
    pushed = again(stand, replace(stand.stage, api=Api(auth="iam")), deliver=forbidden)
    # The alias only notes that all around the function may be as no settings want it, and then that it is as these do.
    assert of_callers(stand) == ["lambda.UpdateAlias", "apigatewayv2.UpdateRoute", "lambda.UpdateAlias"]
    assert (pushed.version, authorization(stand)) == ("1", "AWS_IAM")


def test_a_refused_model_with_a_stricter_endpoint_leaves_the_endpoint_as_it_was(stand):
    stand.push()
    broken(stand)
    with pytest.raises(ReleaseError):
        stand.push(other_model(stand, api=Api(auth="iam")))
    assert authorization(stand) == "NONE"


def test_an_endpoint_has_a_throttle_from_the_start(stand):
    stand.push()
    (api,) = stand.snapshot()["apis"]
    (stage,) = api["stages"]
    assert stage["StageName"] == "staging"
    assert stage["DefaultRouteSettings"]["ThrottlingRateLimit"] == 100
    assert stage["DefaultRouteSettings"]["ThrottlingBurstLimit"] == 200


# ----------------------------------------------------------------------------------------------- what arrives where


def test_everything_of_the_stage_arrives_in_the_function(stand):
    network = Vpc(subnet_ids=("subnet-1",), security_group_ids=("sg-1",))
    stage = replace(
        stand.stage,
        memory_mb=3008,
        timeout_s=20,
        ephemeral_storage_mb=2048,
        environment=Masked({"TOKEN": "sesame"}),
        tags={"team": "ml"},
        vpc=network,
        build=replace(stand.stage.build, platform="linux/arm64"),
    )
    stand.push(stage)
    live = stand.live()
    assert (live["MemorySize"], live["Timeout"], live["EphemeralStorage"]["Size"]) == (3008, 20, 2048)
    assert live["Architectures"] == ["arm64"]
    assert (live["VpcConfig"]["SubnetIds"], live["VpcConfig"]["SecurityGroupIds"]) == (["subnet-1"], ["sg-1"])
    variables = live["Environment"]["Variables"]
    assert variables["TOKEN"] == "sesame"
    assert variables["THAMPI_MODEL"] == f"s3://{BUCKET}/thampi/scale/models/model-2"
    seen = stand.snapshot()
    ours = {"team": "ml", "thampi:project": "scale", "thampi:stage": "staging"}
    assert ours.items() <= seen["functions"][NAME]["tags"].items()
    assert dict(seen["roles"][ROLE]["tags"]) == ours
    assert seen["log groups"][GROUP]["tags"] == ours
    assert seen["apis"][0]["api"]["Tags"] == ours
    sids = [each["Sid"] for each in seen["roles"][ROLE]["policies"]["thampi"]["Statement"]]
    assert sids == ["Log", "Models", "Network", "NetworkNotByCode"]
    assert seen["log groups"][GROUP]["days"] == 30


def test_no_value_of_the_environment_is_ever_shown(stand):
    first = replace(stand.stage, environment=Masked({"TOKEN": "sesame", "OLD": "chickpea"}))
    second = replace(stand.stage, environment=Masked({"TOKEN": "poppy", "NEW": "lentil"}))
    shown = [repr(stand.push(first)), repr(examine.examine(second, stand.plan(second), stand.place))]
    broken(stand, log="nothing of it\n")
    with pytest.raises(ReleaseError) as refused:
        stand.push(second)
    stand.undisturbed()
    pushed = stand.push(second)
    (release,) = [row for row in pushed.rows if row.thing == "release"]
    assert release.changes == ("environment.NEW: added", "environment.OLD: removed", "environment.TOKEN: changed")
    shown += [repr(pushed), str(refused.value), repr(first), repr(second), *stand.said]
    for secret in ("sesame", "chickpea", "poppy", "lentil"):
        assert not [text for text in shown if secret in text]


def test_the_users_own_role_is_used_and_no_role_made_or_touched(stand):
    trust = {"Version": "2012-10-17", "Statement": []}
    made = stand.clients["iam"].create_role(RoleName="mine", AssumeRolePolicyDocument=json.dumps(trust))
    pushed = stand.push(replace(stand.stage, role_arn=made["Role"]["Arn"]))
    assert stand.live()["Role"] == made["Role"]["Arn"]
    assert not [call for call in stand.calls if call.startswith("iam.")]
    assert list(stand.snapshot()["roles"]) == ["mine"]
    assert "role" not in actions(pushed)


def test_another_registry_is_named_in_the_image_and_in_the_login(stand):
    place = replace(stand.place, registry="localhost:5000")
    plan, given = stand.plan(stand.stage), []

    def deliver(uri, login, go_on):
        given.append((uri, login().host))
        return stand.deliver(plan, login)

    push.push(stand.stage, plan, place, deliver=deliver, say=stand.said.append)
    assert given == [("localhost:5000/thampi-scale", "localhost:5000")]
    image = stand.snapshot()["functions"][NAME]["versions"]["1"]["image"]
    assert image.startswith("localhost:5000/thampi-scale@sha256:")


def test_the_image_that_another_run_pushed_meanwhile_is_taken(stand):
    plan = stand.plan(stand.stage)

    def deliver(uri, login, go_on):
        stand.deliver(plan, login)  # the other run
        return  # the tag was taken

    assert actions(stand.push(deliver=deliver))["image"] == "left"
    assert stand.answers() == "model-2"


def test_an_image_that_is_gone_again_is_an_error(stand):
    with pytest.raises(CloudError, match="was pushed by another run, and is gone again"):
        stand.push(deliver=lambda uri, login, go_on: None)
    assert "lambda.CreateFunction" not in stand.calls


def test_a_step_that_fails_beside_others_lets_them_end(stand):
    def fails(uri, login, go_on):
        raise ThampiError("no engine", hint=None)

    with pytest.raises(ThampiError, match="no engine"):
        stand.push(deliver=fails)
    seen = stand.snapshot()
    assert "thampi/scale/models/model-2/thampi.json" in seen["buckets"][BUCKET]["objects"]
    assert set(seen["roles"]) == {ROLE}
    assert seen["functions"] == {}


# ------------------------------------------------------------------------------------------------ what isn't ours


def test_an_instance_id_that_was_pushed_with_another_content_is_refused_before_anything(stand, tmp_path):
    stand.push()
    other = thampi.save(Scale(5), "scale", tmp_path, instance_id="model-2", verify=False)
    stand.calls.clear()
    before = stand.snapshot()
    with pytest.raises(BundleError, match="the model model-2 was pushed before") as refused:
        stand.push(replace(stand.stage, model_dir=other), deliver=forbidden)
    assert "save the model again" in refused.value.hint
    assert writes(stand) == []
    assert stand.snapshot() == before


def foreign_function(stand):
    trust = json.dumps({"Version": "2012-10-17", "Statement": []})
    role = stand.clients["iam"].create_role(RoleName="theirs", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    image = {"ImageUri": "123456789012.dkr.ecr.eu-central-1.amazonaws.com/theirs@sha256:" + "1" * 64}
    stand.clients["lambda"].create_function(FunctionName=NAME, PackageType="Image", Code=image, Role=role)
    while stand.clients["lambda"].get_function(FunctionName=NAME)["Configuration"]["State"] != "Active":
        pass


FOREIGN = {
    "function": foreign_function,
    "role": lambda stand: stand.clients["iam"].create_role(RoleName=ROLE, AssumeRolePolicyDocument="{}"),
    "ECR repository": lambda stand: stand.clients["ecr"].create_repository(repositoryName="thampi-scale"),
    "log group": lambda stand: stand.clients["logs"].create_log_group(logGroupName=GROUP),
}


@pytest.mark.parametrize("thing", FOREIGN)
def test_what_has_our_name_and_not_our_tag_is_refused_and_left_as_it_is(stand, thing):
    FOREIGN[thing](stand)
    before = stand.snapshot()
    with pytest.raises(CloudError, match=f"the {thing} .* exists and is not this project's") as refused:
        stand.push()
    assert "thampi:project=scale" in refused.value.hint
    assert writes(stand) == []
    assert stand.snapshot() == before


def test_an_api_of_our_name_that_is_somebody_elses_is_not_touched(stand):
    theirs = stand.clients["apigatewayv2"].create_api(Name=NAME, ProtocolType="HTTP", Tags={"team": "other"})
    stand.push()
    apis = stand.clients["apigatewayv2"].get_apis()["Items"]
    assert len(apis) == 2
    assert [api["Tags"] for api in apis if api["ApiId"] == theirs["ApiId"]] == [{"team": "other"}]
    assert stand.answers() == "model-2"


def test_a_bucket_of_the_users_own_is_used_as_it_is(stand):
    where = {"LocationConstraint": "eu-central-1"}
    stand.clients["s3"].create_bucket(Bucket=BUCKET, CreateBucketConfiguration=where)
    pushed = stand.push()
    assert actions(pushed)["bucket"] == "left"
    assert not {"s3.PutPublicAccessBlock", "s3.PutBucketEncryption", "s3.PutBucketTagging"} & set(stand.calls)


# --------------------------------------------------------------------------------------------- regions, partitions


@pytest.fixture
def elsewhere(stand, monkeypatch):
    """The same project in another region and partition; what `session.connect` would have found is said."""
    # moto makes GovCloud's roles in the partition of all others, and Lambda doesn't find them there.
    monkeypatch.setattr(IAMBackend, "get_role_by_arn", lambda self, arn: arn)

    def go(region, partition):
        there = session.connect(region=region, credentials=("testing", "testing"), sleep=stand.sleeps.append)
        aws = dataclasses.replace(there, partition=partition, caller=f"arn:{partition}:iam::123456789012:user/ann")
        return Place(aws, f"thampi-models-{region}", None)

    return go


@pytest.mark.parametrize(
    ("region", "partition", "suffix"),
    [
        ("us-east-1", "aws", "amazonaws.com"),
        ("cn-north-1", "aws-cn", "amazonaws.com.cn"),
        ("us-gov-west-1", "aws-us-gov", "amazonaws.com"),
    ],
)
def test_every_arn_and_host_is_of_the_partition_and_the_second_push_only_reads(
    stand, elsewhere, region, partition, suffix
):
    place, plan, calls = elsewhere(region, partition), stand.plan(stand.stage), []
    aws = place.aws

    def deliver(uri, login, go_on):
        assert login().host.startswith(f"123456789012.dkr.ecr.{region}.")  # moto knows one suffix only
        here, stand.clients["ecr"] = stand.clients["ecr"], aws.client("ecr")
        try:
            return stand.deliver(plan, login)
        finally:
            stand.clients["ecr"] = here

    pushed = push.push(stand.stage, plan, place, deliver=deliver, say=stand.said.append)
    assert re.fullmatch(rf"https://\w+\.execute-api\.{region}\.{re.escape(suffix)}/staging/scale/predict", pushed.url)
    found = aws.client("lambda").get_function(FunctionName=NAME, Qualifier="live")
    assert found["Configuration"]["Role"] == f"arn:{partition}:iam::123456789012:role/{NAME}-{region}"
    assert found["Code"]["ImageUri"].startswith(f"123456789012.dkr.ecr.{region}.{suffix}/thampi-scale@sha256:")
    policy = aws.client("lambda").get_policy(FunctionName=NAME, Qualifier="live")["Policy"]
    role = aws.client("iam").get_role_policy(RoleName=f"{NAME}-{region}", PolicyName="thampi")["PolicyDocument"]
    pull = aws.client("ecr").get_repository_policy(repositoryName="thampi-scale")["policyText"]
    api = pushed.url.split("//")[1].split(".")[0]
    (integration,) = aws.client("apigatewayv2").get_integrations(ApiId=api)["Items"]
    written = [
        policy_source(policy),
        integration["IntegrationUri"],
        *re.findall(r'"(arn:[^"]+)"', json.dumps(role) + pull),
    ]
    assert len(written) == 5
    assert {arn.split(":")[1] for arn in written} == {partition}
    assert {arn.split(":")[3] for arn in written} <= {region, ""}
    location = aws.client("s3").get_bucket_location(Bucket=place.bucket)["LocationConstraint"]
    assert location == (None if region == "us-east-1" else region)
    aws.session.events.register("before-call", lambda model, **_: calls.append(model.name))
    fresh = replace(place, aws=dataclasses.replace(aws, _clients={}))
    assert not push.push(stand.stage, plan, fresh, deliver=forbidden, say=stand.said.append).changed
    assert calls
    assert not [call for call in calls if not re.match("Get|List|Head|Describe|BatchGet", call)]


def policy_source(policy):
    (statement,) = json.loads(policy)["Statement"]
    return statement["Condition"]["ArnLike"]["AWS:SourceArn"]


# ----------------------------------------------------------- what AWS refuses in practice: its words, and ours

IMAGE = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/thampi-scale@sha256:1"
UPDATE = "The operation cannot be performed at this time. An update is in progress for resource: arn:aws:lambda:x"
PENDING = "The operation cannot be performed at this time. The function is currently in the following state: Pending"
MEMORY = "'MemorySize' value failed to satisfy constraint: Member must have value less than or equal to 3008"
MANIFEST = f"The image manifest, config or layer media type for the source image {IMAGE} is not supported."
INVALID = "InvalidParameterValueException"
SAME = "run the same command again"
FAILURES = [
    # a name for it, update (or first push), call, code, status, AWS's message, ours, hint, exit code
    ("E1", False, "ecr.GetAuthorizationToken", "AccessDeniedException", 400,
     "User: arn:x is not authorized to perform: ecr:GetAuthorizationToken on resource: *",
     "getting a login for ECR: AWS refuses ecr:GetAuthorizationToken", "have ecr:GetAuthorizationToken allowed", 5),
    ("E4", False, "lambda.CreateFunction", INVALID, 400,
     f"Source image {IMAGE} does not exist. Provide a valid source image.", "does not exist", SAME, 5),
    ("E4", False, "lambda.CreateFunction", INVALID, 400,
     f"Source image {IMAGE} is not valid. Provide a valid source image.", "is not valid", SAME, 5),
    ("E5", False, "lambda.CreateFunction", "AccessDeniedException", 403,
     "Lambda does not have permission to access the ECR image. Check the ECR permissions.",
     "Lambda does not have permission", "policy must let lambda.amazonaws.com pull", 5),
    ("E5", True, "lambda.UpdateFunctionConfiguration", "AccessDeniedException", 403,
     "The function does not have permission to access the specified image.",
     "does not have permission", "policy must let lambda.amazonaws.com pull", 5),
    ("E6", True, "lambda.UpdateFunctionConfiguration", INVALID, 400,
     "The function is trying to use a deleted image.", "deleted image", "no longer in ECR", 5),
    ("E8", False, "ecr.CreateRepository", "ThrottlingException", 400, "Rate exceeded", "again and again", SAME, 5),
    ("B1", False, "lambda.CreateFunction", INVALID, 400, MANIFEST, "media type", "single images only", 5),
    ("L1", True, "lambda.UpdateFunctionConfiguration", "ResourceConflictException", 409, UPDATE,
     "An update is in progress", SAME, 5),
    ("L2", True, "lambda.PublishVersion", "ResourceConflictException", 409, PENDING, "Pending", SAME, 5),
    ("L4", False, "lambda.PublishVersion", "CodeArtifactUserPendingException", 409,
     "Lambda is initializing your function. It will be ready to invoke shortly.", "is initializing", SAME, 5),
    ("L4", False, "lambda.Invoke", "CodeArtifactUserPendingException", 409,
     "Lambda is initializing your function. It will be ready to invoke shortly.", "is initializing", SAME, 5),
    ("L4", False, "lambda.Invoke", "CodeArtifactUserFailedException", 409, "The artifact is broken",
     "did not become live, nothing is live yet: Lambda can't start it", "push again", 7),
    ("L6", False, "lambda.CreateFunction", INVALID, 400,
     "The role defined for the function cannot be assumed by Lambda.", "cannot be assumed", "leave role_arn out", 5),
    ("L6", False, "lambda.CreateFunction", INVALID, 400,
     "The provided execution role does not have permissions to call CreateNetworkInterface on EC2",
     "does not have permissions", "AWSLambdaVPCAccessExecutionRole", 5),
    ("L7", True, "lambda.Invoke", "KMSAccessDeniedException", 502,
     "Lambda was unable to decrypt the environment variables because KMS access was denied.",
     "version 1 still is: Lambda can't start it: Lambda was unable to decrypt", "mend it and push again", 7),
    ("L9", False, "lambda.CreateFunction", INVALID, 400, MEMORY, "may have 3008 MB of memory", "memory_mb to 3008", 5),
    ("L12", False, "lambda.AddPermission", "PolicyLengthExceededException", 400,
     "The final policy size (20749) is bigger than the limit (20480).", "The final policy size (20749)",
     "remove-permission", 5),
    ("L17", False, "lambda.Invoke", "CodeArtifactUserFailedException", 409,
     "entrypoint requires the handler name to be the first argument",
     "entrypoint requires the handler name to be the first argument (the image starts with AWS's own", "push again", 7),
    ("L19", False, "lambda.CreateFunction", INVALID, 400,
     "Error occurred while DescribeSubnets. The subnet ID 'subnet-1' does not exist", "subnet-1", "vpc.subnet_ids", 5),
    ("A1", False, "apigatewayv2.CreateApi", "TooManyRequestsException", 429, "Too Many Requests",
     "making the API thampi-scale-staging: AWS answered TooManyRequestsException", SAME, 5),
    ("A4", False, "s3.CreateBucket", "IllegalLocationConstraintException", 400,
     "The unspecified location constraint is incompatible for the region specific endpoint this request was sent to.",
     "can't be made: S3 was asked in another region", "set region", 5),
    ("A4", False, "s3.CreateBucket", "InvalidLocationConstraint", 400,
     "The specified location-constraint is not valid", "S3 does not know that region", "correct region", 5),
    ("A5", False, "s3.CreateBucket", "BucketAlreadyExists", 409, "The requested bucket name is not available.",
     "is taken by another AWS account", "set another bucket", 5),
    ("A5", False, "s3.CreateBucket", "OperationAborted", 409,
     "A conflicting conditional operation is currently in progress against this resource. Please try again.",
     "was deleted a moment ago", "S3 frees the name", 5),
    ("A7", True, "lambda.UpdateFunctionConfiguration", "ExpiredTokenException", 403,
     "The security token included in the request is expired", "the AWS credentials have expired", "aws sso login", 5),
]  # fmt: skip


@pytest.mark.parametrize(
    ("update", "call", "code", "status", "message", "said", "hint", "exit_code"),
    [row[1:] for row in FAILURES],
    ids=[f"{row[0]} {row[2].partition('.')[2]} {row[3]}" for row in FAILURES],
)
def test_what_aws_says_is_told_with_the_cure_and_callers_keep_what_they_have(
    stand, update, call, code, status, message, said, hint, exit_code
):
    if update:
        stand.push()
    stand.before = lambda asked: refusal(code, status, message) if asked == call else None
    with pytest.raises(ThampiError) as failed:
        stand.push(other_model(stand))
    assert said in failed.value.message
    assert hint is None or hint in failed.value.hint
    assert failed.value.exit_code == exit_code
    stand.undisturbed()
    assert stand.answers() == ("model-2" if update else None)
    stand.push(other_model(stand))
    assert stand.answers() == "model-3"


def test_a_run_that_was_stopped_begins_nothing_new(stand):
    heard = threading.Event()

    def deliver(uri, login, go_on):
        """Stop the run as Ctrl-C does, and ask until the news has come to this thread."""
        go_on()
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        with contextlib.suppress(KeyboardInterrupt):
            for _ in range(1000):
                time.sleep(0.005)
                go_on()
            return
        heard.set()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stand.push(deliver=deliver)
    assert heard.is_set()
    assert release.read_live(stand.place.aws, NAME) is None
    stand.push(force=True)
    assert release.read_live(stand.place.aws, NAME) is not None
