"""The role may do what the function needs, no more; it is made once, kept so, and never somebody else's."""

import dataclasses
import json

import pytest
from botocore.awsrequest import AWSResponse

from tests.aws.conftest import Death
from thampi.aws import role
from thampi.errors import CloudError

NAME = "thampi-iris-staging-eu-central-1"
READS = {"GetRole", "GetRolePolicy"}


@pytest.fixture
def wanted(aws):
    return role.make(aws, "iris", "staging", bucket="models", tags={"team": "ml"})


@pytest.fixture
def iam(aws, calls):
    return aws.session.client("iam")


def foreign(iam, **more):
    trust = json.dumps({"Version": "2012-10-17", "Statement": []})
    iam.create_role(RoleName=NAME, AssumeRolePolicyDocument=trust, **more)


def dies(action, *values):
    """Say whether a run was killed, as the test had arranged."""
    try:
        action(*values)
    except Death:
        return True
    return False


# ----------------------------------------------------------------------------------------------------- what it may do


def test_the_function_may_write_its_own_log_and_read_the_models_of_its_project(wanted):
    assert json.loads(json.dumps(wanted.policy)) == {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "Log",
                "Effect": "Allow",
                "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
                "Resource": "arn:aws:logs:eu-central-1:123456789012:log-group:/aws/lambda/thampi-iris-staging:*",
            },
            {
                "Sid": "Models",
                "Effect": "Allow",
                "Action": "s3:GetObject",
                "Resource": "arn:aws:s3:::models/thampi/iris/models/*/*",
            },
        ],
    }


def test_lambda_alone_may_take_the_role(wanted):
    (statement,) = wanted.trust["Statement"]
    assert statement["Principal"] == {"Service": "lambda.amazonaws.com"}
    assert (statement["Effect"], statement["Action"]) == ("Allow", "sts:AssumeRole")
    assert "Resource" not in statement


def test_without_models_in_s3_there_is_nothing_to_read_there(aws):
    made = role.make(aws, "iris", "staging", bucket=None, in_vpc=True)
    assert [each["Sid"] for each in made.policy["Statement"]] == ["Log", "Network", "NetworkNotByCode"]
    assert "s3" not in str(made.policy)


def test_where_requests_are_traced_x_ray_may_be_told_of_them_and_nowhere_else(aws):
    traced = role.make(aws, "iris", "staging", bucket="models", traced=True).policy["Statement"]
    plain = role.make(aws, "iris", "staging", bucket="models").policy["Statement"]
    assert traced == [
        *plain,
        {
            "Sid": "Traces",
            "Effect": "Allow",
            "Action": ["xray:PutTelemetryRecords", "xray:PutTraceSegments"],
            "Resource": "*",
        },
    ]


def test_in_a_network_lambda_may_manage_interfaces_and_the_functions_code_may_not(aws):
    *_, allowed, denied = role.make(aws, "iris", "staging", bucket="models", in_vpc=True).policy["Statement"]
    assert (allowed["Effect"], denied["Effect"]) == ("Allow", "Deny")
    assert {"ec2:CreateNetworkInterface", "ec2:DescribeNetworkInterfaces", "ec2:DeleteNetworkInterface"} < set(
        allowed["Action"]
    )
    assert set(allowed["Action"]) < set(denied["Action"])
    function = "arn:aws:lambda:eu-central-1:123456789012:function:thampi-iris-staging"
    assert denied["Condition"] == {"ArnEquals": {"lambda:SourceFunctionArn": function}}


@pytest.mark.parametrize(("partition", "region"), [("aws-cn", "cn-north-1"), ("aws-us-gov", "us-gov-west-1")])
def test_in_china_and_govcloud_every_arn_is_of_that_partition(aws, partition, region):
    there = dataclasses.replace(aws, partition=partition, region=region)
    made = role.make(there, "iris", "staging", bucket="models", in_vpc=True)
    text = json.dumps([made.policy, made.arn])
    assert text.count("arn:") == text.count(f"arn:{partition}:") == 4
    assert f":{region}:" in text


def test_the_users_tags_never_take_the_place_of_ours(aws):
    made = role.make(aws, "iris", "staging", bucket="models", tags={"thampi:project": "else", "team": "ml"})
    assert made.tags == {"thampi:project": "iris", "thampi:stage": "staging", "team": "ml"}


# ------------------------------------------------------------------------------------------------------------- ensure


def test_a_new_role_is_what_was_wanted(aws, wanted):
    made = role.ensure(aws, wanted)
    assert (made.action, made.changes) == ("created", ())
    assert role.read(aws, "iris", "staging") == made.value
    assert role.changes(made.value, wanted) == ()


def test_the_second_time_nothing_is_written(aws, wanted, calls):
    first = role.ensure(aws, wanted)
    calls.clear()
    assert role.ensure(aws, wanted) == dataclasses.replace(first, action="left")
    assert set(calls) == READS


def test_the_order_and_form_of_a_document_makes_no_difference(aws, wanted, iam, calls):
    role.ensure(aws, wanted)
    log, models = wanted.policy["Statement"]
    rewritten = [
        {**models, "Action": ["s3:GetObject"], "Resource": [models["Resource"]]},
        dict(reversed({**log, "Action": log["Action"][::-1]}.items())),
    ]
    policy = json.dumps({"Statement": rewritten, "Version": "2012-10-17"})
    iam.put_role_policy(RoleName=NAME, PolicyName="thampi", PolicyDocument=policy)
    (trust,) = wanted.trust["Statement"]
    again = {"Statement": {**trust, "Principal": {"Service": ["lambda.amazonaws.com"]}}, "Version": "2012-10-17"}
    iam.update_assume_role_policy(RoleName=NAME, PolicyDocument=json.dumps(again))
    calls.clear()
    assert role.ensure(aws, wanted).action == "left"
    assert set(calls) == READS


def test_only_the_difference_is_written_and_said(aws, wanted, calls):
    role.ensure(aws, wanted)
    calls.clear()
    other = role.make(aws, "iris", "staging", bucket="others", in_vpc=True, tags={"team": "ops"})
    done = role.ensure(aws, other)
    assert [call for call in calls if call not in READS] == ["PutRolePolicy", "TagRole"]
    assert done.action == "changed"
    models, network, not_by_code, team = done.changes
    assert models == (
        "policy.Models: Allow do s3:GetObject on arn:aws:s3:::models/thampi/iris/models/*/*"
        " -> Allow do s3:GetObject on arn:aws:s3:::others/thampi/iris/models/*/*"
    )
    assert network.startswith("policy.Network: none -> Allow do ec2:AssignPrivateIpAddresses, ec2:Create")
    assert not_by_code.startswith("policy.NetworkNotByCode: none -> Deny do ec2:")
    assert team == "tags.team: ml -> ops"
    assert role.ensure(aws, other).action == "left"


def test_what_the_network_needed_goes_when_the_network_goes(aws, wanted):
    role.ensure(aws, role.make(aws, "iris", "staging", bucket="models", in_vpc=True, tags={"team": "ml"}))
    done = role.ensure(aws, wanted)
    assert [line.partition(":")[0] for line in done.changes] == ["policy.Network", "policy.NetworkNotByCode"]
    assert all(line.endswith(" -> none") for line in done.changes)
    assert role.read(aws, "iris", "staging").policy == wanted.policy


def test_a_trust_that_somebody_widened_is_narrowed_again(aws, wanted, iam):
    role.ensure(aws, wanted)
    (trust,) = wanted.trust["Statement"]
    wide = {"Version": "2012-10-17", "Statement": [trust, {**trust, "Sid": "Mine", "Principal": {"AWS": "*"}}]}
    iam.update_assume_role_policy(RoleName=NAME, PolicyDocument=json.dumps(wide))
    assert role.ensure(aws, wanted).changes == ("trust.Mine: Allow to AWS * do sts:AssumeRole -> none",)
    assert role.read(aws, "iris", "staging").trust == wanted.trust


def test_tags_that_others_add_stay(aws, wanted, iam):
    role.ensure(aws, wanted)
    iam.tag_role(RoleName=NAME, Tags=[{"Key": "cost", "Value": "7"}])
    assert role.ensure(aws, wanted).action == "left"
    assert role.read(aws, "iris", "staging").tags["cost"] == "7"


@pytest.mark.parametrize("tags", [{}, {"thampi:project": "iris", "thampi:stage": "production"}])
def test_a_role_that_is_not_ours_is_never_touched(aws, wanted, iam, calls, tags):
    foreign(iam, Tags=[{"Key": key, "Value": value} for key, value in tags.items()])
    calls.clear()
    for attempt in (
        lambda: role.ensure(aws, wanted),
        lambda: role.remove(aws, "iris", "staging"),
        lambda: role.changes(role.read(aws, "iris", "staging"), wanted),
    ):
        with pytest.raises(CloudError, match=f"the role {NAME} exists and is not this project's") as refused:
            attempt()
        assert "thampi:stage=staging" in refused.value.hint
    assert set(calls) == READS


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(("start", "calls_of_a_run"), [("nothing", 3), ("another", 5)])
def test_a_run_that_dies_at_any_call_is_finished_by_the_next(aws, meddler, moment, start, calls_of_a_run):
    for number in range(calls_of_a_run + 1):
        wanted = role.make(aws, f"iris{number}", "staging", bucket="models", in_vpc=True, tags={"team": "ml"})
        if start == "another":
            role.ensure(aws, role.make(aws, f"iris{number}", "staging", bucket="others"))
            other = json.dumps({**wanted.trust, "Statement": [{**wanted.trust["Statement"][0], "Sid": "Other"}]})
            aws.client("iam").update_assume_role_policy(RoleName=wanted.name, PolicyDocument=other)
        meddler.kill(moment, number)
        assert dies(role.ensure, aws, wanted) is (number < calls_of_a_run)
        meddler.stop()
        role.ensure(aws, wanted)
        assert role.changes(role.read(aws, f"iris{number}", "staging"), wanted) == ()
        assert role.ensure(aws, wanted).action == "left"


def test_a_role_that_is_there_when_it_is_created_is_taken_on(aws, wanted, meddler):
    """A CreateRole whose answer was lost is sent again by botocore."""

    def first_time(operation):
        if operation == "CreateRole":
            meddler.stop()
            tags = [{"Key": key, "Value": value} for key, value in wanted.tags.items()]
            trust = json.dumps(wanted.trust)
            aws.client("iam").create_role(RoleName=NAME, AssumeRolePolicyDocument=trust, Tags=tags)

    meddler.before = first_time
    assert role.ensure(aws, wanted).action == "created"
    assert role.changes(role.read(aws, "iris", "staging"), wanted) == ()


def test_a_role_that_iam_does_not_know_everywhere_yet_is_waited_for(aws, wanted, meddler, sleeps):
    meddler.refuse("PutRolePolicy", "NoSuchEntity", 404, times=3)
    assert role.ensure(aws, wanted).action == "created"
    assert sleeps == [5, 5, 5]
    assert role.read(aws, "iris", "staging").policy == wanted.policy


def test_waiting_for_iam_ends(aws, wanted, meddler, sleeps):
    meddler.refuse("PutRolePolicy", "NoSuchEntity", 404, "The role with name x cannot be found.")
    with pytest.raises(CloudError, match=f"writing the role {NAME}: NoSuchEntity"):
        role.ensure(aws, wanted)
    assert sum(sleeps) == 60


@pytest.mark.parametrize(
    ("operation", "what"), [("GetRole", "reading"), ("CreateRole", "creating"), ("PutRolePolicy", "writing")]
)
def test_who_may_not_make_roles_is_told_of_the_other_way(aws, wanted, meddler, operation, what):
    message = f"User: arn:aws:iam::1:user/me is not authorized to perform: iam:{operation} on resource: role x"
    meddler.refuse(operation, "AccessDenied", 403, message)
    with pytest.raises(CloudError) as refused:
        role.ensure(aws, wanted)
    assert refused.value.message.startswith(f"{what} the role {NAME}: AWS refuses iam:{operation}")
    assert refused.value.hint.startswith(f"have iam:{operation} allowed to them")
    assert "role_arn" in refused.value.hint


@pytest.mark.parametrize(("code", "status"), [("Throttling", 400), ("ServiceFailure", 500)])
def test_a_failure_of_aws_says_to_go_on_in_a_minute(aws, wanted, meddler, code, status):
    meddler.refuse("PutRolePolicy", code, status)
    with pytest.raises(CloudError, match=f"writing the role {NAME}: AWS answered {code}") as refused:
        role.ensure(aws, wanted)
    assert "again in a minute" in refused.value.hint
    meddler.stop()
    assert role.ensure(aws, wanted).action == "changed"


# ------------------------------------------------------------------------------------------------------------- remove


def test_no_role_is_fine(aws):
    assert role.read(aws, "iris", "staging") is None
    assert role.remove(aws, "iris", "staging") is False


def test_a_role_goes_with_every_policy_that_is_written_in_it(aws, wanted, iam):
    role.ensure(aws, wanted)
    iam.put_role_policy(RoleName=NAME, PolicyName="more", PolicyDocument=json.dumps(wanted.policy))
    assert role.remove(aws, "iris", "staging") is True
    assert role.read(aws, "iris", "staging") is None


def test_a_policy_that_somebody_attached_stops_it_before_anything_is_deleted(aws, wanted, iam):
    role.ensure(aws, wanted)
    arn = iam.create_policy(PolicyName="theirs", PolicyDocument=json.dumps(wanted.policy))["Policy"]["Arn"]
    iam.attach_role_policy(RoleName=NAME, PolicyArn=arn)
    with pytest.raises(CloudError, match=f"somebody has attached {arn} to it") as refused:
        role.remove(aws, "iris", "staging")
    assert refused.value.hint.startswith(f"aws iam detach-role-policy --role-name {NAME} --policy-arn {arn};")
    assert role.ensure(aws, wanted).action == "left"
    iam.detach_role_policy(RoleName=NAME, PolicyArn=arn)
    assert role.remove(aws, "iris", "staging") is True


def test_what_is_attached_at_the_last_moment_is_said_with_the_cure(aws, wanted, meddler):
    role.ensure(aws, wanted)
    meddler.refuse("DeleteRole", "DeleteConflict", 409, "Cannot delete entity, must detach all policies first.")
    with pytest.raises(CloudError, match=f"deleting the role {NAME}: DeleteConflict: Cannot delete") as refused:
        role.remove(aws, "iris", "staging")
    assert refused.value.hint.startswith("detach from it what somebody has attached")


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_removal_that_dies_at_any_call_is_finished_by_the_next(aws, meddler, moment):
    for number in range(7):
        project = f"iris{number}"
        role.ensure(aws, role.make(aws, project, "staging", bucket="models"))
        meddler.kill(moment, number)
        assert dies(role.remove, aws, project, "staging") is (number < 6)
        meddler.stop()
        role.remove(aws, project, "staging")
        assert role.read(aws, project, "staging") is None


def test_every_page_of_policies_is_deleted(aws, wanted, iam, calls, meddler):
    role.ensure(aws, wanted)
    calls.clear()
    pages = [
        {"PolicyNames": ["a"], "IsTruncated": True, "Marker": "1"},
        {"PolicyNames": ["thampi"], "IsTruncated": False},
    ]

    def paged(operation):
        if operation == "ListRolePolicies":
            return AWSResponse("", 200, {}, None), pages.pop(0)
        return None

    meddler.before = paged
    assert role.remove(aws, "iris", "staging") is True
    assert (calls.count("ListRolePolicies"), calls.count("DeleteRolePolicy")) == (2, 2)
