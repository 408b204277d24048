"""requirements / environment.yml / pyproject / uv.lock / what a model imports -> what the image is asked to have.

Reading only: nothing is resolved here, nothing is fetched, and no index is asked.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from thampi.dependencies import other_files, project_file, record, requirements, text_file, uv_lock
from thampi.dependencies.wanted import Dependencies
from thampi.errors import ConfigError

__all__ = ["Dependencies", "read"]


def read(
    file: Path | None,
    recorded: Mapping[str, str],
    *,
    environ: Mapping[str, str],
    project_dir: Path,
    extras: Sequence[str] = (),
) -> Dependencies:
    """Return what the image is asked to have: what `file` says, or else the distributions of the bundle, pinned.

    `recorded` is what the model imports, by name; `extras` are those of a pyproject.toml or uv.lock; pip's and uv's
    configuration are read from `environ`, the user's folders and `project_dir`. cloudpickle is added in the bundle's
    version when nothing names it: without it the pickle can't be read.

    Raises ConfigError with every mistake of all files at once, each with its file and line.
    """
    has_extras = file is not None and (file.suffix == ".toml" or file.name == "uv.lock")
    if extras and not has_extras:
        raise ConfigError(
            f"build.extras is {', '.join(extras)}, and {file.name if file else 'what the model imports'} has no extras",
            hint="take build.extras out of thampi.toml, or name the file that has them, pyproject.toml or uv.lock",
        )
    told: dict[str, Any] = {"environ": environ, "project_dir": project_dir}
    if file is None:
        return record.read(recorded, **told)
    text = text_file.read(file)
    other_files.check(file, text)
    if other_files.is_conda(text) or file.suffix in (".yml", ".yaml"):
        from thampi.dependencies import environment_file  # needs a YAML parser, which nobody else waits for

        return environment_file.read(file, text, recorded, **told)
    if file.suffix == ".toml":
        return project_file.read(file, text, recorded, extras=extras, **told)
    if file.name == "uv.lock":
        return uv_lock.read(file, text, recorded, extras=extras, **told)
    return requirements.read(file, text, recorded, **told)
