"""Functions as Lambda has them: each version in environments of its own, which are small and can't be written to.

ministack gives the container of one version to every other that has the same image, and ends all of them at an update
of the function: a release that is tried would be answered for by the one that is live, and a push would end requests
of the live one. It gives each container all memory, a disk to write to and the rights of root.
"""

import contextvars
from collections.abc import Callable
from typing import Any

_LATEST = "$LATEST"


def keep_versions_apart(lambda_service: Any) -> None:
    """Give each version its own containers, and let an update end those of $LATEST only."""
    key_of = lambda_service._warm_pool_key

    def key(name: str, config: dict[str, Any]) -> str:
        return f"{key_of(name, config)}:{config.get('Version') or _LATEST}"

    def end(account: str, name: str) -> None:
        deleted = name not in lambda_service._functions
        with lambda_service._warm_pool_lock:
            pool = lambda_service._warm_pool
            ended = [key for key in pool if _is_of(key, account, name) and (deleted or key.endswith(f":{_LATEST}"))]
            entries = [entry for key in ended for entry in pool.pop(key)]
        for entry in entries:
            lambda_service._kill_pool_entry(entry)

    lambda_service._warm_pool_key = key
    lambda_service._pool_kill_function = end


def _is_of(key: str, account: str, name: str) -> bool:
    parts = key.split(":")  # account, region, function, image, …
    return parts[0] == account and parts[2] == name


def list_what_is_provisioned(lambda_service: Any) -> None:
    """Answer ListProvisionedConcurrencyConfigs: ministack takes it for a question about $LATEST, which has none."""
    read_one = lambda_service._get_provisioned_concurrency

    def read(name: str, qualifier: str | None) -> Any:
        record = None if qualifier else lambda_service._functions.get(name)
        if record is None:
            return read_one(name, qualifier)
        arn, versions = lambda_service._func_arn(name), record.get("provisioned_concurrency", {})
        listed = [{"FunctionArn": f"{arn}:{version}", **each} for version, each in versions.items()]
        return lambda_service.json_response({"ProvisionedConcurrencyConfigs": listed})

    lambda_service._get_provisioned_concurrency = read


def limit_containers(lambda_service: Any, docker_library: Any) -> None:
    """Give a function's container what Lambda gives, and refuse all other containers.

    Other services would start them with the rights of root, and any program of this machine can ask for it.
    """
    world: contextvars.ContextVar[dict[str, Any] | None] = contextvars.ContextVar("world", default=None)
    spawn = lambda_service._spawn_lambda_container_impl

    def limited_spawn(config: dict[str, Any], *others: Any) -> Any:
        token = world.set(world_of(config, docker_library.types))
        try:
            return spawn(config, *others)
        finally:
            world.reset(token)

    def limited(start: Callable[..., Any]) -> Callable[..., Any]:
        def started(collection: Any, image: str, command: Any = None, **wanted: Any) -> Any:
            limits = world.get()
            if limits is None:
                raise PermissionError("the local AWS starts containers for Lambda functions only")
            return start(collection, image, command, **{**wanted, **limits})

        return started

    lambda_service._spawn_lambda_container_impl = limited_spawn
    containers = docker_library.models.containers.ContainerCollection
    containers.run, containers.create = limited(containers.run), limited(containers.create)


def world_of(config: dict[str, Any], types: Any) -> dict[str, Any]:
    """Return what a function may: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html.

    /tmp lies in memory here and counts against it; Lambda's is a disk of its own.
    """
    memory = f"{config.get('MemorySize') or 128}m"
    tmp_mb = (config.get("EphemeralStorage") or {}).get("Size") or 512
    return {
        "mem_limit": memory,
        "memswap_limit": memory,
        "user": "993:990",
        "read_only": True,
        "tmpfs": {"/tmp": f"rw,nosuid,nodev,exec,mode=1777,size={tmp_mb}m"},  # noqa: S108 - its own
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "privileged": False,
        "ipc_mode": "none",  # no /dev/shm
        "use_config_proxy": False,  # nor a proxy, which does not know the way to host.docker.internal
        "pids_limit": 1024,
        "ulimits": [types.Ulimit(name="nofile", soft=1024, hard=1024)],
        "log_config": types.LogConfig(type="json-file", config={"max-size": "10m", "max-file": "2"}),
    }
