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
    "libGLESv2.so.2": "libgles2",
    "libGLU.so.1": "libglu1-mesa",
    "libSM.so.6": "libsm6",
    "libX11.so.6": "libx11-6",
    "libXext.so.6": "libxext6",
    "libXrender.so.1": "libxrender1",
    "libatomic.so.1": "libatomic1",
    "libcairo.so.2": "libcairo2",
    "libexpat.so.1": "libexpat1",
    "libgfortran.so.5": "libgfortran5",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libgobject-2.0.so.0": "libglib2.0-0",
    "libgomp.so.1": "libgomp1",
    "libgthread-2.0.so.0": "libglib2.0-0",
    "libmagic.so.1": "libmagic1",
    "libodbc.so.2": "libodbc2",
    "libopenblas.so.0": "libopenblas0",
    "libpq.so.5": "libpq5",
    "libsndfile.so.1": "libsndfile1",
    "libtcl8.6.so": "libtcl8.6",
    "libtk8.6.so": "libtk8.6",
    "libusb-1.0.so.0": "libusb-1.0-0",
    "libxcb.so.1": "libxcb1",
    "libxml2.so.2": "libxml2",
    "libxslt.so.1": "libxslt1.1",
}

# Libraries that look for one of the system's by themselves, in their own words: each was seen on a slim Debian 12.
_MISSED = (
    (r"sndfile library not found", "libsndfile1"),
    (r"failed to find libmagic", "libmagic1"),
    (r"PortAudio library not found", "libportaudio2"),
    (r"Unable to find zbar shared library", "libzbar0"),
    (r"Couldn't locate OpenSlide", "libopenslide0"),
    (r"libpq library not found|no pq wrapper available", "libpq5"),
    (r"cannot load library 'libcairo|no library called \"cairo", "libcairo2"),
    (r"cannot load library 'libgobject-2\.0", "libpango-1.0-0"),
    (r"cannot load library 'libpango", "libpangoft2-1.0-0"),
    (r"tesseract is not installed", "tesseract-ocr"),
    (r"MagickWand shared library not found", "libmagickwand-6.q16-6"),
)

# What else keeps a module from being imported in Lambda's world, and the cure.
_CURES = (
    (
        r"GLIBC(XX)?_[\d.]+' not found|CXXABI_[\d.]+' not found",
        "the library is built for a newer Linux than the base image's: pin an older version, or set build.base_image "
        "to one with a newer Debian",
    ),
    (
        r"Read-only file system|Permission denied",
        "it writes a file when it is imported, and in Lambda only /tmp can be written: have it write there (most "
        "libraries have a variable for that: set it under `environment`)",
    ),
    (
        r"name resolution|Name or service not known|Network is unreachable|Max retries exceeded",
        "it asks the network when it is imported, which fails in a VPC, too, and costs each cold start: have it do so "
        "in `initialize`",
    ),
    (
        r"numpy\.dtype size changed|_ARRAY_API not found|compiled using NumPy 1|multiarray failed to import",
        "it was built for another major version of numpy than the image has: pin numpy to the one that the model was "
        "saved with",
    ),
)

# Modules that were part of something that installers brought along.
_BROUGHT_BY = {
    "pkg_resources": "setuptools<81",
    "distutils": "setuptools",
    "imp": "nothing: it is gone since Python 3.12",
}

# Exit codes of a process that the kernel ended.
_SIGNALS = {
    132: "the library is built for a newer CPU than this one: pin an older version",
    137: "the engine ran out of memory: give it more (Docker Desktop: Settings, Resources)",
    139: "its parts don't fit together: write the versions that the model was saved with into the dependency file",
}
_COMPARE = "it could be imported where the model was saved: `thampi freeze` writes what was installed there"


def check(
    reference: str, about: About, *, client: Client, platform: str | None = None, model_dir: str | None = None
) -> None:
    """Import, in the image, each module that the bundle recorded; raise BuildError for what can't be.

    `platform` is the image's, for engines that keep the images of several. `model_dir` is where the image has the model
    itself: then each byte of it has to be what was saved.
    """
    told = {"modules": [*_OURS, *about.modules], "distributions": [*about.distributions], "model": model_dir}
    for_platform = ("--platform", platform) if platform else ()
    ran = client.run(
        *("run", "--rm", *_LIKE_LAMBDA, *for_platform, "--entrypoint", "python3", reference),
        *("-c", (shipped.folder() / "images" / "smoke.py").read_text("utf-8"), json.dumps(told)),
    )
    answers = [json.loads(line) for line in ran.stdout.splitlines()]
    if damaged := [f"{answer['damaged']} ({answer['error']})" for answer in answers if "damaged" in answer]:
        raise BuildError(
            f"the model in the image is not what was saved: {', '.join(damaged)}",
            hint="save the model again, or copy it again from where it was saved",
        )
    failed = [answer for answer in answers if "failed" in answer]
    if failed:
        last = answers[-1]
        installed = last.get("installed", {})  # empty when the process died over a later module
        versions = {name: (saved, installed[name]) for name, saved in about.distributions.items() if name in installed}
        raise _explain(failed, versions, last.get("system", {}))
    if ran.returncode != 0 or not answers:
        raise _died(answers, ran.returncode, ran.stderr)


def _explain(
    failed: list[dict[str, Any]], versions: Mapping[str, tuple[str, str | None]], system: Mapping[str, str]
) -> BuildError:
    """Return the BuildError for modules that can't be imported; `versions`: when saved, and in the image."""
    first = failed[0]
    message = (
        f"`{first['failed']}`, which {_who(first['failed'])} needs, can't be imported in the image: {first['error']}"
    )
    said = [each["error"] for each in failed]
    libraries = list(dict.fromkeys(name for error in said for name in _SHARED_LIBRARY.findall(error)))
    missed = [package for error in said for pattern, package in _MISSED if re.search(pattern, error)]
    if libraries or missed:
        return BuildError(message, hint=_system_libraries(libraries, missed, system))
    if first["missing"]:
        return BuildError(message, hint=_missing(first["missing"], versions))
    cure = next((cure for pattern, cure in _CURES if re.search(pattern, first["error"])), None)
    changed = [
        f"{name}=={saved} (there {found or 'none'})" for name, (saved, found) in versions.items() if saved != found
    ]
    if changed:
        cure = "\n".join([f"the model was saved with {', '.join(changed)}", *([cure] if cure else [])])
    return BuildError(message, hint=cure or _COMPARE)


def _missing(module: str, versions: Mapping[str, tuple[str, str | None]]) -> str:
    """Say what brings a module that isn't there."""
    top = module.partition(".")[0]
    if top in _BROUGHT_BY:
        return f"add to the dependency file: {_BROUGHT_BY[top]}"
    absent = [f"{name}=={saved}" for name, (saved, found) in versions.items() if found is None]
    if absent:
        return f"add to the dependency file: {', '.join(absent)}"
    return (
        f"add to the dependency file: the package that has `{module}`; if it is a module of your own, name it in "
        "build.include"
    )


def _system_libraries(libraries: Iterable[str], missed: Iterable[str], system: Mapping[str, str]) -> str:
    """Say which packages bring system libraries; of those that nobody knows, where to look."""
    kind = system.get("ID", "debian")
    host = {"debian": "packages.debian.org", "ubuntu": "packages.ubuntu.com"}.get(kind)
    if host is None:
        name = system.get("PRETTY_NAME", kind)
        return (
            f"install what has it in your base image: it is {name}, and build.apt is for Debian's and Ubuntu's packages"
        )
    known = list(dict.fromkeys([*(_PACKAGES[name] for name in libraries if name in _PACKAGES), *missed]))
    hints = [f"add to thampi.toml, under [build]: apt = {json.dumps(known)}"] if known else []
    suite = system.get("VERSION_CODENAME", "bookworm")
    for name in libraries:
        if name.startswith(("libcuda", "libcudnn", "libcublas", "libnv")):
            hints.append(f"{name} belongs to a GPU, which Lambda has not: install the library's CPU build")
        elif name not in _PACKAGES:
            url = f"https://{host}/search?searchon=contents&suite={suite}&keywords={name}"
            hints.append(f"add the package that has {name} to build.apt: {url}")
    return "\n".join(hints)


def _died(answers: list[dict[str, Any]], code: int, said: str) -> BuildError:
    last = [line for line in said.splitlines() if line.strip()][-5:]
    if not answers:
        message = "\n".join(["the engine doesn't run the image to try it:", *(f"  {line}" for line in last)])
        if "exec format error" in said:
            return BuildError(message, hint="the image is for another platform, which this engine doesn't emulate")
        return BuildError(message, hint="`docker info` shows what the engine lacks")
    module = answers[-1].get("importing", "python")
    message = f"importing `{module}`, which {_who(module)} needs, ended the process in the image (exit code {code})"
    return BuildError("\n".join([message, *(f"  {line}" for line in last)]), hint=_SIGNALS.get(code, _COMPARE))


def _who(module: str) -> str:
    return "the handler" if module in _OURS else "the model"
