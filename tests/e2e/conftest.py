"""The tutorial's project, model and image, made once by the real command line, and containers to ask.

Shared by all workers of a run: the first that needs a thing makes it, the others wait for it.
"""

import contextlib
import ipaddress
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests import sharing
from thampi.builder import client as docker_client

REPO = Path(__file__).resolve().parents[2]
# What `docker run` gets to be like Lambda.
LIKE_LAMBDA = ("--read-only", "--tmpfs=/tmp", "--user=993", "-m=512m")


@pytest.fixture(scope="session")
def client():
    """The docker that thampi itself would use."""
    return docker_client.find(os.environ)


@pytest.fixture(scope="session")
def bridge(client):
    """This machine's address on the engine's bridge, where builds and containers reach it."""
    shown = client.run("network", "inspect", "bridge", "--format", "{{json .IPAM.Config}}")
    (network, *_) = json.loads(shown.stdout)
    # An engine that has never been started again doesn't tell the gateway: it is the network's first address.
    return network.get("Gateway") or str(next(ipaddress.ip_network(network["Subnet"]).hosts()))


@pytest.fixture(scope="session")
def command():
    """Run thampi, or a script of the project, as a user would; the result, failed or not."""

    def run(*words, cwd, python=sys.executable, **environ):
        kept = {
            key: value for key, value in os.environ.items() if not key.startswith("THAMPI_") or key == "THAMPI_DOCKER"
        }
        start = ["-c", "import sys; sys.argv[0] = 'thampi'; from thampi.cli import main; main()"]
        return subprocess.run(
            [python, *(start[: 2 * (words[0] == "thampi")]), *words[words[0] == "thampi" :]],
            cwd=cwd,
            env=kept | {"PYTHONPATH": str(REPO)} | environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )

    return run


@pytest.fixture(scope="session")
def built(command, client):
    """Build the image of a project; the reference. Those that the run built are gone when it ends."""
    references = []

    def build(project, *flags):
        done = command("thampi", "build", *flags, cwd=project)
        assert done.returncode == 0, done.stderr
        references.append(done.stdout.splitlines()[-1])
        return references[-1]

    yield build
    for reference in references:
        client.run("rmi", "--force", reference)


@pytest.fixture
def copied(tmp_path):
    """Copy one of examples/ under a name of its own, so that its image is not one that the user has."""

    def copy(example, **replaced):
        project = tmp_path / example
        shutil.copytree(
            REPO / "examples" / example, project, ignore=shutil.ignore_patterns("__pycache__", "models", ".venv")
        )
        settings = project / "thampi.toml"
        lines = settings.read_text().splitlines()
        settings.write_text(
            "\n".join([f'name = "{unique(example)}"', *(line for line in lines if not line.startswith("name "))])
        )
        return project

    return copy


def unique(name):
    """A project's name that no image of this machine has."""
    return f"{name}-{secrets.token_hex(4)}"


# -------------------------------------------------------------------------------------------------------- the tutorial


@pytest.fixture(scope="session")
def iris_project(tmp_path_factory, command):
    """The folder of the tutorial's first three commands: `thampi init --example` and `python train.py`."""
    place = sharing.folder(tmp_path_factory)

    def make():
        project = place / "iris"
        project.mkdir()
        for words in (("thampi", "init", "--name", unique("iris"), "--example"), ("train.py",)):
            done = command(*words, cwd=project)
            assert done.returncode == 0, done.stderr
        return str(project)

    with sharing.once(place, "iris_project", make) as project:
        yield Path(project)


@pytest.fixture(scope="session")
def iris_bundle(iris_project):
    """The folder that the tutorial's train.py saved."""
    return iris_project / "models/iris-sklearn"


@pytest.fixture(scope="session")
def iris_image(tmp_path_factory, iris_project, command, client):
    """The reference of the tutorial's image, from `thampi build`."""

    def make():
        done = command("thampi", "build", cwd=iris_project)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()[-1]

    def remove(reference):
        client.run("rmi", "--force", reference)

    with sharing.once(sharing.folder(tmp_path_factory), "iris_image", make, remove) as reference:
        yield reference


# ---------------------------------------------------------------------------------------------------------- containers


class Container:
    """An image under its emulator, as plain `docker run` starts it."""

    def __init__(self, client, image, bundle, *options):
        self._client = client
        mount = [f"-v={bundle}:/opt/model:ro"] if bundle else []
        done = client.run("run", "-d", "-p=127.0.0.1::8080", *mount, *options, image)
        assert done.returncode == 0, done.stderr
        self.id = done.stdout.strip()
        published = client.run("port", self.id, "8080").stdout.splitlines()[0]
        self.url = f"http://127.0.0.1:{published.rpartition(':')[2]}/2015-03-31/functions/function/invocations"

    def invoke(self, event):
        """Send one event, what Lambda would hand over, and return what Lambda would get."""
        body = event if isinstance(event, bytes) else json.dumps(event).encode()
        until = time.monotonic() + 20
        while True:
            try:
                with urllib.request.urlopen(urllib.request.Request(self.url, body), timeout=60) as answer:
                    return json.loads(answer.read())
            except (urllib.error.URLError, ConnectionError):  # the emulator is up in a moment
                if time.monotonic() > until:
                    raise AssertionError(self.logs()) from None
                time.sleep(0.1)

    def logs(self):
        """All that the container has said."""
        done = self._client.run("logs", self.id)
        return done.stdout + done.stderr

    def remove(self):
        """Leave nothing behind."""
        self._client.run("rm", "--force", "--volumes", self.id)


@pytest.fixture(scope="session")
def running(client):
    """Start a container, for a `with` block."""

    @contextlib.contextmanager
    def run(image, bundle, *options):
        container = Container(client, image, bundle, *options)
        try:
            yield container
        finally:
            container.remove()

    return run


@pytest.fixture(scope="session")
def inside(client):
    """Run a program inside an image, as a stranger on a read-only file system; what it prints on stdout and stderr."""

    def run(image, *words, entrypoint="python3"):
        done = client.run("run", "--rm", "--network=none", *LIKE_LAMBDA, f"--entrypoint={entrypoint}", image, *words)
        assert done.returncode == 0, done.stderr
        return done.stdout, done.stderr

    return run
