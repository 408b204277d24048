"""Builds a recipe into an image of the local engine, unless it has it already."""

import contextlib
import errno
import os
import re
import shutil
import stat
import subprocess
import tempfile
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from secrets import token_hex

from thampi.builder import failures
from thampi.builder.client import Client
from thampi.errors import BuildError
from thampi.recipe import Recipe

_READABLE = 0o644  # the mode of every file of the context
_STEP = re.compile(r"#(\d+) (?:\d+\.\d+ )?(.*)")
_CA_BUNDLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "CURL_CA_BUNDLE")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")


def has(client: Client, reference: str) -> bool:
    """Say whether the engine has an image; raise BuildError when there is no engine to ask."""
    asked = client.run("image", "inspect", "--format", "{{.Id}}", reference)
    if asked.returncode == 0:
        return True
    if "no such image" in asked.stderr.lower():
        return False
    raise failures.no_engine(asked.stderr)


def unpacked_bytes(client: Client, reference: str) -> int:
    """Return the size of an image's layers, unpacked; 0 where the engine doesn't say.

    Not the size that `inspect` says: engines that keep images in containerd's store count packed layers there.
    """
    asked = client.run("history", "--human=false", "--format", "{{.Size}}", reference)
    return sum(int(line) for line in asked.stdout.splitlines() if line.isdecimal()) if not asked.returncode else 0


def build(
    recipe: Recipe,
    reference: str,
    *,
    client: Client,
    show: Callable[[str], None],
    check: Callable[[str], None] | None = None,
    secrets: Mapping[str, str | Path] | None = None,
) -> None:
    """Build `recipe` and name the image `reference`; `show` gets each line of what the engine says.

    `secrets`, texts or files by their id, can be read by the steps that ask for them, and stay nowhere. The machine's
    CA bundle is one of them in any case.

    An image that does not pass `check`, which gets a name for it and may raise, is never called `reference`: the next
    run would take it for good. Raises BuildError with the failing step's last lines.
    """
    untried = f"{reference}-untried-{token_hex(4)}"  # of our own: somebody may build the same beside us
    with tempfile.TemporaryDirectory(prefix="thampi-build-") as folder:
        context = Path(folder)
        _stage(recipe, context)
        command = [
            *client.build_command(),
            *("--platform", recipe.platform, "--progress", "plain", "--tag", untried),
            *("--label", f"thampi.recipe={recipe.digest}", "--file", str(context / "Dockerfile")),
            *_arguments(recipe.arguments, client.environ),
            *_secrets({**_ca_bundle(client.environ), **(secrets or {})}, context),
            str(context / "context"),
        ]
        code, output = _run(command, client.build_environment(), show)
    if code != 0:
        raise failures.explain(_last_step(output), recipe)
    try:
        if check is not None:
            check(untried)
        named = client.run("tag", untried, reference)
        if named.returncode != 0:
            raise failures.explain(named.stderr.splitlines(), recipe)
    finally:
        client.run("rmi", "--force", untried)


def _stage(recipe: Recipe, folder: Path) -> None:
    """Write the build context: what the recipe names, and nothing else of anybody's folder."""
    context = folder / "context"
    context.mkdir()
    (folder / "Dockerfile").write_text(recipe.dockerfile, "utf-8", newline="\n")
    for name, content in recipe.files.items():
        target = context / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    for name, carried in recipe.carried.items():
        target = context / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(carried, bytes):
            target.write_bytes(carried)
        else:
            _place(carried, target)
    # The user's umask is no part of the recipe, and Lambda runs as another user.
    for path in context.rglob("*"):
        mode = 0o755 if path.is_dir() else _READABLE
        if stat.S_IMODE(path.stat().st_mode) != mode:
            path.chmod(mode)


def _arguments(arguments: Mapping[str, str], environ: Mapping[str, str]) -> list[str]:
    """Pass the recipe's arguments, and the proxies of this machine, which docker keeps out of the image's history."""
    words = [f"--build-arg={name}={value}" for name, value in arguments.items()]
    return words + [f"--build-arg={name}" for name in _PROXIES if environ.get(name)]


def _place(source: Path, target: Path) -> None:
    """Put a file into the context that may be of gigabytes: by another name for it, or a copy where that can't be.

    Only one that is as the image wants it gets another name: what is changed of that is changed of the user's file.
    """
    try:
        found = source.lstat()
        if stat.S_ISREG(found.st_mode) and stat.S_IMODE(found.st_mode) == _READABLE:
            with contextlib.suppress(OSError):  # on another disk, say
                os.link(source, target)
                return
        shutil.copyfile(source, target)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise BuildError(
                f"there is no room in {tempfile.gettempdir()} for {source.name}, which the image needs",
                hint=f"set TMPDIR to a folder on the disk of {source.parent}: there it takes no room",
            ) from error
        raise BuildError(
            f"{source}, which the image needs, can't be read: {error.strerror}", hint="put it back, and try again"
        ) from error


def _ca_bundle(environ: Mapping[str, str]) -> dict[str, Path]:
    """Find the machine's CA bundle: it is needed in the build, and belongs in no layer."""
    for name in _CA_BUNDLES:
        path = environ.get(name)
        if path and Path(path).is_file():
            return {"ca": Path(path)}
    return {}


def _secrets(secrets: Mapping[str, str | Path], folder: Path) -> list[str]:
    """Hand secrets over as files that only we can read: arguments can be seen by everybody on this machine."""
    words = []
    for name, secret in secrets.items():
        path = secret
        if isinstance(secret, str):
            path = folder / f"secret-{name}"
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as opened:
                opened.write(secret)
        words.append(f"--secret=id={name},src={path}")
    return words


def _run(command: list[str], environ: Mapping[str, str], show: Callable[[str], None]) -> tuple[int, list[str]]:
    """Run a build; return its exit code and the last of what it said."""
    last: deque[str] = deque(maxlen=2000)
    process = subprocess.Popen(
        command,
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    )
    with process:
        try:
            for line in process.stdout or ():
                last.append(line.rstrip("\n"))
                show(last[-1])
        except BaseException:
            process.terminate()  # Ctrl-C: the engine stops the build when its client goes
            raise
    return process.returncode, list(last)


def _last_step(output: Sequence[str]) -> list[str]:
    """Return what the failing step said, its title first; when none is named, what was said outside of all steps."""
    steps: dict[str, list[str]] = {}
    outside: list[str] = []
    failed = None
    for line in output:
        match = _STEP.match(line)
        if match is None:
            outside.append(line.removeprefix(" > ").removesuffix(":") if line.startswith(" > [") else line)
            continue
        number, said = match.groups()
        steps.setdefault(number, []).append(said)
        if said.startswith("ERROR"):
            failed = number
    return steps[failed] if failed is not None else [line for line in outside if line.strip("- ")]
