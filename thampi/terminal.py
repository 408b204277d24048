"""How thampi talks: results to stdout, all else to stderr; live where somebody watches, plain lines elsewhere."""

import contextlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

_STEP = re.compile(r"#\d+ (\[.+)")
_WORTH_TELLING = 20_000_000  # bytes
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


class PushProgress:
    """Tells how far a push has got, in plain lines: the steps of a build, each pushed layer, quarters of an upload."""

    def __init__(self, size: int, *, verbose: bool) -> None:
        self._build = say if verbose else _plain_steps()
        self._size, self._sent, self._told = size, 0, 0
        self._layers: set[str] = set()

    def build(self, line: str) -> None:
        """Take a line of what the engine says while it builds."""
        self._build(line)

    def layer(self, layer: Any) -> None:
        """Take how far a layer of the image has been pushed."""
        if layer.status == "Pushed" and layer.id not in self._layers:
            self._layers.add(layer.id)
            say(f"  pushed layer {layer.id}")

    def upload(self, size: int) -> None:
        """Take how many bytes of the model went up since the last call."""
        self._sent += size
        quarter = 4 * self._sent // max(self._size, 1)
        if self._size >= _WORTH_TELLING and quarter > self._told:
            self._told = quarter
            say(f"  uploaded {self._sent / 1e6:.0f} of {self._size / 1e6:.0f} MB")


class _LivePushProgress(PushProgress):
    """The same, in two lines that stay where they are."""

    def __init__(self, size: int, live: Any) -> None:
        super().__init__(size, verbose=False)
        self._live = live
        self._image, self._model = live.add_task("image", total=None), live.add_task("model", total=size or 1)
        self._bytes: dict[str, tuple[int, int]] = {}

    def build(self, line: str) -> None:
        if _where(line):
            self._live.update(self._image, description=f"image  {_where(line)[:60]}")

    def layer(self, layer: Any) -> None:
        if layer.total_bytes:
            sent = layer.total_bytes if layer.status == "Pushed" else layer.sent_bytes
            self._bytes[layer.id] = (sent, layer.total_bytes)
        done, total = (sum(column) for column in zip(*self._bytes.values(), strict=True)) if self._bytes else (0, 0)
        self._live.update(self._image, description="image  pushing", completed=done, total=total or None)

    def upload(self, size: int) -> None:
        self._live.update(self._model, advance=size)


@contextlib.contextmanager
def push_progress(size: int, *, verbose: bool) -> Iterator[PushProgress]:
    """Yield what to tell of a push whose model has `size` bytes."""
    if verbose or not _is_watched():
        yield PushProgress(size, verbose=verbose)
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as live:
        yield _LivePushProgress(size, live)


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], *, to_stdout: bool = False) -> None:
    """Show rows in columns; a cell may have several lines."""
    tell = result if to_stdout else say
    if _is_watched() and not to_stdout:
        from rich.console import Console
        from rich.table import Table

        shown = Table(*headers, box=None, header_style="bold")
        for row in rows:
            shown.add_row(*(cell.replace("[", "\\[") for cell in row))
        Console(stderr=True).print(shown)
        return
    lines = [list(headers), *([cell.replace("\n", "; ") for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headers))]
    for line in lines:
        tell("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def log_line(line: str) -> None:
    """Tell a line of a served model's log; the journal's, which is for CloudWatch, in words for people."""
    if line.startswith('{"_aws"'):
        with contextlib.suppress(ValueError, KeyError):
            found = json.loads(line)
            line = f"{found['route']} {found['status']} {found['latency_ms']} ms  {found['request_id']}"
    say(line)


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
