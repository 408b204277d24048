"""Before a long build it is known whether the engine can run the image's platform at all."""

import struct
import subprocess
import sys

import pytest

from thampi.builder import client as docker_client
from thampi.builder import platforms
from thampi.errors import BuildError

NO_EMULATION = (
    "echo '#5 [3/3] RUN [\"/emulated\"]' >&2; "
    "echo '#5 0.182 standard_init_linux.go:228: exec user process caused: exec format error' >&2; "
    "echo '#5 ERROR: executor failed running [/emulated]: exit code: 1' >&2; exit 1"
)


@pytest.fixture
def engine(docker):
    """An engine of one platform, which answers so to a build."""

    def make(own="linux/amd64", build=":"):
        version = f"echo {own}" if own else "echo 'Cannot connect to the Docker daemon' >&2; exit 1"
        otherwise = f'case "$1" in version) {version} ;; buildx) {build} ;; esac'
        return docker(otherwise=otherwise)

    return make


@pytest.fixture
def check(environ):
    def check_(fake, platform):
        said = []
        platforms.check(docker_client.find(environ(fake)), platform, said.append)
        return said

    return check_


@pytest.mark.parametrize("platform", ["linux/amd64", "linux/arm64"])
def test_the_engines_own_platform_needs_no_trial(engine, check, platform):
    fake = engine(own=platform)
    assert check(fake, platform) == []
    assert not [line for line in fake.asked if line.startswith("buildx build")]


@pytest.mark.parametrize(("own", "other"), [("linux/amd64", "linux/arm64"), ("linux/arm64", "linux/amd64")])
def test_another_platform_that_the_engine_emulates_is_slow_and_that_is_said(engine, check, own, other):
    fake = engine(own=own)
    [said] = check(fake, other)
    assert said == f"the engine is {own}, so {other} is emulated: several times slower, the same result"
    [built] = [line for line in fake.asked if line.startswith("buildx build")]
    assert f"--platform {other}" in built
    [name] = [line.split()[-1] for line in fake.asked if line.startswith("tag ")]
    assert f"rmi --force {name}" in fake.asked
    assert name.startswith("thampi-emulation:")


def test_what_was_tried_once_is_tried_again(engine, check, tmp_path):
    """A build's cache would remember that it worked, also when the emulator is gone."""
    sums = tmp_path / "sums"
    fake = engine(build=f'for last; do :; done; cksum < "$last/emulated" >> {sums}')
    check(fake, "linux/arm64")
    check(fake, "linux/arm64")
    assert len(set(sums.read_text().splitlines())) == 2


@pytest.mark.parametrize(("own", "other"), [("linux/amd64", "linux/arm64"), ("linux/arm64", "linux/amd64")])
def test_another_platform_that_it_can_not_run_is_refused_with_both_cures(engine, check, own, other):
    with pytest.raises(BuildError) as raised:
        check(engine(own=own, build=NO_EMULATION), other)
    assert raised.value.message == (
        f"the image is for {other}, the engine is {own}, and it has no emulation of the other"
    )
    assert f'build.platform to "{own}"' in raised.value.hint
    assert f"tonistiigi/binfmt --install {other.partition('/')[2]}" in raised.value.hint


def test_a_build_that_fails_for_another_reason_is_told_as_that(engine, check):
    full = "echo 'ERROR: write /var/lib/docker/x: no space left on device' >&2; exit 1"
    with pytest.raises(BuildError) as raised:
        check(engine(build=full), "linux/arm64")
    assert "no space left" in raised.value.message
    assert "docker builder prune" in raised.value.hint


def test_without_an_engine_that_is_what_is_said(engine, check):
    with pytest.raises(BuildError, match="no Docker engine answers"):
        check(engine(own=None), "linux/arm64")


@pytest.mark.parametrize(("platform", "machine"), [("linux/amd64", 0x3E), ("linux/arm64", 0xB7)])
def test_the_program_is_a_whole_one_for_its_machine(platform, machine):
    program = platforms.program(platform)
    kind, found, _, entry, segments = struct.unpack_from("<HHIQQ", program, 16)
    assert (program[:6], kind, found, segments) == (b"\x7fELF\x02\x01", 2, machine, 64)
    offset, address = struct.unpack_from("<QQ", program, segments + 8)
    assert entry - address + offset == len(program) - (9 if machine == 0x3E else 12)
    assert struct.unpack_from("<QQ", program, segments + 32) == (len(program), len(program))


@pytest.mark.skipif(sys.platform != "linux", reason="it is a program of Linux")
def test_this_machines_program_runs_and_ends_well(platform, tmp_path):
    file = tmp_path / "program"
    file.write_bytes(platforms.program(platform))
    file.chmod(0o755)
    assert subprocess.run([file]).returncode == 0


@pytest.mark.docker
def test_a_real_engine_is_tried_with_its_own_program(client, platform, monkeypatch):
    """The trial itself, on the one platform that every engine has, as if it were another."""
    monkeypatch.setattr(platforms, "_own", lambda client: "linux/other")
    said = []
    platforms.check(client, platform, said.append)
    assert said == [f"the engine is linux/other, so {platform} is emulated: several times slower, the same result"]
    assert client.run("images", "--quiet", "thampi-emulation").stdout == ""


@pytest.mark.docker
def test_a_real_engine_gives_its_verdict_on_the_other_platform(client, platform):
    """Whether this machine emulates is its own matter; the answer has to be one of the two."""
    other = {"linux/amd64": "linux/arm64", "linux/arm64": "linux/amd64"}[platform]
    said, refused = [], []
    try:
        platforms.check(client, other, said.append)
    except BuildError as error:
        refused.append(error.message)
    assert len(said) + len(refused) == 1
    assert "is emulated" in (said + refused)[0] or "no emulation of the other" in (said + refused)[0]
