"""Which modules of the project ship as files (`build.include`), so that the pickle only names them."""

import tomllib
from pathlib import Path

SETTINGS = "thampi.toml"


def project_folder(start: Path) -> Path | None:
    """Return the nearest folder, from `start` upwards, that has a thampi.toml."""
    return next((folder for folder in (start, *start.parents) if (folder / SETTINGS).is_file()), None)


def shipped_modules(start: Path) -> tuple[str, ...]:
    """Return the names of the modules under `build.include`; none without a project, or with a broken thampi.toml."""
    return tuple(".".join(path.with_suffix("").parts) for path in shipped_paths(start))


def shipped_paths(start: Path) -> tuple[Path, ...]:
    """Return the paths under `build.include`, as they are written: from the project's folder.

    A mistake in thampi.toml is for the command line to report: saving a model must not fail for it.
    """
    folder = project_folder(start.resolve())
    if folder is None:
        return ()
    try:
        include = tomllib.loads((folder / SETTINGS).read_text("utf-8")).get("build", {}).get("include", ())
        paths = [Path(entry) for entry in include] if isinstance(include, list) else []
    except (OSError, ValueError, TypeError, AttributeError):
        return ()
    return tuple(path for path in paths if path.parts and not path.is_absolute() and ".." not in path.parts)
