"""What uv says when libraries can't be chosen or built, in the user's words and with the cure."""

import re

from thampi.errors import BuildError, ConfigError, ThampiError

_SHOWN = 16
_PRIVATE = (
    "give user and password: in ~/.netrc (machine HOST login USER password PASSWORD), or in the URL of pip's "
    "configuration (PIP_INDEX_URL=https://USER:PASSWORD@HOST/simple); the build gets them as a secret"
)
_NETWORK = (
    "check the network; behind a company's wall set PIP_INDEX_URL to the index that you can reach (or index-url in "
    "pip.conf)"
)
NO_CONNECTION = r"error sending request|dns error|Connection refused|connect error|timed out|Network is unreachable"

# Two demands in one explanation; a single one means that nobody has that version.
_CONFLICT = r"you require .*you require |depends on (?!Python)"

# What people really meet, first match wins: a pattern in uv's words, and the cure.
_CURES = (
    (r"CERTIFICATE_VERIFY_FAILED|UnknownIssuer|invalid peer certificate", "set SSL_CERT_FILE to your CA bundle"),
    (r"No space left", "free some, or name another folder with UV_CACHE_DIR"),
    # A private index may answer so for what it does not have, so the name may be wrong as well.
    (r"\b(401 Unauthorized|403 Forbidden|407 Proxy)|lack of valid authentication|Missing credentials", _PRIVATE),
    (NO_CONNECTION, _NETWORK),
    (
        r"\b(awslambdaric|orjson|simplejson|snapshot-restore-py|backports[.-]zstd)[<>=]",
        "the handler needs that library, too, and a newer one: raise its version, or leave its line out",
    ),
    (r"was not found in the (package registry|provided)", "check the name in the dependency file"),
    (
        r"no wheels with a matching|hint: You require CPython|[Ww]heels are available for",
        "it has no wheel for this Python and platform: pin a version that has one; what only another system needs gets "
        "a marker: name==1.2.3; sys_platform == 'win32'",
    ),
    (
        r"(does not satisfy|depends on) Python|Requires-Python|requested Python version",
        "that version is for another Python: ask for one that this Python can use, or save the model with another",
    ),
    (r"pre-release|prerelease", "allow it: write --pre in the dependency file, or name the version exactly"),
    (
        r"Failed to build|build backend|Failed to download and build",
        "it has no wheel for this Python and platform, and what it says of itself can't be read without building it: "
        "pin a version that has a wheel (https://pypi.org shows them), or build the wheel yourself and name its file",
    ),
    (_CONFLICT, "the versions that are asked for exclude each other: loosen one of those named above"),
    (
        r"only the following versions|[Oo]nly \S+ is available|there (is|are) no versions? of|Because only ",
        "that version doesn't exist there: https://pypi.org has the list",
    ),
    (r"No solution found", "the versions that are asked for exclude each other: loosen one of those named above"),
    (r"404 Not Found", "there is nothing at that URL: correct it in the dependency file or in pip's configuration"),
)
_SYNTAX = re.compile(r"Couldn't parse requirement|Unexpected .*expected|Expected .*, found|invalid (version|name)")


def explain(title: str, said: str) -> ThampiError:
    """Return the failure of a resolution: ConfigError for what can't be read as a requirement, else BuildError."""
    lines = _lines(said)
    text = " ".join(" ".join(lines).split())
    shown = "\n".join([f"{title}:", *(f"  {line}" for line in _telling(lines))])
    if _SYNTAX.search(text):
        return ConfigError(shown, hint="write it as pip freeze does: name==1.2.3")
    cure = next((cure for pattern, cure in _CURES if re.search(pattern, text)), None)
    return BuildError(shown, hint=cure or "correct the dependency file by what is said above")


def private(url: str, *, is_known: bool) -> BuildError:
    """Return the failure of an index that wants a password, or another one (`is_known`)."""
    if is_known:
        said = f"the index {url} does not accept the user and password that it was given (401 Unauthorized)"
    else:
        said = f"the index {url} asks for a user and a password (401 Unauthorized)"
    return BuildError(said, hint=_PRIVATE)


def explain_local(line: str, said: str) -> BuildError:
    """Return the failure of building a wheel on this machine."""
    lines = _lines(said)
    text = " ".join(" ".join(lines).split())
    shown = "\n".join([f"{line}: its wheel can't be built here:", *(f"  {each}" for each in _telling(lines))])
    network = re.search(NO_CONNECTION, text)
    cure = "try the same by hand: uv build --wheel FOLDER"
    return BuildError(shown, hint=_NETWORK if network else cure)


def is_unreachable(said: str) -> bool:
    """Say whether an index could not be asked: no network, a wall, no such host, or it refuses us."""
    return (
        re.search(rf"{NO_CONNECTION}|40[137] [A-Z]|50\d [A-Z]|UnknownIssuer|invalid peer certificate", said) is not None
    )


def without_credentials(text: str) -> str:
    """Return a text in which no URL says who we are."""
    return re.sub(r"(?<=://)[^/@\s`'\"]*@", "***@", text)


def _lines(said: str) -> list[str]:
    lines = [without_credentials(line.rstrip()) for line in said.splitlines()]
    return [line for line in lines if line.strip() and not line.lower().startswith("warning:")]


def _telling(lines: list[str]) -> list[str]:
    begins = next((number for number, line in enumerate(lines) if line.startswith("error:")), 0)
    lines = lines[begins:]
    return lines if len(lines) <= _SHOWN else [*lines[:4], "…", *lines[5 - _SHOWN :]]
