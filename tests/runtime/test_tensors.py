"""Storages of torch, told apart and named; with torch itself they are tested in test_round_trips.py."""

import pickle
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import thampi
from thampi.runtime import tensors

from .fresh import python


class UntypedStorage:
    """As much of torch's as we use, on a device that no test machine has."""

    __module__ = "torch.storage"

    def __init__(self, content: bytes, device: str = "cuda", pointer: int = 1) -> None:
        self.memory = bytearray(content)
        self.device, self._cdata = SimpleNamespace(type=device), pointer

    def cpu(self) -> "UntypedStorage":
        return UntypedStorage(self.memory, "cpu", self._cdata + 1000)

    def nbytes(self) -> int:
        return len(self.memory)

    def data_ptr(self) -> int:
        import ctypes

        assert self.device.type == "cpu", "what lies on a GPU has no address here"
        return ctypes.addressof(ctypes.c_char.from_buffer(self.memory))


class TypedStorage:
    __module__ = "torch.storage"

    def __init__(self, wrap_storage: UntypedStorage, dtype: str, _internal: bool = False) -> None:
        assert _internal, "torch warns of whoever else makes one"
        self._untyped_storage, self.dtype = wrap_storage, dtype


class Tensor:
    __module__ = "torch"

    def __init__(self, *reduced: Any) -> None:
        self.reduced = reduced

    def __reduce_ex__(self, protocol: int) -> Any:
        assert protocol == 5
        return self.reduced


@pytest.fixture
def torch(monkeypatch):
    module: Any = ModuleType("torch")
    module.storage = ModuleType("torch.storage")
    module.UntypedStorage, module.storage.TypedStorage, module.Tensor, module.uint8 = (
        UntypedStorage,
        TypedStorage,
        Tensor,
        "uint8",
    )
    monkeypatch.setitem(sys.modules, "torch", module)
    return module


@pytest.mark.usefixtures("torch")
def test_a_storage_on_a_gpu_goes_along_as_it_is_in_the_processors_memory():
    storages = tensors.Storages()  # keeps what the pickler has no hold of
    make, (content,) = storages.reduce(UntypedStorage(b"0123"))
    assert make is thampi._torch_storage
    assert bytes(content) == b"0123"


@pytest.mark.usefixtures("torch")
def test_the_content_of_a_storage_is_no_copy():
    storage = UntypedStorage(b"0123", "cpu")
    storages = tensors.Storages()
    _, (content,) = storages.reduce(storage)
    storage.memory[0:1] = b"x"
    assert bytes(content) == b"x123"
    assert not memoryview(content).readonly  # else a small one would come back read-only


@pytest.mark.usefixtures("torch")
def test_an_empty_storage_has_no_address_to_look_at():
    assert tensors.Storages().reduce(UntypedStorage(b"", "cpu")) == (thampi._torch_storage, (b"",))


@pytest.mark.usefixtures("torch")
def test_one_storage_is_one_object_to_the_pickler_however_often_torch_wraps_it():
    storages = tensors.Storages()
    one, two, other = UntypedStorage(b"0", pointer=7), UntypedStorage(b"0", pointer=7), UntypedStorage(b"0", pointer=8)
    found = [storages.reduce(TypedStorage(each, "f4", _internal=True)) for each in (one, two, other)]
    assert [make for make, _ in found] == [thampi._torch_typed_storage] * 3
    assert [arguments[0] for _, arguments in found] == [one, one, other]
    assert [arguments[1] for _, arguments in found] == ["f4"] * 3


@pytest.mark.usefixtures("torch")
def test_a_storage_without_content_is_left_to_torch():
    storages = tensors.Storages()
    assert storages.reduce(UntypedStorage(b"", "meta")) is NotImplemented
    assert storages.reduce(TypedStorage(UntypedStorage(b"", "meta"), "f4", _internal=True)) is NotImplemented
    assert storages.reduce(object()) is NotImplemented


@pytest.mark.usefixtures("torch")
def test_a_tensor_is_left_to_torch_but_for_the_storage_that_its_own_function_can_not_take():
    storages = tensors.Storages()
    assert storages.reduce(Tensor(max, (1, 2), "state")) == (max, (1, 2), "state")
    assert storages.reduce(Tensor(max, ())) == (max, ())
    untyped = UntypedStorage(b"0123")
    make, (storage, *rest) = storages.reduce(Tensor(max, (untyped, 0, (4,))))
    assert (make, rest) == (max, [0, (4,)])
    assert type(storage) is TypedStorage
    assert (storage._untyped_storage, storage.dtype) == (untyped, "uint8")


def test_saved_models_find_what_makes_a_storage_under_the_name_that_they_carry():
    """The names are in every bundle with a tensor: a later version has to know them, too."""
    for name, function in (
        ("_torch_storage", tensors.torch_storage),
        ("_torch_typed_storage", tensors.torch_typed_storage),
    ):
        assert pickle.loads(b"\x80\x05\x8c\x06thampi" + pickle.dumps(name, 5)[11:-2] + b"\x93.") is function
        assert pickle.loads(pickle.dumps(function)) is function
        assert b"runtime" not in pickle.dumps(function)
    assert not {"_torch_storage", "_torch_typed_storage"} & set(thampi.__all__)


def test_neither_torch_nor_what_only_saving_needs_is_imported_with_thampi(tmp_path):
    code = "import sys, thampi; print({'torch', 'ctypes', 'pickletools'} & set(sys.modules))"
    assert python("-c", code, cwd=tmp_path) == "set()\n"
