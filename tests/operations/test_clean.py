"""Cleaning takes what nobody needs, in AWS and on this machine, and says before what it would take."""

import os
import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tests.builder.conftest import FakeDocker
from tests.operations.stand import BUCKET, refusal
from tests.operations.test_garbage import many, models, stage_of, times_that_differ, versions  # noqa: F401 - fixtures
from thampi.aws import lock
from thampi.builder import client as docker_client
from thampi.builder import leftovers as images
from thampi.errors import CloudError
from thampi.local import cache, installation
from thampi.local import leftovers as folders
from thampi.operations import clean

NOW = datetime(2026, 9, 6, 22, 0, tzinfo=UTC)


@pytest.fixture
def untidy(stand, many):  # noqa: F811
    """Two releases and four models, of which one release is to be kept."""
    for number in (0, 1):
        stand.push(stage_of(stand, many[number], keep=2))
    stand.before = lambda call: refusal("ValidationException") if call == "lambda.PublishVersion" else None
    for number in (2, 3):
        with pytest.raises(CloudError):
            stand.push(stage_of(stand, many[number], keep=2))
    stand.undisturbed()
    return stage_of(stand, many[1], keep=1)


def test_old_releases_and_what_none_names_are_deleted_and_the_second_time_there_is_nothing(stand, untidy):
    stand.calls.clear()
    would = clean.clean_stage(untidy, stand.place, say=stand.said.append, dry_run=True)
    assert not [call for call in stand.calls if ".Delete" in call or ".Put" in call or ".BatchDelete" in call]
    done = clean.clean_stage(untidy, stand.place, say=stand.said.append)
    assert done == would
    # 3 is what the function itself names: the run that was to publish it was stopped.
    assert (done.versions, set(done.models)) == (("1",), {"many-0", "many-2"})
    assert (versions(stand), models(stand), stand.answers()) == (["2"], {"many-1", "many-3"}, "many-1")
    assert not clean.clean_stage(untidy, stand.place, say=stand.said.append)
    assert lock.stages(stand.place.aws, BUCKET, "scale") == ()


def test_where_nothing_was_pushed_nothing_is_made(stand):
    assert not clean.clean_stage(stand.stage, stand.place, say=stand.said.append)
    assert stand.calls == ["s3.HeadBucket"]


def test_a_stage_that_is_being_changed_is_left_alone(stand, untidy):
    with lock.hold(stand.place.aws, BUCKET, "scale", "staging", who="ann@laptop"):
        with pytest.raises(CloudError, match="another run is changing scale staging: ann"):
            clean.clean_stage(untidy, stand.place, say=stand.said.append)
        assert clean.clean_stage(untidy, stand.place, say=stand.said.append, force=True)


# ------------------------------------------------------------------------------------------------------ this machine


LISTED = """thampi-scale:old	2026-09-01 10:00:00 +0000 UTC
thampi-scale:kept	2026-09-01 10:00:00 +0000 UTC
thampi-scale:old-untried-0123abcd	2026-09-06 12:00:00 +0200 CEST
thampi-scale:new-untried-0123abcd	2026-09-06 23:30:00 +0200 CEST
thampi-scale:<none>	2026-09-01 10:00:00 +0000 UTC
thampi-scale-b:old	2026-09-01 10:00:00 +0000 UTC
thampi-scale-b:old-untried-89abcdef	2026-09-01 10:00:00 +0000 UTC
localhost:4566/thampi-scale:old	2026-09-01 10:00:00 +0000 UTC
thampi-base:old	2026-09-01 10:00:00 +0000 UTC
python:3.12	2026-09-01 10:00:00 +0000 UTC
theirs:x-untried-0123abcd	2026-09-01 10:00:00 +0000 UTC
"""


@pytest.fixture
def docker(tmp_path):
    """A docker that lists those images, and refuses to delete one that a container uses."""
    (tmp_path / "listed").write_text(LISTED)
    otherwise = f'[ "$2" = ls ] && cat "{tmp_path}/listed"; [ "$3" != thampi-scale:old ]'
    fake = FakeDocker(tmp_path / "bin", buildx="exit 0", otherwise=otherwise, version="", context="")
    return docker_client.find({"PATH": f"{fake.folder}:{os.environ['PATH']}"}), fake


def test_of_the_projects_images_all_but_the_needed_and_those_under_way_are_left_over(docker):
    client, _ = docker
    found = images.find(client, "thampi-scale", frozenset({"thampi-scale:kept"}), now=NOW)
    assert found == ["thampi-scale:old", "thampi-scale:old-untried-0123abcd"]


def test_of_other_projects_only_what_was_never_tried_is(docker):
    client, _ = docker
    found = images.find(client, "thampi-scale", frozenset({"thampi-scale:kept"}), everybodys=True, now=NOW)
    assert found[2:] == ["thampi-scale-b:old-untried-89abcdef"]


def test_an_image_that_is_in_use_stays_and_nothing_is_forced(docker):
    client, fake = docker
    assert images.remove(client, ["thampi-scale:old", "thampi-scale:b"]) == ["thampi-scale:b"]
    assert not any("force" in each or " -f" in each for each in fake.asked)


def test_without_a_docker_the_rest_is_cleaned_all_the_same(stand, tmp_path):
    environ = {"PATH": "", "XDG_CACHE_HOME": str(tmp_path)}
    (tmp_path / "thampi/venvs/0123").mkdir(parents=True)
    left = clean.clean_machine([stand.stage], environ, everything=True, say=stand.said.append)
    assert (left.images, [each.name for each in left.folders]) == ((), ["0123"])
    assert "the engine's images stay: there is no docker command on this machine" in stand.said


def test_the_image_of_each_stages_plan_stays(stand, docker, tmp_path):
    _, fake = docker
    needed = stand.plan(stand.stage).reference
    (tmp_path / "listed").write_text(f"{needed}\t2026-09-01 10:00:00 +0000 UTC\n{LISTED}")
    environ = {"PATH": f"{fake.folder}:{os.environ['PATH']}", "XDG_CACHE_HOME": str(tmp_path)}
    would = clean.clean_machine([stand.stage], environ, everything=False, say=stand.said.append, dry_run=True)
    assert needed not in would.images
    assert "thampi-scale:old" in would.images
    assert not any(" rm " in f" {each} " for each in fake.asked)
    done = clean.clean_machine([stand.stage], environ, everything=False, say=stand.said.append)
    assert "thampi-scale:old" not in done.images
    assert "thampi-scale:kept" in done.images


def test_a_stage_whose_plan_can_not_be_made_keeps_all_images(stand, docker, tmp_path):
    _, fake = docker
    environ = {"PATH": f"{fake.folder}:{os.environ['PATH']}", "XDG_CACHE_HOME": str(tmp_path)}
    stages = [stand.stage, replace(stand.stage, model_dir=tmp_path / "gone")]
    assert clean.clean_machine(stages, environ, everything=False, say=stand.said.append).images == ()
    assert any(line.startswith("the engine's images stay: ") for line in stand.said)


def test_folders_that_can_be_made_again_and_those_of_the_dead_are_left_over(tmp_path):
    home, temporary = tmp_path / "cache/thampi", tmp_path / "tmp"
    ours = cache.aside_prefix()
    dead, alive = f"{ours}999999999-x", f"{ours}{os.getpid()}-x"
    for name in ("venvs/a", f"venvs/{dead}", f"venvs/{alive}", "venvs/.aside-elsewhere-1-x", "local-aws/older"):
        (home / name).mkdir(parents=True)
    (home / "local-aws" / installation.digest()).mkdir()
    for name in ("thampi-build-old", "thampi-build-new", "thampi-else", "theirs"):
        (temporary / name).mkdir(parents=True)
        if name != "thampi-build-new":
            os.utime(temporary / name, (time.time() - 90_000,) * 2)
    found = folders.find({"XDG_CACHE_HOME": str(tmp_path / "cache")}, temporary=temporary)
    assert {each.name for each in found} == {"a", dead, "older", "thampi-build-old"}
    assert folders.remove(found) == found
    assert (home / "venvs" / alive).exists()
    assert (temporary / "thampi-build-new").exists()
