"""Policy documents, compared by what they say: AWS hands them back in another order, and lists of one as text."""

import json
from collections.abc import Mapping
from typing import Any

Document = Mapping[str, Any]  # as in JSON: Version and Statement

VERSION = "2012-10-17"


def make(*statements: Mapping[str, Any]) -> Document:
    """Make a document; each statement has a Sid."""
    return {"Version": VERSION, "Statement": list(statements)}


def changes(name: str, found: Document, wanted: Document) -> tuple[str, ...]:
    """Say by Sid which statements differ."""
    before, after = _statements(found), _statements(wanted)
    return tuple(
        f"{name}.{sid or 'statement'}: {before.get((sid, key), 'none')} -> {after.get((sid, key), 'none')}"
        for sid, key in dict.fromkeys([*after, *before])
        if before.get((sid, key)) != after.get((sid, key))
    )


def merged(found: Document, ours: Document) -> Document:
    """Put our statements into a document that others write in, too: each replaces the one with its Sid."""
    sids = {statement["Sid"] for statement in ours["Statement"]}
    theirs = [statement for statement in _listed(found.get("Statement", [])) if statement.get("Sid") not in sids]
    return {**make(), **found, "Statement": [*theirs, *ours["Statement"]]}


def _statements(document: Document) -> dict[tuple[str, str], str]:
    """Say each statement, by its Sid; one that has none is known by what it says."""
    said = [(statement.get("Sid", ""), _said(statement)) for statement in _listed(document.get("Statement", []))]
    return {(sid, "" if sid else text): text for sid, text in said}


def _said(statement: Mapping[str, Any]) -> str:
    """Say a statement in a line that is the same however it was written."""
    words = [str(statement["Effect"])]
    for key, word in (
        ("Principal", "to"),
        ("NotPrincipal", "to all but"),
        ("Action", "do"),
        ("NotAction", "do all but"),
        ("Resource", "on"),
        ("NotResource", "on all but"),
        ("Condition", "if"),
    ):
        if key in statement:
            words.append(f"{word} {_plain(statement[key], is_condition=key == 'Condition')}")
    return " ".join(words)


def _plain(value: Any, *, is_condition: bool) -> str:
    if isinstance(value, Mapping):
        # The keys of a condition (aws:SourceArn) mean the same in any case.
        named = {key.lower() if is_condition else key: each for key, each in value.items()}
        return ", ".join(f"{key} {_plain(named[key], is_condition=is_condition)}" for key in sorted(named))
    return ", ".join(sorted(each if isinstance(each, str) else json.dumps(each) for each in _listed(value)))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
