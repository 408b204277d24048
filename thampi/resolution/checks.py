"""What is wrong with an answer before anything is built from it: versions that can't read the model, and its size."""

from collections.abc import Callable, Collection, Mapping, Sequence

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from thampi.errors import BuildError, ConfigError
from thampi.resolution.resolved import Distribution, Resolved

# What a saved model can't cross, by how much of the version: arrays of numpy 2 can't be read by numpy 1, and
# scikit-learn promises nothing between its releases (https://scikit-learn.org/stable/model_persistence.html).
_STRICT = {"numpy": (1, "numpy's major version"), "scikit-learn": (2, "scikit-learn's version")}
# Distributions that bring the same modules: what was imported from one may come from another.
_SAME = (
    {"opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless"},
    {"tensorflow", "tensorflow-cpu", "tensorflow-intel", "tensorflow-macos", "tensorflow-cpu-aws"},
    {"onnxruntime", "onnxruntime-gpu", "onnxruntime-silicon", "onnxruntime-openvino"},
    {"psycopg2", "psycopg2-binary"},
    {"xgboost", "xgboost-cpu"},
    {"faiss-cpu", "faiss-gpu", "faiss-gpu-cu12"},
    {"pillow", "pillow-simd"},
    {"polars", "polars-lts-cpu"},
)
_LIMIT_BYTES = 10 * 1000**3  # of an image: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
_UNPACKED = 2.5  # times what is downloaded: numpy, scipy, torch and the CUDA libraries lie between 2.2 and 3.4


def size(resolved: Resolved, platform: str) -> list[str]:
    """Raise BuildError when the libraries can't fit into what Lambda takes; return a note when they may not."""
    total = sum(each.size for each in resolved.distributions)
    largest = sorted(resolved.distributions, key=lambda each: -each.size)[:3]
    named = ", ".join(f"{each.name} {each.size / 1e9:.1f} GB" for each in largest)
    if total > _LIMIT_BYTES:
        raise BuildError(
            f"the libraries for {platform} are {total / 1e9:.1f} GB to download ({named}), and an image may have 10 GB",
            hint="leave out what the model does not need; libraries for a GPU have builds for the CPU",
        )
    if total * _UNPACKED > _LIMIT_BYTES:
        return [
            f"the libraries are {total / 1e9:.1f} GB to download ({named}): an image over 10 GB is refused by Lambda"
        ]
    return []


def wheels(resolved: Resolved, platform: str) -> list[str]:
    """Return a note that names what will be built inside the image."""
    names = [f"{each.name} {each.version}" for each in resolved.distributions if not each.has_wheel]
    if not names:
        return []
    have = "has" if len(names) == 1 else "have"
    return [
        f"{', '.join(names)} {have} no wheel for {platform} and this Python, and will be built in the image; compiled "
        'code needs a compiler there: [build] apt = ["build-essential"]'
    ]


def versions(
    resolved: Resolved,
    recorded: Mapping[str, str],
    title: str,
    *,
    needed: Callable[[], Collection[str]] = tuple,
    is_conda: bool = False,
) -> list[str]:
    """Compare with what the model was saved with (`recorded`, by name); return notes.

    `needed` tells which of those the pickle itself imports; the others are named somewhere in the model's code, which
    may never get there. Raises ConfigError, with the line to write, when the model could not be read with what would be
    installed.
    """
    installed = {each.name: each for each in resolved.distributions}
    wrong: list[str] = []
    lines: list[str] = []
    other: list[str] = []
    unknown: list[str] = []
    for name, saved in ((canonicalize_name(name), version) for name, version in sorted(recorded.items())):
        found = _find(installed, name)
        if found is None:
            unknown.append(name)
            continue
        if not found.version or _is_same(found.version, saved):
            continue
        digits, what = _STRICT.get(name, (0, ""))
        if digits and _release(found.version, digits) != _release(saved, digits):
            wrong.append(
                f"the model was saved with {name} {saved}, and the image would have {found.version}: {what} counts"
            )
            lines.append(_line(name, saved, is_conda=is_conda))
        else:
            other.append(f"{name} {found.version} ({saved})")
    if unknown and not is_conda:
        imported = {canonicalize_name(name) for name in needed()}
        absent = [name for name in unknown if name in imported]
        wrong += [f"the model imports {name}, which {title} does not install" for name in absent]
        lines += [_line(name, recorded_of(recorded, name), is_conda=False) for name in absent]
    if wrong:
        raise ConfigError("\n".join(wrong), hint=f"write in {title}: {', '.join(lines)}")
    notes = [f"other versions than the model was saved with (in brackets): {', '.join(other)}"] if other else []
    if unknown:
        where = "found among conda's packages" if is_conda else f"installed by {title}"
        notes.append(f"the model's code names what is not {where}: {', '.join(unknown)}")
    return notes


def recorded_of(recorded: Mapping[str, str], name: str) -> str:
    """Return the version that a bundle recorded for a canonical name."""
    return next(version for each, version in recorded.items() if canonicalize_name(each) == name)


def _find(installed: Mapping[str, Distribution], name: str) -> Distribution | None:
    if name in installed:
        return installed[name]
    same: Sequence[str] = [other for group in _SAME if name in group for other in sorted(group)]
    return next((installed[other] for other in same if other in installed), None)


def _line(name: str, version: str, *, is_conda: bool) -> str:
    return f"{name}{'=' if is_conda else '=='}{version.partition('+')[0]}"


def _is_same(version: str, saved: str) -> bool:
    """Compare without the build: 2.9.0+cpu and 2.9.0+cu130 read the same models."""
    try:
        return Version(Version(version).public) == Version(Version(saved).public)
    except InvalidVersion:
        return version == saved


def _release(version: str, digits: int) -> tuple[int, ...] | str:
    try:
        release = Version(version).release
    except InvalidVersion:
        return version
    return (*release, 0, 0)[:digits]
