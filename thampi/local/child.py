"""A process of ours, ended with all that it started; that it ends when we do is what `guarded.py` is for."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from thampi.errors import BuildError

if sys.platform == "win32":
    _FLAGS = subprocess.CREATE_NEW_PROCESS_GROUP
else:
    _FLAGS = 0


def start(command: list[str], environment: Mapping[str, str], folder: Path) -> subprocess.Popen[bytes]:
    """Start a process in a group of its own (a Ctrl-C is for us), whose standard input closes when we end."""
    try:
        return subprocess.Popen(
            command,
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=os.name == "posix",
            creationflags=_FLAGS,
        )
    except OSError as error:
        raise BuildError(f"can't start {command[0]}: {error.strerror}", hint=None) from error


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and what it started; fine when it has ended."""
    if process.poll() is None:
        kill_group(process)
    process.wait()
    with contextlib.suppress(OSError):
        if process.stdin is not None:
            process.stdin.close()


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill all processes of its group; not to be called later than its end, when the number may mean another group."""
    if sys.platform == "win32":
        subprocess.run(["taskkill", "/T", "/F", "/PID", str(process.pid)], capture_output=True)
    else:
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
