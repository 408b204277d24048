"""Where modules come from: the standard library, an installed distribution, or the user's own project.

What is installed can be installed again in the image; what is the project's own has to go into the pickle.
"""

import functools
import site
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from types import ModuleType

_OURS = "thampi"


def project_modules() -> Iterator[ModuleType]:
    """Yield the imported modules that no installation will bring back."""
    for name, module in list(sys.modules.items()):
        if name in ("__main__", "__mp_main__") or _top(name) in sys.stdlib_module_names | {_OURS}:
            continue
        file = getattr(module, "__file__", None)
        if isinstance(module, ModuleType) and file and not _is_installed(name, Path(file)):
            yield module


def importable_elsewhere(name: str) -> bool:
    """Say whether a module's name is one to import (and to install) where the model will run."""
    if not name or _top(name) in sys.stdlib_module_names | {"__main__", "__mp_main__", _OURS}:
        return False
    # Without a spec it was never imported: Cython keeps such modules (`_cython_3_1_0`) for its own types.
    return getattr(sys.modules.get(name), "__spec__", None) is not None


def installed_path(path: Iterable[str]) -> list[str]:
    """Return the entries of `sys.path` that are installations: what a fresh process elsewhere would have, too."""
    return [entry for entry in path if entry and (entry.endswith(".zip") or _is_installation(Path(entry)))]


def distributions_of(modules: Iterable[str]) -> dict[str, str]:
    """Return name and version of the distributions that bring the modules; what belongs to none is left out."""
    providers = metadata.packages_distributions()
    found: dict[str, str] = {}
    for module in modules:
        candidates = list(dict.fromkeys(providers.get(_top(module), ())))
        if len(candidates) > 1:  # a namespace like `google`: the one that has the file
            candidates = [name for name in candidates if _has_module(name, module)] or candidates
        for name in candidates:
            if name != _OURS:
                found[name] = metadata.version(name)
    return dict(sorted(found.items(), key=lambda pair: pair[0].lower()))


def _top(name: str) -> str:
    return name.partition(".")[0]


def _is_installed(name: str, file: Path) -> bool:
    """A module is installed when the folder that its top-level package lies in is an installation."""
    depth = name.count(".") + (1 if file.stem == "__init__" else 0)
    parents = file.resolve().parents
    return depth < len(parents) and _is_installation(parents[depth])


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
