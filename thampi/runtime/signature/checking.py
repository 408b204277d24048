"""What callers may send, checked in Lambda against the bundle's signature: every mistake, with the path to it.

jsonschema-rs checks 1 MB of numbers in a fraction of the time that parsing it takes; it is imported only for a bundle
that has a signature.
"""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from thampi.runtime.signature.mistakes import MOST, InvalidDataError, Mistake, Path

Schema = Mapping[str, Any]


def batched(item: Schema) -> dict[str, Any]:
    """Return the schema of data that is one item or a list of them: a list always is the latter."""
    plain = {key: value for key, value in item.items() if key != "$defs"}
    if not plain:
        return {}
    defined = {"$defs": item["$defs"]} if "$defs" in item else {}
    of_many = {"type": "array", "items": plain}
    if plain.get("type") == "array":
        return of_many | defined
    is_object = plain.get("type") not in (None, "array") and isinstance(plain["type"], str)
    of_one = plain if is_object else {"not": {"type": "array"}, "allOf": [plain]}
    return {"anyOf": [of_one, of_many]} | defined


def batched_answer(item: Schema) -> dict[str, Any]:
    """Return the schema of the answer to one item, or to a list of them."""
    plain = {key: value for key, value in item.items() if key != "$defs"}
    defined = {"$defs": item["$defs"]} if "$defs" in item else {}
    return {"anyOf": [plain, {"type": "array", "items": plain}]} | defined if plain else {}


def _item_of(request: Schema) -> Schema:
    """Return the schema of one item, out of what `batched` has made of it."""
    of_many = request["anyOf"][1] if "anyOf" in request else request
    return {**of_many["items"], **({"$defs": request["$defs"]} if "$defs" in request else {})}


def checker(signature: Schema) -> "Checker | None":
    """Return what checks data against a signature; None for one that says nothing of it."""
    return Checker(signature) if signature["request"] else None


class Checker:
    """A signature, compiled."""

    def __init__(self, signature: Schema) -> None:
        import jsonschema_rs  # 20 ms, for a bundle that has a signature

        def compiled(schema: Schema) -> Any:
            # Values are masked: a mistake says where it is, and not a megabyte of what was sent.
            return jsonschema_rs.validator_for(dict(schema), mask="it", validate_formats=False, offline=True)

        request = signature["request"]
        if signature["batch"]:
            item = _item_of(request)
            defined = {"$defs": item["$defs"]} if "$defs" in item else {}
            self._one = compiled(item)
            plain = {key: value for key, value in item.items() if key != "$defs"}
            self._many = compiled({"type": "array", "items": plain, **defined})
        else:
            self._one = self._many = compiled(request)

    def check(self, data: Any) -> None:
        """Raise InvalidDataError unless the data is what the signature says."""
        validator = self._many if isinstance(data, list) else self._one
        if not validator.is_valid(data):
            errors = validator.iter_errors(data)
            found = islice((each for error in errors for each in _mistakes(error)), MOST + 1)
            raise InvalidDataError([Mistake(_followed(data, each.path), each.message) for each in found])


def _mistakes(error: Any) -> Iterator[Mistake]:
    """Yield what an error of jsonschema-rs means; of several alternatives, what is wrong with the one that was meant.

    That is the one that has its mistakes deeper down than the others: those were of another kind from the start.
    """
    path = tuple(error.instance_path)
    if error.kind.name in ("anyOf", "oneOf") and getattr(error.kind, "context", None):
        deep = [
            branch
            for branch in error.kind.context
            if not any(each.kind.name == "type" and tuple(each.instance_path) == path for each in branch)
        ]
        if len(deep) == 1:
            for each in deep[0]:
                yield from _mistakes(each)
            return
    yield Mistake(path, error.message)


def _followed(data: Any, path: Path) -> Path:
    """Return a path as it leads through the data: jsonschema-rs makes 0 of the key "00", and leaves out an empty one.

    Of an empty key at the very end nothing is left to be seen: the mistake is said of the object that has it.
    """
    found: list[str | int] = []
    for part in path:
        while isinstance(data, dict) and str(part) not in data:
            same = (key for key in data if key.isdecimal() and int(key) == part)
            key = next(same, "")
            if key not in data:
                return path
            found.append(key)
            data = data[key]
            if key:
                break
        else:
            found.append(part)
            data = data[str(part)] if isinstance(data, dict) else data[part]
    return tuple(found)
