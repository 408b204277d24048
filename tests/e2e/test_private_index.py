"""A private index: what says who we are reaches the build, and nothing of it stays anywhere."""

import base64
import contextlib
import hashlib
import io
import mmap
import os
import secrets
import stat
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote

import pytest

import thampi
from tests.e2e.conftest import unique
from thampi.builder import client as docker_client

pytestmark = pytest.mark.docker


class Echo(thampi.Model):
    """The smallest model."""

    def predict(self, args, context):
        return args


def wheel(name, version="1.0"):
    """The bytes of a wheel with one module."""
    made = io.BytesIO()
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"NAME = {name!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in (*files, f"{info}/RECORD"))
    with zipfile.ZipFile(made, "w") as archive:
        for path, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(path, text)
    return made.getvalue()


class Index(ThreadingHTTPServer):
    """A simple index (PEP 503) that answers nobody but `user` with `password`."""

    def __init__(self, host, names):
        super().__init__((host, 0), _Answer)
        self.user, self.password = f"reader-{secrets.token_hex(8)}", f"pw@:/{secrets.token_hex(16)}#ü"
        self.wheels = {name: wheel(name) for name in names}
        self.refused = []

    @property
    def token(self):
        return base64.b64encode(f"{self.user}:{self.password}".encode()).decode()

    @property
    def url(self):
        return f"http://{self.server_address[0]}:{self.server_address[1]}/simple"

    @property
    def url_with_credentials(self):
        return self.url.replace("://", f"://{quote(self.user, safe='')}:{quote(self.password, safe='')}@")

    @property
    def traces(self):
        """What must not be found anywhere."""
        return [
            self.user,
            self.password,
            quote(self.password, safe=""),
            self.token,
            base64.b64encode(self.password.encode()).decode(),
            self.password[4:36],
        ]


class _Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.headers.get("Authorization") != f"Basic {self.server.token}":
            self.server.refused.append(self.path)
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="index"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        *_, folder, file = self.path.split("/")
        name = (file or folder).partition("-1.0")[0].replace("-", "_")
        content = self.server.wheels.get(name)
        if content is None:
            self.send_error(404)
            return
        if not file:
            whole = f"{name}-1.0-py3-none-any.whl"
            digest = hashlib.sha256(content).hexdigest()
            content = f'<!DOCTYPE html><a href="{whole}#sha256={digest}">{whole}</a>'.encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream" if file else "text/html")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_HEAD = do_GET

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def index(bridge):
    """An index on the engine's bridge, where builds reach this machine."""
    names = [f"private_{way}_{secrets.token_hex(4)}" for way in ("file", "variable", "conf", "netrc")]
    with Index(bridge, names) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def project(tmp_path):
    """A project with a model, and a requirements file that asks for a library."""

    def make(*lines):
        folder = tmp_path / "project"
        folder.mkdir()
        name = unique("private")
        bundle = thampi.save(Echo(), "echo", folder, verify=False)
        (folder / "requirements.txt").write_text("".join(f"{line}\n" for line in lines))
        (folder / "thampi.toml").write_text(
            f'name = "{name}"\nmodel_dir = "{bundle.name}"\n[build]\ndependency_file = "requirements.txt"\n'
        )
        return folder

    return make


@pytest.fixture
def recorded_docker(tmp_path):
    """A docker command that notes how it was called."""
    script, log = tmp_path / "recorded/docker", tmp_path / "recorded/asked"
    script.parent.mkdir()
    real = docker_client.find(os.environ).path
    script.write_text(f'#!/bin/sh\necho "$@" >> {log}\nexec {real} "$@"\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return str(script), log


def ways(index, tmp_path):
    """Each way to say who we are: the lines of the requirements file, and the environment."""
    conf, netrc = tmp_path / "pip.conf", tmp_path / "netrc"
    conf.write_text(f"[global]\nextra-index-url = {index.url_with_credentials}\n")
    netrc.write_text(f'machine {index.server_address[0]}\nlogin {index.user}\npassword "{index.password}"\n')
    netrc.chmod(0o600)
    return {
        "file": ([f"--extra-index-url {index.url_with_credentials}"], {}),
        "variable": ([], {"PIP_EXTRA_INDEX_URL": index.url_with_credentials}),
        "conf": ([], {"PIP_CONFIG_FILE": str(conf)}),
        "netrc": ([f"--extra-index-url {index.url}"], {"NETRC": str(netrc)}),
    }


def traces_in(file, traces):
    """Which of the traces a file has."""
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return [trace for trace in traces if content.find(trace.encode()) >= 0]


@pytest.mark.parametrize("way", ["file", "variable", "conf", "netrc"])
def test_a_password_reaches_the_index_and_stays_nowhere(
    way, index, project, command, client, recorded_docker, tmp_path
):
    docker, asked = recorded_docker
    lines, environ = ways(index, tmp_path)[way]
    library = next(name for name in index.wheels if f"_{way}_" in name)
    folder = project(*lines, f"{library}==1.0")
    done = command("thampi", "build", "--verbose", cwd=folder, **environ, THAMPI_DOCKER=docker)
    assert done.returncode == 0, done.stderr
    image = done.stdout.splitlines()[-1]
    with contextlib.ExitStack() as stack:
        stack.callback(client.run, "rmi", "--force", image)
        imported = client.run(
            "run", "--rm", "--entrypoint=python3", image, "-c", f"print(__import__('{library}').NAME)"
        )
        assert imported.stdout.strip() == library

        saved = tmp_path / "image.tar"  # the layers as they are, the configuration and with it the history
        assert client.run("save", "--output", str(saved), image).returncode == 0
        stack.callback(saved.unlink)
        assert traces_in(saved, [library])  # it is searched for real: what must be there is found
        assert traces_in(saved, index.traces) == []
    lock = (folder / "thampi.lock").read_text()
    said = done.stdout + done.stderr
    history = client.run("history", "--no-trunc", image).stdout
    for trace in index.traces:
        for where in (lock, said, asked.read_text(), history):
            assert trace not in where
    assert library.replace("_", "-") in lock


def test_an_index_that_asks_for_a_password_is_told_with_the_cure(index, project, command, tmp_path):
    library = next(iter(index.wheels))
    folder = project(f"--extra-index-url {index.url}", f"{library}==1.0")
    done = command("thampi", "build", cwd=folder, NETRC=str(tmp_path / "none"))
    assert done.returncode == 4
    assert "401 Unauthorized" in done.stderr
    assert "~/.netrc" in done.stderr
    assert "PIP_INDEX_URL" in done.stderr
    assert not (folder / "thampi.lock").exists()


def test_a_wrong_password_is_refused_and_not_shown(index, project, command):
    library = next(iter(index.wheels))
    wrong = f"wrong-{secrets.token_hex(8)}"
    folder = project(f"--index-url {index.url.replace('://', f'://{index.user}:{wrong}@')}", f"{library}==1.0")
    done = command("thampi", "build", cwd=folder)
    assert done.returncode == 4
    assert wrong not in done.stdout + done.stderr
    assert index.user not in done.stdout + done.stderr
