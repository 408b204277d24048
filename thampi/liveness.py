"""Which `thampi` is still at work: what it leaves when it is killed names it, and the next one clears it away."""

import os
import platform
import sys


def host() -> str:
    """Name this machine (or container): process numbers mean something on one of them only."""
    return platform.node() or "localhost"


def is_alive(pid: int) -> bool:
    """Say whether the process runs, also when it is another user's."""
    if sys.platform == "win32":
        return _is_alive_on_windows(pid)
    if pid <= 0:  # to kill(), these are groups
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _is_alive_on_windows(pid: int) -> bool:  # pragma: no cover - there, os.kill(pid, 0) would be a Ctrl-C
    import ctypes

    synchronize, timed_out = 0x00100000, 0x00000102
    kernel = ctypes.windll.kernel32  # type: ignore[attr-defined,unused-ignore]
    handle = kernel.OpenProcess(synchronize, False, pid)
    if not handle:
        return bool(kernel.GetLastError() == 5)  # access denied: it is there
    try:
        return bool(kernel.WaitForSingleObject(handle, 0) == timed_out)
    finally:
        kernel.CloseHandle(handle)
