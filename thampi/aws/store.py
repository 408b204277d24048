"""The models in the bucket: each under its instance id, its manifest written last and never changed."""

import base64
import hashlib
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from boto3.exceptions import S3UploadFailedError
from boto3.s3.transfer import TransferConfig

from thampi import names
from thampi.aws import buckets, session
from thampi.aws.ensured import Ensured
from thampi.aws.session import Aws
from thampi.errors import BundleError, CloudError
from thampi.runtime import bundle, fetch
from thampi.runtime.bundle import About, File, Part

T = TypeVar("T")

CHUNK = 16 * 1024 * 1024  # what is larger goes up in parts of this size, several at once

_TRIES, _PAUSE_S = 12, 5.0
# Something is there (412), or another write is under way (409):
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
_CONFLICTS = ("PreconditionFailed", "ConditionalRequestConflict")


@dataclass(frozen=True)
class Stored:
    """A model that is whole in the bucket: where, the hash that vouches for it, and the size of all its files."""

    prefix_url: str  # s3://bucket/thampi/project/models/id/
    manifest_sha256: str
    size_bytes: int


@dataclass(frozen=True)
class Listed:
    """A model's folder in the bucket; without a manifest (`whole`) its upload hasn't been finished."""

    instance_id: str
    size_bytes: int
    whole: bool
    last_modified: datetime


def read_model(aws: Aws, bucket: str, project: str, instance_id: str) -> Stored | None:
    """Return the model when it is there with all that its manifest names, otherwise None."""
    prefix = _prefix(project, instance_id)
    with session.doing(f"looking for the model in {_url(bucket, prefix)}"):
        sizes = _sizes(aws, bucket, prefix)
        manifest = _read_manifest(aws, bucket, prefix) if bundle.MANIFEST in sizes else None
    if manifest is None:
        return None
    about = bundle.parse(manifest, _url(bucket, prefix) + bundle.MANIFEST)
    return None if _missing(about, sizes) else _stored(bucket, prefix, manifest, about)


def has_files(aws: Aws, bucket: str, project: str, about: About) -> bool:
    """Say whether all files of a model are there, whose manifest is known to be the one that was pushed."""
    prefix = _prefix(project, about.instance_id)
    with session.doing(f"looking for the model in {_url(bucket, prefix)}"):
        sizes = _sizes(aws, bucket, prefix)
    return bundle.MANIFEST in sizes and not _missing(about, sizes)


def ensure_model(
    aws: Aws,
    bucket: str,
    project: str,
    folder: Path,
    about: About,
    *,
    progress: Callable[[int], None] = lambda size: None,
) -> Ensured[Stored]:
    """Upload the bundle in `folder` unless it is there; `about` is what it was when it was checked.

    `progress` is called with the bytes that went up, from several threads, and with a negative number when some have
    to be sent again; a file that is there already counts at once. Nothing is asked of it when the model is there.

    Left behind on failure: data files that nothing names yet; the next run sends only those that lack or differ.
    Raises BundleError when the folder isn't what was checked or another model has this instance id, CloudError when
    AWS refuses.
    """
    prefix = _prefix(project, about.instance_id)
    url = _url(bucket, prefix)
    manifest = _check_unchanged(folder, about)
    with session.doing(f"looking for the model in {url}"):
        sizes = _sizes(aws, bucket, prefix)
        standing = _read_manifest(aws, bucket, prefix) if bundle.MANIFEST in sizes else None
    if standing is not None:
        _check_same(standing, manifest, about, url)
    lacking = _missing(about, sizes)
    stored = _stored(bucket, prefix, manifest, about)
    if standing is not None and not lacking:
        return Ensured(stored, "left")
    with session.doing(f"uploading the model to {url}"):
        for role, file in about.files.items():
            _ensure_file(aws, bucket, prefix, folder / file.name, about.parts_of(role), sizes.get(file.name), progress)
        _abort_uploads(aws, bucket, prefix)
        if standing is None:
            _commit(aws, bucket, prefix, manifest, about)
            return Ensured(stored, "created")
    return Ensured(stored, "changed", tuple(f"{file.name}: lost -> sent again" for file in lacking))


def download_manifest(aws: Aws, bucket: str, project: str, instance_id: str, sha256: str) -> bytes:
    """Return the manifest of a model in the bucket; raise CloudError when it is gone, or another one."""
    url = _url(bucket, _prefix(project, instance_id))
    with session.doing(f"reading the model in {url}"), session.absent_is_fine("NoSuchBucket"):
        manifest = _read_manifest(aws, bucket, _prefix(project, instance_id))
        if manifest is not None and hashlib.sha256(manifest).hexdigest() == sha256:
            return manifest
    raise CloudError(f"the model that was released is gone from {url}", hint="push it again, from where it was saved")


def download_files(aws: Aws, bucket: str, project: str, about: About, folder: Path) -> None:
    """Bring the files of a model into a folder; whoever reads them checks each part."""
    prefix = _prefix(project, about.instance_id)
    with session.doing(f"downloading the model from {_url(bucket, prefix)}"):
        for file in about.files.values():
            found = aws.client("s3").get_object(**buckets.of(aws, bucket), Key=prefix + file.name)["Body"]
            with (folder / file.name).open("wb") as copy:
                for chunk in found.iter_chunks(CHUNK):
                    copy.write(chunk)


def list_models(aws: Aws, bucket: str, project: str) -> tuple[Listed, ...]:
    """Return what lies in the bucket for the project, by instance id; nothing when there is no bucket."""
    prefix = names.models_prefix(project)
    found: dict[str, Listed] = {}
    with session.doing(f"listing the models in {_url(bucket, prefix)}"), session.absent_is_fine("NoSuchBucket"):
        for entry in _objects(aws, bucket, prefix):
            instance_id, _, name = entry["Key"].removeprefix(prefix).partition("/")
            known = found.get(instance_id, Listed(instance_id, 0, False, entry["LastModified"]))
            found[instance_id] = Listed(
                instance_id,
                known.size_bytes + entry["Size"],
                known.whole or name == bundle.MANIFEST,
                max(known.last_modified, entry["LastModified"]),
            )
    return tuple(found[instance_id] for instance_id in sorted(found))


def remove_model(aws: Aws, bucket: str, project: str, instance_id: str) -> None:
    """Delete a model, all versions of its files, and what unfinished uploads have left; absent is fine.

    Left behind on failure: a model without its manifest, which nobody takes for a model.
    """
    _remove(aws, bucket, _prefix(project, instance_id))


def remove_models(aws: Aws, bucket: str, project: str) -> None:
    """Delete all models of a project as `remove_model` does; its stages' locks are not among them."""
    _remove(aws, bucket, names.models_prefix(project))


def _url(bucket: str, prefix: str) -> str:
    return f"s3://{bucket}/{prefix}"


def _prefix(project: str, instance_id: str) -> str:
    if wrong := names.wrong_instance_id(instance_id):
        raise BundleError(
            f"the model's instance_id {instance_id!r:.150} {wrong}", hint="save it again with another instance_id"
        )
    return names.model_prefix(project, instance_id)


def _objects(aws: Aws, bucket: str, prefix: str) -> Iterator[dict[str, Any]]:
    for page in aws.client("s3").get_paginator("list_objects_v2").paginate(**buckets.of(aws, bucket), Prefix=prefix):
        yield from page.get("Contents", ())


def _sizes(aws: Aws, bucket: str, prefix: str) -> dict[str, int]:
    with session.absent_is_fine("NoSuchBucket"):
        return {entry["Key"].removeprefix(prefix): entry["Size"] for entry in _objects(aws, bucket, prefix)}
    return {}


def _read_manifest(aws: Aws, bucket: str, prefix: str) -> bytes | None:
    with session.absent_is_fine("NoSuchKey"):
        found = aws.client("s3").get_object(**buckets.of(aws, bucket), Key=prefix + bundle.MANIFEST)
        return bytes(found["Body"].read())
    return None


def _missing(about: About, sizes: Mapping[str, int]) -> list[File]:
    return [file for file in about.files.values() if sizes.get(file.name) != file.size]


def _stored(bucket: str, prefix: str, manifest: bytes, about: About) -> Stored:
    size = len(manifest) + sum(file.size for file in about.files.values())
    return Stored(_url(bucket, prefix), hashlib.sha256(manifest).hexdigest(), size)


def _check_unchanged(folder: Path, about: About) -> bytes:
    """Return the manifest, which is read this one time: what is uploaded, hashed and released are the same bytes."""
    if not about.files:
        raise BundleError(
            f"{folder} holds a model of thampi 0.1.0, which can be loaded but not pushed",
            hint="save the model again, with this version",
        )
    manifest = bundle.read_manifest(folder)
    if bundle.parse(manifest, str(folder / bundle.MANIFEST)) != about:
        raise _changed(folder)
    fetch.check(folder, about)
    return manifest


def _changed(what: Path) -> BundleError:
    return BundleError(
        f"{what} has changed while it was being pushed", hint="run the same command again when nobody saves to it"
    )


def _check_same(standing: bytes, manifest: bytes, about: About, url: str) -> None:
    if standing != manifest:
        raise BundleError(
            f"another model is in {url} already: what has been pushed once never changes",
            hint=f"save the model again, without instance_id={about.instance_id!r} or with a new one",
        )


def _ensure_file(
    aws: Aws,
    bucket: str,
    prefix: str,
    path: Path,
    parts: Sequence[Part],
    size_there: int | None,
    progress: Callable[[int], None],
) -> None:
    key, size = prefix + path.name, sum(part.stored for part in parts)
    checksums = _checksums(path, parts)
    if size_there == size and _is_there(aws, bucket, key, size, checksums, unproven=False):
        progress(size)
        return
    # A push of the same model to another stage may have been quicker: then it has cleared our unfinished upload away,
    # and the file is there.
    with session.absent_is_fine("NoSuchUpload"):
        _send(aws, bucket, key, path, progress)
    if not _is_there(aws, bucket, key, size, checksums, unproven=True):
        raise _changed(path)


def _send(aws: Aws, bucket: str, key: str, path: Path, progress: Callable[[int], None]) -> None:
    try:
        size = path.stat().st_size
        aws.client("s3").upload_file(
            str(path),
            bucket,
            key,
            # S3 compares the checksum of each request with what it received.
            ExtraArgs={"ExpectedBucketOwner": aws.account, "ChecksumAlgorithm": "CRC32"},
            Callback=progress,
            # The rest of botocore's connections is for the lock, and for the steps that run beside this one.
            Config=TransferConfig(
                multipart_threshold=CHUNK,
                multipart_chunksize=CHUNK,
                max_concurrency=8,
                use_threads=size >= CHUNK,
                preferred_transfer_client="classic",  # the other one takes no client of ours, so no endpoint either
            ),
        )
    except S3UploadFailedError as error:
        # boto3 wraps what AWS said into a text of its own.
        raise error.__context__ or error from None
    except OSError as error:
        raise BundleError(f"can't read {path}: {error.strerror}", hint=None) from error


def _checksums(path: Path, parts: Iterable[Part]) -> frozenset[str]:
    """Read the file once, and return what S3 may call it: its CRC32, or that of the CRC32s of its chunks.

    Raises BundleError when it isn't what its manifest says: it would be there for ever, and load nowhere.
    """
    whole, chunk, filled, chunks = 0, 0, 0, b""
    try:
        with path.open("rb") as file:
            for part in parts:
                rest = memoryview(file.read(part.stored))
                if hashlib.sha256(rest).hexdigest() != part.sha256:
                    raise BundleError(
                        f"{path} is not what was saved: it has been changed or damaged", hint="save the model again"
                    )
                whole = zlib.crc32(rest, whole)
                while rest:
                    piece, rest = rest[: CHUNK - filled], rest[CHUNK - filled :]
                    chunk, filled = zlib.crc32(piece, chunk), filled + len(piece)
                    if filled == CHUNK:
                        chunks, chunk, filled = chunks + chunk.to_bytes(4), 0, 0
    except OSError as error:
        raise BundleError(f"can't read {path}: {error.strerror}", hint=None) from error
    chunks += chunk.to_bytes(4) if filled else b""
    return frozenset(base64.b64encode(crc.to_bytes(4)).decode() for crc in (whole, zlib.crc32(chunks)))


def _is_there(aws: Aws, bucket: str, key: str, size: int, checksums: frozenset[str], *, unproven: bool) -> bool:
    """Say whether S3 has the file; `unproven` is what to say of the right size where S3 keeps no checksum."""
    with session.absent_is_fine("404", "NoSuchKey"):
        head = aws.client("s3").head_object(**buckets.of(aws, bucket), Key=key, ChecksumMode="ENABLED")
        checksum = head.get("ChecksumCRC32")
        # That of an upload in parts has their number behind it: `6tX0Cg==-2`.
        is_same = unproven if checksum is None else checksum.partition("-")[0] in checksums
        return bool(head["ContentLength"] == size and is_same)
    return False


def _commit(aws: Aws, bucket: str, prefix: str, manifest: bytes, about: About) -> None:
    for _ in range(_TRIES):
        with session.absent_is_fine(*_CONFLICTS):
            aws.client("s3").put_object(
                **buckets.of(aws, bucket),
                Key=prefix + bundle.MANIFEST,
                Body=manifest,
                ContentType="application/json",
                ChecksumAlgorithm="CRC32",
                IfNoneMatch="*",
            )
            return
        # Our own write whose answer was lost, or somebody else's.
        standing = _read_manifest(aws, bucket, prefix)
        if standing is not None:
            _check_same(standing, manifest, about, _url(bucket, prefix))
            return
        aws.sleep(_PAUSE_S)
    raise CloudError(
        f"{_url(bucket, prefix)} is being written by another run", hint="run the same command again in a minute"
    )


def _abort_uploads(aws: Aws, bucket: str, prefix: str) -> None:
    """Clear away what killed uploads have left: it costs money and is seen nowhere."""
    s3 = aws.client("s3")
    with session.absent_is_fine("AccessDenied"):  # few are allowed to look for them, and nothing else depends on it
        for page in s3.get_paginator("list_multipart_uploads").paginate(**buckets.of(aws, bucket), Prefix=prefix):
            for upload in page.get("Uploads", ()):
                with session.absent_is_fine("NoSuchUpload"):
                    s3.abort_multipart_upload(**buckets.of(aws, bucket), Key=upload["Key"], UploadId=upload["UploadId"])


def _remove(aws: Aws, bucket: str, prefix: str) -> None:
    with session.doing(f"deleting {_url(bucket, prefix)}"), session.absent_is_fine("NoSuchBucket"):
        _abort_uploads(aws, bucket, prefix)
        manifests: list[dict[str, str]] = []
        others: list[dict[str, str]] = []
        for identity in _identities(aws, bucket, prefix):
            (manifests if identity["Key"].endswith("/" + bundle.MANIFEST) else others).append(identity)
        # The manifests go first: a deletion that was killed leaves nothing that looks like a model.
        _delete(aws, bucket, manifests)
        _delete(aws, bucket, others)


def _delete(aws: Aws, bucket: str, identities: Sequence[Mapping[str, str]]) -> None:
    at_once = 1000  # S3 takes no more
    for start in range(0, len(identities), at_once):
        some = {"Objects": identities[start : start + at_once], "Quiet": True}
        for error in aws.client("s3").delete_objects(**buckets.of(aws, bucket), Delete=some).get("Errors", ()):
            raise CloudError(
                f"s3://{bucket}/{error.get('Key')} can't be deleted: {error.get('Code')}: {error.get('Message')}",
                hint="have s3:DeleteObject and s3:DeleteObjectVersion allowed, and run the same command again",
            )


def _identities(aws: Aws, bucket: str, prefix: str) -> Iterator[dict[str, str]]:
    """Yield what a deletion has to name: in a bucket that keeps versions, each of them and each mark of a deletion."""
    s3 = aws.client("s3")
    if "Status" not in s3.get_bucket_versioning(**buckets.of(aws, bucket)):
        for entry in _objects(aws, bucket, prefix):
            yield {"Key": entry["Key"]}
        return
    for page in s3.get_paginator("list_object_versions").paginate(**buckets.of(aws, bucket), Prefix=prefix):
        for entry in [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]:
            yield {"Key": entry["Key"], "VersionId": entry["VersionId"]}
