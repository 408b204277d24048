"""Bytes that come in any order, in pieces of any size, compressed or not: each in its place, and checked."""

import hashlib
import itertools
import random
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thampi.errors import BundleError
from thampi.runtime import codec, decompressing
from thampi.runtime.arrival import Arrival
from thampi.runtime.bundle import ALIGNMENT, Part
from thampi.runtime.places import Buffers, PickleStream


def made_of(contents: list[bytes], cuts: list[int], compressed: list[bool], role: str = "buffers"):
    """Return the layout, the parts and the stored bytes of a file with these buffers."""
    whole, layout = bytearray(), []
    for content in contents:
        whole += bytes(-len(whole) % ALIGNMENT)
        layout.append((len(whole), len(content)))
        whole += content
    parts, stored = [], b""
    borders = sorted({0, len(whole), *(cut % (len(whole) + 1) for cut in cuts)})
    for number, (begin, end) in enumerate(itertools.pairwise(borders)):
        kind = codec.ZSTD if compressed[number % len(compressed)] else codec.NONE
        kept = codec.compress(whole[begin:end]) if kind == codec.ZSTD else bytes(whole[begin:end])
        parts.append(Part(role, begin, end - begin, len(kept), kind, hashlib.sha256(kept).hexdigest()))
        stored += kept
    return layout, parts, stored, bytes(whole)


def deliver(arrival: Arrival, stored: bytes, begin: int, end: int) -> None:
    place = begin
    while place < end:
        for view in arrival.views(place, end):
            view[:] = stored[place : place + len(view)]
            arrival.arrived(place, place + len(view))
            place += len(view)


CONTENTS = st.lists(st.integers(1, 6000), min_size=1, max_size=12)
CUTS = st.lists(st.integers(0, 2**20), max_size=12)
KINDS = st.lists(st.booleans(), min_size=1, max_size=5)


@settings(deadline=None, max_examples=300)
@given(CONTENTS, CUTS, KINDS, CUTS, st.randoms(use_true_random=False))
def test_whatever_order_the_pieces_come_in_the_buffers_are_right(sizes, cuts, kinds, pieces, order):
    contents = [random.Random(size).randbytes(size) for size in sizes]
    layout, parts, stored, _ = made_of(contents, cuts, kinds)
    buffers = Buffers(layout, parts)
    arrival = Arrival(parts, buffers.room, "here")
    assert arrival.size == len(stored)
    ranges = list(itertools.pairwise(sorted({0, len(stored), *(piece % (len(stored) + 1) for piece in pieces)})))
    order.shuffle(ranges)
    for begin, end in ranges:
        deliver(arrival, stored, begin, end)
    assert [bytes(each) for each in buffers.take(arrival.wait_for)] == contents


@settings(deadline=None, max_examples=200)
@given(st.integers(1, 30_000), CUTS, KINDS, CUTS, st.lists(st.integers(1, 9000), min_size=1, max_size=9))
def test_the_pickle_reads_as_a_file_while_it_comes(size, cuts, kinds, pieces, asked):
    content = random.Random(size).randbytes(size)
    _, parts, stored, _ = made_of([content], cuts, kinds, "pickle")
    stream = PickleStream(parts)
    arrival = Arrival(parts, stream.room, "here")
    stream.begin(arrival.wait_for)

    def come() -> None:
        for begin, end in itertools.pairwise(
            sorted({0, len(stored), *(piece % (len(stored) + 1) for piece in pieces)})
        ):
            deliver(arrival, stored, begin, end)

    thread = threading.Thread(target=come)
    thread.start()
    found = b""
    for number in itertools.count():
        count = asked[number % len(asked)]
        ahead = stream.peek(count)
        if number % 3 == 0:
            piece = stream.read(count)
        elif number % 3 == 1:
            into = bytearray(count)
            piece = bytes(into[: stream.readinto(memoryview(into))])
        else:
            piece = stream.readline()
            assert b"\n" not in piece[:-1]
        assert piece[: len(ahead)] == ahead[: len(piece)]
        if not piece:
            break
        assert len(piece) == count or number % 3 == 2 or len(found) + len(piece) == size
        found += piece
    thread.join()
    assert found == content
    assert stream.read() == b""


@pytest.mark.parametrize("kind", [True, False])
def test_a_part_is_shown_to_nobody_before_its_last_byte_has_come_and_was_checked(kind):
    layout, parts, stored, _ = made_of([bytes(5000)], [], [kind])
    buffers = Buffers(layout, parts)
    arrival = Arrival(parts, buffers.room, "here")
    found = []
    reader = threading.Thread(target=lambda: found.extend(buffers.take(arrival.wait_for)))
    reader.start()
    deliver(arrival, stored, 0, len(stored) - 1)
    time.sleep(0.05)
    assert not found
    deliver(arrival, stored, len(stored) - 1, len(stored))
    reader.join()
    assert bytes(found[0]) == bytes(5000)
    assert arrival.waited_s >= 0.04


@pytest.mark.parametrize("kind", [True, False])
@pytest.mark.parametrize("place", [0, 0.5, 0.999])
def test_a_wrong_byte_is_found_and_its_part_never_shown(kind, place):
    content = random.Random(1).randbytes(9000)
    layout, parts, stored, _ = made_of([content], [4000], [kind])
    wrong = bytearray(stored)
    wrong[int(len(wrong) * place)] ^= 1
    buffers = Buffers(layout, parts)
    arrival = Arrival(parts, buffers.room, "here")
    with pytest.raises(BundleError, match="here is damaged: its bytes are not those that were saved") as raised:
        deliver(arrival, bytes(wrong), 0, len(wrong))
    arrival.fail(raised.value)
    with pytest.raises(BundleError):
        list(buffers.take(arrival.wait_for))


def test_a_frame_that_holds_other_than_it_should_is_found_although_its_hash_is_right():
    layout, _, _, _ = made_of([bytes(5000)], [], [False])
    for content in (bytes(4999), bytes(5001)):
        stored = codec.compress(content)
        digest = hashlib.sha256(stored).hexdigest()
        lying = [Part("buffers", 0, 5000, len(stored), codec.ZSTD, digest)]
        buffers = Buffers(layout, lying)
        arrival = Arrival(lying, buffers.room, "here")
        with pytest.raises(BundleError, match="the frame holds"):
            deliver(arrival, stored, 0, len(stored))


def test_memory_for_compressed_bytes_is_used_again():
    layout, parts, stored, _ = made_of([random.Random(1).randbytes(100_000)], list(range(0, 100_000, 5000)), [True])
    arrival = Arrival(parts, Buffers(layout, parts).room, "here")
    deliver(arrival, stored, 0, len(stored))
    assert len(arrival._scratch) == 1
    arrival.fail(BundleError("done", hint=None))
    assert not arrival._scratch


def test_no_more_of_that_memory_is_kept_than_is_decompressed_at_once():
    content = random.Random(1).randbytes(200_000)
    layout, parts, stored, _ = made_of([content], list(range(0, 200_000, 2000)), [True])
    buffers = Buffers(layout, parts)
    arrival = Arrival(parts, buffers.room, "here")
    ends = list(itertools.accumulate(part.stored for part in parts))
    for end, part in zip(ends, parts, strict=True):  # all are under way before the first is there
        deliver(arrival, stored, end - part.stored, end - 1)
    for end in ends:
        deliver(arrival, stored, end - 1, end)
    assert 0 < len(arrival._scratch) <= decompressing.AT_ONCE
    assert b"".join(map(bytes, buffers.take(arrival.wait_for))) == content


def test_a_part_that_comes_after_the_end_of_it_all_keeps_no_memory():
    layout, parts, stored, _ = made_of([bytes(5000)], [], [True])
    arrival = Arrival(parts, Buffers(layout, parts).room, "here")
    deliver(arrival, stored, 0, len(stored) - 1)
    arrival.fail(BundleError("done", hint=None))
    deliver(arrival, stored, len(stored) - 1, len(stored))
    assert not arrival._scratch


def test_who_waits_is_told_what_keeps_the_bytes_from_coming():
    layout, parts, stored, _ = made_of([bytes(5000)], [2500], [False])
    buffers = Buffers(layout, parts)
    arrival = Arrival(parts, buffers.room, "here")
    threading.Timer(0.05, arrival.fail, [BundleError("the network is gone", hint=None)]).start()
    with pytest.raises(BundleError, match="the network is gone"):
        arrival.wait_for(1)
    deliver(arrival, stored, 0, 2500)
    arrival.wait_for(0)  # what is there and checked is still good
