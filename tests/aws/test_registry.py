"""The registry: one repository a project, from which Lambda may pull; and only images in it that Lambda can run."""

import dataclasses
import json

import pytest
from botocore.awsrequest import AWSResponse

from tests.aws.conftest import Death
from thampi.aws import registry
from thampi.errors import BuildError, CloudError

DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
OCI = "application/vnd.oci.image.manifest.v1+json"
GZIP = {
    DOCKER: "application/vnd.docker.image.rootfs.diff.tar.gzip",
    OCI: "application/vnd.oci.image.layer.v1.tar+gzip",
}
READS = {"DescribeRepositories", "ListTagsForResource", "GetRepositoryPolicy"}
DIGEST = "sha256:" + "a" * 64


@pytest.fixture
def wanted(aws):
    return registry.make(aws, "iris", tags={"team": "ml"})


@pytest.fixture
def ecr(aws, calls):
    return aws.session.client("ecr")


@pytest.fixture
def repository(aws, wanted):
    return registry.ensure(aws, wanted).value


def manifest(media_type=DOCKER, layers=(100, 23), layer_type=None):
    return {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "size": 7, "digest": DIGEST},
        "layers": [{"mediaType": layer_type or GZIP[media_type], "size": size, "digest": DIGEST} for size in layers],
    }


def put(ecr, tag, digest=DIGEST, body=None, media_type=DOCKER):
    text = json.dumps(manifest(media_type) if body is None else body)
    ecr.put_image(
        repositoryName="thampi-iris",
        imageManifest=text,
        imageManifestMediaType=media_type,
        imageDigest=digest,
        imageTag=tag,
    )


def answering(meddler, operation, *answers):
    """Let AWS give these answers to an operation, one after the other."""
    left = list(answers)
    meddler.before = lambda asked: (AWSResponse("", 200, {}, None), left.pop(0)) if asked == operation else None


def dies(action, *values):
    """Say whether a run was killed, as the test had arranged."""
    try:
        action(*values)
    except Death:
        return True
    return False


# --------------------------------------------------------------------------------------------------------- repository


def test_lambda_of_this_account_and_region_may_pull(wanted):
    (statement,) = wanted.policy["Statement"]
    assert statement == {
        "Sid": "ThampiLambdaPull",
        "Effect": "Allow",
        "Principal": {"Service": "lambda.amazonaws.com"},
        "Action": ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
        "Condition": {"StringLike": {"aws:sourceArn": "arn:aws:lambda:eu-central-1:123456789012:function:*"}},
    }


def test_in_china_host_and_functions_are_those_of_that_partition(aws):
    there = dataclasses.replace(aws, partition="aws-cn", region="cn-north-1")
    made = registry.make(there, "iris")
    assert "arn:aws-cn:lambda:cn-north-1:123456789012:function:*" in str(made.policy)
    assert made.uri == "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn/thampi-iris"


def test_a_new_repository_is_scanned_immutable_and_tagged_from_its_first_moment(aws, wanted, ecr):
    made = registry.ensure(aws, wanted)
    assert (made.action, made.changes) == ("created", ())
    assert registry.read(aws, "iris") == made.value
    (found,) = ecr.describe_repositories(repositoryNames=["thampi-iris"])["repositories"]
    assert found["imageTagMutability"] == "IMMUTABLE"
    assert found["imageScanningConfiguration"] == {"scanOnPush": True}
    assert made.value.tags == {"thampi:project": "iris", "team": "ml"}
    assert wanted.uri == made.value.uri == "123456789012.dkr.ecr.eu-central-1.amazonaws.com/thampi-iris"


def test_the_second_time_nothing_is_written(aws, wanted, calls):
    first = registry.ensure(aws, wanted)
    calls.clear()
    assert registry.ensure(aws, wanted) == dataclasses.replace(first, action="left")
    assert set(calls) == READS


def test_stages_do_not_take_turns_at_the_tags_of_what_they_share(aws, repository, calls):
    calls.clear()
    assert registry.ensure(aws, registry.make(aws, "iris", tags={"team": "ops"})).action == "left"
    assert set(calls) == READS
    assert registry.read(aws, "iris").tags["team"] == "ml"


def test_what_somebody_has_set_otherwise_is_set_back(aws, wanted, repository, ecr):
    ecr.put_image_tag_mutability(repositoryName="thampi-iris", imageTagMutability="MUTABLE")
    ecr.put_image_scanning_configuration(repositoryName="thampi-iris", imageScanningConfiguration={"scanOnPush": False})
    ecr.delete_repository_policy(repositoryName="thampi-iris")
    scan, tags, policy = registry.ensure(aws, wanted).changes
    assert (scan, tags) == ("scan_on_push: False -> True", "mutability: MUTABLE -> IMMUTABLE")
    assert policy.startswith("policy.ThampiLambdaPull: none -> Allow to Service lambda.amazonaws.com do ecr:Batch")
    assert registry.ensure(aws, wanted).action == "left"
    assert registry.read(aws, "iris") == repository


def test_what_others_have_written_in_the_policy_stays(aws, wanted, repository, ecr):
    (ours,) = wanted.policy["Statement"]
    theirs = [
        {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::210987654321:root"}, "Action": "ecr:BatchGetImage"},
        {**ours, "Sid": "LambdaECRImageRetrievalPolicy"},
    ]
    stale = {**ours, "Condition": {"StringLike": {"aws:sourceArn": "arn:aws:lambda:eu-central-1:1:function:*"}}}
    text = json.dumps({"Version": "2008-10-17", "Statement": [stale, *theirs]})
    ecr.set_repository_policy(repositoryName="thampi-iris", policyText=text)
    (change,) = registry.ensure(aws, wanted).changes
    assert change.startswith("policy.ThampiLambdaPull: Allow to Service lambda.amazonaws.com")
    found = json.loads(ecr.get_repository_policy(repositoryName="thampi-iris")["policyText"])
    assert found == {"Version": "2008-10-17", "Statement": [*theirs, ours]}
    assert registry.ensure(aws, wanted).action == "left"


def test_the_order_and_form_of_the_policy_makes_no_difference(aws, wanted, repository, ecr, calls):
    (ours,) = wanted.policy["Statement"]
    condition = {"StringLike": {"aws:SourceArn": ["arn:aws:lambda:eu-central-1:123456789012:function:*"]}}
    again = {**ours, "Action": ours["Action"][::-1], "Principal": {"Service": ["lambda.amazonaws.com"]}}
    text = json.dumps({"Statement": {**again, "Condition": condition}, "Version": "2012-10-17"})
    ecr.set_repository_policy(repositoryName="thampi-iris", policyText=text)
    calls.clear()
    assert registry.ensure(aws, wanted).action == "left"
    assert set(calls) == READS


@pytest.mark.parametrize("tags", [{}, {"thampi:project": "other"}])
def test_a_repository_that_is_not_ours_is_never_touched(aws, wanted, ecr, calls, tags):
    ecr.create_repository(
        repositoryName="thampi-iris", tags=[{"Key": key, "Value": value} for key, value in tags.items()]
    )
    calls.clear()
    for attempt in (
        lambda: registry.ensure(aws, wanted),
        lambda: registry.remove_repository(aws, "iris"),
        lambda: registry.remove_images(aws, "iris", [DIGEST]),
        lambda: registry.changes(registry.read(aws, "iris"), wanted),
    ):
        with pytest.raises(CloudError, match="the ECR repository thampi-iris exists and is not this project's"):
            attempt()
    assert set(calls) == READS


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(("start", "calls_of_a_run"), [("nothing", 3), ("another", 6)])
def test_a_run_that_dies_at_any_call_is_finished_by_the_next(aws, meddler, moment, start, calls_of_a_run):
    for number in range(calls_of_a_run + 1):
        project = f"iris{number}"
        wanted = registry.make(aws, project)
        if start == "another":
            registry.ensure(aws, dataclasses.replace(wanted, mutability="MUTABLE", scan_on_push=False))
            aws.client("ecr").delete_repository_policy(repositoryName=wanted.name)
        meddler.kill(moment, number)
        assert dies(registry.ensure, aws, wanted) is (number < calls_of_a_run)
        meddler.stop()
        registry.ensure(aws, wanted)
        assert registry.changes(registry.read(aws, project), wanted) == ()
        assert registry.ensure(aws, wanted).action == "left"


def test_a_repository_that_is_there_when_it_is_created_is_taken_on(aws, wanted, meddler):
    """A CreateRepository whose answer was lost is sent again by botocore."""

    def first_time(operation):
        if operation == "CreateRepository":
            meddler.stop()
            tags = [{"Key": key, "Value": value} for key, value in wanted.tags.items()]
            aws.client("ecr").create_repository(repositoryName=wanted.name, tags=tags)

    meddler.before = first_time
    assert registry.ensure(aws, wanted).action == "created"
    assert registry.changes(registry.read(aws, "iris"), wanted) == ()


@pytest.mark.parametrize(
    ("code", "status", "words"),
    [
        ("AccessDeniedException", 400, "AWS refuses ecr:CreateRepository"),
        ("ThrottlingException", 400, "AWS answered ThrottlingException to CreateRepository, again and again"),
        ("ServerException", 500, "AWS answered ServerException to CreateRepository"),
        ("LimitExceededException", 400, "LimitExceededException: not authorized"),
    ],
)
def test_a_refusal_is_said_in_our_words_and_the_next_run_goes_on(aws, wanted, meddler, code, status, words):
    message = "not authorized to perform: ecr:CreateRepository on x" if "Denied" in code else "not authorized"
    meddler.refuse("CreateRepository", code, status, message)
    with pytest.raises(CloudError, match=f"creating the ECR repository thampi-iris: {words}"):
        registry.ensure(aws, wanted)
    meddler.stop()
    assert registry.ensure(aws, wanted).action == "created"


def test_no_repository_is_fine(aws):
    assert registry.read(aws, "iris") is None
    assert registry.remove_repository(aws, "iris") is False
    assert registry.remove_images(aws, "iris", [DIGEST]) == ()
    assert registry.read_image(aws, "iris", "0f3a") is None


def test_a_repository_goes_with_its_images(aws, repository, ecr):
    put(ecr, "0f3a")
    assert registry.remove_repository(aws, "iris") is True
    assert registry.read(aws, "iris") is None


# -------------------------------------------------------------------------------------------------------------- names


def test_lambda_gets_the_image_by_digest_also_when_nothing_is_made_yet(aws, repository):
    host = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
    assert registry.uri(repository) == f"{host}/thampi-iris"
    assert registry.image_uri(repository, DIGEST) == f"{host}/thampi-iris@{DIGEST}"
    assert registry.image_uri(registry.make(aws, "iris"), DIGEST) == f"{host}/thampi-iris@{DIGEST}"


def test_a_registry_of_the_stage_stands_in_for_ecrs_own_host(aws, repository):
    assert registry.uri(repository, "localhost:4566") == "localhost:4566/thampi-iris"
    assert registry.image_uri(repository, DIGEST, "localhost:4566") == f"localhost:4566/thampi-iris@{DIGEST}"
    assert registry.login(aws, "localhost:4566").host == "localhost:4566"


def test_the_login_is_fresh_each_time_and_never_shown(aws, calls):
    first = registry.login(aws)
    assert (first.host, first.username) == ("123456789012.dkr.ecr.eu-central-1.amazonaws.com", "AWS")
    assert first.password == "123456789012-auth-token"
    assert first.password not in f"{first!r} {first}"
    registry.login(aws)
    assert calls == ["GetAuthorizationToken"] * 2


# ------------------------------------------------------------------------------------------------------------- images


@pytest.mark.parametrize("media_type", [DOCKER, OCI])
def test_an_image_is_read_as_its_manifest_describes_it(aws, repository, ecr, media_type):
    put(ecr, "0f3a", media_type=media_type)
    image = registry.read_image(aws, "iris", "0f3a")
    assert image == registry.Image("thampi-iris", "0f3a", DIGEST, media_type, (GZIP[media_type],), 130)
    registry.check_image(image)
    assert registry.read_image(aws, "iris", "beef") is None


def test_an_oci_manifest_need_not_say_what_it_is(aws, repository, ecr):
    body = manifest(OCI)
    del body["mediaType"]
    put(ecr, "0f3a", body=body, media_type=OCI)
    registry.check_image(registry.read_image(aws, "iris", "0f3a"))


@pytest.mark.parametrize(
    ("media_type", "layer_types", "reason"),
    [
        ("application/vnd.oci.image.index.v1+json", (), "is an index of images (application/vnd.oci.image.index"),
        ("application/vnd.docker.distribution.manifest.list.v2+json", (), "is an index of images"),
        ("application/vnd.docker.distribution.manifest.v1+prettyjws", (), "is of a kind that Lambda does not run"),
        (OCI, (GZIP[OCI], "application/vnd.oci.image.layer.v1.tar+zstd"), "(application/vnd.oci.image.layer.v1.tar+zs"),
        (OCI, ("application/vnd.oci.image.layer.v1.tar",), "they have to be gzip"),
        (DOCKER, ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",), "they have to be gzip"),
    ],
)
def test_an_image_that_lambda_will_refuse_is_refused_with_the_reason(media_type, layer_types, reason):
    image = registry.Image("thampi-iris", "0f3a", DIGEST, media_type, layer_types, 130)
    with pytest.raises(BuildError) as refused:
        registry.check_image(image)
    assert refused.value.message.startswith("the image thampi-iris:0f3a in ECR ")
    assert reason in refused.value.message
    assert f"aws ecr batch-delete-image --repository-name thampi-iris --image-ids imageDigest={DIGEST}" in str(
        refused.value
    )


def test_an_index_in_the_registry_is_refused(aws, repository, ecr):
    index = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{"mediaType": OCI, "digest": DIGEST, "size": 7}],
    }
    put(ecr, "0f3a", body=index, media_type=index["mediaType"])
    with pytest.raises(BuildError, match="is an index of images"):
        registry.check_pushed(aws, "iris", "0f3a", registry.read_image(aws, "iris", "0f3a").digest)


def test_a_pushed_image_may_take_a_moment_to_be_seen(aws, repository, ecr, meddler, sleeps):
    put(ecr, "0f3a")
    nothing = {"images": [], "failures": [{"imageId": {"imageTag": "0f3a"}, "failureCode": "ImageNotFound"}]}
    late = registry.read_image(aws, "iris", "0f3a")
    answering(meddler, "BatchGetImage", nothing, nothing, _as_answered(late))
    assert registry.check_pushed(aws, "iris", "0f3a", DIGEST) == late
    assert sleeps == [2, 2]


def _as_answered(image):
    return {
        "images": [
            {
                "repositoryName": image.repository,
                "imageId": {"imageDigest": image.digest, "imageTag": image.tag},
                "imageManifest": json.dumps(manifest(image.media_type)),
                "imageManifestMediaType": image.media_type,
            }
        ],
        "failures": [],
    }


def test_a_pushed_image_that_is_never_seen_is_an_error(aws, repository, sleeps):
    with pytest.raises(CloudError, match="thampi-iris:0f3a was pushed, and ECR does not show it"):
        registry.check_pushed(aws, "iris", "0f3a", DIGEST)
    assert sum(sleeps) == 20


def test_a_tag_that_names_something_else_than_what_was_pushed_is_an_error(aws, repository, ecr):
    put(ecr, "0f3a")
    with pytest.raises(BuildError, match=f"is {DIGEST}, and what was pushed is sha256:b"):
        registry.check_pushed(aws, "iris", "0f3a", "sha256:b")


def test_an_image_that_ecr_can_not_give_is_no_absent_image(aws, repository, meddler):
    failure = {"imageId": {"imageTag": "0f3a"}, "failureCode": "KmsError", "failureReason": "no key"}
    answering(meddler, "BatchGetImage", {"images": [], "failures": [failure]})
    with pytest.raises(CloudError, match=r"thampi-iris refuses: 0f3a: KmsError \(no key\)"):
        registry.read_image(aws, "iris", "0f3a")


def test_images_go_with_all_their_tags_and_absent_ones_are_fine(aws, repository, ecr):
    other = "sha256:" + "b" * 64
    put(ecr, "0f3a")
    put(ecr, "beef", other, manifest(layers=(5,)))
    assert registry.remove_images(aws, "iris", [DIGEST, "sha256:" + "c" * 64]) == (DIGEST,)
    assert registry.read_image(aws, "iris", "0f3a") is None
    assert registry.read_image(aws, "iris", "beef").digest == other


def test_more_images_than_ecr_deletes_at_once_are_deleted_in_several_calls(aws, repository, meddler, calls):
    digests = [f"sha256:{number:064x}" for number in range(250)]
    parts = [{"imageIds": [{"imageDigest": digests[start]}], "failures": []} for start in (0, 100, 200)]
    answering(meddler, "BatchDeleteImage", *parts)
    assert registry.remove_images(aws, "iris", digests) == (digests[0], digests[100], digests[200])
    assert calls.count("BatchDeleteImage") == 3


def test_an_image_goes_after_the_index_that_names_it(aws, repository, meddler):
    kept = {"imageId": {"imageDigest": "sha256:child"}, "failureCode": "ImageReferencedByManifestList"}
    answering(
        meddler,
        "BatchDeleteImage",
        {"imageIds": [{"imageDigest": "sha256:index"}], "failures": [kept]},
        {"imageIds": [{"imageDigest": "sha256:child"}], "failures": []},
    )
    assert registry.remove_images(aws, "iris", ["sha256:child", "sha256:index"]) == ("sha256:index", "sha256:child")


def test_an_image_that_ecr_keeps_is_an_error(aws, repository, meddler):
    kept = {"imageId": {"imageDigest": "sha256:child"}, "failureCode": "ImageReferencedByManifestList"}
    answering(meddler, "BatchDeleteImage", {"imageIds": [], "failures": [kept]})
    with pytest.raises(CloudError, match="sha256:child: ImageReferencedByManifestList"):
        registry.remove_images(aws, "iris", ["sha256:child"])
