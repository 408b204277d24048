"""Finds the docker command line that can build with BuildKit: the Docker SDK can't."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from thampi.errors import BuildError

# Before it `docker build` had no secrets; from 23 on it needs the buildx component.
_FIRST_WITH_SECRETS, _FIRST_WITHOUT_OWN_BUILDKIT = 20, 23


@dataclass(frozen=True)
class Client:
    """A docker command that builds with BuildKit, how it wants to be told so, and the environment that it runs in."""

    path: str
    has_buildx: bool
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False, compare=False)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run one command to its end and return what came of it, failed or not."""
        return subprocess.run(
            [self.path, *words],
            env=dict(self.environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
        )

    def build_command(self) -> list[str]:
        """Return the words that begin a build."""
        if not self.has_buildx:
            return [self.path, "build"]
        # Attestations make an index of the image, which Lambda refuses.
        return [self.path, "buildx", "build", *self._own_builder(), "--load", "--provenance=false", "--sbom=false"]

    def build_environment(self) -> dict[str, str]:
        """Return the environment that a build runs in."""
        return {**self.environ, "DOCKER_BUILDKIT": "1", "BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}

    def _own_builder(self) -> list[str]:
        """Choose the engine's own builder, which is named like its context.

        One in a container of its own, which `docker buildx create --use` makes the default, could not see the engine's
        images, and our base is one of them.
        """
        context = self.run("context", "show").stdout.strip()
        return ["--builder", context] if context else []


def find(environ: Mapping[str, str]) -> Client:
    """Return the first docker on PATH that has BuildKit, or what THAMPI_DOCKER names.

    Raises BuildError when there is none.
    """
    found = list(_candidates(environ))
    for path in found:
        client = _examine(path, environ)
        if client is not None:
            return client
    if found:
        raise BuildError(
            f"no docker command here has BuildKit: {', '.join(found)}",
            hint="install docker-buildx-plugin (Docker's own packages) or docker-buildx (Debian's, Ubuntu's, "
            "Homebrew's)",
        )
    if environ.get("THAMPI_DOCKER"):
        raise BuildError(
            f"THAMPI_DOCKER names {environ['THAMPI_DOCKER']}, which is no command on this machine",
            hint="correct it, or unset it: then the docker on PATH is used",
        )
    raise BuildError(
        "there is no docker command on this machine",
        hint="install Docker (https://docs.docker.com/engine/install/), or use `thampi run --no-docker`",
    )


def _candidates(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield the docker commands that can be started, each under its whole path."""
    folders = environ.get("PATH", "")
    wanted = environ.get("THAMPI_DOCKER")
    for folder in [folders] if wanted else folders.split(os.pathsep):
        path = shutil.which(wanted or "docker", path=folder)
        if path:
            yield path


def _examine(path: str, environ: Mapping[str, str]) -> Client | None:
    if _output([path, "buildx", "version"], environ) is not None:
        return Client(path, has_buildx=True, environ=environ)
    # Podman, too, installs itself as `docker`, and has a version of its own.
    version = re.match(r"Docker version (\d+)\.", _output([path, "--version"], environ) or "")
    if version and _FIRST_WITH_SECRETS <= int(version.group(1)) < _FIRST_WITHOUT_OWN_BUILDKIT:
        return Client(path, has_buildx=False, environ=environ)
    return None


def _output(command: Sequence[str], environ: Mapping[str, str]) -> str | None:
    """Return what a command prints, None if it fails."""
    try:
        done = subprocess.run(
            command, env=dict(environ), capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
