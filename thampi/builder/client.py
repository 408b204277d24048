"""Finds the docker command line that can build with BuildKit: the Docker SDK can't."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from thampi.errors import BuildError

_FIRST_WITHOUT_OWN_BUILDKIT = 23  # from then on `docker build` needs the buildx component


@dataclass(frozen=True)
class Client:
    """A docker command that builds with BuildKit, and how it wants to be told so."""

    path: str
    has_buildx: bool

    def build_command(self, context_name: str = "") -> list[str]:
        """Return the words that begin a build."""
        if not self.has_buildx:
            return [self.path, "build"]
        # A builder in a container of its own could not see the engine's images, and the base is one of them.
        # The builder that is named like the engine's context is the engine's own.
        builder = ["--builder", context_name] if context_name else []
        # Attestations make an index of the image, which Lambda refuses.
        return [self.path, "buildx", "build", *builder, "--load", "--provenance=false", "--sbom=false"]

    def environment(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return the environment that a build runs in."""
        return {**environ, "DOCKER_BUILDKIT": "1", "BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}


def find(environ: Mapping[str, str]) -> Client:
    """Return the first docker on PATH that has BuildKit, or what THAMPI_DOCKER names.

    Raises BuildError when there is none.
    """
    found = [candidate for candidate in _candidates(environ) if shutil.which(candidate)]
    for path in found:
        client = _examine(path)
        if client is not None:
            return client
    if not found:
        raise BuildError(
            "there is no docker command on this machine",
            hint="install Docker (https://docs.docker.com/engine/install/), or use `thampi run --no-docker`",
        )
    raise BuildError(
        f"no docker command here has BuildKit: {', '.join(found)}",
        hint="install docker-buildx-plugin (Docker's own packages) or docker-buildx (Debian's, Ubuntu's, Homebrew's)",
    )


def context_name(client: Client) -> str:
    """Return the name of the engine's context, which is that of its own builder; empty when it can't be told."""
    shown = _output([client.path, "context", "show"])
    return shown.strip() if shown else ""


def _candidates(environ: Mapping[str, str]) -> Iterator[str]:
    if environ.get("THAMPI_DOCKER"):
        yield environ["THAMPI_DOCKER"]
        return
    ending = ".exe" if os.name == "nt" else ""
    for folder in environ.get("PATH", "").split(os.pathsep):
        yield os.path.join(folder, f"docker{ending}")  # noqa: PTH118 - an empty entry of PATH must stay one


def _examine(path: str) -> Client | None:
    if _output([path, "buildx", "version"]) is not None:
        return Client(path, has_buildx=True)
    version = re.search(r"version (\d+)\.", _output([path, "--version"]) or "")
    if version and int(version.group(1)) < _FIRST_WITHOUT_OWN_BUILDKIT:
        return Client(path, has_buildx=False)
    return None


def _output(command: list[str]) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
