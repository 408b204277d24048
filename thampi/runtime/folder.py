"""Files of a bundle in a folder, read in ranges as those of S3 are, by a few threads that hash meanwhile."""

import io
import os
from pathlib import Path

from thampi.errors import BundleError
from thampi.runtime import bundle
from thampi.runtime.s3 import Into

READERS = min(4, os.cpu_count() or 1)  # reading from the page cache and hashing use a processor each


def open_file(folder: Path, name: str) -> io.FileIO:
    """Open a data file for unbuffered reading; raise BundleError when it can't be read."""
    path = folder / name
    try:
        return path.open("rb", buffering=0)
    except OSError as error:
        raise BundleError(
            f"{path} is missing from the saved model ({error.strerror})",
            hint="save the model again, or copy the whole folder",
        ) from error


class Reader:
    """Reads files of one folder. Not for two threads at once."""

    requests = retries = 0  # a folder needs none

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, io.FileIO] = {}

    def whole(self, name: str) -> bytes:
        """Return thampi.json; raise BundleError when there is none."""
        assert name == bundle.MANIFEST
        return bundle.read_manifest(self._folder)

    def read(self, name: str, size: int, begin: int, end: int, into: Into) -> None:
        """Read the bytes from `begin` to `end` of a file; raise BundleError when it has fewer."""
        file = self._files.get(name) or self._files.setdefault(name, open_file(self._folder, name))
        file.seek(begin)
        place = begin
        while place < end:
            for view in into.views(place, end):
                came = 0
                while came < len(view):
                    count = file.readinto(view[came:])
                    if not count:
                        raise BundleError(
                            f"the saved model in {self._folder} is damaged: {name} ends too early, at byte {place}",
                            hint="copy it again from where it was saved, or save it again",
                        )
                    came += count
                del view  # the last one to hold it may be whoever it was for
                into.arrived(place, place + came)
                place += came

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()
        self._files.clear()
