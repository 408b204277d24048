"""uv, run on this machine for somebody else's: its environment, the indexes, and who we are there."""

import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import uv

from thampi.dependencies.wanted import Credentials, Dependencies, Indexes, Local

_PYPI = "https://pypi.org/simple"
_FOR_GOOD = '"max-age=31536000, immutable"'
# Of uv's own variables these say how it works here, not what is chosen; all others would change the answer, and what
# they say of indexes is in Indexes already.
_KEPT = (
    *("UV_CACHE_DIR", "UV_NO_CACHE", "UV_HTTP_TIMEOUT", "UV_HTTP_RETRIES", "UV_CONCURRENT_DOWNLOADS", "UV_OFFLINE"),
    *("UV_NATIVE_TLS", "UV_SYSTEM_CERTS", "UV_INSECURE_HOST", "UV_KEYRING_PROVIDER", "UV_PYTHON_INSTALL_DIR"),
)


def run(
    words: Sequence[str], *, folder: Path, environ: Mapping[str, str], indexes: Indexes
) -> subprocess.CompletedProcess[str]:
    """Run uv in `folder`, which is ours, to its end; return what came of it, failed or not.

    The credentials go through a netrc that only we can read: a list of processes shows arguments, and what uv says
    shows URLs.
    """
    return subprocess.run(
        [uv.find_uv_bin(), "--no-config", "--no-progress", "--color", "never", *words],
        cwd=folder,
        env=_environment(environ, folder, indexes),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
    )


def index_words(indexes: Indexes, more: Sequence[str] = ()) -> list[str]:
    """Return the options that say where uv looks, `more` being further indexes.

    All are one pool, as for pip, where the highest version wins wherever it is. Of the same version the first index
    has it, so those of this machine come last: what can be fetched is not shipped.
    """
    remote = [indexes.index_url or _PYPI, *indexes.extra_index_urls, *more]
    ordered = sorted(dict.fromkeys(remote), key=is_here)
    words = ["--index-strategy", "unsafe-best-match"]
    if indexes.no_index:
        words += ["--no-index"]
    else:
        words += [word for url in ordered[:-1] for word in ("--index", url)] + ["--default-index", ordered[-1]]
    words += [word for place in indexes.find_links for word in ("--find-links", place)]
    return words + [word for host in indexes.trusted_hosts for word in ("--allow-insecure-host", host)]


def is_here(place: str) -> bool:
    """Say whether a URL, folder or file is of this machine, where no build can reach it."""
    if "://" not in place or place.startswith("file:"):
        return True
    host = place.partition("://")[2].partition("/")[0].rpartition("@")[2]
    name = host[1 : host.find("]")] if host.startswith("[") else host.partition(":")[0]
    return name in ("localhost", "::1") or re.fullmatch(r"127(\.\d+){3}", name) is not None


def netrc(credentials: Mapping[str, Credentials]) -> str:
    """Return a netrc file's text: who we are at each host. uv and pip both read it."""
    return "".join(
        f"machine {host}\nlogin {_quoted(known.user)}\npassword {_quoted(known.password)}\n"
        for host, known in sorted(credentials.items())
    )


def configuration(indexes: Indexes) -> str:
    """Return where to look as a uv.toml, for somebody who is not on this machine, and installs by hash.

    What can't be reached from there is left out: it is shipped. What was fetched once is kept for good, whatever its
    index says: a file whose hash fits can't be another one.
    https://docs.astral.sh/uv/concepts/indexes/#customizing-cache-control-headers
    """
    remote = [url for url in (*indexes.extra_index_urls, indexes.index_url or _PYPI) if not is_here(url)]
    links = [place for place in indexes.find_links if not is_here(place)]
    lines = [f"find-links = {json.dumps(links)}"] if links else []
    lines += [f"allow-insecure-host = {json.dumps(indexes.trusted_hosts)}"] if indexes.trusted_hosts else []
    if indexes.no_index or not remote:
        lines += ["no-index = true"]
    else:
        for url in dict.fromkeys(remote):
            lines += ["[[index]]", f"url = {json.dumps(url)}", f"cache-control = {{ files = {_FOR_GOOD} }}"]
        lines += ["default = true"]  # the last one; without a default uv asks PyPI, too
    return "".join(f"{line}\n" for line in lines)


def requirement_lines(dependencies: Dependencies) -> list[str]:
    """Return what is asked for as a requirements file for this machine; without credentials."""
    indexes = dependencies.indexes
    lines = ["--no-index"] if indexes.no_index else []
    lines += [f"--index-url {indexes.index_url}"] if indexes.index_url else []
    lines += [f"--extra-index-url {url}" for url in indexes.extra_index_urls]
    lines += [f"--find-links {place}" for place in indexes.find_links]
    return [*lines, *dependencies.options, *dependencies.requirements, *map(_local_line, dependencies.local)]


def _local_line(local: Local) -> str:
    place = local.target if local.target.startswith("git+") else Path(local.target).as_uri()
    extras = f"[{','.join(local.extras)}]" if local.extras else ""
    named = f"{local.name}{extras} @ {place}" if local.name else place
    return f"{named} ; {local.marker}" if local.marker else named


def pip_configuration(indexes: Indexes) -> str:
    """Return pip's configuration for what thampi itself needs in a build; an empty text where PyPI has it.

    What the dependency file says of indexes is about the model's libraries: the machine's own configuration counts.
    """
    url = indexes.index_url
    if url is None or url in indexes.written or is_here(url):
        return ""
    trusted = f"trusted-host = {' '.join(indexes.trusted_hosts)}\n" if indexes.trusted_hosts else ""
    return f"[global]\nindex-url = {url}\n{trusted}"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"' if any(c in text for c in ' "\\#\t') else text


def _environment(environ: Mapping[str, str], folder: Path, indexes: Indexes) -> dict[str, str]:
    told = dict(_neutral(environ))
    if indexes.ca_bundle is not None:
        told["SSL_CERT_FILE"] = str(indexes.ca_bundle)
    if indexes.credentials:
        file = folder / "netrc"
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
            opened.write(netrc(indexes.credentials))
        told["NETRC"] = str(file)
    return told


def _neutral(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name, value in environ.items():
        ours = name.startswith(("UV_", "PIP_")) or name in ("VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONPATH", "PYTHONHOME")
        if not ours or name in _KEPT:
            yield name, value
