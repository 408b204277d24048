"""Give all modules of a folder their bytecode, from an earlier build's if it had the same: `bytecode.py FOLDER KEPT`.

Compiling is the longest part of an installation, and the libraries of two builds are mostly the same. What was compiled
stays in KEPT, by the digest of the Python, the module's path, which its tracebacks show, and its text.
"""

import hashlib
import importlib.util
import os
import py_compile
import sys
import tempfile
import warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

_FEW = 64  # modules that are compiled before other processes have even started
# unchecked-hash: bytecode stays valid whatever times the layers give the files; Lambda could never write it again.
_MODE = py_compile.PycInvalidationMode.UNCHECKED_HASH
_UNCHECKED_HASH = (1).to_bytes(4, "little")  # https://peps.python.org/pep-0552/


def main(folder: Path, kept: Path) -> None:
    """Write the bytecode of all modules."""
    missing = [(file, copy) for file in modules(folder) if not take((copy := place(file, kept)), file)]
    if len(missing) < _FEW:
        for pair in missing:
            compile_and_keep(pair)
        return
    with ProcessPoolExecutor() as pool:
        list(pool.map(compile_and_keep, missing, chunksize=16))


def modules(folder: Path) -> "list[str]":
    """Return the paths of all modules, at the same place in the list each time."""
    found = []
    for parent, folders, files in os.walk(folder):
        folders.sort()
        found += [str(Path(parent, name)) for name in sorted(files) if name.endswith(".py")]
    return found


def place(file: str, kept: Path) -> Path:
    """Return where a module's bytecode is kept."""
    told = b"\0".join([importlib.util.MAGIC_NUMBER, sys.implementation.cache_tag.encode(), os.fsencode(file)])
    digest = hashlib.sha256(told + b"\0" + read(file)).hexdigest()
    return kept / digest[:2] / digest[2:]


def take(copy: Path, file: str) -> bool:
    """Write a module's bytecode from the one that is kept; say whether that one is there, and whole."""
    bytecode = read(copy)
    size, content = bytecode[-8:], bytecode[:-8]
    head = importlib.util.MAGIC_NUMBER + _UNCHECKED_HASH + importlib.util.source_hash(read(file))
    if not content.startswith(head) or int.from_bytes(size, "little") != len(content):
        return False
    target = Path(importlib.util.cache_from_source(file))
    if read(target) != content:  # what the base has already would get into our layer again
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(content)
    return True


def compile_and_keep(pair: "tuple[str, Path]") -> None:
    """Compile one module, and keep what comes of it.

    A library may ship files for other Pythons that don't compile here, so a failure is not ours to judge.
    """
    file, copy = pair
    target = importlib.util.cache_from_source(file)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            py_compile.compile(file, target, doraise=True, invalidation_mode=_MODE)
    except (py_compile.PyCompileError, RecursionError):
        return
    content = read(target)
    copy.parent.mkdir(parents=True, exist_ok=True)
    # Another build may keep the same beside us, so it gets its name when it is whole.
    descriptor, part = tempfile.mkstemp(dir=copy.parent)
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(content + len(content).to_bytes(8, "little"))
    Path(part).replace(copy)


def read(file: "str | Path") -> bytes:
    """Return a file's content, nothing when there is none."""
    try:
        return Path(file).read_bytes()
    except OSError:
        return b""


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
