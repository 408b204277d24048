"""What the engine says when it fails, in the user's words and with the cure."""

import re

from thampi.errors import BuildError
from thampi.recipe import Recipe

_SHOWN = 20

# What a step is for, by what it runs.
_PURPOSES = (
    (r"/mnt/tools/install\.sh", "the libraries can't be installed"),
    (r"/mnt/tools/conda\.sh", "conda's packages can't be installed"),
    (r"/mnt/project", "the files of build.include can't be compiled"),
    (r"apt-get install", "the system packages can't be installed"),
    (r"load metadata for (?:docker\.io/library/)?(\S+)", r"the image \1 can't be had"),
    (r"/mnt/tools/uv\.txt|/tmp/requirements\.txt|/tmp/emulator\.txt", "what thampi itself needs can't be installed"),
)

# Said after what matters: that the step failed we know already.
_NOISE = re.compile(
    r"sha256:|Using Python |ERROR: (executor failed running|process \")"
    r"|(Get|Hit|Ign):\d|Fetched \d|(Reading|Building) .*\.\.\."
)

_NO_ENGINE = re.compile(
    r"cannot connect to the docker daemon|trying to connect to the docker daemon|error during connect", re.IGNORECASE
)

# What people really meet, first match wins: a pattern in the engine's words, and the cure.
_CURES = (
    (r"no space left on device", "free some: docker builder prune, docker image prune"),
    (
        r"too ?many ?requests|rate exceeded|pull rate limit",
        "the registry limits anonymous pulls: wait a minute, or log in",
    ),
    (r"authorization token has expired", "docker logout public.ecr.aws"),
    (
        r"exec format error|does not match the specified platform|no match for platform",
        "this engine can't run the image's platform: set build.platform to its own, or install emulation "
        "(docker run --privileged --rm tonistiigi/binfmt --install all)",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED|UnknownIssuer|invalid peer certificate|x509: certificate",
        "a proxy signs the traffic: set SSL_CERT_FILE to your company's CA bundle; the build gets it as a secret",
    ),
    (
        r"load metadata for[\s\S]*(401 |403 |authoriz|denied)",
        "there is no such image, or it is private: correct build.base_image, or log in (docker login REGISTRY)",
    ),
    (
        r"load metadata for[\s\S]*(: not found|manifest unknown)",
        "that image doesn't exist: correct build.base_image, or leave it out",
    ),
    (
        r"load metadata for|failed to resolve source metadata|pull access denied",
        "the engine can't pull it: check the network, or name another image with build.base_image",
    ),
    (
        r"No solution found[\s\S]*\b(awslambdaric|orjson|simplejson|snapshot-restore-py)[<>=]",
        "the handler needs that library, too, and a newer one: raise its version, or leave its line out",
    ),
    (
        r"401 Unauthorized|lack of valid authentication|Missing credentials",
        "the index asks for a password: give it in ~/.netrc (machine HOST login USER password PASSWORD) or in the URL "
        "of pip's configuration; the build gets it as a secret",
    ),
    (
        r"was not found in the package registry|No matching distribution",
        "check the name in the dependency file; if thampi.lock is somebody else's, name their index, too "
        "(--extra-index-url in the dependency file)",
    ),
    (
        r"(does not satisfy|depends on) Python[<>=]",
        "that version is for another Python: ask for one that this Python can use, or save the model with another",
    ),
    (
        r"no wheels with a matching|hint: You require CPython|wheels are available for",
        "it has no wheel for this Python and platform: pin a version that has one; what only another system needs gets "
        "a marker: name==1.2.3; sys_platform == 'win32'",
    ),
    (r"Because there (is|are) no versions? of", "that version doesn't exist: https://pypi.org has the list"),
    (r"No solution found", "the versions that are asked for exclude each other: loosen one of those named above"),
    (r"Git executable not found", 'the image has no git: add it to thampi.toml, under [build]: apt = ["git"]'),
    (
        r"Hash mismatch for \S+\.(conda|tar\.bz2)",
        "the channel has another file by that name now: choose anew, `thampi build --refresh`",
    ),
    (
        r"Hash mismatch|have their versions pinned",
        "the hashes don't fit: the index has another file by that name now; `thampi build --refresh` chooses anew",
    ),
    (
        r"Failed to build|build backend",
        "it has no wheel for this Python and platform, and the image has no compiler: pin a version that has one, or "
        'add what it needs to thampi.toml, under [build]: apt = ["build-essential"]',
    ),
    (
        r"Unable to locate package|has no installation candidate|Version '.*' for '.*' was not found",
        "check the names and versions in build.apt: they are Debian's, https://packages.debian.org",
    ),
    (r"exit code: 137", "the engine ran out of memory: give it more (Docker Desktop: Settings, Resources)"),
    (
        r"Failed to fetch|error sending request|Temporary failure|Could not (connect|resolve)|ConnectionError",
        "check the network and try again",
    ),
)


def explain(said: list[str], recipe: Recipe) -> BuildError:
    """Return the BuildError for a failed build whose failing step said these lines, its title first."""
    lines = [line for line in said if line.strip()]
    text = "\n".join(lines)
    if _NO_ENGINE.search(text):
        return no_engine(text)
    step = lines[0] if lines and lines[0].startswith("[") else ""
    cure = next((cure for pattern, cure in _CURES if re.search(pattern, text, re.IGNORECASE)), None)
    shown = _telling([line for line in lines if line != step and not _NOISE.match(line)] or lines[-1:])
    title = f"{_purpose(step)} ({recipe.platform})"
    return BuildError("\n".join([title, *(f"  {line}" for line in shown)]), hint=cure or "--verbose shows every line")


def no_engine(said: str) -> BuildError:
    """Return the BuildError for a docker command that got no answer from an engine."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    if "permission denied" in said.lower():
        hint = "let your user use the engine (sudo usermod -aG docker $USER, then log in again)"
    else:
        hint = "start it (Docker Desktop, or sudo systemctl start docker), or use `thampi run --no-docker`"
    last = lines[-1].removeprefix("ERROR: ") if lines else "docker said nothing"
    return BuildError(f"no Docker engine answers: {last}", hint=hint)


def _purpose(step: str) -> str:
    for pattern, purpose in _PURPOSES:
        match = re.search(pattern, step)
        if match:
            return match.expand(purpose)
    return f"the build failed at {_shorten(step)}" if step else "the build failed"


def _telling(lines: list[str]) -> list[str]:
    """Choose what to show: uv says first what is wrong and then lets a build backend talk; all others end with it."""
    begins = next((number for number, line in enumerate(lines) if line.startswith("error:")), None)
    if begins is None:
        return lines[-_SHOWN:]
    lines = lines[begins:]
    return lines if len(lines) <= _SHOWN else [*lines[:3], "…", *lines[4 - _SHOWN :]]


def _shorten(step: str) -> str:
    """Return a build step as a person would say it: without its mounts, on one line."""
    return re.sub(r"\s+", " ", re.sub(r"--mount=\S+", "", step)).strip()[:120]
