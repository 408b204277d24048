"""thampi keys STAGE …: the commands for API keys. A value is shown by create and show only, and never said aside."""

import json
import os
import sys
from typing import Any

import click

from thampi import terminal
from thampi.cli.options import InOrder, load_stage, options
from thampi.errors import ConfigError


@click.group("keys", cls=InOrder, short_help="Make, list, show and revoke the API keys of a stage.")
@options("stage")
@click.pass_context
def keys(context: click.Context, stage: str) -> None:
    """Make, list, show and revoke the API keys of STAGE.

    Callers of an endpoint with auth = "api_key" (type = "rest") send one as the header x-api-key.
    """
    context.obj = stage


@keys.command()
@click.argument("label")
@options("json")
@click.pass_obj
def create(stage: str, label: str, as_json: bool) -> None:
    """Make a key; print it. LABEL says whose it is."""
    from thampi.operations import keys as operation

    settings = load_stage(stage)
    operation.check_asked_for(settings)
    operation.check_label(settings, label)
    made = operation.create(settings, _announced(settings), label)
    terminal.say(f"callers send it as x-api-key; it lets nobody in before some seconds: key {label}")
    _tell(made, as_json)


@keys.command("list")
@options("json")
@click.pass_obj
def list_(stage: str, as_json: bool) -> None:
    """List the keys, and how much of the quota each has used."""
    from thampi.operations import keys as operation

    settings = load_stage(stage)
    found = [each.as_json() for each in operation.listed(settings, _announced(settings))]
    if as_json:
        terminal.result(json.dumps(found, indent=2))
        return
    rows = [(each["label"], each["id"], each["created_utc"], _state(stage, each), _usage(each)) for each in found]
    if rows:
        terminal.table(("label", "id", "created (UTC)", "state", "quota"), rows, to_stdout=True)
    else:
        terminal.say(f"there are no keys: thampi keys {stage} create LABEL makes one")


@keys.command()
@click.argument("label")
@options("json")
@click.pass_obj
def show(stage: str, label: str, as_json: bool) -> None:
    """Print a key."""
    from thampi.operations import keys as operation

    settings = load_stage(stage)
    _tell(operation.show(settings, _announced(settings), label), as_json)


@keys.command()
@click.argument("label")
@options("yes", "json")
@click.pass_obj
def revoke(stage: str, label: str, yes: bool, as_json: bool) -> None:
    """Delete a key: who has it is refused within about half a minute."""
    from thampi.operations import keys as operation

    settings = load_stage(stage)
    where = _announced(settings)
    if not yes:
        _confirm(stage, label)
    gone = operation.revoke(settings, where, label)
    if as_json:
        terminal.result(json.dumps([operation.Key(each).as_json() for each in gone], indent=2))
        return
    terminal.say(f"key {label} is revoked: it lets nobody in any more, within about half a minute")
    terminal.result(label)


def _tell(shown: Any, as_json: bool) -> None:
    terminal.result(json.dumps(shown.as_json(), indent=2) if as_json else shown.value)


def _state(stage: str, key: dict[str, Any]) -> str:
    if not key["in_plan"]:
        return f"unfinished: thampi keys {stage} create {key['label']}"
    return "enabled" if key["enabled"] else "disabled"


def _usage(key: dict[str, Any]) -> str:
    return "" if key["used"] is None else f"{key['used']} of {key['used'] + key['remaining']} used"


def _confirm(stage: str, label: str) -> None:
    if not sys.stdin.isatty():
        raise ConfigError("there is no terminal to confirm at", hint=f"thampi keys {stage} revoke {label} --yes")
    typed = str(click.prompt(f"type {label} to revoke it", default="", show_default=False, err=True))
    if typed.strip() != label:
        raise ConfigError(f"{typed!r} is not {label}: nothing was revoked", hint=None)


def _announced(settings: Any) -> Any:
    from thampi.operations import place

    where = place.find(settings, environ=os.environ, say=terminal.say)
    terminal.say(f"{settings.name}, stage {settings.stage}: {where}")
    return where


COMMANDS = (keys,)
