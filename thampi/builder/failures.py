"""What the engine says when it fails, in the user's words and with the cure."""

import re

from thampi.errors import BuildError
from thampi.recipe import Recipe

_SHOWN = 20

# What people really meet, first match wins: a pattern in the engine's words, and the cure.
_CURES = (
    (r"no space left on device", "free some: docker builder prune, docker image prune"),
    (r"toomanyrequests|rate exceeded|pull rate limit", "the registry limits anonymous pulls: wait a minute, or log in"),
    (r"authorization token has expired", "docker logout public.ecr.aws"),
    (
        r"exec format error|does not match the specified platform",
        "this engine can't run the image's platform: set build.platform to its own, or install emulation "
        "(docker run --privileged --rm tonistiigi/binfmt --install all)",
    ),
    (
        r"failed to resolve source metadata|pull access denied|failed to do request|not found: manifest",
        "the Python image can't be pulled: check the network, or name another with build.base_image",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED|UnknownIssuer|invalid peer certificate",
        "a proxy signs the traffic: set SSL_CERT_FILE to your company's CA bundle; the build gets it as a secret",
    ),
    (r"No solution found", "the versions that are asked for exclude each other: loosen one of those named above"),
    (
        r"no wheels with a matching|Failed to build|build backend|gcc: not found|error: command 'gcc'",
        "it has no wheel for this Python and platform, and the image has no compiler: pin a version that has one",
    ),
    (r"was not found in the package registry|No matching distribution", "check the name in the dependency file"),
    (r"Unable to locate package", "check the names in build.apt: they are Debian's"),
    (r"Failed to fetch|error sending request|Temporary failure in name resolution", "check the network and try again"),
)


def explain(said: list[str], recipe: Recipe) -> BuildError:
    """Return the BuildError for a failed build whose failing step said these lines."""
    lines = [line for line in said if line.strip()]
    text = "\n".join(lines)
    cure = next((cure for pattern, cure in _CURES if re.search(pattern, text, re.IGNORECASE)), None)
    step = next((line for line in lines if line.startswith("[")), "")
    title = f"the build failed at {shorten(step)}" if step else f"the build failed ({recipe.platform})"
    shown = [line for line in lines if line != step and not line.startswith("sha256:")][-_SHOWN:]
    return BuildError("\n".join([title, *(f"  {line}" for line in shown)]), hint=cure or "--verbose shows every line")


def no_engine(said: str) -> BuildError:
    """Return the BuildError for a docker command that got no answer from an engine."""
    lines = [line for line in said.splitlines() if line.strip()]
    if "permission denied" in said.lower():
        hint = "let your user use the engine (sudo usermod -aG docker $USER, then log in again)"
    else:
        hint = "start it (Docker Desktop, or sudo systemctl start docker), or use `thampi run --no-docker`"
    return BuildError("no Docker engine answers: " + (lines[-1] if lines else "docker said nothing"), hint=hint)


def shorten(step: str) -> str:
    """Return a build step as a person would say it: without its mounts, on one line."""
    return re.sub(r"\s+", " ", re.sub(r"--mount=\S+", "", step)).strip()[:120]
