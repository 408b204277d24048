"""Without a dependency file: what the bundle recorded, which is what the model imports, pinned."""

from collections.abc import Mapping
from pathlib import Path

from packaging.utils import canonicalize_name

from thampi.dependencies import ours, requirements
from thampi.dependencies.mistakes import Mistakes
from thampi.dependencies.requirements_file import Line
from thampi.dependencies.wanted import Dependencies
from thampi.errors import ConfigError

TITLE = "what the saved model imports"


def pins(recorded: Mapping[str, str]) -> tuple[str, ...]:
    """Return the recorded distributions as lines of a requirements file.

    Raises ConfigError when there are none, which only bundles of thampi 0.1.0 are.
    """
    if not recorded:
        raise ConfigError(
            "the saved model does not say what it needs, and there is no dependency file",
            hint='write a requirements.txt and name it in thampi.toml: [build] dependency_file = "requirements.txt"',
        )
    # 2.5.1+cpu is a build that only an index of its own has; 2.5.1 is that one, too, and can be had anywhere.
    return tuple(
        f"{name}=={version.partition('+')[0]}"
        for name, version in recorded.items()
        if canonicalize_name(name) != ours.NAME
    )


def read(recorded: Mapping[str, str], *, environ: Mapping[str, str], project_dir: Path) -> Dependencies:
    """Return the recorded distributions, to be looked for where pip's and uv's configuration say."""
    lines = [Line(Path(TITLE), number, pin, pin) for number, pin in enumerate(pins(recorded), 1)]
    return requirements.assemble(lines, recorded, Mistakes(), environ=environ, project_dir=project_dir, title=TITLE)
