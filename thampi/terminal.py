"""How thampi talks: results to stdout, all else to stderr; live where somebody watches, plain lines elsewhere."""

import contextlib
import os
import re
import sys
from collections.abc import Callable, Iterator

_STEP = re.compile(r"#\d+ (\[.+)")
_SAID = re.compile(r"#\d+ \d+\.\d+ (.+)")


def say(text: str) -> None:
    """Tell the user something, on stderr."""
    print(text, file=sys.stderr, flush=True)


def result(text: str) -> None:
    """Give the command's result, on stdout."""
    print(text, flush=True)


@contextlib.contextmanager
def build_progress(*, verbose: bool) -> Iterator[Callable[[str], None]]:
    """Yield what to give each line of a build to: every line, the steps, or one live line that says where it is."""
    if verbose:
        yield say
    elif not _is_watched():
        yield _plain_steps()
    else:
        from rich.console import Console  # 60 ms that only a terminal is worth

        with Console(stderr=True).status("") as status:
            yield lambda line: status.update(_where(line)) if _where(line) else None


def _plain_steps() -> Callable[[str], None]:
    told: set[str] = set()

    def show(line: str) -> None:
        match = _STEP.match(line)
        step = _shorten(match.group(1)) if match else ""
        if step and step not in told and not step.startswith("[internal]"):
            told.add(step)
            say(f"  {step}")

    return show


def _where(line: str) -> str:
    match = _STEP.match(line) or _SAID.match(line)
    return _shorten(match.group(1)).replace("[", "\\[") if match else ""


def _shorten(step: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"--mount=\S+", "", step)).strip()[:100]


def _is_watched() -> bool:
    return sys.stderr.isatty() and not os.environ.get("CI") and not os.environ.get("NO_COLOR")
