"""What several commands share: their options, and the way from the words to a Stage."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from thampi.errors import ConfigError

Command = Callable[..., None]


class InOrder(click.Group):
    """Lists the commands in the order in which they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names as they were added."""
        return list(self.commands)


_SHARED: dict[str, Callable[[Command], Command]] = {
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
    "json": click.option("--json", "as_json", is_flag=True, help="Print JSON."),
    "yes": click.option("--yes", is_flag=True, help="Don't ask."),
    "force": click.option("--force", is_flag=True, help="Take the lock of a run that died."),
    "stage": click.argument("stage"),
}


def options(*names: str) -> Callable[[Command], Command]:
    """Add options that several commands have, by name."""

    def add(command: Command) -> Command:
        for name in reversed(names):
            command = _SHARED[name](command)
        return command

    return add


def load_stage(name: str, flags: dict[str, str | None] | None = None) -> Any:
    """Return the stage's settings, from thampi.toml, the environment and the flags that were given.

    A path in a flag is meant from the current folder, one in thampi.toml from the project's.
    """
    from thampi import config

    given = {key: value for key, value in (flags or {}).items() if value is not None}
    for key in ("model_dir", "dependency_file"):
        if key in given:
            given[key] = str(Path.cwd() / str(given[key]))
    return config.load(config.find(Path.cwd()), name, flags=given, environ=os.environ)


def stage_names() -> tuple[str, ...]:
    """Return the names of the project's stages."""
    from thampi import config

    return config.stages(config.find(Path.cwd()))


def read_data(text: str) -> Any:
    """Return the JSON of `--data`: itself, `@file`, or `-` for standard input; raise ConfigError when it is none."""
    import json
    import sys

    try:
        if text == "-":
            return json.loads(sys.stdin.read())
        if text.startswith("@"):
            return json.loads(Path(text[1:]).read_text("utf-8"))
        return json.loads(text)
    except OSError as error:
        raise ConfigError(f"--data {text}: {error.strerror}", hint="name a file that is there: --data @file") from error
    except ValueError as error:
        raise ConfigError(
            f"--data is not JSON: {error}", hint="""give it in quotes: --data '{"input": [1, 2]}', or --data @file"""
        ) from error
