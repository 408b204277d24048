"""Where distributions are looked for: what the file, pip's and uv's configuration, and netrc say, as one value.

What the file says beats configuration, as in pip: an index that it names replaces the configured ones, further ones
are added. Of configuration, variables beat files, and uv's beats pip's.
"""

import netrc
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from thampi.dependencies import pip_configuration, urls, uv_configuration
from thampi.dependencies.mistakes import Mistakes
from thampi.dependencies.pip_options import Places
from thampi.dependencies.wanted import Credentials, Indexes

_CA_BUNDLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "CURL_CA_BUNDLE")
_PYPI = "https://pypi.org/simple"


def make(
    written: Places,
    *,
    environ: Mapping[str, str],
    project_dir: Path,
    mistakes: Mistakes,
    known_at: Sequence[tuple[str, Credentials]] = (),
    hosts: Collection[str] = (),
) -> tuple[Indexes, tuple[str, ...]]:
    """Return where to look, and notes for people.

    `written` is what the dependency file says; `known_at` is who we are at hosts that its requirements name, `hosts`
    are all those.
    """
    pip = pip_configuration.read(environ, project_dir)
    uv = uv_configuration.read(environ, project_dir)
    configured = [uv.variables, pip.variables, uv.files, pip.files]
    indexes, used = _places(written, configured)
    credentials = _credentials(used, known_at, hosts, {**uv.credentials}, environ, mistakes)
    ca_bundle, note = _ca_bundle(environ, pip.certificate)
    made = Indexes(
        index_url=indexes.index_url,
        extra_index_urls=indexes.extra_index_urls,
        find_links=indexes.find_links,
        no_index=indexes.no_index,
        trusted_hosts=indexes.trusted_hosts,
        written=_each(_plain(url) for url in _urls(written)),
        credentials=credentials,
        ca_bundle=ca_bundle,
    )
    return made, (*pip.notes, *uv.notes, *note)


def _places(written: Places, configured: Sequence[Places]) -> tuple[Places, tuple[str, ...]]:
    """Return one value of all, without credentials; and its URLs as they stood there."""
    everything = [written, *configured]
    no_index = any(each.no_index for each in everything)
    # As in pip: an index in the file stands for all that are configured.
    sources = [] if no_index else [written] if written.index_url else everything
    index_url = next((each.index_url for each in sources if each.index_url), None)
    extra = _each(url for each in sources for url in each.extra_index_urls)
    links = _each(link for each in everything for link in each.find_links)
    plain_index = _plain(index_url) if index_url else None
    if plain_index and plain_index.rstrip("/") == _PYPI:
        plain_index = None
    places = Places(
        index_url=plain_index,
        extra_index_urls=_each(_plain(url) for url in extra),
        find_links=_each(_plain(link) for link in links),
        no_index=no_index,
        trusted_hosts=_each(host for each in everything for host in each.trusted_hosts),
    )
    return places, (*([index_url] if index_url else []), *extra, *links)


def _urls(places: Places) -> list[str]:
    first = [places.index_url] if places.index_url else []
    return [*first, *places.extra_index_urls, *places.find_links]


def _plain(place: str) -> str:
    return urls.split(place)[0] if urls.is_one(place) else place


def _each(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(words))


def _credentials(
    used: Sequence[str],
    known_at: Sequence[tuple[str, Credentials]],
    hosts: Collection[str],
    named: Mapping[str, Credentials],
    environ: Mapping[str, str],
    mistakes: Mistakes,
) -> dict[str, Credentials]:
    """Return who we are at each host; a user without a password gets it from netrc, as with pip."""
    places = [urls.split(url) for url in used if urls.is_one(url)]
    wanted = {host for _, host, _ in places} | {host for host, _ in known_at} | set(hosts)
    said = [*known_at, *((host, who) for _, host, who in places if who)]
    said += [(host, named[url]) for url, host, who in places if not who and url in named]
    found: dict[str, Credentials] = {}
    for host, who in said:
        if found.setdefault(host, who) != who:
            mistakes.add(
                host,
                "two different users or passwords are given for this host",
                "one host can have one: give the same everywhere, or a token that may read both",
            )
    entries = _netrc(environ) if wanted else {}
    for host in sorted(wanted & set(entries)):
        who = entries[host]
        if host not in found or (found[host].user == who.user and not found[host].password):
            found[host] = who
    return found


def _netrc(environ: Mapping[str, str]) -> dict[str, Credentials]:
    """Return who we are at each host that a netrc file names. A broken one says nothing, as with pip."""
    home = Path(environ.get("USERPROFILE" if os.name == "nt" else "HOME") or Path.home())
    files = [Path(environ["NETRC"])] if environ.get("NETRC") else [home / ".netrc", home / "_netrc"]
    file = next((file for file in files if file.is_file()), None)
    if file is None:
        return {}
    try:
        known = netrc.netrc(str(file)).hosts
    except (netrc.NetrcParseError, OSError, UnicodeDecodeError):
        return {}
    return {host: Credentials(login, password or "") for host, (login, _, password) in known.items() if login}


def _ca_bundle(environ: Mapping[str, str], certificate: Path | None) -> tuple[Path | None, tuple[str, ...]]:
    for path in (Path(environ[name]) for name in _CA_BUNDLES if environ.get(name)):
        if path.is_file():
            return path, ()
    if certificate is None or certificate.is_file():
        return certificate, ()
    return None, (f"pip's configuration names the CA bundle {certificate}, which is not there: it is not used",)
