"""thampi run: serve a saved model on this machine, as Lambda and API Gateway would.

The port is taken first: that fails fast. Then a container starts, or without Docker a process, and is asked to load
the model; one that can't be loaded ends the run. Only then the port answers. Whatever ends the run, nothing stays.
"""

import contextlib
import hashlib
import os
import shlex
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from thampi import names, recipe, runtime_files
from thampi.config import Stage
from thampi.errors import BuildError, BundleError
from thampi.local import cache, interruption, venv
from thampi.local.emulator import Emulator
from thampi.local.front import Front, Invoke
from thampi.local.interruption import Interruption
from thampi.local.invoked import Invoked
from thampi.local.last_lines import LastLines
from thampi.local.runtime_api import Runtime
from thampi.operations import cold_start, told
from thampi.runtime import bundle
from thampi.runtime.bundle import About

_LONGEST_EXAMPLE = 500

Say = Callable[[str], None]


@dataclass(frozen=True)
class Libraries:
    """What the model runs with where there is no image: lines of a requirements file, a Python, shipped modules."""

    requirements: Sequence[str]
    python: str  # the minor version, like 3.12
    project_files: Mapping[str, Path] = field(default_factory=dict)  # by their path in the project
    constraints: Sequence[str] = ()
    netrc: str = field(default="", repr=False)  # who we are at the indexes


def run(
    stage: Stage,
    source: str | Libraries,
    *,
    baked: str = "",
    port: int,
    say: Say,
    log: Say,
    ready: Say = lambda url: None,
    stop: threading.Event | None = None,
) -> None:
    """Serve until `stop` is set or the process is interrupted (Ctrl-C, SIGTERM), which is then the normal end.

    `source` is the reference of an image, or what to run with in a process of this machine; `baked` is the hash of the
    model's thampi.json where the image has the model itself. `log` gets what the model and its process print, line by
    line; `ready` gets the URL of `predict` as soon as it answers; port 0 is any free.

    Raises BundleError when the model can't be loaded, or the image has another one, ConfigError for the port,
    BuildError for what can't be started, and KeyboardInterrupt when interrupted before it serves.
    """
    manifest = bundle.read_manifest(stage.model_dir)
    about = bundle.parse(manifest, str(stage.model_dir / bundle.MANIFEST))
    if baked not in ("", hashlib.sha256(manifest).hexdigest()):
        raise BundleError(
            f'the image has another model than {stage.model_dir}, and with model = "image" it serves its own',
            hint="start `thampi run` again: it makes an image of the model that is there now",
        )
    listener = cold_start.Listener(log)
    last_lines = LastLines(listener.add)
    with interruption.once() as interrupted, contextlib.closing(Front(port)) as front:
        if isinstance(source, str):
            environment = _in_a_container(stage, source, baked, last_lines.add, interrupted)
        else:
            environment = _in_a_process(stage, source, say, last_lines.add)
        with environment as (invoke, gone):
            say(f"loading the model in {stage.model_dir}")
            _load(invoke, stage, last_lines)
            for sentence in listener.sentences(stage.memory_mb):
                say(sentence)
            with front.serving(invoke), contextlib.suppress(KeyboardInterrupt):
                _announce(stage.name, front.port, about, say, ready)
                _wait(stop or threading.Event(), gone, last_lines)


@contextlib.contextmanager
def _in_a_container(
    stage: Stage, image: str, baked: str, log: Say, interrupted: Interruption
) -> Iterator[tuple[Invoke, threading.Event]]:
    """Run the image; yield how to invoke it, and what is set when it stops by itself."""
    from thampi.builder import container  # the Docker SDK takes 200 ms, and `--no-docker` has no use for it

    with contextlib.ExitStack() as stack:
        with interrupted.held():
            running = container.start(
                image,
                name_prefix=names.function(stage.name, stage.stage),
                environment={**_told(stage), **({"THAMPI_MANIFEST_SHA256": baked} if baked else {})},
                model_dir=None if baked else stage.model_dir,
                memory_mb=stage.memory_mb,
                tmp_mb=stage.ephemeral_storage_mb,
                timeout_s=stage.timeout_s,
            )
            stack.callback(running.stop)
        emulator, gone = Emulator(running.port, stage.memory_mb, stage.timeout_s), threading.Event()

        def follow() -> None:
            try:
                for line in running.lines():
                    if not emulator.hear(line):
                        with contextlib.suppress(OSError):  # whoever reads the log had enough
                            log(line)
            finally:
                gone.set()

        threading.Thread(target=follow, name="log", daemon=True).start()
        if not emulator.await_listening(running.is_running):
            raise BuildError(
                f"the container of {image} does not answer",
                hint="build it again (`thampi build`), or do without: `thampi run --no-docker`",
            )
        yield emulator.invoke, gone


@contextlib.contextmanager
def _in_a_process(stage: Stage, libraries: Libraries, say: Say, log: Say) -> Iterator[tuple[Invoke, threading.Event]]:
    """Run the handler in a process of this machine; yield how to invoke it, and what nobody will set."""
    python = venv.ensure(
        libraries.requirements,
        libraries.python,
        say=say,
        constraints=libraries.constraints,
        netrc=libraries.netrc,
    )
    say("without Docker nothing limits the model's memory, and it can write to this disk: in Lambda it can't")
    with cache.aside(cache.folder() / "runs") as folder:
        runtime, task, temporary = folder / "runtime", folder / "task", folder / "tmp"
        for made in (runtime, task, temporary):
            made.mkdir()
        runtime_files.stage_runtime(runtime)
        for path, file in libraries.project_files.items():
            (task / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, task / path)
        process = Runtime(
            python,
            path=[task, runtime],  # in the image: /var/task:/opt/thampi
            folder=task,
            environment={
                **_told(stage),
                "THAMPI_MODEL": str(stage.model_dir.resolve()),
                **dict.fromkeys(("HOME", "TMPDIR", "TMP", "TEMP"), str(temporary)),
            },
            name=names.function(stage.name, stage.stage),
            memory_mb=stage.memory_mb,
            timeout_s=stage.timeout_s,
            log=log,
        )
        with contextlib.closing(process):
            yield process.invoke, threading.Event()


def _told(stage: Stage) -> dict[str, str]:
    """Return what the handler is told, as `thampi push` tells it; nothing stands in front that sees to CORS."""
    return {
        **told.of(stage, cors=True),
        "THAMPI_SERVED_TIME_UTC": datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z",
    }


def _load(invoke: Invoke, stage: Stage, last_lines: LastLines) -> None:
    """Have the model loaded; raise BundleError, with the reason and the log's last lines, when it can't be."""
    ending = invoke(b'{"thampi": "warm"}')
    if ending.ending == "answered":
        return
    if ending.ending == "timed out":
        message = f"the model was not loaded within timeout_s = {stage.timeout_s}"
        hint = "raise timeout_s in thampi.toml; for this machine alone under [stages.local]"
    else:
        message, hint = _reason(ending)
    message = f"{stage.model_dir} can't be served: {message}{last_lines.shown()}"
    raise BundleError(message.replace(recipe.MODEL_FOLDER, str(stage.model_dir)), hint=hint or None)


def _reason(ending: Invoked) -> tuple[str, str]:
    """Return what a handler said that could not load its model, and the hint in it."""
    said: Any = None
    with contextlib.suppress(orjson.JSONDecodeError):
        said = orjson.loads(ending.body)
    if ending.ending != "failed" or not isinstance(said, dict) or "errorMessage" not in said:
        return ending.message, ""
    message, _, hint = str(said["errorMessage"]).partition("\nhint: ")
    return message, hint


def _announce(name: str, port: int, about: About, say: Say, ready: Say) -> None:
    url = f"http://localhost:{port}/{name}/predict"
    example = '{"data": …}' if about.example is None else orjson.dumps({"data": about.example}).decode()
    if len(example) > _LONGEST_EXAMPLE:
        example = '{"data": …}'
    words = ["curl", "-d", example, "-H", "Content-Type: application/json", url]
    say(f"{name} answers at {url} (Ctrl-C ends it):")
    say("  " + (subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)))
    ready(url)


def _wait(stop: threading.Event, gone: threading.Event, last_lines: LastLines) -> None:
    while not stop.wait(0.2):  # in pieces: on Windows a long wait keeps Ctrl-C waiting
        if gone.is_set():
            raise BuildError(f"the container stopped by itself:{last_lines.shown()}", hint="start `thampi run` again")
