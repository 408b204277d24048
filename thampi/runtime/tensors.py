"""torch's tensors lie beside the pickle like other large arrays: it is their storages that are taken out of it.

torch itself says how a tensor, a parameter or a tensor's subclass is made again from its storage; pickled alone it
would put each storage into the pickle as bytes, once for every tensor that shares it. What loading calls is found
under `thampi`, as `Model` is: the names are part of the bundle's format, and this file may move.

torch is imported by the models that need it, and never by this module.
"""

import importlib
import pickle
import sys
from typing import Any


class Storages:
    """Says how storages are pickled: one that several tensors share as one, which keeps it shared after loading."""

    def __init__(self) -> None:
        self._met: dict[int, Any] = {}

    def reduce(self, obj: Any) -> Any:
        """Return what a pickler's `reducer_override` answers for an object of torch; NotImplemented for most.

        What is on a GPU goes along as it is in the processor's memory: there is no GPU where the model is served.
        """
        torch: Any = sys.modules["torch"]
        if type(obj) is torch.storage.TypedStorage and obj._untyped_storage.device.type != "meta":
            return torch_typed_storage, (self._same(obj._untyped_storage), obj.dtype)
        if type(obj) is torch.UntypedStorage and obj.device.type != "meta":
            return torch_storage, (self._content(self._same(obj)),)
        if type(obj) is torch.Tensor:
            return _as_rebuilt(obj, torch)
        return NotImplemented

    def _same(self, storage: Any) -> Any:
        """Return one object for one storage, for the pickler to see it again: torch may make one for each question."""
        return self._met.setdefault(storage._cdata, storage)

    def _content(self, storage: Any) -> Any:
        import ctypes  # here and not above: loading a model imports this module, too

        if storage.device.type != "cpu":
            storage = storage.cpu()
            self._met[storage._cdata] = storage  # it has to live until the pickler has taken its bytes
        if not storage.nbytes():
            return b""
        return pickle.PickleBuffer((ctypes.c_ubyte * storage.nbytes()).from_address(storage.data_ptr()))


def _as_rebuilt(tensor: Any, torch: Any) -> Any:
    """Return torch's own form of a tensor, with the storage that its function for newer types of elements works with.

    (torch 2.13: Tensor.__reduce_ex__ gives torch._utils._rebuild_tensor_v3, which is that of uint16 for one, an untyped
    storage; the function takes what torch.load gives it, which is a typed one.)
    """
    make, arguments, *more = tensor.__reduce_ex__(5)
    if arguments and type(arguments[0]) is torch.UntypedStorage:
        arguments = (
            torch.storage.TypedStorage(wrap_storage=arguments[0], dtype=torch.uint8, _internal=True),
            *arguments[1:],
        )
    return make, arguments, *more


def torch_storage(content: Any) -> Any:
    """Return a storage that uses and keeps the memory of `content`, a writable buffer."""
    torch: Any = importlib.import_module("torch")
    if not len(content):
        return torch.UntypedStorage(0)
    return torch.frombuffer(content, dtype=torch.uint8).untyped_storage()


def torch_typed_storage(storage: Any, dtype: Any) -> Any:
    """Return a storage as torch's own functions take it, with the type of its elements."""
    torch: Any = importlib.import_module("torch")
    return torch.storage.TypedStorage(wrap_storage=storage, dtype=dtype, _internal=True)


for _found_by_name in (torch_storage, torch_typed_storage):
    _found_by_name.__module__ = "thampi"
    _found_by_name.__qualname__ = _found_by_name.__name__ = f"_{_found_by_name.__name__}"
