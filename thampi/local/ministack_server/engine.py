"""The Docker engine that runs the functions: which one it is, and how it and its containers reach this process."""

import contextlib
import ipaddress
import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import docker
from docker.errors import DockerException, ImageNotFound

LOOPBACK = "127.0.0.1"
_HOST = "host.docker.internal"  # the machine of the user, for a container
# The base of thampi's own images, so it is there already, or needed next.
_RELAY_IMAGE = "public.ecr.aws/docker/library/python:{}.{}-slim-bookworm".format(*sys.version_info)


class NoEngineError(Exception):
    """No engine of this machine answers; what it says is for the user."""


@dataclass(frozen=True)
class Engine:
    """An engine, and this machine's address on its bridge; None when the engine has a machine of its own."""

    client: Any
    bridge: str | None


def find() -> Engine:
    """Find the engine that the docker command would talk to, and have ministack use the same.

    The SDK's own `from_env`, which ministack uses, knows no contexts; Docker Desktop, colima and others set one.
    """
    try:
        context = docker.ContextAPI.get_context(os.environ.get("DOCKER_CONTEXT"))
        if not os.environ.get("DOCKER_HOST") and context is not None and context.name != "default":
            os.environ["DOCKER_HOST"] = context.Host
        where = urlsplit(os.environ.get("DOCKER_HOST", ""))
        if where.hostname and where.hostname not in (LOOPBACK, "localhost", "::1"):
            raise NoEngineError(f"the Docker engine is on another machine ({where.geturl()})")
        client = docker.from_env(timeout=60)
        client.ping()
    except (DockerException, OSError) as error:
        raise NoEngineError(f"no Docker engine answers: {_first_line(error)}") from error
    return Engine(client, _bridge(client))


def pass_on(engine: Engine, port: int, labels: dict[str, str]) -> None:
    """Have the loopback of the engine's machine lead here, for `docker push`; whoever removes its container ends it."""
    api = engine.client.api
    try:
        api.inspect_image(_RELAY_IMAGE)
    except ImageNotFound:
        engine.client.images.pull(_RELAY_IMAGE)
    program = Path(__file__).with_name("relay.py").read_text("utf-8")
    made = api.create_container(
        _RELAY_IMAGE,
        ["python3", "-c", program, str(port), _HOST, str(port)],
        user="993:990",
        labels=labels,
        host_config=api.create_host_config(
            network_mode="host",
            extra_hosts={_HOST: "host-gateway"},
            read_only=True,
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
        ),
    )
    api.start(made["Id"])


def _bridge(client: Any) -> str | None:
    """Return the address that `host-gateway` means in a container, if it is one of this machine."""
    with contextlib.suppress(DockerException, OSError, LookupError, TypeError, ValueError):
        for each in client.networks.get("bridge").attrs["IPAM"]["Config"]:
            subnet = ipaddress.ip_network(each["Subnet"])
            if subnet.version == 4:
                gateway = each.get("Gateway") or str(next(subnet.hosts()))
                with socket.socket() as probe:
                    probe.bind((gateway, 0))
                return str(gateway)
    return None


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
