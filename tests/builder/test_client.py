"""Which docker command builds: the first on PATH with BuildKit, or the one that THAMPI_DOCKER names."""

import os

import pytest

from thampi.builder import client as docker_client
from thampi.builder.client import Client
from thampi.errors import BuildError


def test_a_new_client_with_buildx_is_taken(docker, environ):
    new = docker()
    assert docker_client.find(environ(new)) == Client(str(new.path), has_buildx=True)


@pytest.mark.parametrize("version", ["20.10.24+dfsg1", "20.10.5", "22.06.0-beta.0"])
def test_an_old_client_has_buildkit_of_its_own(docker, environ, version):
    old = docker(version=version, buildx=False)
    assert docker_client.find(environ(old)) == Client(str(old.path), has_buildx=False)


def test_an_old_client_with_the_plugin_uses_the_plugin(docker, environ):
    old = docker(version="20.10.24", buildx=True)
    assert docker_client.find(environ(old)).has_buildx


@pytest.mark.parametrize("version", ["23.0.0", "28.2.2", "18.09.1", "1.13.1"])
def test_a_client_that_can_not_build_what_we_write_is_refused_by_its_path(docker, environ, version):
    new = docker(version=version, buildx=False)
    with pytest.raises(BuildError) as raised:
        docker_client.find({"PATH": new.folder})
    assert raised.value.message == f"no docker command here has BuildKit: {new.path}"
    assert "docker-buildx" in raised.value.hint


def test_the_first_on_the_path_that_has_buildkit_is_taken(docker, environ):
    without, old, new = docker("a", buildx=False), docker("b", version="20.10.24", buildx=False), docker("c")
    assert docker_client.find(environ(without, old, new)).path == str(old.path)
    assert docker_client.find(environ(without, new, old)).path == str(new.path)


def test_podman_that_calls_itself_docker_is_not_taken_for_an_old_docker(docker, environ):
    podman, new = docker("a", product="podman", version="4.3.1", buildx=False), docker("b")
    assert docker_client.find(environ(podman, new)).path == str(new.path)


def test_without_any_docker_the_way_that_needs_none_is_shown(tmp_path):
    for path in ("", str(tmp_path), str(tmp_path / "nowhere")):
        with pytest.raises(BuildError) as raised:
            docker_client.find({"PATH": path})
        assert raised.value.message == "there is no docker command on this machine"
        assert "thampi run --no-docker" in raised.value.hint
    with pytest.raises(BuildError):
        docker_client.find({})


def test_what_can_not_be_started_is_passed_over(docker, environ, tmp_path):
    (tmp_path / "a/docker").mkdir(parents=True)
    (tmp_path / "b").mkdir()
    (tmp_path / "b/docker").write_text("no program\n")
    broken, whole = docker("c"), docker("d")
    broken.path.write_text("#!/nowhere/sh\n")
    path = os.pathsep.join([str(tmp_path / "a"), str(tmp_path / "b"), broken.folder, whole.folder, "/usr/bin", "/bin"])
    assert docker_client.find({"PATH": path}).path == str(whole.path)


def test_the_folder_that_one_stands_in_is_never_searched(docker, tmp_path, monkeypatch):
    monkeypatch.chdir(docker(".").folder)
    with pytest.raises(BuildError):
        docker_client.find({"PATH": os.pathsep})


# ---------------------------------------------------------------------------------------------------- THAMPI_DOCKER


def test_thampi_docker_goes_before_the_path(docker, environ):
    on_path, named = docker("a"), docker("b", version="20.10.24", buildx=False)
    found = docker_client.find(environ(on_path, THAMPI_DOCKER=str(named.path)))
    assert found == Client(str(named.path), has_buildx=False)
    assert on_path.asked == []


def test_thampi_docker_may_be_a_name_on_the_path(docker, environ):
    fake = docker()
    fake.path.rename(fake.path.with_name("nerdctl"))
    assert docker_client.find(environ(fake, THAMPI_DOCKER="nerdctl")).path == f"{fake.folder}/nerdctl"


def test_a_thampi_docker_that_is_not_there_is_named(docker, environ):
    with pytest.raises(BuildError) as raised:
        docker_client.find(environ(docker(), THAMPI_DOCKER="/nowhere/docker"))
    assert "THAMPI_DOCKER names /nowhere/docker" in raised.value.message
    assert "unset it" in raised.value.hint


def test_a_thampi_docker_without_buildkit_is_refused_although_the_path_has_a_better_one(docker, environ):
    named = docker("b", buildx=False)
    with pytest.raises(BuildError) as raised:
        docker_client.find(environ(docker("a"), THAMPI_DOCKER=str(named.path)))
    assert raised.value.message == f"no docker command here has BuildKit: {named.path}"


# -------------------------------------------------------------------------------------------------- how it is told


def test_buildx_is_told_to_use_the_engines_own_builder_and_to_make_no_index(docker, environ):
    """A builder in a container can't see the engine's images, and Lambda refuses an index."""
    command = docker_client.find(environ(docker(context="colima"))).build_command()
    assert command[1:5] == ["buildx", "build", "--builder", "colima"]
    assert {"--load", "--provenance=false", "--sbom=false"} <= set(command)


def test_without_a_context_the_builder_is_left_to_docker(docker, environ):
    assert "--builder" not in docker_client.find(environ(docker(context=""))).build_command()


def test_an_old_client_is_told_by_its_environment(docker, environ):
    client = docker_client.find(environ(docker(version="20.10.24", buildx=False)))
    assert client.build_command() == [client.path, "build"]
    assert client.build_environment()["DOCKER_BUILDKIT"] == "1"


def test_the_environment_that_was_given_is_the_one_that_docker_sees(docker, environ):
    client = docker_client.find(environ(docker(otherwise='echo "$DOCKER_HOST"'), DOCKER_HOST="tcp://elsewhere:1"))
    assert client.run("info").stdout == "tcp://elsewhere:1\n"
    assert client.build_environment()["DOCKER_HOST"] == "tcp://elsewhere:1"


def test_a_command_that_fails_is_returned_with_what_it_said(docker, environ):
    done = docker_client.find(environ(docker(otherwise="echo no >&2; exit 3"))).run("image", "inspect", "x")
    assert (done.returncode, done.stderr) == (3, "no\n")


def test_no_command_waits_for_somebody_to_type(docker, environ):
    assert docker_client.find(environ(docker(otherwise="cat"))).run("login").stdout == ""
