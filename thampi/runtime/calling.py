"""How a model is asked: its data checked and converted, then `before`, `predict` or `predict_batch`, and `after`.

The handler and the proof of a save ask in the same way. A bundle without a signature is asked as ever: `predict`, and
nothing around it.
"""

from collections.abc import Callable, Mapping
from typing import Any

from thampi.runtime.model import Context, Model
from thampi.runtime.signature.checking import Checker
from thampi.runtime.signature.mistakes import InvalidDataError, Mistake, WrongBatchError

Ask = Callable[[Any, Context], Any]


def make(model: Model, signature: Mapping[str, Any] | None, checker: Checker | None, types: Any = None) -> Ask:
    """Return the function that asks a model for the answer to `data`, a value of JSON.

    `checker` is that of the signature, `types` the plan that lies behind the model in the pickle. The function raises
    InvalidDataError, WrongBatchError, and what the model raises.
    """
    if signature is None:
        return model.predict
    ready = _preparing(checker, types)
    before = model.before if "before" in signature["hooks"] else None
    after = model.after if "after" in signature["hooks"] else None
    one = _single(model.predict, ready, before, after)
    if not signature["batch"]:
        return one
    many = _batch(getattr(model, "predict_batch"), _preparing(checker, types, many=True), before, after)  # noqa: B009

    def ask(data: Any, context: Context) -> Any:
        return many(data, context) if isinstance(data, list) else one(data, context)

    return ask


def _single(predict: Ask, ready: Callable[[Any], Any] | None, before: Ask | None, after: Ask | None) -> Ask:
    if ready is None and before is None and after is None:
        return predict

    def ask(data: Any, context: Context) -> Any:
        if ready is not None:
            data = ready(data)
        if before is not None:
            data = before(data, context)
        result = predict(data, context)
        return result if after is None else after(result, context)

    return ask


def _batch(predict_batch: Ask, ready: Callable[[Any], Any] | None, before: Ask | None, after: Ask | None) -> Ask:
    def ask(items: Any, context: Context) -> Any:
        if ready is not None:
            items = ready(items)
        if before is not None:
            items = [before(item, context) for item in items]
        asked = len(items)
        results = predict_batch(items, context)
        found = _length(results)
        if found != asked:
            what = f"a {type(results).__name__}" if found is None else f"{found} results"
            raise WrongBatchError(f"`predict_batch` got {asked} items and returned {what}")
        return results if after is None else [after(result, context) for result in results]

    return ask


def _length(results: Any) -> int | None:
    """Return how many results there are; None for what is no list of them."""
    if isinstance(results, str | bytes | Mapping):
        return None
    try:
        return len(results)
    except TypeError:
        return None


def _preparing(checker: Checker | None, types: Any, many: bool = False) -> Callable[[Any], Any] | None:
    """Return what checks data and makes of it what the model's hint says; None when neither is to be done."""
    if types is None:
        return None if checker is None else _checked(checker)
    from thampi.runtime.signature import conversion

    step = conversion.build(types)

    def ready(data: Any) -> Any:
        if checker is not None:
            checker.check(data)
        found: list[Mistake] = []
        try:
            if many:
                made: Any = [conversion.within(step, index, item, found) for index, item in enumerate(data)]
            else:
                made = step(data, found)
        except RecursionError:
            found = [Mistake((), "it is nested too deep")]
        if found:
            raise InvalidDataError(found)
        return made

    return ready


def _checked(checker: Checker) -> Callable[[Any], Any]:
    def ready(data: Any) -> Any:
        checker.check(data)
        return data

    return ready
