"""The engine is the one that the docker command would talk to, or there is one clear sentence."""

import gc
import hashlib
import json
import warnings

import pytest

from thampi.builder import engine
from thampi.errors import BuildError


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch, tmp_path):
    for variable in ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))


@pytest.fixture(autouse=True)
def sockets():
    """The SDK forgets to close the socket on which nobody answered."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture
def context(tmp_path):
    """Write a context as `docker context create` does, and make it the current one."""

    def context(name, host, current=True):
        (tmp_path / "config.json").write_text(json.dumps({"currentContext": name} if current else {}))
        folder = tmp_path / "contexts/meta" / hashlib.sha256(name.encode()).hexdigest()
        folder.mkdir(parents=True)
        endpoints = {"docker": {"Host": host, "SkipTLSVerify": False}}
        (folder / "meta.json").write_text(json.dumps({"Name": name, "Metadata": {}, "Endpoints": endpoints}))

    return context


def test_the_engine_of_the_current_context_is_asked(context, tmp_path):
    context("colima", f"unix://{tmp_path}/none.sock")
    with pytest.raises(BuildError, match="no Docker engine answers"):
        engine.connect()


def test_a_context_that_is_named_goes_before_the_current_one(context, tmp_path, monkeypatch):
    context("colima", f"unix://{tmp_path}/none.sock", current=False)
    monkeypatch.setenv("DOCKER_CONTEXT", "colima")
    with pytest.raises(BuildError, match="no Docker engine answers"):
        engine.connect()


def test_a_host_that_is_named_goes_before_every_context(context, tmp_path, monkeypatch):
    context("colima", "unix:///var/run/docker.sock")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(BuildError, match="no Docker engine answers"):
        engine.connect()


def test_a_context_that_is_not_there_is_said(context, monkeypatch):
    context("colima", "unix:///var/run/docker.sock")
    monkeypatch.setenv("DOCKER_CONTEXT", "gone")
    with pytest.raises(BuildError, match="there is no docker context gone") as caught:
        engine.connect()
    assert "docker context ls" in caught.value.hint


@pytest.mark.docker
def test_the_engine_of_a_context_answers(context):
    context("mine", "unix:///var/run/docker.sock")
    found = engine.connect()
    try:
        assert found.ping()
    finally:
        found.close()


@pytest.mark.docker
def test_without_a_word_it_is_the_default_one():
    found = engine.connect()
    try:
        assert found.ping()
    finally:
        found.close()
