"""A model as a pickle and its buffers: every layout comes back, and what loading needs is named."""

import mmap
import pickle
import pickletools
import threading
from pathlib import Path

import cloudpickle
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

import thampi
from thampi.errors import BundleError
from thampi.runtime import bundle, fetch, pickling
from thampi.runtime.writing import OUT_OF_BAND

from .fresh import Holder, python


def through(tmp_path: Path, held: object) -> object:
    """Return what `held` is after it was saved and loaded."""
    return thampi.load(thampi.save(Holder(held), "model", tmp_path, verify=False)).held


def through_files_alone(tmp_path: Path, held: object) -> object:
    """Do the same without all that makes a save durable, and slow."""
    done = pickling.dump(Holder(held), tmp_path)
    names = {
        role: f"model.{ending}" for role, ending in (("pickle", "pkl"), ("buffers", "buffers")) if done.parts[role]
    }
    files = {role: bundle.File(name, (tmp_path / name).stat().st_size) for role, name in names.items()}
    parts = [*done.parts["pickle"], *done.parts["buffers"]]
    known = bundle.About("id", "time", files=files, parts=parts, buffers=done.buffers)
    with fetch.begin(tmp_path, about=known) as fetched:
        return pickle.Unpickler(fetched.pickle(), buffers=fetched.buffers()).load().held


def about(tmp_path: Path, held: object) -> bundle.About:
    return bundle.read(thampi.save(Holder(held), "model", tmp_path, verify=False))


def same(one: np.ndarray, two: np.ndarray) -> bool:
    return (
        one.dtype == two.dtype
        and one.shape == two.shape
        and one.flags.writeable == two.flags.writeable
        and one.tobytes() == two.tobytes()
    )


LARGE = 50_000
ARRAYS = {
    "plain": np.arange(LARGE),
    "of floats": np.linspace(0, 1, LARGE, dtype="f4"),
    "of bools": np.arange(LARGE) % 3 == 0,
    "of complex numbers": np.arange(LARGE) * 1j,
    "of text": np.arange(LARGE).astype("U8"),
    "of bytes": np.arange(LARGE).astype("S8"),
    "big-endian": np.arange(LARGE, dtype=">i4"),
    "long double": np.arange(LARGE, dtype=np.longdouble),
    "half precision": np.arange(LARGE).astype("f2"),
    "Fortran order": np.asfortranarray(np.arange(LARGE).reshape(100, -1)),
    "many dimensions": np.arange(LARGE).reshape(10, 5, 10, 2, -1),
    "axes in another order": np.arange(LARGE).reshape(10, 20, -1).transpose(1, 0, 2),
    "every second": np.arange(LARGE)[::2],
    "backwards": np.arange(LARGE)[::-1],
    "columns of a matrix": np.arange(LARGE).reshape(100, -1)[:, 1:17],
    "the diagonal": np.diagonal(np.arange(4_000_000).reshape(2000, 2000)),
    "broadcast": np.broadcast_to(np.arange(100.0), (200, 100)),
    "structured": np.zeros(LARGE, dtype=[("a", "i4"), ("b", "f8", (2,)), ("c", "S3")]),
    "packed and scattered": np.zeros(LARGE, dtype=[("a", "i1"), ("b", "f8")])[::3],
    "one field of a structured one": np.ones(LARGE, dtype=[("a", "i4"), ("b", "f8")])["b"],
    "dates": np.arange(LARGE).astype("M8[ns]"),
    "dates in two dimensions": np.asfortranarray(np.arange(LARGE).astype("M8[D]").reshape(100, -1)),
    "spans of time": np.arange(LARGE).astype("m8[s]")[::2],
    "structured with dates": np.zeros(LARGE, dtype=[("when", "M8[s]"), ("what", "i8")]),
    "raw": np.zeros(LARGE, dtype="V3"),
}
SMALL = {name: array[:7] for name, array in ARRAYS.items()}
ODD = {
    "0-d": np.array(7.5),
    "a 0-d date": np.array("2026-09-06", "M8[D]"),
    "empty": np.zeros((0, 3)),
    "empty and scattered": np.zeros((4, 0, 6))[:, :, ::2],
    "empty dates": np.zeros(0, "M8[s]"),
    "of no width": np.zeros(5, "V0"),
}


def read_only(array: np.ndarray) -> np.ndarray:
    view = array.view()
    view.flags.writeable = False
    return view


@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_comes_back_as_it_was(tmp_path, name):
    arrays = [ARRAYS[name], read_only(ARRAYS[name]), SMALL[name], read_only(SMALL[name])]
    found = through(tmp_path, arrays)
    assert [same(one, two) for one, two in zip(found, arrays, strict=True)] == [True] * 4


@pytest.mark.parametrize("name", ODD)
def test_an_odd_array_comes_back_as_it_was(tmp_path, name):
    assert same(through(tmp_path, ODD[name]), ODD[name])


@pytest.mark.parametrize("name", ARRAYS)
def test_a_large_array_lies_beside_the_pickle_whatever_its_layout(tmp_path, name):
    known = about(tmp_path, ARRAYS[name])
    assert [size for _, size in known.buffers] == [ARRAYS[name].nbytes]
    assert known.files["pickle"].size < 2000


def test_fortran_order_stays_fortran_order(tmp_path):
    assert through(tmp_path, ARRAYS["Fortran order"]).flags.f_contiguous


@settings(deadline=None, max_examples=50)
@given(data=st.data())
def test_any_view_of_any_array_comes_back_as_it_was(tmp_path_factory, data):
    dtypes = st.one_of(st_numpy.scalar_dtypes(), st_numpy.nested_dtypes())
    dtype = data.draw(dtypes.filter(lambda dtype: dtype.itemsize and not dtype.hasobject))
    shape = data.draw(st_numpy.array_shapes(max_dims=4, min_side=1, max_side=12))
    whole = np.random.default_rng(0).integers(0, 256, int(np.prod(shape)) * dtype.itemsize, "u1")
    view = whole.view(dtype).reshape(shape)[data.draw(st_numpy.basic_indices(shape, allow_newaxis=True))]
    view = np.asarray(view, dtype)
    view = view.transpose(data.draw(st.permutations(range(view.ndim))))
    if data.draw(st.booleans()):  # large enough to lie beside the pickle
        view = np.broadcast_to(view, (OUT_OF_BAND, *view.shape))[:: data.draw(st.sampled_from([-3, 1, 2]))]
    if view.size:  # of an empty one numpy itself forgets the order of bytes
        folder = tmp_path_factory.getbasetemp()
        assert same(through_files_alone(folder, view), view)


def test_an_array_of_objects_comes_back_as_it_was(tmp_path):
    array = np.array([None, "a", 1.5, {"b": 2}, [3]] * 5000, dtype=object)
    for each in (array, array[::2], array.reshape(50, -1).T):
        assert (through(tmp_path, each) == each).all()


def test_an_array_of_variable_width_text_comes_back_as_it_was(tmp_path):
    array = np.array(["short", "x" * 100, ""] * 5000, dtype=np.dtypes.StringDType())
    for each in (array, array[::2]):
        assert (through(tmp_path, each) == each).all()


def test_an_array_that_is_referenced_twice_is_one_object_and_stored_once(tmp_path):
    for array in (np.arange(LARGE), np.arange(LARGE)[::2], np.arange(LARGE).astype("M8[s]"), np.arange(5)):
        one, two = through(tmp_path, [array, array])
        assert one is two
    assert len(about(tmp_path, [ARRAYS["plain"], ARRAYS["plain"], ARRAYS["every second"]]).buffers) == 2


def test_many_scattered_arrays_keep_their_order_among_others(tmp_path):
    arrays = [array for array in ARRAYS.values() for _ in range(2)]
    assert all(same(one, two) for one, two in zip(through(tmp_path, arrays), arrays, strict=True))


def test_a_mapped_file_goes_along_as_its_content(tmp_path):
    np.save(tmp_path / "array.npy", np.arange(LARGE))
    mapped = np.load(tmp_path / "array.npy", mmap_mode="r")
    known = about(tmp_path, mapped)
    assert [size for _, size in known.buffers] == [mapped.nbytes]
    found = through(tmp_path, [mapped[::2], mapped])
    assert type(found[1]) is np.ndarray
    assert not found[1].flags.writeable
    assert (found[1] == np.arange(LARGE)).all()
    assert (found[0] == np.arange(LARGE)[::2]).all()


def test_subclasses_of_arrays_keep_their_class(tmp_path):
    matrix = np.arange(20.0).view(np.recarray)
    masked = np.ma.masked_greater(np.arange(LARGE), 7)
    found = through(tmp_path, [matrix, masked])
    assert type(found[0]) is np.recarray
    assert (found[1].mask == masked.mask).all()


def test_a_model_without_buffers_has_one_file(tmp_path):
    saved = thampi.save(Holder({"weights": [1, 2, 3]}), "model", tmp_path, verify=False)
    assert sorted(path.suffix for path in saved.iterdir()) == [".json", ".pkl"]
    assert thampi.load(saved).held == {"weights": [1, 2, 3]}
    assert bundle.read(saved).buffers == []


def test_100_000_small_arrays_come_back_and_stay_in_the_pickle(tmp_path):
    arrays = [np.arange(number % 50) for number in range(100_000)]
    saved = thampi.save(Holder(arrays), "model", tmp_path, verify=False)
    assert bundle.read(saved).buffers == []
    found = thampi.load(saved).held
    assert len(found) == 100_000
    assert all((one == two).all() for one, two in zip(found[:2000], arrays[:2000], strict=True))


def test_thousands_of_buffers_come_back(tmp_path):
    arrays = [np.full(OUT_OF_BAND + number % 100, number % 251, "u1") for number in range(3000)]
    saved = thampi.save(Holder(arrays), "model", tmp_path, verify=False)
    assert len(bundle.read(saved).buffers) == 3000
    assert all((one == two).all() for one, two in zip(thampi.load(saved).held, arrays, strict=True))


@pytest.mark.parametrize("size", [OUT_OF_BAND - 1, OUT_OF_BAND, OUT_OF_BAND + 1])
def test_an_array_lies_beside_the_pickle_from_16_kib_on(tmp_path, size):
    assert len(about(tmp_path, np.zeros(size, "u1")).buffers) == (size >= OUT_OF_BAND)


def test_every_buffer_begins_at_a_multiple_of_64(tmp_path):
    known = about(tmp_path, [np.zeros(OUT_OF_BAND + number, "u1") for number in range(20)])
    assert [offset % 64 for offset, _ in known.buffers] == [0] * 20


def test_bytes_and_bytearrays_come_back(tmp_path):
    held = [b"x" * LARGE, bytearray(b"y" * LARGE), b"", bytearray()]
    assert through(tmp_path, held) == held


def test_pandas_frames_come_back(tmp_path):
    frame = pd.DataFrame(
        {
            "number": np.arange(LARGE),
            "share": np.linspace(0, 1, LARGE),
            "when": pd.date_range("2026-01-01", periods=LARGE, freq="min", tz="UTC"),
            "word": ["a", None] * (LARGE // 2),
            "kind": pd.Categorical(["x", "y"] * (LARGE // 2)),
        },
        index=pd.RangeIndex(5, LARGE + 5, name="row"),
    )
    for each in (frame, frame.iloc[::2], frame["number"], frame.set_index(["kind", "number"])):
        found = through(tmp_path, each)
        (pd.testing.assert_series_equal if isinstance(each, pd.Series) else pd.testing.assert_frame_equal)(found, each)


def test_scipy_sparse_matrices_come_back(tmp_path):
    matrix = scipy.sparse.random(3000, 3000, 0.01, format="csr", random_state=0)
    for each in (matrix, matrix.tocsc(), matrix.tocoo(), matrix[::3]):
        assert (through(tmp_path, each) != each).nnz == 0


def test_an_array_that_comes_back_can_be_written_to(tmp_path):
    found = through(tmp_path, [np.zeros(LARGE), np.zeros(5), np.zeros(LARGE)[::2], np.zeros(LARGE, "M8[s]")])
    for array in found:
        array[:] = 7
    assert found[0].sum() == 7 * LARGE


def test_the_pickle_names_our_classes_by_the_package_alone(tmp_path):
    """Where they live is nobody's business: the file may move, and saved models must not break."""
    held = [thampi.Context(request_id="1"), thampi.BadRequest("no"), thampi.Model, thampi.Context, thampi.BadRequest]
    saved = thampi.save(Holder(held), "model", tmp_path, verify=False)
    ours = {name for name in globals_of(saved) if name[0].startswith("thampi")}
    assert ours == {("thampi", "Model"), ("thampi", "Context"), ("thampi", "BadRequest")}


def globals_of(saved: Path) -> set[tuple[str, str]]:
    """Return module and name of all that the pickle of a bundle looks up."""
    found, texts, memo = set(), [], {}
    content = (saved / bundle.read(saved).files["pickle"].name).read_bytes()
    for opcode, argument, _ in pickletools.genops(content):
        if opcode.name == "STACK_GLOBAL":
            found.add((texts[-2], texts[-1]))
        elif opcode.name == "GLOBAL":
            found.add(tuple(argument.split(" ", 1)))
        elif "UNICODE" in opcode.name:
            texts.append(argument)
        elif opcode.name == "MEMOIZE":
            memo[len(memo)] = texts[-1] if texts else None
        elif opcode.name in ("BINPUT", "LONG_BINPUT"):
            memo[argument] = texts[-1] if texts else None
        elif opcode.name in ("BINGET", "LONG_BINGET") and isinstance(memo.get(argument), str):
            texts.append(memo[argument])
    return found


def test_the_pickle_drops_the_memo_entries_that_would_keep_every_buffer_alive(tmp_path):
    saved = thampi.save(Holder([np.zeros(LARGE) for _ in range(100)]), "model", tmp_path, verify=False)
    content = (saved / bundle.read(saved).files["pickle"].name).read_bytes()
    assert sum(opcode.name == "MEMOIZE" for opcode, _, _ in pickletools.genops(content)) < 60


def test_an_attribute_that_can_not_be_pickled_is_named(tmp_path):
    model = Holder(1)
    model.connection = threading.Lock()
    model.weights = np.zeros(LARGE)
    with pytest.raises(BundleError, match=r"^`self.connection` can't be saved: .*lock") as raised:
        thampi.save(model, "model", tmp_path)
    assert "initialize(self, context)" in raised.value.hint
    model.generator = (number for number in range(3))
    with pytest.raises(BundleError, match=r"^`self.connection` and `self.generator` can't be saved"):
        thampi.save(model, "model", tmp_path)


LOCK = threading.Lock()


class UsesLock(thampi.Model):
    def predict(self, args, context):
        with LOCK:
            return args


def test_a_global_that_can_not_be_pickled_is_named(tmp_path):
    with pytest.raises(BundleError, match=r"^the global `LOCK` can't be saved"):
        thampi.save(UsesLock(), "model", tmp_path)


class Refuses:
    def __reduce__(self):
        raise OSError(5, "not me")


def test_a_reducer_that_fails_is_the_models_fault_and_not_the_disks(tmp_path):
    with pytest.raises(BundleError, match=r"`self.held` can't be saved: OSError"):
        thampi.save(Holder(Refuses()), "model", tmp_path)


def test_a_full_disk_is_not_the_models_fault(tmp_path):
    code = """
import resource, numpy, thampi
class Model(thampi.Model):
    held = {"big": numpy.random.default_rng(0).standard_normal(500_000)}
    def __init__(self):
        self.held = self.held
    def predict(self, args, context):
        return None
thampi.save(Model(), "model", verify=False)
before = thampi.load("model")
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
try:
    thampi.save(Model(), "model", verify=False)
except thampi.errors.BundleError as error:
    print(error.message, "|", error.hint)
"""
    said = python("-c", code, cwd=tmp_path)
    assert "File too large" in said
    assert said.endswith("| check the folder's permissions and space\n")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    python("-c", "import thampi; assert thampi.load('model').held['big'].shape == (500_000,)", cwd=tmp_path)


def test_what_the_user_registered_with_cloudpickle_stays_registered(tmp_path):
    import tests.runtime.fresh as module

    cloudpickle.register_pickle_by_value(module)
    try:
        before = cloudpickle.list_registry_pickle_by_value()
        thampi.save(Holder(), "model", tmp_path, verify=False)
        assert cloudpickle.list_registry_pickle_by_value() == before
    finally:
        cloudpickle.unregister_pickle_by_value(module)
    thampi.save(Holder(), "model", tmp_path, verify=False)
    assert cloudpickle.list_registry_pickle_by_value() == set()


def test_models_can_be_saved_by_many_threads(tmp_path):
    """What cloudpickle carries is one list for the whole process: each save has to find it as it needs it."""
    failures = []

    def save(number):
        try:
            for _ in range(3):
                thampi.save(Holder(number), f"model{number}", tmp_path, verify=False)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=save, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    code = "import thampi; print([thampi.load(f'model{number}').held for number in range(6)])"
    assert python("-c", code, cwd=tmp_path) == "[0, 1, 2, 3, 4, 5]\n"


def test_what_unpickling_imports_is_recorded_and_nothing_of_the_project(tmp_path):
    known = about(tmp_path, [np.zeros(3), pd.Series([1, 2]), scipy.sparse.eye(3, format="csr")])
    assert {"cloudpickle.cloudpickle", "numpy", "pandas", "scipy.sparse._csr"} <= set(known.modules)
    assert not any(name.startswith(("tests", "thampi", "builtins", "__main__")) for name in known.modules)
    assert {"cloudpickle", "numpy", "pandas", "scipy"} <= set(known.distributions)
    assert not {"thampi", "pytest", "hypothesis"} & set(known.distributions)
    assert known.distributions["numpy"] == np.__version__


class ImportsLater(thampi.Model):
    def initialize(self, context):
        import sklearn.linear_model as later

        self.model = later.LinearRegression()

    def predict(self, args, context):
        return [key for key in args if __import__("math") or (lambda: __import__)]


def test_a_library_that_is_imported_inside_a_method_is_recorded(tmp_path):
    known = bundle.read(thampi.save(ImportsLater(), "model", tmp_path, verify=False))
    assert "scikit-learn" in known.distributions
    assert not any(name.startswith("sklearn") for name in known.modules)


def test_buffers_of_other_libraries_are_taken_as_they_are(tmp_path):
    """Arrow's, for one, which hold the text of pandas."""
    text = pd.Series(["word"] * LARGE, dtype="str")
    assert (through(tmp_path, text) == text).all()


def test_memory_that_nothing_owns_is_no_obstacle(tmp_path):
    memory = mmap.mmap(-1, LARGE * 8)
    array = np.frombuffer(memory, "i8")
    assert same(through(tmp_path, array), array)
