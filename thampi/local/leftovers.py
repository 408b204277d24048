"""Folders of ours that can be made again, or that a run which was killed has left."""

import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from thampi import liveness
from thampi.local import cache, installation

_DAY_S = 86_400
_STAGED = ("thampi-build-*",)  # what a build stages, in the folder for temporary files


def find(environ: Mapping[str, str], *, temporary: Path | None = None) -> list[Path]:
    """Name the environments but the local AWS's current one, and what is staged for longer than a day."""
    home = cache.folder(environ)
    venvs = [each for each in home.glob("venvs/*") if not each.name.startswith(".aside-")]
    clouds = [each for each in home.glob("local-aws/*") if each.name not in (installation.digest(),)]
    clouds = [each for each in clouds if not each.name.startswith(".aside-")]
    asides = [each for each in home.glob("*/.aside-*") if _is_dead(each)]
    staged = [each for pattern in _STAGED for each in (temporary or Path(tempfile.gettempdir())).glob(pattern)]
    return [*venvs, *clouds, *asides, *(each for each in staged if _is_old(each))]


def remove(folders: Sequence[Path]) -> list[Path]:
    """Delete folders, and return those that are gone."""
    for each in folders:
        shutil.rmtree(each, ignore_errors=True)
    return [each for each in folders if not each.exists()]


def _is_dead(aside: Path) -> bool:
    """Say whether the process of this machine that made it is gone; of another machine's nobody knows."""
    owner = aside.name.removeprefix(cache.aside_prefix()).partition("-")[0]
    return aside.name.startswith(cache.aside_prefix()) and owner.isdigit() and not liveness.is_alive(int(owner))


def _is_old(folder: Path) -> bool:
    try:
        return time.time() - folder.stat().st_mtime > _DAY_S
    except OSError:
        return False
