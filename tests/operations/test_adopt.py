"""What is live on one stage is released on another as it is: the same image, the same model, also in another region."""

import hashlib
import http.server
import json
import threading
from dataclasses import replace

import boto3
import pytest
from botocore.awsrequest import AWSResponse

from tests.operations.stand import BUCKET, Death
from tests.operations.test_push import broken, forbidden, other_model
from thampi.aws import copying, registry, session
from thampi.errors import CloudError, ConfigError, ReleaseError
from thampi.operations import adopt, push
from thampi.operations.place import Place

KIND = "application/vnd.docker.distribution.manifest.v2+json"


def production(stand, **more):
    return replace(stand.stage, stage="production", model_dir=stand.stage.project_dir / "nowhere", **more)


def adopted(stand, place=None, stage=None, **more):
    stage, place = stage or production(stand), place or stand.place
    stand.calls.clear()
    with adopt.live_of(stand.stage, stand.place, stage, place, say=stand.said.append) as found:
        return push.push(
            found.stage,
            found,
            place,
            say=stand.said.append,
            **{"deliver": found.deliver, "bring_model": found.bring_model, **more},
        )


def live(stand, stage="production", client=None):
    client = client or stand.clients["lambda"]
    version = client.get_alias(FunctionName=f"thampi-scale-{stage}", Name="live")["FunctionVersion"]
    return client.get_function(FunctionName=f"thampi-scale-{stage}", Qualifier=version)


def model(found):
    variables = found["Configuration"]["Environment"]["Variables"]
    return variables["THAMPI_MODEL"].rpartition("/")[2], variables["THAMPI_MANIFEST_SHA256"]


def digest(found):
    return found["Code"]["ImageUri"].rpartition("@")[2]


def test_exactly_what_is_live_is_released_without_the_saved_model_or_an_engine(stand):
    stand.push(other_model(stand))
    pushed = adopted(stand, deliver=forbidden)
    assert pushed.url.endswith("/production/scale/predict")
    assert model(live(stand)) == model(live(stand, "staging"))
    assert digest(live(stand)) == digest(live(stand, "staging"))
    assert live(stand)["Configuration"]["Environment"]["Variables"]["THAMPI_STAGE"] == "production"
    assert any("releasing version 1 of staging: model model-3, image sha256:" in line for line in stand.said)
    assert not adopted(stand).changed


def test_the_stages_own_settings_are_kept_and_the_architecture_is_the_images(stand):
    stand.push(replace(stand.stage, build=replace(stand.stage.build, platform="linux/arm64")))
    adopted(stand, stage=production(stand, memory_mb=4096))
    found = live(stand)["Configuration"]
    assert (found["MemorySize"], found["Architectures"]) == (4096, ["arm64"])


def test_no_file_of_the_model_is_fetched_where_the_bucket_has_it(stand):
    stand.push()
    adopted(stand)
    fetched = []
    stand.push(other_model(stand))
    stand.wire = lambda call, request: fetched.append(request.url) if call == "s3.GetObject" else None
    adopted(stand)
    assert fetched
    assert all(url.endswith("thampi.json") for url in fetched)


def test_what_is_live_is_taken_and_not_a_candidate(stand):
    stand.push()
    stand.push(other_model(stand), canary=10)
    adopted(stand)
    assert model(live(stand))[0] == "model-2"
    assert any("a canary is under way, and what is live is taken: version 2 gets 10 %" in line for line in stand.said)


def test_an_adopted_release_may_be_a_canary_and_is_tried_first(stand):
    stand.push()
    adopted(stand)
    stand.push(other_model(stand))
    assert adopted(stand, canary=5).candidate == "2"
    broken(stand)
    with pytest.raises(ReleaseError, match="version 3 did not become live"):
        adopted(stand, stage=production(stand, memory_mb=512))


def test_a_stage_can_not_be_released_from_itself_or_from_nothing(stand):
    with pytest.raises(CloudError, match="nothing of scale is live in stage staging"):
        adopted(stand)
    with pytest.raises(ConfigError, match="--from staging is the stage itself"):
        adopted(stand, stage=stand.stage)


@pytest.mark.parametrize(
    ("what", "said"), [("model", "the model that was released is gone"), ("image", "is gone from ECR")]
)
def test_what_is_gone_can_not_be_released(stand, what, said):
    stand.push()
    if what == "model":
        key = "thampi/scale/models/model-2/thampi.json"
        stand.clients["s3"].delete_object(Bucket=BUCKET, Key=key)
    else:
        tag = stand.plan(stand.stage).model.digest
        stand.clients["ecr"].batch_delete_image(repositoryName="thampi-scale", imageIds=[{"imageTag": tag}])
    with pytest.raises(CloudError, match=said):
        adopted(stand)


# --------------------------------------------------------------------------------------------------- another region


@pytest.fixture
def layers():
    """What a server gives out: the content by its digest."""
    contents = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            content = contents.get(self.path.strip("/"))
            self.send_response(404 if content is None else 200)
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield contents, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def sha(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


@pytest.fixture
def abroad(stand, layers, monkeypatch):
    """Another region and bucket; the image of the plan is made of layers that the first region gives out."""
    contents, url = layers
    # One that is larger than a part, and one that is not.
    blobs = [b"{}", b"l" * (copying._CHUNK + 12345), b"m" * 5]
    contents |= {sha(each): each for each in blobs}
    gzip = "application/vnd.docker.image.rootfs.diff.tar.gzip"
    manifest = {
        "schemaVersion": 2,
        "mediaType": KIND,
        "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "size": 2, "digest": sha(blobs[0])},
        "layers": [{"mediaType": gzip, "size": len(each), "digest": sha(each)} for each in blobs[1:]],
    }
    text = json.dumps(manifest)

    def deliver(uri, login, go_on):
        stand.clients["ecr"].put_image(
            repositoryName="thampi-scale",
            imageManifest=text,
            imageManifestMediaType=KIND,
            imageDigest=sha(text.encode()),
            imageTag=stand.plan(stand.stage).model.digest,
        )
        return sha(text.encode())

    def give(call):
        if call == "ecr.GetDownloadUrlForLayer":
            return AWSResponse("", 200, {}, None), {"downloadUrl": f"{url}/{wanted.pop()}", "layerDigest": ""}
        return None

    wanted = []
    told = copying._copy_blob
    monkeypatch.setattr(copying, "_copy_blob", lambda *words: (wanted.append(words[3]), told(*words)))
    stand.push(deliver=deliver)
    stand.before = give
    monkeypatch.setattr("thampi.aws.copying.urllib.request.urlopen", _past_proxies())
    aws = session.connect(region="us-east-1", credentials=("testing", "testing"), sleep=lambda seconds: None)
    return Place(aws, "other-models", None), sha(text.encode())


def _past_proxies():
    import urllib.request

    return urllib.request.build_opener(urllib.request.ProxyHandler({})).open


def test_to_another_region_image_and_model_are_copied_and_are_the_same(stand, abroad):
    place, wanted = abroad
    pushed = adopted(stand, place, production(stand, region="us-east-1", bucket="other-models"))
    assert "execute-api.us-east-1" in pushed.url
    there = boto3.client("lambda", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    found = live(stand, client=there)
    assert digest(found) == wanted
    assert model(found) == model(live(stand, "staging"))
    keys = [each["Key"] for each in place.aws.client("s3").list_objects_v2(Bucket="other-models")["Contents"]]
    names = {each.name for each in stand.models[0].iterdir()}
    assert {f"thampi/scale/models/model-2/{name}" for name in names} <= set(keys)
    for name in names:
        body = place.aws.client("s3").get_object(Bucket="other-models", Key=f"thampi/scale/models/model-2/{name}")
        assert body["Body"].read() == (stand.models[0] / name).read_bytes()
    assert not adopted(stand, place, production(stand, region="us-east-1", bucket="other-models")).changed


def test_an_image_of_the_same_recipe_that_was_built_there_is_not_taken_for_it(stand, abroad):
    place, wanted = abroad
    tag = stand.plan(stand.stage).model.digest
    registry.ensure(place.aws, registry.make(place.aws, "scale"))
    theirs = json.dumps(
        {"schemaVersion": 2, "mediaType": KIND, "config": {"size": 1, "digest": sha(b"")}, "layers": []}
    )
    place.aws.client("ecr").put_image(
        repositoryName="thampi-scale", imageManifest=theirs, imageDigest=sha(theirs.encode()), imageTag=tag
    )
    adopted(stand, place, production(stand, region="us-east-1", bucket="other-models"))
    there = boto3.client("lambda", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    assert digest(live(stand, client=there)) == wanted


def test_a_layer_that_arrives_damaged_makes_no_image(stand, abroad, layers):
    place, _ = abroad
    contents, _ = layers
    for key in contents:
        contents[key] += b"!"
    with pytest.raises(CloudError, match="a layer of the image arrived damaged: sha256:"):
        adopted(stand, place, production(stand, region="us-east-1", bucket="other-models"))
    assert registry.images(place.aws, "scale") == ()


def test_a_layer_that_can_not_be_read_is_said(stand, abroad, layers):
    place, _ = abroad
    layers[0].clear()
    with pytest.raises(CloudError, match="can't be read from ECR: HTTP Error 404"):
        adopted(stand, place, production(stand, region="us-east-1", bucket="other-models"))


def test_a_copy_that_died_is_ended_by_the_next_and_sends_no_layer_twice(stand, abroad):
    place, wanted = abroad
    stage = production(stand, region="us-east-1", bucket="other-models")
    parts = []

    def die(model, params, **_):
        if model.name == "UploadLayerPart":
            parts.append(len(params["body"]))
            if len(parts) == 2:
                raise Death

    place.aws.session.events.register("before-call.ecr", die)
    place = replace(place, aws=replace(place.aws, _clients={}))
    with pytest.raises(Death):
        adopted(stand, place, stage)
    before = len(parts)
    adopted(stand, place, stage, force=True)
    assert before == 2
    assert len(parts) == 2 + 3  # of four parts, the first layer's had been completed
    assert [each.digest for each in registry.images(place.aws, "scale")] == [wanted]
