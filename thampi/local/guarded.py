"""Runs in the started process: ends it with the one that started it, then becomes `python -m thampi_handler`.

Standard input is a pipe that only the starter holds: it closes when the starter ends, however it ends.
This file is run by its path, under the Python of the model's environment.
"""

import os
import sys


def main() -> None:
    """Tie this process to its starter, and run the handler as the image does."""
    sys.path[0] = os.getcwd()  # noqa: PTH109 - it was the folder of this file, whose modules are not the handler's
    pipe = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    _die_with_starter(pipe)
    _complete_awslambdaric()
    import runpy

    sys.argv[:] = ["thampi_handler"]
    runpy.run_module("thampi_handler", run_name="__main__", alter_sys=True)


def _die_with_starter(pipe: int) -> None:
    if sys.platform == "linux":
        import fcntl
        import select
        import signal

        # The kernel itself kills our process group, which began with us. No thread has to run for it, so it works while
        # a regular expression holds the interpreter for minutes, and the process stays as single-threaded as in Lambda.
        fcntl.fcntl(pipe, fcntl.F_SETOWN, -os.getpid())
        fcntl.fcntl(pipe, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(pipe, fcntl.F_SETFL, fcntl.fcntl(pipe, fcntl.F_GETFL) | os.O_ASYNC)
        poll = select.poll()
        poll.register(pipe, select.POLLIN)
        if poll.poll(0):  # it closed before the kernel was told
            os._exit(1)
    else:
        import threading

        threading.Thread(target=_wait_and_die, args=(pipe,), daemon=True).start()


def _wait_and_die(pipe: int) -> None:
    os.read(pipe, 1)
    if sys.platform != "win32":
        os.killpg(os.getpid(), 9)
    os._exit(1)


def _complete_awslambdaric() -> None:
    """Give awslambdaric its native half, which it has on Linux only, in Python."""
    import importlib.util

    if importlib.util.find_spec("runtime_client") is None:
        file = os.path.join(os.path.dirname(os.path.abspath(__file__)), "runtime_client.py")  # noqa: PTH100,PTH118,PTH120
        spec = importlib.util.spec_from_file_location("runtime_client", file)
        if spec is not None and spec.loader is not None:
            sys.modules["runtime_client"] = module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)


if __name__ == "__main__":
    main()
