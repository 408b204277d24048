"""REST APIs on moto that does what API Gateway does."""

import pytest

from tests.aws import strict_keys, strict_rest, strict_stages


@pytest.fixture
def aws(aws, monkeypatch):
    strict_rest.rest_apis_are_strict(monkeypatch)
    strict_stages.rest_stages_are_strict(monkeypatch)
    strict_keys.keys_are_strict(monkeypatch)
    return aws
