"""Runs an image with Lambda's world around it: little memory, a disk that can only be read, a user without rights.

One difference remains: /tmp lies in memory here and counts against it; Lambda's is a disk of its own.
"""

import contextlib
import os
import secrets
import stat
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import docker
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from docker.types import LogConfig, Mount, Ulimit

from thampi import liveness, recipe
from thampi.builder import failures
from thampi.errors import BuildError, BundleError

_USER = "993:990"  # as in Lambda
_PORT = "8080/tcp"  # where the emulator listens
_LOOPBACK = "127.0.0.1"
_RUN, _HOST = "thampi.run", "thampi.host"  # labels: the process that a container is for, and its machine
_NOT_SHARED = ("bind source path does not exist", "mounts denied", "is not shared", "not a shared mount")
_WITHOUT = "`thampi run --no-docker` needs no engine"


@dataclass(frozen=True)
class Container:
    """A running container, whose port 8080 is `port` of this machine."""

    name: str
    port: int
    _engine: Any = field(repr=False)  # a docker.DockerClient

    def lines(self) -> Iterator[str]:
        """Yield what it logs, line by line, until it stops."""
        rest = b""
        with contextlib.suppress(DockerException, HTTPException, OSError):  # it, or the engine, is gone
            for piece in self._engine.api.logs(self.name, stream=True, follow=True):
                *whole, rest = (rest + piece).split(b"\n")
                for line in whole:
                    yield line.decode(errors="replace").rstrip("\r")
        if rest:
            yield rest.decode(errors="replace")

    def is_running(self) -> bool:
        """Say whether it runs."""
        try:
            return bool(self._engine.api.inspect_container(self.name)["State"]["Running"])
        except (DockerException, OSError):
            return False

    def stop(self) -> None:
        """Remove it, with its volumes, whatever it is doing; fine when it is gone."""
        _remove(self._engine, self.name)
        self._engine.close()


def start(
    image: str,
    *,
    name_prefix: str,
    environment: Mapping[str, str],
    model_dir: Path | None,
    memory_mb: int,
    tmp_mb: int,
    timeout_s: int,
) -> Container:
    """Start an image that thampi built, with the saved model in `model_dir`; first clear away what dead runs left.

    Without a `model_dir` the image has the model itself.

    The name begins with `name_prefix`, which is also what the function is told to be its own. Raises BuildError when
    the engine can't, BundleError when the container could not read the model. Not to be interrupted: the engine goes
    on creating for a client that has hung up.
    """
    mounts = []
    if model_dir is not None:
        model_dir = model_dir.resolve()
        check_readable(model_dir)
        mounts = [Mount(recipe.MODEL_FOLDER, str(model_dir), type="bind", read_only=True)]
    engine = _connect()
    remove_leftovers(engine)
    name = f"{name_prefix}-{os.getpid()}-{secrets.token_hex(3)}"
    try:
        engine.containers.create(
            image,
            name=name,
            environment={
                **environment,
                "AWS_LAMBDA_FUNCTION_NAME": name_prefix,
                "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(memory_mb),
                "AWS_LAMBDA_FUNCTION_TIMEOUT": str(timeout_s),
            },
            labels={_RUN: str(os.getpid()), _HOST: liveness.host()},
            ports={_PORT: (_LOOPBACK,)},
            mounts=mounts,
            tmpfs={"/tmp": f"rw,nosuid,nodev,exec,mode=1777,size={tmp_mb}m"},  # noqa: S108 - its own
            **_WORLD,
            mem_limit=f"{memory_mb}m",
            memswap_limit=f"{memory_mb}m",
        )
        engine.api.start(name)
        return Container(name, _published(engine, name), engine)
    except BaseException as error:
        _remove(engine, name)
        if isinstance(error, DockerException):
            raise _explain(error, image, model_dir) from error
        raise


# What Lambda allows everybody: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
_WORLD: dict[str, Any] = {
    "user": _USER,
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges"],
    "ipc_mode": "none",  # no /dev/shm
    "pids_limit": 1024,
    "ulimits": [Ulimit(name="nofile", soft=1024, hard=1024)],
    "log_config": LogConfig(type=LogConfig.types.JSON, config={"max-size": "10m", "max-file": "2"}),
}


def check_readable(model_dir: Path) -> None:
    """Raise BundleError when a saved model is closed to other users: the container is one."""
    if sys.platform != "linux":
        return  # elsewhere the engine lives in a machine of its own, and the shared folder has the container's user
    for path in (model_dir, *model_dir.iterdir()):
        mode = path.stat().st_mode
        wanted = stat.S_IROTH | stat.S_IXOTH if stat.S_ISDIR(mode) else stat.S_IROTH
        if mode & wanted != wanted:
            raise BundleError(
                f"{path} can't be read by other users, and in Lambda (and its container) the model is read by one",
                hint=f"chmod -R a+rX {model_dir}",
            )


def remove_leftovers(engine: Any) -> None:
    """Remove the containers of runs on this machine that ended without doing so."""
    label = [_RUN, f"{_HOST}={liveness.host()}"]
    for found in engine.api.containers(all=True, filters={"label": label}):
        owner = found["Labels"][_RUN]
        if not (owner.isdigit() and liveness.is_alive(int(owner))):
            with contextlib.suppress(DockerException):  # another run is faster
                _remove(engine, found["Id"])


def _connect() -> Any:
    """Return a client of the engine that the docker command would talk to.

    The SDK's own `from_env` knows no contexts; Docker Desktop, colima and others set one.
    """
    try:
        context = docker.ContextAPI.get_context(os.environ.get("DOCKER_CONTEXT"))
        if os.environ.get("DOCKER_HOST") or context is None or context.name == "default":
            _check_near(os.environ.get("DOCKER_HOST", ""))
            return docker.from_env()
        _check_near(context.Host)
        return docker.DockerClient(base_url=context.Host, tls=context.TLSConfig or False)
    except (DockerException, OSError) as error:
        raise failures.no_engine(str(error)) from error


def _check_near(endpoint: str) -> None:
    """Refuse an engine of another machine."""
    where = urlsplit(endpoint)
    if where.hostname and where.hostname not in (_LOOPBACK, "localhost", "::1"):
        raise BuildError(
            f"the Docker engine is on another machine ({endpoint}), which doesn't have the model",
            hint=f"use one of this machine (docker context use default, unset DOCKER_HOST); {_WITHOUT}",
        )


def _published(engine: Any, name: str) -> int:
    ports = engine.api.inspect_container(name)["NetworkSettings"]["Ports"].get(_PORT)
    if not ports:
        said = engine.api.logs(name, tail=10).decode(errors="replace").strip()
        raise BuildError(f"the container stopped as soon as it was started: {said}", hint=_WITHOUT)
    return int(ports[0]["HostPort"])


def _remove(engine: Any, name: str) -> None:
    try:
        engine.api.remove_container(name, force=True, v=True)
    except NotFound:
        pass
    except APIError as error:
        if error.status_code != 409:  # it is being removed already
            raise


def _explain(error: DockerException, image: str, model_dir: Path | None) -> BuildError:
    said = str(getattr(error, "explanation", None) or error)
    if isinstance(error, ImageNotFound):
        return BuildError(f"the engine has no image {image}", hint="thampi build")
    if any(words in said.lower() for words in _NOT_SHARED):
        return BuildError(
            f"the engine can't see {model_dir}: {said}",
            hint="share the folder with it (Docker Desktop: Settings, Resources, File sharing), or use one that is; "
            + _WITHOUT,
        )
    return BuildError(f"the container can't be started: {said}", hint=_WITHOUT)
