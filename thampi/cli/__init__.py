"""Words in, one operation called, result out; the only click, the only exit codes.

Operations are imported inside their commands: `thampi --help` loads neither docker nor boto3.
"""

import os
import sys
import traceback

import click

from thampi import terminal
from thampi.cli import cloud, keys, laptop, logs, releases
from thampi.cli.options import InOrder
from thampi.errors import ConfigError, ThampiError
from thampi.version import __version__

BUG = 70
INTERRUPTED = 130


@click.group(
    cls=InOrder,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with `thampi init`. Each command says more: thampi COMMAND --help",
)
@click.version_option(__version__, package_name="thampi", message="thampi %(version)s")
@click.pass_context
def thampi(context: click.Context) -> None:
    """Turn a trained model into a prediction endpoint on AWS Lambda."""
    if context.invoked_subcommand is None:
        terminal.result(context.get_help())


for _command in (
    *laptop.COMMANDS,
    *cloud.SERVING,
    *keys.COMMANDS,
    *releases.COMMANDS,
    *logs.COMMANDS,
    *cloud.KEEPING,
    *releases.CLEANING,
):
    thampi.add_command(_command)


def main() -> None:
    """Run the command line; the one place where failures become exit codes."""
    debug = bool(os.environ.get("THAMPI_DEBUG"))
    try:
        code = thampi.main(standalone_mode=False)  # what a command ends with by click's Exit comes back as a number
        if isinstance(code, int) and code:
            sys.exit(code)
    except click.exceptions.Abort:
        sys.exit(INTERRUPTED)
    except click.ClickException as error:
        command = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "thampi"
        _complain(ConfigError(error.format_message(), hint=f"{command} --help"))
        sys.exit(error.exit_code)
    except ThampiError as error:
        if debug:
            traceback.print_exc()
        _complain(error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:  # whoever read our output had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception:
        traceback.print_exc()
        terminal.say("error: this is a bug in thampi, not in your model")
        terminal.say("hint: please report it with the lines above")
        sys.exit(BUG)


def _complain(error: ThampiError) -> None:
    terminal.say(f"error: {error.message}")
    if error.hint:
        terminal.say(f"hint: {error.hint}")
