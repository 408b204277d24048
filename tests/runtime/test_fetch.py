"""Bytes of a bundle in their final place, and nothing in memory that was not checked."""

import hashlib
import itertools
import json
import mmap
import os
import pickle
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import thampi
from benchmarks.cold import environment, s3_server
from benchmarks.cold.s3_server import Line
from thampi.errors import BundleError
from thampi.runtime import bundle, fetch, memory
from thampi.runtime.bundle import ALIGNMENT, PART_SIZE, About, File, Part

from .fresh import Holder, python


def bundle_of(folder: Path, contents: list[bytes], cuts: list[int], role: str = "buffers") -> About:
    """Write buffers to a file as `save` lays them out, but with parts that end anywhere."""
    written, layout = bytearray(), []
    for content in contents:
        written += bytes(-len(written) % ALIGNMENT)
        layout.append((len(written), len(content)))
        written += content
    (folder / role).write_bytes(written)
    borders = sorted({0, len(written), *(cut % (len(written) + 1) for cut in cuts)})
    parts = [
        Part(role, begin, end - begin, end - begin, "none", hashlib.sha256(written[begin:end]).hexdigest())
        for begin, end in itertools.pairwise(borders)
    ]
    return About("id", "time", files={role: File(role, len(written))}, parts=parts, buffers=layout)


def buffers(folder: Path, about: About) -> Iterator[memoryview]:
    with fetch.begin(folder, about=about) as fetched:
        yield from fetched.buffers()


def random_bytes(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


SIZES = st.lists(st.one_of(st.integers(1, 300), st.integers(1, 20_000), st.just(200_000)), max_size=30)


@settings(deadline=None, max_examples=200)
@given(SIZES, st.lists(st.integers(0, 2**24), max_size=40))
def test_buffers_come_out_as_they_went_in_wherever_the_parts_end(sizes, cuts):
    contents = [random_bytes(size, number) for number, size in enumerate(sizes)]
    with tempfile.TemporaryDirectory() as name:
        about = bundle_of(Path(name), contents, cuts)
        assert [bytes(buffer) for buffer in buffers(Path(name), about)] == contents


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 30_000), st.lists(st.integers(0, 2**16), max_size=20), st.lists(st.integers(1, 9000), min_size=1))
def test_the_pickle_is_read_as_written_by_whatever_pieces_it_is_asked_for(size, cuts, asked):
    content = random_bytes(size)
    with tempfile.TemporaryDirectory() as name:
        about = bundle_of(Path(name), [content], cuts, role="pickle")
        found = b""
        with fetch.begin(Path(name), about=about) as fetched:
            stream = fetched.pickle()
            for number in range(10**6):
                into = bytearray(asked[number % len(asked)])
                count = stream.readinto(into)
                found += into[:count]
                if not count:
                    break
        assert found == content


def test_a_part_that_holds_many_buffers_is_read_once(tmp_path):
    contents = [random_bytes(100, number) for number in range(50)]
    about = bundle_of(tmp_path, contents, cuts=[])
    found = buffers(tmp_path, about)
    assert bytes(next(found)) == contents[0]
    (tmp_path / "buffers").write_bytes(b"")  # what is still to be given has been read with the first
    assert [bytes(buffer) for buffer in found] == contents[1:]


def test_each_buffer_is_writable_memory_of_its_own(tmp_path):
    contents = [random_bytes(size) for size in (100, 20_000, 300_000, 5_000_000)]
    found = list(buffers(tmp_path, bundle_of(tmp_path, contents, cuts=[50, 250_000])))
    for buffer in found:
        assert not buffer.readonly
        buffer[:] = bytes(len(buffer))
    assert [bytes(buffer) for buffer in found] == [bytes(len(content)) for content in contents]


@pytest.mark.parametrize("size", [1, 16 * 1024, 128 * 1024 - 1, 128 * 1024, 4 * 1024 * 1024, 5_000_001])
def test_memory_is_zeroed_writable_and_exactly_as_large_as_asked(size):
    piece = memory.allocate(size)
    assert len(piece) == size
    assert piece[0] == piece[-1] == 0
    piece[-1] = 1


def test_large_memory_is_private_so_that_a_fork_does_not_share_it():
    assert isinstance(memory.allocate(1024 * 1024).obj, mmap.mmap)
    code = "import os, sys; from thampi.runtime import memory; memory = memory.allocate(1 << 20); child = os.fork()\n"
    code += "if not child: memory[0] = 7; os._exit(0)\n"
    code += "os.waitpid(child, 0); print(memory[0])"
    assert python("-c", code, cwd=Path("/")) == "0\n"


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """A bundle with buffers in several parts, and a pickle that shows, by making a folder, that it was unpickled."""
    folder = tmp_path_factory.mktemp("saved")
    arrays = [np.frombuffer(random_bytes(size), np.uint8) for size in (20_001, 3 * 1024 * 1024, 2 * 1024 * 1024 + 1)]
    return thampi.save(Holder([arrays, Trace(folder / "unpickled")]), "model", folder, verify=False)


class Trace:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def assert_found_before_it_is_unpickled(copy: Path, saved: Path) -> BundleError:
    with pytest.raises(BundleError) as raised:
        thampi.load(copy)
    assert not (saved.parent / "unpickled").exists()
    return raised.value


def test_the_bundle_of_these_tests_shows_that_it_is_unpickled(saved):
    thampi.load(saved)
    (saved.parent / "unpickled").rmdir()


def data_files(saved: Path) -> dict[str, File]:
    return dict(bundle.read(saved).files)


@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_one_changed_byte_anywhere_is_found_before_it_is_unpickled(saved, data):
    file = data_files(saved)[data.draw(st.sampled_from(["pickle", "buffers"]))]
    offset = data.draw(st.integers(0, file.size - 1))
    flipped = data.draw(st.integers(1, 255))
    with (saved / file.name).open("r+b") as stream:
        original = os.pread(stream.fileno(), 1, offset)
        os.pwrite(stream.fileno(), bytes([original[0] ^ flipped]), offset)
        try:
            error = assert_found_before_it_is_unpickled(saved, saved)
        finally:
            os.pwrite(stream.fileno(), original, offset)
    assert "its bytes are not those that were saved" in error.message


def test_every_byte_of_a_small_pickle_is_guarded(tmp_path):
    saved = thampi.save(Holder(Trace(tmp_path / "unpickled")), "model", tmp_path, verify=False)
    path = saved / data_files(saved)["pickle"].name
    content = path.read_bytes()
    for offset in range(len(content)):
        path.write_bytes(content[:offset] + bytes([content[offset] ^ 1]) + content[offset + 1 :])
        assert_found_before_it_is_unpickled(saved, saved)


@pytest.mark.parametrize("role", ["pickle", "buffers"])
@pytest.mark.parametrize("change", ["one less", "half", "empty", "one more", "missing", "a folder", "unreadable"])
def test_a_file_that_is_not_there_in_full_is_found_before_anything_is_unpickled(saved, tmp_path, role, change):
    copy = Path(shutil.copytree(saved, tmp_path / "copy"))
    file = data_files(saved)[role]
    path = copy / file.name
    if change in ("missing", "a folder", "unreadable"):
        path.unlink()
        if change == "a folder":
            path.mkdir()
        elif change == "unreadable":
            path.symlink_to(path)
    elif change == "one more":
        path.write_bytes(path.read_bytes() + b"\0")
    else:
        os.truncate(path, {"one less": file.size - 1, "half": file.size // 2, "empty": 0}[change])
    error = assert_found_before_it_is_unpickled(copy, saved)
    assert file.name in error.message
    assert "copy" in error.hint


def test_two_files_of_one_size_that_changed_places_are_found(tmp_path):
    first = thampi.save(Holder(np.zeros(100_000)), "first", tmp_path, verify=False)
    second = thampi.save(Holder(np.ones(100_000)), "second", tmp_path, verify=False)
    one, two = (folder / data_files(folder)["buffers"].name for folder in (first, second))
    one.write_bytes(two.read_bytes())
    with pytest.raises(BundleError, match="not those that were saved"):
        thampi.load(first)


def test_a_file_that_shrinks_before_it_is_read_is_damaged(tmp_path):
    about = bundle_of(tmp_path, [random_bytes(5000), random_bytes(5000)], cuts=[5000])
    os.truncate(tmp_path / "buffers", 6000)
    found = buffers(tmp_path, about)
    next(found)
    with pytest.raises(BundleError, match="ends too early"):
        next(found)


def test_a_pickle_of_many_parts_stops_at_the_damaged_one(tmp_path):
    saved = thampi.save(
        Holder([random_bytes(2 * PART_SIZE), Trace(tmp_path / "unpickled")]), "model", tmp_path, verify=False
    )
    file = data_files(saved)["pickle"]
    assert len(bundle.read(saved).parts_of("pickle")) == 3
    content = bytearray((saved / file.name).read_bytes())
    content[-5] ^= 1
    (saved / file.name).write_bytes(content)
    assert_found_before_it_is_unpickled(saved, saved)


PEAK = """
import sys, numpy
import thampi
from thampi.runtime import fetch, loading, pickling, proving, replacing

def high_water():
    return 1024 * int(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))

class Holder(thampi.Model):
    def __init__(self, held):
        self.held = held
    def predict(self, args, context):
        return None

"""


def peak_over_bytes(code: str, folder: Path, size: int) -> float:
    return float(python("-c", PEAK + code, size, cwd=folder))


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> Path:
    code = "size = int(sys.argv[1])\n"
    code += "thampi.save(Holder([numpy.ones(size // 32, 'f4') for _ in range(8)]), 'model', verify=False)"
    folder = tmp_path_factory.mktemp("large")
    python("-c", PEAK + code, 256 << 20, cwd=folder)
    return folder


def test_loading_large_arrays_takes_no_more_memory_than_they_have(large):
    code = "before = high_water(); model = thampi.load('model'); print((high_water() - before) / int(sys.argv[1]))"
    assert 0.9 < peak_over_bytes(code, large, 256 << 20) <= 1.1


def test_loading_a_model_that_copies_its_arrays_holds_one_of_them_twice(tmp_path):
    """As the trees of scikit-learn do: what was copied is given back before the next array comes."""
    code = """
class Tree:
    def __init__(self, nodes):
        self.nodes = nodes
    def __getstate__(self):
        return {"nodes": self.nodes}
    def __setstate__(self, state):
        self.nodes = state["nodes"].copy()
size = int(sys.argv[1])
thampi.save(Holder([Tree(numpy.ones(size // 128, "f8")) for _ in range(16)]), "model", verify=False)
"""
    python("-c", PEAK + code, 128 << 20, cwd=tmp_path)
    code = "before = high_water(); model = thampi.load('model'); print((high_water() - before) / int(sys.argv[1]))"
    assert 0.9 < peak_over_bytes(code, tmp_path, 128 << 20) <= 1.2


def test_a_large_value_in_the_pickle_is_read_into_its_place(tmp_path):
    code = "size = int(sys.argv[1]); thampi.save(Holder(bytearray(size)), 'model', verify=False)"
    python("-c", PEAK + code, 64 << 20, cwd=tmp_path)
    code = "before = high_water(); model = thampi.load('model'); print((high_water() - before) / int(sys.argv[1]))"
    assert 0.9 < peak_over_bytes(code, tmp_path, 64 << 20) <= 1.2


@pytest.mark.parametrize("layout", ["[::2]", "[:, ::2]", ".astype('M8[s]')", ".T[::2]"])
def test_saving_scattered_arrays_takes_no_copy_of_them(tmp_path, layout):
    code = f"""
size = int(sys.argv[1])
arrays = [numpy.ones((1024, size // 4 // 8 // 1024), "i8"){layout} for _ in range(4)]
thampi.save(Holder(numpy.ones((100, 100))[:, ::2]), "warm", verify=False)
before = high_water()
thampi.save(Holder(arrays), "model", verify=False)
print((high_water() - before) / sum(array.nbytes for array in arrays))
"""
    assert peak_over_bytes(code, tmp_path, 256 << 20) <= 0.25


@pytest.mark.long
def test_a_2_gib_array_is_saved_and_loaded_with_no_more_memory_than_it_has(tmp_path):
    code = """
size = int(sys.argv[1])
array = numpy.arange(size // 8)
thampi.save(Holder(array), "model", verify=False)
print((high_water() - size) / size)
"""
    assert peak_over_bytes(code, tmp_path, 2 << 30) <= 0.1
    code = """
before = high_water()
model = thampi.load("model")
print((high_water() - before) / int(sys.argv[1]))
assert model.held[0] == 0 and model.held[-1] == len(model.held) - 1 and model.held[12345678] == 12345678
"""
    assert peak_over_bytes(code, tmp_path, 2 << 30) <= 1.1


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_model_of_more_than_4_gib_is_the_same_from_a_folder_and_from_s3_and_in_memory_once(tmp_path):
    # Noise that comes again after 1 MiB is not compressed, zeros are. With what is stored, too, the places pass 2**32.
    code = """
import json
def made():
    noise = numpy.random.default_rng(0).integers(0, 2**63, 1 << 17)
    for number, mib in enumerate((2560, 256, 1700)):
        array = numpy.zeros((mib, 1 << 17), "i8")
        if number != 1:
            array[:] = noise
        array[:, 0] = numpy.arange(mib) - number
        yield array
"""
    save = """
arrays = list(made())
size = sum(array.nbytes for array in arrays)
thampi.save(Holder(arrays), "model", verify=False)
print((high_water() - size) / size)
"""
    assert float(python("-c", PEAK + code + save, cwd=tmp_path)) <= 0.05
    about = bundle.read(tmp_path / "model")
    assert about.buffers[0][1] > 2**31
    assert about.buffers[2][0] < 2**32 < about.files["buffers"].size
    assert {part.codec for part in about.parts_of("buffers")} == {"none", "zstd"}
    load = """
before = high_water()
model = thampi.load(sys.argv[1], **json.loads(sys.argv[2]))
peak = high_water() - before
for array, wanted in zip(model.held, made(), strict=True):
    assert array.flags.writeable and (array == wanted).all()
print(peak / sum(array.nbytes for array in model.held))
"""
    assert 0.9 < float(python("-c", PEAK + code + load, "model", "{}", cwd=tmp_path)) <= 1.03
    sha256 = hashlib.sha256((tmp_path / "model/thampi.json").read_bytes()).hexdigest()
    with s3_server.running(tmp_path.parent, Line()) as port:
        words = [f"s3://{tmp_path.name}/model", json.dumps({"sha256": sha256})]
        where = environment.endpoint(port)
        assert 0.9 < float(python("-c", PEAK + code + load, *words, cwd=tmp_path, **where)) <= 1.03


# A folder that this process could not write to, as in an image: the buffers are used in place.


@pytest.fixture
def read_only(monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)


def test_in_a_read_only_folder_buffers_are_the_file_itself_and_what_is_written_stays_here(tmp_path, read_only):
    contents = [random_bytes(size, size) for size in (100, 20_000, 300_000, 5_000_000, 131_072, 70_000)]
    about = bundle_of(tmp_path, contents, cuts=[50, 250_000, 1_000_000])
    found = list(buffers(tmp_path, about))
    assert [bytes(buffer) for buffer in found] == contents
    assert isinstance(found[3].obj, mmap.mmap)
    for buffer in found:
        assert not buffer.readonly
        buffer[:] = bytes(len(buffer))
    assert [bytes(buffer) for buffer in buffers(tmp_path, about)] == contents


@settings(deadline=None, max_examples=50)
@given(SIZES, st.lists(st.integers(0, 2**24), max_size=40))
def test_in_a_read_only_folder_buffers_come_out_as_they_went_in_wherever_they_begin(sizes, cuts):
    contents = [random_bytes(size, number) for number, size in enumerate(sizes)]
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
        about = bundle_of(Path(name), contents, cuts)
        assert [bytes(buffer) for buffer in buffers(Path(name), about)] == contents


@pytest.mark.parametrize("place", [0, 100_000, 3_000_000])
def test_in_a_read_only_folder_each_part_is_checked_as_elsewhere(tmp_path, read_only, place):
    contents = [random_bytes(4_000_000)]
    about = bundle_of(tmp_path, contents, cuts=[2_000_000])
    with (tmp_path / "buffers").open("r+b") as file:
        os.pwrite(file.fileno(), bytes([contents[0][place] ^ 1]), place)
    with pytest.raises(BundleError, match="not those that were saved"):
        list(buffers(tmp_path, about))


def test_in_a_folder_that_can_be_written_a_change_of_the_file_changes_no_array(tmp_path):
    contents = [random_bytes(300_000)]
    found = list(buffers(tmp_path, bundle_of(tmp_path, contents, cuts=[])))
    (tmp_path / "buffers").write_bytes(b"")
    assert bytes(found[0]) == contents[0]


def test_a_model_in_a_read_only_folder_takes_no_memory_but_the_file_s(tmp_path):
    code = "thampi.save(Holder(numpy.random.default_rng(0).random(int(sys.argv[1]) // 8)), 'model', verify=False)"
    python("-c", PEAK + code, 128 << 20, cwd=tmp_path)
    code = """
import os
os.access = lambda path, mode: mode != os.W_OK
def own():
    return 1024 * int(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("RssAnon")))
before = own()
model = thampi.load("model")
assert model.held.sum() > 0
print((own() - before) / int(sys.argv[1]))
"""
    assert peak_over_bytes(code, tmp_path, 128 << 20) <= 0.2


def test_a_plain_pickle_of_the_same_buffers_agrees(tmp_path):
    """The layout on disk is nothing but pickle's own protocol: a reader of a few lines gets the same."""
    arrays = [np.arange(10_000), np.arange(30_000.0)]
    saved = thampi.save(Holder(arrays), "model", tmp_path, verify=False)
    about = bundle.read(saved)
    content = (saved / about.files["buffers"].name).read_bytes()
    pieces = [content[offset : offset + size] for offset, size in about.buffers]
    model = pickle.loads((saved / about.files["pickle"].name).read_bytes(), buffers=pieces)
    assert all((one == two).all() for one, two in zip(model.held, arrays, strict=True))
