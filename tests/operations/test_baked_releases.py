"""A stage whose models are baked into their images: pushed, looked at, rolled back, adopted, and back to S3."""

import json
import time
from dataclasses import replace

import pytest

import thampi
from tests.operations.stand import BUCKET, Scale, refusal
from tests.operations.test_adopt import adopted, digest, live
from tests.operations.test_push import NAME, forbidden
from tests.operations.test_releases import back
from thampi.aws import release
from thampi.errors import BundleError, CloudError, ReleaseError
from thampi.operations import clean, destroy, examine, garbage, info, releases

ROLE = "thampi-scale-staging-eu-central-1"


def baked(stand, number=0, **more):
    """The stage with one of the two models in its image."""
    stage = replace(stand.stage, model_dir=stand.models[number], **more)
    return replace(stage, build=replace(stage.build, model="image"))


def variables(stand):
    return stand.live()["Environment"]["Variables"]


def rows(pushed):
    return {row.thing: (row.name, row.action) for row in pushed.rows}


def may_read_models(stand):
    policy = stand.clients["iam"].get_role_policy(RoleName=ROLE, PolicyName="thampi")["PolicyDocument"]
    return "Models" in [each["Sid"] for each in policy["Statement"]]


def in_s3(stand):
    return stand.clients["s3"].list_objects_v2(Bucket=BUCKET, Prefix="thampi/scale/models/").get("Contents", [])


def test_a_new_model_is_a_new_image_and_the_manifest_vouches_for_it(stand):
    stage = baked(stand)
    pushed = stand.push(stage)
    told = variables(stand)
    assert told["THAMPI_MANIFEST_SHA256"] == stand.plan(stage).manifest_sha256
    assert not {"THAMPI_MODEL", "THAMPI_FILES"} & set(told)
    assert rows(pushed)["model"] == ("model-2, in the image", "created")
    assert in_s3(stand) == []
    again = stand.push(stage, deliver=forbidden)
    assert not again.changed
    assert rows(again)["model"] == ("model-2, in the image", "left")
    other = stand.push(baked(stand, 1))
    assert rows(other)["image"] == (stand.plan(baked(stand, 1)).model.digest, "created")
    assert rows(other)["model"] == ("model-3, in the image", "created")
    assert variables(stand)["THAMPI_MANIFEST_SHA256"] != told["THAMPI_MANIFEST_SHA256"]


def test_a_dry_run_says_what_a_push_would_do_and_only_reads(stand):
    stage = baked(stand)
    stand.push(stage)
    stand.calls.clear()
    said = rows(examine.examine(baked(stand, 1), stand.plan(baked(stand, 1)), stand.place))
    assert (said["model"], said["image"][1]) == (("model-3, in the image", "created"), "created")
    assert said["release"][1] == "changed"
    assert not [call for call in stand.calls if call.split(".")[1].startswith(("Put", "Create", "Update", "Publish"))]
    assert not [call for call in stand.calls if call in ("s3.ListObjectsV2", "s3.GetObject")]  # no model is looked for


def test_what_is_baked_in_is_named_by_its_release(stand):
    stand.push(baked(stand))
    stand.calls.clear()
    shown = info.info(stand.stage, stand.place)
    assert not [call for call in stand.calls if call.startswith("s3.")]
    assert (shown["model"], shown["instance_id"], shown["model_bytes"]) == ("in the image", "model-2", None)
    assert shown["model_sha256"] == stand.plan(baked(stand)).manifest_sha256
    [only] = releases.releases(stand.stage, stand.place)
    assert only.model == "model-2"


def test_a_function_that_reads_no_model_from_s3_may_not(stand):
    stand.push(baked(stand))
    assert not may_read_models(stand)
    assert not stand.push(baked(stand), deliver=forbidden).changed


def test_from_s3_into_the_image_and_back_the_role_may_read_whenever_a_release_needs_it(stand):
    stand.push()
    stand.push(baked(stand, 1))
    assert may_read_models(stand)  # or version 1 could not be live again
    back(stand)
    assert variables(stand)["THAMPI_MODEL"].endswith("/model-2")
    release.remove_version(stand.place.aws, NAME, "2")
    stand.push(baked(stand))
    assert may_read_models(stand)
    release.remove_version(stand.place.aws, NAME, "1")
    assert ("role", ROLE, "changed") in [(r.thing, r.name, r.action) for r in stand.push(baked(stand)).rows]
    assert not may_read_models(stand)

    order = []
    stand.after = lambda call: order.append(call) if call in ("iam.PutRolePolicy", "lambda.UpdateAlias") else None
    stand.push()
    assert order[0] == "iam.PutRolePolicy"  # before anything of the new release is tried
    assert may_read_models(stand)
    assert variables(stand)["THAMPI_FILES"]


def test_a_role_of_the_users_own_is_left_alone(stand):
    mine = stand.clients["iam"].create_role(RoleName="mine", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    assert "role" not in rows(stand.push(baked(stand, role_arn=mine)))


def test_while_iam_settles_the_trial_of_what_may_read_s3_from_now_on_is_repeated(stand):
    stand.push(baked(stand))
    said = json.dumps({"errorType": "ModelFailed", "errorMessage": "no\nhint: the role needs s3:GetObject there"})
    tried = []

    def refuse_twice(call):
        if call == "lambda.Invoke":
            tried.append(call)
            if len(tried) <= 2:
                return trial_says(said)
        return None

    stand.before = refuse_twice
    stand.push()
    assert len(tried) == 3
    assert "THAMPI_MODEL" in variables(stand)

    tried.clear()
    with pytest.raises(ReleaseError, match="the role needs s3:GetObject"):
        stand.push(replace(stand.stage, model_dir=stand.models[1], log_retention_days=1))  # the role is left as it was
    assert len(tried) == 1


def trial_says(body):
    import io

    from botocore.awsrequest import AWSResponse

    answer = {"StatusCode": 200, "Payload": io.BytesIO(body.encode()), "LogResult": "", "FunctionError": "Unhandled"}
    return AWSResponse("", 200, {}, None), answer


def test_a_rollback_looks_for_no_model_in_s3(stand):
    stand.push(baked(stand))
    stand.push(baked(stand, 1))
    assert back(stand).version == "1"
    assert "s3.ListObjectsV2" not in stand.calls
    assert variables(stand)["THAMPI_MANIFEST_SHA256"] == stand.plan(baked(stand)).manifest_sha256


def test_a_release_whose_image_is_gone_took_its_model_along(stand):
    stand.push(baked(stand))
    stand.push(baked(stand, 1))
    tag = stand.plan(baked(stand)).model.digest
    stand.clients["ecr"].batch_delete_image(repositoryName="thampi-scale", imageIds=[{"imageTag": tag}])
    with pytest.raises(ReleaseError, match=r"its image sha256:.* is gone"):
        back(stand)


def test_another_model_under_the_id_of_what_is_live_is_refused(stand, tmp_path):
    stand.push(baked(stand))
    folder = thampi.save(Scale(7), "scale", tmp_path, instance_id="model-2", verify=False)
    stage = replace(baked(stand), model_dir=folder)
    with pytest.raises(BundleError, match="model-2 was pushed before, and is not the one in"):
        stand.push(stage, deliver=forbidden)


def test_what_changed_since_it_was_planned_is_not_what_is_vouched_for(stand, tmp_path):
    """The image has what was planned, whatever lies in the folder by then."""
    folder = thampi.save(Scale(7), "scale", tmp_path, instance_id="model-7", verify=False)
    stage = replace(baked(stand), model_dir=folder)
    planned = stand.plan(stage)
    thampi.save(Scale(8), "scale", tmp_path, instance_id="model-8", verify=False)
    stand.push(stage)
    assert variables(stand)["THAMPI_MANIFEST_SHA256"] == planned.manifest_sha256
    assert releases.releases(stage, stand.place)[0].model == "model-7"


def test_a_baked_model_is_adopted_with_its_image_and_nothing_else_is_copied(stand):
    stand.push(baked(stand))
    stand.calls.clear()
    pushed = adopted(stand, deliver=forbidden)
    assert not [call for call in stand.calls if call in ("s3.GetObject", "s3.ListObjectsV2")]
    there, here = live(stand), live(stand, "staging")
    assert digest(there) == digest(here)
    told = there["Configuration"]["Environment"]["Variables"]
    assert told["THAMPI_MANIFEST_SHA256"] == stand.plan(baked(stand)).manifest_sha256
    assert "THAMPI_MODEL" not in told
    assert rows(pushed)["model"] == ("model-2, in the image", "left")
    production = replace(stand.stage, stage="production")
    assert releases.releases(production, stand.place)[0].model == "model-2"
    assert not adopted(stand, deliver=forbidden).changed


def test_old_releases_go_with_their_images_and_no_model_in_s3_is_missed(stand):
    for number in (0, 1, 0, 1):
        stand.push(baked(stand, number, memory_mb=1024 + number, keep_releases=1))
        time.sleep(1.1)  # the registry tells by the second which image is the newest, which stays in any case
    stage = baked(stand, 1, keep_releases=1)
    assert len(releases.releases(stage, stand.place)) == 1
    assert stand.live() is not None
    images = stand.clients["ecr"].describe_images(repositoryName="thampi-scale")["imageDetails"]
    assert [each["imageTags"] for each in images] == [[stand.plan(stage).model.digest]]
    assert clean.clean_stage(stage, stand.place, say=stand.said.append) == garbage.Garbage()


def test_destroying_it_leaves_nothing(stand):
    stand.push(baked(stand))
    gone = destroy.destroy(baked(stand), stand.place, who="me", everything=True)
    assert {each.thing for each in gone if not each.was_there} == {"models"}
    assert stand.live() is None


def test_a_push_that_was_refused_says_so_and_what_is_live_stays(stand):
    stand.push(baked(stand))
    stand.before = lambda call: refusal("AccessDenied") if call == "lambda.PublishVersion" else None
    with pytest.raises(CloudError, match="publishing"):
        stand.push(baked(stand, 1))
    stand.undisturbed()
    assert variables(stand)["THAMPI_MANIFEST_SHA256"] == stand.plan(baked(stand)).manifest_sha256
    stand.push(baked(stand, 1), deliver=forbidden)
    assert variables(stand)["THAMPI_MANIFEST_SHA256"] == stand.plan(baked(stand, 1)).manifest_sha256
