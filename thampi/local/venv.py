"""The model's libraries on this machine, installed as in the image: the user's first, the handler's own behind them.

An environment is kept for each set of requirements, so it is there at once the next time. It is built aside and moved
into place in one step: it is complete or absent, also after a kill, also when two build it at once.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import uv

from thampi import shipped
from thampi.errors import BuildError
from thampi.local import cache, interpreter

_LAYOUT = 1  # of what is made here; another number and everything is made anew
_SHOWN = 12
_CA_BUNDLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "CURL_CA_BUNDLE")
# pip's variables and uv's, and what separates several values there
_FROM_PIP = (
    ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", " "),
    ("PIP_EXTRA_INDEX_URL", "UV_INDEX", " "),
    ("PIP_FIND_LINKS", "UV_FIND_LINKS", ","),
    ("PIP_TRUSTED_HOST", "UV_INSECURE_HOST", " "),
)
_CURES = (
    (
        r"CERTIFICATE_VERIFY_FAILED|UnknownIssuer|invalid peer certificate",
        "a proxy signs the traffic: set SSL_CERT_FILE to your company's CA bundle",
    ),
    (r"No space left", "free some, or name another folder with XDG_CACHE_HOME"),
    (r"not found in the package registry", "check the name in the dependency file, and the index that has it"),
    (r"No solution found", "loosen or correct the versions named above, in the dependency file"),
    (
        r"no wheels with a matching|Failed to build|build backend",
        "it has no wheel for this Python and machine: pin a version that has one, or use the image (`thampi build`)",
    ),
    (r"error sending request|dns error|Failed to fetch|timed out", "check the network and try again"),
)


def ensure(
    requirements: Sequence[str],
    python_minor: str,
    *,
    say: Callable[[str], None],
    constraints: Sequence[str] = (),
    netrc: str = "",
) -> Path:
    """Return the Python of an environment that has the requirements and what the handler needs beside them.

    `requirements` and `constraints` are lines of a requirements file, `netrc` says who we are at its indexes. Raises
    BuildError, with what uv said.
    """
    environments = cache.folder() / "venvs"
    wanted = environments / _digest([*requirements, *constraints], python_minor)
    if not interpreter.python(wanted).exists():
        say(f"installing the libraries for Python {python_minor} (once; kept in {wanted})")
        try:
            with cache.aside(environments) as folder:
                _build(folder, requirements, constraints, python_minor, netrc)
                interpreter.put_in_place(folder / "venv", wanted)
        except OSError as error:
            raise BuildError(
                f"can't write to {environments}: {error}", hint="name another folder with XDG_CACHE_HOME"
            ) from error
    return interpreter.python(wanted)


def _digest(requirements: Sequence[str], python_minor: str) -> str:
    texts = [_handler_file(name).read_text("utf-8") for name in ("requirements.txt", "constraints.txt")]
    decides = [_LAYOUT, sysconfig.get_platform(), python_minor, list(requirements), texts]
    return hashlib.sha256(json.dumps(decides).encode()).hexdigest()[:16]


def _build(
    folder: Path, requirements: Sequence[str], constraints: Sequence[str], python_minor: str, netrc: str
) -> None:
    """Make the environment `folder`/venv."""
    made, wanted = folder / "venv", folder / "requirements.txt"
    code, said = _uv(folder, "venv", "--no-project", "--relocatable", "--python", _interpreter(python_minor), str(made))
    if code != 0:
        raise BuildError(
            "\n".join([f"no environment with Python {python_minor} can be made:", *said]),
            hint=f"install it (uv python install {python_minor}), or save the model with a Python that is here",
        )
    install = ("pip", "install", "--python", str(interpreter.python(made)))
    if requirements:
        wanted.write_text("".join(f"{line}\n" for line in requirements), "utf-8")
        held = folder / "constraints.txt"
        handlers = _handler_file("constraints.txt").read_text("utf-8")
        held.write_text("".join(f"{line}\n" for line in (*constraints, *handlers.splitlines())), "utf-8")
        if netrc:
            (folder / "netrc").touch(0o600)
            (folder / "netrc").write_text(netrc, "utf-8")
        # As in the image, and as pip does it: all indexes are one pool.
        words = (*install, "--index-strategy", "unsafe-best-match")
        _install(folder, *words, "--requirement", str(wanted), "--constraint", str(held))
    # As in the image: the handler's own libraries come last on the path, so that a version that the user pins wins.
    ours = made / "thampi-lib"
    _install(folder, *install, "--target", str(ours), "--requirement", str(_handler_file("requirements.txt")))
    site = next(made.glob("[Ll]ib/**/site-packages"))
    (site / "thampi.pth").write_text(f"{os.path.relpath(ours, site)}\n", "utf-8")


def _interpreter(minor: str) -> str:
    """Say which Python to ask for: this one if it fits, which is surely there."""
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    return sys.executable if minor == here else minor


def _install(folder: Path, *words: str) -> None:
    code, said = _uv(folder, *words)
    if code == 0:
        return
    text = " ".join(" ".join(said).split())  # uv breaks lines where the terminal ends
    cure = next((cure for pattern, cure in _CURES if re.search(pattern, text)), None)
    constraints = [
        line.partition("#")[0].strip() for line in _handler_file("constraints.txt").read_text("utf-8").splitlines()
    ]
    ours = [line for line in constraints if line and line in text]
    if ours:
        cure = f"thampi's handler itself needs {', '.join(ours)}: loosen that version in the dependency file"
    raise BuildError(
        "\n".join(["the libraries can't be installed:", *said]),
        hint=cure or "correct the dependency file, or use the image (`thampi build`)",
    )


def _uv(folder: Path, *words: str) -> tuple[int, list[str]]:
    """Run uv; return its exit code and the last lines that it said."""
    # In `folder` there is no project whose settings could interfere; those of the user and the machine count.
    known = {"NETRC": str(folder / "netrc")} if (folder / "netrc").exists() else {}
    done = subprocess.run(
        [uv.find_uv_bin(), *words],
        cwd=folder,
        env=environment(os.environ) | known,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
    )
    lines = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith("Using Python")]
    return done.returncode, [f"  {line}" for line in lines[-_SHOWN:]]


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for uv: it takes CA bundle and indexes from variables of its own, not from pip's."""
    told = dict(environ)
    bundle = next((environ[name] for name in _CA_BUNDLES if Path(environ.get(name, "")).is_file()), None)
    if bundle is not None and "SSL_CERT_FILE" not in environ:
        told["SSL_CERT_FILE"] = bundle
    for theirs, ours, separator in _FROM_PIP:
        values = [
            value for value in environ.get(theirs, "").split() if "://" in value or not _is_missing(theirs, value)
        ]
        if values and ours not in environ:
            told[ours] = separator.join(values)
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX", "UV_SYSTEM_PYTHON"):
        told.pop(name, None)
    return told


def _is_missing(variable: str, value: str) -> bool:
    """A folder that pip would only warn of makes uv fail."""
    return variable == "PIP_FIND_LINKS" and not Path(value).exists()


def _handler_file(name: str) -> Path:
    return shipped.folder() / "handler" / name
