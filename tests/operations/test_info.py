"""What is live is told by what callers get, never by $LATEST."""

from dataclasses import replace

import pytest

from tests.operations.stand import BUCKET
from thampi.config import Masked
from thampi.errors import CloudError
from thampi.operations import info


def test_info_tells_the_url_first_and_what_is_live(stand):
    pushed = stand.push()
    found = info.info(stand.stage, stand.place)
    assert next(iter(found)) == "url"
    assert (found["url"], found["version"], found["auth"]) == (pushed.url, "1", "none")
    assert found["model"] == f"s3://{BUCKET}/thampi/scale/models/model-2"
    assert (found["memory_mb"], found["timeout_s"], found["state"]) == (1024, 29, "Active")
    assert "@sha256:" in found["image"]
    assert found["since_utc"].endswith("Z")
    assert "model=model-2" in found["description"]
    assert (found["account"], found["region"]) == ("123456789012", "eu-central-1")
    assert len(found["model_sha256"]) == 64
    assert found["model_bytes"] > 0


def test_what_was_changed_and_not_released_is_not_told(stand):
    stand.push()
    stand.clients["lambda"].update_function_configuration(FunctionName="thampi-scale-staging", MemorySize=4096)
    assert info.info(stand.stage, stand.place)["memory_mb"] == 1024


def test_a_model_that_is_gone_from_the_bucket_has_no_size(stand):
    stand.push()
    for each in stand.clients["s3"].list_objects_v2(Bucket=BUCKET)["Contents"]:
        stand.clients["s3"].delete_object(Bucket=BUCKET, Key=each["Key"])
    assert info.info(stand.stage, stand.place)["model_bytes"] is None


def test_info_only_reads_and_shows_no_value_of_the_environment(stand):
    stage = replace(stand.stage, environment=Masked({"TOKEN": "sesame"}))
    stand.push(stage)
    stand.calls.clear()
    assert "sesame" not in str(info.info(stage, stand.place))
    assert stand.calls
    assert not [call for call in stand.calls if not call.split(".")[1].startswith(("Get", "List", "Head"))]


@pytest.mark.parametrize("half", [False, True], ids=["nothing there", "no endpoint"])
def test_without_a_finished_push_the_command_that_pushes_is_told(stand, half):
    if half:
        stand.push()
        (api,) = stand.clients["apigatewayv2"].get_apis()["Items"]
        stand.clients["apigatewayv2"].delete_api(ApiId=api["ApiId"])
    with pytest.raises(CloudError, match=r"nothing of scale is live in stage staging \(account 123456789012") as no:
        info.info(stand.stage, stand.place)
    assert no.value.hint == "thampi push staging"
