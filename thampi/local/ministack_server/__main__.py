"""Serves until it is told to stop: takes the lock, finds the engine, says in a record that it is ready.

    python … start PORT FOLDER RELEASE     serve; the lock is FOLDER.running, the record FOLDER/record.json
    python … sweep                         remove what functions left when it was killed

What decides how ministack behaves comes in environment variables: `cloud.py` has them all.
"""

import asyncio
import contextlib
import errno
import json
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NoReturn

from . import apis, functions, keeping, rest_apis
from . import engine as engines

# How it ends when it can't start, after a last line that says why.
NO_ENGINE, PORT_TAKEN, FAILED = 3, 4, 5
_READY_WITHIN_S = 60
_STATE_WITHIN_S = 300  # how long writing it down may take

Ask = Callable[..., Awaitable[Any]]


def main() -> None:
    """Do what the command line says."""
    if sys.argv[1] == "sweep":
        _sweep()
        return
    port, folder, release = int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
    lock = _lock(folder.with_name(f"{folder.name}.running"))
    try:
        engine = engines.find()
        asyncio.run(_serve(port, folder, release, engine))
    except engines.NoEngineError as error:
        _give_up(NO_ENGINE, str(error))
    except OSError as error:
        _give_up(PORT_TAKEN if error.errno == errno.EADDRINUSE else FAILED, str(error))
    os.close(lock)


async def _serve(port: int, folder: Path, release: str, engine: engines.Engine) -> None:
    from hypercorn.asyncio import serve  # type: ignore[import-not-found]
    from hypercorn.config import Config  # type: ignore[import-not-found]

    app, states, save = _ministack(folder)
    hosts = [engines.LOOPBACK, *([engine.bridge] if engine.bridge else [])]
    config = Config()
    config.bind = [f"{host}:{port}" for host in hosts]
    config.keep_alive_timeout = 75
    config.loglevel = "WARNING"
    config.shutdown_timeout = _STATE_WITHIN_S
    stopping, changed = _stopping(), asyncio.Event()
    saving = asyncio.ensure_future(keeping.save_after_changes(changed, states, save))
    announcing = asyncio.ensure_future(_announce(port, hosts, folder, release, engine))

    async def stopped() -> None:
        await stopping.wait()
        for task in (announcing, saving):
            task.cancel()
        await asyncio.gather(announcing, saving, return_exceptions=True)
        (folder / "record.json").unlink(missing_ok=True)

    await serve(_watched(app, changed), config, shutdown_trigger=stopped)


def _ministack(folder: Path) -> tuple[Any, Callable[[], Any], Callable[..., None]]:
    """Return ministack's application, its state by service, and what writes a state down."""
    import docker
    from ministack import app  # type: ignore[import-not-found]
    from ministack.core import persistence, responses  # type: ignore[import-not-found]
    from ministack.services import apigateway, apigateway_v1, ecr, lambda_svc  # type: ignore[import-not-found]

    functions.keep_versions_apart(lambda_svc)
    functions.limit_containers(lambda_svc, docker)
    functions.list_what_is_provisioned(lambda_svc)
    rest_apis.hold_stages(apigateway_v1)
    rest_apis.forget_keys(apigateway_v1)
    rest_apis.ask_for_keys(apigateway_v1)
    apis.keep_stages(apigateway)
    keeping.keep_layers_in_files(ecr, responses.AccountRegionScopedDict, folder / "layers")
    return app.app, app._build_persistence_save_dict, persistence.save_all


def _watched(app: Any, changed: asyncio.Event) -> Any:
    """Notice changes, and refuse what a page in a browser asks of AWS itself: any page could start any image."""

    async def watched(scope: dict[str, Any], receive: Ask, send: Ask) -> None:
        if scope["type"] == "http" and is_foreign_page(scope["path"], scope["headers"]):
            body = b'{"message": "a page in a browser may call APIs and function URLs here, and nothing else"}'
            headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
            await send({"type": "http.response.start", "status": 403, "headers": headers})
            await send({"type": "http.response.body", "body": body})
            return
        await app(scope, receive, send)
        if scope["type"] == "http" and keeping.changes(scope["method"], scope["path"]):
            changed.set()

    return watched


def is_foreign_page(path: str, headers: list[tuple[bytes, bytes]]) -> bool:
    """Say whether a browser asks, for a page, and asks for something else than what users put on the web."""
    if not any(name.lower() == b"origin" for name, _ in headers):
        return False
    host = next((value.decode("latin-1") for name, value in headers if name.lower() == b"host"), "").partition(":")[0]
    of_an_api = host.endswith(".localhost") and (".execute-api." in host or ".lambda-url." in host)
    return not (of_an_api or path.startswith(("/_aws/execute-api/", "/_aws/lambda-url/")))


async def _announce(port: int, hosts: list[str], folder: Path, release: str, engine: engines.Engine) -> None:
    """Write the record as soon as everything answers."""
    until = time.monotonic() + _READY_WITHIN_S
    for host in hosts:
        while not await _listens(host, port) and time.monotonic() < until:
            await asyncio.sleep(0.02)
    if engine.bridge is None:
        await asyncio.to_thread(_pass_on, engine, port)
    record = {"release": release, "since": time.time(), "addresses": [f"{host}:{port}" for host in hosts]}
    aside = folder / "record.json.new"
    aside.write_text(json.dumps(record), "utf-8")
    aside.replace(folder / "record.json")


def _pass_on(engine: engines.Engine, port: int) -> None:
    from ministack.core import container_reaper

    try:
        engines.pass_on(engine, port, {container_reaper.INSTANCE_LABEL: container_reaper.instance_id()})
    except Exception as error:  # an engine may have found its own way here; if not, `docker push` will say so
        _log(f"the engine has a machine of its own, and nothing passes its loopback on to this one: {error}")


async def _listens(host: str, port: int) -> bool:
    with contextlib.suppress(OSError):
        _, writer = await asyncio.open_connection(host, port)
        writer.close()
        return True
    return False


def _stopping() -> asyncio.Event:
    event, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(event.set))
    return event


def _sweep() -> None:
    from ministack.core import container_reaper

    container_reaper.reap_all(engines.find().client)


def _lock(path: Path) -> int:
    """Hold the lock until this process ends, however it does; whoever wants to end it finds its number inside."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    if sys.platform == "win32":
        import msvcrt

        os.lseek(handle, 1 << 20, os.SEEK_SET)  # what is locked there nobody can read, so it's not the number
        msvcrt.locking(handle, msvcrt.LK_LOCK, 1)
    else:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX)
    os.lseek(handle, 0, os.SEEK_SET)
    os.truncate(handle, 0)
    os.write(handle, str(os.getpid()).encode())
    return handle


def _log(text: str) -> None:
    sys.stderr.write(f"thampi: {text}\n")


def _give_up(code: int, why: str) -> NoReturn:
    _log(why)
    sys.stderr.flush()
    os._exit(code)  # without waiting for threads that may hang on what is not there


if __name__ == "__main__":
    main()
