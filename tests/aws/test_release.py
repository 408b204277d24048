"""A release is what was wanted, and callers get the old one until one call makes the new one live."""

import json
from dataclasses import replace

import pytest
from botocore.awsrequest import AWSResponse
from moto.awslambda.models import LambdaStorage

from tests.aws import strict
from tests.aws.conftest import Death
from thampi import names
from thampi.aws import function, release
from thampi.aws.function import Function
from thampi.errors import CloudError, ReleaseError

NAME = "thampi-iris-staging"
IMAGE = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/thampi-iris@sha256:" + "1" * 64
SOURCE = "arn:aws:execute-api:eu-central-1:123456789012:abc/*/*"
WANTED = Function(
    name=NAME,
    image_uri=IMAGE,
    architecture="x86_64",
    role_arn="arn:aws:iam::123456789012:role/lambda",
    memory_mb=1024,
    timeout_s=29,
    environment={"THAMPI_MODEL": "s3://store/a/", function.SERVED_TIME: "2026-01-01T00:00:00Z"},
    tags=names.tags("iris", "staging"),
)
NEXT = replace(
    WANTED,
    image_uri=IMAGE.replace("1" * 64, "2" * 64),
    environment={"THAMPI_MODEL": "s3://store/b/", function.SERVED_TIME: "2026-02-02T00:00:00Z"},
)
READS = {"GetFunction", "GetAlias", "GetPolicy", "ListVersionsByFunction"}


@pytest.fixture
def aws(aws, monkeypatch):
    strict.lambda_takes_its_time(monkeypatch)
    strict.lambda_freezes_versions(monkeypatch)
    strict.lambda_guards_aliases(monkeypatch)
    strict.lambda_refuses_equal_statements(monkeypatch)
    strict.lambda_provisions(monkeypatch)
    aws.client("iam").create_role(RoleName="lambda", AssumeRolePolicyDocument="{}")
    return aws


def push(aws, wanted, description=""):
    """Everything of a push that is this module's."""
    live = release.read_live(aws, NAME)
    if live is None or function.changes(live.function, wanted):
        function.ensure(aws, wanted)
        version = release.publish(aws, wanted, description)
        release.point_live(aws, NAME, version.number, live)
    release.allow(aws, NAME, SOURCE, "thampi-gateway")


# -------------------------------------------------------------------------------------------------- the description


@pytest.mark.parametrize(
    ("who", "text"),
    [
        (
            "arn:aws:iam::123456789012:user/jo",
            "model=9dbc1c2e recipe=1a2b3c4d5e6f7081 when=2026-09-06T22:03:04Z who=arn:aws:iam::123456789012:user/jo",
        ),
        (
            f"arn:aws:sts::123456789012:assumed-role/{'x' * 300}/jo@example.com",
            f"model=9dbc1c2e recipe=1a2b3c4d5e6f7081 when=2026-09-06T22:03:04Z who=..{'x' * 170}/jo@example.com",
        ),
    ],
)
def test_a_description_says_model_recipe_time_and_person_in_256_characters(who, text):
    made = release.describe(model="9dbc1c2e", recipe="1a2b3c4d5e6f7081", when="2026-09-06T22:03:04Z", who=who)
    assert made == text
    assert len(made) <= 256


def test_a_description_never_gets_longer_than_lambda_takes(aws):
    assert len(release.describe(model="m" * 300, recipe="r", when="w", who="who")) == 256
    function.ensure(aws, WANTED)
    assert release.publish(aws, WANTED, "d" * 300).description == "d" * 256


# ------------------------------------------------------------------------------------------------------------ publish


def test_a_version_is_what_was_wanted_and_stays_so(aws):
    function.ensure(aws, WANTED)
    first = release.publish(aws, WANTED, "the first")
    function.ensure(aws, NEXT)
    second = release.publish(aws, NEXT, "the second")
    assert [(each.number, each.description) for each in (first, second)] == [("1", "the first"), ("2", "the second")]
    assert function.changes(function.read(aws, NAME, "1").function, WANTED) == ()
    assert function.changes(function.read(aws, NAME, "2").function, NEXT) == ()


def test_publishing_again_gives_the_same_version_with_its_first_description(aws, calls):
    function.ensure(aws, WANTED)
    first = release.publish(aws, WANTED, "the first")
    assert release.publish(aws, WANTED, "again") == first
    assert len(release.versions(aws, NAME)) == 1


def test_a_function_that_somebody_changed_is_not_published(aws, calls):
    function.ensure(aws, WANTED)
    aws.client("lambda").update_function_configuration(FunctionName=NAME, MemorySize=128)
    calls.clear()
    with pytest.raises(ReleaseError, match="changed by somebody else meanwhile: memory_mb: 128 -> 1024"):
        release.publish(aws, WANTED, "")
    assert set(calls) == {"GetFunction"}


def test_a_change_between_looking_and_publishing_is_seen(aws, meddler):
    function.ensure(aws, WANTED)
    other = replace(aws, _clients={}).client("lambda")

    def change(operation):
        if operation == "PublishVersion":
            meddler.stop()
            other.update_function_configuration(FunctionName=NAME, MemorySize=128)
            function.settled(aws, NAME)

    meddler.before = change
    with pytest.raises(ReleaseError, match="memory_mb: 128 -> 1024"):
        release.publish(aws, WANTED, "")
    assert release.versions(aws, NAME) == ()


def test_a_revision_that_only_counted_on_is_taken_up(aws, meddler):
    function.ensure(aws, WANTED)
    meddler.refuse("PublishVersion", "PreconditionFailedException", 412, times=2)
    assert release.publish(aws, WANTED, "").number == "1"
    meddler.refuse("PublishVersion", "PreconditionFailedException", 412)
    with pytest.raises(ReleaseError, match="is being changed by somebody else"):
        release.publish(aws, WANTED, "")


def test_a_mixture_is_never_taken_for_what_was_wanted(aws, meddler, monkeypatch):
    function.ensure(aws, WANTED)
    whole = LambdaStorage.publish_version

    def mix(self, name, description=""):
        version = whole(self, name, description)
        version.timeout = 3
        return version

    monkeypatch.setattr(LambdaStorage, "publish_version", mix)
    with pytest.raises(ReleaseError, match=r"version 1 of .* is not what was to be released: timeout_s: 3 -> 29"):
        release.publish(aws, WANTED, "")
    assert release.read_live(aws, NAME) is None


def test_an_update_under_way_is_waited_for_before_publishing(aws, sleeps):
    function.ensure(aws, WANTED)
    aws.client("lambda").update_function_configuration(FunctionName=NAME, MemorySize=1024)
    assert release.publish(aws, WANTED, "").number == "1"
    assert not sleeps or max(sleeps) < 5


# --------------------------------------------------------------------------------------------------------------- live


def test_nothing_is_live_before_the_first_release(aws):
    assert release.read_live(aws, NAME) is None
    function.ensure(aws, WANTED)
    assert release.read_live(aws, NAME) is None


def test_what_is_live_is_the_version_as_published(aws):
    push(aws, WANTED, "the first")
    function.ensure(aws, NEXT)  # changes $LATEST only
    live = release.read_live(aws, NAME)
    assert (live.version, live.description, dict(live.weights), live.state) == ("1", "the first", {}, "Active")
    assert function.changes(live.function, WANTED) == ()


def test_what_is_replaced_while_it_is_read_is_said(aws, meddler):
    push(aws, WANTED)
    alias = (AWSResponse("", 200, {}, None), {"FunctionVersion": "9", "Name": "live"})
    meddler.before = lambda operation: alias if operation == "GetAlias" else None
    with pytest.raises(CloudError, match="replaced this very moment"):
        release.read_live(aws, NAME)


def test_moving_says_from_where_to_where(aws):
    function.ensure(aws, WANTED)
    number = release.publish(aws, WANTED, "").number
    first = release.point_live(aws, NAME, number, None)
    assert (first.value, first.action, first.changes) == ("1", "created", ("live: none -> 1",))
    function.ensure(aws, NEXT)
    number = release.publish(aws, NEXT, "").number
    second = release.point_live(aws, NAME, number, release.read_live(aws, NAME))
    assert (second.value, second.action, second.changes) == ("2", "changed", ("live: 1 -> 2",))


def test_what_is_live_already_is_left(aws, calls):
    push(aws, WANTED)
    live = release.read_live(aws, NAME)
    calls.clear()
    assert release.point_live(aws, NAME, "1", live).action == "left"
    assert calls == []


def test_no_weight_of_a_canary_outlives_a_release(aws):
    push(aws, WANTED)
    push(aws, NEXT)
    weights = {"AdditionalVersionWeights": {"1": 0.1}}
    aws.client("lambda").update_alias(FunctionName=NAME, Name="live", RoutingConfig=weights)
    live = release.read_live(aws, NAME)
    assert live.weights == {"1": 0.1}
    assert release.point_live(aws, NAME, "2", live).action == "changed"
    assert release.read_live(aws, NAME).weights == {}


@pytest.mark.parametrize("first", [True, False])
def test_of_two_that_release_at_once_one_is_told(aws, first):
    for wanted in (WANTED, NEXT):
        function.ensure(aws, wanted)
        release.publish(aws, wanted, "")
    if not first:
        release.point_live(aws, NAME, "1", None)
    seen = release.read_live(aws, NAME)
    aws.client("lambda").publish_version(FunctionName=NAME)
    theirs = "2" if not first else "1"
    release.point_live(aws, NAME, theirs, seen)
    with pytest.raises(ReleaseError, match=f"is not live: meanwhile {theirs} was made live"):
        release.point_live(aws, NAME, "2" if first else "1", replace(seen, version="0") if seen else None)
    assert release.read_live(aws, NAME).version == theirs


@pytest.mark.parametrize("first", [True, False])
def test_an_answer_that_was_lost_and_asked_for_again_is_no_conflict(aws, meddler, first):
    for wanted in (WANTED, NEXT):
        function.ensure(aws, wanted)
        release.publish(aws, wanted, "")
    if not first:
        release.point_live(aws, NAME, "1", None)
    seen = release.read_live(aws, NAME)

    def move_first(operation):
        if operation in ("CreateAlias", "UpdateAlias"):
            meddler.stop()
            release.point_live(replace(aws, _clients={}), NAME, "2", seen)

    meddler.before = move_first
    assert release.point_live(aws, NAME, "2", seen).value == "2"


# ------------------------------------------------------------------------------------------------------ who may call


def statements(aws):
    policy = aws.client("lambda").get_policy(FunctionName=NAME, Qualifier="live")["Policy"]
    return json.loads(policy)["Statement"]


def test_the_permission_is_for_what_is_live_and_for_this_source_alone(aws):
    push(aws, WANTED)
    (statement,) = statements(aws)
    assert statement["Resource"] == release.arn(aws, NAME) == f"{aws.arn('lambda', f'function:{NAME}')}:live"
    assert statement["Principal"] == {"Service": "apigateway.amazonaws.com"}
    assert statement["Action"] == "lambda:InvokeFunction"
    assert statement["Condition"] == {"ArnLike": {"AWS:SourceArn": SOURCE}}


def test_a_permission_that_is_there_is_left(aws, calls):
    push(aws, WANTED)
    calls.clear()
    assert release.allow(aws, NAME, SOURCE, "thampi-gateway").action == "left"
    assert calls == ["GetPolicy"]


def test_another_source_is_let_in_before_the_old_one_is_locked_out(aws, calls):
    push(aws, WANTED)
    release.allow(aws, NAME, "arn:aws:scheduler:x", "thampi-schedule", "scheduler.amazonaws.com")
    calls.clear()
    changed = release.allow(aws, NAME, SOURCE.replace("abc", "xyz"), "thampi-gateway")
    assert (changed.action, changed.changes) == ("changed", (f"caller: {SOURCE.replace('abc', 'xyz')}",))
    assert calls == ["GetPolicy", "AddPermission", "RemovePermission"]
    assert sorted(json.dumps(each["Condition"]) for each in statements(aws)) == [
        '{"ArnLike": {"AWS:SourceArn": "arn:aws:execute-api:eu-central-1:123456789012:xyz/*/*"}}',
        '{"ArnLike": {"AWS:SourceArn": "arn:aws:scheduler:x"}}',
    ]


def test_a_permission_whose_answer_was_lost_is_no_conflict(aws, meddler):
    push(aws, WANTED)

    def allow_first(operation):
        if operation == "AddPermission":
            meddler.stop()
            release.allow(replace(aws, _clients={}), NAME, SOURCE.replace("abc", "xyz"), "thampi-gateway")

    meddler.before = allow_first
    release.allow(aws, NAME, SOURCE.replace("abc", "xyz"), "thampi-gateway")
    assert len(statements(aws)) == 1


def test_a_permission_that_meets_another_change_is_asked_for_again(aws, meddler, sleeps):
    push(aws, WANTED)
    meddler.refuse("AddPermission", "ResourceConflictException", 409, "An update is in progress", times=2)
    release.allow(aws, NAME, SOURCE.replace("abc", "xyz"), "thampi-gateway")
    assert [each["Condition"]["ArnLike"]["AWS:SourceArn"] for each in statements(aws)] == [SOURCE.replace("abc", "xyz")]


def test_a_policy_that_is_full_is_said(aws, meddler):
    push(aws, WANTED)
    meddler.refuse("AddPermission", "PolicyLengthExceededException", message="The final policy size is bigger than …")
    with pytest.raises(CloudError, match="PolicyLengthExceededException"):
        release.allow(aws, NAME, "arn:other", "thampi-gateway")


# ------------------------------------------------------------------------------------------------------------ versions


def test_the_newest_version_comes_first_and_latest_is_none(aws):
    for number in range(12):
        wanted = replace(WANTED, memory_mb=128 + number)
        function.ensure(aws, wanted)
        release.publish(aws, wanted, f"number {number}")
    found = release.versions(aws, NAME)
    assert [each.number for each in found] == [str(number) for number in range(12, 0, -1)]
    assert found[0].description == "number 11"
    assert found[0].code_sha256
    assert found[0].published


def test_without_a_function_there_is_no_version(aws, meddler):
    meddler.refuse("ListVersionsByFunction", "ResourceNotFoundException", 404)
    assert release.versions(aws, NAME) == ()


def test_all_pages_of_versions_are_read(aws, meddler):
    def page(numbers, marker):
        listed = [{"Version": each, "LastModified": "2026", "CodeSha256": "", "Description": ""} for each in numbers]
        return AWSResponse("", 200, {}, None), {"Versions": listed, **({"NextMarker": marker} if marker else {})}

    pages = iter([page(["$LATEST", "1"], "m"), page(["2"], "n"), page(["3"], None)])
    meddler.before = lambda operation: next(pages)
    assert [each.number for each in release.versions(aws, NAME)] == ["3", "2", "1"]


# ------------------------------------------------------------------------------------------ runs that end in between


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("existing", [False, True], ids=["first", "update"])
def test_a_push_that_is_killed_anywhere_is_finished_by_the_next(aws, meddler, moment, existing):
    for number in range(40):
        if existing:
            push(aws, WANTED)
        meddler.kill(moment, number)
        try:
            push(aws, NEXT)
            killed = False
        except Death:
            killed = True
        meddler.stop()
        live = release.read_live(aws, NAME)
        if live is None:
            assert not existing
        else:  # callers get the old one or the new one, and nothing else
            assert () in [function.changes(live.function, each) for each in (WANTED, NEXT)]
        push(aws, NEXT)
        assert [each.number for each in release.versions(aws, NAME)] == (["2", "1"] if existing else ["1"]), number
        assert function.changes(release.read_live(aws, NAME).function, NEXT) == ()
        assert len(statements(aws)) == 1
        assert function.remove(aws, "iris", "staging")
        if not killed:
            break
    assert number > 9


def test_a_push_of_which_every_answer_is_lost_once_ends_like_any_other(aws, lossy):
    for wanted in (WANTED, NEXT):
        push(aws, wanted)
        assert function.changes(release.read_live(aws, NAME).function, wanted) == ()
    assert len(lossy) >= 7  # create, publish, alias, permission; configuration, code, publish, alias
    assert [each.number for each in release.versions(aws, NAME)] == ["2", "1"]
    assert len(statements(aws)) == 1
    assert function.remove(aws, "iris", "staging")


@pytest.mark.parametrize("operation", ["GetAlias", "GetFunction", "PublishVersion", "UpdateAlias", "AddPermission"])
def test_a_refusal_leaves_live_what_was(aws, meddler, operation):
    push(aws, WANTED)
    for code, status, said in [
        ("AccessDeniedException", 403, "AWS refuses"),
        ("TooManyRequestsException", 429, "again and again"),
        ("ServiceException", 500, "again and again"),
    ]:
        meddler.refuse(operation, code, status)
        with pytest.raises(CloudError, match=said) as refused:
            push(aws, NEXT) if operation != "AddPermission" else release.allow(aws, NAME, "arn:other", "other")
        assert refused.value.hint
        meddler.stop()
        assert release.read_live(aws, NAME).version == "1"


# ------------------------------------------------------------------------------------------- what is named, what goes


def test_what_aliases_name_and_share_is_named_and_what_was_live_is_noted_newest_first(aws):
    for memory_mb in (128, 256, 512, 1024):
        push(aws, replace(WANTED, memory_mb=memory_mb))
    shares = {"AdditionalVersionWeights": {"2": 0.5}}
    aws.client("lambda").create_alias(FunctionName=NAME, Name="mine", FunctionVersion="1", RoutingConfig=shares)
    assert release.named(aws, NAME) == ({"1", "2", "4"}, ("4", "3", "2", "1"))
    live = release.read_live(aws, NAME)
    release.point_live(aws, NAME, "2", live, share=("3", 0.25))
    assert release.read_live(aws, NAME).before == ("4", "3", "1")
    assert release.read_live(aws, NAME).candidate == ("3", 0.25)


def test_a_share_that_is_not_said_does_not_stay(aws):
    push(aws, WANTED)
    push(aws, NEXT)
    release.point_live(aws, NAME, "2", release.read_live(aws, NAME), share=("1", 0.25), ground="abc")
    moved = release.point_live(aws, NAME, "2", release.read_live(aws, NAME), share=("1", 0.5))
    assert moved.changes == ("share of 1: 25 % -> 50 %",)
    moved = release.point_live(aws, NAME, "2", release.read_live(aws, NAME))
    assert moved.changes == ("share of 1: 50 % -> none",)
    live = release.read_live(aws, NAME)
    assert (live.weights, live.ground, live.before) == ({}, "abc", ("1",))


def test_a_version_is_deleted_once_and_never_latest_or_the_function(aws):
    push(aws, WANTED)
    push(aws, NEXT)
    release.remove_version(aws, NAME, "1")
    release.remove_version(aws, NAME, "1")
    assert [each.number for each in release.versions(aws, NAME)] == ["2"]
    for number in ("$LATEST", "live", "", "1a"):
        with pytest.raises(ValueError, match="is no version"):
            release.remove_version(aws, NAME, number)
    assert function.read(aws, NAME) is not None


def test_a_description_of_ours_is_read_back_and_others_are_not_mistaken_for_one():
    parts = {"model": "9dbc", "recipe": "1a2b", "when": "2026-09-06T22:03:04Z", "who": "jo@host with spaces"}
    assert release.said(release.describe(**parts)) == parts
    assert release.said("model=9dbc, by hand") == {}
    assert release.said("") == {}


def test_who_was_allowed_under_an_id_is_no_longer(aws):
    push(aws, WANTED)
    release.allow(aws, NAME, "arn:rule", "thampi-warm", "events.amazonaws.com")
    assert len(release.callers(aws, NAME)) == 2
    release.disallow(aws, NAME, "thampi-warm")
    release.disallow(aws, NAME, "thampi-warm")
    (left,) = release.callers(aws, NAME)
    assert left.startswith("thampi-gateway")
