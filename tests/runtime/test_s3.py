"""Models from S3: over many connections, whatever goes wrong on the way; and never a wrong byte unpickled."""

import hashlib
import os
import re
import time
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path

import numpy as np
import pytest

import thampi
from thampi.errors import BundleError
from thampi.runtime import bundle, connection, credentials, fetch, loading, s3, signing
from thampi.runtime.bundle import PART_SIZE

from . import s3_server
from .fresh import Holder
from .s3_server import Answer, Request, Server, error


class Trace:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


RANDOM = np.random.default_rng(0)
ARRAYS = [
    RANDOM.integers(0, 2**63, 3 * 1024 * 1024),  # 24 MiB, of random bytes: in several parts and ranges
    RANDOM.integers(0, 2**63, 4000),
    np.zeros(1024 * 1024),  # compressed
]


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """A bundle of several parts, whose pickle makes a folder when it is unpickled."""
    folder = tmp_path_factory.mktemp("saved")
    return thampi.save(Holder([*ARRAYS, Trace(folder / "unpickled")]), "model", folder, verify=False)


@pytest.fixture
def unpickled(saved) -> Path:
    """The folder that shows that something was unpickled to its end."""
    folder = saved.parent / "unpickled"
    if folder.exists():
        folder.rmdir()
    return folder


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(s3, "_FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(s3, "_FIRST_TIMEOUT_S", 0.5)
    monkeypatch.setattr(s3, "_LONGEST_TIMEOUT_S", 1.0)
    for name in [name for name in os.environ if name.startswith("AWS_") or name.upper().endswith("_PROXY")]:
        monkeypatch.delenv(name)
    with s3_server.serving() as server:
        for name, value in server.environ.items():
            monkeypatch.setenv(name, value)
        yield server


def manifest_sha256(saved: Path) -> str:
    return hashlib.sha256((saved / "thampi.json").read_bytes()).hexdigest()


def files_of(saved: Path) -> dict[str, int]:
    return {file.name: file.size for file in bundle.read(saved).files.values()}


def ranges_of(saved: Path) -> list:
    return [bundle.MANIFEST, *fetch._ranges(files_of(saved))]


def load(server: Server, saved: Path, *, known: bool = True) -> tuple[list, loading.Loading]:
    url = server.put(saved, "bucket/models/id")
    begun = loading.begin(url, sha256=manifest_sha256(saved), files=files_of(saved) if known else None)
    return begun.model().held, begun


def assert_loads(server: Server, saved: Path, unpickled: Path, *, known: bool = True) -> loading.Figures:
    held, begun = load(server, saved, known=known)
    assert unpickled.exists()
    for one, two in zip(held, ARRAYS, strict=False):
        assert (one == two).all()
        assert one.flags.writeable
    return begun.figures()


def refused(server: Server, saved: Path, unpickled: Path, *, known: bool = True) -> BundleError:
    with pytest.raises(BundleError) as raised:
        load(server, saved, known=known)
    assert not unpickled.exists()
    for secret in (s3_server.SECRET_KEY, s3_server.ACCESS_KEY, "Signature=", "AWS4-HMAC"):
        assert secret not in f"{raised.value.message} {raised.value.hint} {raised.value.__cause__}"
    return raised.value


@pytest.mark.parametrize("known", [True, False])
def test_a_model_is_read_in_ranges_that_cover_each_byte_once(server, saved, unpickled, known):
    figures = assert_loads(server, saved, unpickled, known=known)
    for name, size in files_of(saved).items():
        ranges = sorted(request.range for request in server.of(name))
        assert [begin for begin, _ in ranges] == [0, *(end for _, end in ranges[:-1])]
        assert ranges[-1][1] == size
    assert len({request.connection for request in server.asked}) <= s3.CONNECTIONS
    assert figures.bytes == sum(files_of(saved).values())
    assert (figures.requests, figures.retries) == (len(server.asked), 0)
    assert figures.fetch_ms > 0
    assert figures.megabytes_per_s == pytest.approx(figures.bytes / 1e3 / figures.fetch_ms)


def test_what_is_known_of_the_files_is_asked_for_before_thampi_json_has_come(server, saved, unpickled):
    """A small model costs one round trip: the bytes wait in the network until it is known where they belong."""
    answered = {}

    def slow(request: Request, answer: Answer) -> None:
        answer.wait_s = 0.4 if request.path.endswith("thampi.json") else 0.0
        answered[request.path] = request.time + answer.wait_s

    server.fault = slow
    assert_loads(server, saved, unpickled)
    came = answered["/bucket/models/id/thampi.json"]
    firsts = {request.path for request in server.asked if request.time < came - 0.1}
    assert len(firsts) == 3
    assert len([request for request in server.asked if request.time < came - 0.1]) >= s3.CONNECTIONS - 1


def test_a_small_model_costs_two_requests_at_once(server, tmp_path):
    saved = thampi.save(Holder("small"), "model", tmp_path, verify=False)
    server.fault = lambda request, answer: replace(answer, wait_s=0.3)
    held, begun = load(server, saved)
    assert held == "small"
    assert begun.figures().requests == 2
    assert server.asked[1].time - server.asked[0].time < 0.2
    assert begun.figures().fetch_ms < 580


@pytest.mark.parametrize("known", [True, False])
def test_the_pickle_comes_first_and_then_the_buffers_in_their_order(server, saved, unpickled, known, monkeypatch):
    monkeypatch.setattr(s3, "CONNECTIONS", 1)
    assert_loads(server, saved, unpickled, known=known)
    assert [request.path.rpartition(".")[2] for request in server.asked[:3]] == ["json", "pkl", "buffers"]
    ranges = [request.range for request in server.of(".buffers")]
    assert ranges == sorted(ranges)


@pytest.mark.parametrize("length", [PART_SIZE // 4, PART_SIZE, 2 * PART_SIZE, 16 * PART_SIZE])
def test_ranges_and_parts_need_not_end_together(server, saved, unpickled, monkeypatch, length):
    monkeypatch.setattr(fetch, "_LONGEST", length)
    monkeypatch.setattr(fetch, "_SHORTEST", length)
    server.fault = spoilt(sent=min(length, PART_SIZE) - 5)
    figures = assert_loads(server, saved, unpickled)
    assert figures.retries == 1


def test_thampi_load_takes_a_bundle_from_s3_by_its_hash(server, saved, unpickled):
    url = server.put(saved, "bucket/models/id")
    assert (thampi.load(url, sha256=manifest_sha256(saved)).held[0] == ARRAYS[0]).all()
    unpickled.rmdir()
    with pytest.raises(BundleError, match="not the one that was released"):
        thampi.load(url, sha256="0" * 64)
    with pytest.raises(BundleError, match="only when you say which model"):
        thampi.load(url)
    assert not unpickled.exists()


@pytest.mark.parametrize("prefix", ["bucket", "bucket/a b", "bucket/ünï/c+d=e&f", "bucket/100%/(x)~'!*", "bucket/a//b"])
def test_a_key_of_any_letters_is_found(server, tmp_path, prefix):
    saved = thampi.save(Holder("odd"), "model", tmp_path, verify=False)
    url = server.put(saved, prefix)
    server.objects = {signing.quote(path): content for path, content in server.objects.items()}
    assert thampi.load(url, sha256=manifest_sha256(saved)).held == "odd"


# Accidents that pass, each at a place where it hurts: the model loads, and only what was missing is asked for again.


def is_the_first(request: Request, ending: str) -> bool:
    return request.path.endswith(ending) and (request.begin, request.number) == (0, 0)


def once(answer: Answer, ending: str = ".buffers"):
    """Have this answer to the first question for a file, and the right ones from then on."""

    def fault(request: Request, right: Answer) -> Answer | None:
        return answer if is_the_first(request, ending) else None

    return fault


def spoilt(ending: str = ".buffers", **how):
    """Spoil the right answer to the first question for a file."""

    def fault(request: Request, right: Answer) -> Answer | None:
        return replace(right, **how) if is_the_first(request, ending) else None

    return fault


PASSING = {
    "503 SlowDown": once(error("503 Slow Down", "SlowDown")),
    "500": once(error("500 Internal Server Error", "InternalError")),
    "429": once(error("429 Too Many Requests", "TooManyRequests")),
    "a timeout on their side": once(error("400 Bad Request", "RequestTimeout")),
    "a reset instead of an answer": once(Answer(raw=b"")),
    "a reset in the body": spoilt(sent=700_000, reset=True),
    "a body that ends too early": spoilt(sent=1_000_001),
    "a body that stops in the middle": spoilt(sent=PART_SIZE // 8),
    "nothing of the body": spoilt(sent=0),
    "a first byte after the timeout": spoilt(wait_s=0.9),
    "a first byte just in time": spoilt(wait_s=0.3),
    "a trickle": spoilt(pieces=(300_000, 0.05)),
    "no HTTP": once(Answer(raw=b"\x16\x03\x01 what do you want\r\n\r\n")),
    "a head without an end": once(Answer(raw=b"HTTP/1.1 206 Partial Content\r\nETag: ")),
    "a head that is no head": once(Answer(raw=b"HTTP/1.1 abc\r\n\r\n")),
    "a whole head of garbage": once(Answer(raw=b"HTTP/1.1 206 OK\r\n" + b"x" * 100_000)),
    "another length": spoilt(headers={"Content-Length": "17", "Content-Range": "", "ETag": '"1"'}),
    "another range": lambda request, right: (
        replace(right, headers=right.headers | {"Content-Range": right.headers["Content-Range"].replace("-", "1-", 1)})
        if is_the_first(request, ".buffers")
        else None
    ),
    "thampi.json cut off": spoilt("thampi.json", sent=100),
    "thampi.json slowed down": once(error("503 Slow Down", "SlowDown"), "thampi.json"),
    "the pickle slowed down": once(error("503 Slow Down", "SlowDown"), ".pkl"),
    "the pickle cut off": spoilt(".pkl", sent=10),
}


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("accident", PASSING)
def test_an_accident_that_passes_costs_a_retry_and_nothing_else(server, saved, unpickled, accident, known):
    server.fault = PASSING[accident]
    figures = assert_loads(server, saved, unpickled, known=known)
    assert figures.retries <= 1
    asked_again = len(server.asked) - len(ranges_of(saved))
    assert asked_again == (0 if accident in ("a first byte just in time", "a trickle") else 1)


def test_after_a_body_that_broke_off_only_the_rest_is_asked_for(server, saved, unpickled):
    server.fault = spoilt(sent=1_000_001)
    assert_loads(server, saved, unpickled)
    first = next(request for request in server.of(".buffers") if request.begin == 0)
    again = [request for request in server.of(".buffers") if request.range[1] == first.range[1]]
    assert [request.begin for request in again] == [0, 1_000_001]
    assert again[1].headers["if-match"] == '"1"'


def test_who_is_told_to_slow_down_waits_longer_each_time(server, saved, unpickled, monkeypatch):
    monkeypatch.setattr(s3, "_FIRST_PAUSE_S", 0.1)
    server.fault = lambda request, right: (
        error("503 Slow Down", "SlowDown") if request.path.endswith(".pkl") and request.number < 4 else None
    )
    assert_loads(server, saved, unpickled)
    times = [request.time for request in server.of(".pkl")]
    for number, pause in enumerate((0.1, 0.2, 0.4, 0.8)):
        assert pause / 2 <= times[number + 1] - times[number] < pause + 0.3


def test_a_connection_that_the_server_has_ended_meanwhile_is_opened_anew(server):
    """As after the time that Lambda had us frozen: that is no failure, and costs no pause."""
    server.objects["/bucket/a"] = b"first"
    reader = s3.Prefix("s3://bucket").reader()
    assert reader.whole("a") == b"first"
    server.hang_up()
    time.sleep(0.05)
    assert reader.whole("a") == b"first"
    assert reader.retries == 0
    reader.close()


def test_a_server_that_ends_each_connection_is_asked_over_new_ones(server, saved, unpickled):
    server.fault = lambda request, right: replace(right, headers=right.headers | {"Connection": "close"})
    figures = assert_loads(server, saved, unpickled)
    assert len({request.connection for request in server.asked}) == figures.requests
    assert figures.retries == 0


# Accidents that last, and answers that are wrong: a BundleError, and nothing was unpickled.

LASTING = {
    "503 SlowDown": (error("503 Slow Down", "SlowDown"), "S3 answered 503 SlowDown"),
    "no answer": (Answer(raw=b""), "closed before an answer came"),
    "no HTTP": (Answer(raw=b"garbage\r\n\r\n"), "does not speak HTTP"),
    "404": (error("404 Not Found", "NoSuchKey"), "there is no s3://bucket/models/id/"),
    "no bucket": (error("404 Not Found", "NoSuchBucket"), "there is no bucket bucket"),
    "403": (error("403 Forbidden", "AccessDenied"), "S3 answered 403 AccessDenied"),
    "a bad signature": (error("403 Forbidden", "SignatureDoesNotMatch", "<StringToSign>AWS4-HMAC-SHA256"), "403 Sign"),
    "expired": (error("400 Bad Request", "ExpiredToken"), "no longer valid (ExpiredToken)"),
    "another version": (error("412 Precondition Failed", "PreconditionFailed"), "was replaced while it was read"),
    "a redirect to elsewhere": (Answer("302 Found", {"Location": "http://127.0.0.1:1/evil"}), "S3 answered 302"),
    "a redirect without a region": (error("301 Moved", "PermanentRedirect"), "S3 answered 301 PermanentRedirect"),
    "405": (error("405 Method Not Allowed", "MethodNotAllowed"), "S3 answered 405"),
}


@pytest.mark.parametrize("ending", ["thampi.json", ".pkl", ".buffers"])
@pytest.mark.parametrize("accident", LASTING)
def test_an_accident_that_lasts_is_told_and_nothing_is_unpickled(server, saved, unpickled, accident, ending):
    answer, said = LASTING[accident]
    server.fault = lambda request, right: answer if request.path.endswith(ending) else None
    failure = refused(server, saved, unpickled)
    assert isinstance(failure, s3.UnreachableError)  # what S3 says may be otherwise the next time
    assert said in failure.message
    assert failure.hint
    for request in server.of(ending):
        assert request.number < 10  # eight tries, and one over a connection that may just have been too old


def test_what_will_not_pass_is_not_tried_again(server, saved, unpickled):
    server.fault = lambda request, right: error("403 Forbidden", "AccessDenied") if request.range else None
    refused(server, saved, unpickled)
    ranges = [request.range for request in server.asked]
    assert len(server.asked) == len({*zip((r.path for r in server.asked), ranges, strict=True)})


def flipped(ending: str, place: int):
    def fault(request: Request, right: Answer) -> Answer | None:
        at = place - (request.range[0] if request.range else 0)
        if not request.path.endswith(ending) or not 0 <= at < len(right.body):
            return None
        return replace(right, body=right.body[:at] + bytes([right.body[at] ^ 1]) + right.body[at + 1 :])

    return fault


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("ending", [".pkl", ".buffers"])
@pytest.mark.parametrize("part", [0.0, 0.3, 0.6, 0.99])
def test_a_flipped_byte_is_found(server, saved, unpickled, ending, part, known):
    size = next(size for name, size in files_of(saved).items() if name.endswith(ending))
    server.fault = flipped(ending, int(size * part))
    failure = refused(server, saved, unpickled, known=known)
    assert "its bytes are not those that were saved" in failure.message
    assert not isinstance(failure, s3.UnreachableError)


@pytest.mark.parametrize("place", [0, 1, 100, 200])
def test_a_flipped_byte_of_thampi_json_is_found(server, saved, unpickled, place):
    server.fault = flipped("thampi.json", place)
    assert "not the one that was released" in refused(server, saved, unpickled).message


@pytest.mark.parametrize("ending", [".pkl", ".buffers"])
def test_another_object_of_the_same_size_is_found(server, saved, unpickled, ending):
    server.fault = lambda request, right: (
        replace(right, body=os.urandom(len(right.body))) if request.path.endswith(ending) else None
    )
    assert "its bytes are not those that were saved" in refused(server, saved, unpickled).message


def test_an_object_that_is_replaced_while_it_is_read_is_found(server, saved, unpickled):
    """As S3 does it: the next answer is of another version, and says so by its ETag."""

    def fault(request: Request, right: Answer) -> Answer | None:
        if request.path.endswith(".buffers"):
            return replace(right, headers=right.headers | {"ETag": f'"{len(server.asked)}"'})
        return None

    server.fault = fault
    failure = refused(server, saved, unpickled)
    assert "was replaced while it was read" in failure.message
    assert isinstance(failure, s3.UnreachableError)


def test_the_rest_of_a_range_is_only_taken_of_the_version_that_its_beginning_was_of(server, saved, unpickled):
    def fault(request: Request, right: Answer) -> Answer | None:
        if request.path.endswith(".pkl"):
            server.etags[request.path] = '"2"'
            return replace(right, sent=10) if request.number == 0 else None
        return None

    server.fault = fault
    assert "was replaced while it was read" in refused(server, saved, unpickled).message


@pytest.mark.parametrize("change", [-1, 1])
@pytest.mark.parametrize("ending", [".pkl", ".buffers"])
def test_an_object_of_another_size_is_found(server, saved, unpickled, ending, change):
    url = server.put(saved, "bucket/models/id")
    path = next(path for path in server.objects if path.endswith(ending))
    content = server.objects[path]
    server.objects[path] = content[:-1] if change < 0 else content + b"\0"
    with pytest.raises(BundleError, match=rf"has {len(content) + change} bytes, and {len(content)} were saved"):
        loading.begin(url, sha256=manifest_sha256(saved), files=files_of(saved)).model()
    assert not unpickled.exists()


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Length": "99999999999"},
        {"Content-Length": "-5"},
        {"Content-Length": "five"},
        {"Content-Length": "", "Transfer-Encoding": "chunked"},
        {"Content-Range": "bytes 5-9/*"},
        {"Content-Range": "nonsense"},
        {"Content-Range": ""},
    ],
    ids=str,
)
def test_an_answer_that_contradicts_itself_is_never_taken(server, saved, unpickled, headers, monkeypatch):
    monkeypatch.setattr(s3, "_TRIES", 3)
    server.fault = lambda request, right: replace(right, headers=right.headers | headers) if request.range else None
    assert "is not the range that was asked for" in refused(server, saved, unpickled).message


def test_a_200_for_a_range_is_not_taken_for_the_range(server, saved, unpickled):
    server.fault = lambda request, right: replace(right, status="200 OK") if request.range else None
    assert "S3 answered 200" in refused(server, saved, unpickled).message


def test_files_that_the_release_names_and_thampi_json_does_not_are_refused(server, saved, unpickled):
    url = server.put(saved, "bucket/models/id")
    other = {name: size + 1 for name, size in files_of(saved).items()}
    with pytest.raises(BundleError):
        loading.begin(url, sha256=manifest_sha256(saved), files=other).model()
    server.objects["/bucket/models/id/more.pkl"] = b"x"
    with pytest.raises(BundleError, match="names other files than the release does"):
        loading.begin(url, sha256=manifest_sha256(saved), files=files_of(saved) | {"more.pkl": 1}).model()
    assert not unpickled.exists()


def test_a_bundle_of_the_original_is_not_loaded_from_where_others_may_write(server):
    manifest = b'{"instance_id": "id", "trained_time_utc": "then", "tags": {}, "thampi_data_version": "0.1"}'
    server.objects |= {"/bucket/old/thampi.json": manifest, "/bucket/old/model.pkl": b"cos\nsystem\n(S'true'\ntR."}
    with pytest.raises(BundleError, match="nothing vouches for its pickle"):
        thampi.load("s3://bucket/old", sha256=hashlib.sha256(manifest).hexdigest())


def test_a_load_that_is_given_up_ends_at_once(server, saved):
    server.fault = lambda request, right: replace(right, wait_s=20.0) if request.range else None
    url = server.put(saved, "bucket/models/id")
    begun = loading.begin(url, sha256=manifest_sha256(saved), files=files_of(saved))
    begun.about()
    began = time.monotonic()
    begun.cancel()
    with pytest.raises(BundleError, match="cancelled"):
        begun.model()
    assert time.monotonic() - began < 0.4
    time.sleep(0.2)
    assert len(server.asked) <= s3.CONNECTIONS + 1


def test_the_next_load_from_the_same_place_starts_afresh(server, saved, unpickled):
    """An object that was replaced is whole again then: no ETag is kept."""
    assert_loads(server, saved, unpickled)
    unpickled.rmdir()
    server.etags = dict.fromkeys(server.objects, '"9"')
    assert_loads(server, saved, unpickled)


# Who asks, when and where.


def test_the_session_token_goes_along_and_is_signed(server, saved, unpickled, monkeypatch):
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token/+==")
    server.token = "token/+=="
    assert_loads(server, saved, unpickled)
    assert "x-amz-security-token" in server.asked[0].headers["authorization"]


def test_credentials_that_expire_on_the_way_are_renewed_once_for_all(server, saved, unpickled, monkeypatch):
    given = []

    def find(self):
        given.append(credentials.Credentials(s3_server.ACCESS_KEY, s3_server.SECRET_KEY, f"token-{len(given)}"))
        return given[-1]

    monkeypatch.setattr(credentials.Wallet, "_find", find)
    server.token = "token-0"

    def expire(request: Request, right: Answer) -> None:
        if len(server.asked) == 5:
            server.token = "token-1"

    server.fault = expire
    assert_loads(server, saved, unpickled)
    assert len(given) == 2


@pytest.mark.parametrize("by_s", [-3600.0, 7200.0])
def test_a_clock_that_is_wrong_is_set_by_the_server_s(server, saved, unpickled, monkeypatch, by_s):
    real = time.time
    monkeypatch.setattr(s3.time, "time", lambda: real() + by_s)

    def skewed(request: Request, right: Answer) -> Answer | None:
        if abs(real() - s3_server.moment(request)) > 900:
            return error("403 Forbidden", "RequestTimeTooSkewed", Date=formatdate(real(), usegmt=True))
        return None

    server.fault = skewed
    assert assert_loads(server, saved, unpickled).retries == 0


def test_a_bucket_of_another_region_is_asked_there(server, saved, unpickled, monkeypatch):
    monkeypatch.setenv("AWS_REGION", "us-west-2")
    figures = assert_loads(server, saved, unpickled)
    assert figures.retries == 0
    assert "/eu-central-1/s3/" in server.asked[-1].headers["authorization"]


def test_a_region_that_is_never_right_is_asked_for_once(server, saved, unpickled):
    server.fault = lambda request, right: error("301 Moved", "PermanentRedirect", x_amz_bucket_region="mars-1")
    assert "S3 answered 301" in refused(server, saved, unpickled).message


def test_nothing_is_asked_without_credentials(server, saved, monkeypatch, tmp_path):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(BundleError, match="no AWS credentials") as raised:
        thampi.load("s3://bucket/models/id", sha256="0" * 64)
    assert "aws configure export-credentials" in raised.value.hint
    assert server.asked == []


def test_nobody_there_is_said_after_some_tries(monkeypatch, server):
    server.close()
    with pytest.raises(s3.UnreachableError, match=r"s3://bucket/a/thampi.json can't be read: Connection refused"):
        thampi.load("s3://bucket/a", sha256="0" * 64)


# TLS


def test_over_tls_the_certificate_is_verified_and_the_same_bytes_come(
    saved, unpickled, server, certificate, monkeypatch
):
    with s3_server.serving(certificate) as encrypted:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", encrypted.url)
        failure = refused(encrypted, saved, unpickled)
        assert "certificate" in failure.message
        assert "AWS_CA_BUNDLE" in failure.hint
        assert encrypted.asked == []
        monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate[0]))
        assert_loads(encrypted, saved, unpickled)


TLS_ACCIDENTS = ["a reset in the body", "a body that ends too early", "a first byte after the timeout", "a trickle"]


@pytest.mark.parametrize("draining", [True, False])  # as on Linux, and as elsewhere
@pytest.mark.parametrize("accident", TLS_ACCIDENTS)
def test_an_accident_over_tls_costs_a_retry(saved, unpickled, server, certificate, monkeypatch, accident, draining):
    monkeypatch.setattr(connection, "_CAN_DRAIN", draining)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate[0]))
    with s3_server.serving(certificate) as encrypted:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", encrypted.url)
        encrypted.fault = PASSING[accident]
        assert assert_loads(encrypted, saved, unpickled).retries == (accident != "a trickle")


def test_a_line_slower_than_a_wake_up_is_worth_is_still_read(server, certificate):
    """Over TLS the kernel wakes us for 128 KiB: less than that in the whole time that we wait is no accident."""
    content = os.urandom(400_000)
    with s3_server.serving(certificate) as encrypted:
        encrypted.objects["/bucket/a"] = content
        encrypted.fault = lambda request, right: replace(right, pieces=(50_000, 0.4))
        words = encrypted.environ | {"AWS_CA_BUNDLE": str(certificate[0])}
        reader = s3.Prefix("s3://bucket", words).reader()
        assert reader.whole("a") == content
        assert reader.retries == 0
        reader.close()


def test_a_file_of_certificates_that_is_none_is_named(server, monkeypatch, tmp_path):
    (tmp_path / "ca.pem").write_text("nonsense")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.url.replace("http", "https"))
    with pytest.raises(BundleError, match=re.escape(str(tmp_path / "ca.pem"))):
        thampi.load("s3://bucket/a", sha256="0" * 64)


def test_the_timeout_of_a_socket_is_the_kernel_s_own(server):
    """Over plain TCP a part comes with one call, and who gets nothing is not left waiting."""
    server.fault = lambda request, right: replace(right, wait_s=3.0)
    server.objects["/bucket/a"] = b"x"
    session = s3.Session("bucket", server.environ)
    with connection.Connection(session.endpoint, session.network, 0.25) as asked:
        began = time.monotonic()
        with pytest.raises(TimeoutError, match="nothing came"):
            asked.ask("/bucket/a", {"host": "x", "authorization": "none"})
        assert 0.2 < time.monotonic() - began < 1.5
