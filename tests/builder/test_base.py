"""The image that ours stands on is named by its digest, and said to be old when it is."""

import base64
import io
import json
import secrets
import tarfile
from datetime import UTC, datetime, timedelta

import pytest

from tests.builder import fake_registry
from thampi.builder import base
from thampi.builder import client as docker_client
from thampi.builder import engine as engines
from thampi.builder.base import Base
from thampi.errors import BuildError

NAME = "public.ecr.aws/docker/library/python:3.12-slim"
DIGEST, NEWER = "sha256:" + "a" * 64, "sha256:" + "b" * 64
NOW = datetime(2026, 11, 21, tzinfo=UTC)


# --------------------------------------------------------------------------------------------- an engine of the tests'


@pytest.fixture
def engine(docker, environ):
    """A docker whose one image has these digests, from the time of the last `pull` on the others."""

    def make(*digests, pulled=None, architecture="amd64", times=("2026-11-01T00:00:00Z",), absent=False, pull="true"):
        def shown(known):
            return json.dumps({"Os": "linux", "Architecture": architecture, "RepoDigests": list(known)})

        before = "echo 'Error: No such image: x' >&2; exit 1" if absent else f"echo '{shown(digests)}'"
        after = f"echo '{shown(digests if pulled is None else pulled)}'"
        fake = docker(otherwise=":")
        has = f"grep -q ^pull {fake.folder}/asked"
        listed = "; ".join(f"echo {time}" for time in times) or ":"
        fake.path.write_text(
            fake.path.read_text().replace(
                "    *) : ;;",
                f'    "image inspect") if {has}; then {after}; else {before}; fi ;;\n'
                f'    "pull --quiet") {pull} ;;\n'
                f'    "history --no-trunc") {listed} ;;\n'
                "    *) exit 9 ;;",
            )
        )
        return fake

    return make


@pytest.fixture
def pin(environ):
    def pin_(fake, reference=NAME, platform="linux/amd64", **more):
        return base.pin(docker_client.find(environ(fake)), reference, platform, **more)

    return pin_


def pulls(fake):
    return [line for line in fake.asked if line.startswith("pull ")]


@pytest.mark.parametrize(
    ("reference", "known"),
    [
        (NAME, f"public.ecr.aws/docker/library/python@{DIGEST}"),
        ("python:3.12-slim", f"python@{DIGEST}"),
        ("docker.io/library/python:3.12-slim", f"python@{DIGEST}"),
        ("library/python", f"python@{DIGEST}"),
        ("me/python:3", f"me/python@{DIGEST}"),
        ("localhost:5000/python", f"localhost:5000/python@{DIGEST}"),
        ("localhost:5000/python:3", f"localhost:5000/python@{DIGEST}"),
    ],
)
def test_what_the_engine_has_is_named_by_the_digest_of_its_registry_and_not_pulled(engine, pin, reference, known):
    fake = engine(f"elsewhere/python@{NEWER}", known)
    assert pin(fake, reference).reference == f"{reference}@{DIGEST}"
    assert pin(fake, reference).is_pinned
    assert pulls(fake) == []


def test_an_image_that_no_registry_knows_keeps_its_name(engine, pin):
    fake = engine()
    found = pin(fake, "mine:1", refresh=True)
    assert (found.reference, found.is_pinned) == ("mine:1", False)
    assert pulls(fake) == [], "nobody could have a newer one"


def test_an_image_of_another_repository_is_not_taken_for_it(engine, pin):
    assert pin(engine(f"other/python@{DIGEST}"), "mine/python:1").reference == "mine/python:1"


def test_an_absent_image_is_pulled_for_its_platform(engine, pin):
    fake = engine(f"public.ecr.aws/docker/library/python@{DIGEST}", absent=True)
    assert pin(fake).reference == f"{NAME}@{DIGEST}"
    assert pulls(fake) == [f"pull --quiet --platform linux/amd64 {NAME}"]


def test_the_other_platforms_image_is_pulled_though_the_name_is_there(engine, pin):
    fake = engine(f"public.ecr.aws/docker/library/python@{DIGEST}", architecture="amd64")
    assert pin(fake, platform="linux/arm64").reference == f"{NAME}@{DIGEST}"
    assert pulls(fake) == [f"pull --quiet --platform linux/arm64 {NAME}"]


def test_refresh_asks_the_registry(engine, pin):
    repository = "public.ecr.aws/docker/library/python"
    fake = engine(f"{repository}@{DIGEST}", pulled=[f"{repository}@{NEWER}"])
    assert pin(fake).reference == f"{NAME}@{DIGEST}"
    assert pin(fake, f"{NAME}@{DIGEST}", refresh=True).reference == f"{NAME}@{NEWER}"
    assert pulls(fake) == [f"pull --quiet --platform linux/amd64 {NAME}"]


def test_a_reference_with_a_digest_and_no_tag_is_what_it_is_also_when_refreshed(engine, pin):
    fake = engine(f"python@{DIGEST}")
    assert pin(fake, f"python@{DIGEST}", refresh=True).reference == f"python@{DIGEST}"
    assert pulls(fake) == []


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("dial tcp: lookup public.ecr.aws: no such host", "check the network"),
        ("toomanyrequests: Rate exceeded", "wait a minute"),
        ("pull access denied for x, repository does not exist or may require docker login: denied", "docker login"),
        ("manifest for x:nope not found: manifest unknown: manifest unknown", "that image doesn't exist"),
        ("no matching manifest for linux/amd64 in the manifest list entries: no match for platform", "build.platform"),
    ],
)
def test_one_that_can_not_be_pulled_is_told_with_the_cure(engine, pin, said, hint):
    with pytest.raises(BuildError) as raised:
        pin(engine(absent=True, pull=f"echo 'Error response from daemon: {said}' >&2; exit 1"))
    assert raised.value.message.splitlines()[0] == f"the image {NAME} can't be had (linux/amd64)"
    assert said in raised.value.message
    assert hint in raised.value.hint


def test_without_an_engine_that_is_what_is_said(docker, environ, pin):
    with pytest.raises(BuildError, match="no Docker engine answers"):
        pin(docker(otherwise="echo 'Cannot connect to the Docker daemon at unix:///x' >&2; exit 1"))


# ------------------------------------------------------------------------------------------------------------- its age


def test_its_age_is_that_of_its_newest_layer(engine, pin):
    times = ("2026-07-01T10:00:00+02:00", "2026-09-01T00:00:00Z", "0001-01-01T00:00:00Z", "N/A")
    assert pin(engine(times=times)).created == datetime(2026, 9, 1, tzinfo=UTC)


@pytest.mark.parametrize("times", [(), ("1970-01-01T00:00:00Z",), ("1970-01-01T01:00:00+01:00",)])
def test_an_image_that_does_not_say_when_it_was_made_is_not_old(engine, pin, times):
    found = pin(engine(times=times))
    assert found.created is None
    assert not found.is_old(NOW)
    assert found.note(NOW) is None


@pytest.mark.parametrize(("days", "old"), [(0, False), (59, False), (60, False), (61, True), (900, True)])
def test_after_two_months_it_is_old_and_says_what_takes_a_newer_one(days, old):
    found = Base(f"{NAME}@{DIGEST}", NOW - timedelta(days=days))
    assert found.is_old(NOW) is old
    said = f"the base image {NAME} is {days} days old: `thampi build --refresh` takes a newer"
    assert found.note(NOW) == (said if old else None)


# ------------------------------------------------------------------------------------------------------ the real engine


@pytest.fixture
def registry():
    with fake_registry.running("right", "bases/python") as registry:
        yield registry


@pytest.fixture
def publish(registry):
    """Give the registry an image under a tag, as somebody elsewhere would; the engine keeps none of it."""
    engine = engines.connect()
    names = []

    def push(tag):
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            entry = tarfile.TarInfo("file")
            content = secrets.token_bytes(64)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
        registry.manifests.pop(tag, None)
        names.append(f"{registry.uri}:{tag}")
        engine.api.import_image_from_data(packed.getvalue(), repository=registry.uri, tag=tag)
        login = {"username": "AWS", "password": "right"}
        said = list(engine.api.push(registry.uri, tag=tag, auth_config=login, stream=True, decode=True))
        assert not [line for line in said if "error" in line], said
        engine.api.remove_image(names[-1], force=True)
        return registry.manifests[tag]

    yield push
    for found in engine.api.images(name=registry.uri):
        engine.api.remove_image(found["Id"], force=True)
    engine.close()


@pytest.fixture
def logged_in(client, registry, tmp_path):
    """The docker that thampi uses, with a login for the registry."""
    login = base64.b64encode(b"AWS:right").decode()
    host = registry.uri.partition("/")[0]
    (tmp_path / "config.json").write_text(json.dumps({"auths": {host: {"auth": login}}}))
    environ = {**client.environ, "DOCKER_CONFIG": str(tmp_path)}
    return docker_client.Client(client.path, has_buildx=client.has_buildx, environ=environ)


@pytest.mark.docker
def test_a_real_registrys_digest_is_found_kept_and_renewed_on_demand(logged_in, registry, publish, platform):
    name = f"{registry.uri}:3.12"
    first = publish("3.12")
    found = base.pin(logged_in, name, platform)
    assert found.reference == f"{name}@{first}"
    assert found.created is not None
    assert not found.is_old(datetime.now(UTC))
    second = publish("3.12")
    assert second != first
    logged_in.run("pull", "--quiet", f"{registry.uri}@{first}")
    logged_in.run("tag", f"{registry.uri}@{first}", name)
    assert base.pin(logged_in, name, platform).reference == f"{name}@{first}", "what is there is what counts"
    assert base.pin(logged_in, f"{name}@{first}", platform, refresh=True).reference == f"{name}@{second}"


@pytest.mark.docker
def test_a_pinned_image_that_is_gone_comes_back_the_same(logged_in, registry, publish, platform):
    name = f"{registry.uri}:3.12"
    first = publish("3.12")
    publish("3.12")
    assert base.pin(logged_in, f"{name}@{first}", platform).reference == f"{name}@{first}"
    inspected = logged_in.run("image", "inspect", "--format", "{{.RepoDigests}}", f"{registry.uri}@{first}")
    assert first in inspected.stdout


@pytest.mark.docker
def test_a_real_registry_that_lacks_it_says_so(logged_in, registry, platform):
    with pytest.raises(BuildError) as raised:
        base.pin(logged_in, f"{registry.uri}:9.99", platform)
    assert raised.value.message.startswith(f"the image {registry.uri}:9.99 can't be had")
    assert "build.base_image" in raised.value.hint
