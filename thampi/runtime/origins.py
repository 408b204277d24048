"""Where modules come from: the standard library, an installed distribution, or the user's own project.

What is installed can be installed again in the image; what is the project's own has to go into the pickle.
"""

import contextlib
import functools
import inspect
import site
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from types import ModuleType

_OURS = "thampi"


def project_modules() -> Iterator[ModuleType]:
    """Yield the imported modules that no installation will bring back, and that a pickle can carry."""
    for name, module in list(sys.modules.items()):
        # Under an alias, or made by a library for itself: nothing would look for it by this name.
        if not isinstance(module, ModuleType) or module.__name__ != name:
            continue
        if name == "__main__" or _top(name) in sys.stdlib_module_names | {_OURS}:
            continue
        file = _file_of(module)
        if file and file.suffix not in (".so", ".pyd") and not _is_installed(name, file):
            yield module


def with_parents(name: str) -> list[str]:
    """Return a module's name and those of the packages that it is in: `a.b` gives `a` and `a.b`."""
    parts = name.split(".")
    return [".".join(parts[:depth]) for depth in range(1, len(parts) + 1)]


def importable_elsewhere(name: str) -> bool:
    """Say whether a module's name is one to import (and to install) where the model will run."""
    if not name or _top(name) in sys.stdlib_module_names | {"__main__", "__mp_main__", _OURS}:
        return False
    # Without a spec it was never imported: Cython keeps such modules (`_cython_3_1_0`) for its own types.
    return getattr(sys.modules.get(name), "__spec__", None) is not None


def installed_path(path: Iterable[str]) -> list[str]:
    """Return the entries of `sys.path` that are installations: what a fresh process elsewhere would have, too."""
    entries = [Path(entry).absolute() for entry in path if entry]
    return [str(entry) for entry in entries if entry.suffix == ".zip" or _is_installation(entry)]


def distributions_of(modules: Iterable[str]) -> dict[str, str]:
    """Return name and version of the distributions that bring the modules; what belongs to none is left out."""
    providers = _providers(tuple((entry, _changed(entry)) for entry in sys.path))
    found: dict[str, str] = {}
    for module in modules:
        candidates = list(dict.fromkeys(providers.get(_top(module), ())))
        if len(candidates) > 1:  # a namespace like `google`: the one that has the file
            candidates = [name for name in candidates if _has_module(name, module)] or candidates
        for name in candidates:
            # What an interrupted `pip install` left behind has no name, or no version.
            with contextlib.suppress(ValueError, metadata.PackageNotFoundError):
                if name != _OURS:
                    found[name] = metadata.version(name)
    return dict(sorted(found.items(), key=lambda pair: pair[0].lower()))


@functools.lru_cache(maxsize=1)
def _providers(_path: tuple[tuple[str, int], ...]) -> Mapping[str, list[str]]:
    """Return which distributions bring which top-level modules: slow, so once for a path that doesn't change.

    As metadata.packages_distributions() does, in a third of the time: it makes an object of every file's path.
    """
    found: dict[str, list[str]] = {}
    for distribution in metadata.distributions():
        for top in _top_levels(distribution):
            found.setdefault(top, []).append(distribution.metadata["Name"])
    return found


def _top_levels(distribution: metadata.Distribution) -> set[str]:
    said = (distribution.read_text("top_level.txt") or "").split()
    if said:
        return set(said)
    record = distribution.read_text("RECORD")
    if record is None:  # not from a wheel
        files = [str(file) for file in distribution.files or ()]
    else:
        files = [line.partition(",")[0] for line in record.splitlines()]
    tops = {file.partition("/")[0] if "/" in file else inspect.getmodulename(file) for file in files}
    return {top for top in tops if top and "." not in top}


def _changed(folder: str) -> int:
    try:
        return Path(folder).stat().st_mtime_ns  # what an installation in it moves
    except OSError:
        return 0


def _top(name: str) -> str:
    return name.partition(".")[0]


def _file_of(module: ModuleType) -> Path | None:
    file = getattr(module, "__file__", None)
    if file:
        return Path(file)
    folder = next(iter(getattr(module, "__path__", ())), None)  # a package without __init__.py
    return Path(folder, "__init__.py") if folder else None


def _is_installed(name: str, file: Path) -> bool:
    """A module is installed when the folder that its top-level package lies in is an installation."""
    depth = name.count(".") + (1 if file.stem == "__init__" else 0)
    # Resolved or not: some installers fill site-packages with links to a store of theirs.
    return any(
        depth < len(path.parents) and _is_installation(path.parents[depth])
        for path in (file.absolute(), file.resolve())
    )


@functools.cache
def _is_installation(folder: Path) -> bool:
    folder = folder.resolve()
    if any(folder.is_relative_to(known) for known in _known_installations()):
        return True
    # What `pip install --target` filled, and the library folders of hosted notebooks.
    return folder.is_dir() and next(folder.glob("*.dist-info"), None) is not None


@functools.cache
def _known_installations() -> tuple[Path, ...]:
    paths = [sysconfig.get_path(kind) for kind in ("stdlib", "platstdlib", "purelib", "platlib")]
    paths += [*site.getsitepackages(), site.getusersitepackages()]
    return tuple(Path(path).resolve() for path in paths if path)


def _has_module(distribution: str, module: str) -> bool:
    path = module.replace(".", "/")
    wanted = {f"{path}.py", f"{path}/__init__.py"}
    files = [str(file).replace("\\", "/") for file in metadata.files(distribution) or ()]
    return any(file in wanted or (file.startswith(f"{path}.") and file.endswith((".so", ".pyd"))) for file in files)
