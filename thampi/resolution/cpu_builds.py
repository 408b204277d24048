"""torch without CUDA: Lambda has no GPU, and what CUDA brings is most of an image's size."""

from collections.abc import Sequence
from pathlib import Path

from packaging.tags import Tag
from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import Version

from thampi.dependencies.wanted import Dependencies, Indexes
from thampi.resolution import failures, fetched
from thampi.resolution.pylock import Chosen

INDEX = "https://download.pytorch.org/whl/cpu"  # https://pytorch.org/get-started/locally/
_OF_CUDA = ("nvidia-", "cuda-", "triton", "pytorch-triton")
_BUILDS = ("torch", "torchvision", "torchaudio")


def has_cuda(chosen: Sequence[Chosen]) -> bool:
    """Say whether libraries for a GPU would be installed."""
    return any(is_of_cuda(each.name) for each in chosen)


def is_of_cuda(line: str) -> bool:
    """Say whether a requirement, or a name, is of a library for a GPU."""
    name = line.lower().replace("_", "-")
    return name.startswith(_OF_CUDA) and not name.startswith("nvidia-ml-py")  # which only asks whether there is one


def would_help(chosen: Sequence[Chosen], dependencies: Dependencies) -> bool:
    """Say whether torch brings CUDA and nobody chose that: no index of PyTorch's, no build, no URL."""
    torch = next((each for each in chosen if each.name == "torch"), None)
    if torch is None or torch.is_url or torch.source or "+" in torch.version or not has_cuda(chosen):
        return False
    indexes = dependencies.indexes
    places = (indexes.index_url or "", *indexes.extra_index_urls, *indexes.find_links)
    return not any("pytorch.org" in place for place in places)


def local_pins(find_links: Sequence[str], fitting: Sequence[Tag]) -> list[str]:
    """Return constraints for the newest CPU builds that folders of this machine have for the image."""
    found: dict[str, Version] = {}
    for folder in (Path(place) for place in find_links if "://" not in place and Path(place).is_dir()):
        for file in folder.glob("torch*+cpu*.whl"):
            try:
                name, version, _, tags = parse_wheel_filename(file.name)
            except InvalidWheelFilename:
                continue
            if name in _BUILDS and tags & set(fitting):
                found[name] = max(version, found.get(name, version))
    return [f"{name}=={version}" for name, version in found.items()] if "torch" in found else []


def saved_note(before: Sequence[Chosen], after: Sequence[Chosen], indexes: Indexes, left_out: Sequence[str]) -> str:
    """Say what was taken instead, how much that saves, and which lines were left out for it."""
    torch = next(each for each in after if each.name == "torch")
    saved = (_bytes(before, indexes) - _bytes(after, indexes)) // 1_000_000
    said = f": {saved} MB less to download" if saved > 0 else ""
    said += f"; left out: {', '.join(left_out)}" if left_out else ""
    return f"torch {torch.version}, the build for the CPU, instead of the one for CUDA, which Lambda can't use{said}"


def kept_note(chosen: Sequence[Chosen], index: str, refused: str, indexes: Indexes) -> str:
    """Say that CUDA comes along, how large it is, and how to do without."""
    size = _bytes([each for each in chosen if is_of_cuda(each.name)], indexes) // 1_000_000
    large = f", {size} MB to download" if size else ""
    why = "could not be reached" if not refused or failures.is_unreachable(refused) else "has no build that fits"
    return (
        f"torch brings CUDA along{large}, which Lambda can't use: {index}, which has the builds for the CPU, {why}. "
        f"Name an index that has them in the dependency file (--extra-index-url …), or a wheel: torch @ file:///…+cpu….whl"
    )


def _bytes(chosen: Sequence[Chosen], indexes: Indexes) -> int:
    files = [each.file for each in chosen if each.file is not None]
    unknown = [file.url for file in files if not file.size and file.path is None]
    asked = fetched.sizes(unknown, indexes) if unknown else {}
    return sum(file.size or asked.get(file.url, 0) or file.size_here for file in files)
