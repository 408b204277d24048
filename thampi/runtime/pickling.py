"""A model becomes a pickle, its large buffers beside it, and a note of all that it will import."""

import contextlib
import dis
import pickle
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, BinaryIO, cast

import cloudpickle

from thampi.errors import BundleError
from thampi.runtime import origins, structs, tensors
from thampi.runtime.bundle import Part
from thampi.runtime.writing import Buffers, InBand, Parts

_IMPORT_MACHINERY = ("__builtins__", "__cached__", "__loader__", "__path__", "__spec__")

_PREPARING = 4  # threads; where there are fewer processors they do no harm
_HELD_IN_MEMORY = 16 * 1024 * 1024  # of the pickle itself; a larger one waits in a file until it is whole

_ONE_AT_A_TIME = threading.Lock()  # which modules cloudpickle carries is one list for the whole process


@dataclass(frozen=True)
class Pickled:
    """What `dump` wrote into `model.pkl` and `model.buffers`, and what loading it will need."""

    parts: dict[str, list[Part]]
    buffers: list[tuple[int, int]]
    modules: list[str]
    distributions: dict[str, str]
    has_types: bool = False


def dump(model: object, folder: Path, by_reference: Iterable[str] = (), types: object = None) -> Pickled:
    """Pickle `model` into `folder`; modules of the project go into the pickle, except those in `by_reference`.

    `types`, what the model's hints say of its data, is a second pickle behind that of the model, which shares its
    classes; it is left out when it can't be pickled, or is None.

    Raises BundleError when something in the model can't be pickled, naming the attribute.
    """
    files = {"pickle": folder / "model.pkl", "buffers": folder / "model.buffers"}
    with contextlib.ExitStack() as stack:
        stack.enter_context(_ONE_AT_A_TIME)
        imports = _Imports(stack.enter_context(_project_by_value(by_reference)))
        beside = stack.enter_context(ThreadPoolExecutor(_PREPARING))
        written = {role: Parts(stack.enter_context(path.open("wb")), role, beside) for role, path in files.items()}
        held = stack.enter_context(tempfile.SpooledTemporaryFile(_HELD_IN_MEMORY, dir=str(folder)))
        in_band, buffers = InBand(written["pickle"], cast(BinaryIO, held)), Buffers(written["buffers"])
        try:
            pickler = _Pickler(in_band, buffers, imports)
            pickler.dump(model)
            has_types = types is not None and _can_pickle(types, imports)
            if has_types:
                pickler.dump(types)
        except BundleError:
            raise
        except Exception as error:
            raise _cannot_pickle(model, imports, error) from error
        parts = {"pickle": in_band.finish(), "buffers": written["buffers"].finish()}
    return Pickled(parts, buffers.layout, imports.modules(), imports.distributions(), has_types)


class _Imports:
    """The modules that unpickling will import, in the order of need, and those that the code names besides."""

    def __init__(self, carried: Iterable[str]) -> None:
        self._carried = frozenset(("__main__", *carried))
        self._modules: dict[str, None] = {}
        self._named_in_code: dict[str, None] = {}

    def see(self, obj: object) -> None:
        self._note(type(obj).__module__)
        if isinstance(obj, ModuleType):
            self._note(obj.__name__)
        elif callable(obj):
            self._note(getattr(obj, "__module__", None))
        if isinstance(obj, FunctionType) and self.is_carried(obj.__module__ or "__main__"):
            self._see_code(obj.__code__)

    def modules(self) -> list[str]:
        return [name for name in self._names() if origins.importable_elsewhere(name)]

    def distributions(self) -> dict[str, str]:
        return origins.distributions_of([*self._names(), *self._named_in_code, "cloudpickle"])

    def _note(self, name: object) -> None:
        if isinstance(name, str):  # some libraries put other things there
            self._modules[name] = None

    def _names(self) -> list[str]:
        return [name for name in self._modules if not self.is_carried(name)]

    def is_carried(self, name: str) -> bool:
        """Say whether a module goes into the pickle, by itself or with a package above it."""
        return any(above in self._carried for above in origins.with_parents(name))

    def _see_code(self, code: CodeType) -> None:
        """Note the imports inside functions: `import torch` in `initialize` is a need that no pickle shows."""
        for instruction in dis.get_instructions(code):
            if instruction.opname == "IMPORT_NAME":
                self._named_in_code[instruction.argval] = None
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                self._see_code(constant)


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    def __init__(self, file: Any, buffers: Any, imports: _Imports) -> None:
        super().__init__(file, protocol=5, buffer_callback=buffers)
        self._buffers, self._imports, self._storages = buffers, imports, tensors.Storages()

    def reducer_override(self, obj: Any) -> Any:
        self._imports.see(obj)
        if isinstance(obj, ModuleType) and self._imports.is_carried(obj.__name__) and obj.__name__ != "__main__":
            # cloudpickle would give what is in it as arguments, and never come back from modules that know each other.
            return ModuleType, (obj.__name__,), _content_of(obj)
        if type(obj).__module__ == "numpy" and type(obj).__name__ in ("ndarray", "memmap"):
            return self._reduce_array(obj)
        if type(obj).__module__ in ("torch", "torch.storage"):
            return self._storages.reduce(obj)
        if structs.is_one(obj):
            reduced = structs.reduce(obj, by_value=self._is_by_value(obj))
            if reduced is not NotImplemented:
                return reduced
        return super().reducer_override(obj)

    def _is_by_value(self, obj: Any) -> bool:
        """Say whether a class goes along itself: one of the project, or one that was made within a function."""
        if not isinstance(obj, type):
            return False
        return self._imports.is_carried(obj.__module__) or "<locals>" in obj.__qualname__

    def _reduce_array(self, array: Any) -> Any:
        """Have numpy's own form of an array that comes from a buffer, also for those that numpy sends in band.

        That would be a copy as bytes, which loading copies once more, and which forgets that the array is read-only.
        """
        numpy: Any = sys.modules["numpy"]
        plain = array.view(numpy.ndarray)  # of a memmap, the content goes along: the file that it maps stays here
        if _cant_give_buffer(plain):
            make = numpy.empty(0).__reduce_ex__(5)[0]
            return make, (self._buffers.stand_in(plain), plain.dtype, plain.shape, "C")
        return NotImplemented if plain is array else plain.__reduce_ex__(5)


def _content_of(module: ModuleType) -> dict[str, Any]:
    return {name: value for name, value in vars(module).items() if name not in _IMPORT_MACHINERY}


def _cant_give_buffer(array: Any) -> bool:
    if array.dtype.hasobject or not array.nbytes:
        return False
    try:
        memoryview(array).release()  # dates have no form there, nor have the types of ml_dtypes
    except (ValueError, BufferError):
        return True
    return not array.flags.forc


@contextlib.contextmanager
def _project_by_value(by_reference: Iterable[str]) -> Iterator[list[str]]:
    """Have cloudpickle carry the project's own modules, for as long as the pickling lasts; yield all it carries."""
    # With a package cloudpickle carries all that is below it: what has shipped modules below stays a name, too.
    above_shipped = {above for name in by_reference for above in origins.with_parents(name)}
    already = cloudpickle.list_registry_pickle_by_value()
    added = [
        module
        for module in origins.project_modules()
        if module.__name__ not in already
        and module.__name__ not in above_shipped
        and not any(above in by_reference for above in origins.with_parents(module.__name__))
    ]
    for module in added:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield [*already, *(module.__name__ for module in added)]
    finally:
        for module in added:
            cloudpickle.unregister_pickle_by_value(module)


def _cannot_pickle(model: object, imports: _Imports, error: Exception) -> BundleError:
    """Name the attribute or the global that can't be pickled, which the exception itself never does."""
    culprits = [f"`self.{name}`" for name, value in vars(model).items() if not _can_pickle(value, imports)]
    if not culprits:
        found = _globals_of(type(model), imports).items()
        culprits = [f"the global `{name}`" for name, value in found if not _can_pickle(value, imports)]
    return BundleError(
        f"{' and '.join(culprits) or 'the model'} can't be saved: {type(error).__name__}: {error}",
        hint="make it in `initialize(self, context)`, which runs where the model is served, and don't keep it before",
    )


def _globals_of(model_class: type, imports: _Imports) -> dict[str, Any]:
    """Return what goes along because the methods of a class name it: of a module that is carried, all that is in it."""
    found: dict[str, Any] = {}
    for method in vars(model_class).values():
        for name in method.__code__.co_names if isinstance(method, FunctionType) else ():
            value = method.__globals__.get(name)
            if isinstance(value, ModuleType) and imports.is_carried(value.__name__):
                found |= {f"{name}.{inner}": content for inner, content in _content_of(value).items()}
            else:
                found[name] = value
    return found


def _can_pickle(value: object, imports: _Imports) -> bool:
    try:
        _Pickler(_Nowhere(), _Nowhere(), imports).dump(value)
    except Exception:  # whatever its reducers raise, the answer is no
        return False
    return True


class _Nowhere:
    """Takes a pickle and its buffers, and keeps nothing."""

    def write(self, data: Any) -> int:
        return memoryview(data).nbytes

    def __call__(self, buffer: pickle.PickleBuffer) -> bool:
        return False

    def stand_in(self, array: Any) -> pickle.PickleBuffer:
        return pickle.PickleBuffer(b"")
