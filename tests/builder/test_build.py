"""A recipe becomes an image of the local engine, once; what a build needs and nobody may see stays out of it."""

import dataclasses
import errno
import gzip
import io
import os
import re
import secrets
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

import thampi
from thampi import config, recipe
from thampi.builder import build as docker_build
from thampi.builder import client as docker_client
from thampi.errors import BuildError
from thampi.operations import build as operation
from thampi.recipe import Recipe
from thampi.resolution.resolved import Resolved

REPO = Path(__file__).resolve().parents[2]
# As it stands in every thampi.lock: version and digest of the wheel on PyPI.
_CLOUDPICKLE = "cloudpickle==3.1.2 --hash=sha256:9acb47f6afd73f60dc1df93bb801b472f05ff42fa6c84167d25cb206be1fbf4a"


def silent(_):
    pass


# --------------------------------------------------------------------------------- what docker is asked, without one


@pytest.fixture
def asked(docker, environ):
    """Build with a fake docker; return the words of the build, the words of all, and what was shown."""

    def build(made, otherwise="true", **more):
        fake = docker(otherwise=otherwise)
        shown = []
        client = docker_client.find(environ(fake, **more))
        docker_build.build(made, "thampi-x:1", client=client, show=shown.append)
        [words] = [line for line in fake.asked if line.startswith("buildx build")]
        return words.split(), fake.asked, shown

    return build


def test_the_build_is_told_platform_arguments_and_the_recipes_digest(asked):
    made = Recipe("FROM x\n", "linux/arm64", {}, {"PYTHON_IMAGE": "python:3.12"})
    words, *_ = asked(made)
    assert words[words.index("--platform") + 1] == "linux/arm64"
    assert words[words.index("--progress") + 1] == "plain"
    assert "--build-arg=PYTHON_IMAGE=python:3.12" in words
    assert words[words.index("--label") + 1] == f"thampi.recipe={made.digest}"


def test_proxies_are_passed_by_name_so_that_no_password_is_seen_in_a_list_of_processes(asked):
    words, *_ = asked(Recipe("FROM x\n", "linux/amd64", {}), HTTPS_PROXY="http://me:secret@proxy:1", no_proxy="")
    assert [word for word in words if word.startswith("--build-arg")] == ["--build-arg=HTTPS_PROXY"]


def test_the_ca_bundle_that_the_machine_uses_is_a_secret_of_the_build(asked, tmp_path):
    first, second = tmp_path / "first.pem", tmp_path / "second.pem"
    first.touch()
    second.touch()
    made = Recipe("FROM x\n", "linux/amd64", {})
    for variables, expected in (
        ({"SSL_CERT_FILE": str(first), "PIP_CERT": str(second)}, [f"--secret=id=ca,src={first}"]),
        ({"SSL_CERT_FILE": str(tmp_path / "gone.pem"), "PIP_CERT": str(second)}, [f"--secret=id=ca,src={second}"]),
        ({"REQUESTS_CA_BUNDLE": str(tmp_path)}, []),  # a folder can't be a secret
        ({}, []),
    ):
        words, *_ = asked(made, **variables)
        assert [word for word in words if word.startswith("--secret")] == expected


def test_a_secret_is_a_file_that_only_we_can_read_while_it_is_needed(docker, environ, tmp_path):
    look = 'for word in "$@"; do case "$word" in --secret=id=netrc,src=*) '
    look += 'stat -c %a "${word#*src=}"; cat "${word#*src=}"; '
    fake = docker(otherwise=f'{look} echo "${{word#*src=}}" ;; esac; done')
    shown = []
    client = docker_client.find(environ(fake))
    made = Recipe("FROM x\n", "linux/amd64", {})
    docker_build.build(made, "x:1", client=client, show=shown.append, secrets={"netrc": "password secret\n"})
    assert shown[:2] == ["600", "password secret"]
    assert not Path(shown[2]).exists()
    assert not any("password" in line for line in fake.asked)


def test_a_ca_bundle_that_is_given_goes_before_the_machines(asked, docker, environ, tmp_path):
    first, second = tmp_path / "first.pem", tmp_path / "second.pem"
    first.touch()
    second.touch()
    fake = docker()
    client = docker_client.find(environ(fake, SSL_CERT_FILE=str(first)))
    docker_build.build(Recipe("FROM x\n", "linux/amd64", {}), "x:1", client=client, show=silent, secrets={"ca": second})
    [words] = [line for line in fake.asked if line.startswith("buildx build")]
    assert [word for word in words.split() if word.startswith("--secret")] == [f"--secret=id=ca,src={second}"]


def test_what_is_carried_comes_from_where_it_lies(docker, environ, tmp_path):
    (tmp_path / "large.whl").write_bytes(b"large")
    fake = docker(otherwise='[ "$1" != buildx ] || { for last in "$@"; do :; done; cat $last/dependencies/wheels/*; }')
    client, shown = docker_client.find(environ(fake)), []
    carried = {"dependencies/wheels/a.whl": b"small\n", "dependencies/wheels/b.whl": tmp_path / "large.whl"}
    docker_build.build(Recipe("FROM x\n", "linux/amd64", {}, carried=carried), "x:1", client=client, show=shown.append)
    assert shown == ["small", "large"]
    (tmp_path / "large.whl").unlink()
    with pytest.raises(BuildError, match=r"large\.whl, which the image needs, can't be read"):
        docker_build.build(Recipe("FROM x\n", "linux/amd64", {}, carried=carried), "x:1", client=client, show=silent)


_LINKS = '[ "$1" != buildx ] || { for last in "$@"; do :; done; stat -c "%n %h %a" $last/model/*; }'


def test_a_large_file_that_is_as_the_image_wants_it_is_not_copied(docker, environ, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for name, mode in (("as-saved", 0o644), ("closed", 0o600), ("group-writes", 0o664)):
        (tmp_path / name).write_bytes(b"large")
        (tmp_path / name).chmod(mode)
    (tmp_path / "link").symlink_to(tmp_path / "as-saved")
    client, shown = docker_client.find(environ(docker(otherwise=_LINKS))), []
    carried = {f"model/{name}": tmp_path / name for name in ("as-saved", "closed", "group-writes", "link")}
    docker_build.build(Recipe("FROM x\n", "linux/amd64", {}, carried=carried), "x:1", client=client, show=shown.append)
    assert [line.rpartition("/")[2] for line in shown] == [
        "as-saved 2 644",
        "closed 1 644",  # another name for it would have opened the user's own file to all
        "group-writes 1 644",
        "link 1 644",
    ]
    assert (tmp_path / "closed").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "as-saved").read_bytes() == b"large"
    assert (tmp_path / "as-saved").stat().st_nlink == 1


def test_a_file_on_another_disk_is_copied(docker, environ, tmp_path, monkeypatch):
    def refuse(source, target):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "large").write_bytes(b"large")
    client, shown = docker_client.find(environ(docker(otherwise=_LINKS))), []
    carried = {"model/large": tmp_path / "large"}
    docker_build.build(Recipe("FROM x\n", "linux/amd64", {}, carried=carried), "x:1", client=client, show=shown.append)
    assert [line.rpartition("/")[2] for line in shown] == ["large 1 644"]


def test_a_disk_without_room_for_a_copy_is_named_with_the_cure(docker, environ, tmp_path, monkeypatch):
    def full(source, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "link", full)
    monkeypatch.setattr(docker_build.shutil, "copyfile", full)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "large").write_bytes(b"large")
    made = Recipe("FROM x\n", "linux/amd64", {}, carried={"model/large": tmp_path / "large"})
    with pytest.raises(BuildError) as raised:
        docker_build.build(made, "x:1", client=docker_client.find(environ(docker())), show=silent)
    assert raised.value.message == f"there is no room in {tmp_path} for large, which the image needs"
    assert "TMPDIR" in raised.value.hint


def test_the_size_of_an_image_is_that_of_its_layers_unpacked(docker, environ):
    def size(otherwise):
        return docker_build.unpacked_bytes(docker_client.find(environ(docker(otherwise=otherwise))), "x:1")

    assert size("printf '16002675\\n0\\n54431257\\n'") == 16002675 + 54431257
    assert size("echo 'no such image' >&2; exit 1") == 0


def test_every_line_of_the_engine_is_shown_as_it_comes(asked):
    _, _, shown = asked(Recipe("FROM x\n", "linux/amd64", {}), otherwise="printf 'one\\ntw\\377o\\nthree'")
    assert shown == ["one", "tw\N{REPLACEMENT CHARACTER}o", "three"]


def test_an_image_gets_its_name_last_and_loses_the_one_that_it_was_tried_under(asked):
    _, all_asked, _ = asked(Recipe("FROM x\n", "linux/amd64", {}))
    untried = re.search(r"--tag (\S+)", all_asked[-3]).group(1)
    assert untried.startswith("thampi-x:1-untried-")
    assert all_asked[-2:] == [f"tag {untried} thampi-x:1", f"rmi --force {untried}"]


def test_an_image_that_does_not_pass_its_check_never_gets_its_name(docker, environ):
    fake = docker()

    def refuse(reference):
        raise BuildError(f"{reference} is bad", hint=None)

    client, made = docker_client.find(environ(fake)), Recipe("FROM x\n", "linux/amd64", {})
    with pytest.raises(BuildError, match=r"thampi-x:1-untried-.* is bad"):
        docker_build.build(made, "thampi-x:1", client=client, show=silent, check=refuse)
    assert not any(line.startswith("tag ") for line in fake.asked)
    assert fake.asked[-1].startswith("rmi --force thampi-x:1-untried-")


def test_the_context_is_gone_afterwards_however_it_ends(asked, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    asked(Recipe("FROM x\n", "linux/amd64", {"a/b": b"c"}))
    with pytest.raises(BuildError):
        asked(Recipe("FROM x\n", "linux/amd64", {"a/b": b"c"}), otherwise="exit 1")
    assert list(tmp_path.glob("thampi-build-*")) == []


def test_asking_for_an_image_tells_there_from_absent_from_no_engine(docker, environ):
    def has(otherwise):
        return docker_build.has(docker_client.find(environ(docker(otherwise=otherwise))), "x:1")

    assert has("echo sha256:1") is True
    assert has("echo 'Error response from daemon: No such image: x:1' >&2; exit 1") is False
    assert has("echo 'Error: No such image: x:1' >&2; exit 1") is False
    with pytest.raises(BuildError, match="no Docker engine answers"):
        has("echo 'Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?' >&2; exit 1")


_INTERRUPTED = """
import os, sys
from thampi.builder import build, client
from thampi.recipe import Recipe
made = Recipe(sys.argv[1], sys.argv[2], {"a": b"b"})
show = lambda line: print(line, flush=True)
build.build(made, "thampi-interrupted:1", client=client.find(os.environ), show=show)
"""


def _interrupt(process, line_to_wait_for):
    """Interrupt a process once it has said a line; return its exit code, and how long it took to end."""
    for line in process.stdout:
        if line_to_wait_for in line:
            break
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    process.communicate(timeout=30)
    return process.returncode, time.monotonic() - began


def _start(*words, **environ):
    environ = os.environ | {"PYTHONPATH": str(REPO)} | environ
    return subprocess.Popen(
        [sys.executable, "-c", _INTERRUPTED, *words],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )


def test_ctrl_c_ends_the_docker_command_and_leaves_no_context(docker, tmp_path):
    said_by = f"trap 'echo ended >> {tmp_path}/ended; exit 1' TERM; echo begun; sleep 60 & wait"
    fake = docker(otherwise=said_by)
    process = _start("FROM x\n", "linux/amd64", THAMPI_DOCKER=str(fake.path), TMPDIR=str(tmp_path))
    code, took = _interrupt(process, "begun")
    assert code == -signal.SIGINT
    assert took < 5
    for _ in range(50):  # the command gets a moment of its own
        if (tmp_path / "ended").exists():
            break
        time.sleep(0.1)
    assert (tmp_path / "ended").read_text() == "ended\n"
    assert list(tmp_path.glob("thampi-build-*")) == []
    assert not any(line.startswith("tag ") for line in fake.asked)


# ------------------------------------------------------------------------------------------------- the real engine


@pytest.mark.docker
def test_a_recipe_becomes_an_image_that_knows_its_recipe(client, python_image, platform, name, inside):
    made = Recipe(
        "ARG FROM\nFROM ${FROM}\nCOPY greeting /greeting\n", platform, {"greeting": b"hello"}, {"FROM": python_image}
    )
    assert not docker_build.has(client, name)
    docker_build.build(made, name, client=client, show=silent)
    assert docker_build.has(client, name)
    assert inside(name, "cat /greeting") == "hello"
    shown = client.run(
        "image", "inspect", "--format", '{{index .Config.Labels "thampi.recipe"}} {{.Os}}/{{.Architecture}}', name
    )
    assert shown.stdout.split() == [made.digest, platform]


@pytest.mark.docker
def test_only_the_image_itself_stays_and_none_that_failed_its_check(client, python_image, platform, name):
    repository = name.partition(":")[0]
    made = Recipe(f"FROM {python_image}\nLABEL test={repository}\n", platform, {})

    def images():
        return client.run("images", "--format", "{{.Repository}}:{{.Tag}}", repository).stdout.split()

    def refuse(reference):
        assert images() == [reference]
        raise BuildError("bad", hint=None)

    with pytest.raises(BuildError, match="bad"):
        docker_build.build(made, name, client=client, show=silent, check=refuse)
    assert images() == []
    docker_build.build(made, name, client=client, show=silent)
    assert images() == [name]


@pytest.mark.docker
def test_a_failing_step_is_told_by_its_last_lines(client, python_image, platform, name):
    made = Recipe(
        f"FROM {python_image}\nRUN echo {secrets.token_hex(4)}; for n in $(seq 40); do echo line $n; done; exit 3\n",
        platform,
        {},
    )
    shown = []
    with pytest.raises(BuildError) as raised:
        docker_build.build(made, name, client=client, show=shown.append)
    lines = raised.value.message.splitlines()
    assert re.match(r"the build failed at \[2/2\] RUN echo", lines[0])
    assert lines[-1] == "  line 40"
    assert len(lines) == 21
    assert any("line 1" in line for line in shown)
    assert not docker_build.has(client, name)


@pytest.mark.docker
def test_the_context_holds_what_the_recipe_names_and_nothing_else(
    client, base, python_image, platform, name, inside, tmp_path
):
    for path in (".git/config", ".venv/pyvenv.cfg", ".aws/credentials", ".env", "models/m/model.pkl", "features/a.py"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("secret")
    resolved = Resolved(("six==1.17.0",), shipped={"mine-1.0-py3-none-any.whl": b"a wheel"})
    made = recipe.make(base, resolved, title="x", apt=[], include=["features"], project_dir=tmp_path)
    look = dataclasses.replace(made, dockerfile=f"FROM {python_image}\nCOPY . /context\n")
    docker_build.build(look, name, client=client, show=silent)
    found = inside(name, "cd /context; find . -type f | sort").split()
    assert found == sorted(f"./{path}" for path in (*made.files, *made.carried))
    assert "./dependencies/wheels/mine-1.0-py3-none-any.whl" in found
    assert "./project/features/a.py" in found


@pytest.mark.docker
def test_the_users_umask_is_no_part_of_an_image(client, python_image, platform, name, inside):
    made = Recipe(f"FROM {python_image}\nCOPY project/ /var/task/\n", platform, {"project/a/b/c.py": b"print(1)"})
    umask = os.umask(0o077)
    try:
        docker_build.build(made, name, client=client, show=silent)
    finally:
        os.umask(umask)
    assert inside(
        name, "python3 /var/task/a/b/c.py; stat -c %a /var/task/a /var/task/a/b /var/task/a/b/c.py"
    ).split() == [
        "1",
        "755",
        "755",
        "644",
    ]


@pytest.fixture
def project(tmp_path):
    """A project with a model that needs no library, under a name that no image has yet."""

    class Doubler(thampi.Model):
        def predict(self, args, context):
            return {"result": args["input"] * 2}

    thampi.save(Doubler(), "doubler", tmp_path / "models", example={"input": 2})
    name = f"test{secrets.token_hex(6)}"
    (tmp_path / "thampi.toml").write_text(f'name = "{name}"\nmodel_dir = "models/doubler"\n')
    return tmp_path


def _plan(project, platform):
    stage = config.load(project / "thampi.toml", "local", flags={"platform": platform}, environ={})
    return operation.plan(stage)  # the first time it writes thampi.lock


class Counted:
    """The real docker, behind a script that notes each time it is asked."""

    def __init__(self, client, folder):
        self.path, self._log = folder / "docker", folder / "asked"
        self.path.write_text(f'#!/bin/sh\necho "$@" >> {self._log}\nexec {client.path} "$@"\n')
        self.path.chmod(0o755)
        self.environ = os.environ | {"THAMPI_DOCKER": str(self.path)}

    def take(self):
        """What was asked since the last time, but the questions about itself."""
        asked = self._log.read_text().splitlines()
        self._log.unlink()
        return [line for line in asked if line not in ("buildx version", "--version", "context show")]


@pytest.mark.docker
def test_building_twice_builds_nothing(client, project, platform, tmp_path_factory):
    plan = _plan(project, platform)
    counted = Counted(client, tmp_path_factory.mktemp("counted"))
    try:
        said = []
        assert operation.build(plan, environ=counted.environ, say=said.append, show=silent) == plan.reference
        assert any(" build " in f" {line} " for line in counted.take())
        first = client.run("image", "inspect", "--format", "{{.Id}}", plan.reference).stdout

        said.clear()
        assert (
            operation.build(_plan(project, platform), environ=counted.environ, say=said.append, show=silent)
            == plan.reference
        )
        assert counted.take() == [f"image inspect --format {{{{.Id}}}} {plan.reference}"]
        assert said == [f"image {plan.reference} is there already: nothing to build"]
        assert client.run("image", "inspect", "--format", "{{.Id}}", plan.reference).stdout == first

        thampi.save(thampi.load(project / "models/doubler"), "doubler", project / "models", tags={"again": 1})
        assert _plan(project, platform).reference == plan.reference  # another model, the same image
    finally:
        client.run("rmi", "--force", plan.reference)


def _uncached(made):
    """The same recipe, of which the engine has no step in its cache."""
    once = secrets.token_hex(8)
    return dataclasses.replace(made, dockerfile=re.sub(r"(?m)^(FROM .*)$", rf"\1\nRUN : {once}", made.dockerfile))


@pytest.mark.docker
def test_the_ca_bundle_is_in_no_layer_of_base_or_model(client, base, name, tmp_path):
    """It reaches every step that downloads, and neither layers nor configuration nor history keep a byte of it."""
    marker = secrets.token_hex(16)
    known = next((os.environ[key] for key in ("SSL_CERT_FILE", "PIP_CERT") if key in os.environ), None)
    bundle = tmp_path / "ca.pem"
    bundle.write_text((Path(known or "/etc/ssl/certs/ca-certificates.crt")).read_text() + f"\n# {marker}\n")
    told = docker_client.find({**os.environ, "SSL_CERT_FILE": str(bundle)})
    fresh = _uncached(base)
    base_name = recipe.reference(recipe.BASE, fresh)
    try:
        docker_build.build(fresh, base_name, client=told, show=silent)
        resolved = Resolved((_CLOUDPICKLE,))
        probe = "\nRUN --mount=type=secret,id=ca,target=/run/secrets/ca,mode=0444 grep -q MARK /run/secrets/ca\n"
        made = recipe.make(fresh, resolved, title="x", apt=[], include=[], project_dir=tmp_path)
        # The last step proves that the secret was there to be leaked; what it looks for is no part of it.
        seen = probe.replace("MARK", f"{marker[:8]}.{marker[9:]}")
        made = dataclasses.replace(made, dockerfile=made.dockerfile + seen)
        docker_build.build(made, name, client=told, show=silent)
        parts = _parts_of(client, name)
        assert any(path.endswith("/cloudpickle/cloudpickle.py") for path in parts)  # the layers were looked into
        assert [path for path, content in parts.items() if marker.encode() in content] == []
        assert [path for path in parts if "secrets/ca" in path and parts[path]] == []
    finally:
        client.run("rmi", "--force", base_name)


def _parts_of(client, image):
    """Every file of every layer, the configuration and the manifest, from `docker save`."""
    saved = subprocess.run([client.path, "save", image], capture_output=True, check=True).stdout
    parts = {}
    with tarfile.open(fileobj=io.BytesIO(saved)) as outer:
        for member in (member for member in outer if member.isfile()):
            content = outer.extractfile(member).read()
            content = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
            parts[member.name] = content
            try:
                with tarfile.open(fileobj=io.BytesIO(content)) as layer:
                    parts |= {
                        f"{member.name}/{each.name}": layer.extractfile(each).read() for each in layer if each.isfile()
                    }
            except tarfile.ReadError:
                pass  # not a layer
    return parts


@pytest.mark.docker
def test_ctrl_c_stops_the_engine_too(client, python_image, platform, tmp_path):
    nap = f"600.{secrets.randbelow(10**9)}"
    dockerfile = f"FROM {python_image}\nRUN echo begun; sleep {nap}\n"
    process = _start(dockerfile, platform, TMPDIR=str(tmp_path))
    code, took = _interrupt(process, "begun\n" if client.has_buildx else "begun")
    assert code == -signal.SIGINT
    assert took < 10
    assert list(tmp_path.glob("thampi-build-*")) == []
    assert not docker_build.has(client, "thampi-interrupted:1")
    for _ in range(100):
        if not _runs(nap):
            break
        time.sleep(0.1)
    assert not _runs(nap)


def _runs(word):
    """Whether a process of this machine, where the engine runs as a rule, has a word in its command line."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().startswith(f"sleep\0{word}".encode()):
                return True
        except OSError:
            continue
    return False
