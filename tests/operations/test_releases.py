"""A release is tried, shares the calls, becomes live, and goes: callers only ever get what was tried and is theirs."""

import json
import random
from collections import Counter
from dataclasses import replace

import pytest

import thampi
from tests.operations.stand import BUCKET, Death, Scale
from tests.operations.test_push import NAME, again, broken, forbidden, lock_is_there, of_callers, other_model
from thampi.aws import lock, release
from thampi.config import Api
from thampi.errors import CloudError, ReleaseError
from thampi.operations import promote, releases, rollback

MINE = "arn:aws:iam::123456789012:role/mine"


@pytest.fixture(scope="session")
def third(tmp_path_factory):
    return thampi.save(Scale(5), "scale", tmp_path_factory.mktemp("third"), instance_id="model-5", verify=False)


def back(stand, stage=None, **more):
    stand.calls.clear()
    return rollback.rollback(stage or stand.stage, stand.place, say=stand.said.append, **more)


def promoted(stand, stage=None, **more):
    stand.calls.clear()
    return promote.promote(stage or stand.stage, stand.place, say=stand.said.append, **more)


def alias(stand):
    return stand.clients["lambda"].get_alias(FunctionName=NAME, Name="live")


def weights(stand):
    return alias(stand).get("RoutingConfig", {}).get("AdditionalVersionWeights", {})


def states(stand):
    return {each.version: (each.state, each.share) for each in releases.releases(stand.stage, stand.place)}


# ------------------------------------------------------------------------------------------------- how many calls


def test_a_push_that_changes_nothing_makes_at_most_20_calls_and_one_of_a_new_model_25(stand):
    """The bounds count the one call that proves the credentials, too; it is made before `push`."""
    stand.push()
    assert not again(stand).changed
    assert len(stand.calls) + 1 <= 20
    assert again(stand, other_model(stand), deliver=forbidden).changed
    assert len(stand.calls) + 1 <= 25
    assert not {call.split(".")[0] for call in stand.calls} & {"iam", "logs"}
    assert [call for call in stand.calls if call.startswith("ecr.")] == ["ecr.BatchGetImage"]


def test_other_settings_of_the_function_alone_make_no_more_calls_than_a_new_model(stand):
    stand.push()
    assert again(stand, replace(stand.stage, memory_mb=2048), deliver=forbidden).changed
    assert len(stand.calls) + 1 <= 25
    assert stand.live()["MemorySize"] == 2048


@pytest.mark.parametrize("missing", ["endpoint", "note", "double"])
def test_what_is_not_known_to_be_there_is_looked_at_also_with_a_new_model(stand, missing):
    stand.push()
    gateway, client = stand.clients["apigatewayv2"], stand.clients["lambda"]
    (api,) = gateway.get_apis()["Items"]
    if missing == "endpoint":
        gateway.delete_api(ApiId=api["ApiId"])
    elif missing == "double":
        gateway.create_api(Name=api["Name"], ProtocolType="HTTP", Tags=api["Tags"])
    else:
        client.update_alias(FunctionName=NAME, Name="live", Description="")
    again(stand, other_model(stand))
    assert "logs.DescribeLogGroups" in stand.calls
    assert len(gateway.get_apis()["Items"]) == 1
    assert stand.answers() == "model-3"
    assert "ground=" in alias(stand)["Description"]


@pytest.mark.parametrize(
    "changed",
    [
        {"log_retention_days": 7},
        {"api": Api(auth="iam")},
        {"tags": {"team": "ml"}},
        {"role_arn": MINE},
    ],
)
def test_what_lies_around_the_function_is_made_so_with_a_new_model_where_its_settings_differ(stand, changed):
    stand.push()
    stand.clients["iam"].create_role(RoleName="mine", AssumeRolePolicyDocument="{}")
    wanted = other_model(stand, **changed)
    again(stand, wanted)
    assert "logs.DescribeLogGroups" in stand.calls
    assert not again(stand, wanted).changed


# ------------------------------------------------------------------------------------------------------- releases


def test_releases_tell_what_each_is_made_of_and_who_gets_it(stand):
    stand.push()
    stand.push(replace(stand.stage, memory_mb=2048))
    stand.push(other_model(stand, memory_mb=2048), canary=10)
    newest, live, first = releases.releases(stand.stage, stand.place)
    assert [(each.version, each.state, each.share, each.was_live) for each in (newest, live, first)] == [
        ("3", "candidate", 10, False),
        ("2", "live", 90, False),
        ("1", "", 0, True),
    ]
    assert [each.model for each in (newest, live, first)] == ["model-3", "model-2", "model-2"]
    assert [each.configuration["memory_mb"] for each in (newest, live, first)] == [2048, 2048, 1024]
    assert (
        newest.image
        == live.image
        == stand.clients["ecr"].describe_images(repositoryName="thampi-scale")["imageDetails"][0]["imageDigest"]
    )
    assert newest.recipe == stand.plan(stand.stage).model.digest
    assert newest.when.endswith("Z")
    assert "@" in newest.who
    assert json.loads(json.dumps(newest.as_json()))["share"] == 10


def test_where_lambda_does_not_say_the_digest_the_tag_of_the_recipe_does(stand):
    stand.push()
    (listed,) = release.versions(stand.place.aws, NAME)
    images = releases.registry.images(stand.place.aws, "scale")
    for said in ("", "bm90IGhleA==", "0" * 64):
        assert releases.digest_of(replace(listed, code_sha256=said), images) == images[0].digest
    gone = replace(listed, code_sha256="0" * 64, description="somebody's own")
    assert releases.digest_of(gone, images) == "sha256:" + "0" * 64


def test_releases_only_read_and_show_no_value_of_the_environment(stand):
    stand.push(replace(stand.stage, environment={"TOKEN": "sesame"}))
    stand.calls.clear()
    assert "sesame" not in str(releases.releases(stand.stage, stand.place))
    assert stand.calls
    assert not [call for call in stand.calls if not call.split(".")[1].startswith(("Get", "List", "Describe"))]


def test_without_a_release_the_command_that_pushes_is_told(stand):
    with pytest.raises(CloudError, match="has no release in stage staging") as no:
        releases.releases(stand.stage, stand.place)
    assert no.value.hint == "thampi push staging"


def test_what_others_have_written_into_descriptions_is_no_mistake(stand):
    stand.push()
    client = stand.clients["lambda"]
    client.update_function_configuration(FunctionName=NAME, Description="mine", MemorySize=256)
    client.get_function(FunctionName=NAME)
    client.publish_version(FunctionName=NAME, Description="by hand")
    client.update_alias(FunctionName=NAME, Name="live", Description="hands off")
    newest, first = releases.releases(stand.stage, stand.place)
    assert (newest.recipe, newest.who, newest.model) == ("", "", "model-2")
    assert newest.when
    assert first.state == "live"


# --------------------------------------------------------------------------------------------------------- canary


def test_a_canary_is_tried_first_and_gets_its_share_in_one_call_while_live_stays_live(stand):
    stand.push()
    pushed = again(stand, other_model(stand), canary=10, deliver=forbidden)
    assert (pushed.candidate, pushed.version, stand.answers()) == ("2", "2", "model-2")
    assert weights(stand) == {"2": 0.1}
    assert of_callers(stand) == [
        "lambda.UpdateFunctionConfiguration",
        "lambda.PublishVersion",
        "lambda.Invoke",
        "lambda.UpdateAlias",
    ]
    (row,) = [row for row in pushed.rows if row.thing == "candidate"]
    assert "share of 2: none -> 10 %" in row.changes
    assert any("THAMPI_MODEL" in line for line in row.changes)


def test_a_candidate_that_does_not_answer_gets_no_call(stand):
    stand.push()
    broken(stand)
    with pytest.raises(ReleaseError, match="version 2 did not become live, version 1 still is"):
        stand.push(other_model(stand), canary=10)
    assert weights(stand) == {}


def test_the_first_push_has_nothing_to_share_the_calls_with(stand):
    pushed = stand.push(canary=10)
    assert (pushed.candidate, stand.answers(), weights(stand)) == ("", "model-2", {})
    assert any("nothing is live yet" in line for line in stand.said)


def test_the_same_canary_again_changes_nothing_and_another_share_only_the_share(stand):
    stand.push()
    stand.push(other_model(stand), canary=10)
    same = again(stand, other_model(stand), canary=10)
    assert (same.changed, same.candidate) == (False, "2")
    assert of_callers(stand) == []
    more = again(stand, other_model(stand), canary=25)
    assert (more.changed, weights(stand)) == (True, {"2": 0.25})
    assert of_callers(stand) == ["lambda.UpdateAlias"]


def test_another_canary_takes_the_place_of_the_first(stand, third):
    stand.push()
    stand.push(other_model(stand), canary=10)
    stand.push(replace(stand.stage, model_dir=third), canary=5)
    assert weights(stand) == {"3": 0.05}
    assert "a canary is under way: version 2 gets 10 % of the calls beside version 1" in stand.said


def test_a_push_ends_a_canary_and_says_so(stand, third):
    stand.push()
    stand.push(other_model(stand), canary=10)
    stand.said.clear()
    stand.push(replace(stand.stage, model_dir=third))
    assert (stand.answers(), weights(stand)) == ("model-5", {})
    assert stand.said[0] == "a canary is under way: version 2 gets 10 % of the calls beside version 1"
    assert "version 2 was a candidate, and gets no calls any more" in stand.said


def test_a_dry_run_of_a_canary_says_what_it_would_change(stand):
    from thampi.operations import examine

    stand.push()
    wanted = other_model(stand)
    stand.push(wanted, canary=10)
    for canary, changed in ((10, False), (20, True), (None, True)):
        would = examine.examine(wanted, stand.plan(wanted), stand.place, canary=canary)
        assert would.changed is changed


# --------------------------------------------------------------------------------------------------------- promote


def test_promoting_makes_the_candidate_live_in_one_call(stand):
    stand.push()
    stand.push(other_model(stand), canary=10)
    moved = promoted(stand)
    assert (moved.version, moved.before) == ("2", "1")
    assert (stand.answers(), weights(stand)) == ("model-3", {})
    assert of_callers(stand) == ["lambda.UpdateAlias"]
    assert states(stand) == {"2": ("live", 100), "1": ("", 0)}
    assert not lock_is_there(stand)


def test_promoting_to_a_share_leaves_live_live(stand):
    stand.push()
    stand.push(other_model(stand), canary=10)
    moved = promoted(stand, to=50)
    assert (moved.version, moved.changes) == ("1", ("share of 2: 10 % -> 50 %",))
    assert (stand.answers(), weights(stand)) == ("model-2", {"2": 0.5})
    assert promoted(stand, to=50).changes == ()
    assert promoted(stand, to=100).version == "2"


def test_without_a_candidate_or_with_another_one_nothing_is_promoted(stand):
    with pytest.raises(CloudError, match="nothing of scale is live"):
        promoted_without_bucket(stand)
    stand.push()
    with pytest.raises(ReleaseError, match="there is no candidate to promote: version 1 is live") as no:
        promoted(stand)
    assert no.value.hint == "thampi push staging --canary 10"
    stand.push(other_model(stand), canary=10)
    with pytest.raises(ReleaseError, match="no candidate 7 to promote"):
        promoted(stand, version="7")
    assert weights(stand) == {"2": 0.1}


def promoted_without_bucket(stand):
    stand.push()
    stand.clients["lambda"].delete_alias(FunctionName=NAME, Name="live")
    try:
        promoted(stand)
    finally:
        stand.push()


# -------------------------------------------------------------------------------------------------------- rollback


def test_rolling_back_tries_what_was_live_before_and_moves_in_one_call(stand):
    stand.push()
    stand.push(other_model(stand))
    asked = []
    stand.wire = lambda call, request: asked.append((request.url, request.body)) if call == "lambda.Invoke" else None
    moved = back(stand)
    assert (moved.version, moved.before, moved.changes) == ("1", "2", ("live: 2 -> 1",))
    assert of_callers(stand) == ["lambda.Invoke", "lambda.UpdateAlias"]
    assert "Qualifier=1" in asked[0][0]
    assert json.loads(asked[0][1]) == {"thampi": "trial"}
    assert (stand.answers(), weights(stand)) == ("model-2", {})
    assert not lock_is_there(stand)


def test_rolling_back_twice_goes_back_by_two_and_then_there_is_nothing_older(stand, third):
    stand.push()
    stand.push(other_model(stand))
    stand.push(replace(stand.stage, model_dir=third))
    assert back(stand).version == "2"
    assert back(stand).version == "1"
    with pytest.raises(ReleaseError, match="nothing older was live in stage staging: version 1 still is") as no:
        back(stand)
    assert "--to" in no.value.hint
    assert back(stand, to="3").version == "3"
    assert stand.answers() == "model-5"


def test_what_was_refused_is_never_gone_back_to(stand, third):
    stand.push()
    broken(stand)
    with pytest.raises(ReleaseError):
        stand.push(other_model(stand))
    stand.undisturbed()
    assert stand.push(replace(stand.stage, model_dir=third)).version == "3"
    assert back(stand).version == "1"


@pytest.mark.parametrize("what", ["model", "manifest", "image", "version", "word"])
def test_what_is_gone_is_found_before_anything_is_asked_or_moves(stand, what):
    stand.push()
    stand.push(other_model(stand))
    if what in ("model", "manifest"):
        prefix = "thampi/scale/models/model-2/"
        for each in stand.clients["s3"].list_objects_v2(Bucket=BUCKET, Prefix=prefix)["Contents"]:
            if what == "model" or each["Key"].endswith("thampi.json"):
                stand.clients["s3"].delete_object(Bucket=BUCKET, Key=each["Key"])
    if what == "image":
        digest = stand.plan(stand.stage).model.digest
        stand.clients["ecr"].batch_delete_image(repositoryName="thampi-scale", imageIds=[{"imageTag": digest}])
    to = {"version": "9", "word": "$LATEST"}.get(what)
    said = {"version": "has no version 9", "word": r"has no version \$LATEST", "image": "its image sha256:.* is gone"}
    with pytest.raises(ReleaseError, match=said.get(what, "its model is gone from s3://")) as no:
        back(stand, to=to)
    assert no.value.exit_code == 7
    assert "thampi releases staging" in no.value.hint
    assert set(stand.calls) & {"lambda.Invoke", "lambda.UpdateAlias"} == set()
    assert stand.answers() == "model-3"
    assert not lock_is_there(stand)


def test_a_model_that_is_another_by_now_is_as_good_as_gone(stand):
    stand.push()
    stand.push(other_model(stand))
    key = {"Bucket": BUCKET, "Key": "thampi/scale/models/model-2/thampi.json"}
    body = stand.clients["s3"].get_object(**key)["Body"].read()
    stand.clients["s3"].put_object(**key, Body=body + b"\n")
    with pytest.raises(ReleaseError, match="its model is gone"):
        back(stand)


def test_an_old_release_that_does_not_answer_does_not_become_live(stand):
    stand.push()
    stand.push(other_model(stand))
    broken(stand, message="no such flower")
    with pytest.raises(ReleaseError, match="version 1 did not become live, version 2 still is: no such flower"):
        back(stand)
    assert stand.answers() == "model-3"


def test_rolling_back_a_canary_ends_it_and_tries_nothing(stand):
    stand.push()
    stand.push(other_model(stand), canary=10)
    moved = back(stand)
    assert (moved.version, moved.changes) == ("1", ("share of 2: 10 % -> none",))
    assert of_callers(stand) == ["lambda.UpdateAlias"]
    assert (stand.answers(), weights(stand)) == ("model-2", {})
    assert "a canary is under way: version 2 gets 10 % of the calls beside version 1" in stand.said


def test_rolling_back_to_a_version_during_a_canary_leaves_no_share_behind(stand, third):
    stand.push()
    stand.push(other_model(stand))
    stand.push(replace(stand.stage, model_dir=third), canary=10)
    assert back(stand, to="1").version == "1"
    assert (stand.answers(), weights(stand)) == ("model-2", {})


def test_rolling_back_to_what_is_live_changes_nothing(stand):
    stand.push()
    assert back(stand, to="1").changes == ()
    assert of_callers(stand) == []


def test_after_a_rollback_the_same_push_makes_it_live_again_and_publishes_nothing_new(stand):
    stand.push()
    stand.push(other_model(stand))
    back(stand)
    assert stand.push(other_model(stand)).version == "2"
    assert stand.answers() == "model-3"
    assert set(states(stand)) == {"1", "2"}
    assert back(stand).version == "1"


def test_the_notes_of_what_was_live_never_outgrow_the_alias(stand):
    live = release.Live("300", None, "", "r", "", "Active", "", {}, tuple(str(n) for n in range(299, 0, -1)), "g" * 12)
    note = release._note("301", live, None)
    assert len(note) <= 256
    assert note.startswith(f"ground={'g' * 12} before=300,299,298,")
    assert release._noted({"Description": note}, "before")[:3] == ("300", "299", "298")


@pytest.mark.parametrize("command", [back, promoted])
def test_while_another_run_works_on_the_stage_nothing_moves(stand, command):
    stand.push()
    stand.push(other_model(stand), canary=10)
    with lock.hold(stand.place.aws, BUCKET, "scale", "staging", who="ann@laptop"):
        with pytest.raises(CloudError, match="another run is changing scale staging: ann@laptop"):
            command(stand)
        assert weights(stand) == {"2": 0.1}
        command(stand, force=True)
    assert weights(stand) == {}


@pytest.mark.parametrize("command", [back, promoted])
def test_what_somebody_moves_by_hand_meanwhile_is_not_moved_again(stand, command):
    stand.push()
    stand.push(other_model(stand), canary=10)
    client = stand.clients["lambda"]

    def meddle(call):
        if call == "lambda.UpdateAlias":
            client.update_alias(
                FunctionName=NAME,
                Name="live",
                FunctionVersion="2",
                RoutingConfig={"AdditionalVersionWeights": {"1": 0.5}},
            )

    stand.before = meddle
    with pytest.raises(ReleaseError, match="meanwhile 2 was made live"):
        command(stand)
    assert (alias(stand)["FunctionVersion"], weights(stand)) == ("2", {"1": 0.5})


# --------------------------------------------------------------------------------- at each moment, and after each death


def deaths(accounts, prepare, act):
    """Yield an account in which `act` died, for each call and before or after it; and what callers got at both ends."""
    with accounts.account() as stand:
        prepare(stand)
        start = (stand.answers(), weights(stand))
        stand.calls.clear()
        act(stand)
        calls, end = list(stand.calls), (stand.answers(), weights(stand))
    for moment in ("before", "after"):
        for number in range(len(calls)):
            with accounts.account() as stand:
                prepare(stand)
                left = [number]

                def die(call, left=left):
                    left[0] -= 1
                    if left[0] < 0:
                        raise Death(call)

                setattr(stand, moment, die)
                with pytest.raises(Death):
                    act(stand)
                stand.undisturbed()
                yield stand, start, end


ACTS = {
    "promote": (True, lambda stand: promoted(stand, force=True)),
    "promote to 50": (True, lambda stand: promoted(stand, to=50, force=True)),
    "end a canary": (True, lambda stand: back(stand, to="1", force=True)),
    "roll back": (False, lambda stand: back(stand, to="1", force=True)),
    "canary": (False, lambda stand: stand.push(other_model(stand, memory_mb=512), canary=10, force=True)),
}


@pytest.mark.parametrize("name", ACTS)
def test_wherever_a_run_dies_callers_get_all_of_the_old_or_all_of_the_new_and_the_next_run_ends_it(accounts, name):
    with_canary, act = ACTS[name]

    def prepare(stand):
        stand.push()
        stand.push(other_model(stand), canary=10 if with_canary else None)

    seen = Counter()
    for stand, start, end in deaths(accounts, prepare, act):
        now = (stand.answers(), weights(stand))
        assert now in (start, end)
        seen[str(now)] += 1
        if name == "promote" and now == end:
            continue  # there is no candidate any more
        act(stand)
        assert (stand.answers(), weights(stand)) == end
    assert len(seen) == 2


def test_during_all_of_it_callers_get_only_what_was_tried_and_is_live_or_candidate(stand, third):
    """Lambda shares the calls by the weights; what plays it here doesn't, so a router of ours does it in the test."""
    roll, tried, got = random.Random(6), set(), Counter()

    def router(call):
        found = stand.live() and alias(stand)
        if not found:
            return
        shares = found.get("RoutingConfig", {}).get("AdditionalVersionWeights", {})
        for _ in range(20):
            number = found["FunctionVersion"]
            for each, share in shares.items():
                number = each if roll.random() < share else number
            assert number in tried, f"{number} was never tried"
            got[number] += 1

    def wire(call, request):
        if call == "lambda.Invoke":
            tried.add(request.url.rpartition("=")[2])

    stand.wire, stand.before, stand.after = wire, router, router
    stand.push()
    stand.push(other_model(stand), canary=30)
    assert 0 < got["2"] < got["1"]
    promoted(stand)
    stand.push(replace(stand.stage, model_dir=third))
    back(stand)
    assert set(got) == {"1", "2", "3"}
    assert sum(got.values()) > 1000
