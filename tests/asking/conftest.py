import pytest

import thampi
from tests.asking import server


@pytest.fixture
def place(monkeypatch):
    """A model at a URL of this machine; a proxy that the tests' own caller has, has nothing to do with it."""
    for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    with server.serving() as served:
        yield served


@pytest.fixture
def client(place):
    with thampi.Client(place.url) as made:
        yield made
