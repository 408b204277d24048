"""An image gets from this machine's engine into the registry: built and tried unless the engine has it, then pushed."""

import contextlib
from collections.abc import Callable, Mapping
from typing import Protocol

from thampi.builder import engine
from thampi.builder import push as docker_push
from thampi.config import Stage
from thampi.operations import build
from thampi.operations.build import Plan


class Progress(Protocol):
    """Whom to tell how far it has got."""

    def build(self, line: str) -> None:
        """Take a line of what the engine says while it builds."""

    def layer(self, layer: docker_push.Layer) -> None:
        """Take how far a layer of the image has been pushed."""


def deliver(
    repository_uri: str,
    login: Callable[[], docker_push.Login],
    go_on: Callable[[], None],
    *,
    stage: Stage,
    plan: Plan,
    environ: Mapping[str, str],
    say: Callable[[str], None],
    progress: Progress,
) -> str | None:
    """Push the image of the plan and return its digest; None when its tag was taken meanwhile.

    Between the steps `go_on` is asked, which raises when the run has been stopped.

    Raises BuildError for an image that can't be built, pushed, or run by Lambda.
    """
    reference = build.build(plan, environ=environ, say=say, show=progress.build)
    go_on()
    say(f"pushing image {reference}")
    try:
        with contextlib.closing(engine.connect()) as client:
            return docker_push.push(
                client,
                reference,
                repository_uri,
                plan.model.digest,
                platform=stage.build.platform,
                login=login,
                progress=progress.layer,
            )
    except docker_push.TagTakenError:
        return None
