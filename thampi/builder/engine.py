"""The Docker engine that the docker command would talk to, through its SDK."""

import os
from typing import Any

import docker
from docker.errors import DockerException

from thampi.builder import failures
from thampi.errors import BuildError


def connect(*, timeout_s: int = 600) -> Any:
    """Return a client (docker.DockerClient) of the engine of DOCKER_HOST, or of the current context.

    `timeout_s` is how long the engine may say nothing: minutes, while a registry puts a layer of some GB together.
    Raises BuildError when no engine answers.
    """
    name = os.environ.get("DOCKER_CONTEXT")
    try:
        # `from_env` looks at contexts from docker 7.2 on only; Docker Desktop, colima and others set one.
        context = docker.ContextAPI.get_context(name)
        if os.environ.get("DOCKER_HOST") or (context is not None and context.name == "default"):
            return docker.from_env(timeout=timeout_s, use_ssh_client=True)
        if context is None:
            raise BuildError(
                f"there is no docker context {name}" if name else "the current docker context does not exist",
                hint="`docker context ls` shows those that do; `docker context use` chooses one",
            )
        return docker.DockerClient(
            base_url=context.Host, tls=context.TLSConfig or False, timeout=timeout_s, use_ssh_client=True
        )
    except (DockerException, OSError) as error:
        raise failures.no_engine(str(error)) from error
