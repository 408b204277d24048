"""The bucket that keeps the models: made private, encrypted and marked as ours; a user's own is used as it is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from botocore.exceptions import ClientError

from thampi import names
from thampi.aws import session
from thampi.aws.ensured import Ensured
from thampi.aws.session import Aws
from thampi.errors import CloudError

T = TypeVar("T")

_TRIES, _PAUSE_S = 12, 5.0
_PRIVATE = dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True)
_ENCRYPTED = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}
_REFUSED_NAMES = {
    "BucketAlreadyExists": (
        "is taken by another AWS account",
        "set another bucket in thampi.toml: all accounts share their names",
    ),
    "OperationAborted": (
        "was deleted a moment ago",
        "S3 frees the name within an hour or so: run the same command then, or set another bucket in thampi.toml",
    ),
    "IllegalLocationConstraintException": (
        "can't be made: S3 was asked in another region than the bucket's",
        "set region in the stage's table of thampi.toml, and see that endpoint_url and AWS_ENDPOINT_URL are of it",
    ),
    "InvalidLocationConstraint": (
        "can't be made: S3 does not know that region",
        "correct region in the stage's table of thampi.toml",
    ),
    "TooManyBuckets": (
        "can't be made: the account has as many buckets as it may",
        "set bucket in thampi.toml to one that is there, or have the quota raised",
    ),
}


def of(aws: Aws, bucket: str) -> dict[str, str]:
    """Return what every call says: the bucket, and whose it must be (nobody gets our models by having its name)."""
    return {"Bucket": bucket, "ExpectedBucketOwner": aws.account}


@dataclass(frozen=True)
class Bucket:
    """A bucket; whether it is private and encrypted is asked of ours only, a user's own is as the user wants it."""

    name: str
    region: str
    ours: bool = False
    private: bool = True
    encrypted: bool = True


def read(aws: Aws, name: str, *, closely: bool = True) -> Bucket | None:
    """Return the bucket, or None when no account has one of that name; `closely`: also how it is, if it is ours.

    Raises CloudError when it is another account's, which AWS doesn't tell from one that we may not use.
    """
    bucket = of(aws, name)
    with session.doing(f"looking at the bucket {name}"):
        try:
            head = aws.client("s3").head_bucket(**bucket)
        except ClientError as error:
            # The answer to a HEAD has no body: its status is all that there is.
            if session.code_of(error) in {"404", "NoSuchBucket"}:
                return None
            if session.code_of(error) in {"403", "AccessDenied"}:
                raise CloudError(
                    f"the bucket {name} may not be used: it belongs to another AWS account,"
                    " or s3:ListBucket on it is not allowed to these credentials",
                    hint="set another bucket in thampi.toml, or have s3:ListBucket allowed",
                ) from error
            raise
        found = Bucket(name, head.get("BucketRegion", aws.region))
        if not closely:
            return found
        # Who may not read the tags didn't make it: then it counts as the user's own, and stays as it is.
        with session.absent_is_fine("AccessDenied"):
            found = replace(found, ours=names.bucket_tags().items() <= _read_tags(aws, name).items())
        if found.ours:
            found = replace(found, private=_is_private(aws, name), encrypted=_is_encrypted(aws, name))
        return found


def changes(found: Bucket) -> tuple[str, ...]:
    """Say what a bucket of ours lacks."""
    return tuple(f"{quality}: no -> yes" for quality in ("private", "encrypted") if not getattr(found, quality))


def ensure(aws: Aws, name: str, tags: Mapping[str, str]) -> Ensured[Bucket]:
    """Make the bucket when there is none: private, encrypted, marked as ours. A user's own is used as it is.

    `tags` are the user's, for the new bucket; stages may share it, so afterwards nobody compares them.
    Left behind on failure: a bucket that the next run makes private. Raises CloudError when the name is another
    account's, or the bucket is in another region.
    """
    found = read(aws, name)
    created = found is None
    if found is None:
        _create(aws, name, {**tags, **names.bucket_tags()})
        found = _await(aws, name)
        if not found.ours:  # it is: who may not read its tags made it all the same
            found = replace(found, ours=True, private=False, encrypted=False)
    if found.region != aws.region:
        raise CloudError(
            f"the bucket {name} is in {found.region}, and the stage in {aws.region}",
            hint=f"set another bucket in thampi.toml, or region to {found.region}",
        )
    lacking = changes(found)
    s3 = aws.client("s3")
    with session.doing(f"making the bucket {name} private and encrypted"):
        # AWS does both by itself since 2023; what plays AWS may not.
        if not found.private:
            _settling(aws, lambda: s3.put_public_access_block(**of(aws, name), PublicAccessBlockConfiguration=_PRIVATE))
        if not found.encrypted:
            _settling(
                aws, lambda: s3.put_bucket_encryption(**of(aws, name), ServerSideEncryptionConfiguration=_ENCRYPTED)
            )
    found = replace(found, private=True, encrypted=True)
    if created:
        return Ensured(found, "created")
    return Ensured(found, "changed", lacking) if lacking else Ensured(found, "left")


def remove(aws: Aws, name: str) -> bool:
    """Delete the bucket when it is ours and empty, and say whether it is gone: False leaves it as it was.

    Raises CloudError when it is another account's.
    """
    found = read(aws, name)
    if found is None:
        return True
    if not found.ours:
        return False
    with session.doing(f"deleting the bucket {name}"), session.absent_is_fine("NoSuchBucket"):
        try:
            aws.client("s3").delete_bucket(**of(aws, name))
        except ClientError as error:
            if session.code_of(error) != "BucketNotEmpty":  # S3 itself decides: nothing can slip in meanwhile
                raise
            return False
    return True


def _create(aws: Aws, name: str, tags: Mapping[str, str]) -> None:
    s3 = aws.client("s3")
    tag_set = [{"Key": key, "Value": value} for key, value in tags.items()]
    # us-east-1 is where buckets go that name no region, and it refuses its own name.
    wanted: dict[str, Any] = {} if aws.region == "us-east-1" else {"LocationConstraint": aws.region}
    # boto3 before 1.40 doesn't know that a bucket can be born with tags.
    if "Tags" in s3.meta.service_model.shape_for("CreateBucketConfiguration").members:
        wanted["Tags"] = tag_set
    configuration = {"CreateBucketConfiguration": wanted} if wanted else {}
    with session.doing(f"making the bucket {name}"):
        try:
            # Repeating it makes no second one: when the answer is lost, the name is ours already.
            with session.absent_is_fine("BucketAlreadyOwnedByYou"):
                _settling(aws, lambda: s3.create_bucket(Bucket=name, **configuration))
        except ClientError as error:
            if session.code_of(error) not in _REFUSED_NAMES:
                raise
            what, hint = _REFUSED_NAMES[session.code_of(error)]
            raise CloudError(f"the bucket {name} {what}", hint=hint) from error
        if not tags.items() <= _settling(aws, lambda: _read_tags(aws, name)).items():
            _settling(aws, lambda: s3.put_bucket_tagging(**of(aws, name), Tagging={"TagSet": tag_set}))


def _await(aws: Aws, name: str) -> Bucket:
    for _ in range(_TRIES):
        if found := read(aws, name):
            return found
        aws.sleep(_PAUSE_S)
    raise CloudError(f"the bucket {name} was made and does not appear", hint="run the same command again in a minute")


def _settling(aws: Aws, call: Callable[[], T]) -> T:
    """Make the call, again and again while S3 is still busy with the bucket's making or an earlier one's deletion."""
    for _ in range(_TRIES):
        try:
            return call()
        except ClientError as error:
            if session.code_of(error) not in {"NoSuchBucket", "OperationAborted"}:
                raise
        aws.sleep(_PAUSE_S)
    return call()


def _read_tags(aws: Aws, name: str) -> dict[str, str]:
    with session.absent_is_fine("NoSuchTagSet"):
        found = aws.client("s3").get_bucket_tagging(**of(aws, name))
        return {tag["Key"]: tag["Value"] for tag in found["TagSet"]}
    return {}


def _is_private(aws: Aws, name: str) -> bool:
    with session.absent_is_fine("NoSuchPublicAccessBlockConfiguration"):
        found = aws.client("s3").get_public_access_block(**of(aws, name))["PublicAccessBlockConfiguration"]
        return bool(_PRIVATE.items() <= found.items())
    return False


def _is_encrypted(aws: Aws, name: str) -> bool:
    with session.absent_is_fine("ServerSideEncryptionConfigurationNotFoundError"):
        aws.client("s3").get_bucket_encryption(**of(aws, name))
        return True
    return False
