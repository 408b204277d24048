"""ministack's own environment: made by uv when it is first needed, complete or absent, kept in the cache.

ministack requires one exact version of botocore, so it can't share the user's environment.
"""

import hashlib
import re
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Mapping
from pathlib import Path

import uv

from thampi.errors import CloudError
from thampi.local import cache, interpreter, venv

_REQUIREMENTS = Path(__file__).with_name("ministack.txt")
_SHOWN = 3
_CURES = (
    (
        r"CERTIFICATE_VERIFY_FAILED|UnknownIssuer|invalid peer certificate",
        "a proxy signs the traffic: set SSL_CERT_FILE to your company's CA bundle",
    ),
    (
        r"error sending request|dns error|Failed to fetch|Could not connect|timed out|network",
        "it comes from PyPI, once: check the network, or set UV_DEFAULT_INDEX to an index that you can reach",
    ),
    (r"No space left", "free some, or name another folder with XDG_CACHE_HOME"),
)


def digest() -> str:
    """Name what is installed. Which Python runs it makes no difference: projects of several share one."""
    decides = (_REQUIREMENTS.read_text("utf-8"), sysconfig.get_platform())
    return hashlib.sha256("\0".join(decides).encode()).hexdigest()[:12]


def version() -> str:
    """Say which ministack it is."""
    return str(re.findall(r"^ministack==(\S+)", _REQUIREMENTS.read_text("utf-8"), re.M)[0])


def find(environ: Mapping[str, str]) -> Path | None:
    """Return its Python, None when it isn't installed."""
    python = interpreter.python(_folder(environ))
    return python if python.exists() else None


def ensure(environ: Mapping[str, str], *, say: Callable[[str], None]) -> Path:
    """Return its Python; install it when it isn't there.

    Raises CloudError with what uv said; nothing is left behind then, nor after a kill. Two may do it at once.
    """
    if (python := find(environ)) is not None:
        return python
    wanted = _folder(environ)
    say(f"installing the local AWS, ministack {version()} (once; kept in {wanted})")
    try:
        with cache.aside(wanted.parent) as folder:
            _build(folder, venv.environment(environ))
            interpreter.put_in_place(folder / "venv", wanted)
    except OSError as error:
        raise CloudError(
            f"the local AWS can't be installed in {wanted.parent}: {error.strerror or error}",
            hint="make it writable, or name another folder with XDG_CACHE_HOME",
        ) from error
    return interpreter.python(wanted)


def _build(folder: Path, environ: Mapping[str, str]) -> None:
    made = folder / "venv"
    _uv(folder, environ, "venv", "--no-project", "--relocatable", "--python", sys.executable, str(made))
    python = str(interpreter.python(made))
    _uv(folder, environ, "pip", "install", "--python", python, "--requirement", str(_REQUIREMENTS))


def _uv(folder: Path, environ: Mapping[str, str], *words: str) -> None:
    # In `folder` there is no project whose settings could interfere; those of the user and the machine count.
    done = subprocess.run(
        [uv.find_uv_bin(), *words],
        cwd=folder,
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
    )
    if done.returncode != 0:
        cure = next((cure for pattern, cure in _CURES if re.search(pattern, done.stderr)), None)
        said = [re.sub(r"[^\x00-\x7f]+|\s+", " ", line).strip() for line in done.stderr.splitlines()]
        last = " · ".join([line for line in said if line][-_SHOWN:])
        raise CloudError(f"the local AWS can't be installed: {last}", hint=cure)


def _folder(environ: Mapping[str, str]) -> Path:
    return cache.folder(environ) / "local-aws" / digest()
