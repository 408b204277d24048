"""Remove from installed libraries what no endpoint runs: their test suites and type stubs. `trim.py SITE_PACKAGES`.

A folder called `tests` stays when its own library imports it (astropy does, and parts of scipy), and a stub when its
module reads it (lazy_loader's attach_stub: scikit-image, librosa).
"""

import re
import shutil
import sys
from pathlib import Path

_IMPORT = re.compile(r"^[ \t]*(?:from[ \t]+([.\w]+)[ \t]+import[ \t]+([\w, \t(]+)|import[ \t]+([.\w]+))", re.MULTILINE)


def main(site: Path) -> None:
    """Trim every library under `site`."""
    tests = {folder for folder in site.glob("*/**/tests") if folder.is_dir() and "tests" not in folder.parent.parts}
    for folder in tests - _needed(site, tests):
        shutil.rmtree(folder)
    for stub in site.glob("*/**/*.pyi"):
        if not _reads_stub(stub.with_suffix(".py")):
            stub.unlink(missing_ok=True)


def _needed(site: Path, tests: set[Path]) -> set[Path]:
    """Return the test folders that modules outside of test folders import."""
    needed = set()
    for package in {site / folder.relative_to(site).parts[0] for folder in tests}:
        for file in package.rglob("*.py"):
            if "tests" in file.relative_to(site).parts:
                continue
            text = file.read_text("utf-8", errors="replace")
            if "tests" in text:
                needed |= {
                    folder for name in _imported(text, file, site) for folder in tests if _within(name, folder, site)
                }
    return needed


def _imported(text: str, file: Path, site: Path) -> list[str]:
    """Return the absolute names of what a module imports, as far as they have a part called `tests`."""
    package = file.relative_to(site).parent.parts
    names = []
    for start, listed, plain in _IMPORT.findall(text):
        name = plain or start
        dots = len(name) - len(name.lstrip("."))
        parts = [*package[: len(package) - dots + 1], *name.lstrip(".").split(".")] if dots else name.split(".")
        names += [".".join(part for part in parts if part)]
        names += [".".join([*(part for part in parts if part), "tests"])] if re.search(r"\btests\b", listed) else []
    return [name for name in names if "tests" in name.split(".")]


def _reads_stub(module: Path) -> bool:
    return module.is_file() and "attach_stub" in module.read_text("utf-8", errors="replace")


def _within(name: str, folder: Path, site: Path) -> bool:
    own = ".".join(folder.relative_to(site).parts)
    return name == own or name.startswith(f"{own}.")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
