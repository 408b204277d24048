"""aws/store.py: a bucket is ours or the user's, and a model is there whole or not at all."""

import hashlib
import threading
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws

from tests.aws import strict
from tests.aws.conftest import Death
from thampi.aws import buckets, session, store
from thampi.errors import BundleError, CloudError
from thampi.runtime import bundle
from thampi.runtime.bundle import About, File, Part

BUCKET = "thampi-store"


def reads_only(calls):
    return all(call.startswith(("Get", "Head", "List")) for call in calls)


def parts_of(role, content, size=bundle.PART_SIZE):
    pieces = [content[start : start + size] for start in range(0, len(content), size)]
    return [
        Part(role, number * size, len(piece), len(piece), "none", hashlib.sha256(piece).hexdigest())
        for number, piece in enumerate(pieces)
    ]


def make_bundle(folder, instance_id="9dbc36ca", buffers=b"", pickle=b"a pickle", **more):
    """Write a saved model without saving one, and return what is known of it."""
    contents = {"pickle": ("model-1a2b3c4d.pkl", pickle)}
    if buffers:
        contents["buffers"] = ("model-5e6f7a8b.buffers", buffers)
    folder.mkdir(exist_ok=True, parents=True)
    for name, content in contents.values():
        (folder / name).write_bytes(content)
    about = About(
        instance_id=instance_id,
        trained_time_utc="2026-09-06T22:03:04.886644Z",
        format=1,
        files={role: File(name, len(content)) for role, (name, content) in contents.items()},
        parts=[part for role, (_, content) in contents.items() for part in parts_of(role, content)],
        buffers=[(0, len(buffers))] if buffers else [],
        **more,
    )
    (folder / bundle.MANIFEST).write_bytes(bundle.dump(about))
    return bundle.read(folder)


@pytest.fixture
def saved(tmp_path):
    return make_bundle(tmp_path, buffers=b"numbers" * 1000)


@pytest.fixture
def bucket(aws):
    buckets.ensure(aws, BUCKET, {})
    return BUCKET


def contents(aws, bucket=BUCKET):
    s3 = aws.client("s3")
    found = s3.list_objects_v2(Bucket=bucket).get("Contents", [])
    return {entry["Key"]: s3.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read() for entry in found}


def uploads(aws, bucket=BUCKET):
    return aws.client("s3").list_multipart_uploads(Bucket=bucket).get("Uploads", [])


def state_of(aws, bucket):
    s3 = aws.client("s3")
    return (
        s3.get_bucket_tagging(Bucket=bucket)["TagSet"],
        s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"],
        s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"],
    )


# The bucket


def test_a_bucket_that_is_not_there_is_made_private_encrypted_and_marked(aws):
    made = buckets.ensure(aws, BUCKET, {"team": "ml"})
    assert made.action == "created"
    assert made.value == buckets.Bucket(BUCKET, "eu-central-1", ours=True)
    tags, private, encrypted = state_of(aws, BUCKET)
    assert sorted((tag["Key"], tag["Value"]) for tag in tags) == [("team", "ml"), ("thampi:bucket", "made")]
    assert set(private.values()) == {True}
    assert len(private) == 4
    assert encrypted["Rules"][0]["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"


def test_a_bucket_of_ours_is_left_with_reads_only(aws, calls):
    buckets.ensure(aws, BUCKET, {})
    del calls[:]
    again = buckets.ensure(aws, BUCKET, {"team": "other"})
    assert (again.action, again.changes) == ("left", ())
    assert reads_only(calls)


def test_a_bucket_of_the_users_own_is_used_as_it_is(aws, calls):
    s3 = aws.client("s3")
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    s3.put_bucket_tagging(Bucket=BUCKET, Tagging={"TagSet": [{"Key": "owner", "Value": "me"}]})
    del calls[:]
    found = buckets.ensure(aws, BUCKET, {"team": "ml"})
    assert found.action == "left"
    assert not found.value.ours
    assert calls == ["HeadBucket", "GetBucketTagging"]


def test_a_bucket_whose_tags_may_not_be_read_is_the_users_own(aws, meddler):
    buckets.ensure(aws, BUCKET, {})
    meddler.refuse("GetBucketTagging", "AccessDenied", 403)
    assert buckets.ensure(aws, BUCKET, {}).value.ours is False


def test_a_bucket_of_ours_that_was_opened_is_closed_again(aws):
    buckets.ensure(aws, BUCKET, {})
    aws.client("s3").delete_public_access_block(Bucket=BUCKET)
    found = buckets.read(aws, BUCKET)
    assert buckets.changes(found) == ("private: no -> yes",)
    changed = buckets.ensure(aws, BUCKET, {})
    assert (changed.action, changed.changes) == ("changed", ("private: no -> yes",))
    assert buckets.read(aws, BUCKET) == changed.value


def test_no_bucket_is_none(aws):
    assert buckets.read(aws, BUCKET) is None


@pytest.mark.parametrize("region", ["us-east-1", "eu-west-1", "cn-north-1", "us-gov-west-1"])
def test_every_region_gets_the_location_constraint_that_it_takes(region):
    with mock_aws():
        aws = session.connect(region=region)
        assert buckets.ensure(aws, BUCKET, {}).value.region == region
        assert buckets.ensure(aws, BUCKET, {}).action == "left"


def test_a_bucket_is_born_with_its_tags_where_that_is_known(aws, meddler, monkeypatch):
    strict.tag_new_buckets(monkeypatch)
    meddler.kill("after", 1)  # CreateBucket has been done, and the run is dead
    with pytest.raises(Death, match="CreateBucket"):
        buckets.ensure(aws, BUCKET, {"team": "ml"})
    meddler.stop()
    finished = buckets.ensure(aws, BUCKET, {"team": "ml"})
    assert (finished.action, finished.changes) == ("changed", ("private: no -> yes", "encrypted: no -> yes"))
    assert finished.value.ours


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_run_that_dies_while_it_makes_the_bucket_is_finished_by_the_next(aws, meddler, calls, monkeypatch, moment):
    strict.tag_new_buckets(monkeypatch)
    buckets.ensure(aws, "undisturbed", {"team": "ml"})
    for number in range(len(calls)):
        name = f"killed-{number}"
        meddler.kill(moment, number)
        with pytest.raises(Death):
            buckets.ensure(aws, name, {"team": "ml"})
        meddler.stop()
        assert buckets.ensure(aws, name, {"team": "ml"}).value == replace(buckets.read(aws, "undisturbed"), name=name)
        assert state_of(aws, name) == state_of(aws, "undisturbed")


def test_a_lost_answer_to_the_making_of_a_bucket_does_no_harm(aws, meddler):
    s3 = aws.client("s3")

    def be_quicker(operation):
        if operation == "CreateBucket":
            meddler.stop()
            s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})

    meddler.before = be_quicker
    assert buckets.ensure(aws, BUCKET, {}).value.ours


def test_a_bucket_that_settles_slowly_is_waited_for(aws, meddler, sleeps):
    meddler.refuse("CreateBucket", "OperationAborted", 409, times=2)
    assert buckets.ensure(aws, BUCKET, {}).action == "created"
    assert sleeps == [5.0, 5.0]


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("BucketAlreadyExists", "taken by another AWS account"),
        ("OperationAborted", "deleted a moment ago"),
        ("TooManyBuckets", "as many buckets as it may"),
        ("AccessDenied", "AWS refuses CreateBucket"),
        ("SlowDown", "again and again"),
        ("InternalError", "again and again"),
    ],
)
def test_a_bucket_that_can_not_be_made_is_said_in_our_words(aws, meddler, sleeps, code, said):
    meddler.refuse("CreateBucket", code, 409)
    with pytest.raises(CloudError, match=said) as caught:
        buckets.ensure(aws, BUCKET, {})
    assert caught.value.hint
    assert BUCKET in caught.value.message
    assert sum(sleeps) <= 120


def test_a_bucket_of_another_account_is_said_to_be_that(aws, meddler):
    meddler.refuse("HeadBucket", "403", 403)
    with pytest.raises(CloudError, match="thampi-store may not be used: it belongs to another AWS account") as caught:
        buckets.ensure(aws, BUCKET, {})
    assert "another bucket" in caught.value.hint


def test_a_bucket_in_another_region_is_refused(aws):
    elsewhere = {"LocationConstraint": "eu-west-1"}
    aws.session.client("s3", region_name="eu-west-1").create_bucket(Bucket=BUCKET, CreateBucketConfiguration=elsewhere)
    with pytest.raises(CloudError, match="is in eu-west-1, and the stage in eu-central-1"):
        buckets.ensure(aws, BUCKET, {})


def test_only_an_empty_bucket_of_ours_is_deleted(aws):
    s3 = aws.client("s3")
    assert buckets.remove(aws, BUCKET)
    buckets.ensure(aws, BUCKET, {})
    s3.put_object(Bucket=BUCKET, Key="something", Body=b"")
    assert not buckets.remove(aws, BUCKET)
    s3.delete_object(Bucket=BUCKET, Key="something")
    assert buckets.remove(aws, BUCKET)
    assert buckets.read(aws, BUCKET) is None
    s3.create_bucket(Bucket="users-own", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    assert not buckets.remove(aws, "users-own")
    assert buckets.read(aws, "users-own")


# The models


def test_a_model_is_uploaded_with_its_manifest_last(aws, bucket, saved, tmp_path, meddler):
    made = store.ensure_model(aws, bucket, "iris", tmp_path, saved)
    manifest = (tmp_path / "thampi.json").read_bytes()
    assert made.action == "created"
    assert made.value == store.Stored(
        "s3://thampi-store/thampi/iris/models/9dbc36ca/",
        hashlib.sha256(manifest).hexdigest(),
        len(manifest) + len(b"a pickle") + 7000,
    )
    assert contents(aws) == {
        f"thampi/iris/models/9dbc36ca/{path.name}": path.read_bytes() for path in tmp_path.iterdir()
    }
    assert store.read_model(aws, bucket, "iris", "9dbc36ca") == made.value


def test_the_manifest_is_the_last_thing_written(aws, bucket, saved, tmp_path):
    written = []
    aws.client("s3").meta.events.register(
        "provide-client-params.s3.PutObject", lambda params, **_: written.append(params["Key"].rpartition("/")[2])
    )
    store.ensure_model(aws, bucket, "iris", tmp_path, saved)
    assert written == ["model-1a2b3c4d.pkl", "model-5e6f7a8b.buffers", "thampi.json"]


def test_a_model_that_is_there_is_left_with_reads_only(aws, calls, bucket, saved, tmp_path):
    first = store.ensure_model(aws, bucket, "iris", tmp_path, saved)
    del calls[:]
    sent = []
    again = store.ensure_model(aws, bucket, "iris", tmp_path, saved, progress=sent.append)
    assert (again.action, again.value, again.changes) == ("left", first.value, ())
    assert calls == ["ListObjectsV2", "GetObject"]
    assert sent == []


def test_a_model_may_be_in_the_bucket_for_two_projects(aws, bucket, saved, tmp_path):
    one = store.ensure_model(aws, bucket, "iris", tmp_path, saved)
    other = store.ensure_model(aws, bucket, "iris-2", tmp_path, saved)
    assert other.action == "created"
    assert one.value.prefix_url != other.value.prefix_url


def test_a_large_file_goes_up_in_parts_and_every_byte_is_counted(aws, calls, bucket, tmp_path):
    content = bytes(range(256)) * (2 * store.CHUNK // 256) + b"and a little more"
    about = make_bundle(tmp_path, buffers=content)
    sent, threads = [], set()

    def progress(size):
        sent.append(size)
        threads.add(threading.get_ident())

    store.ensure_model(aws, bucket, "iris", tmp_path, about, progress=progress)
    assert calls.count("UploadPart") == 3
    assert sum(sent) == len(content) + len(b"a pickle")
    assert len(threads) > 1
    assert contents(aws)["thampi/iris/models/9dbc36ca/model-5e6f7a8b.buffers"] == content
    assert uploads(aws) == []


def test_a_killed_upload_is_continued_with_the_files_that_lack(aws, calls, bucket, tmp_path, meddler):
    about = make_bundle(tmp_path, buffers=b"0" * (store.CHUNK + 1))

    def die(operation):
        if operation == "ListMultipartUploads":  # all files are there, and no manifest
            raise Death

    meddler.before = die
    with pytest.raises(Death):
        store.ensure_model(aws, bucket, "iris", tmp_path, about)
    assert store.read_model(aws, bucket, "iris", "9dbc36ca") is None
    meddler.stop()
    del calls[:]
    sent = []
    store.ensure_model(aws, bucket, "iris", tmp_path, about, progress=sent.append)
    assert calls.count("PutObject") == 1  # the manifest
    assert "CreateMultipartUpload" not in calls
    assert sent == [len(b"a pickle"), store.CHUNK + 1]


def test_a_file_that_is_there_with_other_bytes_is_sent_again(aws, bucket, saved, tmp_path):
    key = "thampi/iris/models/9dbc36ca/model-1a2b3c4d.pkl"
    aws.client("s3").put_object(Bucket=bucket, Key=key, Body=b"A PICKLE", ChecksumAlgorithm="CRC32")
    store.ensure_model(aws, bucket, "iris", tmp_path, saved)
    assert contents(aws)[key] == b"a pickle"


def test_a_file_that_is_there_without_a_checksum_is_sent_again(aws, bucket, saved, tmp_path, calls):
    key = "thampi/iris/models/9dbc36ca/model-1a2b3c4d.pkl"
    plain = aws.session.client("s3")
    plain.meta.events.register("before-sign.s3.PutObject", lambda request, **_: _without_checksums(request))
    plain.put_object(Bucket=bucket, Key=key, Body=b"A PICKLE")
    assert "ChecksumCRC32" not in plain.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
    store.ensure_model(aws, bucket, "iris", tmp_path, saved)
    assert contents(aws)[key] == b"a pickle"


def _without_checksums(request):
    for header in [name for name in request.headers if "checksum" in name.lower()]:
        del request.headers[header]


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_run_that_dies_while_it_uploads_is_finished_by_the_next(aws, meddler, calls, bucket, tmp_path, moment):
    about = make_bundle(tmp_path / "undisturbed", "undisturbed", buffers=b"numbers" * 1000)
    del calls[:]
    store.ensure_model(aws, bucket, "iris", tmp_path / "undisturbed", about)
    for number in range(len(calls)):
        name = f"killed-{number}"
        about = make_bundle(tmp_path / name, name, buffers=b"numbers" * 1000)
        meddler.kill(moment, number)
        with pytest.raises(Death):
            store.ensure_model(aws, bucket, "iris", tmp_path / name, about)
        meddler.stop()
        stored = store.ensure_model(aws, bucket, "iris", tmp_path / name, about).value
        assert stored == store.read_model(aws, bucket, "iris", name)
    found = {key.removeprefix("thampi/iris/models/"): content for key, content in contents(aws).items()}
    assert found == {
        str(path.relative_to(tmp_path)): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()
    }


def test_an_upload_in_parts_that_was_killed_leaves_nothing_after_the_next(aws, bucket, tmp_path):
    about = make_bundle(tmp_path, buffers=b"0" * (store.CHUNK + 1))
    s3 = aws.client("s3")
    key = "thampi/iris/models/9dbc36ca/model-5e6f7a8b.buffers"
    killed = s3.create_multipart_upload(Bucket=bucket, Key=key)
    s3.upload_part(Bucket=bucket, Key=key, UploadId=killed["UploadId"], PartNumber=1, Body=b"0" * 5_000_000)
    others = s3.create_multipart_upload(Bucket=bucket, Key="thampi/iris/models/9dbc36ca0/model.pkl")
    store.ensure_model(aws, bucket, "iris", tmp_path, about)
    assert [upload["UploadId"] for upload in uploads(aws)] == [others["UploadId"]]


def test_who_may_not_look_for_unfinished_uploads_can_push(aws, bucket, saved, tmp_path, meddler):
    meddler.refuse("ListMultipartUploads", "AccessDenied", 403)
    assert store.ensure_model(aws, bucket, "iris", tmp_path, saved).action == "created"


def test_a_push_to_another_stage_that_was_quicker_does_no_harm(aws, bucket, tmp_path, meddler):
    """It has put the same file there, and cleared away our upload of it."""
    about = make_bundle(tmp_path, buffers=b"0" * (store.CHUNK + 1))
    refused = []

    def be_quicker(operation):
        if operation != "CompleteMultipartUpload" or refused:
            return None
        refused.append(operation)
        store.ensure_model(aws, bucket, "iris", tmp_path, about)
        meddler.refuse(operation, "NoSuchUpload", 404)
        return meddler.before(operation)

    meddler.before = be_quicker
    assert store.ensure_model(aws, bucket, "iris", tmp_path, about).action == "created"
    assert refused
    assert store.read_model(aws, bucket, "iris", "9dbc36ca")
    assert uploads(aws) == []


def test_a_lost_answer_to_the_manifest_does_no_harm(aws, bucket, saved, tmp_path, meddler):
    s3 = aws.client("s3")
    manifest = (tmp_path / "thampi.json").read_bytes()

    def be_quicker(operation):
        if operation == "ListMultipartUploads":
            meddler.stop()
            s3.put_object(Bucket=bucket, Key="thampi/iris/models/9dbc36ca/thampi.json", Body=manifest)

    meddler.before = be_quicker
    assert store.ensure_model(aws, bucket, "iris", tmp_path, saved).action == "created"


def test_of_two_models_with_one_instance_id_the_second_is_refused(aws, bucket, saved, tmp_path):
    store.ensure_model(aws, bucket, "iris", tmp_path, saved)
    before = contents(aws)
    other = make_bundle(tmp_path / "other", pickle=b"another pickle")
    with pytest.raises(BundleError, match="another model is in s3://thampi-store/thampi/iris/models/9dbc36ca/"):
        store.ensure_model(aws, bucket, "iris", tmp_path / "other", other)
    assert contents(aws) == before


def test_of_two_models_with_one_instance_id_at_once_the_slower_is_refused(aws, bucket, saved, tmp_path, meddler):
    s3 = aws.client("s3")

    def be_quicker(operation):
        if operation == "ListMultipartUploads":
            meddler.stop()
            s3.put_object(Bucket=bucket, Key="thampi/iris/models/9dbc36ca/thampi.json", Body=b"{}")

    meddler.before = be_quicker
    with pytest.raises(BundleError, match="another model") as caught:
        store.ensure_model(aws, bucket, "iris", tmp_path, saved)
    assert "save the model again" in caught.value.hint
    assert contents(aws)["thampi/iris/models/9dbc36ca/thampi.json"] == b"{}"


def test_a_write_that_is_under_way_elsewhere_is_waited_for(aws, bucket, saved, tmp_path, meddler, sleeps):
    pushed = []

    def conflict(operation):
        if operation == "ListMultipartUploads":
            meddler.refuse("PutObject", "ConditionalRequestConflict", 409, times=2)
            pushed.append(operation)

    meddler.before = conflict
    assert store.ensure_model(aws, bucket, "iris", tmp_path, saved).action == "created"
    assert sleeps == [5.0, 5.0]
    assert store.read_model(aws, bucket, "iris", "9dbc36ca")


def test_a_data_file_that_got_lost_is_sent_again(aws, calls, bucket, saved, tmp_path):
    whole = store.ensure_model(aws, bucket, "iris", tmp_path, saved).value
    aws.client("s3").delete_object(Bucket=bucket, Key="thampi/iris/models/9dbc36ca/model-1a2b3c4d.pkl")
    assert store.read_model(aws, bucket, "iris", "9dbc36ca") is None
    mended = store.ensure_model(aws, bucket, "iris", tmp_path, saved)
    assert (mended.action, mended.value) == ("changed", whole)
    assert mended.changes == ("model-1a2b3c4d.pkl: lost -> sent again",)
    assert store.read_model(aws, bucket, "iris", "9dbc36ca") == whole


def test_a_folder_that_was_saved_to_after_the_check_is_noticed(aws, bucket, saved, tmp_path):
    make_bundle(tmp_path, "another", buffers=b"numbers" * 1000)
    with pytest.raises(BundleError, match="has changed while it was being pushed"):
        store.ensure_model(aws, bucket, "iris", tmp_path, saved)
    assert contents(aws) == {}


def test_a_data_file_of_another_size_is_refused(aws, bucket, saved, tmp_path):
    (tmp_path / "model-1a2b3c4d.pkl").write_bytes(b"a pickle and more")
    with pytest.raises(BundleError, match="has 17 bytes, and 8 were saved"):
        store.ensure_model(aws, bucket, "iris", tmp_path, saved)
    assert contents(aws) == {}


def test_a_data_file_with_other_bytes_is_refused(aws, bucket, saved, tmp_path):
    (tmp_path / "model-1a2b3c4d.pkl").write_bytes(b"A PICKLE")
    with pytest.raises(BundleError, match="changed or damaged"):
        store.ensure_model(aws, bucket, "iris", tmp_path, saved)
    assert contents(aws) == {}


def test_a_data_file_that_changes_while_it_goes_up_gets_no_manifest(aws, bucket, saved, tmp_path, meddler):
    path = tmp_path / "model-1a2b3c4d.pkl"
    events = aws.client("s3").meta.events
    events.register("provide-client-params.s3.PutObject", lambda **_: path.write_bytes(b"A PICKLE") and None, "change")
    with pytest.raises(BundleError, match=r"model-1a2b3c4d\.pkl has changed"):
        store.ensure_model(aws, bucket, "iris", tmp_path, saved)
    assert "thampi/iris/models/9dbc36ca/thampi.json" not in contents(aws)
    events.unregister("provide-client-params.s3.PutObject", unique_id="change")
    path.write_bytes(b"a pickle")
    store.ensure_model(aws, bucket, "iris", tmp_path, saved)
    assert contents(aws)["thampi/iris/models/9dbc36ca/model-1a2b3c4d.pkl"] == b"a pickle"


def test_a_model_of_the_original_is_not_pushed(aws, bucket, tmp_path):
    (tmp_path / "thampi.json").write_text('{"instance_id": "9dbc", "trained_time_utc": "2018-08-19", "tags": {}}')
    (tmp_path / "model.pkl").write_bytes(b"")
    with pytest.raises(BundleError, match=r"thampi 0\.1\.0") as caught:
        store.ensure_model(aws, bucket, "iris", tmp_path, bundle.read(tmp_path))
    assert "save the model again" in caught.value.hint


@pytest.mark.parametrize("instance_id", ["", "..", "a/b", "a b", "ä", "x" * 129])
def test_an_instance_id_that_is_no_name_is_refused_before_anything_is_asked(aws, calls, tmp_path, instance_id):
    about = make_bundle(tmp_path, instance_id)
    for attempt in (
        lambda: store.ensure_model(aws, BUCKET, "iris", tmp_path, about),
        lambda: store.read_model(aws, BUCKET, "iris", instance_id),
        lambda: store.remove_model(aws, BUCKET, "iris", instance_id),
    ):
        with pytest.raises(BundleError, match="instance_id"):
            attempt()
    assert calls == []


def test_without_a_bucket_there_is_no_model(aws):
    assert store.read_model(aws, BUCKET, "iris", "9dbc36ca") is None
    assert store.list_models(aws, BUCKET, "iris") == ()
    store.remove_models(aws, BUCKET, "iris")


@pytest.mark.parametrize("large", [False, True], ids=["small", "large"])
@pytest.mark.parametrize(
    ("code", "status", "said"),
    [
        ("AccessDenied", 403, "AWS refuses"),
        ("SlowDown", 503, "again and again"),
        ("InternalError", 500, "again and again"),
        ("ExpiredToken", 400, "have expired"),
    ],
)
def test_a_refused_upload_is_said_in_our_words(aws, bucket, tmp_path, meddler, large, code, status, said):
    about = make_bundle(tmp_path, buffers=b"0" * (store.CHUNK + 1) if large else b"")
    meddler.refuse("UploadPart" if large else "PutObject", code, status)
    with pytest.raises(CloudError, match=said) as caught:
        store.ensure_model(aws, bucket, "iris", tmp_path, about)
    assert "uploading the model to s3://thampi-store/thampi/iris/models/9dbc36ca/" in caught.value.message
    assert caught.value.hint
    assert uploads(aws) == []
    assert store.read_model(aws, bucket, "iris", "9dbc36ca") is None


def test_a_look_that_needs_a_permission_names_it(aws, bucket, saved, tmp_path, meddler):
    meddler.refuse(
        "ListObjectsV2",
        "AccessDenied",
        403,
        "User: arn:aws:iam::123456789012:user/anna is not authorized to perform: s3:ListBucket on resource: …",
    )
    with pytest.raises(CloudError, match="AWS refuses s3:ListBucket") as caught:
        store.ensure_model(aws, bucket, "iris", tmp_path, saved)
    assert "s3:ListBucket" in caught.value.hint


def test_every_call_says_whose_the_bucket_must_be(aws, tmp_path):
    unsaid = []

    def note(params, model, **_):
        if params.get("ExpectedBucketOwner") != aws.account:
            unsaid.append(model.name)

    aws.session.events.register("provide-client-params.s3", note)
    about = make_bundle(tmp_path, buffers=b"0" * (store.CHUNK + 1))
    buckets.ensure(aws, BUCKET, {})
    store.ensure_model(aws, BUCKET, "iris", tmp_path, about)
    store.read_model(aws, BUCKET, "iris", "9dbc36ca")
    store.list_models(aws, BUCKET, "iris")
    store.remove_model(aws, BUCKET, "iris", "9dbc36ca")
    buckets.remove(aws, BUCKET)
    assert unsaid == ["CreateBucket"]  # where nobody owns it yet


def test_models_are_listed_with_their_sizes_and_whether_they_are_whole(aws, bucket, saved, tmp_path):
    stored = store.ensure_model(aws, bucket, "iris", tmp_path, saved).value
    s3 = aws.client("s3")
    s3.put_object(Bucket=bucket, Key="thampi/iris/models/unfinished/model-1a2b3c4d.pkl", Body=b"123")
    s3.put_object(Bucket=bucket, Key="thampi/iris-2/models/others/thampi.json", Body=b"{}")
    s3.put_object(Bucket=bucket, Key="thampi/iris/locks/staging", Body=b"{}")
    found = store.list_models(aws, bucket, "iris")
    assert [(each.instance_id, each.size_bytes, each.whole) for each in found] == [
        ("9dbc36ca", stored.size_bytes, True),
        ("unfinished", 3, False),
    ]


def test_a_removed_model_is_gone_with_its_unfinished_uploads_and_nothing_else(aws, bucket, tmp_path):
    for project, instance_id in (("iris", "one"), ("iris", "one-more"), ("iris-2", "one")):
        about = make_bundle(tmp_path / project / instance_id, instance_id)
        store.ensure_model(aws, bucket, project, tmp_path / project / instance_id, about)
    s3 = aws.client("s3")
    s3.create_multipart_upload(Bucket=bucket, Key="thampi/iris/models/one/model.buffers")
    s3.put_object(Bucket=bucket, Key="thampi/iris/locks/staging", Body=b"{}")
    store.remove_model(aws, bucket, "iris", "one")
    store.remove_model(aws, bucket, "iris", "one")
    assert uploads(aws) == []
    assert {key.rpartition("/")[0] for key in contents(aws)} == {
        "thampi/iris/models/one-more",
        "thampi/iris-2/models/one",
        "thampi/iris/locks",
    }
    store.remove_models(aws, bucket, "iris")
    assert {key.rpartition("/")[0] for key in contents(aws)} == {"thampi/iris-2/models/one", "thampi/iris/locks"}


def test_a_bucket_that_keeps_versions_keeps_none_of_a_removed_model(aws, bucket, saved, tmp_path):
    s3 = aws.client("s3")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    store.ensure_model(aws, bucket, "iris", tmp_path, saved)
    s3.delete_object(Bucket=bucket, Key="thampi/iris/models/9dbc36ca/model-1a2b3c4d.pkl")
    store.ensure_model(aws, bucket, "iris", tmp_path, saved)
    store.remove_models(aws, bucket, "iris")
    found = s3.list_object_versions(Bucket=bucket)
    assert "Versions" not in found
    assert "DeleteMarkers" not in found
    assert buckets.remove(aws, bucket)


def test_the_manifest_is_the_first_thing_deleted(aws, bucket, saved, tmp_path, meddler):
    store.ensure_model(aws, bucket, "iris", tmp_path, saved)
    deletions = []

    def die_at_the_second(operation):
        deletions.extend([operation] if operation == "DeleteObjects" else [])
        if len(deletions) == 2:
            raise Death

    meddler.before = die_at_the_second
    with pytest.raises(Death):
        store.remove_model(aws, bucket, "iris", "9dbc36ca")
    meddler.stop()
    assert sorted(key.rpartition("/")[2] for key in contents(aws)) == ["model-1a2b3c4d.pkl", "model-5e6f7a8b.buffers"]
    assert store.ensure_model(aws, bucket, "iris", tmp_path, saved).action == "created"


def test_a_deletion_that_s3_refuses_for_one_file_is_an_error(aws, bucket, saved, tmp_path, meddler):
    store.ensure_model(aws, bucket, "iris", tmp_path, saved)

    def refuse(http_response, parsed, **_):
        parsed["Errors"] = [{"Key": "thampi/x", "Code": "AccessDenied", "Message": "no"}]

    aws.client("s3").meta.events.register("after-call.s3.DeleteObjects", refuse)
    with pytest.raises(CloudError, match="s3://thampi-store/thampi/x can't be deleted: AccessDenied: no") as caught:
        store.remove_models(aws, bucket, "iris")
    assert "s3:DeleteObject" in caught.value.hint


def test_more_than_a_page_is_listed_and_deleted(aws, bucket):
    s3 = aws.client("s3")
    for number in range(1003):
        s3.put_object(Bucket=bucket, Key=f"thampi/iris/models/m{number:04}/thampi.json", Body=b"1")
    assert len(store.list_models(aws, bucket, "iris")) == 1003
    store.remove_models(aws, bucket, "iris")
    assert contents(aws) == {}


def test_more_than_a_page_of_unfinished_uploads_is_aborted(aws, bucket, meddler):
    """moto answers with all of them at once; AWS with a thousand."""
    s3 = aws.client("s3")
    keys = [f"thampi/iris/models/m{number}/model.pkl" for number in range(3)]
    ids = {key: s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"] for key in keys}

    def page(params, context, **_):
        context["marker"] = params.get("KeyMarker")

    def cut(parsed, context, **_):
        left = [each for each in keys if each > (context["marker"] or "")]
        parsed["Uploads"] = [{"Key": each, "UploadId": ids[each]} for each in left[:1]]
        parsed.update(IsTruncated=len(left) > 1, NextKeyMarker=left[0], NextUploadIdMarker=ids[left[0]])

    s3.meta.events.register("provide-client-params.s3.ListMultipartUploads", page)
    s3.meta.events.register("after-call.s3.ListMultipartUploads", cut)
    store.remove_models(aws, bucket, "iris")
    s3.meta.events.unregister("after-call.s3.ListMultipartUploads", cut)
    assert uploads(aws) == []


@given(st.binary(min_size=1, max_size=300), st.integers(1, 50))
def test_a_file_is_known_by_what_s3_would_call_it(tmp_path_factory, content, part_size):
    """However the manifest cuts it into parts, and wherever S3 does."""
    path = tmp_path_factory.mktemp("checksums") / "file"
    path.write_bytes(content)
    assert store._checksums(path, parts_of("pickle", content, part_size)) == store._checksums(
        path, parts_of("pickle", content, 1000)
    )
