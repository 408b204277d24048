"""What may stand in thampi.toml: a value goes in, what is wrong with it comes out, None when it is right."""

import json
import math
import re
from pathlib import PurePosixPath


def shown(value: object) -> str:
    """Write a value as the user would have, cut where it is long."""
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else "a list"
    if not isinstance(value, str | bool | int | float):
        return str(value)
    shown = json.dumps(value, ensure_ascii=not str(value).isprintable())
    return shown if len(shown) <= 80 else f'{shown[:76]}…"'


def wrong_text(text: str) -> str | None:
    """Say what is wrong with a text that is one line."""
    if not text:
        return "should not be empty"
    one_line = text.isprintable() and text.strip() == text
    return None if one_line else "should be one line without spaces around it"


def wrong_python(text: str) -> str | None:
    """Say what is wrong with a minor version of Python."""
    minor = re.fullmatch(r"3\.([1-9][0-9]*)", text)
    return None if minor and int(minor[1]) >= 11 else 'should be "3.11" or newer, without a third number'


def wrong_include(text: str) -> str | None:
    """Say what is wrong with a path to ship; it must stay inside the project."""
    path = PurePosixPath(text)
    if "\\" in text or path.is_absolute() or ".." in path.parts or re.match(r"~|[A-Za-z]:", text):
        return "should be a path inside the project, written with / and without .."
    if not path.parts:
        return "should name a file or folder of the project, not the whole of it"
    if path.parts[0] in ("thampi", "thampi.py", "thampi_handler", "thampi_handler.py"):
        return "should have another name: in the image it would stand in the way of thampi's own"
    return None


def wrong_schedule(text: str) -> str | None:
    """Say what is wrong with how often something is to be done; EventBridge counts in minutes."""
    if re.fullmatch(r"rate\((1 (minute|hour|day)|([2-9]|[1-9][0-9]+) (minutes|hours|days))\)", text):
        return None
    if re.fullmatch(r"cron\([0-9A-Z*?,/#-]+( [0-9A-Z*?,/#-]+){5}\)", text):
        return None
    return 'should be like "rate(4 minutes)", "rate(1 hour)" or "cron(0/4 7-18 ? * MON-FRI *)"'


def wrong_variable(name: str) -> str | None:
    """Say what is wrong with the name of a variable for the function."""
    if name.startswith(("AWS_", "LAMBDA_", "_HANDLER", "_X_AMZN_")):
        return "is a name that Lambda keeps for itself"
    if name.startswith("THAMPI_"):
        return "is a name that thampi keeps for itself"
    if name == "PYTHONPATH":
        return "is set by the image"
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]+", name):
        return "should be two or more letters, digits and _, beginning with a letter"
    return None


def wrong_variable_value(value: object) -> str | None:
    """Say what is wrong with the value of such a variable, or with where it comes from."""
    if isinstance(value, str):
        return "should not contain a NUL character" if "\0" in value else None
    source = value.get("from_env") if isinstance(value, dict) and len(value) == 1 else None
    if isinstance(source, str) and source:
        return None
    return 'should be text in quotes, or { from_env = "NAME" } for the value of your own variable NAME'


def wrong_tag(name: str) -> str | None:
    """Say what is wrong with the name of a tag."""
    if name.lower().startswith(("aws:", "thampi:")):
        return "begins with what AWS and thampi keep for themselves"
    return wrong_tag_text(name, 1, 128)


def wrong_tag_text(text: str, shortest: int = 0, longest: int = 256) -> str | None:
    """Say what is wrong with the text of a tag."""
    if shortest <= len(text) <= longest and re.fullmatch(r"[\w .:/=+@-]*", text):
        return None
    return f"should be {shortest} to {longest} letters, digits, spaces and _ . : / = + - @"


def wrong_if_empty(values: list[str]) -> str | None:
    """Say what is wrong with a list that has to name something."""
    return None if values else "should name at least one"


def wrong_scope(text: str) -> str | None:
    """Say what is wrong with the name of a scope; API Gateway takes no longer ones."""
    return None if len(text) <= 64 else "should be at most 64 letters"


def wrong_if_many(values: list[str]) -> str | None:
    """Say what is wrong with a list of scopes; API Gateway takes no more for a route."""
    return None if len(values) <= 10 else "should name at most 10"


def wrong_rate(number: float) -> str | None:
    """Say what is wrong with a number of requests a second."""
    return None if 0 < number <= 10_000 else "should be more than 0 and at most 10000"


def wrong_origin(text: str) -> str | None:
    """Say what is wrong with the origin of a page: another form than the one that browsers send is never met."""
    usual = (text.startswith("http:") and text.endswith(":80")) or (text.startswith("https:") and text.endswith(":443"))
    if text == "*" or (re.fullmatch(r"https?://[a-z0-9.-]+(:[0-9]+)?", text) and not usual):
        return None
    return 'should be "*", or as browsers say it, like "https://app.example.com": no path, no capitals, no usual port'


def wrong_header(text: str) -> str | None:
    """Say what is wrong with the name of a header."""
    return None if text == "*" or re.fullmatch(r"[A-Za-z0-9-]+", text) else 'should be the name of a header, or "*"'


def wrong_domain(text: str) -> str | None:
    """Say what is wrong with a domain's name."""
    label = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
    if len(text) <= 253 and re.fullmatch(rf"{label}(\.{label})+", text):
        return None
    return 'should be a domain like "models.example.com", in lower case'


def wrong_base_path(text: str) -> str | None:
    """Say what is wrong with the path under which a domain leads to the endpoint."""
    if len(text) <= 300 and re.fullmatch(r"([A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*)?", text):
        return None
    return 'should be a path like "iris" or "models/iris", without / at its ends'


def wrong_json(value: object) -> str | None:
    """Say what is wrong with a value that has to become JSON."""
    if isinstance(value, dict | list):
        wrong = map(wrong_json, value.values() if isinstance(value, dict) else value)
        return next((words for words in wrong if words), None)
    if isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return None
    return "should be what JSON can say: no date or time, no nan or inf"
