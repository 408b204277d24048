import dataclasses
import enum
import json
import math
import sys
import types
import uuid
from collections import ChainMap, OrderedDict, UserList, deque, namedtuple
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thampi.runtime.encoding import encode

BIG = 2**70  # what sends a whole answer the slow way
NOW = datetime(2026, 9, 6, 22, 3, 4, 886644)
Point = namedtuple("Point", "x y")


class Colour(enum.Enum):
    RED = "red"
    TIMES = timedelta(seconds=90)


class Size(enum.IntEnum):
    LARGE = 3


class Word(enum.StrEnum):
    YES = "yes"


@dataclasses.dataclass
class Flower:
    name: str
    petals: object
    _secret: int = 1


def said(value):
    return json.loads(encode(value), parse_constant=pytest.fail)


def said_slowly(value):
    return json.loads(encode([value, BIG]), parse_constant=pytest.fail)[0]


def both_ways(value):
    """Return what is said of a value, which doesn't depend on what stands beside it."""
    fast = said(value)
    assert said_slowly(value) == fast
    return fast


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (np.bool_(True), True),
        *((kind(3), 3) for kind in (np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64)),
        *((kind(1.5), 1.5) for kind in (np.float16, np.float32, np.float64, np.longdouble)),
        *((kind("nan"), None) for kind in (np.float16, np.float32, np.float64, np.longdouble)),
        *((kind("-inf"), None) for kind in (np.float16, np.float32, np.float64, np.longdouble)),
        (np.uint64(2**64 - 1), 2**64 - 1),
        (np.str_("ä"), "ä"),
        (np.datetime64("2026-09-06T22:03:04.5"), "2026-09-06T22:03:04.500000"),
        (np.datetime64("2026-09-06"), "2026-09-06T00:00:00"),
        *((np.datetime64("NaT", unit), None) for unit in ("Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns")),
        (np.datetime64(0, "s"), "1970-01-01T00:00:00"),
        (np.timedelta64(1500, "ms"), 1.5),
        (np.timedelta64(1_500_000_000, "ns"), 1.5),
        (np.timedelta64("NaT", "s"), None),
    ],
)
def test_numpys_scalars_are_what_they_mean(value, wanted):
    assert both_ways(value) == wanted
    assert both_ways({"result": [value]}) == {"result": [wanted]}


@pytest.mark.parametrize(
    ("array", "wanted"),
    [
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (np.asfortranarray([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (np.arange(6)[::2], [0, 2, 4]),
        (np.arange(3, dtype=">i4"), [0, 1, 2]),
        (np.arange(6, dtype=">i4")[::2], [0, 2, 4]),
        (np.array([1.5, 0, math.nan], dtype=np.longdouble)[::2], [1.5, None]),
        (np.array(3.5), 3.5),
        (np.zeros((0, 3)), []),
        (np.array([1.5, math.nan, math.inf, -math.inf]), [1.5, None, None, None]),
        (np.array([1.5, math.nan], dtype=np.float16), [1.5, None]),
        (np.array([1.5, math.nan], dtype=np.longdouble), [1.5, None]),
        (np.array([True, False]), [True, False]),
        (np.array(["a", "ä"]), ["a", "ä"]),
        (np.array([None, {"a": np.int8(1)}, "x"], dtype=object), [None, {"a": 1}, "x"]),
        (np.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f8")]), [[1, 2.5]]),
        (np.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f8")])[0], [1, 2.5]),
        (np.ma.masked_array([1, 2], [False, True]), [1, None]),
        (np.array(["2026-09-06", "NaT"], dtype="M8[D]"), ["2026-09-06T00:00:00", None]),
        (np.array(["2026-09-06", "NaT"], dtype="M8[ns]"), ["2026-09-06T00:00:00", None]),
        (np.array(["2026-09-06"] * 2, dtype="M8[ns]")[::2], ["2026-09-06T00:00:00"]),
        (np.array(["1970-01-01"], dtype="M8[s]"), ["1970-01-01T00:00:00"]),
        (np.array([1500, "NaT"], dtype="m8[ms]"), [1.5, None]),
        (np.array([1_500_000_000], dtype="m8[ns]"), [1.5]),
    ],
)
def test_arrays_are_lists(array, wanted):
    assert both_ways(array) == wanted
    assert both_ways({"result": array}) == {"result": wanted}


@pytest.mark.parametrize("array", [np.array([[0.1, 0.2]] * 2, "f4").T, np.array([0.1, 0.2] * 2, "f4")[::2]])
def test_numbers_are_as_short_in_an_array_of_any_order(array):
    assert encode(array) == encode(np.ascontiguousarray(array)) != encode(array.tolist())


FRAME = pd.DataFrame({"name": ["rose", None], "petals": [5, 8], "height": [1.5, math.nan]})


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (FRAME, [{"name": "rose", "petals": 5, "height": 1.5}, {"name": None, "petals": 8, "height": None}]),
        (pd.DataFrame({0: [1]}), [{"0": 1}]),
        (pd.DataFrame(), []),
        (FRAME["height"], [1.5, None]),
        (FRAME["petals"], [5, 8]),
        (pd.Series([1, None], dtype="Int64"), [1, None]),
        (pd.Index(["a", "b"]), ["a", "b"]),
        (pd.Categorical(["a", "b", None]), ["a", "b", None]),
        (pd.Series(["a", "b"], dtype="category"), ["a", "b"]),
        (pd.Timestamp("2026-09-06T22:03:04"), "2026-09-06T22:03:04"),
        (pd.Timestamp("2026-09-06T22:03:04", tz="Europe/Berlin"), "2026-09-06T22:03:04+02:00"),
        (pd.Series([pd.Timestamp("2026-09-06"), pd.NaT]), ["2026-09-06T00:00:00", None]),
        (pd.Series([pd.Timestamp("2026-09-06", tz="UTC")]), ["2026-09-06T00:00:00+00:00"]),
        (pd.DataFrame({"at": [pd.Timestamp("2026-09-06"), pd.NaT]}), [{"at": "2026-09-06T00:00:00"}, {"at": None}]),
        (pd.Timedelta(seconds=90), 90.0),
        (pd.Series([pd.Timedelta(seconds=90), pd.NaT]), [90.0, None]),
        (pd.NaT, None),
        (pd.NA, None),
        (FRAME.to_numpy(), [["rose", 5, 1.5], [None, 8, None]]),
    ],
)
def test_pandas_is_rows_and_columns_and_holes_are_null(value, wanted):
    assert both_ways(value) == wanted
    assert both_ways([value]) == [wanted]


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (Decimal("1.5"), 1.5),
        (Decimal("NaN"), None),
        (Decimal("-Infinity"), None),
        (Decimal("1e400"), None),
        (Fraction(1, 4), 0.25),
        (math.nan, None),
        (math.inf, None),
        (NOW, "2026-09-06T22:03:04.886644"),
        (NOW.replace(microsecond=0), "2026-09-06T22:03:04"),
        (NOW.replace(tzinfo=UTC), "2026-09-06T22:03:04.886644+00:00"),
        (NOW.replace(tzinfo=timezone(timedelta(hours=-5, minutes=-30))), "2026-09-06T22:03:04.886644-05:30"),
        (date(2026, 9, 6), "2026-09-06"),
        (time(22, 3, 4), "22:03:04"),
        (time(22, 3, 4, tzinfo=UTC), "22:03:04+00:00"),
        (timedelta(minutes=1, milliseconds=500), 60.5),
        ({3}, [3]),
        (frozenset(), []),
        (range(3), [0, 1, 2]),
        ((1, (2,)), [1, [2]]),
        (Point(1, 2), [1, 2]),
        (deque([1, 2]), [1, 2]),
        (UserList([1]), [1]),
        ({"a": 1}.keys(), ["a"]),
        ({"a": 1}.values(), [1]),
        ({"a": 1}.items(), [["a", 1]]),
        (types.MappingProxyType({"a": Decimal(1)}), {"a": 1.0}),
        (ChainMap({"a": 1}), {"a": 1}),
        (OrderedDict(a=1), {"a": 1}),
        (uuid.UUID(int=5), "00000000-0000-0000-0000-000000000005"),
        (Colour.RED, "red"),
        (Colour.TIMES, 90.0),
        (Size.LARGE, 3),
        (Word.YES, "yes"),
        (Flower("rose", np.int8(5)), {"name": "rose", "petals": 5}),
        ({"deep": [Flower("rose", {Decimal(1)})]}, {"deep": [{"name": "rose", "petals": [1.0]}]}),
    ],
)
def test_pythons_own_types_are_what_a_reader_expects(value, wanted):
    assert both_ways(value) == wanted


@pytest.mark.parametrize(
    ("keys", "wanted"),
    [
        ({1: 0, 1.5: 0, None: 0, False: 0}, ["1", "1.5", "null", "false"]),
        ({math.nan: 0}, ["null"]),
        ({date(2026, 9, 6): 0, NOW: 0}, ["2026-09-06", "2026-09-06T22:03:04.886644"]),
        ({uuid.UUID(int=5): 0, Colour.RED: 0, Size.LARGE: 0}, [str(uuid.UUID(int=5)), "red", "3"]),
        ({np.int64(1): 0, np.float32(1.5): 0, np.str_("a"): 0}, ["1", "1.5", "a"]),
        ({Decimal("1.5"): 0}, ["1.5"]),
        ({pd.Timestamp("2026-09-06"): 0}, ["2026-09-06T00:00:00"]),
    ],
)
def test_keys_that_are_no_text_become_text(keys, wanted):
    assert list(both_ways(keys)) == wanted


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1, 10**100])
def test_integers_of_any_size_keep_every_digit(number):
    assert said({"result": number}) == {"result": number}
    assert said([np.int8(1), number]) == [1, number]


def test_half_a_surrogate_pair_goes_out_as_it_came():
    assert said("\ud800") == "\ud800"
    encode("\ud800").decode("ascii")


@pytest.mark.parametrize(
    "value",
    [b"x", bytearray(b"x"), memoryview(b"x"), np.bytes_(b"x"), np.array([b"x"]), 1j, object(), int, (n for n in "ab")],
)
@pytest.mark.parametrize("wrap", [lambda value: value, lambda value: {"a": [value]}, lambda value: [value, BIG]])
def test_what_json_cant_say_is_refused_by_the_name_of_its_type(value, wrap):
    with pytest.raises(TypeError, match="has no form in JSON") as caught:
        encode(wrap(value))
    assert "builtins" not in str(caught.value)


def test_a_table_keyed_by_pairs_is_refused():
    frame = pd.DataFrame([[1]], columns=pd.MultiIndex.from_tuples([("a", "b")]))
    with pytest.raises(TypeError, match="key"):
        encode(frame)


def test_what_contains_itself_is_refused():
    endless = {}
    endless["self"] = endless
    with pytest.raises(TypeError, match="contains itself"):
        encode(endless)


def test_what_an_answer_needed_of_the_stack_is_given_back():
    before = sys.getrecursionlimit()
    deep = json.loads("[" * 500 + "]" * 500)
    assert said(deep) == deep
    assert sys.getrecursionlimit() == before


def test_an_object_that_says_what_it_holds_is_asked():
    class Tensor:
        def numpy(self):
            return np.array([1.5])

    class Table:
        columns = ("a",)

        def to_dicts(self):
            return [{"a": 1}]

        def to_dict(self):
            pytest.fail("by columns")

    class Answer:
        def model_dump(self):
            return {"at": NOW}

    wanted = [[1.5], [{"a": 1}], {"at": "2026-09-06T22:03:04.886644"}]
    assert both_ways([Tensor(), Table(), Answer()]) == wanted


def test_what_an_object_says_of_its_own_failure_is_passed_on():
    class Broken:
        def tolist(self):
            raise TypeError("not on this device")

    with pytest.raises(TypeError, match="not on this device"):
        encode(Broken())


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text()
    | st.decimals(allow_nan=True)
    | st.datetimes(timezones=st.none() | st.just(UTC))
    | st.dates()
    | st.times()
    | st.timedeltas()
    | st.uuids()
    | st.sampled_from([*Colour, *Size, *Word])
    | st.integers(-100, 100).map(lambda quarters: np.float32(quarters / 4))
    | st.integers(-128, 127).map(np.int8)
    | st.integers(-(2**63), 2**63 - 1).map(lambda count: np.datetime64(count, "ns"))
    | st.integers(-(2**40), 2**40).map(lambda count: np.datetime64(count, "ms"))
)


@given(
    st.recursive(
        scalars,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.text(max_size=3) | st.integers() | st.dates(), inner, max_size=3)
            | st.builds(Flower, st.text(max_size=3), inner)
            | st.tuples(inner, inner)
        ),
        max_leaves=10,
    )
)
def test_what_is_said_of_a_value_does_not_depend_on_what_stands_beside_it(value):
    both_ways(value)
