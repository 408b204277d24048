"""What a release costs, and what callers feel of it: pushes to the local AWS, while clients ask all the time.

For each kind of change: how many calls AWS got (that which proves the credentials among them), and the seconds from
the command to the one call that makes it live. Meanwhile some threads ask the URL without a pause: an answer that isn't
200, or is of a model that was neither live nor candidate while it was asked for, is a failure.

The local AWS is one of its own, on a port of its own, and needs a Docker engine. It stores the weights of a canary but
sends every call to what is live; what a share does is shown by the router of tests/e2e/test_releases_local.py.

    python -m benchmarks.release [--quick] [--json PATH]
"""

import contextlib
import json
import os
import secrets
import socket
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import thampi
from benchmarks import measuring
from benchmarks.measuring import Row
from thampi.builder import client as docker_client
from thampi.config import Build, Stage
from thampi.local import cloud
from thampi.operations import build, delivery, place, promote, push, rollback

# Far away, the calls decide how long it takes; the seconds are this machine's.
CALLS = {"no change": 20, "model only": 25, "configuration only": 25}
NO_CHANGE_S = 2.0
AFTER_TRIAL_S = 3.0
CLIENTS = 4


class Scale(thampi.Model):
    """The smallest model."""

    def __init__(self, factor: int) -> None:
        self.factor = factor

    def predict(self, args: Any, context: thampi.Context) -> Any:
        return {"result": self.factor * args["input"]}


class Silence:
    """Whom to tell of progress: nobody."""

    def build(self, line: str) -> None:
        pass

    def layer(self, layer: Any) -> None:
        pass


@dataclass
class Clients:
    """Threads that ask the URL, one request after the other, and note what came."""

    url: str
    allowed: frozenset[str]  # the ids of the models that may answer what is asked now
    asked: int = 0
    wrong: list[str] = field(default_factory=list)
    _done: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextlib.contextmanager
    def asking(self) -> Iterator[None]:
        threads = [threading.Thread(target=self._ask) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._done.set()
            for thread in threads:
                thread.join()

    def _ask(self) -> None:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        while not self._done.is_set():
            allowed = self.allowed
            request = urllib.request.Request(self.url, b'{"data": {"input": 3}}', {"Content-Type": "application/json"})
            try:
                with opener.open(request, timeout=60) as answer:
                    found = json.loads(answer.read())["properties"]["instance_id"]
                problem = "" if found in allowed | self.allowed else f"answered by {found}"
            except (OSError, ValueError, KeyError) as error:
                problem = str(error)
            with self._lock:
                self.asked += 1
                self.wrong += [problem] * bool(problem)


@dataclass
class Bench:
    """A project, its place, and what one command after the other costs."""

    stage: Stage
    where: place.Place
    rows: list[Row] = field(default_factory=list)
    images: set[str] = field(default_factory=set)  # that the engine has by now
    clients: Clients | None = None
    _calls: list[tuple[str, float]] = field(default_factory=list)

    def watch(self) -> None:
        events = self.where.aws.session.events
        events.register("after-call", lambda model, **_: self._calls.append((model.name, time.perf_counter())))

    def push(self, stage: Stage, *, canary: float | None = None) -> push.examine.Pushed:
        plan = build.plan(stage)
        self.images.add(plan.reference)

        def deliver(uri: str, login: Any, go_on: Any) -> str | None:
            return delivery.deliver(
                uri, login, go_on, stage=stage, plan=plan, environ=os.environ, say=_nothing, progress=Silence()
            )

        return push.push(stage, plan, self.where, deliver=deliver, say=_nothing, canary=canary)

    def measure(self, name: str, serves: str, act: Callable[[], Any], *, beside: str | None = None) -> Any:
        """Do it; afterwards callers get the model `serves`, and meanwhile that or what they got."""
        self._calls.clear()
        if self.clients:
            self.clients.allowed |= {serves, *([beside] if beside else [])}
        started = time.perf_counter()
        done = act()
        took = time.perf_counter() - started
        if self.clients:
            self.clients.allowed = frozenset({serves, *([beside] if beside else [])})
        calls = len(self._calls) + 1  # and that which proves the credentials, as each command begins
        self.rows.append(Row(f"{name}, calls", calls, CALLS.get(name)))
        moved = [at for call, at in self._calls if call in ("UpdateAlias", "CreateAlias")]
        if moved:
            self.rows.append(Row(f"{name}, s to the flip", moved[0] - started))
            tried = [at for call, at in self._calls if call == "Invoke"]
            if tried:
                self.rows.append(
                    Row(f"{name}, s from the trial's answer to the flip", moved[0] - tried[-1], AFTER_TRIAL_S)
                )
        else:
            self.rows.append(Row(f"{name}, s", took, NO_CHANGE_S if name == "no change" else None))
        time.sleep(1.0)  # for the clients to ask it
        return done


def _nothing(text: str) -> None:
    pass


def _model(stage: Stage) -> str:
    return f"m{stage.model_dir.parent.name}"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _stages(folder: Path) -> Iterator[Stage]:
    """Yield the stage, each time with another model."""
    (folder / "requirements.txt").write_text("")
    (folder / "extra.py").write_text("VALUE = 1\n")
    name = f"bench-{secrets.token_hex(4)}"
    build_ = Build(dependency_file=folder / "requirements.txt", include=("extra.py",))
    for number in range(1, 100):
        saved = thampi.save(Scale(number), "scale", folder / str(number), instance_id=f"m{number}", verify=False)
        yield Stage(project_dir=folder, name=name, stage="local", model_dir=saved, build=build_)


def measure(folder: Path, rounds: int, *, quick: bool) -> list[Row]:
    """Let one kind of release follow the other."""
    stages = _stages(folder)
    stage = next(stages)
    where = place.find(stage, environ=os.environ, say=_nothing)
    bench = Bench(stage, where)
    bench.watch()
    try:
        return _releases(bench, stage, stages, folder, rounds, quick=quick)
    finally:
        client = docker_client.find(os.environ)
        # What the engine got from pushing to the local AWS's registry, too.
        pushed = f"{where.registry}/thampi-{stage.name}"
        shown = client.run("images", "--digests", "--format={{.Repository}}@{{.Digest}}", pushed).stdout.split()
        for image in (*bench.images, *shown):
            client.run("image", "rm", "--force", image)


def _releases(
    bench: Bench, stage: Stage, stages: Iterator[Stage], folder: Path, rounds: int, *, quick: bool
) -> list[Row]:
    where = bench.where
    pushed = bench.measure("everything", "m1", lambda: bench.push(stage))
    bench.clients = Clients(pushed.url, frozenset({"m1"}))
    with bench.clients.asking():
        serves = "m1"
        for number in range(rounds):
            kind = "" if number == 0 else f" (round {number + 1})"
            bench.measure(f"no change{kind}", serves, lambda stage=stage: bench.push(stage))
            stage = replace(next(stages), memory_mb=stage.memory_mb)
            serves = _model(stage)
            bench.measure(f"model only{kind}", serves, lambda stage=stage: bench.push(stage))
            stage = replace(stage, memory_mb=1024 if stage.memory_mb != 1024 else 1536)
            bench.measure(f"configuration only{kind}", serves, lambda stage=stage: bench.push(stage))
            candidate = replace(next(stages), memory_mb=stage.memory_mb)
            new = _model(candidate)
            bench.measure(
                f"canary{kind}", serves, lambda candidate=candidate: bench.push(candidate, canary=10), beside=new
            )
            bench.measure(f"promote{kind}", new, lambda stage=stage: promote.promote(stage, where, say=_nothing))
            bench.measure(f"rollback{kind}", serves, lambda stage=stage: rollback.rollback(stage, where, say=_nothing))
        if not quick:
            (folder / "extra.py").write_text("VALUE = 2\n")
            bench.measure("code", serves, lambda: bench.push(stage))
    clients = bench.clients
    for problem in sorted(set(clients.wrong)):
        print(f"  {clients.wrong.count(problem)} times: {problem}", file=sys.stderr)
    return [
        *bench.rows,
        Row("requests during all of it", clients.asked),
        Row("of these failed, or answered by what was not live", len(clients.wrong), 0),
    ]


def main() -> int:
    """Measure on a local AWS of its own; print the table."""
    asked = measuring.arguments(__doc__)
    with tempfile.TemporaryDirectory(prefix="thampi-") as name:
        folder = Path(name)
        os.environ |= {"THAMPI_LOCAL_PORT": str(_free_port()), "XDG_STATE_HOME": str(folder / "state")}
        (folder / "project").mkdir()
        try:
            rows = measure(folder / "project", 1 if asked.quick else 5, quick=asked.quick)
        finally:
            cloud.stop(os.environ, say=_nothing)
    return measuring.report(rows, asked.json)


if __name__ == "__main__":
    sys.exit(main())
