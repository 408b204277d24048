"""The process behind the AWS of this machine: whether it is up, how it starts, how it ends.

A process number is only believed while its process holds the lock, which it does until it is dead, however it died.
What runs in it is ministack_server/.
"""

import contextlib
import hashlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thampi.errors import CloudError
from thampi.local import installation, lock

LOOPBACK = "127.0.0.1"
_SERVER = Path(__file__).with_name("ministack_server")
_ASK_AGAIN_S = 0.02

# How it ends when it can't start: ministack_server/__main__.py.
_NO_ENGINE, _PORT_TAKEN = 3, 4

# What thampi makes use of, now or soon. None of them listens on a port of its own or starts containers, but for
# Lambda's: ECS, EKS and RDS would, with the rights of root, for every program that can connect.
_SERVICES = (
    "acm,apigateway,dynamodb,ecr,events,iam,kafka,kinesis,kms,lambda,logs,monitoring,resource-groups,"
    "s3,scheduler,secretsmanager,sns,sqs,ssm,states,sts,tagging,wafv2"
)

# What the process needs of the user's environment; all else, AWS's own variables and proxies above all, stays out.
_PASSED_ON = (
    "PATH", "HOME", "USER", "LANG", "XDG_RUNTIME_DIR",
    "DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY",
    "SYSTEMROOT", "SYSTEMDRIVE", "USERPROFILE", "APPDATA", "LOCALAPPDATA", "PROGRAMDATA",
)  # fmt: skip

Say = Callable[[str], None]


@dataclass(frozen=True)
class Place:
    """A port of this machine, and the folder with all that is kept; the locks lie beside it, so that it can go."""

    port: int
    folder: Path
    answers_within_s: float = 2
    starts_within_s: float = 60
    stops_within_s: float = 60  # it writes its state down meanwhile
    largest_log: int = 10 << 20

    @property
    def starting(self) -> Path:
        """The lock of whoever starts it or ends it."""
        return self.folder.with_name(f"{self.port}.starting")

    @property
    def running(self) -> Path:
        """The lock of the process itself, with its number inside."""
        return self.folder.with_name(f"{self.port}.running")

    @property
    def record(self) -> Path:
        """What the process says of itself once it is up; left behind, it was killed."""
        return self.folder / "record.json"

    @property
    def log(self) -> Path:
        """What the process prints."""
        return self.folder / "log"


def is_up(place: Place) -> bool:
    """Say whether it runs as this thampi would start it, and answers."""
    return pid(place) is not None and record(place).get("release") == _release() and answers(place)


def pid(place: Place) -> int | None:
    """Return the number of its process, None when there is none."""
    if not lock.is_held(place.running):
        return None
    written = place.running.read_text("ascii", errors="replace")
    return int(written) if written.isdigit() else None


def record(place: Place) -> dict[str, Any]:
    """Return what the process says of itself: release, since, addresses; empty when it isn't up."""
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(place.record.read_text("utf-8"))
        return found if isinstance(found, dict) else {}
    return {}


def answers(place: Place) -> bool:
    """Say whether it answers."""
    # http.client knows no proxies; urllib would ask one for 127.0.0.1, too.
    connection = http.client.HTTPConnection(LOOPBACK, place.port, timeout=place.answers_within_s)
    with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
        connection.request("GET", "/_ministack/health")
        return connection.getresponse().status == http.client.OK
    return False


def start(place: Place, environ: Mapping[str, str], *, say: Say) -> None:
    """Make it run as this thampi does it; one that hangs, or that another version started, is ended first.

    Hold the lock `starting` meanwhile. Raises CloudError; then nothing runs.
    """
    if lock.is_held(place.running):
        why = _why_replace(place)
        if why is None:
            return
        say(f"replacing the local AWS that runs: {why}")
        end(place, environ)
    _check_port(place.port)
    python = installation.ensure(environ, say=say)
    say(f"starting the local AWS on http://localhost:{place.port} (`thampi local stop` ends it)")
    process = _spawn(place, python, environ)
    if _is_up_within(place, place.starts_within_s, process):
        return
    if process.poll() is None:
        _kill(process.pid, hard=True)
        process.wait()
    raise _why_not(place, process.returncode)


def _why_replace(place: Place) -> str | None:
    """Say what is wrong with the one that runs, None when it is up: its starter may have been killed before it was."""
    known = record(place)
    if known and known.get("release") != _release():
        return "it is another version's"
    return None if _is_up_within(place, place.answers_within_s if known else place.starts_within_s) else "it hangs"


def end(place: Place, environ: Mapping[str, str]) -> bool:
    """End it and the containers that it started; say whether there was anything to end. Hold the lock `starting`."""
    number, hard = pid(place), False
    if number is not None:
        _kill(number, hard=False)
        if not _is_gone_within(place, place.stops_within_s):
            hard = True
            _kill(number, hard=True)
            _is_gone_within(place, place.stops_within_s)
    # It removes its record when it ends by itself.
    killed = hard or place.record.exists()
    if killed:
        # Nobody else removes the containers of one that could not do it itself. Without its engine there are none.
        python = installation.find(environ)
        if python is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                subprocess.run(
                    _command(python, "sweep"),
                    env=_environment(place, environ),
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    timeout=60,
                )
        place.record.unlink(missing_ok=True)
    return killed or number is not None


def _spawn(place: Place, python: Path, environ: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    """Start the process in a group of its own, so that it outlives this one and its terminal."""
    for folder in (place.folder, place.folder / "tmp"):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    place.record.unlink(missing_ok=True)
    if place.log.exists() and place.log.stat().st_size > place.largest_log:
        place.log.replace(place.log.with_name("log.old"))
    with place.log.open("ab") as log:
        return subprocess.Popen(
            _command(python, "start", str(place.port), str(place.folder), _release()),
            cwd=place.folder,
            env=_environment(place, environ),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            creationflags=_FLAGS,
        )


if sys.platform == "win32":
    _FLAGS = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.DETACHED_PROCESS
else:
    _FLAGS = 0


def _command(python: Path, *words: str) -> list[str]:
    # Isolated: what the user has on PYTHONPATH or in this folder must not be taken for a library of ministack's.
    program = f"""import runpy, sys
sys.path.append({str(_SERVER.parent)!r})
runpy.run_module({_SERVER.name!r}, run_name="__main__", alter_sys=True)"""
    return [str(python), "-I", "-c", program, *words]


def _environment(place: Place, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment that decides how ministack behaves."""
    folder = place.folder
    return {
        **{name: environ[name] for name in _PASSED_ON if name in environ},
        "TMPDIR": str(folder / "tmp"),
        "TEMP": str(folder / "tmp"),
        "TMP": str(folder / "tmp"),
        "PYTHONUNBUFFERED": "1",
        "LOG_LEVEL": "WARNING",  # each prediction is a line otherwise; what functions print is in CloudWatch's logs
        "GATEWAY_PORT": str(place.port),
        # Its containers carry this as a label: those of another user or folder are not ours.
        "MINISTACK_HOSTNAME": f"thampi-{hashlib.sha256(str(folder).encode()).hexdigest()[:12]}",
        "SERVICES": _SERVICES,
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "PERSIST_STATE": "1",
        "STATE_DIR": str(folder / "state"),
        "S3_PERSIST": "1",
        "S3_DATA_DIR": str(folder / "s3"),
        # Every function runs in a container; zip files would otherwise run right in here.
        "LAMBDA_EXECUTOR": "docker",
        "LAMBDA_STRICT": "1",
        "MINISTACK_DOCKER_TIMEOUT": "60",
        # What functions find in their environment; empty, as ministack has it, it would be signed with.
        "AWS_SESSION_TOKEN": "local",
    }


def _release() -> str:
    """Name what this thampi would run: its environment and our changes to ministack."""
    texts = [path.read_bytes() for path in sorted(_SERVER.glob("*.py"))] + [Path(__file__).read_bytes()]
    return f"{installation.digest()}-{hashlib.sha256(b''.join(texts)).hexdigest()[:12]}"


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        if sys.platform != "win32":  # there it would share the port with whoever has it
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            raise _port_taken(port) from error


def _port_taken(port: int) -> CloudError:
    return CloudError(
        f"the local AWS can't start: port {port} is taken by another program",
        hint=f"end that program, or choose another port: THAMPI_LOCAL_PORT={port + 1}",
    )


def _why_not(place: Place, code: int | None) -> CloudError:
    lines = [line for line in place.log.read_text("utf-8", errors="replace").splitlines() if line.strip()]
    last = lines[-1].removeprefix("thampi: ") if lines else "it printed nothing"
    if code == _NO_ENGINE:
        return CloudError(
            f"the local AWS can't start: it runs images, and {last}",
            hint="start Docker; `thampi run --no-docker` serves a model without it",
        )
    if code == _PORT_TAKEN:
        return _port_taken(place.port)
    return CloudError(f"the local AWS can't start: {last}", hint=f"the whole log is in {place.log}")


def _is_up_within(place: Place, limit_s: float, process: "subprocess.Popen[bytes] | None" = None) -> bool:
    until = time.monotonic() + limit_s
    while time.monotonic() < until:
        if is_up(place):
            if process is not None:
                process.returncode = 0  # it goes on without us: nobody here waits for it or warns of it
            return True
        if process.poll() is not None if process is not None else not lock.is_held(place.running):
            return False
        time.sleep(_ASK_AGAIN_S)
    return False


def _is_gone_within(place: Place, limit_s: float) -> bool:
    until = time.monotonic() + limit_s
    while lock.is_held(place.running):
        if time.monotonic() > until:
            return False
        time.sleep(_ASK_AGAIN_S)
    return True


def _kill(number: int, *, hard: bool) -> None:
    """End the process and its group, which it leads: nothing else is in it."""
    with contextlib.suppress(ProcessLookupError):
        if sys.platform == "win32":
            os.kill(number, signal.SIGTERM)  # which is a hard end there; what it holds is written down already
        else:
            os.killpg(number, signal.SIGKILL if hard else signal.SIGTERM)
