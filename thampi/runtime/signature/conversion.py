"""What a model gets for the data of a request: the plan that was made from its hint (see signature/plans.py), followed.

It is asked after the schema has been: what is found here is what no schema can say, a date that there is not, or what a
type of the user's refuses. Every mistake is found with its path, in one walk.
"""

import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

import orjson

from thampi.runtime.signature.mistakes import Mistake, Path

# Returns what a value becomes; what is wrong in it is added to the list, and the value is of no use then.
Step = Callable[[Any, list[Mistake]], Any]

_KINDS: dict[str, tuple[type, ...]] = {
    "null": (type(None),),
    "boolean": (bool,),
    "number": (int, float),
    "string": (str,),
    "any": (object,),
}


def build(plan: Sequence[tuple[Any, ...]]) -> Step:
    """Return the function that follows a plan."""
    steps = _Steps(plan)
    steps.built += [_MAKERS[kind](steps, *told) for kind, *told in plan]
    return steps.built[0]


class _Steps:
    """The steps of a plan, by their places in it; one may stand before those that it needs, or need itself."""

    def __init__(self, plan: Sequence[tuple[Any, ...]]) -> None:
        self._plan = plan
        self.built: list[Step] = []

    def at(self, place: int) -> Step | None:
        """Return the step at a place, which may not be built yet; None where nothing is to be done."""
        return None if place < 0 else lambda value, found: self.built[place](value, found)

    def is_integer(self, place: int) -> bool:
        """Say whether the step at a place is that of a whole number."""
        return place >= 0 and self._plan[place][0] == "integer"


def _integer(steps: _Steps) -> Step:
    def step(value: Any, found: list[Mistake]) -> Any:
        if type(value) is int:
            return value
        if type(value) is float and value.is_integer():
            return int(value)
        found.append(Mistake((), "it is not of type integer"))
        return value

    return step


def _plain(steps: _Steps, kind: str) -> Step:
    kinds = _KINDS[kind]

    def step(value: Any, found: list[Mistake]) -> Any:
        if not isinstance(value, kinds) or (isinstance(value, bool) and kind == "number"):
            found.append(Mistake((), f"it is not of type {kind}"))
        return value

    return step


_READ: dict[str, Callable[[Any], Any]] = {
    "date": date.fromisoformat,
    "date-time": datetime.fromisoformat,
    "time": time.fromisoformat,
    "seconds": lambda value: timedelta(seconds=value),
    "decimal": lambda value: Decimal(str(value)),
    "uuid": UUID,
    "bytes": str.encode,
}


def _made(steps: _Steps, kind: str, made: Any) -> Step:
    read = _READ.get(kind, made)

    def step(value: Any, found: list[Mistake]) -> Any:
        try:
            return read(value)
        except (ValueError, TypeError, ArithmeticError, InvalidOperation, AttributeError):
            found.append(Mistake((), f"it is no {getattr(made, '__name__', kind)}"))
            return value

    return step


def _list(steps: _Steps, place: int, into: type | None) -> Step:
    inner, of_integers = steps.at(place), steps.is_integer(place)

    def step(value: Any, found: list[Mistake]) -> Any:
        if not isinstance(value, list):
            found.append(Mistake((), "it is not of type array"))
            return value
        # A long array of whole numbers is looked through at once, and most have nothing to mend.
        as_it_is = inner is None or (of_integers and set(map(type, value)) <= {int})
        made = value
        if inner is not None and not as_it_is:
            made = [within(inner, index, each, found) for index, each in enumerate(value)]
        if into is None or found:
            return made
        try:
            return into(made)
        except TypeError:
            found.append(Mistake((), f"it has values that can't be in a {into.__name__}"))
            return value

    return step


def _row(steps: _Steps, places: Sequence[int], into: Any, needed: int) -> Step:
    inner = [steps.at(place) for place in places]
    is_plain_tuple = into is tuple

    def step(value: Any, found: list[Mistake]) -> Any:
        if not isinstance(value, list) or not needed <= len(value) <= len(inner):
            found.append(Mistake((), f"it is no array of {len(inner)} values"))
            return value
        made = [
            each if of is None else within(of, index, each, found)
            for index, (of, each) in enumerate(zip(inner, value, strict=False))
        ]
        return tuple(made) if is_plain_tuple else _called(into, made, {}, found)

    return step


def _table(steps: _Steps, key_place: int, place: int) -> Step:
    of_key, inner, of_numbers = steps.at(key_place), steps.at(place), steps.is_integer(key_place)

    def step(value: Any, found: list[Mistake]) -> Any:
        if not isinstance(value, dict):
            found.append(Mistake((), "it is not of type object"))
            return value
        return {
            (name if of_key is None else within(of_key, name, _number(name) if of_numbers else name, found)): (
                each if inner is None else within(inner, name, each, found)
            )
            for name, each in value.items()
        }

    return step


def _number(name: str) -> Any:
    """Return the number that a key stands for: JSON has only text there."""
    try:
        return int(name)
    except ValueError:
        return name


def _record(
    steps: _Steps, into: Any, places: Mapping[str, int], needed: Sequence[str], told: Mapping[str, Sequence[Any]]
) -> Step:
    parts = {name: steps.at(place) for name, place in places.items()}

    def step(value: Any, found: list[Mistake]) -> Any:
        # At once, before anything below: among several records, these tell which one it is.
        if not isinstance(value, dict):
            found.append(Mistake((), "it is not of type object"))
            return value
        wrong = [Mistake((), f'"{name}" is a required property') for name in needed if name not in value]
        wrong += [
            Mistake((), f'its "{name}" is not one of {values}')
            for name, values in told.items()
            if name in value and value[name] not in values
        ]
        if wrong:
            found += wrong
            return value
        before = len(found)
        made = {
            name: each if (inner := parts.get(name)) is None else within(inner, name, each, found)
            for name, each in value.items()
            if into is None or name in parts
        }
        return made if into is None or len(found) > before else _called(into, (), made, found)

    return step


def _called(into: Any, positional: Iterable[Any], named: Mapping[str, Any], found: list[Mistake]) -> Any:
    """Make an instance of the user's type, which may refuse what it gets."""
    try:
        return into(*positional, **named)
    except (ValueError, AssertionError) as error:
        found.append(Mistake((), str(error) or f"it is no {into.__name__}"))
        return None


def _options(steps: _Steps, places: Sequence[int]) -> Step:
    inner = [each for place in places if (each := steps.at(place)) is not None]

    def step(value: Any, found: list[Mistake]) -> Any:
        closest: list[Mistake] = []
        for each in inner:
            wrong: list[Mistake] = []
            made = each(value, wrong)
            if not wrong:
                return made
            closest = max(closest, wrong, key=_depth)
        found += closest
        return value

    return step


def _depth(mistakes: list[Mistake]) -> int:
    return max((len(each.path) for each in mistakes), default=-1)


def _member(steps: _Steps, pairs: Sequence[tuple[Any, Any]]) -> Step:
    def step(value: Any, found: list[Mistake]) -> Any:
        for carried, member in pairs:
            if carried == value and isinstance(carried, bool) == isinstance(value, bool):
                return member
        found.append(Mistake((), f"it is not one of {', '.join(str(carried) for carried, _ in pairs)}"))
        return value

    return step


def _array(steps: _Steps, asarray: Any, dtype: str | None) -> Step:
    def step(value: Any, found: list[Mistake]) -> Any:
        try:
            return asarray(value, dtype)
        except (ValueError, TypeError, OverflowError) as error:
            found.append(Mistake((), f"it is no array: {error}"))
            return value

    return step


def _pydantic(steps: _Steps, hint: Any) -> Step:
    pydantic = sys.modules["pydantic"]  # the type has brought it
    adapter, refused = pydantic.TypeAdapter(hint), pydantic.ValidationError

    def step(value: Any, found: list[Mistake]) -> Any:
        try:
            # As JSON: of a Python object a strict model would want more than JSON can carry.
            return adapter.validate_json(orjson.dumps(value))
        except refused as error:
            for each in error.errors(include_url=False, include_context=False, include_input=False):
                found.append(Mistake(_followed(value, each["loc"]), each["msg"]))
            return value

    return step


def _followed(value: Any, location: Iterable[str | int]) -> Path:
    """Return what of a location leads through the data: pydantic also names its own types on the way."""
    path: list[str | int] = []
    for each in location:
        in_list = isinstance(value, list) and isinstance(each, int) and each < len(value)
        if in_list or (isinstance(value, dict) and each in value):
            value = value[each]
        else:
            continue
        path.append(each)
    return tuple(path)


_MSGSPEC_PATH = re.compile(r"(?s)(.*) - at `\$?(.*)`")
_MSGSPEC_PART = re.compile(r"\.([^.\[]+)|\[(\d+)\]")


def _msgspec(steps: _Steps, hint: Any) -> Step:
    msgspec = sys.modules["msgspec"]  # the type has brought it
    convert, refused = msgspec.convert, msgspec.ValidationError

    def step(value: Any, found: list[Mistake]) -> Any:
        try:
            return convert(value, hint, str_keys=True)
        except refused:
            pass
        try:
            # JSON Schema has 3.0 for a whole number, too, which msgspec takes only with this.
            return convert(value, hint, str_keys=True, strict=False)
        except refused as error:
            message = str(error)
            path: Path = ()
            if told := _MSGSPEC_PATH.fullmatch(message):
                message = told[1]
                parts = [name or int(index) for name, index in _MSGSPEC_PART.findall(told[2])]
                path = _followed(value, parts)
            found.append(Mistake(path, message))
            return value

    return step


def within(step: Step, key: str | int, value: Any, found: list[Mistake]) -> Any:
    """Take a step with a part of the data; what is wrong there is found under the part's key."""
    before = len(found)
    made = step(value, found)
    if len(found) > before:
        found[before:] = [Mistake((key, *each.path), each.message) for each in found[before:]]
    return made


_MAKERS: dict[str, Callable[..., Step]] = {
    "integer": _integer,
    "plain": _plain,
    "made": _made,
    "list": _list,
    "row": _row,
    "table": _table,
    "record": _record,
    "options": _options,
    "member": _member,
    "array": _array,
    "pydantic": _pydantic,
    "msgspec": _msgspec,
}
