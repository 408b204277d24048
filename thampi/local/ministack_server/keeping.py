"""What outlives the process: all of it, also when the process is killed.

ministack writes its state when it ends, and the layers of all images into one file of it. Here they are files from
the start, and the rest is written soon after each change.
"""

import asyncio
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

_SOON_S = 0.5
_READING = ("GET", "HEAD", "OPTIONS")
_ONLY_USING = ("/_aws/", "/_ministack/")


class Layers(dict[str, Any]):
    """Blobs by digest, each in a file; where ministack writes them down as JSON it finds their sizes."""

    def __init__(self, folder: Path, sizes: Mapping[str, int]) -> None:
        """Know the blobs of `sizes`, which lie in the folder already."""
        super().__init__(sizes)
        self._folder = folder

    def __setitem__(self, digest: str, blob: bytes) -> None:
        path = self._path(digest)
        if not path.exists():
            handle, aside = tempfile.mkstemp(dir=self._folder, prefix=".")
            with os.fdopen(handle, "wb") as file:
                file.write(blob)
            Path(aside).replace(path)
        super().__setitem__(digest, len(blob))

    def __getitem__(self, digest: str) -> bytes:
        super().__getitem__(digest)
        return self._path(digest).read_bytes()

    def get(self, digest: str, default: Any = None) -> Any:
        """Return a blob; one whose file is gone was never pushed, so the next push brings it again."""
        try:
            return self[digest]
        except (KeyError, FileNotFoundError):
            return default

    def __deepcopy__(self, memo: Any) -> dict[str, int]:
        return dict(self.items())

    def _path(self, digest: str) -> Path:
        return self._folder / digest.replace(":", "-")


def keep_layers_in_files(registry_service: Any, scoped: type[Any], folder: Path) -> None:
    """Have the registry keep its layers in files; `scoped` is the dict by account and region that it has them in."""
    folder.mkdir(parents=True, exist_ok=True)

    class Repositories(scoped):  # type: ignore[misc]
        __slots__ = ()

        def setdefault(self, key: str, default: Any = None) -> Any:
            return super().setdefault(key, Layers(folder, default or {}))

        def update(self, other: Any) -> None:
            super().update(other)
            self._data.update({key: Layers(folder, sizes) for key, sizes in self._data.items()})

    registry_service._layer_blobs = Repositories()


def changes(method: str, path: str) -> bool:
    """Say whether a request may change the state; a prediction doesn't, it only leaves lines in the log."""
    return method not in _READING and not path.startswith(_ONLY_USING) and not path.endswith("/invocations")


async def save_after_changes(
    changed: asyncio.Event, states: Callable[[], Mapping[str, Callable[[], Any]]], save: Callable[..., None]
) -> None:
    """Write the state down soon after each change, until cancelled; what is being written then is written whole."""
    while True:
        await changed.wait()
        await asyncio.sleep(_SOON_S)
        changed.clear()
        # Copied here, where no request is in the middle of a change, and written beside the requests that follow.
        copies = {name: _copy_of(state) for name, state in states().items()}
        writing = asyncio.ensure_future(asyncio.to_thread(save, copies))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            await writing
            raise


def _copy_of(state: Callable[[], Any]) -> Callable[[], Any]:
    try:
        copy = state()
    except RuntimeError:  # a thread of it was adding something; None is passed over, and the next change saves it
        copy = None
    return lambda: copy
