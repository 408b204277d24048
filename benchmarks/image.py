"""What an image of thampi costs beside the Dockerfile that one writes by hand: to build, to keep, to start.

    python -m benchmarks.image [--quick] [--json PATH]

Both sides install the same pinned scikit-learn, pandas, scipy and numpy on the same Python image, and have downloaded
all of it before: uv has its cache, and pip, whose own keeps nothing that an index forbids to keep, a folder with the
wheels. By hand is `pip install -r` with a cache mount, `COPY`, and a handler
that loads with boto3 and joblib, under awslambdaric and the same emulator. Ours is the command `thampi build`, as a
process of its own; the base image, which all projects share, is there. Times are medians of ratios of turns.

A start is from `docker start` to the first answer of the tutorial's model, which both fetch from the same S3 (a server
of this benchmark in a container): read-only, one processor, no rights. With an evicted page cache: POSIX_FADV_DONTNEED
for each file of the image's layers, as root, on the engine's own disk; where that can't be, it isn't measured.
"""

import contextlib
import hashlib
import json
import os
import random
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from benchmarks import measuring
from benchmarks.measuring import ROOT, Row
from thampi import config, recipe
from thampi.builder import build as docker_build
from thampi.builder import client as docker_client
from thampi.builder.client import Client
from thampi.operations import build

BOUNDS = {
    "size beyond the base / by hand": 0.70,
    "first build / by hand": 0.5,
    "after a change of one requirement / by hand": 0.5,
    "after a change of the code / by hand": 1.0,
    "after a change of the code, s": 2.0,
    "after a change of nothing / by hand": 1.0,
    "after a change of nothing, s": 2.0,
    "start, warm page cache / by hand": 0.85,
    "start, evicted page cache / by hand": 0.85,
    "start, warm page cache / without bytecode": 0.5,
    "context sent / files of the recipe": 1.0,
}
LIBRARIES = ("scikit-learn", "pandas", "scipy", "numpy")
# Small libraries with many versions: which one is asked for decides nothing but that the file has changed, and to what
# no cache has seen.
CHANGING = {
    "six": [f"1.{minor}.0" for minor in range(10, 18)],
    "idna": [f"3.{minor}" for minor in range(1, 11)],
    "certifi": ["2023.7.22", "2023.11.17", "2024.2.2", "2024.6.2", "2024.7.4", "2024.8.30", "2024.12.14", "2025.1.31"],
}
BY_HAND = ROOT / "benchmarks/by_hand"
# A label that changes is a step of no time after which no other is remembered. `--no-cache` would forget what was
# downloaded, too: some engines give a build with it cache mounts of its own.
_AFRESH = "sed -i -e '/^LABEL afresh/d' -e \"/^FROM /a LABEL afresh=$(date +%N)\""
WITHOUT_BYTECODE = "FROM {image}\nUSER root\nRUN find / -xdev -name '*.pyc' -delete\n"


@dataclass(frozen=True)
class Sides:
    """The two projects, each with a requirements file of its own, and what builds and runs them."""

    client: Client
    python_image: str
    ours: Path
    by_hand: Path
    name: str  # of both images

    def build_ours(self, *, from_nothing: bool = False) -> tuple[float, str]:
        """Run `thampi build`; return the seconds that it took, and the image."""
        environ = {key: value for key, value in os.environ.items() if not key.startswith("THAMPI_")}
        environ["PYTHONPATH"] = str(ROOT)
        environ["THAMPI_DOCKER"] = str(self.ours / "docker-afresh") if from_nothing else self.client.path
        start = "import sys; sys.argv[0] = 'thampi'; from thampi.cli import main; main()"
        took, said = _timed([sys.executable, "-c", start, "build"], self.ours, environ)
        return took, said.splitlines()[-1]

    def build_by_hand(self, *, from_nothing: bool = False) -> tuple[float, str]:
        """Run `docker build` on the Dockerfile written by hand; return the seconds, and the image."""
        image = f"{self.name}-by-hand:1"
        bundle = next((os.environ[key] for key in ("SSL_CERT_FILE", "PIP_CERT") if os.environ.get(key)), "")
        words = [*self.client.build_command(), "--tag", image, *(["--secret", f"id=ca,src={bundle}"] if bundle else [])]
        words += [f"--build-arg=PYTHON_IMAGE={self.python_image}"]
        if from_nothing:
            subprocess.run(["sh", "-c", f"{_AFRESH} Dockerfile"], cwd=self.by_hand, check=True)
        return _timed([*words, "."], self.by_hand, self.client.build_environment())[0], image

    def require(self, *more: str) -> None:
        """Write both requirements files: the libraries, what each side's handler needs, and `more`."""
        pins = [f"{name}=={metadata.version(name)}" for name in LIBRARIES]
        (self.ours / "requirements.txt").write_text("".join(f"{line}\n" for line in [*pins, *more]))
        own = ["boto3", "joblib", f"awslambdaric{_pin('awslambdaric')}"]
        (self.by_hand / "requirements.txt").write_text("".join(f"{line}\n" for line in [*pins, *own, *more]))


def _pin(name: str) -> str:
    lines = (ROOT / "handler/requirements.txt").read_text().splitlines()
    return next(line.removeprefix(name) for line in lines if line.startswith(f"{name}="))


def _timed(command: list[str], folder: Path, environ: Mapping[str, str]) -> tuple[float, str]:
    began = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=dict(environ), capture_output=True, text=True)
    took = time.perf_counter() - began
    if done.returncode != 0:
        raise RuntimeError(f"{command}\n{done.stdout}\n{done.stderr}")
    return took, done.stdout


# ----------------------------------------------------------------------------------------------------------- the sides


def prepare(folder: Path, client: Client) -> Sides:
    """Write both projects, with the tutorial's model; build the base image if it isn't there."""
    name = f"thampi-bench-{secrets.token_hex(3)}"
    ours, by_hand = folder / "ours", folder / "by-hand"
    ours.mkdir()
    by_hand.mkdir()
    (ours / "features.py").write_text("ROUND = 0\n")
    (ours / "thampi.toml").write_text(
        f'name = "{name.removeprefix("thampi-")}"\nmodel_dir = "models/iris"\n'
        '[build]\ndependency_file = "requirements.txt"\ninclude = ["features.py"]\n'
    )
    (ours / "docker-afresh").write_text(
        "#!/bin/sh\nfile=\nfor word; do\n"
        f'    if [ "$file" = next ]; then {_AFRESH} "$word"; fi\n'
        '    if [ "$word" = --file ]; then file=next; else file=; fi\n'
        f'done\nexec {client.path} "$@"\n'
    )
    (ours / "docker-afresh").chmod(0o755)
    shutil.copy(BY_HAND / "app.py", by_hand / "app.py")
    saved = [sys.executable, str(BY_HAND / "save.py"), str(ROOT / "examples/iris")]
    _timed(saved, ours, os.environ | {"PYTHONPATH": str(ROOT)})
    minor = f"{sys.version_info.major}.{sys.version_info.minor}"
    sides = Sides(client, recipe.python_image(minor), ours, by_hand, name)
    sides.require()
    _, image = sides.build_ours()  # the base image, too, when it isn't there
    with _created(client, image) as container:
        client.run("cp", f"{container}:/opt/thampi/bin/aws-lambda-rie", str(by_hand / "aws-lambda-rie"))
    by_hands_own = (BY_HAND / "Dockerfile").read_text()
    download = by_hands_own.replace("pip install", "pip download --dest /root/.cache/pip/wheels")
    for text in (download, by_hands_own):
        (by_hand / "Dockerfile").write_text(text)
        sides.build_by_hand()
    return sides


# -------------------------------------------------------------------------------------------------------- build, sizes


def builds(sides: Sides, rounds: int) -> Iterator[Row]:
    """Measure the builds, from the longest to the shortest."""

    def nothing() -> None:
        pass

    def another_requirement() -> None:
        sides.require(*(f"{name}=={random.choice(versions)}" for name, versions in CHANGING.items()))

    def another_code() -> None:
        (sides.ours / "features.py").write_text(f"ROUND = {secrets.token_hex(8)!r}\n")
        (sides.by_hand / "app.py").write_text(f"{(BY_HAND / 'app.py').read_text()}\nROUND = {secrets.token_hex(8)!r}\n")

    kinds: tuple[tuple[str, Callable[[], None], bool, int], ...] = (
        ("first build", another_requirement, True, rounds),
        ("after a change of one requirement", another_requirement, False, rounds),
        ("after a change of the code", another_code, False, 2 * rounds),
        ("after a change of nothing", nothing, False, 3 * rounds),
    )
    for title, change, from_nothing, count in kinds:
        found: dict[str, list[float]] = {"ours": [], "by hand": []}
        for number in range(count):
            change()
            turn = [("ours", sides.build_ours), ("by hand", sides.build_by_hand)]
            for side, run in turn if number % 2 else reversed(turn):
                found[side].append(run(from_nothing=from_nothing)[0])
        yield from _pair(title, found["ours"], found["by hand"], "by hand")


def _pair(title: str, ours: list[float], theirs: list[float], whose: str) -> Iterator[Row]:
    for metric, value in (
        (f"{title}, s", statistics.median(ours)),
        (f"{title} {whose}, s", statistics.median(theirs)),
        (f"{title} / {whose}", measuring.median_ratio(ours, theirs)),
    ):
        yield Row(metric, value, BOUNDS.get(metric))


def sizes(sides: Sides, ours: str, by_hand: str) -> Iterator[Row]:
    """Compare what the images have beyond the Python image that both stand on."""

    def size(image: str) -> int:
        return int(sides.client.run("image", "inspect", "--format", "{{.Size}}", image).stdout)

    base = size(sides.python_image)
    values = {"ours": size(ours) - base, "by hand": size(by_hand) - base}
    for side, value in values.items():
        yield Row(f"size beyond the base, {side}, MB", value / 1e6)
    metric = "size beyond the base / by hand"
    yield Row(metric, values["ours"] / values["by hand"], BOUNDS[metric])


def context(sides: Sides, folder: Path) -> Iterator[Row]:
    """Compare the bytes of the folder that the engine is given with those that the recipe names."""
    plan = build.plan(config.load(sides.ours / "thampi.toml", "local", flags={}, environ={}))
    log, wrapper = folder / "context-bytes", folder / "docker-counts"
    wrapper.write_text(
        f"#!{sys.executable}\nimport os, pathlib, sys\n"
        "if 'build' in sys.argv[1:3]:\n"
        "    files = [path for path in pathlib.Path(sys.argv[-1]).rglob('*') if path.is_file()]\n"
        f"    pathlib.Path({str(log)!r}).write_text(str(sum(path.stat().st_size for path in files)))\n"
        f"os.execv({sides.client.path!r}, [{sides.client.path!r}, *sys.argv[1:]])\n"
    )
    wrapper.chmod(0o755)
    counting = docker_client.Client(str(wrapper), has_buildx=sides.client.has_buildx)
    name = f"{sides.name}-context:1"
    docker_build.build(plan.model, name, client=counting, show=lambda line: None)
    needed = sum(len(content) for content in plan.model.files.values())
    metric = "context sent / files of the recipe"
    yield Row("context sent, kB", int(log.read_text()) / 1e3)
    yield Row(metric, int(log.read_text()) / needed, BOUNDS[metric])


# --------------------------------------------------------------------------------------------------------------- start


def starts(sides: Sides, folder: Path, ours: str, by_hand: str, rounds: int) -> Iterator[Row]:
    """Measure how long the first answer takes from `docker start` on."""
    client = sides.client
    bare = f"{sides.name}-bare:1"
    (folder / "bare").mkdir()
    (folder / "bare/Dockerfile").write_text(WITHOUT_BYTECODE.format(image=ours))
    _timed([*client.build_command(), "--tag", bare, "."], folder / "bare", client.build_environment())
    images = {"ours": ours, "by hand": by_hand, "without bytecode": bare}
    with _s3(sides, folder) as (network, environment):

        def turn(image: str, evicted: bool) -> Callable[[], float]:
            def start() -> float:
                if evicted:
                    evict(client, image)
                return _first_answer(client, image, network, environment)

            return start

        for title, evicted in (("start, warm page cache", False), ("start, evicted page cache", True)):
            if evicted and not _can_evict(client):
                print("the page cache is not evicted: that takes root on the machine of the engine", file=sys.stderr)
                continue
            turns = {name: turn(image, evicted) for name, image in images.items()}
            found = measuring.interleaved(turns, rounds)
            yield Row(f"{title}, s", statistics.median(found["ours"]))
            for whose in ("by hand", "without bytecode"):
                yield Row(f"{title}, {whose}, s", statistics.median(found[whose]))
                metric = f"{title} / {whose}"
                yield Row(metric, measuring.median_ratio(found["ours"], found[whose]), BOUNDS.get(metric))


def _first_answer(client: Client, image: str, network: str, environment: Mapping[str, str]) -> float:
    limits = ("--read-only", "--tmpfs=/tmp:exec", "--user=993", "--cap-drop=ALL", "--cpuset-cpus=0", "-m=1g")
    words = [f"--env={name}={value}" for name, value in environment.items()]
    with _created(client, image, *limits, f"--network={network}", "-p=127.0.0.1::8080", *words) as container:
        began = time.perf_counter()
        started = client.run("start", container)
        if started.returncode != 0:
            raise RuntimeError(started.stderr)
        port = client.run("port", container, "8080").stdout.split()[0].rpartition(":")[2]
        url = f"http://127.0.0.1:{port}/2015-03-31/functions/function/invocations"
        event = json.dumps({"data": {"input": [5.9, 3.2, 4.8, 1.8]}}).encode()
        while True:
            try:
                with urllib.request.urlopen(url, event, timeout=120) as answer:
                    took, said = time.perf_counter() - began, json.loads(answer.read())
                    break
            except (urllib.error.URLError, ConnectionError):  # the emulator is not up yet
                if time.perf_counter() - began > 60:
                    raise
                time.sleep(0.005)
        if said.get("result") != {"result": 2}:
            raise RuntimeError(f"a wrong answer: {said}\n{client.run('logs', container).stderr}")
        return took


@contextlib.contextmanager
def _s3(sides: Sides, folder: Path) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Serve both sides' models on a network of their own; yield it, and what the containers have to know."""
    client, network = sides.client, sides.name
    objects = folder / "objects/bench"
    shutil.copytree(sides.ours / "models/iris", objects / "iris")
    shutil.copy(sides.ours / "iris.joblib", objects / "iris.joblib")
    for path in (folder, *folder.joinpath("objects").rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    client.run("network", "create", network)
    server = (
        *("--entrypoint=python3", f"--network={network}", "--network-alias=s3"),
        f"-v={folder / 'objects'}:/objects",
        f"-v={BY_HAND / 's3_server.py'}:/s3_server.py",
    )
    try:
        with _created(client, sides.python_image, *server, words=("/s3_server.py",)) as container:
            client.run("start", container)
            manifest = (objects / "iris/thampi.json").read_bytes()
            yield (
                network,
                {
                    "AWS_ENDPOINT_URL": "http://s3:80",
                    "AWS_REGION": "eu-central-1",
                    "AWS_DEFAULT_REGION": "eu-central-1",
                    "AWS_ACCESS_KEY_ID": "any",
                    "AWS_SECRET_ACCESS_KEY": "any",
                    "THAMPI_MODEL": "s3://bench/iris",
                    "THAMPI_MANIFEST_SHA256": hashlib.sha256(manifest).hexdigest(),
                    "THAMPI_NAME": "iris",
                },
            )
    finally:
        client.run("network", "rm", network)


@contextlib.contextmanager
def _created(client: Client, image: str, *options: str, words: tuple[str, ...] = ()) -> Iterator[str]:
    done = client.run("create", *options, image, *words)
    if done.returncode != 0:
        raise RuntimeError(done.stderr)
    container = done.stdout.strip()
    try:
        yield container
    finally:
        client.run("rm", "--force", "--volumes", container)


def _layers(client: Client, image: str) -> list[Path]:
    shown = client.run("image", "inspect", "--format", "{{json .GraphDriver.Data}}", image).stdout
    data = json.loads(shown or "null") or {}
    return [Path(each) for each in (data.get("UpperDir", ""), *data.get("LowerDir", "").split(":")) if each]


def _can_evict(client: Client) -> bool:
    if not hasattr(os, "posix_fadvise") or os.geteuid() != 0:
        return False
    listed = client.run("images", "--quiet").stdout.split()
    return bool(listed) and all(path.is_dir() for path in _layers(client, listed[0]))


def evict(client: Client, image: str) -> None:
    """Have the kernel forget the content of every file of an image."""
    for layer in _layers(client, image):
        for path in layer.rglob("*"):
            if path.is_file() and not path.is_symlink():
                descriptor = os.open(path, os.O_RDONLY)
                try:
                    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                finally:
                    os.close(descriptor)


def main() -> int:
    """Measure all; print the table."""
    asked = measuring.arguments(__doc__)
    client = docker_client.find(os.environ)
    with tempfile.TemporaryDirectory(prefix="thampi-") as folder_name:
        folder = Path(folder_name)
        sides = None
        try:
            sides = prepare(folder, client)
            rows = [*builds(sides, 1 if asked.quick else 5)]
            sides.require()
            (_, ours), (_, by_hand) = sides.build_ours(), sides.build_by_hand()
            rows += [*sizes(sides, ours, by_hand), *context(sides, folder)]
            rows += starts(sides, folder, ours, by_hand, 3 if asked.quick else 9)
        finally:
            if sides is not None:
                listed = client.run("images", "--format", "{{.Repository}}:{{.Tag}}", f"{sides.name}*").stdout.split()
                client.run("rmi", "--force", *listed)
    return measuring.report(rows, asked.json)


if __name__ == "__main__":
    sys.exit(main())
