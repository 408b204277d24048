"""thampi local: start, stop, show and forget the AWS of this machine, which the stage `local` is served by."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from thampi.local import cloud

Say = Callable[[str], None]


def start(*, environ: Mapping[str, str], say: Say) -> str:
    """Start it unless it runs; return its URL, for `aws --endpoint-url`."""
    running = cloud.ensure_running(environ, say=say)
    key, secret = running.credentials
    say(f"any other program reaches it with access key {key}, secret {secret}, region {running.region}")
    return running.endpoint_url


def stop(*, environ: Mapping[str, str], say: Say) -> None:
    """End it and its functions' containers; what it holds stays."""
    if cloud.stop(environ, say=say):
        say("the local AWS is stopped; what it holds is kept, the next use starts it again")
    else:
        say("the local AWS isn't running")


def reset(*, environ: Mapping[str, str], say: Say) -> None:
    """End it and forget functions, images, buckets and APIs; the images that the engine has stay there."""
    if cloud.reset(environ, say=say):
        say("the local AWS is stopped and has forgotten everything; the next push makes it anew")
    else:
        say("the local AWS holds nothing")


def status(*, environ: Mapping[str, str]) -> dict[str, object]:
    """Tell how it is, in words that can be printed and in values that JSON has; nothing is changed."""
    found = cloud.status(environ)
    state = "running" if found.answers else "running, but it does not answer" if found.running else "stopped"
    told: dict[str, object] = {"state": state, "url": found.cloud.endpoint_url, "registry": found.cloud.registry}
    if found.running:
        told |= {
            "listens_on": list(found.addresses),
            "since": datetime.fromtimestamp(found.since, UTC).isoformat(timespec="seconds") if found.since else None,
            "pid": found.pid,
        }
    return told | {
        "version": f"ministack {found.version}",
        "folder": str(found.folder),
        "size_mb": round(found.size_bytes / 1e6),
        "log": str(found.log),
    }
