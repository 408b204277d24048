"""A version's own environments: asked for, waited for, and what comes of it said; freed without a trace."""

import json

import pytest

from tests.aws import strict
from thampi.aws import provisioned
from thampi.aws.provisioned import Provisioned
from thampi.errors import CloudError

TRUST = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole"}]}


@pytest.fixture
def lambda_(aws, monkeypatch, calls):
    """A function `f` with two versions."""
    strict.lambda_freezes_versions(monkeypatch)
    strict.lambda_takes_its_time(monkeypatch, polls=0)
    strict.lambda_provisions(monkeypatch, polls=3)
    role = aws.client("iam").create_role(RoleName="r", AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["Arn"]
    client = aws.client("lambda")
    image = {"ImageUri": f"123456789012.dkr.ecr.eu-central-1.amazonaws.com/r@sha256:{'1' * 64}"}
    client.create_function(FunctionName="f", PackageType="Image", Code=image, Role=role, Timeout=3)
    client.publish_version(FunctionName="f")
    client.update_function_configuration(FunctionName="f", Timeout=4)
    client.publish_version(FunctionName="f")
    calls.clear()
    return client


def test_it_waits_until_all_of_them_are_ready_and_the_second_time_only_looks(aws, lambda_, calls, sleeps):
    made = provisioned.ensure(aws, "f", "1", 5)
    assert (made.action, made.changes) == ("changed", ("provisioned of 1: none -> 5",))
    assert made.value == Provisioned(5, 5, "READY")
    assert len(sleeps) == 2
    calls.clear()
    assert provisioned.ensure(aws, "f", "1", 5).action == "left"
    assert calls == ["GetProvisionedConcurrencyConfig"]
    assert provisioned.ensure(aws, "f", "1", 3).changes == ("provisioned of 1: 5 -> 3",)
    assert provisioned.every(aws, "f") == {"1": Provisioned(3, 3, "READY")}


def test_what_another_run_has_asked_for_is_waited_for_and_not_asked_for_again(aws, lambda_, calls):
    lambda_.put_provisioned_concurrency_config(FunctionName="f", Qualifier="2", ProvisionedConcurrentExecutions=1)
    calls.clear()
    assert provisioned.ensure(aws, "f", "2", 1).value.is_ready
    assert set(calls) == {"GetProvisionedConcurrencyConfig"}


def test_a_failure_comes_back_with_its_reason_and_the_next_time_it_is_asked_for_anew(aws, lambda_, monkeypatch, calls):
    strict.lambda_provisions(monkeypatch, fails={"1": "FUNCTION_ERROR_INIT_FAILURE"})
    made = provisioned.ensure(aws, "f", "1", 5)
    assert (made.value.is_ready, made.value.reason) == (False, "FUNCTION_ERROR_INIT_FAILURE")
    calls.clear()
    assert not provisioned.ensure(aws, "f", "1", 5).value.is_ready
    assert "PutProvisionedConcurrencyConfig" in calls


def test_what_lambda_refuses_outright_is_a_failure_too_and_what_may_not_be_done_an_error(aws, lambda_, meddler):
    lambda_.put_function_concurrency(FunctionName="f", ReservedConcurrentExecutions=4)
    refused = provisioned.ensure(aws, "f", "1", 5)
    assert (refused.action, refused.value.is_ready) == ("left", False)
    assert "reservedConcurrentExecution" in refused.value.reason
    meddler.refuse("PutProvisionedConcurrencyConfig", "AccessDeniedException", 403)
    with pytest.raises(CloudError, match="AWS refuses PutProvisionedConcurrencyConfig"):
        provisioned.ensure(aws, "f", "1", 2)


def test_what_never_gets_ready_is_given_up(aws, lambda_, monkeypatch, sleeps):
    strict.lambda_provisions(monkeypatch, polls=10_000)
    made = provisioned.ensure(aws, "f", "1", 2)
    assert made.value.reason == "0 of 2 were ready after 20 minutes"
    assert sum(sleeps) >= 1200


def test_it_is_freed_and_freeing_what_has_nothing_or_is_not_there_is_fine(aws, lambda_):
    for version in ("1", "2"):
        provisioned.ensure(aws, "f", version, 2)
    provisioned.remove_every(aws, "f", ("2", "7"))
    assert set(provisioned.every(aws, "f")) == {"1"}
    assert provisioned.remove(aws, "f", "1")
    provisioned.remove_every(aws, "f")
    assert not provisioned.remove(aws, "f", "7")
    assert provisioned.read(aws, "f", "1") is None
    assert provisioned.every(aws, "nobody") == {}


def test_what_somebody_gave_an_alias_is_left_alone(aws, lambda_, monkeypatch):
    arn = "arn:aws:lambda:eu-central-1:123456789012:function:f:mine"
    one = {"RequestedProvisionedConcurrentExecutions": 1, "Status": "READY", "FunctionArn": arn}
    paginator = type("P", (), {"paginate": lambda self, **_: [{"ProvisionedConcurrencyConfigs": [one]}]})
    monkeypatch.setattr(aws.client("lambda"), "get_paginator", lambda name: paginator())
    assert provisioned.every(aws, "f") == {}
