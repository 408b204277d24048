"""The function becomes what is wanted, each write awaited, and only what is ours is touched."""

from dataclasses import replace

import pytest
from botocore.awsrequest import AWSResponse
from moto.awslambda.models import LambdaFunction, lambda_backends

from tests.aws import strict
from tests.aws.conftest import Death
from thampi import names
from thampi.aws import function
from thampi.aws.function import Function
from thampi.errors import CloudError

NAME = "thampi-iris-staging"
IMAGE = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/thampi-iris@sha256:" + "1" * 64
OTHER_IMAGE = IMAGE.replace("1" * 64, "2" * 64)
ROLE = "arn:aws:iam::123456789012:role/lambda"
READS = {"GetFunction"}


def environment(model="s3://store/a/", at="2026-01-01T00:00:00Z", **more):
    return {"THAMPI_MODEL": model, function.SERVED_TIME: at, **more}


WANTED = Function(
    name=NAME,
    image_uri=IMAGE,
    architecture="x86_64",
    role_arn=ROLE,
    memory_mb=1024,
    timeout_s=29,
    environment=environment(TOKEN="sesame"),
    tags={**names.tags("iris", "staging"), "team": "ml"},
    description="iris, staging",
)
RELEASED = replace(
    WANTED, image_uri=OTHER_IMAGE, memory_mb=2048, environment=environment("s3://store/b/", "2026-02-02T00:00:00Z")
)


@pytest.fixture
def aws(aws, monkeypatch):
    strict.lambda_takes_its_time(monkeypatch)
    strict.lambda_freezes_versions(monkeypatch)
    strict.lambda_changes_settings(monkeypatch)
    strict.lambda_provisions(monkeypatch)
    aws.client("iam").create_role(RoleName="lambda", AssumeRolePolicyDocument="{}")
    return aws


@pytest.fixture
def asked(aws):
    """What was asked of AWS, with all parameters; ask for it before a client is made."""
    seen = []
    aws.session.events.register("provide-client-params", lambda params, model, **_: seen.append((model.name, params)))
    return seen


def writes(calls):
    return [call for call in calls if call not in READS]


def broken(monkeypatch, **state):
    """Let AWS say that the function is in a bad way, until it is made anew."""
    whole = LambdaFunction.get_configuration
    monkeypatch.setattr(
        LambdaFunction,
        "get_configuration",
        lambda self, on_create=False: {**whole(self, on_create), **getattr(self, "broken", {})},
    )
    lambda_backends["123456789012"]["eu-central-1"].get_function(NAME).broken = state


def mend():
    lambda_backends["123456789012"]["eu-central-1"].get_function(NAME).broken = {}


# ------------------------------------------------------------------------------------------------ what is a difference


def test_each_difference_is_a_line_and_no_value_of_the_environment_shows():
    wanted = replace(
        RELEASED,
        environment=environment(model="s3://store/b/", NEW="hunter2"),
        architecture="arm64",
        timeout_s=15,
        ephemeral_storage_mb=2048,
        tracing=True,
        role_arn=f"{ROLE}2",
        subnet_ids=("subnet-2", "subnet-1"),
        security_group_ids=("sg-1",),
    )
    assert function.changes(WANTED, wanted) == (
        "image_uri: 123456789012.dkr.ecr.eu-central-1.amazonaws.com/thampi-iris@sha256:111111111111"
        " -> 123456789012.dkr.ecr.eu-central-1.amazonaws.com/thampi-iris@sha256:222222222222",
        "architecture: x86_64 -> arm64",
        f"role_arn: {ROLE} -> {ROLE}2",
        "memory_mb: 1024 -> 2048",
        "timeout_s: 29 -> 15",
        "ephemeral_storage_mb: 512 -> 2048",
        "tracing: False -> True",
        "subnet_ids: none -> subnet-1, subnet-2",
        "security_group_ids: none -> sg-1",
        "environment.NEW: added",
        "environment.THAMPI_MODEL: changed",
        "environment.TOKEN: removed",
    )


@pytest.mark.parametrize(
    "same",
    [
        replace(WANTED, environment=environment(at="2027-01-01T00:00:00Z", TOKEN="sesame")),
        replace(WANTED, description="another"),
        replace(WANTED, tags={}),
        replace(WANTED, environment=dict(reversed(WANTED.environment.items()))),
    ],
    ids=["time of serving", "description", "tags", "order"],
)
def test_this_makes_no_other_release(same):
    assert function.changes(WANTED, same) == ()


def test_the_order_of_subnets_makes_no_difference():
    found = replace(WANTED, subnet_ids=("a", "b"), security_group_ids=("c", "d"))
    assert function.changes(found, replace(found, subnet_ids=("b", "a"), security_group_ids=("d", "c"))) == ()


def test_a_printed_function_shows_no_value_of_its_environment():
    assert "sesame" not in repr(WANTED)


# ------------------------------------------------------------------------------------------------------------- ensure


def test_a_new_function_is_what_was_wanted_and_ready(aws, asked, sleeps):
    made = function.ensure(aws, WANTED)
    assert (made.action, made.changes) == ("created", ())
    assert (made.value.state, made.value.update_status) == ("Active", "Successful")
    assert made.value.function == WANTED
    (created,) = [params for operation, params in asked if operation == "CreateFunction"]
    assert (created["Tags"], created["PackageType"]) == (WANTED.tags, "Image")
    assert sleeps  # it was Pending


def test_the_second_time_nothing_is_written(aws, calls):
    first = function.ensure(aws, WANTED)
    calls.clear()
    again = function.ensure(aws, WANTED)
    assert (again.action, again.changes, again.value.function) == ("left", (), first.value.function)
    assert set(calls) == READS


def test_another_time_of_serving_alone_writes_nothing(aws, calls):
    function.ensure(aws, WANTED)
    calls.clear()
    later = replace(WANTED, environment=environment(at="2027-01-01T00:00:00Z", TOKEN="sesame"), description="later")
    assert function.ensure(aws, later).action == "left"
    assert set(calls) == READS


def test_only_what_differs_is_sent(aws, asked):
    function.ensure(aws, WANTED)
    asked.clear()
    changed = function.ensure(aws, replace(WANTED, memory_mb=2048))
    assert changed.changes == ("memory_mb: 1024 -> 2048",)
    assert [each for each in asked if each[0] not in READS] == [
        ("UpdateFunctionConfiguration", {"FunctionName": NAME, "MemorySize": 2048})
    ]


def test_another_image_is_served_since_the_push_that_brought_it(aws, asked, calls):
    function.ensure(aws, WANTED)
    asked.clear()
    calls.clear()
    later = environment(at="2026-02-02T00:00:00Z", TOKEN="sesame")
    changed = function.ensure(aws, replace(WANTED, image_uri=OTHER_IMAGE, environment=later))
    assert changed.value.function == replace(WANTED, image_uri=OTHER_IMAGE, environment=later)
    assert calls == [
        *("GetFunction", "UpdateFunctionConfiguration", "GetFunction", "GetFunction"),
        *("UpdateFunctionCode", "GetFunction", "GetFunction"),
    ]
    assert ("UpdateFunctionCode", {"FunctionName": NAME, "ImageUri": OTHER_IMAGE, "Architectures": ["x86_64"]}) in asked


def test_tmp_and_network_come_and_go(aws):
    wanted = replace(WANTED, ephemeral_storage_mb=4096, subnet_ids=("subnet-1",), security_group_ids=("sg-1",))
    function.ensure(aws, WANTED)
    assert function.ensure(aws, wanted).value.function == wanted
    assert function.ensure(aws, WANTED).value.function == WANTED


def test_tracing_comes_and_goes_and_a_version_keeps_what_it_was_published_with(aws):
    for traced in (True, False, True):
        wanted = replace(WANTED, tracing=traced)
        assert function.ensure(aws, wanted).value.function == wanted
        version = aws.client("lambda").publish_version(FunctionName=NAME)["Version"]
        assert function.read(aws, NAME, version).function.tracing is traced
    assert function.read(aws, NAME, "1").function.tracing is True
    assert function.read(aws, NAME, "2").function.tracing is False


def test_a_tag_is_added_without_another_release(aws, calls):
    function.ensure(aws, WANTED)
    calls.clear()
    changed = function.ensure(aws, replace(WANTED, tags={**WANTED.tags, "cost": "7"}))
    assert (changed.action, changed.changes) == ("changed", ("tags.cost: none -> 7",))
    assert writes(calls) == ["TagResource"]
    assert changed.value.function.tags == {**WANTED.tags, "cost": "7"}


def test_tags_that_others_added_stay(aws, calls):
    function.ensure(aws, replace(WANTED, tags={**WANTED.tags, "theirs": "x"}))
    calls.clear()
    assert function.ensure(aws, WANTED).value.function.tags["theirs"] == "x"
    assert set(calls) == READS


@pytest.mark.parametrize("partition", ["aws-cn", "aws-us-gov"])
def test_in_other_partitions_the_function_is_tagged_by_its_arn_there(aws, asked, meddler, partition):
    function.ensure(aws, WANTED)
    meddler.refuse("TagResource", "AccessDeniedException", 403)
    with pytest.raises(CloudError):
        function.ensure(replace(aws, partition=partition), replace(WANTED, tags={**WANTED.tags, "cost": "7"}))
    assert asked[-1] == (
        "TagResource",
        {"Resource": f"arn:{partition}:lambda:eu-central-1:123456789012:function:{NAME}", "Tags": {"cost": "7"}},
    )


# ---------------------------------------------------------------------------------------------------------- not ours


@pytest.mark.parametrize("tags", [{}, names.tags("iris", "production"), names.tags("else", "staging")])
@pytest.mark.parametrize("act", ["ensure", "remove"])
def test_a_function_without_our_tags_is_left_as_it_is(aws, calls, tags, act):
    function.ensure(aws, replace(WANTED, tags=tags))
    before = function.read(aws, NAME)
    calls.clear()
    with pytest.raises(CloudError, match=f"the function {NAME} exists and is not this project's"):
        function.ensure(aws, RELEASED) if act == "ensure" else function.remove(aws, "iris", "staging")
    assert set(calls) == READS
    assert function.read(aws, NAME) == before


def test_a_function_made_of_a_zip_file_is_left_as_it_is(aws, calls):
    aws.client("lambda").create_function(
        FunctionName=NAME,
        Role=ROLE,
        Runtime="python3.12",
        Handler="a.b",
        Code={"ZipFile": b"x"},
        Tags=dict(WANTED.tags),
    )
    function.settled(aws, NAME)
    calls.clear()
    with pytest.raises(CloudError, match="is a Zip function"):
        function.ensure(aws, WANTED)
    assert set(calls) == READS


def test_tags_that_may_not_be_read_are_not_taken_for_missing_ones(aws, monkeypatch):
    function.ensure(aws, WANTED)
    whole = LambdaFunction.get_code
    error = {"ErrorCode": "AccessDeniedException", "Message": "not authorized to perform: lambda:ListTags"}
    monkeypatch.setattr(LambdaFunction, "get_code", lambda self: {**whole(self), "Tags": {}, "TagsError": error})
    with pytest.raises(CloudError, match="lambda:ListTags"):
        function.ensure(aws, WANTED)
    assert function.read(aws, NAME, "$LATEST") is not None  # no need for tags here


# --------------------------------------------------------------------------------------------- what only takes a while


@pytest.mark.parametrize("operation", ["CreateFunction", "UpdateFunctionConfiguration"])
@pytest.mark.parametrize(
    ("code", "message", "limit"),
    [
        ("ResourceConflictException", "An update is in progress for resource", 300),
        ("CodeArtifactUserPendingException", "Lambda is initializing your function", 300),
        ("InvalidParameterValueException", "The role defined for the function cannot be assumed by Lambda.", 60),
        ("InvalidParameterValueException", "The provided execution role does not have permissions to call X", 60),
        ("InvalidParameterValueException", f"Source image {IMAGE} does not exist. Provide a valid source image.", 30),
        ("AccessDeniedException", "Lambda does not have permission to access the ECR image.", 30),
    ],
)
def test_a_refusal_that_passes_is_waited_for(aws, meddler, sleeps, operation, code, message, limit):
    if operation == "UpdateFunctionConfiguration":
        function.ensure(aws, WANTED)
    elif code == "ResourceConflictException":
        return  # there it says that the function exists
    meddler.refuse(operation, code, message=message, times=3)
    wanted = replace(WANTED, memory_mb=2048)
    assert function.ensure(aws, wanted).value.function == wanted
    del sleeps[:]
    meddler.refuse("UpdateFunctionConfiguration", code, message=message)
    with pytest.raises(CloudError) as refused:
        function.ensure(aws, WANTED)
    assert message in refused.value.message
    assert limit <= sum(sleeps) < limit + 8


def test_a_role_of_the_user_that_may_not_trace_is_said_how_to_be_made_right(aws, meddler):
    function.ensure(aws, WANTED)
    said = "The provided execution role does not have permissions to call PutTraceSegments on XRAY"
    meddler.refuse("UpdateFunctionConfiguration", "InvalidParameterValueException", message=said)
    with pytest.raises(CloudError, match=said) as refused:
        function.ensure(aws, replace(WANTED, tracing=True))
    assert "xray:PutTraceSegments and xray:PutTelemetryRecords" in refused.value.hint


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_function_that_was_made_meanwhile_is_taken_over_when_it_is_ours(aws, meddler, number):
    """The answer to CreateFunction was lost, and the SDK repeated it."""

    def create_first(operation):
        if operation == "CreateFunction":
            meddler.stop()
            function.ensure(replace(aws, _clients={}), WANTED)

    meddler.before = create_first
    wanted = replace(WANTED, memory_mb=1024 * number)
    made = function.ensure(aws, wanted)
    assert (made.action, made.value.function) == ("left" if number == 1 else "changed", wanted)


def test_a_function_that_somebody_else_made_meanwhile_is_left_as_it_is(aws, meddler):
    def create_first(operation):
        if operation == "CreateFunction":
            meddler.stop()
            function.ensure(replace(aws, _clients={}), replace(WANTED, tags={}))

    meddler.before = create_first
    with pytest.raises(CloudError, match="not this project's"):
        function.ensure(aws, RELEASED)


def test_an_update_of_somebody_else_is_waited_for(aws, sleeps):
    function.ensure(aws, WANTED)
    aws.client("lambda").update_function_configuration(FunctionName=NAME, Timeout=5)
    del sleeps[:]
    assert function.ensure(aws, WANTED).changes == ("timeout_s: 5 -> 29",)
    assert max(sleeps) < 5  # no write ran into it


def test_a_function_that_was_idle_for_weeks_takes_updates(aws, monkeypatch, sleeps):
    function.ensure(aws, WANTED)
    broken(monkeypatch, State="Inactive", StateReasonCode="Idle")
    del sleeps[:]
    assert function.ensure(aws, WANTED).action == "left"
    assert function.ensure(aws, RELEASED).value.function == RELEASED
    assert sum(sleeps) < 5


def test_a_function_that_is_gone_is_not_waited_for_long(aws, sleeps):
    with pytest.raises(CloudError, match="is gone"):
        function.settled(aws, NAME)
    assert 20 <= sum(sleeps) < 30


def test_waiting_has_an_end(aws, monkeypatch, sleeps):
    function.ensure(aws, WANTED)
    broken(monkeypatch, State="Pending")
    del sleeps[:]
    with pytest.raises(CloudError, match=r"at work on the function .* for 10 minutes \(Pending"):
        function.ensure(aws, RELEASED)
    assert 600 <= sum(sleeps) < 620


# ------------------------------------------------------------------------------------------------ what does not pass


@pytest.mark.parametrize(
    ("code", "message", "said", "hint"),
    [
        (
            "ValidationException",
            "1 validation error detected: Value '10240' at 'memorySize' failed to satisfy constraint: "
            "Member must have value less than or equal to 3008",
            "this account's functions may have 3008 MB",
            "set memory_mb to 3008",
        ),
        (
            "InvalidParameterValueException",
            "'MemorySize' value failed to satisfy constraint: Member must have value less than or equal to 3008",
            "this account's functions may have 3008 MB",
            "set memory_mb to 3008",
        ),
        (
            "InvalidParameterValueException",
            f"The image manifest, config or layer media type for the source image {IMAGE} is not supported.",
            "media type",
            "single images only",
        ),
        (
            "InvalidParameterValueException",
            "The function is trying to use a deleted image.",
            "deleted image",
            "no longer in ECR",
        ),
        ("InvalidParameterValueException", "The subnet ID 'subnet-1' does not exist", "subnet-1", "vpc.subnet_ids"),
        ("AccessDeniedException", "not authorized to perform: lambda:CreateFunction", "AWS refuses", "allowed"),
        ("TooManyRequestsException", "Rate exceeded", "again and again", "goes on where it stopped"),
        ("ServiceException", "oops", "again and again", "goes on where it stopped"),
    ],
)
def test_a_refusal_is_said_with_its_cure(aws, meddler, code, message, said, hint):
    meddler.refuse("CreateFunction", code, 500 if code == "ServiceException" else 400, message)
    with pytest.raises(CloudError) as refused:
        function.ensure(aws, WANTED)
    assert said in refused.value.message
    assert f"the function {NAME}" in refused.value.message
    assert hint in refused.value.hint


def test_a_function_that_cant_be_made_ready_says_why(aws, monkeypatch, meddler):
    meddler.after = lambda operation: (
        broken(monkeypatch, State="Failed", StateReasonCode="InvalidImage", StateReason="UnsupportedImageLayerDetected")
        if operation == "CreateFunction"
        else None
    )
    with pytest.raises(CloudError, match="InvalidImage: UnsupportedImageLayerDetected") as refused:
        function.ensure(aws, WANTED)
    assert "gzip" in refused.value.hint


def test_a_function_whose_creation_failed_is_made_anew(aws, monkeypatch, calls):
    function.ensure(aws, WANTED)
    broken(monkeypatch, State="Failed", StateReasonCode="InvalidImage")
    calls.clear()
    made = function.ensure(aws, RELEASED)
    assert (made.action, made.value.function) == ("created", RELEASED)
    assert writes(calls) == ["ListAliases", "DeleteFunction", "CreateFunction"]


def test_a_failed_function_that_is_called_is_never_deleted(aws, monkeypatch, calls):
    function.ensure(aws, WANTED)
    version = aws.client("lambda").publish_version(FunctionName=NAME)["Version"]
    aws.client("lambda").create_alias(FunctionName=NAME, Name="live", FunctionVersion=version)
    broken(monkeypatch, State="Failed", StateReasonCode="InvalidImage")
    calls.clear()
    with pytest.raises(CloudError, match="InvalidImage"):
        function.ensure(aws, RELEASED)
    assert "DeleteFunction" not in calls


@pytest.mark.parametrize(
    ("code", "order"),
    [
        ("ImageDeleted", ["UpdateFunctionCode", "UpdateFunctionConfiguration"]),
        ("InvalidSubnet", ["UpdateFunctionConfiguration", "UpdateFunctionCode"]),
    ],
)
def test_after_an_update_that_failed_all_is_sent_again(aws, monkeypatch, calls, meddler, code, order):
    function.ensure(aws, WANTED)
    broken(monkeypatch, LastUpdateStatus="Failed", LastUpdateStatusReasonCode=code)
    meddler.after = lambda operation: mend() if operation.startswith("Update") else None
    calls.clear()
    mended = function.ensure(aws, WANTED)
    assert mended.changes == (f"state: {code} -> made ready again",)
    assert writes(calls) == order


# --------------------------------------------------------------------------------------- runs that end in between


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("existing", [False, True], ids=["first", "update"])
def test_a_run_that_is_killed_anywhere_is_finished_by_the_next(aws, meddler, moment, existing):
    wanted = replace(RELEASED, tags={**RELEASED.tags, "cost": "7"}, subnet_ids=("s",), security_group_ids=("g",))
    for number in range(30):
        if existing:
            function.ensure(aws, WANTED)
        meddler.kill(moment, number)
        try:
            function.ensure(aws, wanted)
            killed = False
        except Death:
            killed = True
        meddler.stop()
        found = function.ensure(aws, wanted).value
        assert (found.function, found.state, found.update_status) == (wanted, "Active", "Successful"), number
        assert function.ensure(aws, wanted).action == "left"
        assert function.remove(aws, "iris", "staging")
        if not killed:
            break
    assert number > (2 if not existing else 7)


# ------------------------------------------------------------------------------------------------------------- remove


def test_the_function_goes_with_its_versions_and_aliases(aws):
    function.ensure(aws, WANTED)
    version = aws.client("lambda").publish_version(FunctionName=NAME)["Version"]
    aws.client("lambda").create_alias(FunctionName=NAME, Name="live", FunctionVersion=version)
    assert function.remove(aws, "iris", "staging")
    assert function.read(aws, NAME) is None
    assert function.read(aws, NAME, version) is None


def test_what_is_gone_already_is_fine(aws, calls):
    calls.clear()
    assert not function.remove(aws, "iris", "staging")
    assert calls == ["GetFunction"]


def test_a_function_that_never_goes_is_said(aws, meddler):
    function.ensure(aws, WANTED)
    answer = (AWSResponse("", 204, {}, None), {})
    meddler.before = lambda operation: answer if operation == "DeleteFunction" else None
    with pytest.raises(CloudError, match="still there"):
        function.remove(aws, "iris", "staging")


def test_the_stages_of_a_project_are_known_by_their_functions_and_those_of_others_are_not(aws):
    role = aws.client("iam").create_role(RoleName="stages", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    for name in ("thampi-a-live", "thampi-a-staging2", "thampi-a-b-live", "thampi-ab-live", "a-live", "thampi-a-"):
        aws.client("lambda").create_function(
            FunctionName=name,
            PackageType="Image",
            Code={"ImageUri": "123456789012.dkr.ecr.eu-central-1.amazonaws.com/x@sha256:" + "1" * 64},
            Role=role,
        )
    assert function.stages(aws, "a") == ("live", "staging2")
    assert function.stages(aws, "a-b") == ("live",)
    assert function.stages(aws, "none") == ()
