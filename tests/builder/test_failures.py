"""What the engine says when it fails, and what people are told.

The files of said/ are what two clients really said, the failures provoked one by one; the tests that are marked
`docker` provoke some of them again, so that the words can't grow old unnoticed.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from thampi import recipe
from thampi.builder import build as docker_build
from thampi.builder import client as docker_client
from thampi.builder import failures
from thampi.errors import BuildError
from thampi.recipe import Recipe
from thampi.resolution.resolved import Resolved

NO_HASH = f"--hash=sha256:{'0' * 64}"
PYTHON_LDAP = "python-ldap==3.4.4 --hash=sha256:7edb0accec4e037797705f3a05cbf36a9fde50d08c8f67f2aef99a2628fab828"
SAID = Path(__file__).parent / "said"
LIBRARIES = "the libraries can't be installed"
PACKAGES = "the system packages can't be installed"

# label in said/: (the title, what must be among the lines shown, what must be in the cure)
EXPECTED = {
    "apt-unknown": (PACKAGES, "E: Unable to locate package libnosuch1", "build.apt"),
    "apt-version": (PACKAGES, "E: Version '1.0' for 'libgomp1' was not found", "build.apt"),
    "conflicting-pins": (LIBRARIES, "scipy==1.7.3 depends on numpy>=1.16.5,<1.23.0", "exclude each other"),
    "connection-refused": ("the image localhost:1/x:1 can't be had", "connection refused", "check the network"),
    "handler-needs-newer": (LIBRARIES, "you require orjson==3.9.0 and orjson>=3.10", "the handler needs"),
    "handler-needs-newer-ric": (LIBRARIES, "you require awslambdaric==3.0.0", "the handler needs"),
    "hash-mismatch": (LIBRARIES, "Hash mismatch for `six==1.17.0`", "hashes don't fit"),
    "image-denied": ("the image 127.0.0.1", "401 Unauthorized", "docker login"),
    "no-engine": ("no Docker engine answers: Cannot connect to the Docker daemon at unix:///nowhere", "", "start it"),
    "no-git": (LIBRARIES, "Git executable not found", 'apt = ["git"]'),
    "no-registry": ("the image public.ecr.aws/docker/library/python:3.13", "no such host", "build.base_image"),
    "no-wheel-for-platform": (LIBRARIES, "pywin32==306 has no wheels", "sys_platform == 'win32'"),
    "no-wheel-for-python": (LIBRARIES, "tensorflow==2.8.0 has no wheels", "pin a version that has one"),
    "not-allowed": ("no Docker engine answers: ", "", "usermod -aG docker"),
    "other-platform": ("can't be installed (linux/arm64)", "exec /bin/sh: exec format error", "build.platform"),
    "other-python": (LIBRARIES, "does not satisfy Python>=3.12", "for another Python"),
    "proxy-without-ca": (LIBRARIES, "invalid peer certificate", "SSL_CERT_FILE"),
    "pull-limit": ("the image 127.0.0.1", "429 Too Many Requests", "wait a minute"),
    "sdist-that-fails": (LIBRARIES, "Failed to build `python-ldap==3.4.4`", "build-essential"),
    "token-expired": ("the image 127.0.0.1", "403 Forbidden", "log in"),
    "unknown-image": ("the image 127.0.0.1", "not found", "that image doesn't exist"),
    "unknown-package": (LIBRARIES, "was not found in the package registry", "check the name"),
    "unknown-version": (LIBRARIES, "there is no version of numpy==99.0", "that version doesn't exist"),
}


SECTIONS = [
    pytest.param(label, text, id=f"{label}, {file.stem}")
    for file in sorted(SAID.glob("*.txt"))
    for label, _, text in (section.partition("\n") for section in file.read_text().split("=== ")[1:])
]


@pytest.fixture
def failing(docker, environ, tmp_path):
    """Let a build say something and fail; return what the user is told."""

    def fail(text, platform="linux/amd64"):
        (tmp_path / "text").write_text(text)
        client = docker_client.find(environ(docker(otherwise=f"cat '{tmp_path}/text'; exit 1")))
        with pytest.raises(BuildError) as raised:
            docker_build.build(Recipe("FROM x\n", platform, {}), "x:1", client=client, show=lambda line: None)
        return raised.value

    return fail


@pytest.mark.parametrize(("label", "text"), SECTIONS)
def test_what_the_engine_said_is_told_with_its_cure(failing, label, text):
    title, shown, cure = EXPECTED[label]
    told = failing(text, platform="linux/arm64" if label == "other-platform" else "linux/amd64")
    assert title in told.message.splitlines()[0]
    assert shown in told.message
    assert cure in told.hint


@pytest.mark.parametrize(("label", "text"), SECTIONS)
def test_no_more_is_shown_than_one_can_read(failing, label, text):
    lines = failing(text).message.splitlines()
    assert len(lines) <= 21
    assert not any(
        re.match(r"\s*#\d+ |.*sha256:[0-9a-f]{64}$|\s*Get:\d", line) for line in lines[1:] if "sha256:4" not in line
    )


def test_every_text_is_expected_and_every_expectation_has_its_texts():
    labels = [param.values[0] for param in SECTIONS]
    assert set(labels) == set(EXPECTED)
    assert all(labels.count(label) == 2 for label in EXPECTED)


def test_what_nobody_knows_is_shown_as_it_ends(failing):
    said = "\n".join(["#5 [2/2] RUN make it", *(f"#5 0.{n:03} line {n}" for n in range(50)), "#5 ERROR: it is Tuesday"])
    told = failing(said)
    assert told.message.splitlines()[0] == "the build failed at [2/2] RUN make it (linux/amd64)"
    assert told.message.splitlines()[-1] == "  ERROR: it is Tuesday"
    assert "  line 49" in told.message
    assert "  line 10\n" not in told.message
    assert told.hint == "--verbose shows every line"


def test_a_step_that_fails_beside_others_is_the_one_that_is_shown(failing):
    said = "#5 [a 2/2] RUN one\n#6 [b 2/2] RUN other\n#6 0.1 from six\n#5 0.2 from five\n#6 ERROR: bad\n#5 CANCELED\n"
    told = failing(said)
    assert "[b 2/2] RUN other" in told.message
    assert "from six" in told.message
    assert "from five" not in told.message


def test_mounts_are_not_part_of_a_steps_name(failing):
    told = failing("#5 [2/2] RUN --mount=type=secret,id=ca,target=/x     --mount=type=bind    make\n#5 ERROR: no\n")
    assert told.message.splitlines()[0] == "the build failed at [2/2] RUN make (linux/amd64)"


def test_a_step_that_is_killed_lacked_memory(failing):
    told = failing(
        "#5 [2/2] RUN make\n#5 1.0 Killed\n"
        '#5 ERROR: process "/bin/sh -c make" did not complete successfully: exit code: 137\n'
    )
    assert "memory" in told.hint


def test_an_engine_that_says_nothing_is_an_answer_too(failing):
    told = failing("")
    assert told.message == "the build failed (linux/amd64)"
    assert failures.no_engine("").message == "no Docker engine answers: docker said nothing"


# -------------------------------------------------------------------------------------------- provoked once again


@pytest.fixture
def provoke(client, base, name, tmp_path):
    def provoke_(*requirements, apt=(), wanted=None, client=client):
        base_reference = recipe.reference(recipe.BASE, base)
        if wanted is None and not docker_build.has(client, base_reference):
            docker_build.build(base, base_reference, client=client, show=lambda line: None)
        resolved = Resolved(requirements)
        made = wanted or recipe.make(base, resolved, title="x", apt=apt, include=(), project_dir=tmp_path)
        with pytest.raises(BuildError) as raised:
            docker_build.build(made, name, client=client, show=lambda line: None)
        return raised.value

    return provoke_


@pytest.mark.docker
@pytest.mark.parametrize(
    ("label", "requirements", "apt"),
    [
        # What was locked may be gone by now, or be another file; all else is refused before a build begins.
        ("unknown-package", [f"thampi-no-such-package-xyz==1.0 {NO_HASH}"], []),
        ("unknown-version", [f"numpy==99.0 {NO_HASH}"], []),
        ("hash-mismatch", [f"six==1.17.0 {NO_HASH}"], []),
        ("sdist-that-fails", [PYTHON_LDAP], []),
        ("apt-unknown", [], ["libnosuch1"]),
    ],
)
def test_what_is_provoked_is_told_with_its_cure(provoke, label, requirements, apt):
    told = provoke(*requirements, apt=apt)
    title, shown, cure = EXPECTED[label]
    assert title in told.message
    assert shown in told.message
    assert cure in told.hint


@pytest.mark.docker
def test_an_image_that_no_registry_has_is_named(provoke, platform):
    told = provoke(wanted=Recipe("FROM localhost:1/nowhere:1\n", platform, {}))
    assert told.message.startswith("the image localhost:1/nowhere:1 can't be had")
    assert "build.base_image" in told.hint


@pytest.mark.docker
@pytest.mark.parametrize("address", ["unix:///nowhere", "tcp://127.0.0.1:1"])
def test_an_engine_that_is_not_there_is_missed_whatever_is_asked_first(client, provoke, platform, address):
    gone = docker_client.Client(client.path, client.has_buildx, {**client.environ, "DOCKER_HOST": address})
    with pytest.raises(BuildError, match="no Docker engine answers") as raised:
        docker_build.has(gone, "x:1")
    assert "thampi run --no-docker" in raised.value.hint
    told = provoke(wanted=Recipe("FROM scratch\n", platform, {}), client=gone)
    assert told.message.startswith("no Docker engine answers: ")


@pytest.mark.docker
@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="only root can become nobody")
def test_a_user_who_may_not_use_the_engine_is_told_how_to(client):
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    words = [*nobody, client.path, "image", "inspect", "x:1"]
    said = subprocess.run(words, env={**client.environ, "HOME": "/nonexistent"}, capture_output=True, text=True)
    told = failures.no_engine(said.stderr)
    assert "permission denied" in told.message
    assert "usermod -aG docker" in told.hint
