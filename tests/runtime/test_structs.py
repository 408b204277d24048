"""Classes of msgspec's Structs that go into a pickle come out the same."""

import pickle
import sys
from typing import Annotated, Any

import msgspec
import pytest

from thampi.runtime import structs


class Base(msgspec.Struct, kw_only=True, rename="camel", tag="base"):
    long_name: str = "x"
    more: list[int] = msgspec.field(default_factory=list)

    def shout(self) -> str:
        return self.long_name.upper()


class Derived(Base, frozen=True, order=True, tag="derived", tag_field="kind"):
    """It is derived."""

    size: Annotated[int, msgspec.Meta(ge=1, description="cm")]
    inner: "Derived | None" = None
    limit = 5  # no field: it has no hint

    @property
    def doubled(self) -> int:
        return 2 * self.size


class Narrowed(Base):
    more: tuple[int, ...] = (1,)


class Listed(msgspec.Struct, array_like=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    x: int
    y: float = 0.5


ALL = (Base, Derived, Narrowed, Listed)


def again(made: Any) -> Any:
    """Take a class apart and make it again, as pickling by value and loading do."""
    make, arguments, (content, _), _, _, put = structs.reduce(made, by_value=True)
    new = make(*arguments)
    put(new, (content, {}))
    return new


@pytest.mark.parametrize("made", ALL)
def test_the_class_is_the_same(made):
    new = again(made)
    assert new is not made
    for name in (
        "__struct_fields__",
        "__struct_encode_fields__",
        "__match_args__",
        "__name__",
        "__module__",
        "__doc__",
    ):
        assert getattr(new, name) == getattr(made, name)
    for name in (
        "frozen",
        "order",
        "eq",
        "array_like",
        "omit_defaults",
        "forbid_unknown_fields",
        "gc",
        "tag",
        "tag_field",
    ):
        assert getattr(new.__struct_config__, name) == getattr(made.__struct_config__, name), name
    assert msgspec.structs.fields(new) == msgspec.structs.fields(made)


def test_its_instances_are_the_same():
    new = again(Derived)
    sent = {"kind": "derived", "size": 2, "longName": "a", "inner": {"kind": "derived", "size": 1}}
    made = msgspec.convert(sent, new)
    assert (made.size, made.doubled, made.shout(), made.inner.more, made.limit) == (2, 4, "A", [], 5)
    assert new(3, long_name="b").size == 3
    assert new(1).more is not new(1).more
    assert isinstance(made, Base)
    with pytest.raises(msgspec.ValidationError, match=r">= 1.*\$\.inner\.size"):
        msgspec.convert(sent | {"inner": {"kind": "derived", "size": 0}}, new)
    with pytest.raises(AttributeError):
        made.size = 3


def test_a_class_that_is_imported_by_name_stays_a_name():
    assert structs.reduce(Base, by_value=False) is NotImplemented
    assert structs.reduce(Base(), by_value=False) is NotImplemented


def test_bounds_can_be_pickled():
    meta = msgspec.Meta(ge=1, description="cm", examples=[2])
    make, arguments = structs.reduce(meta, by_value=False)
    assert make(*arguments) == meta
    assert pickle.loads(pickle.dumps(make))() == meta


def test_the_function_that_makes_them_is_found_under_thampi():
    assert sys.modules["thampi"]._struct is structs.struct
    assert pickle.dumps(structs.struct, 0) == b"cthampi\n_struct\np0\n."
