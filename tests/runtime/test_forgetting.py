"""A pickle without the notes that nobody asks for is the same pickle: pickletools says what it must be."""

import io
import pickle
import pickletools
from collections import OrderedDict
from typing import Any

import cloudpickle
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thampi.runtime import forgetting


def forgotten(pickled: bytes) -> bytes:
    written = bytearray()
    forgetting.forget(io.BytesIO(pickled), written.extend)
    return bytes(written)


def operations(pickled: bytes) -> list[tuple[str, Any]]:
    """Return what a pickle does, however it is cut into frames."""
    return [(opcode.name, argument) for opcode, argument, _ in pickletools.genops(pickled) if opcode.name != "FRAME"]


def endless() -> list[Any]:
    found: list[Any] = [{"a": 1}]
    found.append((found, {"itself": found}))
    return found


WORDS = [f"word {number}" for number in range(400)]
OBJECTS = {
    "nothing": None,
    "a number": 5,
    "numbers": [0, 1, 255, 256, -1, 65535, 65536, 2**31, -(2**40), 2**700, 2**3000, 1.5, True, False, None],
    "text": ["", "a", "a" * 255, "a" * 256, "ä" * 200, "a" * 70_000, "\u2028", "a" * 65_535],
    "bytes": [b"", b"a", b"a" * 255, b"a" * 256, b"a" * 100_000, bytearray(b"b" * 100_000), bytearray()],
    "the same again": ["a", "a", WORDS, WORDS, (WORDS[0], WORDS[-1]), {"a": WORDS}],
    "hundreds of the same": [*WORDS, *reversed(WORDS)],
    "some of hundreds": [*WORDS, WORDS[300], WORDS[1]],
    "many frames": [*(f"{number:>200}" for number in range(3000)), WORDS, WORDS],
    "large, small, large": [b"x" * 70_000, b"x" * 70_001, "y" * 70_000, b"x" * 70_000],
    "sets and tuples": [{1, 2}, frozenset({3}), (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [], {}, set()],
    "of classes": [OrderedDict(a=1), ValueError("x"), io.BytesIO, slice(1, 2), complex(1, 2), range(3), Ellipsis],
    "a function": lambda asked: [WORDS, asked],
    "itself": endless(),
    "arrays": [np.arange(5), np.zeros(100_000), np.float32(2), np.dtype("f4")],
}


@pytest.mark.parametrize("name", OBJECTS)
def test_it_does_what_pickletools_would_have_it_do(name):
    for pickled in (cloudpickle.dumps(OBJECTS[name], 5), out_of_band(OBJECTS[name])):
        assert operations(forgotten(pickled)) == operations(pickletools.optimize(pickled))


def out_of_band(held: Any) -> bytes:
    file = io.BytesIO()
    cloudpickle.Pickler(file, 5, buffer_callback=lambda buffer: False).dump(held)
    return file.getvalue()


@pytest.mark.parametrize(
    "name", [name for name in OBJECTS if name not in ("a function", "itself", "of classes", "arrays")]
)
def test_it_loads_as_it_was(name):
    assert pickle.loads(forgotten(pickle.dumps(OBJECTS[name], 5))) == OBJECTS[name]


def test_what_is_in_itself_still_is():
    found = pickle.loads(forgotten(pickle.dumps(endless(), 5)))
    assert found[1][0] is found
    assert found[1][1]["itself"] is found


def test_what_was_one_object_is_one_object():
    words = pickle.loads(forgotten(pickle.dumps([WORDS, WORDS, WORDS[7]], 5)))
    assert words[0] is words[1]
    assert words[2] is words[0][7]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
)


@settings(deadline=None, max_examples=150)
@given(held=JSON, again=st.integers(1, 3))
def test_any_object_loads_as_it_was(held, again):
    pickled = pickle.dumps([held] * again, 5)
    assert operations(forgotten(pickled)) == operations(pickletools.optimize(pickled))
    assert pickle.loads(forgotten(pickled)) == [held] * again


def test_frames_are_as_they_were_but_for_the_notes():
    """The unpickler reads a frame at a time: thousands of small ones would be slow, a single one would be large."""
    pickled = pickle.dumps([f"{number:>200}" for number in range(3000)], 5)
    frames = [name for name, *_ in pickletools.genops(forgotten(pickled)) if name.name == "FRAME"]
    assert len(frames) == sum(opcode.name == "FRAME" for opcode, *_ in pickletools.genops(pickled)) > 5


@pytest.mark.parametrize("protocol", [0, 1, 2, 3])
def test_a_pickle_of_an_older_protocol_is_refused(protocol):
    with pytest.raises(ValueError, match="protocol 5"):
        forgotten(pickle.dumps([["a"], "b", {"c": 1}], protocol))


def test_a_pickle_that_was_cut_off_is_refused():
    pickled = pickle.dumps(["a" * 300, b"b" * 70_000], 5)
    for length in (30, 100, 200):
        with pytest.raises(ValueError, match=r"cut off|operation"):
            forgotten(pickled[:length])


def test_large_content_is_copied_in_pieces():
    written = []
    forgetting.forget(io.BytesIO(pickle.dumps(bytes(5_000_000), 5)), written.append)
    assert max(map(len, written)) <= 1024 * 1024
