"""The commands for what was released: look, promote, roll back."""

import json
import os
from typing import Any

import click

from thampi import terminal
from thampi.cli import amounts
from thampi.cli.options import load_stage, options, stage_names
from thampi.errors import ConfigError, ThampiError


@click.command()
@options("stage", "json")
def releases(stage: str, as_json: bool) -> None:
    """List the releases of a stage: what is live, what came before."""
    from thampi.operations import releases as operation

    settings = load_stage(stage)
    found = operation.releases(settings, _place(settings))
    if as_json:
        terminal.result(json.dumps([each.as_json() for each in found], indent=2))
        return
    rows = [
        (
            each.version,
            f"{each.state} {each.share:g} %" if each.state else "was live" if each.was_live else "",
            each.model,
            each.image.removeprefix("sha256:")[:12],
            ", ".join(f"{key}={value}" for key, value in each.configuration.items()),
            each.when[:19],
            each.who,
        )
        for each in found
    ]
    headers = ("version", "state", "model", "image", "configuration", "when (UTC)", "who")
    terminal.table(headers, rows, to_stdout=True)


@click.command()
@options("stage", "json", "force")
@click.option("--to", type=amounts.PERCENT, help="The share that the candidate gets; without it, all calls.")
def promote(stage: str, as_json: bool, force: bool, to: float | None) -> None:
    """Make the candidate of a canary live."""
    from thampi.operations import promote as operation

    if to == 0:
        raise ConfigError("--to 0 would end the canary", hint=f"thampi rollback {stage}")
    settings = load_stage(stage)
    tell(operation.promote(settings, _announced(settings), to=to, say=terminal.say, force=force), as_json)


@click.command()
@options("stage", "json", "force")
@click.option("--to", metavar="VERSION", help="The version; without it, what was live before, or the end of a canary.")
def rollback(stage: str, as_json: bool, force: bool, to: str | None) -> None:
    """Go back to an older release, or end a canary."""
    from thampi.operations import rollback as operation

    settings = load_stage(stage)
    tell(operation.rollback(settings, _announced(settings), to=to, say=terminal.say, force=force), as_json)


@click.command()
@options("json", "force")
@click.option(
    "--scope",
    type=click.Choice(["project", "all"]),
    default="project",
    show_default=True,
    help="all: also what other projects have left on this machine.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be deleted, and delete nothing.")
def clean(as_json: bool, force: bool, scope: str, dry_run: bool) -> None:
    """Delete old releases, unused images and models, leftovers."""
    from thampi.operations import clean as operation
    from thampi.operations import place

    stages = [load_stage(name) for name in stage_names()]
    said: dict[str, Any] = {"dry_run": dry_run, "stages": {}}
    for settings in stages:
        try:
            where = place.find_awake(settings, environ=os.environ, say=terminal.say)
            if where is None:
                continue
            terminal.say(f"{settings.name}, stage {settings.stage}: {where}")
            found = operation.clean_stage(settings, where, say=terminal.say, dry_run=dry_run, force=force)
        except ThampiError as error:  # one that can't be asked keeps what it has, and is no hindrance to the others
            terminal.say(f"stage {settings.stage} is left as it is: {error.message}")
            continue
        said["stages"][settings.stage] = vars(found)
    left = operation.clean_machine(stages, os.environ, everything=scope == "all", say=terminal.say, dry_run=dry_run)
    said |= {"local_images": left.images, "local_folders": [str(each) for each in left.folders]}
    if as_json:
        terminal.result(json.dumps(said, indent=2))
        return
    rows = [
        (stage, what[:-1], each) for stage, found in said["stages"].items() for what in found for each in found[what]
    ]
    rows += [("", "local image", each) for each in said["local_images"]]
    rows += [("", "local folder", each) for each in said["local_folders"]]
    if rows:
        terminal.table(("stage", "would be deleted" if dry_run else "deleted", "name"), rows, to_stdout=True)
    else:
        terminal.say("there was nothing to delete")


def tell(moved: Any, as_json: bool) -> None:
    """Say what callers get now."""
    if as_json:
        terminal.result(json.dumps(vars(moved), indent=2))
        return
    for line in moved.changes or ("nothing has changed",):
        terminal.say(line)
    terminal.result(moved.version)


def _announced(settings: Any) -> Any:
    where = _place(settings)
    terminal.say(f"{settings.name}, stage {settings.stage}: {where}")
    return where


def _place(settings: Any) -> Any:
    from thampi.operations import place

    return place.find(settings, environ=os.environ, say=terminal.say)


COMMANDS = (releases, promote, rollback)
CLEANING = (clean,)
