"""The commands of a laptop: from a trained model to an answering container."""

import os
import sys
from pathlib import Path
from typing import Any

import click

from thampi import terminal
from thampi.cli.options import load_stage, options
from thampi.errors import ConfigError


@click.command()
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


@click.command()
@options("model_dir", "dependency_file", "platform", "verbose")
@click.option("--print", "only_print", is_flag=True, help="Print the Dockerfile and build nothing.")
@click.option("--refresh", is_flag=True, help="Take newer libraries and a newer base than thampi.lock has.")
def build(only_print: bool, refresh: bool, verbose: bool, **flags: str | None) -> None:
    """Build the image of libraries and handler; print its name."""
    from thampi.operations import build as operation

    stage = load_stage("local", flags)
    if only_print:
        terminal.result(operation.plan(stage, refresh=refresh, write=False).model.dockerfile.rstrip())
        return
    plan = operation.plan(stage, say=terminal.say, refresh=refresh, must_build=True)
    with terminal.build_progress(verbose=verbose) as show:
        reference = operation.build(plan, environ=os.environ, say=terminal.say, show=show)
    terminal.result(reference)


@click.command()
@options("model_dir", "dependency_file", "platform", "verbose")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="Where it answers.")
@click.option("--no-docker", is_flag=True, help="Serve from a process: no engine, no limits.")
def run(port: int, no_docker: bool, verbose: bool, **flags: str | None) -> None:
    """Serve the model on this machine, as Lambda and API Gateway would."""
    from thampi.operations import build as build_operation
    from thampi.operations import run as operation

    stage = load_stage("local", flags)
    source: str | operation.Libraries
    baked = ""
    if no_docker:
        source = build_operation.libraries(stage)
    else:
        plan = build_operation.plan(stage, say=terminal.say, must_build=True)
        with terminal.build_progress(verbose=verbose) as show:
            source = build_operation.build(plan, environ=os.environ, say=terminal.say, show=show)
        baked = plan.manifest_sha256 if stage.build.model == "image" else ""
    operation.run(stage, source, baked=baked, port=port, say=terminal.say, log=terminal.log_line, ready=terminal.result)


@click.command()
@options("model_dir")
@click.option("--output", metavar="FILE", help="Where to write it, - for stdout (requirements.txt beside thampi.toml).")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
def freeze(output: str | None, force: bool, **flags: str | None) -> None:
    """Write what the model imports as a requirements.txt."""
    from thampi.operations import freeze as operation

    stage = load_stage("local", flags)
    if output == "-":
        terminal.result(operation.lines(stage).rstrip())
        return
    file = Path.cwd() / output if output else stage.project_dir / operation.FILE
    terminal.result(str(operation.freeze(stage, file, force=force, say=terminal.say)))


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


COMMANDS = (init, build, run, freeze)
