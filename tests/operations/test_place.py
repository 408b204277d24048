"""A stage lives where its settings say; what is wrong with the way there is said before anything slow."""

import getpass
from dataclasses import replace

import botocore.exceptions as failures
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from tests.aws.conftest import no_real_aws, service_models_read_once  # noqa: F401 - nothing here reaches an account
from thampi.aws import session
from thampi.config import Stage
from thampi.errors import CloudError, ConfigError
from thampi.operations import place


@pytest.fixture
def stage(tmp_path):
    return Stage(
        project_dir=tmp_path, name="iris", stage="staging", model_dir=tmp_path, bucket="models", region="eu-west-3"
    )


def find(stage, **environ):
    return place.find(stage, environ=environ, say=lambda text: None)


def test_a_stage_lives_in_the_account_of_its_credentials_and_its_own_region_and_bucket(stage):
    with mock_aws():
        found = find(replace(stage, registry="localhost:5000"))
    assert (found.aws.account, found.aws.region, found.aws.partition) == ("123456789012", "eu-west-3", "aws")
    assert (found.bucket, found.registry) == ("models", "localhost:5000")
    assert str(found) == "account 123456789012, region eu-west-3"


def test_without_a_region_of_its_own_a_stage_lives_in_that_of_the_profile(stage, tmp_path, monkeypatch):
    (tmp_path / "config").write_text(
        "[profile work]\nregion = ca-central-1\naws_access_key_id = a\naws_secret_access_key = b\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with mock_aws():
        found = find(replace(stage, region=None, profile="work"))
    assert found.aws.region == "ca-central-1"


@pytest.mark.parametrize(
    ("region", "partition"), [("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov"), ("eu-west-3", "aws")]
)
def test_the_partition_is_that_of_who_asks(stage, region, partition):
    with mock_aws():
        aws = find(replace(stage, region=region)).aws
    assert aws.partition == partition
    assert aws.arn("iam", "role/x", region=False) == f"arn:{partition}:iam::123456789012:role/x"


def test_a_stage_on_aws_without_a_bucket_is_refused_before_aws_is_asked(stage):
    with pytest.raises(ConfigError, match=r"stages\.staging\.bucket is missing") as refused:
        find(replace(stage, bucket=None, endpoint_url="http://127.0.0.1:1"))
    assert "under [stages.staging]" in refused.value.hint


def test_an_endpoint_url_is_asked_instead_of_aws_and_named(stage):
    with pytest.raises(CloudError, match="asking AWS who we are: AWS can't be reached") as refused:
        session.connect(region="eu-west-3", endpoint_url="http://127.0.0.1:1")
    assert "endpoint_url" in refused.value.hint
    with mock_aws():
        aws = replace(find(stage).aws, endpoint_url="http://127.0.0.1:1", _clients={})
    assert str(place.Place(aws, "models", None)).endswith("region eu-west-3 at http://127.0.0.1:1")
    assert aws.client("s3").meta.endpoint_url == "http://127.0.0.1:1"


def test_what_only_looks_like_s3_gets_neither_new_checksums_nor_host_names(stage):
    with mock_aws():
        aws = find(stage).aws
    plain = replace(aws, _clients={}).client("s3").meta.config
    custom = replace(aws, _clients={}, endpoint_url="http://127.0.0.1:1").client("s3").meta.config
    assert plain.request_checksum_calculation == "when_supported"
    assert (custom.request_checksum_calculation, custom.response_checksum_validation) == ("when_required",) * 2
    assert custom.s3["addressing_style"] == "path"


def test_an_unknown_profile_is_said_with_the_command_that_lists_them(stage):
    with pytest.raises(CloudError, match="the AWS profile nobody does not exist") as refused:
        find(replace(stage, profile="nobody"))
    assert "aws configure list-profiles" in refused.value.hint


def test_no_region_anywhere_is_said_with_where_to_set_it(stage, monkeypatch):
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(CloudError, match="no AWS region is set") as refused:
        find(replace(stage, region=None))
    assert "THAMPI_REGION" in refused.value.hint


def test_a_container_without_a_user_is_somebody(monkeypatch):
    def nobody():
        raise KeyError("getpwuid(): uid not found: 1234")

    assert place.who().count("@") == 1
    monkeypatch.setattr(getpass, "getuser", nobody)
    assert place.who().startswith("somebody@")


# ------------------------------------------------------------------------------------------- whether AWS lets us in


def refused(code, message, status=400):
    answer = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "GetCallerIdentity")


@pytest.mark.parametrize(
    ("failure", "said", "hint"),
    [
        (failures.NoCredentialsError(), "there are no AWS credentials", "aws configure"),
        (
            failures.PartialCredentialsError(provider="env", cred_var="x"),
            "there are no AWS credentials",
            "aws configure",
        ),
        (failures.NoRegionError(), "no AWS region is set", "set region"),
        (failures.UnauthorizedSSOTokenError(), "the SSO session has expired", "aws sso login --profile work"),
        (failures.SSOTokenLoadError(error_msg="Token has expired"), "the SSO session has expired", "aws sso login"),
        (
            failures.TokenRetrievalError(provider="sso", error_msg="Token has expired and refresh failed"),
            "the SSO session has expired",
            "aws sso login --profile work",
        ),
        (failures.EndpointConnectionError(endpoint_url="https://x"), "AWS can't be reached", "check the network"),
        (failures.ConnectTimeoutError(endpoint_url="https://x"), "AWS can't be reached", "check the network"),
        (
            failures.SSLError(endpoint_url="https://x", error="VERIFY_FAILED"),
            "not trusted",
            "AWS_CA_BUNDLE",
        ),
        (refused("ExpiredToken", "The security token included in the request is expired"), "expired", "aws sso login"),
        (refused("ExpiredTokenException", "The security token is expired"), "expired", "aws sso login"),
        (
            refused("InvalidClientTokenId", "The security token included in the request is invalid.", 403),
            "AWS does not know these credentials (InvalidClientTokenId)",
            "aws sts get-caller-identity",
        ),
        (
            refused("SignatureDoesNotMatch", "Signature expired: 20260101T000000Z is now earlier than", 403),
            "AWS does not know these credentials",
            "the clock of this machine",
        ),
        (
            refused("AccessDenied", "User: arn:x is not authorized to perform: s3:PutObject on resource: y", 403),
            "AWS refuses s3:PutObject to these credentials",
            "have s3:PutObject allowed",
        ),
        (refused("SlowDown", "Please reduce your request rate.", 503), "again and again", "goes on where it stopped"),
        (refused("Oops", "", 502), "again and again", "goes on where it stopped"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_why_aws_does_not_let_us_in_is_said_with_the_cure(failure, said, hint):
    with pytest.raises(CloudError) as told, session.doing("asking AWS who we are", profile="work"):
        raise failure
    assert said in told.value.message
    assert told.value.message.startswith("asking AWS who we are: ")
    assert hint in told.value.hint
    assert told.value.exit_code == 5
