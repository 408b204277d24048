"""What conda's solver says when an environment can't be had, in the user's words and with the cure."""

import re
from collections.abc import Mapping, Sequence

from thampi.errors import BuildError, ConfigError
from thampi.resolution import failures

_SHOWN = 16
# A package with its version and its build, as `conda env export` writes it: numpy=1.26.4=py311h64a7726_0
_BUILD = re.compile(r"(?:\S+::)?([\w.-]+)\s*==?\s*[^=\s*]+(?:=|\s+)[^=\s*]+")
_CHANNEL_CURES = (
    (
        r"\b(401|403|407)\b",
        "the channel asks who we are, which this version can't tell it: download what you need of it into a folder "
        "(conda index makes it a channel), and name the folder among the channels",
    ),
    (r"certificate|UnknownIssuer", "a proxy signs the traffic: set SSL_CERT_FILE to your company's CA bundle"),
    (
        r"could not find subdir|\b404\b|No such file",
        "there is no such channel: check its name or URL in the environment's file; a folder becomes a channel with "
        "conda index FOLDER",
    ),
)
_NETWORK = "check the network; where this machine can't reach the channel, name a mirror that it can among the channels"


def specs(title: str, wrong: Mapping[str, str]) -> ConfigError:
    """Return the failure for packages that are not written as conda does, each with what is said of it."""
    lines = [f"{title}: `{text}`: {said.splitlines()[0]}" for text, said in wrong.items()]
    return ConfigError("\n".join(lines), hint="conda's way is name=1.2.3, or name >=1.2,<2")


def channel(title: str, said: str) -> BuildError:
    """Return the failure for a channel that can't be read."""
    cure = next((cure for pattern, cure in _CHANNEL_CURES if re.search(pattern, said, re.IGNORECASE)), _NETWORK)
    return BuildError(_told(f"a channel of {title} can't be read", said), hint=cure)


def solve(title: str, subdir: str, python: str, said: str, asked: Sequence[str]) -> BuildError:
    """Return the failure for packages that no channel has, or that exclude each other; `asked` are they."""
    return BuildError(_told(f"{title} can't be solved for {subdir}", said), hint=_cure(subdir, python, said, asked))


def _cure(subdir: str, python: str, said: str, asked: Sequence[str]) -> str:
    missing = re.search(r"No candidates were found for ([\w.-]+)", said)
    needed = re.search(r"([\w.-]+) \S+, for which no candidates were found", said)
    build = next((spec for spec in asked if (named := _BUILD.fullmatch(spec)) and named[1] in said), None)
    if build is not None:
        return (
            f"builds like `{build}` are of the system that they were exported on: export what you asked for yourself "
            "(conda env export --from-history), or at least without builds (--no-builds)"
        )
    if ours := re.search(r"the constraint (\S+) .* cannot be fulfilled", said):
        return f"the handler needs {ours[1]}, too, and a newer one: raise its version, or leave its line out"
    if needed and needed[1] in ("__osx", "__win"):
        return (
            "that package is for another system: leave it out here; a comment `# [osx]` or `# [win]` behind it does so"
        )
    if needed and needed[1] == "__cuda":
        return "that is a build for a GPU, and Lambda has none: ask for the build for the CPU"
    if needed and needed[1] == "__glibc":
        return "the image's system is older than that package wants: ask for an earlier version of it"
    if "strict channel priority" in said:
        return (
            "a package is taken from the first channel that has it: put the channels in another order, or name it there"
        )
    if re.search(r"\bpython(_abi)? ", said) and not (missing and missing[1] != "python"):
        return (
            f"the image has the model's Python, {python}: ask for versions that fit it, or save the model with another "
            "Python"
        )
    if missing:
        return (
            f"check the name and version of {missing[1]}, and that a channel has it for {subdir} (https://anaconda.org "
            "lists them); what only pip knows belongs under `- pip:`"
        )
    return "loosen one of the versions named above"


def solver(said: str) -> BuildError:
    """Return the failure for the solver itself, which uv could not install or which died."""
    return BuildError(
        _told("conda's solver can't be used", said),
        hint="it comes from PyPI, once: check the network, or set PIP_INDEX_URL to an index that you can reach",
    )


def _told(title: str, said: str) -> str:
    lines = [line.rstrip() for line in failures.without_credentials(said).splitlines() if line.strip()]
    shown = lines if len(lines) <= _SHOWN else [*lines[: _SHOWN - 1], "…"]
    return "\n".join([f"{title}:", *(f"  {line}" for line in shown)])
