"""thampi logs STAGE: what a stage's function wrote, or its gateway."""

import os

import click

from thampi import terminal
from thampi.cli.options import load_stage, options


@click.command()
@options("stage")
@click.option("--since", default="10m", show_default=True, help="10m, 2h, 1d, or a date.")
@click.option("--follow", is_flag=True, help="Go on as lines come.")
@click.option("--errors", is_flag=True, help="Only what failed.")
@click.option("--access", is_flag=True, help="What the gateway wrote of each request (access_log = true).")
def logs(stage: str, since: str, follow: bool, errors: bool, access: bool) -> None:
    """Show what the function of a stage wrote."""
    from thampi.operations import logs as operation
    from thampi.operations import place

    settings = load_stage(stage)
    where = place.find(settings, environ=os.environ, say=terminal.say)
    for line in operation.read(settings, where, since=since, follow=follow, errors=errors, access=access):
        terminal.result(line)


COMMANDS = (logs,)
