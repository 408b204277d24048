"""names.py: what is live must be found again, so every name is golden; all fit AWS's rules at their longest."""

import re

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thampi import names

PROJECTS = st.from_regex(r"[a-z0-9]{1,6}([-_][a-z0-9]{1,5}){0,3}", fullmatch=True)
STAGES = st.from_regex(r"[a-z][a-z0-9]{0,15}", fullmatch=True)


def regions():
    session = boto3.Session()
    partitions = session.get_available_partitions()
    found = {
        region
        for service in ("lambda", "ecr")
        for partition in partitions
        for region in session.get_available_regions(service, partition, allow_non_regional=False)
    }
    assert "us-isof-south-1" in found, "the longest region's name that was known when this was written"
    return sorted(found)


REGIONS = regions()


@pytest.mark.parametrize(
    ("name", "golden"),
    [
        (names.repository("my-model_2"), "thampi-my-model_2"),
        (names.image("my-model_2", "0f3a"), "thampi-my-model_2:0f3a"),
        (names.function("my-model_2", "staging"), "thampi-my-model_2-staging"),
        (names.role("my-model_2", "staging", "eu-central-1"), "thampi-my-model_2-staging-eu-central-1"),
        (names.api("my-model_2", "staging"), "thampi-my-model_2-staging"),
        (names.log_group("my-model_2", "staging"), "/aws/lambda/thampi-my-model_2-staging"),
        (names.model_prefix("my-model_2", "9dbc"), "thampi/my-model_2/models/9dbc/"),
        (names.models_prefix("my-model_2"), "thampi/my-model_2/models/"),
        (names.lock_key("my-model_2", "staging"), "thampi/my-model_2/locks/staging"),
    ],
)
def test_the_name_of_a_live_thing_never_changes(name, golden):
    assert name == golden


def test_the_tags_of_a_live_thing_never_change():
    assert names.tags("iris", "staging") == {"thampi:project": "iris", "thampi:stage": "staging"}


def test_the_mark_of_a_bucket_that_we_made_never_changes():
    assert names.bucket_tags() == {"thampi:bucket": "made"}
    assert names.domain_tags() == {"thampi:domain": "made"}


def test_what_the_stages_share_is_tagged_with_the_project_only():
    assert names.tags("iris", None) == {"thampi:project": "iris"}


def test_the_longest_names_fit_what_aws_takes():
    project, stage = "a" * 24, "s" * 16
    assert names.wrong_project(project) is None
    assert names.wrong_stage(stage) is None
    assert max(len(names.role(project, stage, region)) for region in REGIONS) <= 64
    assert len(names.function(project, stage)) <= 64
    assert len(names.repository(project)) <= 256
    assert len(names.log_group(project, stage)) <= 512
    assert len(names.api(project, stage)) <= 128
    assert all(len(value) <= 256 for value in names.tags(project, stage).values())


@given(PROJECTS, STAGES, st.sampled_from(REGIONS))
def test_every_name_has_the_shape_that_aws_takes(project, stage, region):
    assert names.wrong_project(project) is None
    assert re.fullmatch(r"(?=.{2,256}$)[a-z0-9]+(?:[._-][a-z0-9]+)*", names.repository(project))
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", names.function(project, stage))
    assert re.fullmatch(r"[\w+=,.@-]{1,64}", names.role(project, stage, region), re.ASCII)
    assert re.fullmatch(r"[.\-_/#A-Za-z0-9]{1,512}", names.log_group(project, stage))
    assert re.fullmatch(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*:[0-9a-f]+", names.image(project, "0f" * 32))


PLACES = st.tuples(PROJECTS, STAGES, st.sampled_from(REGIONS))
# Dashes are where two names could meet, so short pieces with many of them are tried on purpose.
CLOSE_PLACES = st.tuples(
    st.lists(st.sampled_from(["a", "us", "eu", "gov", "west"]), min_size=1, max_size=4).map("-".join),
    st.sampled_from(["a", "us", "eu", "gov", "west"]),
    st.sampled_from(REGIONS),
)


@given(PLACES | CLOSE_PLACES, PLACES | CLOSE_PLACES)
def test_two_stages_never_share_a_name(one, other):
    assert (names.function(*one[:2]) == names.function(*other[:2])) == (one[:2] == other[:2])
    assert (names.role(*one) == names.role(*other)) == (one == other)


@pytest.mark.parametrize("text", ["a", "0", "mymodel", "my-model", "my_model-2", "a" * 24])
def test_a_right_project_name_is_taken(text):
    assert names.wrong_project(text) is None


@pytest.mark.parametrize(
    "text",
    ["", "-", "a-", "_a", "a--b", "a-_b", "My", "a.b", "a b", "a/b", "ä", "²", "iris\n", "\niris", "a" * 25],
)
def test_a_wrong_project_name_is_refused(text):
    assert "at most 24" in names.wrong_project(text)


@pytest.mark.parametrize("text", ["a", "staging", "prod2", "s" * 16])
def test_a_right_stage_name_is_taken(text):
    assert names.wrong_stage(text) is None


@pytest.mark.parametrize("text", ["", "2prod", "pre-prod", "pre_prod", "Prod", "prod\n", "s" * 17])
def test_a_wrong_stage_name_is_refused(text):
    assert "at most 16" in names.wrong_stage(text)


def test_every_region_of_aws_is_taken():
    assert [region for region in REGIONS if names.wrong_region(region)] == []


@pytest.mark.parametrize("text", ["", "eu", "eu-central", "EU-CENTRAL-1", "eu-central-1\n", "eu-central-1a", "1"])
def test_a_wrong_region_is_refused(text):
    assert "eu-central-1" in names.wrong_region(text)


@pytest.mark.parametrize("text", ["abc", "thampi-store", "my.store.2", "1a2", "a" * 63])
def test_a_right_bucket_name_is_taken(text):
    assert names.wrong_bucket(text) is None


@pytest.mark.parametrize(
    "text",
    [
        *("", "a" * 64, "a b", "store\n"),
        *[
            "ab",
            "Store",
            "my_store",
            "-store",
            "store-",
            ".store",
            "store.",
            "a..b",
            "192.168.5.4",
            "xn--store",
            "sthree-store",
            "amzn-s3-demo-x",
        ],
        *["store-s3alias", "store--ol-s3", "store.mrap", "store--x-s3", "store--table-s3"],
    ],
)
def test_a_wrong_bucket_name_is_refused(text):
    assert names.wrong_bucket(text)


@pytest.mark.parametrize("text", ["a", "9dbc36ca-ab3d-4c87-9f0b-8b2f5c3c6c1e", "2026.09.06_b", "..a", "A" * 128])
def test_a_right_instance_id_is_taken(text):
    assert names.wrong_instance_id(text) is None


@pytest.mark.parametrize("text", ["", ".", "..", "-", "a/b", "../a", "a b", "a\n", "ä", "a?b", "a%2f", "a" * 129])
def test_a_wrong_instance_id_is_refused(text):
    assert "at most 128" in names.wrong_instance_id(text)
