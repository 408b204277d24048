"""Values of JSON for property-based tests: any at all, and those that a schema of ours allows."""

import string

from hypothesis import strategies as st

anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False, width=32)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)

_FORMATS = {
    "date": st.dates().map(str),
    "date-time": st.datetimes().map(lambda moment: moment.isoformat() + "Z"),
    "time": st.times().map(lambda moment: moment.isoformat()),
    "uuid": st.uuids().map(str),
}


def from_schema(schema, definitions=None):
    """Return the strategy for what a schema allows; of the words of JSON Schema it knows those that we write."""
    definitions = schema.get("$defs", {}) if definitions is None else definitions
    made = {}

    def of(node):
        if "$ref" in node:
            name = node["$ref"].removeprefix("#/$defs/")
            if name not in made:
                made[name] = st.deferred(lambda: of(definitions[name]))
            return made[name]
        if "anyOf" in node or "oneOf" in node:
            # Rather the last: that is where what contains itself ends.
            return st.one_of(*map(of, reversed(node.get("anyOf", node.get("oneOf")))))
        if "enum" in node:
            return st.sampled_from(node["enum"])
        if "const" in node:
            return st.just(node["const"])
        kinds = node.get("type", "any")
        kinds = [kinds] if isinstance(kinds, str) else kinds
        return st.one_of(*(_KINDS[kind](node, of) for kind in kinds))

    return of(schema)


def _number(node, of):
    lowest, highest = (
        node.get("minimum", node.get("exclusiveMinimum")),
        node.get("maximum", node.get("exclusiveMaximum")),
    )
    open_ends = {"exclude_min": "exclusiveMinimum" in node, "exclude_max": "exclusiveMaximum" in node}
    return st.floats(lowest, highest, allow_nan=False, allow_infinity=False, **open_ends) | _integer(node, of)


def _integer(node, of):
    lowest = node["exclusiveMinimum"] + 1 if "exclusiveMinimum" in node else node.get("minimum", -(2**53))
    highest = node["exclusiveMaximum"] - 1 if "exclusiveMaximum" in node else node.get("maximum", 2**53)
    whole = st.integers(lowest, highest)
    return whole | whole.map(float)  # JSON Schema has 3.0 for a whole number, too


def _string(node, of):
    if "format" in node:
        return _FORMATS[node["format"]]
    if "pattern" in node:
        found = st.from_regex(node["pattern"], fullmatch=True)
        return found.filter(lambda text: len(text) >= node.get("minLength", 0))
    return st.text(min_size=node.get("minLength", 0), max_size=node.get("maxLength", node.get("minLength", 0) + 6))


def _array(node, of):
    if "prefixItems" in node:
        items = [of(each) for each in node["prefixItems"]]
        counts = range(node["minItems"], len(items) + 1)
        return st.one_of(*(st.tuples(*items[:count]).map(list) for count in counts))
    lowest = node.get("minItems", 0)
    return st.lists(of(node.get("items", {})), min_size=lowest, max_size=node.get("maxItems", lowest + 3))


def _object(node, of):
    needed = node.get("required", ())
    parts = {name: of(each) for name, each in node.get("properties", {}).items()}
    named = st.fixed_dictionaries(
        {name: each for name, each in parts.items() if name in needed},
        optional={name: each for name, each in parts.items() if name not in needed},
    )
    more = node.get("additionalProperties", True)
    if more is False:
        return named
    keys = of({"type": "string"} | node["propertyNames"]) if "propertyNames" in node else st.text(string.printable)
    others = st.dictionaries(keys.filter(lambda key: key not in parts), of({} if more is True else more), max_size=3)
    return st.builds(lambda one, other: other | one, named, others)


_KINDS = {
    "any": lambda node, of: anything,
    "null": lambda node, of: st.none(),
    "boolean": lambda node, of: st.booleans(),
    "number": _number,
    "integer": _integer,
    "string": _string,
    "array": _array,
    "object": _object,
}
