"""A model with a signature of many kinds, as documents and pages are made of it."""

from typing import Any

from thampi.runtime.bundle import About

DATA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "input": {
            "type": "array",
            "items": {"type": "number"},
            "minItems": 4,
            "maxItems": 4,
            "description": "Sepal length and width, petal length and width, in cm",
        },
        "site": {"$ref": "#/$defs/Site"},
        "wild": {"type": "boolean", "description": "Grown in the wild"},
        "height": {"anyOf": [{"type": "number", "minimum": 0, "maximum": 200}, {"type": "null"}], "default": None},
        "note": {"type": "string", "maxLength": 80},
    },
    "required": ["input", "site", "wild"],
    "$defs": {"Site": {"enum": ["garden", "meadow", "shore"]}},
}
RESULT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "species": {"enum": ["setosa", "versicolor", "virginica"]},
        "probability": {"type": "number", "minimum": 0, "maximum": 1},
    },
    "required": ["species", "probability"],
}
EXAMPLE = {"input": [5.9, 3.2, 4.8, 1.8], "site": "meadow", "wild": True}
ANSWER = {"species": "virginica", "probability": 0.97}


def signature(request: Any = DATA, answer: Any = RESULT, batch: bool = False) -> dict[str, Any]:
    """Return a signature as a bundle has it."""
    return {"request": request, "answer": answer, "source": "hints", "batch": batch, "hooks": [], "types": False}


def about(**others: Any) -> About:
    """Return what is known of the model, but for what `others` say."""
    known: dict[str, Any] = {
        "instance_id": "9dbc1f4e-7a51-4b8e-9b0e-2f60d4c1a7aa",
        "trained_time_utc": "2026-09-06T22:03:04.886644Z",
        "tags": {"team": "flowers"},
        "python": "3.12.7",
        "distributions": {"scikit-learn": "1.9.1", "numpy": "2.4.6", "scipy": "1.18.0"},
        "example": EXAMPLE,
        "signature": signature(),
    }
    return About(**known | others)
