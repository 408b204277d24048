"""A git repository at one revision, fetched on this machine: the image needs no git and no key of yours."""

import base64
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from thampi.dependencies.wanted import Credentials, Local
from thampi.errors import BuildError

_CURES = (
    (
        r"could not read Username|Authentication failed|Permission denied|Repository not found|403|401",
        "it is private, or not there: give git what it needs (a netrc entry for the host, or an ssh key and a "
        "git+ssh:// URL); try `git ls-remote` with that URL",
    ),
    (r"Could not resolve host|unable to access|Connection refused|timed out", "check the network and the URL"),
    (r"pathspec|not our ref|couldn't find remote ref|unknown revision", "check the revision behind the @"),
)


def make(
    local: Local, folder: Path, credentials: Mapping[str, Credentials], environ: Mapping[str, str]
) -> tuple[Path, str]:
    """Fetch what `local` names, git+URL@revision#subdirectory=…, into `folder`.

    Return the folder of the project, and the same URL with the commit, which is what it means for ever.

    Raises BuildError with git's words, which never show a password.
    """
    git = shutil.which("git", path=environ.get("PATH"))
    if git is None:
        raise BuildError(
            f"{local.line}: it comes from a git repository, and this machine has no git",
            hint="install git, or name a released version: name==1.2.3",
        )
    url, revision, inside = split(local.target)
    folder.mkdir(parents=True)
    told = {**environ, **_authorization(url, credentials, environ), "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    for words in (
        ("init", "--quiet"),
        # A branch or tag comes alone; a commit may have to be looked for in all of the history.
        ("fetch", "--quiet", "--depth=1", "--", url, revision or "HEAD"),
        ("checkout", "--quiet", "FETCH_HEAD"),
        ("submodule", "--quiet", "update", "--init", "--recursive", "--depth=1"),
    ):
        done = _run(git, words, folder, told)
        if done.returncode != 0 and words[0] == "fetch" and revision:
            done = _all_of_it(git, url, revision, folder, told)
        if done.returncode != 0:
            raise _failed(local, done.stderr)
    project = (folder / inside).resolve()
    if not project.is_relative_to(folder.resolve()) or not project.is_dir():
        raise BuildError(f"{local.line}: there is no {inside} in it", hint="correct #subdirectory= in that line")
    commit = _run(git, ("rev-parse", "HEAD"), folder, told).stdout.strip()
    return project, f"git+{url}@{commit}{f'#subdirectory={inside}' if inside else ''}"


def split(target: str) -> tuple[str, str, str]:
    """Return the URL for git, the revision and the folder in it, of git+https://host/path@revision#subdirectory=x."""
    parts = urlsplit(target.removeprefix("git+"))
    inside = re.search(r"(?:^|&)subdirectory=([^&]*)", parts.fragment)
    path, _, revision = parts.path.rpartition("@") if "@" in parts.path else (parts.path, "", "")
    url = urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))
    return url, revision, inside.group(1) if inside else ""


def _all_of_it(
    git: str, url: str, revision: str, folder: Path, environ: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    every = ("fetch", "--quiet", "--tags", "--", url, "+refs/heads/*:refs/remotes/origin/*")
    done = _run(git, every, folder, environ)
    if done.returncode != 0:
        return done
    return _run(git, ("update-ref", "--no-deref", "FETCH_HEAD", f"{revision}^{{commit}}"), folder, environ)


def _run(
    git: str, words: tuple[str, ...], folder: Path, environ: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [git, *words],
        cwd=folder,
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
    )


def _authorization(url: str, credentials: Mapping[str, Credentials], environ: Mapping[str, str]) -> dict[str, str]:
    """Say who we are by git's environment: an argument or a URL could be seen (git-config(1), GIT_CONFIG_COUNT)."""
    parts = urlsplit(url)
    known = credentials.get(parts.hostname or "")
    if known is None or parts.scheme not in ("http", "https"):
        return {}
    token = base64.b64encode(f"{known.user}:{known.password}".encode()).decode()
    number = int(environ.get("GIT_CONFIG_COUNT") or 0)
    return {
        "GIT_CONFIG_COUNT": str(number + 1),
        f"GIT_CONFIG_KEY_{number}": f"http.{parts.scheme}://{parts.netloc}/.extraHeader",
        f"GIT_CONFIG_VALUE_{number}": f"Authorization: Basic {token}",
    }


def _failed(local: Local, said: str) -> BuildError:
    lines = [re.sub(r"//[^/@\s]*@", "//***@", line) for line in said.splitlines() if line.strip()]
    cure = next((cure for pattern, cure in _CURES if re.search(pattern, said)), None)
    return BuildError(
        "\n".join([f"{local.line}: git can't fetch it", *(f"  {line}" for line in lines[-5:])]),
        hint=cure or "try the same with `git clone`",
    )
