"""One saved model, and the turns that the handler, the peers and the floors take with it."""

import json
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import measuring
from benchmarks.cold import environment, floor
from benchmarks.cold.environment import Start

BUCKET = "store"
_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Lab:
    """Where all is measured: a folder that is the bucket's, an interpreter with the libraries, and how often."""

    folder: Path
    python: str
    rounds: int
    raw_get: Sequence[str]  # the command of the raw client

    @property
    def runtime(self) -> str:
        """The handler as it lies in the image, an entry of a module path."""
        return str(self.folder / "opt-thampi")

    @property
    def bucket(self) -> Path:
        """What lies in S3."""
        return self.folder / BUCKET

    def make(self, key: str, *words: object) -> "Saved":
        """Make the model `key`, once: `words` are a kind and its size in MiB, or `--copy` and a bundle."""
        if (self.bucket / key).exists():
            return Saved(self, key)
        print(f"  saving {key} …", flush=True)
        command = [self.python, "-m", "benchmarks.cold.models", *map(str, words), str(self.bucket / key)]
        subprocess.run(command, cwd=_ROOT, check=True, stdout=subprocess.DEVNULL)
        return Saved(self, key)

    def can_import(self, name: str) -> bool:
        """Say whether a library is installed beside the model's."""
        return not subprocess.run([self.python, "-c", f"import {name}"], stderr=subprocess.DEVNULL).returncode


@dataclass(frozen=True)
class Saved:
    """A saved model: `bundle` is as thampi.save made it, the `uncompressed` one is the same without compression."""

    lab: Lab
    key: str
    name: str = "bundle"

    @cached_property
    def uncompressed(self) -> "Saved":
        """The same model with all bytes as they are."""
        there = (self.lab.bucket / self.key / "uncompressed").is_dir()
        return Saved(self.lab, self.key, "uncompressed") if there else self

    @property
    def bundle(self) -> Path:
        """The bundle's folder."""
        return self.lab.bucket / self.key / self.name

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """What is known of it."""
        found: dict[str, Any] = json.loads((self.bundle / "thampi.json").read_bytes())
        return found

    @property
    def content(self) -> int:
        """Bytes of the model, decompressed."""
        return sum(part["size"] for part in self.manifest["parts"])

    @property
    def in_band(self) -> int:
        """Bytes of these that are Python objects, not buffers."""
        return sum(part["size"] for part in self.manifest["parts"] if part["file"] == "pickle")

    @cached_property
    def framework(self) -> int:
        """Bytes of memory that the libraries take without the model."""
        # The first of them may have to compile what it imports, which takes memory, too.
        peak = partial(environment.framework_peak, self.lab.python, self.lab.runtime, self.manifest["modules"])
        return int(median(peak() for _ in range(3)))

    def has(self, name: str) -> bool:
        """Say whether the model is there as others would have it."""
        return (self.lab.bucket / self.key / name).exists()

    def ours(self, where: Mapping[str, str], before: Sequence[str] = ()) -> Start:
        """Take one cold start from S3."""
        told = environment.told(self.bundle, f"s3://{BUCKET}/{self.key}/{self.name}")
        return environment.start(self.lab.python, self.lab.runtime, {**where, **told}, before)

    def from_folder(self) -> Start:
        """Take one cold start from a folder that the page cache has: no transfer at all."""
        told = environment.told(self.bundle, str(self.bundle))
        return environment.start(self.lab.python, self.lab.runtime, told)

    def peer(self, how: str, where: Mapping[str, str]) -> Start:
        """Let a peer load it."""
        command = [self.lab.python, str(_ROOT / "benchmarks/cold/peers.py"), how, self.key]
        command.append(json.dumps(self.manifest["example"]))
        # The class of the model names thampi.Model.
        environ = {"PATH": os.environ["PATH"], "PYTHONPATH": self.lab.runtime, **where}
        began = time.perf_counter()
        with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            line = process.stdout.readline()
            seconds = time.perf_counter() - began
        if process.returncode:
            raise RuntimeError(f"{how} could not load {self.key}")
        said = json.loads(line)
        return Start(seconds, said["cpu"], said["peak"], 0)

    def raw(self, port: int) -> float:
        """Fetch the same bytes with the raw client; return the seconds."""
        files = [
            (f"/{BUCKET}/{self.key}/{self.name}/{file['name']}", file["size"])
            for file in self.manifest["files"].values()
        ]
        return _timed(floor.raw_get(self.lab.raw_get, port, files), {})

    def imports(self, *modules: str) -> float:
        """Import the model's libraries (or these) in a fresh process, and nothing else; return the seconds."""
        command = environment.imports(self.lab.python, modules or self.manifest["modules"])
        return _timed(command, {"PATH": os.environ["PATH"], "PYTHONPATH": self.lab.runtime})

    def turns(self, port: int, where: Mapping[str, str], names: Sequence[str]) -> dict[str, list[Any]]:
        """Let contenders take their turns: ours, raw, imports, folder, and peers by their names."""
        known = {
            "ours": partial(self.ours, where),
            "raw": partial(self.raw, port),
            "imports": self.imports,
            "folder": self.from_folder,
        }
        return measuring.interleaved(
            {name: known.get(name) or partial(self.peer, name, where) for name in names}, self.lab.rounds
        )


def _timed(command: Sequence[str], environ: Mapping[str, str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, env=dict(environ), cwd="/", check=True)
    return time.perf_counter() - began
