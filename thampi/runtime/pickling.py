"""A model becomes a pickle, its large buffers beside it, and a note of all that it will import."""

import contextlib
import dis
import hashlib
import io
import pickle
import pickletools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, BinaryIO

import cloudpickle

from thampi.errors import BundleError
from thampi.runtime import origins
from thampi.runtime.bundle import ALIGNMENT, PART_SIZE, Part

# Below this an array stays in the pickle: a mapping for each would cost more than the copy that it saves, and one
# small array that lives on would pin the large ones that share its part.
OUT_OF_BAND = 16 * 1024

# pickletools.optimize drops the memo entries that nothing refers to; with them the unpickler would keep every array
# alive until the end. It is pure Python (8 MB/s), and a pickle that is large in band gains little from it.
OPTIMIZED_UP_TO = 16 * 1024 * 1024


@dataclass(frozen=True)
class Pickled:
    """What `dump` wrote into `model.pkl` and `model.buffers`, and what loading it will need."""

    parts: dict[str, list[Part]]
    buffers: list[tuple[int, int]]
    modules: list[str]
    distributions: dict[str, str]


def dump(model: object, folder: Path, by_reference: Iterable[str] = ()) -> Pickled:
    """Pickle `model` into `folder`; modules of the project go into the pickle, except those in `by_reference`.

    Raises BundleError when something in the model can't be pickled, naming the attribute.
    """
    pickle_path, buffers_path = folder / "model.pkl", folder / "model.buffers"
    with _project_by_value(by_reference) as carried, buffers_path.open("wb") as buffers_file:
        imports = _Imports(carried)
        buffers = _Buffers(_Parts(buffers_file, "buffers"))
        with pickle_path.open("wb") as pickle_file:
            in_band = _Parts(pickle_file, "pickle")
            try:
                _Pickler(in_band, buffers, imports).dump(model)
            except Exception as error:
                raise _cannot_pickle(model, error) from error
            parts = {"pickle": in_band.finish(), "buffers": buffers.parts.finish()}
    if pickle_path.stat().st_size <= OPTIMIZED_UP_TO:
        parts["pickle"] = _optimize(pickle_path)
    return Pickled(parts, buffers.layout, imports.modules(), imports.distributions())


class _Parts:
    """A file to write to whose every PART_SIZE bytes get a hash of their own."""

    def __init__(self, file: BinaryIO, role: str) -> None:
        self._file, self._role = file, role
        self._digest, self._begun = hashlib.sha256(), 0
        self._done: list[Part] = []
        self.size = 0

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        written = len(view)
        while view:
            piece = view[: PART_SIZE - (self.size - self._begun)]
            self._file.write(piece)
            self._digest.update(piece)
            self.size += len(piece)
            view = view[len(piece) :]
            if self.size - self._begun == PART_SIZE:
                self._end_part()
        return written

    def finish(self) -> list[Part]:
        if self.size > self._begun:
            self._end_part()
        return self._done

    def _end_part(self) -> None:
        size = self.size - self._begun
        self._done.append(Part(self._role, self._begun, size, size, "none", self._digest.hexdigest()))
        self._digest, self._begun = hashlib.sha256(), self.size


class _Buffers:
    """Takes the large buffers as the pickler meets them and writes them at once: none is held or copied."""

    def __init__(self, parts: _Parts) -> None:
        self.parts = parts
        self.layout: list[tuple[int, int]] = []

    def __call__(self, buffer: pickle.PickleBuffer) -> bool:
        with buffer.raw() as raw:
            if raw.nbytes < OUT_OF_BAND:
                return True
            self.parts.write(b"\0" * (-self.parts.size % ALIGNMENT))
            self.layout.append((self.parts.size, raw.nbytes))
            self.parts.write(raw)
        return False


class _Imports:
    """The modules that unpickling will import, in the order of need, and those that the code names besides."""

    def __init__(self, carried: Iterable[str]) -> None:
        self._carried = {"__main__", None, *carried}
        self._modules: dict[str | None, None] = {}
        self._named_in_code: dict[str, None] = {}

    def see(self, obj: object) -> None:
        if isinstance(obj, ModuleType):
            self._modules[obj.__name__] = None
        elif isinstance(obj, FunctionType):
            self._modules[obj.__module__] = None
            if obj.__module__ in self._carried:
                self._see_code(obj.__code__)
        elif callable(obj):
            self._modules[getattr(obj, "__module__", None) or ""] = None
        self._modules[type(obj).__module__] = None

    def modules(self) -> list[str]:
        return [name for name in self._names() if origins.importable_elsewhere(name)]

    def distributions(self) -> dict[str, str]:
        return origins.distributions_of([*self._names(), *self._named_in_code, "cloudpickle"])

    def _names(self) -> list[str]:
        return [name for name in self._modules if name and name not in self._carried]

    def _see_code(self, code: CodeType) -> None:
        """Note the imports inside functions: `import torch` in `initialize` is a need that no pickle shows."""
        for instruction in dis.get_instructions(code):
            if instruction.opname == "IMPORT_NAME":
                self._named_in_code[instruction.argval] = None
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                self._see_code(constant)


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    def __init__(self, file: _Parts, buffers: _Buffers, imports: _Imports) -> None:
        super().__init__(file, protocol=5, buffer_callback=buffers)
        self._imports = imports

    def reducer_override(self, obj: Any) -> Any:
        self._imports.see(obj)
        if type(obj).__module__ == "numpy" and _is_large_and_scattered(obj):
            # numpy would send it through a bytes object, in band; a contiguous copy goes out of band and is freed.
            return obj.copy(order="C").__reduce_ex__(5)
        return super().reducer_override(obj)


def _is_large_and_scattered(array: Any) -> bool:
    return (
        type(array).__name__ == "ndarray"
        and array.nbytes >= OUT_OF_BAND
        and not array.flags.forc
        and not array.dtype.hasobject
    )


def _optimize(path: Path) -> list[Part]:
    """Drop unused memo entries from a pickle, in place; return its new parts."""
    optimized = pickletools.optimize(path.read_bytes())
    with path.open("wb") as file:
        parts = _Parts(file, "pickle")
        parts.write(optimized)
        return parts.finish()


@contextlib.contextmanager
def _project_by_value(by_reference: Iterable[str]) -> Iterator[list[str]]:
    """Have cloudpickle carry the project's own modules, for as long as the pickling lasts; yield their names."""
    shipped = tuple(by_reference)
    already = cloudpickle.list_registry_pickle_by_value()
    carried = [
        module
        for module in origins.project_modules()
        if module.__name__ not in already
        and not any(module.__name__ == name or module.__name__.startswith(f"{name}.") for name in shipped)
    ]
    for module in carried:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield [module.__name__ for module in carried]
    finally:
        for module in carried:
            cloudpickle.unregister_pickle_by_value(module)


def _cannot_pickle(model: object, error: Exception) -> BundleError:
    """Name the attribute that can't be pickled, which the exception itself never does."""
    culprits = [name for name, value in getattr(model, "__dict__", {}).items() if not _can_pickle(value)]
    where = " and ".join(f"`self.{name}`" for name in culprits) or "the model"
    return BundleError(
        f"{where} can't be saved: {type(error).__name__}: {error}",
        hint="make it in `initialize(self, context)`, which runs where the model is served, and don't keep it before",
    )


def _can_pickle(value: object) -> bool:
    try:
        cloudpickle.Pickler(io.BytesIO(), protocol=5, buffer_callback=lambda _: False).dump(value)
    except Exception:  # whatever its reducers raise, the answer is no
        return False
    return True
