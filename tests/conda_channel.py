"""A conda channel on this machine, small and real: packages of both formats, a Python that runs, an index.

`make` is for the tests; it runs this file as a script where py-rattler and zstandard are, in an environment of uv's.
"""

import asyncio
import bz2
import hashlib
import io
import json
import os
import re
import secrets
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
PLACEHOLDER = "/opt/anaconda1anaconda2anaconda3/placehold_placehold_placehold_placehold_placehold_placehold_placehold_"
GARDEN = b"\0\1" + PLACEHOLDER.encode() + b"/share\0\2"
TIME = 1700000000
# Where a package's Python files go that fits every Python, and those of the one Python of this channel.
NOARCH = "site-packages"

FLOWERS = '''"""Knows flowers."""

import os


class Kinds:
    """The kinds of iris, by the length of a petal in centimetres."""

    def __init__(self, names, limits):
        self.names, self.limits = names, limits

    def of(self, length):
        """Return the kind's name."""
        return self.names[sum(length > limit for limit in self.limits)]


def home():
    """Return what the package's activation says."""
    return os.environ.get("FLOWERS_HOME")


def main():
    """Print where we are."""
    print("flowers of", home())
'''


def make(folder: Path, minor: str, python: Path | None = None) -> str:
    """Make the channel in `folder`, and return its URL; `python` is a tar of a Python of the version `minor`.

    Without it the channel's Python is an empty package: enough to solve, not to run.
    """
    import uv

    pinned = re.search(r"^py-rattler==\S+", (REPO / "images/conda.txt").read_text(), re.MULTILINE)
    assert pinned
    words = [uv.find_uv_bin(), "run", "--quiet", "--no-project", "--isolated", "--python", sys.executable]
    words += ["--with", pinned[0], "--with", "zstandard", "python", __file__, str(folder), minor]
    subprocess.run([*words, *([str(python)] if python else [])], check=True)
    return folder.as_uri()


# ---------------------------------------------------------------------------------------------------- what is in it


def fill(channel: Path, minor: str, python: Path | None) -> None:
    """Write every package."""
    files = unpacked(python) if python else {f"lib/python{minor}/os.py": b""}
    for subdir in ("linux-64", "linux-aarch64"):
        package(channel, subdir, "python", f"{minor}.2", files if subdir == "linux-64" else {}, ["__glibc >=2.17"])
        package(channel, subdir, "python", "3.9.1", {}, [])
    # Its name in Python is another than conda's, it has a program, and it needs a package of the system's own.
    flowers = {
        f"{NOARCH}/flowers.py": FLOWERS.encode(),
        f"{NOARCH}/Flower_Kit-1.2.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: Flower_Kit\nVersion: 1.2.0\n",
        f"{NOARCH}/Flower_Kit-1.2.0.dist-info/WHEEL": b"Wheel-Version: 1.0\n",
    }
    program = {"noarch": {"type": "python", "entry_points": ["flowers = flowers:main"]}, "package_metadata_version": 1}
    package(channel, "noarch", "flowers", "1.2.0", flowers, ["python >=3.9", "garden >=1.0"], link=program)
    package(channel, "noarch", "flowers", "0.9.0", {}, ["python >=3.9"], link=program, old=True)
    package(channel, "noarch", "florist", "1.0", {}, ["flowers >=2"])
    package(channel, "noarch", "apple", "1.0", {}, ["__osx"])
    package(channel, "noarch", "antique", "1.0", {}, ["python >=3.7,<3.8"])
    package(channel, "linux-64", "scikit-learn", "0.20.0", {}, ["numpy >=1.11,<2", "python >=3.7,<3.8"])
    package(channel, "linux-64", "numpy", "1.15.2", {}, ["python >=3.7,<3.8"])
    package(channel, "noarch", "orjson", "3.5", {}, [])
    package(channel, "noarch", "modern", "1.0", {}, ["__glibc >=2.99"])
    # An old archive; its files have the place in them where they are installed, one of them in the middle of binary.
    garden = {
        "bin/garden": f"#!/bin/sh\necho garden of {PLACEHOLDER}\n".encode(),
        "etc/garden.conf": f"root={PLACEHOLDER}\n".encode(),
        "lib/garden.bin": GARDEN,
        "include/garden.h": b"",
        "share/man/man1/garden.1": b"",
        "bin/.garden-post-link.sh": b'#!/bin/sh\necho linked > "$PREFIX/etc/garden.linked"\n',
        "etc/conda/activate.d/garden.sh": b'export FLOWERS_HOME="$CONDA_PREFIX/etc" GARDEN="a \'b\' $((1 + 1))"\n',
        "etc/conda/env_vars.d/garden.json": b'{"GARDEN_SEASON": "summer"}',
    }
    package(channel, "linux-64", "garden", "1.0", garden, [], old=True)
    package(channel, "linux-aarch64", "garden", "1.0", {}, [])
    # What pip would bring as well; in each channel another file, which no cache has.
    brought = {
        f"{NOARCH}/six.py": f"# {secrets.token_hex()}".encode(),
        f"{NOARCH}/six-1.99.0.dist-info/METADATA": b"Name: six\nVersion: 1.99.0\n",
    }
    package(
        channel,
        "noarch",
        "six",
        "1.99.0",
        brought,
        ["python"],
        link={"noarch": {"type": "python"}, "package_metadata_version": 1},
    )


def unpacked(archive: Path) -> dict[str, bytes | str]:
    """Return the files of a Python, by where they go in an environment; a link is the text that it points to."""
    files: dict[str, bytes | str] = {}
    with tarfile.open(archive) as tar:
        for member in tar:
            opened = tar.extractfile(member)
            if opened is not None:
                files[member.name] = opened.read()
    program = next(name for name in files if name.startswith("bin/"))
    files |= {name: program.rpartition("/")[2] for name in ("bin/python", "bin/python3")}
    stdlib = f"lib/{program.rpartition('/')[2]}"
    files[f"{stdlib}/site-packages/README.txt"] = b""
    settings = files[f"{stdlib}/sysconfig.py"]
    assert isinstance(settings, bytes)
    if b"posix_local" in settings:  # Debian's, which has places of its own, and its site.py frozen into the program
        settings = settings.replace(
            b"os.environ.get('DEB_PYTHON_INSTALL_LAYOUT', 'posix_local')", b"'posix_prefix'"
        ).replace(b"prefix_scheme = 'posix_local'", b"prefix_scheme = 'posix_prefix'")
        add = f"import site, sys; site.addsitedir(sys.prefix + '/{stdlib}/site-packages')\n"
        files |= {f"{stdlib}/sysconfig.py": settings, f"{stdlib}/dist-packages/conda.pth": add.encode()}
    return files


# ----------------------------------------------------------------------------------------------------- how it is packed


def package(
    channel: Path,
    subdir: str,
    name: str,
    version: str,
    files: dict[str, bytes | str],
    depends: list[str],
    *,
    link: dict[str, object] | None = None,
    old: bool = False,
) -> None:
    """Write one package, as .conda or, an old one, as .tar.bz2."""
    about = {"name": name, "version": version, "build": "0", "build_number": 0, "depends": depends, "subdir": subdir}
    about |= {"timestamp": TIME * 1000, "license": "MIT", "constrains": []}
    if link:
        about["noarch"] = "python"
    if name == "python":
        about["python_site_packages_path"] = f"lib/python{version.rpartition('.')[0]}/site-packages"
    paths = [entry(path, content) for path, content in files.items()]
    info = {"info/index.json": about, "info/paths.json": {"paths": paths, "paths_version": 1}, "info/about.json": {}}
    info |= {"info/link.json": link} if link else {}
    told: dict[str, bytes | str] = {path: json.dumps(content).encode() for path, content in info.items()}
    told["info/files"] = "\n".join(files).encode()
    stem = f"{name}-{version}-0"
    place = channel / subdir
    place.mkdir(parents=True, exist_ok=True)
    if old:
        (place / f"{stem}.tar.bz2").write_bytes(bz2.compress(tar(told | files), 1))
        return
    import zstandard

    pressed = zstandard.ZstdCompressor(level=3)
    with zipfile.ZipFile(place / f"{stem}.conda", "w") as archive:
        archive.writestr("metadata.json", json.dumps({"conda_pkg_format_version": 2}))
        archive.writestr(f"info-{stem}.tar.zst", pressed.compress(tar(told)))
        archive.writestr(f"pkg-{stem}.tar.zst", pressed.compress(tar(files)))


def entry(path: str, content: bytes | str) -> dict[str, object]:
    """Return what paths.json says of a file."""
    data = content if isinstance(content, bytes) else b""
    kind = "hardlink" if isinstance(content, bytes) else "softlink"
    said = {"_path": path, "path_type": kind, "sha256": hashlib.sha256(data).hexdigest(), "size_in_bytes": len(data)}
    if PLACEHOLDER.encode() in data:
        said |= {"prefix_placeholder": PLACEHOLDER, "file_mode": "binary" if b"\0" in data else "text"}
    return said


def tar(files: dict[str, bytes | str]) -> bytes:
    """Return the files as a tar; a text is a link."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path, content in files.items():
            member = tarfile.TarInfo(path)
            member.mtime = TIME
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
                archive.addfile(member)
                continue
            member.mode = 0o755 if path.startswith("bin/") else 0o600  # as if packed by somebody careless
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


if __name__ == "__main__":
    from rattler.index import index_fs

    place = Path(sys.argv[1])
    fill(place, sys.argv[2], Path(sys.argv[3]) if len(sys.argv) > 3 else None)
    asyncio.run(index_fs(str(place)))
    sys.stdout.flush()
    os._exit(0)
