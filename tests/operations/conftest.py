"""The stand of those tests that need an account; see stand.py."""

import pytest

from tests.operations.stand import Stand, tightened


@pytest.fixture(scope="session")
def _shared_stand(tmp_path_factory):
    return Stand(tmp_path_factory.mktemp("stand"))


@pytest.fixture
def stand(_shared_stand, monkeypatch):
    """An account in which there is nothing, a project with two models, and moto as strict as AWS."""
    tightened(monkeypatch)
    with _shared_stand.account() as empty:
        yield empty


@pytest.fixture
def accounts(_shared_stand, monkeypatch):
    """The same for a test that needs several accounts: `with accounts.account(): …` is in a new one each time."""
    tightened(monkeypatch)
    return _shared_stand
