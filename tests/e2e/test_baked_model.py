"""`[build] model = "image"` with a real engine: the model comes with the image, is used in place, and is served."""

import json
import os
import queue
import secrets
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.e2e import test_push_local
from tests.e2e.conftest import LIKE_LAMBDA, REPO
from thampi import config
from thampi.operations import build, run

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]

own_aws = test_push_local.own_aws
SETTINGS = """
name = "{name}"
model_dir = "models/m"

[build]
dependency_file = "requirements.txt"
model = "{model}"

[stages.local]
memory_mb = 256
"""
# A buffer of 4 MiB that lies out of band, without any library; predict tells whether it is used where it lies.
SAVE = """
import os, pickle, sys
import thampi

class Block:
    def __init__(self, data):
        self.data = data
    def __reduce_ex__(self, protocol):
        return Block, (pickle.PickleBuffer(self.data),)

class M(thampi.Model):
    def __init__(self, number):
        self.number, self.block = number, Block(bytearray(os.urandom(4 * 1024**2)))
    def predict(self, args, context):
        with open("/proc/self/maps") as maps:
            is_mapped = ".buffers" in maps.read()
        self.block.data[0] = 1
        return {"number": self.number, "mapped": is_mapped, "bytes": len(self.block.data)}

thampi.save(M(int(sys.argv[1])), "m", "models", example=1, signature=False)
"""


class Project:
    """A project without any library of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.name = folder, f"baked{secrets.token_hex(4)}"
        (folder / "requirements.txt").write_text("six\n")
        (folder / "train.py").write_text(SAVE)

    def configure(self, model: str) -> None:
        (self.folder / "thampi.toml").write_text(SETTINGS.format(name=self.name, model=model))

    def save(self, number: int) -> str:
        words = [sys.executable, "train.py", str(number)]
        environ = {"PYTHONPATH": str(REPO), "PATH": "/usr/bin:/bin"}
        done = subprocess.run(words, cwd=self.folder, env=environ, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return str(json.loads((self.folder / "models/m/thampi.json").read_text())["instance_id"])


@pytest.fixture
def project(tmp_path, client):
    made = Project(tmp_path)
    made.configure("image")
    yield made
    listed = client.run("images", "--format={{.Repository}}:{{.Tag}}", f"thampi-{made.name}").stdout.split()
    for reference in listed:
        client.run("rmi", "--force", reference)


def layers(client, image):
    return json.loads(client.run("image", "inspect", "--format", "{{json .RootFS.Layers}}", image).stdout)


def cold_start(container):
    [line] = [line for line in container.logs().splitlines() if '{"thampi":"cold start"' in line]
    return json.loads(line[line.index("{") :])


def test_the_image_answers_by_itself_and_uses_the_model_in_place(project, built, running, client):
    model = project.save(1)
    image = built(project.folder)
    with running(image, None, *LIKE_LAMBDA) as container:
        said = container.invoke({"data": 1})
        assert said["result"] == {"number": 1, "mapped": True, "bytes": 4 * 1024**2}
        assert said["properties"]["instance_id"] == model
        assert cold_start(container)["fetch_mb"] > 4
    with running(image, None, "--user=0") as container:  # who may write to the file gets a copy, which can't be cut off
        assert container.invoke({"data": 1})["result"] == {"number": 1, "mapped": False, "bytes": 4 * 1024**2}
    wrong = ("-e", f"THAMPI_MANIFEST_SHA256={'0' * 64}")
    with running(image, None, *LIKE_LAMBDA, *wrong) as container:
        assert "is not the one that was released" in str(container.invoke({"data": 1}))

    project.save(2)
    other = built(project.folder)
    assert other != image
    *before, last = layers(client, image)
    *after, new = layers(client, other)
    assert (before, last != new) == (after, True)
    with running(other, None, *LIKE_LAMBDA) as container:
        assert container.invoke({"data": 1})["result"]["number"] == 2


def test_what_was_damaged_since_it_was_saved_gets_no_image(project, command, client):
    project.save(1)
    [buffers] = (project.folder / "models/m").glob("*.buffers")
    saved, when = buffers.read_bytes(), buffers.stat()
    buffers.write_bytes(saved[:1_000_000] + b"damaged" + saved[1_000_007:])
    os.utime(buffers, ns=(when.st_atime_ns, when.st_mtime_ns))  # as a copy that keeps times has it
    done = command("thampi", "build", cwd=project.folder)
    assert done.returncode == 4, done.stderr
    assert f"the model in the image is not what was saved: {buffers.name} (other bytes)" in done.stderr
    assert client.run("images", "--quiet", f"thampi-{project.name}").stdout == ""
    buffers.write_bytes(saved)
    os.utime(buffers, ns=(when.st_atime_ns, when.st_mtime_ns))
    done = command("thampi", "build", cwd=project.folder)
    assert done.returncode == 0, done.stderr


def test_it_runs_on_this_machine_without_the_folder_that_it_was_saved_in(project, built):
    model = project.save(1)
    image = built(project.folder)
    stage = config.load(project.folder / "thampi.toml", "local", flags={}, environ={})
    plan = build.plan(stage, environ=os.environ)
    assert plan.reference == image
    stage.model_dir.chmod(0o700)  # a container could not read it
    stop, urls = threading.Event(), queue.Queue()
    arguments = {"baked": plan.manifest_sha256, "port": 0, "say": print, "log": print, "ready": urls.put, "stop": stop}
    with ThreadPoolExecutor(1) as beside:
        running = beside.submit(run.run, stage, image, **arguments)
        try:
            answer, instance_id = test_push_local.result(urls.get(timeout=60), 1)
        finally:
            stop.set()
            running.result(timeout=60)
    assert (answer["mapped"], instance_id) == (True, model)


def test_it_is_served_from_the_image_and_from_s3_and_from_the_image_again(project, own_aws, client):
    def push(model, number=None):
        project.configure(model)
        saved = project.save(number) if number else None
        done = own_aws.run("push", "local", cwd=project.folder)
        assert done.returncode == 0, done.stderr
        answer, instance_id = test_push_local.result(done.stdout.splitlines()[-1])
        assert saved in (None, instance_id)
        return answer

    def objects():
        [bucket] = own_aws.client("s3").list_buckets()["Buckets"]
        return own_aws.client("s3").list_objects_v2(Bucket=bucket["Name"], Prefix=f"thampi/{project.name}/models/")

    assert push("image", 1) == {"number": 1, "mapped": True, "bytes": 4 * 1024**2}
    assert objects()["KeyCount"] == 0
    assert push("s3", 2) == {"number": 2, "mapped": False, "bytes": 4 * 1024**2}
    assert objects()["KeyCount"] == 3
    assert push("image", 3)["number"] == 3
    for number in (2, 1):  # a release with its model in S3, and one with the model in its image
        done = own_aws.run("rollback", "local", cwd=project.folder)
        assert done.returncode == 0, done.stderr
        done = own_aws.run("predict", "local", "--data=1", cwd=project.folder)
        assert json.loads(done.stdout)["result"]["number"] == number
