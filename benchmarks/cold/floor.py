"""The floors: the same bytes by the fastest client that can be written, and the imports alone.

The client is C (`raw_get.c`, compiled when a C compiler is there) and does nothing but receive. Without a compiler it
is Python, whose threads receive into one mapping with one call for each range: the floor is then somewhat higher.
"""

import mmap
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

CONNECTIONS = 16
_MIB = 1024 * 1024
_SOURCE = Path(__file__).with_suffix("").with_name("raw_get.c")


def compiled(folder: Path) -> list[str]:
    """Return the command of the raw client, compiled into `folder` where that can be."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler:
        program = folder / "raw_get"
        subprocess.run([compiler, "-O2", "-pthread", "-o", str(program), str(_SOURCE)], check=True)
        return [str(program)]
    return [sys.executable, "-S", __file__]


def raw_get(command: Sequence[str], port: int, files: Sequence[tuple[str, int]]) -> list[str]:
    """Return the command that fetches `files` (path and size) with as many connections and as large parts as ours."""
    total = sum(size for _, size in files)
    part = max(1, min(8, total // 32 // _MIB)) * _MIB
    words = [str(word) for file in files if file[1] for word in file]
    return [*command, str(port), str(CONNECTIONS), str(part), *words]


def _receive(port: int, todo: list[tuple[str, memoryview, int, int]]) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        while todo:
            try:
                path, into, start, end = todo.pop(0)
            except IndexError:
                return
            connection.sendall(
                f"GET {path} HTTP/1.1\r\nHost: localhost\r\nRange: bytes={start}-{end - 1}\r\n\r\n".encode()
            )
            have = b""
            while b"\r\n\r\n" not in have:
                have += connection.recv(4096)
            rest = have.partition(b"\r\n\r\n")[2]
            into[start : start + len(rest)] = rest
            done = start + len(rest)
            while done < end:
                done += connection.recv_into(into[done:end], 0, socket.MSG_WAITALL)


def _main(port: int, connections: int, part: int, *files: str) -> None:
    todo = []
    for path, size in zip(files[::2], map(int, files[1::2]), strict=True):
        into = memoryview(mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
        todo += [(path, into, at, min(at + part, size)) for at in range(0, size, part)]
    threads = [threading.Thread(target=_receive, args=(port, todo)) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    _main(*map(int, sys.argv[1:4]), *sys.argv[4:])
