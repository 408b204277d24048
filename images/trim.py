"""Remove from installed libraries what no endpoint runs: test suites, type stubs, what only compilers read.

`trim.py SITE_PACKAGES`. Nothing goes that a library itself asks for. A folder of tests stays when its own library
imports it (astropy does), a stub when its module reads it (lazy_loader's attach_stub: scikit-image, librosa), a header
when Python code names it (cffi can read one). Where a compiler is installed, its files stay: somebody wants to compile.
"""

import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

_IMPORT = re.compile(r"[ \t]*(?:from[ \t]+([.\w]+)[ \t]+import[ \t]+([\w, \t(]+)|import[ \t]+([.\w]+))")
_TESTS = ("tests", "test")
_MAIN = re.compile(r"^if __name__ == ['\"]__main__['\"]", re.MULTILINE)
# Static libraries, headers, Cython's sources and templates: what a linker, a C compiler and Cython read.
_FOR_COMPILERS = {".a", ".h", ".hh", ".hpp", ".hxx", ".cuh", ".inl", ".pxd", ".pxi", ".pyx", ".tp"}
_SUFFIX = re.compile(rf"(?:{'|'.join(map(re.escape, _FOR_COMPILERS))})(?![\w+])")
_FILE_NAME = re.compile(r"[^\s/\\'\"<>()=,:]*$")


def main(site: Path) -> None:
    """Trim every library under `site`."""
    tests = {folder for name in _TESTS for folder in site.glob(f"*/**/{name}") if _is_a_suite(folder, site)}
    for folder in tests - _needed(site, tests):
        shutil.rmtree(folder)
    for stub in site.glob("*/**/*.pyi"):
        if not _reads_stub(stub.with_suffix(".py")):
            stub.unlink(missing_ok=True)
    if not any(shutil.which(compiler) for compiler in ("cc", "gcc", "clang")):
        for file in _for_compilers(site):
            file.unlink()


def _is_a_suite(folder: Path, site: Path) -> bool:
    """Say whether a folder has tests; one called `test` may also be what a library offers to testers (django.test)."""
    if not folder.is_dir() or any(part in _TESTS for part in folder.parent.relative_to(site).parts):
        return False
    return folder.name == "tests" or any(folder.glob("test_*.py"))


def _needed(site: Path, tests: set[Path]) -> set[Path]:
    """Return the test folders that modules outside of test folders import."""
    needed, within_tests = set(), tuple(f"{folder}{os.sep}" for folder in tests)
    for package in {site / folder.relative_to(site).parts[0] for folder in tests}:
        texts = {
            file: file.read_text("utf-8", errors="replace")
            for file in package.rglob("*.py")
            if not str(file).startswith(within_tests)
        }
        for file, text in texts.items():
            imported = _imported(text, file, site) if "test" in text else []
            found = {folder for name in imported for folder in tests if _within(name, folder, site)}
            if found and not _is_a_script(file, texts):
                needed |= found
    return needed


def _imported(text: str, file: Path, site: Path) -> list[str]:
    """Return the absolute names of what a module imports, as far as they have a part called `tests` or `test`."""
    package = file.relative_to(site).parent.parts
    names = []
    for match in [_IMPORT.match(line) for line in text.splitlines() if "test" in line]:
        if match is None:
            continue
        start, listed, plain = (group or "" for group in match.groups())
        name = plain or start
        dots = len(name) - len(name.lstrip("."))
        parts = [*package[: len(package) - dots + 1], *name.lstrip(".").split(".")] if dots else name.split(".")
        names += [".".join(part for part in parts if part)]
        for last in _TESTS:
            if re.search(rf"\b{last}\b", listed):
                names += [".".join([*(part for part in parts if part), last])]
    return [name for name in names if any(last in name.split(".") for last in _TESTS)]


def _is_a_script(file: Path, texts: dict[Path, str]) -> bool:
    """Say whether a module is there to be started by its developers: it can be, and no other module names it."""
    if not _MAIN.search(texts[file]) or file.stem == "__main__":
        return False
    name = re.compile(rf"\b{re.escape(file.stem)}\b")
    return not any(name.search(text) for other, text in texts.items() if other != file and file.stem in text)


def _reads_stub(module: Path) -> bool:
    return module.is_file() and "attach_stub" in module.read_text("utf-8", errors="replace")


def _for_compilers(site: Path) -> Iterator[Path]:
    """Yield the files that only a compiler reads, and that no Python code of the same library names."""
    for package in site.iterdir():
        files = [file for file in package.rglob("*") if file.suffix in _FOR_COMPILERS] if package.is_dir() else []
        if files:
            # torch has nine thousand headers, and a hundred megabytes of code: each file is read once.
            named = {name for file in package.rglob("*.py") for name in _named(file)}
            yield from (file for file in files if file.is_file() and file.name not in named)


def _named(file: Path) -> Iterator[str]:
    """Yield the file names for compilers that a module's text has."""
    text = file.read_text("utf-8", errors="replace")
    for match in _SUFFIX.finditer(text):
        start = text[max(0, match.start() - 255) : match.end()]  # no file system has longer names
        yield _FILE_NAME.search(start)[0]


def _within(name: str, folder: Path, site: Path) -> bool:
    own = ".".join(folder.relative_to(site).parts)
    return name == own or name.startswith(f"{own}.")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
