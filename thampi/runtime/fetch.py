"""Bytes of a bundle from a folder or from S3 into their final place, each part checked before anyone sees it.

Threads read the files in ranges, the pickle first, while the one who wants the model unpickles what has come. Where
names and sizes of the files are known beforehand, all ranges are asked for at once with thampi.json, and their bytes
wait in the network until it has come and says where they belong: a small model costs one round trip.
"""

import hashlib
import io
import os
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

from thampi.errors import BundleError
from thampi.runtime import bundle, codec, folder, s3
from thampi.runtime.arrival import Arrival
from thampi.runtime.bundle import About
from thampi.runtime.decompressing import Decompressors
from thampi.runtime.places import Buffers, PickleStream
from thampi.runtime.s3 import Prefix

Source: TypeAlias = Path | Prefix

_MIB = 1024 * 1024
_SHORTEST, _LONGEST = _MIB, 8 * _MIB  # of a range; twice its connections are enough of them


def check(source: Source, about: About) -> None:
    """Raise BundleError when a file of the bundle isn't there in full, before anything of it is used."""
    if isinstance(source, Prefix):  # the manifest was uploaded last, and each part has its hash: no request for this
        return
    for known in about.files.values():
        with folder.open_file(source, known.name) as file:
            size = file.seek(0, io.SEEK_END)
        if size != known.size:
            raise BundleError(
                f"the saved model in {source} is damaged: {known.name} has {size} bytes, and {known.size} were saved",
                hint="copy it again from where it was saved, or save it again",
            )


def begin(
    source: Source, *, sha256: str = "", files: Mapping[str, int] | None = None, about: About | None = None
) -> "Fetch":
    """Begin to read a bundle, and return at once.

    `sha256` vouches for thampi.json; `files` are the names and sizes of the data files, where they are known; `about`
    is the thampi.json, where it has been read already.
    """
    return Fetch(source, sha256, files or {}, about)


class Fetch:
    """A bundle on its way. What keeps it from coming is raised to whoever waits for it."""

    def __init__(self, source: Source, sha256: str, files: Mapping[str, int], about: About | None) -> None:
        self._source, self._sha256, self._expected = source, sha256, dict(files)
        self._began = self._ended = time.perf_counter()
        self._changed = threading.Condition()
        self._known: _Known | None = None
        self._failure: BaseException | None = None
        self._stopped = False
        self._ranges: deque[_Range] = deque()
        self._readers: list[folder.Reader | s3.Reader] = []
        self._decompressors = Decompressors()
        if about is not None:
            self._know(about)
        elif isinstance(source, Prefix):
            self._ranges.extend(_ranges(self._expected))
        self._start(learning=about is None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.cancel()

    def about(self) -> About:
        """Return what is known of the bundle, as soon as its thampi.json is there."""
        return self._when_known().about

    def pickle(self) -> PickleStream:
        """Return the in-band pickle as a file that can be read while it comes."""
        return self._when_known().stream

    def buffers(self) -> Iterator[memoryview]:
        """Yield the out-of-band buffers in order, each as soon as it is there."""
        known = self._when_known()
        if known.mapped:
            assert isinstance(self._source, Path)
            with folder.open_file(self._source, known.about.files["buffers"].name) as file:
                yield from known.buffers.map(known.wait_for_buffers, file)
        else:
            yield from known.buffers.take(known.wait_for_buffers)

    def cancel(self) -> None:
        """Give up what is still under way; without effect on what has come."""
        self._stop(BundleError("the loading was cancelled", hint=None))

    def figures(self) -> tuple[int, float, float, int, int]:
        """Return the bytes of the files, the seconds until the last of them was there, those that were waited for
        while unpickling, the number of requests, and of those that were made again.
        """
        arrivals = list(self._known.arrivals.values()) if self._known else []
        return (
            sum(arrival.size for arrival in arrivals),
            self._ended - self._began,
            sum(arrival.waited_s for arrival in arrivals),
            sum(reader.requests for reader in self._readers),
            sum(reader.retries for reader in self._readers),
        )

    def _start(self, *, learning: bool = False) -> None:
        """Start as many threads as there is work for; the first of them reads thampi.json before all else."""
        most = s3.CONNECTIONS if isinstance(self._source, Prefix) else folder.READERS
        for number in range(len(self._readers), min(most, len(self._ranges) + len(self._readers) + learning)):
            reader = self._source.reader() if isinstance(self._source, Prefix) else folder.Reader(self._source)
            self._readers.append(reader)
            words = (reader, learning and not number)
            threading.Thread(target=self._work, args=words, name=f"fetch-{number}", daemon=True).start()

    def _work(self, reader: folder.Reader | s3.Reader, learning: bool) -> None:
        try:
            with self._decompressors.used():
                if learning:
                    self._learn(reader)
                while not self._stopped and (each := self._take()) is not None:
                    reader.read(each.name, each.size, each.begin, each.end, _WhenKnown(self, each.name))
                    self._ended = time.perf_counter()
        except BaseException as error:
            self._stop(error)
        finally:
            reader.close()

    def _take(self) -> "_Range | None":
        try:
            return self._ranges.popleft()
        except IndexError:
            return None

    def _learn(self, reader: folder.Reader | s3.Reader) -> None:
        manifest = reader.whole(bundle.MANIFEST)
        where = f"{self._source}/{bundle.MANIFEST}"
        if self._sha256 and hashlib.sha256(manifest).hexdigest() != self._sha256:
            raise BundleError(
                f"{where} is not the one that was released",
                hint="push the model again: nothing is unpickled that the release does not vouch for",
            )
        about = bundle.parse(manifest, where)
        started = isinstance(self._source, Prefix) and bool(self._expected)
        if started and self._expected != {file.name: file.size for file in about.files.values()}:
            raise BundleError(f"{where} names other files than the release does", hint="push the model again")
        self._know(about, plan=not started)
        if not started:
            check(self._source, about)
            self._start()

    def _know(self, about: About, *, plan: bool = True) -> None:
        known = _Known(about, self._source, self._decompressors)
        if plan:
            self._ranges.extend(_ranges({name: arrival.size for name, arrival in known.arrivals.items()}))
        with self._changed:
            self._known = known
            if self._failure is not None:
                known.fail(self._failure)
            self._changed.notify_all()

    def _when_known(self) -> "_Known":
        with self._changed:
            while self._known is None:
                if self._failure is not None:
                    raise self._failure
                self._changed.wait()
            return self._known

    def _stop(self, why: BaseException) -> None:
        with self._changed:
            self._stopped = True
            self._failure = self._failure or why
            if self._known is not None:
                self._known.fail(self._failure)
            self._changed.notify_all()
        if isinstance(self._source, Prefix):
            self._source.stop()


@dataclass(frozen=True)
class _Range:
    """A piece of a file that one request asks for."""

    name: str
    size: int  # of the file
    begin: int
    end: int


def _ranges(files: Mapping[str, int]) -> list[_Range]:
    """Return the ranges to read of files of these sizes, in the order of need: the pickle first, then the buffers."""
    total = sum(files.values())
    # 16 connections with two ranges each, of which none is so short that asking takes longer than receiving. A power
    # of two of MiB, so that a range of what isn't compressed is a number of whole parts, or a fraction of one.
    length = min(max(1 << (total // 32 - 1).bit_length(), _SHORTEST), _LONGEST) if total else _SHORTEST
    return [
        _Range(name, size, begin, min(begin + length, size))
        for name, size in sorted(files.items(), key=lambda file: not file[0].endswith(".pkl"))
        for begin in range(0, size, length)
    ]


class _Known:
    """What thampi.json tells of where the bytes belong."""

    def __init__(self, about: About, source: Source, decompressors: Decompressors) -> None:
        self.about = about
        parts = {role: about.parts_of(role) for role in about.files}
        self.stream = PickleStream(parts.get("pickle", []))
        self.buffers = Buffers(about.buffers, parts.get("buffers", []))
        self.mapped = isinstance(source, Path) and _may_be_mapped(source, about)
        rooms = {"pickle": self.stream.room, "buffers": None if self.mapped else self.buffers.room}
        self.arrivals = {
            file.name: Arrival(parts[role], rooms[role], str(source), decompressors.fill)
            for role, file in about.files.items()
        }
        if "pickle" in about.files:
            self.stream.begin(self.arrivals[about.files["pickle"].name].wait_for)

    def wait_for_buffers(self, number: int) -> None:
        """Return when a part of the buffers is there."""
        self.arrivals[self.about.files["buffers"].name].wait_for(number)

    def fail(self, failure: BaseException) -> None:
        """Have all who wait for a part raise this."""
        for arrival in self.arrivals.values():
            arrival.fail(failure)


class _WhenKnown:
    """Where the bytes of a file go; known only when thampi.json is."""

    def __init__(self, fetch: Fetch, name: str) -> None:
        self._fetch, self._name = fetch, name

    def views(self, begin: int, end: int) -> list[memoryview]:
        return self._fetch._when_known().arrivals[self._name].views(begin, end)

    def arrived(self, begin: int, end: int) -> None:
        self._fetch._when_known().arrivals[self._name].arrived(begin, end)


def _may_be_mapped(source: Path, about: About) -> bool:
    """Say whether the buffers can be used in place: not compressed, and in a file that we could not even change.

    So it is in an image, and in a folder that is mounted read-only. What can be written may be cut off under us.
    """
    if "buffers" not in about.files or any(part.codec != codec.NONE for part in about.parts_of("buffers")):
        return False
    return not os.access(source / about.files["buffers"].name, os.W_OK)
