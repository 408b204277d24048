"""thampi.load: the model, or a BundleError that says what to do."""

import json
import pickle
import sys
import threading
from pathlib import Path

import cloudpickle
import numpy as np
import pytest

import thampi
from thampi.errors import BundleError
from thampi.runtime import bundle

from .fresh import Holder, python

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture
def saved(tmp_path) -> Path:
    return thampi.save(Holder(np.arange(5000)), "model", tmp_path, verify=False)


def edit(saved: Path, **keys) -> None:
    path = saved / "thampi.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | keys))


def refused(source) -> BundleError:
    with pytest.raises(BundleError) as raised:
        thampi.load(source)
    return raised.value


def test_a_model_is_loaded_from_a_path_of_any_kind(saved, monkeypatch):
    for source in (saved, str(saved), str(saved) + "/"):
        assert thampi.load(source).held.sum() == 12497500
    monkeypatch.chdir(saved)
    assert thampi.load(".").held.sum() == 12497500


def test_a_folder_that_was_moved_still_loads(saved, tmp_path):
    saved.rename(tmp_path / "moved")
    assert thampi.load(tmp_path / "moved").held.sum() == 12497500


def test_a_read_only_folder_loads(saved):
    for path in saved.iterdir():
        path.chmod(0o444)
    saved.chmod(0o555)
    assert thampi.load(saved).held.sum() == 12497500
    saved.chmod(0o755)


@pytest.mark.parametrize("other", ["3.6.9", "3.10.1", "3.99.0", "2.7.18", "4.0.0"])
def test_a_model_of_another_python_is_refused_before_it_is_unpickled(saved, other):
    edit(saved, python=other)
    (saved / bundle.read(saved).files["pickle"].name).unlink()  # nothing of it is looked at
    error = refused(saved)
    assert f"saved with Python {other}, and this is Python {HERE}" in error.message
    assert "save it again with Python" in error.hint


def test_another_patch_release_of_this_python_is_fine(saved):
    edit(saved, python=f"{HERE}.99")
    assert thampi.load(saved).held.sum() == 12497500


def test_a_newer_format_is_refused_with_the_cure(saved):
    edit(saved, format=2, thampi="9.0")
    error = refused(saved)
    assert "newer thampi (9.0)" in error.message
    assert error.hint == "pip install --upgrade thampi"


NEEDS = """
import sys, thampi
import wanted_lib

class Model(thampi.Model):
    def __init__(self):
        self.thing = wanted_lib.Thing()
    def predict(self, args, context):
        return wanted_lib.answer()

if len(sys.argv) > 1:
    thampi.save(Model(), "model", verify=False)
"""


@pytest.fixture
def needs_a_library(tmp_path) -> Path:
    """A model that was saved where a library was installed which is not installed here."""
    site = tmp_path / "site"
    (site / "Wanted_Lib-2.5.dist-info").mkdir(parents=True)
    (site / "Wanted_Lib-2.5.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: Wanted-Lib\nVersion: 2.5\n"
    )
    (site / "Wanted_Lib-2.5.dist-info" / "RECORD").write_text("wanted_lib.py,,\n")
    (site / "wanted_lib.py").write_text("class Thing:\n    pass\n\ndef answer():\n    return 7\n")
    (tmp_path / "train.py").write_text(NEEDS)
    code = f"import sys, runpy; sys.path.insert(0, {str(site)!r}); sys.argv.append('save')\n"
    python("-c", code + "runpy.run_path('train.py', run_name='__main__')", cwd=tmp_path)
    return tmp_path / "model"


def test_a_missing_library_is_named_with_the_line_for_the_dependency_file(needs_a_library):
    error = refused(needs_a_library)
    assert "needs `wanted_lib`, which is not installed here" in error.message
    assert "Wanted-Lib==2.5" in error.hint
    assert "numpy" not in error.hint
    assert isinstance(error.__cause__, ModuleNotFoundError)


def test_a_library_that_changed_is_named_with_both_versions(needs_a_library, tmp_path, monkeypatch):
    site = tmp_path / "site"
    (site / "Wanted_Lib-2.5.dist-info").rename(site / "Wanted_Lib-3.0.dist-info")
    (site / "Wanted_Lib-3.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: Wanted-Lib\nVersion: 3.0\n"
    )
    (site / "wanted_lib.py").write_text("class Other:\n    pass\n")
    monkeypatch.syspath_prepend(site)
    try:
        error = refused(needs_a_library)
    finally:
        sys.modules.pop("wanted_lib", None)
    assert "can't be loaded: AttributeError" in error.message
    assert error.hint == "it was saved with Wanted-Lib==2.5 (here 3.0)"


def test_what_was_saved_must_be_a_model(tmp_path):
    folder = thampi.save(Holder(), "model", tmp_path, verify=False)
    content = pickle.dumps({"not": "a model"})
    import hashlib

    name = bundle.read(folder).files["pickle"].name
    (folder / name).write_bytes(content)
    part = {"file": "pickle", "offset": 0, "size": len(content), "stored": len(content), "codec": "none"}
    edit(
        folder,
        files={"pickle": {"name": name, "size": len(content)}},
        parts=[part | {"sha256": hashlib.sha256(content).hexdigest()}],
        buffers=[],
    )
    assert "is a dict, not a thampi.Model" in refused(folder).message


def test_a_bucket_is_no_folder():
    assert "s3://" in refused("s3://bucket/thampi/iris").message


# Bundles of thampi 0.1.0: `model.pkl` and a thampi.json of four keys.

ORIGINAL = {
    "thampi_data_version": "0.1",
    "trained_time_utc": "2018-05-25T17:28:53.354000",
    "instance_id": "f0e1c6a0-0000-4000-8000-000000000000",
    "tags": {"name": "iris"},
}

SAVE_ORIGINAL = """
import abc, sys, types
import cloudpickle

# The package as it was: what it called things is all that is left of it in a pickle.
for name in ("thampi", "thampi.core", "thampi.core.model", "thampi.core.thampi_core"):
    sys.modules[name] = types.ModuleType(name)
exec('''
class ThampiContext(object):
    pass
''', vars(sys.modules["thampi.core.thampi_core"]))
exec('''
import abc
class Model(object):
    __metaclass__ = abc.ABCMeta
    @abc.abstractmethod
    def initialize(self, context): pass
    @abc.abstractmethod
    def predict(self, args, context): pass
''', vars(sys.modules["thampi.core.model"]))
thampi = sys.modules["thampi"]
thampi.Model = sys.modules["thampi.core.model"].Model
ThampiContext = sys.modules["thampi.core.thampi_core"].ThampiContext

class Base(thampi.Model):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

class ThampiWrapper(Base):
    def initialize(self, context: ThampiContext) -> None:
        self.ready = True

    def predict(self, args, context: ThampiContext):
        return {"result": self.factor * args["input"]}

with open("model.pkl", "wb") as file:
    cloudpickle.dump(ThampiWrapper(3), file)
"""


@pytest.fixture
def original(tmp_path) -> Path:
    folder = tmp_path / "original"
    folder.mkdir()
    (folder / "thampi.json").write_text(json.dumps(ORIGINAL, indent=4, ensure_ascii=False))
    python("-c", SAVE_ORIGINAL, cwd=folder)
    return folder


def test_a_bundle_of_the_original_loads_and_answers(original):
    model = thampi.load(original)
    assert isinstance(model, thampi.Model)
    model.initialize(thampi.Context())
    assert model.predict({"input": 2}, thampi.Context()) == {"result": 6}
    assert bundle.read(original).properties("now") == ORIGINAL | {"served_time_utc": "now"}


def test_a_model_of_the_original_can_be_saved_again_and_is_one_of_ours(original, tmp_path):
    saved = thampi.save(thampi.load(original), "again", tmp_path, example={"input": 2})
    assert b"thampi.runtime" not in next(saved.glob("*.pkl")).read_bytes()
    assert thampi.load(saved).predict({"input": 2}, thampi.Context()) == {"result": 6}


def test_saving_over_a_bundle_of_the_original_takes_its_pickle_away(original):
    thampi.save(thampi.load(original), "original", original.parent)
    assert not (original / "model.pkl").exists()
    assert thampi.load(original).predict({"input": 2}, None) == {"result": 6}


def test_a_bundle_of_the_original_without_its_pickle_is_refused(original):
    (original / "model.pkl").unlink()
    assert "model.pkl is missing" in refused(original).message


@pytest.mark.parametrize("content", [b"", b"\x80\x03}q\x00", b"garbage", pickle.dumps(Holder)])
def test_a_pickle_of_the_original_that_is_beyond_us_says_to_save_again(original, content):
    (original / "model.pkl").write_bytes(content)
    error = refused(original)
    assert "save the model again" in error.hint or "thampi.Model" in error.hint


def test_a_damaged_pickle_says_what_python_made_of_it(original):
    (original / "model.pkl").write_bytes(cloudpickle.dumps(Holder(1))[:-20])
    assert "can't be loaded" in refused(original).message


def test_what_the_model_itself_misses_is_not_taken_for_its_pickle(original):
    code = "import cloudpickle, os\nclass Gone:\n    def __reduce__(self):\n        return open, ('/no/such/file',)\n"
    python("-c", code + "cloudpickle.dump(Gone(), open('model.pkl', 'wb'))", cwd=original)
    assert "can't be loaded: FileNotFoundError" in refused(original).message


def test_who_lost_the_race_against_a_save_loads_what_was_saved(tmp_path, monkeypatch):
    place = thampi.save(Holder("old"), "model", tmp_path, verify=False)
    read = bundle.read_manifest

    def read_and_save(folder):
        manifest = read(folder)
        monkeypatch.undo()
        thampi.save(Holder("new"), "model", tmp_path, verify=False)  # sweeps what the old thampi.json names
        return manifest

    monkeypatch.setattr(bundle, "read_manifest", read_and_save)
    assert thampi.load(place).held == "new"


def test_a_save_while_a_model_is_loaded_breaks_no_load(tmp_path):
    """A save takes the old files away when the new ones stand: who had read the old thampi.json reads the new one."""
    place = thampi.save(Holder(np.zeros(100_000)), "place", tmp_path, verify=False)
    done = threading.Event()

    def save_all_the_time():
        number = 0
        while not done.is_set():
            number += 1
            thampi.save(Holder(np.full(100_000, number)), "place", tmp_path, verify=False)

    saver = threading.Thread(target=save_all_the_time)
    saver.start()
    seen = []
    try:
        while len(seen) < 400 or len(set(seen)) < 10:  # however the machine shares its time; pytest has a limit
            seen.append(float(thampi.load(place).held[-1]))
    finally:
        done.set()
        saver.join()
    assert seen == sorted(seen)  # never an older one again
