"""The instruments measure what they say: the S3 look-alike keeps its caps, and the table comes out."""

import hashlib
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest

from benchmarks import measuring
from benchmarks.cold import floor, s3_server
from benchmarks.cold.s3_server import Line
from benchmarks.measuring import Row

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
