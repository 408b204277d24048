"""Bytes into parts: each with its place, its codec and its hash, and few of them held at a time."""

import errno
import hashlib
import io
import os
import pickle
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thampi.errors import BundleError
from thampi.runtime import codec, writing
from thampi.runtime.bundle import PART_SIZE, Part
from thampi.runtime.writing import InBand, Parts

from .fresh import python

MIB = 1024 * 1024
NOISE = random.Random(0).randbytes(3 * PART_SIZE + 12_345)
TEXT = (b"%08d" * 1000 % tuple(range(1000))) * (2 * PART_SIZE // 8000 + 200)


class Named(io.BytesIO):
    name = "model.pkl"


def written(*pieces: bytes) -> tuple[list[Part], bytes]:
    """Return the parts of what was written piece by piece, and the file."""
    file = Named()
    with ThreadPoolExecutor(4) as beside:
        parts = Parts(file, "pickle", beside)
        for piece in pieces:
            assert parts.write(piece) == len(piece)
        assert parts.size == sum(map(len, pieces))
        return parts.finish(), file.getvalue()


def content(parts: list[Part], file: bytes) -> bytes:
    """Read a file as docs/bundle.md says it is read: each hash checked, then decompressed."""
    found, place = b"", 0
    for part in parts:
        assert part.offset == len(found)
        stored = file[place : place + part.stored]
        assert hashlib.sha256(stored).hexdigest() == part.sha256
        if part.codec == "zstd":
            target = memoryview(bytearray(part.size))
            codec.decompress_into(memoryview(stored), [target])
            stored = bytes(target)
        assert len(stored) == part.size
        found += stored
        place += part.stored
    assert place == len(file)
    return found


def test_what_does_not_shrink_is_stored_as_it_is():
    parts, file = written(NOISE)
    assert file == NOISE
    assert {(part.codec, part.stored == part.size) for part in parts} == {("none", True)}
    assert [part.size for part in parts] == [PART_SIZE, PART_SIZE, PART_SIZE, 12_345]


def test_what_shrinks_is_stored_as_frames_of_parts_as_large_as_others():
    parts, file = written(TEXT)
    assert len(file) < len(TEXT) / 3
    assert [part.size for part in parts] == [PART_SIZE, PART_SIZE, len(TEXT) - 2 * PART_SIZE]
    assert [part.codec for part in parts[:2]] == ["zstd", "zstd"]
    assert content(parts, file) == TEXT


def test_each_part_is_compressed_for_itself():
    parts, file = written(NOISE[:PART_SIZE], TEXT[:PART_SIZE], NOISE[:PART_SIZE])
    assert [part.codec for part in parts] == ["none", "zstd", "none"]
    assert content(parts, file) == NOISE[:PART_SIZE] + TEXT[:PART_SIZE] + NOISE[:PART_SIZE]


def test_a_small_model_is_not_compressed():
    """Its bytes are there before Zstandard would be imported."""
    parts, file = written(TEXT[: MIB - 1])
    assert (len(parts), parts[0].codec, file) == (1, "none", TEXT[: MIB - 1])
    assert written(TEXT[:MIB])[0][0].codec == "zstd"


def mixed(share: float) -> bytes:
    """Return bytes that come in runs of noise and zeros, of which noise has this share."""
    run = 1000
    noise = round(run * share)
    return b"".join(NOISE[number * noise : (number + 1) * noise].ljust(run, b"\0") for number in range(2 * MIB // run))


@pytest.mark.parametrize(("share", "how"), [(0.5, "zstd"), (0.63, "zstd"), (0.7, "none"), (0.95, "none")])
def test_a_part_is_compressed_when_it_shrinks_to_two_thirds(share, how):
    assert written(mixed(share))[0][0].codec == how


def test_a_part_whose_samples_promise_too_much_is_stored_as_it_is():
    zeros, noise = bytes(64 * 1024), NOISE[: 2 * MIB - 32 * 1024]
    parts, file = written(zeros + noise + zeros + noise + zeros)
    assert parts[0].codec == "none"
    assert file == zeros + noise + zeros + noise + zeros


@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_however_it_was_cut_the_file_is_the_same(data):
    whole = NOISE[: PART_SIZE // 2] + TEXT[: PART_SIZE + 99] + NOISE
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    pieces = [whole[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    assert written(*pieces) == written(whole)


def test_the_memory_is_the_callers_again_after_a_write():
    file, buffer = Named(), bytearray(NOISE)
    with ThreadPoolExecutor(4) as beside:
        parts = Parts(file, "buffers", beside)
        parts.write(buffer)
        buffer[:] = bytes(len(buffer))
        buffer.clear()  # refused while anybody has a view of it
        parts.finish()
    assert file.getvalue() == NOISE


class Full:
    name = "model.buffers"

    def __init__(self, room: int) -> None:
        self.room = room

    def write(self, data: bytes) -> None:
        self.room -= len(data)
        if self.room < 0:
            raise OSError(28, "No space left on device")


@pytest.mark.parametrize("room", [0, PART_SIZE, 3 * PART_SIZE - 1])
def test_a_full_disk_is_said_and_leaves_the_memory_to_the_caller(room):
    buffer = bytearray(NOISE)
    with ThreadPoolExecutor(4) as beside:
        parts = Parts(Full(room), "buffers", beside)
        with pytest.raises(BundleError, match=r"can't write model.buffers: No space left"):
            parts.write(buffer)
        buffer.clear()


class Disk:
    """Takes the place of os.fdatasync; can be full, and as slow as whoever holds `slow` likes."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.slow = threading.Event()
        self.slow.set()
        self.error: OSError | None = None

    def sync(self, handle: int) -> None:
        self.sizes.append(os.fstat(handle).st_size)
        assert self.slow.wait(30)
        error, self.error = self.error, None
        if error is not None:  # said once, as the kernel does
            raise error


@pytest.fixture
def disk(monkeypatch):
    found = Disk()
    monkeypatch.setattr(os, "fdatasync", found.sync, raising=False)
    monkeypatch.setattr(writing, "_DISK_BEGINS_AT", 2 * PART_SIZE)
    return found


def test_the_disk_begins_while_there_is_more_to_write(tmp_path, disk):
    with (tmp_path / "file").open("wb") as file, ThreadPoolExecutor(4) as beside:
        parts = Parts(file, "buffers", beside)
        for _ in range(8):
            parts.write(NOISE[:PART_SIZE])
            time.sleep(0.02)
        parts.finish()
    assert disk.sizes == [2 * PART_SIZE, 4 * PART_SIZE, 6 * PART_SIZE, 8 * PART_SIZE]


def test_a_slow_disk_is_not_asked_again_before_it_is_done_and_the_end_waits_for_it(tmp_path, disk):
    disk.slow.clear()
    with (tmp_path / "file").open("wb") as file, ThreadPoolExecutor(4) as beside:
        parts = Parts(file, "buffers", beside)
        for _ in range(8):
            parts.write(NOISE[:PART_SIZE])
        assert disk.sizes == [2 * PART_SIZE]
        threading.Timer(0.1, disk.slow.set).start()
        parts.finish()
        assert disk.slow.is_set()


@pytest.mark.parametrize("writes", [2, 6])
def test_what_the_disk_refuses_meanwhile_is_said(tmp_path, disk, writes):
    def save(parts: Parts) -> None:
        for _ in range(writes):
            parts.write(NOISE[:PART_SIZE])
            time.sleep(0.05)
        parts.finish()

    disk.error = OSError(errno.EIO, "Input/output error")
    with (
        (tmp_path / "file").open("wb") as file,
        ThreadPoolExecutor(4) as beside,
        pytest.raises(BundleError, match=r"can't write .*file: Input/output error"),
    ):
        save(Parts(file, "buffers", beside))


def test_a_pickle_is_held_back_until_it_is_whole():
    file = Named()
    pickled = pickle.dumps(["a", "b", "a"], 5)
    with ThreadPoolExecutor(4) as beside:
        in_band = InBand(Parts(file, "pickle", beside), io.BytesIO())
        for place in range(len(pickled)):
            assert in_band.write(pickled[place : place + 1]) == 1
        assert file.getvalue() == b""
        parts = in_band.finish()
    assert pickle.loads(file.getvalue()) == ["a", "b", "a"]
    assert sum(part.size for part in parts) == len(file.getvalue()) < len(pickled)


def test_where_a_pickle_is_held_back_may_be_full_too():
    with ThreadPoolExecutor(4) as beside:
        in_band = InBand(Parts(Named(), "pickle", beside), Full(10))
        with pytest.raises(BundleError, match=r"can't write model.pkl: No space left"):
            in_band.write(bytes(11))


@pytest.mark.parametrize("kind", ["one array", "many arrays", "scattered", "in the pickle"])
def test_saving_takes_no_more_memory_for_a_larger_model(tmp_path, kind):
    code = """
import pathlib, sys, numpy
from thampi.runtime import codec, pickling
codec.compress(b"")
def high_water():
    return int(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))) / 1024
random = numpy.random.default_rng(0)
kinds = {
    "one array": lambda: random.integers(0, 255, 300 << 20, "u1"),
    "many arrays": lambda: [random.integers(0, 255, 3 << 20, "u1") for _ in range(100)],
    "scattered": lambda: random.integers(0, 255, 300 << 20, "u1").reshape(-1, 1024)[:, ::2],
    "in the pickle": lambda: [random.bytes(1 << 20) for _ in range(300)],
}
class Model:
    held = None
    def predict(self): ...
model = Model()
model.held = kinds[sys.argv[1]]()
before = high_water()
pickling.dump(model, pathlib.Path("."))
print(high_water() - before)
"""
    assert float(python("-c", code, kind, cwd=tmp_path)) < 80  # MiB: some parts under way, and a pickle held back
