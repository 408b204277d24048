"""Few threads decompress for many; what goes wrong is told to whoever asked, and in the end none of them stays."""

import contextlib
import hashlib
import os
import random
import threading
import time
import weakref
from pathlib import Path

import numpy as np
import pytest

import thampi
from thampi.errors import BundleError
from thampi.runtime import bundle, codec, decompressing, loading, s3
from thampi.runtime.decompressing import Decompressors

from . import s3_server
from .fresh import Holder
from .s3_server import Answer, Server


def threads(*kinds: str) -> list[str]:
    return [each.name for each in threading.enumerate() if each.name.startswith(kinds or ("decompress-",))]


def none_stay(*kinds: str) -> bool:
    """Say whether such threads are gone soon: they end a moment after the one that they worked for has its answer."""
    until = time.monotonic() + 10
    while threads(*kinds) and time.monotonic() < until:
        time.sleep(0.005)
    return not threads(*kinds)


def fill(decompressors: Decompressors, content: bytes) -> bytes:
    target = bytearray(len(content))
    decompressors.fill(memoryview(codec.compress(content)), [memoryview(target)])
    return bytes(target)


def test_nothing_to_do_takes_no_thread():
    with Decompressors().used():
        assert not threads()


def test_many_who_ask_at_once_each_get_their_own_from_no_more_threads_than_there_are_processors(monkeypatch):
    used, at_once, most, real = set(), 0, 0, codec.decompress_into
    lock = threading.Lock()

    def noted(stored, targets):
        nonlocal at_once, most
        with lock:
            used.add(threading.current_thread().name)
            at_once += 1
            most = max(most, at_once)
        time.sleep(0.002)
        real(stored, targets)
        with lock:
            at_once -= 1

    monkeypatch.setattr(codec, "decompress_into", noted)
    contents = [random.Random(number).randbytes(1000) * (number + 1) for number in range(64)]
    found: dict[int, bytes] = {}
    decompressors = Decompressors()

    def ask(number: int) -> None:
        with decompressors.used():
            found[number] = fill(decompressors, contents[number])

    with decompressors.used():
        asking = [threading.Thread(target=ask, args=(number,)) for number in range(len(contents))]
        for thread in asking:
            thread.start()
        for thread in asking:
            thread.join(30)
        assert [found.get(number) for number in range(len(contents))] == contents
        assert used == set(threads())
        assert len(used) == most == decompressing.AT_ONCE
    assert none_stay()


def test_one_who_asks_again_and_again_takes_one_thread():
    decompressors = Decompressors()
    with decompressors.used():
        for number in range(20):
            assert fill(decompressors, bytes(number)) == bytes(number)
            time.sleep(0.002)  # it is idle again
        assert threads() == ["decompress-0"]
    assert none_stay()


def test_a_damaged_frame_is_told_to_who_asked_and_the_next_is_done():
    decompressors = Decompressors()
    with decompressors.used():
        for _ in range(2 * decompressing.AT_ONCE):  # more often than there are threads that could die of it
            with pytest.raises(ValueError, match=r"[a-z]"):
                decompressors.fill(memoryview(b"no frame at all"), [memoryview(bytearray(10))])
        assert fill(decompressors, bytes(5000)) == bytes(5000)
    assert none_stay()


def test_they_end_with_the_last_user_and_begin_again_with_the_next():
    decompressors = Decompressors()
    for _ in range(3):
        with decompressors.used():
            with decompressors.used():
                fill(decompressors, bytes(100))
            time.sleep(0.02)
            assert threads()
            assert fill(decompressors, bytes(200)) == bytes(200)
        assert none_stay()
    assert decompressors._threads == decompressors._idle == 0


def test_an_idle_thread_holds_no_memory_of_what_it_did():
    decompressors = Decompressors()
    with decompressors.used():
        target = np.zeros(5000, "u1")
        gone = weakref.ref(target)
        decompressors.fill(memoryview(codec.compress(bytes(5000))), [memoryview(target)])
        del target
        until = time.monotonic() + 10
        while gone() is not None and time.monotonic() < until:
            time.sleep(0.005)
        assert threads()
        assert gone() is None
    assert none_stay()


def test_without_a_user_a_thread_ends_as_soon_as_its_work_is_done():
    assert fill(Decompressors(), bytes(7000)) == bytes(7000)
    assert none_stay()


def test_where_no_thread_can_be_had_whoever_asks_does_it(monkeypatch):
    decompressors = Decompressors()

    def refused(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with decompressors.used():
        monkeypatch.setattr(threading.Thread, "start", refused)
        assert fill(decompressors, bytes(7000)) == bytes(7000)
        with pytest.raises(ValueError, match=r"[a-z]"):
            decompressors.fill(memoryview(b"no frame at all"), [memoryview(bytearray(10))])


# Whole loads: what they begin ends with them, however they end.


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """A bundle of many compressed parts."""
    values = np.random.default_rng(0).integers(0, 2**12, 12 * 1024 * 1024, dtype="i4")  # 48 MiB
    path = thampi.save(Holder([values, np.zeros(1 << 20)]), "model", tmp_path_factory.mktemp("saved"), verify=False)
    parts = bundle.read(path).parts_of("buffers")
    assert len(parts) > 10
    assert {part.codec for part in parts} == {codec.ZSTD}
    return path


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(s3, "_FIRST_PAUSE_S", 0.001)
    for name in [name for name in os.environ if name.startswith("AWS_") or name.upper().endswith("_PROXY")]:
        monkeypatch.delenv(name)
    with s3_server.serving() as server:
        for name, value in server.environ.items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture
def decompressed(monkeypatch) -> list[str]:
    """The names of the threads that have decompressed a part each."""
    found, real = [], codec.decompress_into

    def noted(stored, targets):
        found.append(threading.current_thread().name)
        real(stored, targets)

    monkeypatch.setattr(codec, "decompress_into", noted)
    return found


def begin(server: Server, saved: Path) -> loading.Loading:
    about = bundle.read(saved)
    sizes = {file.name: file.size for file in about.files.values()}
    sha256 = hashlib.sha256((saved / "thampi.json").read_bytes()).hexdigest()
    return loading.begin(server.put(saved, "bucket/models/id"), sha256=sha256, files=sizes)


def test_a_load_of_sixteen_connections_decompresses_on_few_threads_which_end_with_it(server, saved, decompressed):
    assert begin(server, saved).model().held[1].shape == (1 << 20,)
    assert none_stay("decompress-", "fetch-")
    assert len(decompressed) == len(bundle.read(saved).parts_of("buffers"))
    assert set(decompressed) <= {f"decompress-{number}" for number in range(decompressing.AT_ONCE)}


def test_fifty_loads_one_after_the_other_leave_no_thread(tmp_path, decompressed):
    path = thampi.save(Holder(np.zeros(1 << 20)), "model", tmp_path, verify=False)
    for _ in range(50):
        assert thampi.load(path).held.shape == (1 << 20,)
    assert len(decompressed) >= 50
    assert none_stay("decompress-", "fetch-")


def test_a_load_that_fails_in_the_middle_leaves_no_thread(server, saved, decompressed):
    def broken(request, answer: Answer) -> None:
        if request.path.endswith(".buffers") and request.begin > 10 << 20:
            until = time.monotonic() + 20
            while not decompressed and time.monotonic() < until:  # it is the middle when something has come
                time.sleep(0.001)
            answer.body = bytes(len(answer.body))

    server.fault = broken
    with pytest.raises(BundleError, match="not those that were saved"):
        begin(server, saved).model()
    assert decompressed
    assert none_stay("decompress-", "fetch-")


@pytest.mark.parametrize("after", [0, 1, 4])
def test_a_load_that_is_given_up_leaves_no_thread(server, saved, decompressed, after):
    def slow(request, answer: Answer) -> None:
        answer.wait_s = 0 if request.begin < (10 << 20) else 0.2

    server.fault = slow
    begun = begin(server, saved)
    until = time.monotonic() + 20
    while len(decompressed) < after and time.monotonic() < until:
        time.sleep(0.001)
    begun.cancel()
    assert len(decompressed) >= after
    assert none_stay("decompress-", "fetch-")
    with contextlib.suppress(BundleError):  # what had come by then is good
        begun.model()
    assert none_stay("decompress-", "fetch-")
