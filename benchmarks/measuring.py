"""What every benchmark shares: interleaved runs in fresh processes, ratios of pairs, the table, the JSON.

A ratio is of two things measured in turn on the same machine in the same run: absolute times belong to a machine,
ratios travel. Noise that lasts longer than one turn meets both sides of a pair alike.
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Row:
    """One claim: a measured value and the most (or least) that it may be; without a bound it is only reported."""

    metric: str
    value: float
    bound: float | None = None
    at_least: bool = False  # the bound is a lower one

    @property
    def holds(self) -> bool:
        if self.bound is None:
            return True
        return self.value >= self.bound if self.at_least else self.value <= self.bound

    @property
    def bound_shown(self) -> str:
        """The bound for people: `≤ 1.2`."""
        return "-" if self.bound is None else f"{'≥' if self.at_least else '≤'} {self.bound:g}"


def arguments(description: str | None = None) -> argparse.Namespace:
    """Read the command line that all benchmarks share: `--quick` and `--json PATH`."""
    return parser(description).parse_args()


def parser(description: str | None = None) -> argparse.ArgumentParser:
    """Return the parser of that, for a benchmark that knows more words."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--quick", action="store_true", help="smaller inputs and fewer rounds: a smoke, not a verdict")
    made.add_argument("--json", metavar="PATH", type=Path, help="write {metric: {value, bound, holds}} to PATH")
    return made


def interleaved(contenders: Mapping[str, Callable[[], Any]], rounds: int, warmups: int = 1) -> dict[str, list[Any]]:
    """Let each contender take its turn in every round, the order reversed in every other; return what each returned."""
    found: dict[str, list[Any]] = {name: [] for name in contenders}
    for number in range(warmups + rounds):
        turn = list(contenders.items())
        for name, run in turn if number % 2 == 0 else reversed(turn):
            result = run()
            if number >= warmups:
                found[name].append(result)
    return found


def median_ratio(a: Sequence[float], b: Sequence[float]) -> float:
    """Return the median of a[i] / b[i]: what was measured in the same round is compared with each other."""
    return statistics.median(x / y for x, y in zip(a, b, strict=True))


def in_fresh_process(code: str, *args: object) -> Any:
    """Run Python `code` in a process of its own, from the repo; return what it printed last, as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, args)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def report(rows: Sequence[Row], json_path: Path | None = None) -> int:
    """Print the table, write the JSON when a path is given, and return the exit code: 1 when a bound is broken."""
    width = max((len(row.metric) for row in rows), default=0)
    print(f"{'metric':{width}}  {'value':>9}  {'bound':>7}")
    for row in rows:
        broken = "" if row.holds else "BROKEN"
        print(f"{row.metric:{width}}  {row.value:9.3f}  {row.bound_shown:>7}  {broken}".rstrip())
    if json_path:
        found = {row.metric: {"value": row.value, "bound": row.bound, "holds": row.holds} for row in rows}
        json_path.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
    return 0 if all(row.holds for row in rows) else 1
