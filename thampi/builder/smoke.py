"""Tries a finished image: all that the model imports has to be importable in it, under Lambda's conditions."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from thampi import shipped
from thampi.builder.client import Client
from thampi.errors import BuildError
from thampi.runtime.bundle import About

# The user's libraries may replace some of ours: then the handler has to live with those.
_OURS = ("thampi_handler.__main__", "thampi_handler.app")

# No network, nothing to write to but /tmp, no shared memory, a user that nobody knows.
_LIKE_LAMBDA = ("--network=none", "--read-only", "--tmpfs=/tmp:exec", "--ipc=none", "--user=993")

_SHARED_LIBRARY = re.compile(r"(lib[\w.+-]+\.so[.\d]*): cannot open shared object file")

# The Debian package of each system library that wheels leave out, as met in the issue trackers of those wheels.
_PACKAGES = {
    "libEGL.so.1": "libegl1",
    "libGL.so.1": "libgl1",
    "libSM.so.6": "libsm6",
    "libX11.so.6": "libx11-6",
    "libXext.so.6": "libxext6",
    "libXrender.so.1": "libxrender1",
    "libatomic.so.1": "libatomic1",
    "libcairo.so.2": "libcairo2",
    "libexpat.so.1": "libexpat1",
    "libgfortran.so.5": "libgfortran5",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libgomp.so.1": "libgomp1",
    "libgthread-2.0.so.0": "libglib2.0-0",
    "libmagic.so.1": "libmagic1",
    "libodbc.so.2": "libodbc2",
    "libopenblas.so.0": "libopenblas0",
    "libpq.so.5": "libpq5",
    "libsndfile.so.1": "libsndfile1",
    "libxcb.so.1": "libxcb1",
    "libxml2.so.2": "libxml2",
    "libxslt.so.1": "libxslt1.1",
}

# Exit codes of a process that the kernel ended.
_SIGNALS = {
    132: "the library is built for a newer CPU than this one: pin an older version",
    137: "the engine ran out of memory: give it more (Docker Desktop: Settings, Resources)",
    139: "its parts don't fit together: write the versions that the model was saved with into the dependency file",
}


def check(reference: str, about: About, *, client: Client) -> None:
    """Import, in the image, each module that the bundle recorded; raise BuildError for what can't be."""
    told = {"modules": [*_OURS, *about.modules], "distributions": [*about.distributions]}
    ran = client.run(
        *("run", "--rm", *_LIKE_LAMBDA, "--entrypoint", "python3", reference),
        *("-c", (shipped.folder() / "images" / "smoke.py").read_text("utf-8"), json.dumps(told)),
    )
    answers = [json.loads(line) for line in ran.stdout.splitlines()]
    failed = [answer for answer in answers if "failed" in answer]
    if failed:
        installed = answers[-1].get("installed", {})  # empty when the process died over a later module
        versions = {name: (saved, installed[name]) for name, saved in about.distributions.items() if name in installed}
        raise _explain(failed, versions)
    if ran.returncode != 0 or not answers:
        raise _died(answers, ran.returncode, ran.stderr)


def _explain(failed: list[dict[str, Any]], versions: Mapping[str, tuple[str, str | None]]) -> BuildError:
    """Return the BuildError for modules that can't be imported; `versions`: when saved, and in the image."""
    first = failed[0]
    message = (
        f"`{first['failed']}`, which {_who(first['failed'])} needs, can't be imported in the image: {first['error']}"
    )
    libraries = list(dict.fromkeys(name for each in failed for name in _SHARED_LIBRARY.findall(each["error"])))
    if libraries:
        return BuildError(message, hint=_shared_libraries(libraries))
    absent = [f"{name}=={saved}" for name, (saved, found) in versions.items() if found is None]
    if first["missing"]:
        what = ", ".join(absent) or f"the package that has `{first['missing']}`"
        return BuildError(message, hint=f"add to the dependency file: {what}")
    changed = [
        f"{name}=={saved} (there {found or 'none'})" for name, (saved, found) in versions.items() if saved != found
    ]
    return BuildError(message, hint=f"the model was saved with {', '.join(changed)}" if changed else None)


def _shared_libraries(libraries: Iterable[str]) -> str:
    known = list(dict.fromkeys(_PACKAGES[name] for name in libraries if name in _PACKAGES))
    hints = [f"add to thampi.toml, under [build]: apt = {json.dumps(known)}"] if known else []
    for name in libraries:
        if name.startswith(("libcuda", "libcudnn", "libnv")):
            hints.append(f"{name} belongs to a GPU, which Lambda has not: install the library's CPU build")
        elif name not in _PACKAGES:
            url = f"https://packages.debian.org/search?searchon=contents&suite=bookworm&keywords={name}"
            hints.append(f"add the Debian package that has {name} to build.apt: {url}")
    return "\n".join(hints)


def _died(answers: list[dict[str, Any]], code: int, said: str) -> BuildError:
    last = [line for line in said.splitlines() if line.strip()][-5:]
    if not answers:
        message = "\n".join(["the engine doesn't run the image to try it:", *(f"  {line}" for line in last)])
        return BuildError(message, hint="`docker info` shows what the engine lacks")
    module = answers[-1].get("importing", "python")
    message = f"importing `{module}`, which {_who(module)} needs, ended the process in the image (exit code {code})"
    return BuildError("\n".join([message, *(f"  {line}" for line in last)]), hint=_SIGNALS.get(code))


def _who(module: str) -> str:
    return "the handler" if module in _OURS else "the model"
