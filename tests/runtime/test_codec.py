"""Parts as Zstandard frames: what goes in comes out where it belongs, and nothing else ever does."""

import itertools
import random
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thampi.runtime import codec

from .fresh import python

TEXT = b"".join(b"user-%08d value for user number %07d\n" % (i, i * 7919 % 1_000_003) for i in range(100_000))
NOISE = random.Random(0).randbytes(1_000_000)


def decompressed(frame: bytes, *sizes: int) -> list[bytes]:
    """Return what comes out of a frame into targets of these sizes."""
    targets = [memoryview(bytearray(size)) for size in sizes]
    codec.decompress_into(memoryview(frame), targets)
    return [bytes(target) for target in targets]


@pytest.mark.parametrize("content", [TEXT, NOISE, bytes(3_000_000), b"x"], ids=["text", "noise", "zeros", "one byte"])
def test_content_comes_back(content):
    assert decompressed(codec.compress(content), len(content)) == [content]


def test_text_takes_a_seventh_and_noise_no_more_than_it_was():
    assert len(codec.compress(TEXT)) < len(TEXT) / 7
    assert len(codec.compress(NOISE)) < len(NOISE) + 200


@settings(deadline=None, max_examples=50)
@given(cuts=st.lists(st.integers(0, len(TEXT)), max_size=12))
def test_content_fills_targets_of_any_sizes_one_after_the_other(cuts):
    edges = [0, *sorted(cuts), len(TEXT)]
    pieces = [TEXT[begin:end] for begin, end in itertools.pairwise(edges)]
    assert decompressed(codec.compress(TEXT), *map(len, pieces)) == pieces


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_any_buffer_is_compressed_alike(kind):
    assert codec.compress(kind(TEXT)) == codec.compress(TEXT)


@pytest.mark.parametrize("sizes", [(len(TEXT) - 1,), (len(TEXT) + 1,), (5, 5), (), (len(TEXT), 1)])
def test_a_frame_of_more_or_fewer_bytes_than_expected_is_refused(sizes):
    with pytest.raises(ValueError, match=r"more than it should|less than it should"):
        decompressed(codec.compress(TEXT), *sizes)


def test_a_frame_that_was_cut_off_is_refused_wherever():
    frame = codec.compress(TEXT)
    for length in [0, 1, 5, 20, len(frame) // 2, len(frame) - 1]:
        with pytest.raises(ValueError, match="too early"):
            decompressed(frame[:length], len(TEXT))


@pytest.mark.parametrize("rest", [b"\0", b"x" * 100_000, codec.compress(b"more")])
def test_what_follows_the_frame_is_refused(rest):
    with pytest.raises(ValueError, match="follows"):
        decompressed(codec.compress(TEXT) + rest, len(TEXT))


def test_what_is_no_frame_is_refused():
    with pytest.raises(ValueError, match=r"."):
        decompressed(NOISE, len(NOISE))


def test_a_frame_may_be_made_with_any_window():
    """Those of other levels and other versions; only that ours is small keeps the memory small."""
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    assert decompressed(zstd.compress(TEXT, 19), len(TEXT)) == [TEXT]
    window = {zstd.CompressionParameter.window_log: 18, zstd.CompressionParameter.compression_level: 3}
    assert codec.compress(TEXT) == zstd.compress(TEXT, options=window)


def test_decompressing_takes_little_memory_beside_the_targets(tmp_path):
    """Of sixteen threads at once, as they are when a model arrives: they may keep what they took, each of its own."""
    code = """
import random, threading
from thampi.runtime import codec
def high_water():
    return int(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))) / 1024
words = [random.randbytes(12) for _ in range(1000)]
content = b"".join(random.choices(words, k=350_000))[:4 << 20]
frame = codec.compress(content)
assert len(frame) < len(content) / 3
targets = [memoryview(bytearray(len(content))) for _ in range(16)]
codec.decompress_into(memoryview(frame), targets[:1])
before = high_water()
def fill(target):
    for _ in range(5):
        codec.decompress_into(memoryview(frame), [target])
threads = [threading.Thread(target=fill, args=(target,)) for target in targets]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert all(target == content for target in targets)
print(high_water() - before)
"""
    assert float(python("-c", code, cwd=tmp_path)) < 32


def test_without_the_library_the_cure_is_named(tmp_path):
    code = """
import sys
sys.modules["backports.zstd"] = sys.modules["compression.zstd"] = None
import thampi
from thampi.runtime import codec
try:
    codec.decompress_into(memoryview(b"x"), [])
except thampi.errors.BundleError as error:
    print(error.message, "|", error.hint)
"""
    said = python("-c", code, cwd=tmp_path)
    assert "Zstandard can't be imported" in said
    assert "| pip install backports.zstd" in said


def test_the_library_is_not_imported_before_it_is_needed(tmp_path):
    code = "import sys, thampi; from thampi.runtime import codec; print([m for m in sys.modules if 'zstd' in m])"
    assert python("-c", code, cwd=tmp_path) == "[]\n"
