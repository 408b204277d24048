"""Docker commands of the tests' own, and what the tests that use the real one share."""

import os
import platform as machine
import secrets
import sys
from pathlib import Path

import pytest

from thampi import recipe
from thampi.builder import client as docker_client

_SCRIPT = """#!/bin/sh
echo "$@" >> '{log}'
case "$1 $2" in
    "--version ") echo '{version}' ;;
    "buildx version") {buildx} ;;
    "context show") echo '{context}' ;;
    *) {otherwise} ;;
esac
"""


class FakeDocker:
    """A `docker` in a folder of its own, which notes what it is asked."""

    def __init__(self, folder: Path, **parts: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path, self._log = folder / "docker", folder / "asked"
        self._log.unlink(missing_ok=True)
        self.path.write_text(_SCRIPT.format(log=self._log, **parts))
        self.path.chmod(0o755)

    @property
    def folder(self):
        return str(self.path.parent)

    @property
    def asked(self):
        return self._log.read_text().splitlines() if self._log.exists() else []


@pytest.fixture
def docker(tmp_path):
    """Make a fake docker, by default a new one with buildx; `otherwise` is what it does when asked to work."""

    def make(folder="bin", version="28.2.2", buildx=True, context="default", otherwise="true", product="Docker"):
        answer = "echo github.com/docker/buildx v0.24.0" if buildx else "echo 'unknown command' >&2; exit 1"
        line = f"{product} version {version}, build 0123456" if product == "Docker" else f"{product} version {version}"
        return FakeDocker(tmp_path / folder, version=line, buildx=answer, context=context, otherwise=otherwise)

    return make


@pytest.fixture
def environ():
    """The environment of a fake: nothing of this machine but the shell's own commands."""

    def make(*fakes, **more):
        return {"PATH": os.pathsep.join([*(fake.folder for fake in fakes), "/usr/bin", "/bin"]), **more}

    return make


# ------------------------------------------------------------------------------------------------- the real engine


@pytest.fixture(scope="session")
def client():
    """The docker that thampi itself would use."""
    return docker_client.find(os.environ)


@pytest.fixture(scope="session")
def platform():
    return {"x86_64": "linux/amd64", "aarch64": "linux/arm64", "arm64": "linux/arm64"}[machine.machine()]


@pytest.fixture(scope="session")
def base(platform):
    """The recipe of the base image for this Python."""
    return recipe.make_base(f"{sys.version_info.major}.{sys.version_info.minor}", platform)


@pytest.fixture(scope="session")
def python_image(base):
    return base.arguments["PYTHON_IMAGE"]


@pytest.fixture
def name(client):
    """A name for an image that is gone after the test."""
    name = f"thampi-test-{secrets.token_hex(6)}"
    yield f"{name}:1"
    listed = client.run("images", "--format", "{{.Repository}}:{{.Tag}}", name).stdout.split()
    if listed:
        client.run("rmi", "--force", *listed)


@pytest.fixture
def inside(client):
    """Run a shell command in an image, as a stranger; return what it prints."""

    def run(image, command, *options):
        words = ["run", "--rm", "--network=none", "--user=993", *options, "--entrypoint=sh", image, "-c", command]
        done = client.run(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
