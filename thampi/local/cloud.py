"""AWS on this machine: ministack, started when it is needed, one for all projects and terminals.

It runs in the background until it is told to stop, and everything that it holds outlives it, also when it is killed.
Each port has its own, in a folder of the user's state folder.
"""

import contextlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from thampi.errors import CloudError, ConfigError
from thampi.local import cloud_process, installation, lock
from thampi.local.cloud_process import Place

PORT = 4566
_GOING = ".going-"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Cloud:
    """How to reach the AWS of this machine: everything that differs from the real one."""

    endpoint_url: str
    registry: str  # for `docker push`, and in ImageUri
    region: str = "us-east-1"
    account: str = "000000000000"
    credentials: tuple[str, str] = field(default=("test", "test"), repr=False)


@dataclass(frozen=True)
class Status:
    """What there is of the AWS of this machine."""

    cloud: Cloud
    running: bool
    answers: bool
    pid: int | None
    since: float | None  # as time.time() has it
    addresses: tuple[str, ...]  # that it listens on
    version: str  # of ministack
    folder: Path
    size_bytes: int
    log: Path


def ensure_running(environ: Mapping[str, str], *, say: Say) -> Cloud:
    """Return the AWS of this machine; start it when it isn't running, hangs, or is another thampi's version.

    The first time it is installed. Raises ConfigError for THAMPI_LOCAL_PORT, CloudError when it can't be installed or
    started: no network, no engine, the port is taken. Then nothing runs.
    """
    place = _place(environ)
    if not cloud_process.is_up(place):
        with _alone(place, say):
            if not cloud_process.is_up(place):
                cloud_process.start(place, environ, say=say)
    return _cloud(place)


def stop(environ: Mapping[str, str], *, say: Say) -> bool:
    """End it and the containers of its functions; all else is kept. Say whether there was anything to end."""
    place = _place(environ)
    with _alone(place, say):
        return cloud_process.end(place, environ)


def reset(environ: Mapping[str, str], *, say: Say) -> bool:
    """End it and forget all that it holds: the next use starts with an empty one. Say whether there was anything."""
    place = _place(environ)
    with _alone(place, say):
        ended = cloud_process.end(place, environ)
        with _disk(place):
            return _forget(place) or ended


def status(environ: Mapping[str, str]) -> Status:
    """Return what there is; nothing is changed."""
    place = _place(environ)
    pid = cloud_process.pid(place)
    record = cloud_process.record(place) if pid is not None else {}
    return Status(
        cloud=_cloud(place),
        running=pid is not None,
        answers=pid is not None and cloud_process.answers(place),
        pid=pid,
        since=record.get("since"),
        addresses=tuple(record.get("addresses", ())),
        version=installation.version(),
        folder=place.folder,
        size_bytes=_size(place.folder),
        log=place.log,
    )


def _cloud(place: Place) -> Cloud:
    # 127.0.0.1 and not localhost: nothing listens on ::1, which some clients try first and long.
    return Cloud(endpoint_url=f"http://{cloud_process.LOOPBACK}:{place.port}", registry=f"localhost:{place.port}")


def _place(environ: Mapping[str, str]) -> Place:
    text = environ.get("THAMPI_LOCAL_PORT") or str(PORT)
    if not (text.isascii() and text.isdigit() and 1024 <= int(text) <= 65535):
        raise ConfigError(
            f"THAMPI_LOCAL_PORT: should be a port from 1024 to 65535, is {text!r}", hint=f"unset it to use {PORT}"
        )
    return Place(int(text), _state_folder(environ) / "local-aws" / str(int(text)))


def _state_folder(environ: Mapping[str, str]) -> Path:
    """Return where thampi keeps what it can't make again."""
    chosen = environ.get("XDG_STATE_HOME", "")
    if Path(chosen).is_absolute():
        return Path(chosen) / "thampi"
    if sys.platform == "darwin":
        return Path.home() / "Library/Application Support/thampi"
    if sys.platform == "win32":
        return Path(environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local") / "thampi/state"
    return Path.home() / ".local/state/thampi"


@contextlib.contextmanager
def _alone(place: Place, say: Say) -> Iterator[None]:
    """Keep all others from starting and ending it meanwhile."""
    with _disk(place):
        place.folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        place.starting.touch(0o600)
    with lock.held(place.starting, waiting=lambda: say("another thampi is starting or ending the local AWS: waiting")):
        yield


@contextlib.contextmanager
def _disk(place: Place) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CloudError(
            f"the local AWS can't keep its state in {place.folder.parent}: {error.strerror or error}",
            hint="make that folder writable, or name another with XDG_STATE_HOME",
        ) from error


def _forget(place: Place) -> bool:
    """Remove all that is kept: set aside in one step, and swept up later if that is interrupted."""
    was_there = place.folder.exists()
    if was_there:
        place.folder.rename(place.folder.with_name(f"{place.port}{_GOING}{os.getpid()}"))
    for left in place.folder.parent.glob(f"{place.port}{_GOING}*"):
        shutil.rmtree(left)
    return was_there


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):  # it may go while we look
            total += path.lstat().st_size
    return total
