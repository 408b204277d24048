"""Few threads decompress for many, and what goes wrong there is told to whoever asked."""

import random
import threading

import pytest

from thampi.runtime import codec, decompressing
from thampi.runtime.decompressing import Decompressors


@pytest.fixture
def decompressors():
    made = Decompressors()
    yield made
    made.stop()


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("decompress-")]


def fill(decompressors: Decompressors, content: bytes) -> bytes:
    target = bytearray(len(content))
    decompressors.fill(memoryview(codec.compress(content)), [memoryview(target)])
    return bytes(target)


def test_nothing_to_do_takes_no_thread(decompressors):
    assert not threads()
    decompressors.stop()


def test_many_who_ask_at_once_each_get_their_own_from_no_more_threads_than_there_are_processors(
    decompressors, monkeypatch
):
    used, real = set(), codec.decompress_into

    def noted(stored, targets):
        used.add(threading.current_thread().name)
        real(stored, targets)

    monkeypatch.setattr(codec, "decompress_into", noted)
    contents = [random.Random(number).randbytes(1000) * (number + 1) for number in range(64)]
    found: dict[int, bytes] = {}
    asking = [
        threading.Thread(target=lambda i=i: found.update({i: fill(decompressors, contents[i])}))
        for i in range(len(contents))
    ]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join(30)
    assert [found.get(number) for number in range(len(contents))] == contents
    assert used <= {f"decompress-{number}" for number in range(decompressing.AT_ONCE)}
    assert len(threads()) <= decompressing.AT_ONCE


def test_a_damaged_frame_is_told_to_who_asked_and_the_next_is_done(decompressors):
    for _ in range(2 * decompressing.AT_ONCE):  # more often than there are threads that could die of it
        with pytest.raises(ValueError, match=r"[a-z]"):
            decompressors.fill(memoryview(b"no frame at all"), [memoryview(bytearray(10))])
    assert fill(decompressors, bytes(5000)) == bytes(5000)


def test_its_threads_end_when_it_is_stopped_and_who_comes_late_does_not_wait_for_them(decompressors):
    fill(decompressors, bytes(100))
    running = threads()
    assert running
    decompressors.stop()
    for thread in running:
        thread.join(10)
        assert not thread.is_alive()
    assert fill(decompressors, bytes(7000)) == bytes(7000)
    assert not threads()
