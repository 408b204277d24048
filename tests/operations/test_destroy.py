"""What a stage made goes, in an order in which nothing is left that calls what is gone; and only what is ours."""

from dataclasses import replace

import pytest

from tests.operations.stand import BUCKET, Death, refusal
from tests.operations.test_push import FOREIGN, GROUP, NAME, ROLE, lock_is_there, writes
from thampi.aws import lock
from thampi.errors import CloudError, ConfigError
from thampi.operations import destroy

THINGS = ["endpoint", "function", "log group", "role"]


def destroyed(stand, stage=None, **more):
    stand.calls.clear()
    return destroy.destroy(stage or stand.stage, stand.place, who="ann@laptop", **more)


def left(stand):
    return {what: found for what, found in stand.snapshot().items() if found and what != "buckets"}


def keys(stand):
    found = stand.clients["s3"].list_objects_v2(Bucket=BUCKET)
    return [each["Key"] for each in found.get("Contents", [])]


def test_everything_of_the_stage_goes_endpoint_first_and_role_last(stand):
    stand.push()
    gone = destroyed(stand)
    assert [(each.thing, each.was_there) for each in gone] == [(thing, True) for thing in THINGS]
    assert [each.name for each in gone] == [NAME, NAME, GROUP, ROLE]
    deletions = [call for call in writes(stand) if ".Delete" in call and not call.startswith("s3.")]
    assert deletions == [
        "apigatewayv2.DeleteApi",
        "lambda.DeleteFunction",
        "logs.DeleteLogGroup",
        "iam.DeleteRolePolicy",
        "iam.DeleteRole",
    ]
    assert list(left(stand)) == ["repositories"]
    assert any("/models/model-2/" in key for key in keys(stand))
    assert not lock_is_there(stand)


def test_again_there_is_nothing_and_nothing_is_deleted(stand):
    stand.push()
    destroyed(stand)
    gone = destroyed(stand)
    assert [(each.thing, each.was_there) for each in gone] == [(thing, False) for thing in THINGS]
    assert set(writes(stand)) == {"s3.PutObject", "s3.DeleteObject"}  # the lock


def test_where_nothing_was_ever_pushed_nothing_is_made(stand):
    gone = destroyed(stand, everything=True)
    assert not any(each.was_there for each in gone)
    assert writes(stand) == []


def test_another_stage_stays_as_it_is(stand):
    stand.push(replace(stand.stage, stage="production"))
    before = stand.snapshot()
    stand.push()
    destroyed(stand)
    assert stand.snapshot() == before


def test_a_push_after_a_destroy_makes_all_of_it_anew(stand):
    stand.push()
    before = stand.snapshot()
    destroyed(stand)
    stand.push()
    assert stand.snapshot() == before


def test_all_takes_images_models_and_the_bucket_that_was_made(stand):
    stand.push()
    gone = {each.thing: each for each in destroyed(stand, everything=True)}
    assert gone["models"].name == f"1 in {BUCKET}"
    assert all(gone[thing].was_there for thing in (*THINGS, "models", "repository", "bucket"))
    assert left(stand) == {}
    assert stand.snapshot()["buckets"] == {}


def test_all_leaves_a_bucket_of_the_users_own_and_what_is_not_the_projects(stand):
    where = {"LocationConstraint": "eu-central-1"}
    stand.clients["s3"].create_bucket(Bucket=BUCKET, CreateBucketConfiguration=where)
    stand.clients["s3"].put_object(Bucket=BUCKET, Key="thampi/other/models/1/thampi.json", Body=b"")
    stand.push()
    gone = destroyed(stand, everything=True)
    assert "bucket" not in [each.thing for each in gone]
    assert keys(stand) == ["thampi/other/models/1/thampi.json"]


def test_all_leaves_a_bucket_of_ours_that_serves_another_project(stand):
    stand.push()
    stand.clients["s3"].put_object(Bucket=BUCKET, Key="thampi/other/models/1/thampi.json", Body=b"")
    gone = destroyed(stand, everything=True)
    assert "bucket" not in [each.thing for each in gone]
    assert keys(stand) == ["thampi/other/models/1/thampi.json"]


def test_all_is_refused_before_anything_while_another_stage_serves(stand):
    stand.push()
    stand.push(replace(stand.stage, stage="production"))
    before = stand.snapshot()
    with pytest.raises(ConfigError, match="images and models that production still serves") as refused:
        destroyed(stand, everything=True, others=["production", "local"])
    assert refused.value.hint == "thampi destroy production first"
    assert writes(stand) == []
    assert stand.snapshot() == before


@pytest.mark.parametrize("thing", ["function", "role", "log group"])
def test_what_has_our_name_and_not_our_tag_is_left_as_it_is(stand, thing):
    FOREIGN[thing](stand)
    before = stand.snapshot()
    with pytest.raises(CloudError, match=f"the {thing} .* is not this project's"):
        destroyed(stand)
    assert stand.snapshot() == before


def test_a_repository_that_is_not_ours_is_left_with_all(stand):
    stand.clients["s3"].create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    FOREIGN["ECR repository"](stand)
    with pytest.raises(CloudError, match="the ECR repository thampi-scale exists and is not this project's"):
        destroyed(stand, everything=True)
    assert set(stand.snapshot()["repositories"]) == {"thampi-scale"}


def test_an_api_of_our_name_that_is_somebody_elses_stays(stand):
    stand.push()
    theirs = stand.clients["apigatewayv2"].create_api(Name=NAME, ProtocolType="HTTP", Tags={"team": "other"})
    destroyed(stand)
    assert [api["ApiId"] for api in stand.clients["apigatewayv2"].get_apis()["Items"]] == [theirs["ApiId"]]


def test_a_push_under_way_is_not_destroyed_under_its_feet(stand):
    stand.push()
    with lock.hold(stand.place.aws, BUCKET, "scale", "staging", who="bob@laptop"):
        with pytest.raises(CloudError, match="another run is changing scale staging: bob@laptop, since "):
            destroyed(stand)
        assert stand.answers() == "model-2"
        destroyed(stand, force=True)
    assert list(left(stand)) == ["repositories"]


@pytest.mark.parametrize("everything", [False, True], ids=["the stage", "all"])
def test_a_destroy_that_dies_anywhere_is_finished_by_the_next(accounts, everything):
    number, died = 0, True
    while died:
        died = False
        with accounts.account() as stand:
            stand.push()
            left_over = [number]

            def die(call, left_over=left_over):
                if not call.split(".")[1].startswith(("Get", "List", "Head", "Describe")):
                    left_over[0] -= 1
                    if left_over[0] < 0:
                        raise Death(call)

            stand.after = die
            try:
                destroyed(stand, everything=everything)
            except Death:
                died = True
            stand.undisturbed()
            destroyed(stand, everything=everything, force=True)
            assert list(left(stand)) == ([] if everything else ["repositories"])
            assert set(stand.snapshot()["buckets"]) == (set() if everything else {BUCKET})
        number += 1
    assert number > (9 if everything else 6)


def test_a_refusal_stops_it_and_what_lies_behind_is_still_there(stand):
    stand.push()
    stand.before = lambda call: refusal("AccessDeniedException", 403) if call == "lambda.DeleteFunction" else None
    with pytest.raises(CloudError, match="deleting the function"):
        destroyed(stand)
    stand.undisturbed()
    assert set(left(stand)) == {"functions", "log groups", "roles", "repositories"}
    destroyed(stand)
    assert list(left(stand)) == ["repositories"]
