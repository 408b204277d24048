"""The instruments measure what they say: the S3 look-alike keeps its caps, and the table comes out."""

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import thampi
from benchmarks import measuring, request
from benchmarks.cold import environment, floor, rows, s3_server
from benchmarks.cold.lab import Lab, Saved
from benchmarks.cold.s3_server import Line
from benchmarks.measuring import Row
from thampi import runtime_files

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def bucket(tmp_path_factory):
    folder = tmp_path_factory.mktemp("s3")
    (folder / "store").mkdir()
    (folder / "store" / "model").write_bytes(os.urandom(8 * MIB))
    return folder


def get(port, path="store/model", method="GET", **headers):
    request = urllib.request.Request(f"http://127.0.0.1:{port}/{path}", method=method, headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.status, dict(answer.headers), answer.read()


def took(work):
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def test_a_range_is_what_is_asked_for_and_nothing_else(bucket):
    content = (bucket / "store" / "model").read_bytes()
    with s3_server.running(bucket, Line()) as port:
        status, headers, body = get(port, Range="bytes=1000-1999")
        assert (status, body) == (206, content[1000:2000])
        assert headers["Content-Range"] == f"bytes 1000-1999/{len(content)}"
        assert get(port, Range="bytes=-10")[2] == content[-10:]
        assert get(port, Range=f"bytes=0-{len(content) - 1}")[0] == 206
        assert get(port)[::2] == (200, content)
        assert get(port, method="HEAD")[1]["Content-Length"] == str(len(content))


def test_a_changed_object_is_refused_and_so_is_one_that_is_not_there(bucket):
    with s3_server.running(bucket, Line()) as port:
        etag = get(port, method="HEAD")[1]["ETag"]
        assert get(port, **{"If-Match": etag})[0] == 200
        for path, headers, status in (("store/model", {"If-Match": '"another"'}, 412), ("store/nothing", {}, 404)):
            with pytest.raises(urllib.error.HTTPError) as caught:
                get(port, path, **headers)
            with caught.value as answer:
                assert answer.code == status


def test_boto3_can_download_from_it(bucket, tmp_path):
    import boto3

    with s3_server.running(bucket, Line()) as port:
        client = boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{port}",
            region_name="eu-central-1",
            aws_access_key_id="a",
            aws_secret_access_key="b",
        )
        client.download_file("store", "model", str(tmp_path / "model"))
    assert digest(tmp_path / "model") == digest(bucket / "store" / "model")


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_one_connection_gets_no_more_than_its_share_and_four_get_four(bucket):
    with s3_server.running(bucket, Line(rate=16)) as port:
        alone = took(lambda: get(port))
        with ThreadPoolExecutor(4) as pool:
            four = took(lambda: list(pool.map(lambda _: get(port), range(4))))
    assert 0.45 < alone < 1.0
    assert four < 2 * alone


def test_all_connections_together_get_no_more_than_the_network_has(bucket):
    with s3_server.running(bucket, Line(network=32)) as port, ThreadPoolExecutor(4) as pool:
        assert 0.9 < took(lambda: list(pool.map(lambda _: get(port), range(4)))) < 2.0


def test_the_first_byte_comes_late_on_every_request(bucket):
    with s3_server.running(bucket, Line(first_byte_ms=100)) as port:
        assert took(lambda: [get(port, Range="bytes=0-9") for _ in range(3)]) > 0.3


@pytest.mark.parametrize("compiled", [True, False])
def test_the_raw_client_fetches_every_byte(bucket, tmp_path, compiled):
    command = floor.compiled(tmp_path) if compiled else [sys.executable, "-S", floor.__file__]
    with s3_server.running(bucket, Line(rate=16)) as port:
        files = [("/store/model", 8 * MIB)]
        seconds = took(lambda: subprocess.run(floor.raw_get(command, port, files), check=True))
    # Parts of 1 MiB by eight connections at 16 MiB/s, the last slice of each sent ahead.
    assert seconds > 0.04


def test_a_bound_may_be_the_least_or_the_most():
    assert Row("a", 0.9, 1.0).holds
    assert not Row("a", 0.9, 1.0, at_least=True).holds
    assert Row("a", 1.1, 1.0, at_least=True).holds
    assert not Row("a", 1.1, 1.0).holds
    assert Row("a", 9e9).holds


class Twice(thampi.Model):
    """A model of somebody: arrays that can be kept by safetensors, and a slow way into memory, if told so."""

    def __init__(self, arrays, slow_s=0.0):
        self.held = Slow(slow_s) if slow_s else arrays

    def predict(self, args, context):
        return 2 * args


class Slow:
    def __init__(self, seconds):
        self.seconds = seconds

    def __reduce__(self):
        return time.sleep, (self.seconds,)


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    arrays = [np.random.default_rng(0).random((24, 1 << 17)), np.zeros(100)]  # 24 MiB that doesn't compress
    return thampi.save(Twice(arrays), "theirs", tmp_path_factory.mktemp("models"), example=4, verify=False)


def test_a_bundle_of_others_gives_the_rows_of_the_table_that_apply_to_it(theirs, tmp_path):
    path = tmp_path / "found.json"
    words = ["--quick", "--rounds", "1", "--bundle", str(theirs), "--json", str(path)]
    words += ["--only", "wire", "network", "memory", "compression", "processor", "save", "largest"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.loading", *words], cwd=measuring.ROOT, capture_output=True, text=True
    )
    assert path.exists(), done.stderr
    found = json.loads(path.read_text())
    wanted = {
        "90 MiB/s a connection: first prediction / raw parallel GET",
        "90 MiB/s a connection: first prediction / download_file + cloudpickle",
        "90 MiB/s a connection: first prediction / thampi 0.1.0",
        "75 MiB/s network: first prediction / raw GET",
        "75 MiB/s network: hidden part of min(transfer, imports)",
        "peak memory beyond imports / bytes",
        "processor time over TLS / download_file + cloudpickle",
        "save / cloudpickle.dump",
    }
    assert not wanted - found.keys()
    assert all(found[metric]["value"] > 0 for metric in wanted if " / " in metric)
    assert 0.9 < found["peak memory beyond imports / bytes"]["value"] < 2
    assert not any(metric.startswith("compressible") for metric in found)
    largest = found.get("largest model / (memory limit - framework)")
    assert largest["value"] >= 0.3 if largest else "cgroup" in done.stderr
    for peer in ("joblib", "safetensors"):
        measured = f"90 MiB/s a connection: first prediction / download_file + {peer}" in found
        assert measured == bool(importlib.util.find_spec(peer))
        assert measured != (f"NOT MEASURED: download_file + {peer}; install it" in done.stderr)


def test_what_a_peer_has_no_form_for_is_not_said_to_be_missing(tmp_path, capsys, monkeypatch):
    lab = Lab(tmp_path, sys.executable, 1, [])
    (lab.bucket / "words").mkdir(parents=True)
    monkeypatch.setattr(Lab, "can_import", lambda self, name: name == "safetensors")
    assert not rows._is_there("safetensors", Saved(lab, "words"))
    assert "safetensors has no form for such a model" in capsys.readouterr().err
    assert not rows._is_there("joblib", Saved(lab, "words"))
    assert "pip install" in capsys.readouterr().err


def test_a_start_that_takes_longer_than_an_init_may_is_waited_for(tmp_path):
    thampi.save(Twice([], slow_s=10.5), "slow", tmp_path, example=4, verify=False)
    runtime_files.stage_runtime(tmp_path / "opt")
    told = environment.told(tmp_path / "slow", str(tmp_path / "slow"))
    assert 10.5 < environment.start(sys.executable, str(tmp_path / "opt"), told).seconds < 40


def test_a_process_that_ends_before_it_asks_for_anything_is_said_at_once(tmp_path):
    with pytest.raises(RuntimeError, match="asked for no event"):
        request.Environment("nothing_of_this_name", PYTHONPATH=str(tmp_path))


def test_the_table_comes_out_as_json_and_in_the_document(tmp_path):
    path, document = tmp_path / "found.json", tmp_path / "performance.md"
    begin, end = "<!-- the last run, written by benchmarks/loading.py -->", "<!-- end of the last run -->"
    document.write_text(f"before\n{begin}\nold\n{end}\nafter\n")
    words = ["--quick", "--rounds", "1", "--only", "tiny", "--json", str(path), "--markdown", str(document)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.loading", *words], cwd=measuring.ROOT, capture_output=True, text=True
    )
    found = json.loads(path.read_text())
    metric = "small model: first prediction / import of its library"
    assert found[metric].keys() == {"value", "bound", "holds"}
    assert found[metric]["bound"] == 1.1
    assert 0.3 < found[metric]["value"] < 5
    assert done.returncode == (0 if all(each["holds"] for each in found.values()) else 1)
    text = document.read_text()
    assert text.startswith(f"before\n{begin}\n")
    assert text.endswith(f"{end}\nafter\n")
    assert "old" not in text
    assert f"| {metric} | {found[metric]['value']:.2f} | ≤ 1.1 |" in text
    assert "processors" in text
