"""What a model takes and answers, as its type hints say, or else the example: the signature of the bundle.

```
"signature": {
  "request": JSON Schema (2020-12) of `data`; {} when nothing is known
  "answer":  that of `result`, or null
  "source":  "hints" or "example", of the request
  "batch":   whether a list is answered by `predict_batch`
  "hooks":   which of `before` and `after` the model has
  "types":   whether a plan for converting the data lies behind the model in the pickle
}
```
"""

import contextlib
import inspect
import sys
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from thampi.runtime.model import Model
from thampi.runtime.signature import checking, examples, plans, schemas
from thampi.runtime.signature.plans import Plan
from thampi.runtime.signature.shapes import ANY, Listing, Reader, Shape


@dataclass(frozen=True)
class Described:
    """A model's signature, None when there is nothing to say; the plan for its data; what could not be said."""

    signature: dict[str, Any] | None
    plan: Plan | None
    notes: list[str]


def describe(model: Model, example: Any, *, check: bool = True) -> Described:
    """Describe a model; `example` is a value of `data`, or None. Without `check`, anything may be sent to it."""
    kind = type(model)
    hooks = [name for name in ("before", "after") if getattr(kind, name) is not getattr(Model, name)]
    batch = callable(getattr(model, "predict_batch", None))
    reader = Reader()
    plan: Plan | None = None
    request: dict[str, Any] = {}
    answer, source = None, "hints"
    if check:
        shape = _shape_of_data(model, hooks, batch, reader)
        request, plan = schemas.of_request(shape, reader), plans.make(shape, reader.definitions)
        if not request and plan is None and example is not None:
            request, source = _by_example(example, batch), "example"
        elif batch:
            request = checking.batched(request)
        answer = _answer(model, hooks, batch, reader)
    if not (request or answer or batch or hooks or plan):
        return Described(None, None, reader.notes)
    told = {"request": request, "answer": answer, "source": source, "batch": batch, "hooks": hooks, "types": bool(plan)}
    try:
        checking.checker(told)
    except ValueError as error:  # a pattern in Python's own words, for one
        reader.notes.append(f"what is sent can't be checked, so anything is taken: {str(error).splitlines()[0]}")
        told["request"] = {}
    return Described(told, plan, reader.notes)


def _by_example(example: Any, batch: bool) -> dict[str, Any]:
    if not batch:
        return examples.schema_of(example)
    if isinstance(example, list):
        return checking.batched(examples.schema_of(example).get("items", {}))
    return checking.batched(examples.schema_of(example))


def _shape_of_data(model: Model, hooks: Sequence[str], batch: bool, reader: Reader) -> Shape:
    """Return the shape of what is sent, which is of one item where several can be sent."""
    asked = "before" if "before" in hooks else "predict"
    shape = _read(model, asked, "data", reader)
    if shape == ANY and batch and asked == "predict":
        return _item(_read(model, "predict_batch", "data", reader))
    return shape


def _answer(model: Model, hooks: Sequence[str], batch: bool, reader: Reader) -> dict[str, Any] | None:
    asked = "after" if "after" in hooks else "predict"
    shape = _read(model, asked, "return", reader)
    if shape == ANY and batch and asked == "predict":
        shape = _item(_read(model, "predict_batch", "return", reader))
    schema = schemas.of_answer(shape, reader)
    return (checking.batched_answer(schema) if batch else schema) or None


def _item(shape: Shape) -> Shape:
    return shape.item if isinstance(shape, Listing) else ANY


def _read(model: Model, name: str, what: str, reader: Reader) -> Shape:
    """Return the shape of a method's first argument, the data, or of what it returns."""
    where = f"`{name}`" if what == "data" else f"what `{name}` returns"
    try:
        hint = _hint(model, getattr(model, name), what)
    except (NameError, TypeError, AttributeError, SyntaxError, ValueError) as error:
        reader.notes.append(f"{where}: its hint can't be read: {error}")
        return ANY
    return reader.read(hint, where)


def _hint(model: Model, method: Any, what: str) -> Any:
    """Return a hint with the names in it resolved: of text, where the method was written."""
    function = inspect.unwrap(getattr(method, "__func__", method))
    said = _annotations(function)
    name = "return" if what == "return" else next(iter(inspect.signature(method).parameters))
    hint = said.get(name, Any)
    holder = SimpleNamespace(__annotations__={"it": hint})
    there = getattr(function, "__globals__", {})
    return typing.get_type_hints(holder, there, _names_around(model, function), include_extras=True)["it"]


def _annotations(function: Any) -> Mapping[str, Any]:
    if sys.version_info >= (3, 14):
        import annotationlib

        found: Mapping[str, Any] = annotationlib.get_annotations(function, format=annotationlib.Format.FORWARDREF)
        return found
    return getattr(function, "__annotations__", None) or {}


def _names_around(model: Model, function: Any) -> dict[str, Any]:
    """Return the names that a method sees beside its module's: in its class, and in the functions around it."""
    names: dict[str, Any] = {}
    for each in reversed(type(model).__mro__):
        names |= vars(each) | {each.__name__: each}
    code, cells = getattr(function, "__code__", None), getattr(function, "__closure__", None) or ()
    for name, cell in zip(code.co_freevars if code else (), cells, strict=False):
        with contextlib.suppress(ValueError):  # nothing is in it yet
            names[name] = cell.cell_contents
    return names
