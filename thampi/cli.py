"""Words in, one operation called, result out; the only click, the only exit codes.

Operations are imported inside their commands: `thampi --help` loads neither docker nor boto3.
"""

import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from thampi import terminal
from thampi.errors import ConfigError, ThampiError
from thampi.version import __version__

BUG = 70
INTERRUPTED = 130


class _InOrder(click.Group):
    """Lists the commands in the order in which they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


def _options(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add options that several commands have, by name."""

    def add(command: Callable[..., None]) -> Callable[..., None]:
        for name in reversed(names):
            command = _SHARED[name](command)
        return command

    return add


_SHARED: dict[str, Callable[[Callable[..., None]], Callable[..., None]]] = {
    "model_dir": click.option(
        "--model_dir", "--model-dir", metavar="DIR", help="The saved model (thampi.toml: model_dir)."
    ),
    "dependency_file": click.option(
        "--dependency_file",
        "--dependency-file",
        metavar="FILE",
        help="What the image installs (build.dependency_file).",
    ),
    "platform": click.option("--platform", metavar="OS/ARCH", help="linux/amd64 or linux/arm64 (build.platform)."),
    "verbose": click.option("--verbose", is_flag=True, help="Show every line that the engine says."),
}


@click.group(
    cls=_InOrder,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with `thampi init`. Each command says more: thampi COMMAND --help",
)
@click.version_option(__version__, package_name="thampi", message="thampi %(version)s")
def thampi() -> None:
    """Turn a trained model into a prediction endpoint on AWS Lambda."""


@thampi.command()
@click.option("--name", help="What the model is called in the URL.")
@click.option("--profile", help="The AWS profile to use.")
@click.option("--region", help="The AWS region (the profile's own, when not given).")
@click.option("--bucket", help="The S3 bucket that keeps the models.")
@click.option("--package-manager", "--package_manager", help="pip or conda.")
@click.option("--example", is_flag=True, help="Add the tutorial's train.py and requirements.txt.")
def init(example: bool, region: str | None, **given: str | None) -> None:
    """Write a thampi.toml, with every setting explained."""
    from thampi.operations import init as operation

    operation.check_free(Path.cwd())
    answers: dict[str, Any] = {"example": example, "profile": given["profile"]}
    for question in operation.questions(os.environ):
        answers[question.field] = _answer(question, given[question.field])
    profiles = operation.profiles(os.environ)
    answers["profile"] = answers["profile"] or (next(iter(profiles)) if len(profiles) == 1 else None)
    answers["region"] = region or profiles.get(answers["profile"] or "")
    operation.init(Path.cwd(), operation.Answers(**answers), say=terminal.say)


@thampi.command()
@_options("model_dir", "dependency_file", "platform", "verbose")
@click.option("--print", "only_print", is_flag=True, help="Print the Dockerfile and build nothing.")
def build(only_print: bool, verbose: bool, **flags: str | None) -> None:
    """Build the image that holds the libraries and the handler; print its name."""
    from thampi.operations import build as operation

    plan = operation.plan(_stage("local", flags))
    if only_print:
        terminal.result(plan.model.dockerfile.rstrip())
        return
    with terminal.build_progress(verbose=verbose) as show:
        reference = operation.build(plan, environ=os.environ, say=terminal.say, show=show)
    terminal.result(reference)


def main() -> None:
    """Run the command line; the one place where failures become exit codes."""
    debug = bool(os.environ.get("THAMPI_DEBUG"))
    try:
        thampi.main(standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(INTERRUPTED)
    except click.ClickException as error:
        error.show()
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


def _stage(name: str, flags: dict[str, str | None]) -> Any:
    """Return the stage's settings, from thampi.toml, the environment and the flags that were given."""
    from thampi import config

    given = {key: value for key, value in flags.items() if value is not None}
    return config.load(config.find(Path.cwd()), name, flags=given, environ=os.environ)


def _answer(question: Any, given: str | None) -> str:
    """Return the flag's answer, or ask; without a terminal, take the default or say which flag is missing."""
    flag = f"--{question.field.replace('_', '-')}"
    if given is not None:
        wrong = question.check(given)
        if wrong:
            raise ConfigError(f"{flag}: {wrong}", hint=None)
        return given
    if not sys.stdin.isatty():
        if question.default is None:
            raise ConfigError(f"{flag} is missing, and there is no terminal to ask at", hint=f"thampi init {flag} …")
        return str(question.default)
    terminal.say(f"\n{question.about}")
    while True:
        text = str(click.prompt(question.text, default=question.default, err=True)).strip()
        wrong = question.check(text)
        if not wrong:
            return text
        terminal.say(wrong)
