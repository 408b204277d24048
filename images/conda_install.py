"""Install conda's packages into a prefix, as the solver chose them. `conda_install.py LIST SHIPPED CACHE PREFIX`.

LIST has a line for each package, `URL#sha256`; one that is a file name lies in the folder SHIPPED. Archives that were
fetched stay in CACHE for the next build. Runs inside the build, where py-rattler is on the path.
"""

import asyncio
import hashlib
import json
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import unquote, urlsplit

import rattler

AT_ONCE = 8
TRIES = 3
# What a shell has anyway, or what only conda itself reads.
NOT_OF_PACKAGES = {"PATH", "PWD", "OLDPWD", "SHLVL", "HOME", "_", "CONDA_PREFIX", "CONDA_DEFAULT_ENV", "CONDA_SHLVL"}
# No endpoint reads manuals, links a library or makes another environment.
DEAD = ("share/man", "share/doc", "share/info", "share/gtk-doc", "conda-meta/history", "pkgs", "lib/python*/test")
DEAD += ("lib/python*/idlelib", "lib/python*/turtledemo", "lib/python*/ensurepip", "lib/python*/config-*/libpython*.a")
DEAD += ("**/__pycache__",)  # it goes by times, which layers change; what we compile later does not
COMPILERS = ("bin/*-gcc", "bin/*-cc", "bin/*-clang")


def main(listed: Path, shipped: Path, cache: Path, prefix: Path) -> None:
    """Make the environment `prefix`."""
    lines = [line.rpartition("#") for line in listed.read_text("utf-8").splitlines() if line]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        archives = list(pool.map(lambda line: archive(line[0], line[2], shipped, cache), lines))
    asyncio.run(install(archives, [url for url, _, _ in lines], prefix))
    keep_what_runs(prefix)
    put_ours_behind(prefix)
    activate(prefix)


def archive(url: str, sha256: str, shipped: Path, cache: Path) -> Path:
    """Return the file of a package, fetched when it isn't there; end the build when it isn't what was chosen."""
    if "://" not in url:
        check(shipped / url, url, sha256)
        return shipped / url
    kept = cache / sha256 / unquote(urlsplit(url).path).rpartition("/")[2]
    if not kept.exists() or digest(kept) != sha256:
        kept.parent.mkdir(parents=True, exist_ok=True)
        # Another build may fetch the same beside us, so it gets its name when it is whole.
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            fetch(url, Path(folder, "part"))
            check(Path(folder, "part"), kept.name, sha256)
            Path(folder, "part").rename(kept)
    return kept


def fetch(url: str, target: Path) -> None:
    """Fetch a file; a connection that breaks is tried again."""
    context = ssl.create_default_context()
    for left in reversed(range(TRIES)):
        try:
            with (
                urllib.request.urlopen(url, timeout=60, context=context) as answer,  # noqa: S310 - what the solver chose
                target.open("wb") as file,
            ):
                shutil.copyfileobj(answer, file, 1 << 20)
            return
        except OSError as error:
            if not left or (isinstance(error, urllib.error.HTTPError) and error.code < 500):
                raise SystemExit(f"error: Failed to fetch {url}: {error}") from error
            time.sleep(1)


def check(path: Path, name: str, sha256: str) -> None:
    """End the build when a file's content isn't the one that was chosen."""
    found = digest(path)
    if found != sha256:
        raise SystemExit(f"error: Hash mismatch for {name}: it is {found}, and {sha256} was chosen")


def digest(path: Path) -> str:
    """Return the sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


async def install(archives: "list[Path]", urls: "list[str]", prefix: Path) -> None:
    """Unpack and link the packages, and run what they want to run after that, as conda does."""
    records = []
    for path, url in zip(archives, urls, strict=True):
        record = await rattler.RepoDataRecord.from_package_archive(path)
        if "://" not in url:
            record.url = f"file://{path}"
        records.append(record)
    unpacked = prefix.with_name(f"{prefix.name}-unpacked")  # on the same file system, so that files are linked
    await rattler.install(
        records, prefix, cache_dir=unpacked, show_progress=False, execute_link_scripts=True, installed_packages=[]
    )
    shutil.rmtree(unpacked)


def keep_what_runs(prefix: Path) -> None:
    """Remove what no endpoint needs; headers and static libraries stay where a compiler was asked for."""
    dead = list(DEAD)
    if not any(found for pattern in COMPILERS for found in prefix.glob(pattern)):
        dead += ["include", "lib/*.a", "lib/pkgconfig", "lib/cmake"]
    for path in [path for pattern in dead for path in prefix.glob(pattern)]:
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
    # Of each package its name, version and origin stay, which is what scanners for known faults look for.
    for path in (prefix / "conda-meta").glob("*.json"):
        told = json.loads(path.read_text("utf-8"))
        kept = ("name", "version", "build", "build_number", "subdir", "license", "sha256")
        path.write_text(json.dumps({key: told.get(key) for key in kept}), "utf-8")


def put_ours_behind(prefix: Path) -> None:
    """Let conda's Python find the handler's libraries, behind the user's own, as the base's Python does."""
    Path(site_packages(prefix), "thampi.pth").write_text("/opt/thampi/lib\n", "utf-8")


def site_packages(prefix: Path) -> str:
    """Return where the environment's Python has its libraries."""
    asked = [str(prefix / "bin/python3"), "-IBc", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    return subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()


def activate(prefix: Path) -> None:
    """Keep what `conda activate` would set: nobody activates in Lambda, so Python sets it when it starts.

    A variable that is set already, by the stage's own environment say, stays as it is.
    """
    scripts = sorted((prefix / "etc/conda/activate.d").glob("*.sh"))
    wanted: dict[str, str] = {}
    for file in sorted((prefix / "etc/conda/env_vars.d").glob("*.json")):
        wanted |= {str(name): str(value) for name, value in json.loads(file.read_text("utf-8")).items()}
    if scripts:
        wanted |= set_by(scripts, prefix)
    if wanted:
        code = f"import os; [os.environ.setdefault(*pair) for pair in {sorted(wanted.items())!r}]\n"
        Path(site_packages(prefix), "thampi-activated.pth").write_text(code, "utf-8")


def set_by(scripts: "list[Path]", prefix: Path) -> "dict[str, str]":
    """Return the variables that the scripts of packages set."""
    before = {"CONDA_PREFIX": str(prefix), "PATH": f"{prefix}/bin:/usr/bin:/bin", "HOME": "/tmp"}  # noqa: S108
    run = 'for script; do . "$script" >&2 || echo "$script failed" >&2; done; env -0'
    words = ["bash", "-c", run, "bash", *map(str, scripts)]
    done = subprocess.run(words, env=before, capture_output=True, text=True)
    sys.stderr.write(done.stderr)
    pairs = [entry.partition("=")[::2] for entry in done.stdout.split("\0") if entry]
    return {name: value for name, value in pairs if name not in NOT_OF_PACKAGES and before.get(name) != value}


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
    sys.stdout.flush()
    os._exit(0)  # py-rattler's threads can abort an interpreter that ends in the usual way
