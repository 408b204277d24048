"""What a push will need is tried one by one; what is ill comes with its cure, and doesn't hide the rest."""

from dataclasses import replace

import pytest
from botocore.awsrequest import AWSResponse

from tests.operations.stand import BUCKET, refusal
from thampi.errors import CloudError
from thampi.operations import doctor

SERVICES = ["S3", "ECR", "IAM", "CloudWatch Logs", "Lambda", "endpoint"]


def limits(total, free):
    answer = {"AccountLimit": {"ConcurrentExecutions": total, "UnreservedConcurrentExecutions": free}}
    return AWSResponse("", 200, {}, None), answer


@pytest.fixture
def examined(stand):
    """Examine the place; `refused` says what AWS answers to which call."""

    def examine(stage=None, total=1000, free=990, **refused):
        answers = {"lambda.GetAccountSettings": lambda: limits(total, free), **refused}
        stand.before = lambda call: answers[call]() if call in answers else None
        stand.calls.clear()
        found = list(doctor.examine_place(stage or stand.stage, lambda: stand.place))
        assert not [call for call in stand.calls if not call.split(".")[1].startswith(("Get", "List", "Head", "Desc"))]
        return {each.what: each for each in found}

    return examine


def test_each_service_is_asked_with_a_call_that_reads(examined):
    found = examined()
    assert list(found) == ["credentials", *SERVICES, "concurrency"]
    assert all(each.well for each in found.values())
    assert "account 123456789012, region eu-central-1" in found["credentials"].said
    assert {found[service].said for service in SERVICES} == {"nothing there yet: push makes it"}
    assert found["concurrency"].said == "990 of 1000 requests at once, for all functions of the region"


def test_what_a_push_has_made_is_there(stand, examined):
    stand.push()
    found = examined()
    assert {found[service].said for service in SERVICES} == {"there"}


@pytest.mark.parametrize(
    ("service", "call", "code", "cure"),
    [
        ("S3", "s3.HeadBucket", "403", "s3:ListBucket allowed"),
        ("ECR", "ecr.DescribeRepositories", "AccessDeniedException", "have ecr:X allowed"),
        ("IAM", "iam.GetRole", "AccessDenied", "set role_arn in the stage's table"),
        ("CloudWatch Logs", "logs.DescribeLogGroups", "AccessDeniedException", "have ecr:X allowed"),
        ("Lambda", "lambda.GetFunction", "AccessDeniedException", "have ecr:X allowed"),
        ("endpoint", "apigatewayv2.GetApis", "AccessDeniedException", "have ecr:X allowed"),
        ("concurrency", "lambda.GetAccountSettings", "AccessDeniedException", "have ecr:X allowed"),
    ],
)
def test_what_may_not_be_asked_is_ill_with_its_cure_and_the_rest_is_told(examined, service, call, code, cure):
    message = "User: arn:x is not authorized to perform: ecr:X on resource: y"
    found = examined(**{call: lambda: refusal(code, 403, message)})
    assert [each.what for each in found.values() if not each.well] == [service]
    assert cure in found[service].cure


@pytest.mark.parametrize(
    ("total", "free", "well", "said"),
    [(10, 10, True, "ask AWS for more"), (1000, 0, False, "all of the account's 1000 are reserved")],
)
def test_few_requests_at_once_are_told(examined, total, free, well, said):
    found = examined(total=total, free=free)["concurrency"]
    assert (found.well, said in found.said) == (well, True)
    assert well or found.cure


def test_a_role_that_the_user_brings_is_not_looked_for(stand, examined):
    found = examined(replace(stand.stage, role_arn="arn:aws:iam::123456789012:role/mine"))
    assert found["IAM"].well
    assert "iam.GetRole" not in stand.calls


def test_without_credentials_nothing_more_is_asked(stand):
    def find():
        raise CloudError("there are no AWS credentials", hint="run `aws configure`")

    (found,) = doctor.examine_place(stand.stage, find)
    assert (found.what, found.well, found.cure) == ("credentials", False, "run `aws configure`")
    assert stand.calls == []


def test_a_bucket_in_another_account_is_ill(stand, examined):
    found = examined(**{"s3.HeadBucket": lambda: refusal("403", 403)})
    assert f"the bucket {BUCKET} may not be used" in found["S3"].said


# -------------------------------------------------------------------------------------------------------- the machine


@pytest.fixture
def docker(tmp_path):
    """A docker client that knows these images."""

    def make(has="exit 1", buildx="exit 0", own="linux/amd64", build="exit 0"):
        path = tmp_path / "docker"
        path.write_text(
            "#!/bin/sh\n"
            'case "$1 $2" in\n'
            f'    "buildx version") {buildx} ;;\n'
            '    "context show") ;;\n'
            f'    "image inspect") {has} ;;\n'
            f'    "version --format") echo {own} ;;\n'
            f'    "buildx build") {build} ;;\n'
            "esac\n"
        )
        path.chmod(0o755)
        return {"THAMPI_DOCKER": str(path), "PATH": "/usr/bin:/bin"}

    return make


def test_a_machine_that_can_build_is_well(stand, docker):
    found = {
        each.what: each for each in doctor.examine_machine(stand.stage, docker('echo "No such image: x" >&2; exit 1'))
    }
    assert list(found) == ["docker client", "saved model", "engine"]
    assert all(each.well for each in found.values())
    assert found["engine"].said == "nothing is built yet"


def test_a_platform_that_the_engine_emulates_is_well_and_slow(stand, docker):
    stage = replace(stand.stage, build=replace(stand.stage.build, platform="linux/arm64"))
    found = {each.what: each for each in doctor.examine_machine(stage, docker('echo "No such image: x" >&2; exit 1'))}
    assert found["platform"].well
    assert "linux/arm64 is emulated: several times slower" in found["platform"].said


def test_a_platform_that_the_engine_can_not_run_is_ill(stand, docker):
    stage = replace(stand.stage, build=replace(stand.stage.build, platform="linux/arm64"))
    fails = "echo '#5 [3/3] RUN [\"/emulated\"]'; echo '#5 ERROR: exec format error'; exit 1"
    found = list(doctor.examine_machine(stage, docker('echo "No such image: x" >&2; exit 1', build=fails)))
    assert [each.well for each in found[-2:]] == [True, False]
    assert "no emulation of the other" in found[-1].said
    assert "tonistiigi/binfmt" in found[-1].cure


def test_a_machine_without_docker_says_where_to_get_it(stand):
    (found,) = doctor.examine_machine(stand.stage, {"PATH": "/nowhere"})
    assert (found.what, found.well) == ("docker client", False)
    assert found.cure


def test_an_engine_that_does_not_answer_is_ill(stand, docker):
    says = 'echo "Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?" >&2; exit 1'
    found = {each.what: each for each in doctor.examine_machine(stand.stage, docker(says))}
    ill = [each for each in found.values() if not each.well]
    assert len(ill) == 1
    assert "no Docker engine answers" in ill[0].said
    assert ill[0].cure


def test_a_project_without_a_saved_model_says_how_to_save_one(stand, docker, tmp_path):
    stage = replace(stand.stage, model_dir=tmp_path / "gone")
    found = [each for each in doctor.examine_machine(stage, docker()) if not each.well]
    assert len(found) == 1
    assert "no saved model in" in found[0].said
    assert "thampi.save" in found[0].cure
