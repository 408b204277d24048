"""A model from the S3 of the local AWS, put there by boto3: our own client and a server that isn't ours."""

import hashlib
import os

import boto3
import numpy as np
import pytest

import thampi
from tests.runtime.fresh import Holder
from thampi.errors import BundleError
from thampi.local import cloud
from thampi.runtime import bundle, loading

from .test_local_aws import environment, free_port

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    array = np.random.default_rng(0).random(3 * 1024 * 1024)
    model = Holder([array, np.zeros(1024 * 1024), "text"])
    return thampi.save(model, "model", tmp_path_factory.mktemp("saved"), verify=False)


def test_a_model_in_the_local_s3_loads_as_it_was_saved(saved, tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    environ = environment(tmp_path, free_port())
    place = cloud.ensure_running(environ, say=print)
    try:
        monkeypatch.setenv("AWS_ENDPOINT_URL", place.endpoint_url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket="store")
        for path in saved.iterdir():
            client.upload_file(str(path), "store", f"models/a b/é+/{path.name}")
        digest = hashlib.sha256((saved / "thampi.json").read_bytes()).hexdigest()
        files = {file.name: file.size for file in bundle.read(saved).files.values()}
        begun = loading.begin("s3://store/models/a b/é+", sha256=digest, files=files)
        wanted = thampi.load(saved).held
        for found in (begun.model().held, thampi.load("s3://store/models/a b/é+", sha256=digest).held):
            assert (found[0] == wanted[0]).all()
            assert not found[1].any()
            assert found[2] == "text"
        assert begun.figures().retries == 0
        with pytest.raises(BundleError, match=r"there is no s3://store/nothing/thampi.json"):
            thampi.load("s3://store/nothing", sha256=digest)
    finally:
        cloud.stop(environ, say=print)
