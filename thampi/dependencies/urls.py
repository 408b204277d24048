"""URLs of indexes, archives and repositories: who we are is taken out, paths of this machine are told from hosts."""

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit
from urllib.request import url2pathname

from thampi.dependencies.wanted import Credentials

_VERSION_CONTROL = re.compile(r"(git|hg|svn|bzr)\+", re.IGNORECASE)


def is_one(text: str) -> bool:
    """Say whether a text is a URL, and not a path. One with a broken scheme is a broken URL: nobody names a path so."""
    return "://" in text and not is_file(text)


def is_repository(text: str) -> bool:
    """Say whether a URL names a repository of a version control system, as pip writes it: git+https://…"""
    return _VERSION_CONTROL.match(text) is not None


def is_file(text: str) -> bool:
    """Say whether a text is a file: URL."""
    return text.lower().startswith("file:")


def path_of(text: str) -> str:
    """Return the path of a file: URL (RFC 8089, also in the short form file:lib), or the text itself when it is one."""
    if not is_file(text):
        return text
    rest = text[len("file:") :].partition("#")[0].partition("?")[0]
    if rest.startswith("//"):
        rest = "/" + rest[2:].partition("/")[2]
    return url2pathname(rest)


def uri_of(path: Path) -> str:
    """Return the file: URL of an absolute path."""
    return path.as_uri()


def split(url: str) -> tuple[str, str, Credentials | None]:
    """Return a URL without who we are, its host, and who we are.

    The user of an ssh URL stays: it is an account of the server, not of ours. Raises ValueError when it is no URL.
    """
    parts = urlsplit(url)
    user, at, place = parts.netloc.rpartition("@")
    _ = parts.port  # raises ValueError when it is no number
    if re.search(r"//[^/\s]*@", f"{parts.path}?{parts.query}#{parts.fragment}"):
        raise ValueError("there is a URL inside of the URL, and who somebody is in it")
    host = parts.hostname or ""
    if not at or parts.scheme.endswith("ssh"):
        return url, host, None
    name, _, password = user.partition(":")
    plain = urlunsplit(parts._replace(netloc=place))
    if not name and not password:
        return plain, host, None
    return plain, host, Credentials(unquote(name), unquote(password))


def hidden(text: str) -> str:
    """Return a text that may have URLs in it for people: without who we are at their hosts."""
    # A path that was made of a broken URL has one slash only.
    return re.sub(r"/[^/\s:]+:[^/\s]+@", "/***@", re.sub(r"(?<!ssh:)//[^/\s]*@", "//***@", text))
