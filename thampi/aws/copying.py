"""An image from one ECR to another, by their own API: no engine, and byte for byte, so that its digest stays."""

import contextlib
import hashlib
import json
import urllib.error
import urllib.request
from collections.abc import Generator, Mapping
from typing import Any

from thampi import names
from thampi.aws import session
from thampi.aws.session import Aws
from thampi.errors import CloudError

_CHUNK = 10 * 1024 * 1024  # between the 5 MB that ECR wants of a part at least and the 20 that it takes at most
_TIMEOUT_S = 60


def copy_image(source: Aws, target: Aws, project: str, digest: str, tag: str) -> str:
    """Copy the image of this digest into the project's repository in `target`, which is there; return the digest.

    Left behind on failure: layers that no image names; the next run sends only those that are not there.
    Raises CloudError when the image is gone, or isn't what its digest says.
    """
    name = names.repository(project)
    with session.doing(f"reading the image {digest} of the ECR repository {name} in {source.region}"):
        answer = source.client("ecr").batch_get_image(repositoryName=name, imageIds=[{"imageDigest": digest}])
    if not answer["images"]:
        raise CloudError(f"the image {digest} is gone from the ECR repository {name} in {source.region}", hint=None)
    found = answer["images"][0]
    text = found["imageManifest"]
    if f"sha256:{hashlib.sha256(text.encode()).hexdigest()}" != digest:
        raise CloudError(f"ECR's manifest of the image {digest} is not what its digest says", hint=None)
    manifest = json.loads(text)
    blobs = {each["digest"]: each for each in [manifest["config"], *manifest["layers"]]}
    with session.doing(f"copying the image {digest} to the ECR repository {name} in {target.region}"):
        for blob in _lacking(target, name, list(blobs)):
            _copy_blob(source, target, name, blob)
        # Repeating it makes no second one; another run may have had the tag first.
        with session.absent_is_fine("ImageAlreadyExistsException"):
            target.client("ecr").put_image(
                repositoryName=name,
                imageManifest=text,
                imageManifestMediaType=_kind(found, manifest),
                imageTag=tag,
                imageDigest=digest,
            )
    return digest


def _kind(found: Mapping[str, Any], manifest: Mapping[str, Any]) -> str:
    return str(found.get("imageManifestMediaType") or manifest["mediaType"])


def _lacking(target: Aws, name: str, digests: list[str]) -> list[str]:
    answer = target.client("ecr").batch_check_layer_availability(repositoryName=name, layerDigests=digests)
    there = {each["layerDigest"] for each in answer["layers"] if each["layerAvailability"] == "AVAILABLE"}
    return [each for each in digests if each not in there]


def _copy_blob(source: Aws, target: Aws, name: str, digest: str) -> None:
    """Send one layer through this machine; ECR compares what it got with the digest, and so do we on the way."""
    ecr, known = target.client("ecr"), hashlib.sha256()
    upload = ecr.initiate_layer_upload(repositoryName=name)["uploadId"]
    first = 0
    with contextlib.closing(_download(source, name, digest)) as chunks:
        for chunk in chunks:
            known.update(chunk)
            ecr.upload_layer_part(
                repositoryName=name,
                uploadId=upload,
                partFirstByte=first,
                partLastByte=first + len(chunk) - 1,
                layerPartBlob=chunk,
            )
            first += len(chunk)
    if f"sha256:{known.hexdigest()}" != digest:
        raise CloudError(f"a layer of the image arrived damaged: {digest}", hint="run the same command again")
    with session.absent_is_fine("LayerAlreadyExistsException"):  # another run was faster
        ecr.complete_layer_upload(repositoryName=name, uploadId=upload, layerDigests=[digest])


def _download(source: Aws, name: str, digest: str) -> Generator[bytes, None, None]:
    url = source.client("ecr").get_download_url_for_layer(repositoryName=name, layerDigest=digest)["downloadUrl"]
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:  # noqa: S310 - AWS has signed it for us
            while chunk := answer.read(_CHUNK):
                yield chunk
    except OSError as error:
        if isinstance(error, urllib.error.HTTPError):  # it is an answer as well, with a connection of its own
            error.close()
        raise CloudError(
            f"the layer {digest} can't be read from ECR: {error}", hint="check the network, and run it again"
        ) from error
