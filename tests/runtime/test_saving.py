"""thampi.save: what a caller gives, what stands on disk, and every mistake said before anything is written."""

import datetime as dt
import json
import os
import re
import stat
import tempfile
import uuid
from pathlib import Path

import numpy as np
import pytest

import thampi
from thampi.errors import BundleError
from thampi.runtime import bundle

from .fresh import REPO, Holder, files_in, python


def refused(match, *arguments, **keywords):
    with pytest.raises(BundleError, match=match) as raised:
        thampi.save(*arguments, **keywords)
    return raised.value


def test_the_call_of_the_tutorial_works(tmp_path, monkeypatch):
    from sklearn.datasets import load_iris
    from sklearn.neighbors import KNeighborsClassifier

    flowers, species = load_iris(return_X_y=True)

    class ThampiWrapper(thampi.Model):
        def __init__(self, sklearn_model):
            self.sklearn_model = sklearn_model
            super().__init__()

        def initialize(self, context):
            pass

        def predict(self, args, context):
            result = self.sklearn_model.predict([args.get("input")])
            return {"result": int(result[0])}

    monkeypatch.chdir(tmp_path)
    model = ThampiWrapper(KNeighborsClassifier().fit(flowers, species))
    assert thampi.save(model, "iris-sklearn", "./models") == Path("models/iris-sklearn")
    loaded = thampi.load("models/iris-sklearn")
    loaded.initialize(thampi.Context())
    assert loaded.predict({"input": [5.9, 3.2, 4.8, 1.8]}, thampi.Context()) == {"result": 2}
    about = bundle.read(tmp_path / "models/iris-sklearn")
    assert {"scikit-learn", "numpy", "cloudpickle"} <= set(about.distributions)
    assert "sklearn.neighbors._classification" in about.modules


def test_the_example_of_the_repo_trains_and_saves(tmp_path):
    train = REPO / "examples/iris/train.py"
    python(train, cwd=tmp_path)
    code = "import thampi; print(thampi.load('models/iris-sklearn').predict({'input': [5.9, 3.2, 4.8, 1.8]}, None))"
    assert python("-c", code, cwd=tmp_path) == "{'result': 2}\n"


def test_without_a_path_the_model_is_saved_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert thampi.save(Holder(), "model", verify=False) == Path("model")
    assert (tmp_path / "model/thampi.json").is_file()


def test_thampi_json_says_what_is_known_of_the_model(tmp_path):
    saved = thampi.save(Holder(np.zeros(5000)), "model", tmp_path, example={"input": [1.5]}, verify=False)
    known = json.loads((saved / "thampi.json").read_bytes())
    assert known["thampi_data_version"] == "0.1"
    assert known["format"] == 1
    assert known["thampi"] == thampi.__version__
    assert re.fullmatch(r"3\.\d+\.\d+\S*", known["python"])
    assert re.fullmatch(r"(linux|darwin|win32)-\w+", known["platform"])
    assert known["tags"] == {}
    assert known["example"] == {"input": [1.5]}
    assert known["signature"]["request"] == {
        "type": "object",
        "properties": {"input": {"type": "array", "items": {"type": "number"}}},
        "required": ["input"],
    }
    assert re.fullmatch(r"model-[0-9a-f]{8}\.pkl", known["files"]["pickle"]["name"])
    assert re.fullmatch(r"model-[0-9a-f]{8}\.buffers", known["files"]["buffers"]["name"])
    assert {name: size["size"] for name, size in known["files"].items()} == {
        role: (saved / file["name"]).stat().st_size for role, file in known["files"].items()
    }
    assert set(files_in(saved)) == {"thampi.json", *(file["name"] for file in known["files"].values())}


def test_an_instance_id_is_a_new_uuid4_unless_it_is_given(tmp_path):
    def known(**keywords):
        return bundle.read(thampi.save(Holder(), "model", tmp_path, verify=False, **keywords)).instance_id

    one, two = known(), known()
    assert uuid.UUID(one).version == uuid.UUID(two).version == 4
    assert one != two
    assert known(instance_id="release-7") == "release-7"
    given = uuid.uuid4()
    assert known(instance_id=given) == str(given)


@pytest.mark.parametrize("wrong", ["", "a/b", "..", "a\\b", "a\nb", "\0"])
def test_an_instance_id_names_one_folder_of_the_store(tmp_path, wrong):
    refused("instance_id", Holder(), "model", tmp_path, instance_id=wrong)


BERLIN = dt.timezone(dt.timedelta(hours=2))


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (dt.datetime(2026, 9, 6, 22, 3, 4, 886644), "2026-09-06T22:03:04.886644Z"),
        (dt.datetime(2026, 9, 6, 22, 3, 4, tzinfo=dt.UTC), "2026-09-06T22:03:04.000000Z"),
        (dt.datetime(2026, 9, 7, 0, 3, 4, tzinfo=BERLIN), "2026-09-06T22:03:04.000000Z"),
        ("2026-09-06T22:03:04.886644", "2026-09-06T22:03:04.886644Z"),
        ("2026-09-06T22:03:04Z", "2026-09-06T22:03:04.000000Z"),
        ("2026-09-07T00:03:04+02:00", "2026-09-06T22:03:04.000000Z"),
        ("2026-09-06", "2026-09-06T00:00:00.000000Z"),
    ],
)
def test_the_time_of_training_is_kept_as_utc_with_a_z(tmp_path, given, kept):
    saved = thampi.save(Holder(), "model", tmp_path, trained_time_utc=given, verify=False)
    assert bundle.read(saved).trained_time_utc == kept


def test_the_time_of_training_is_now_unless_it_is_given(tmp_path):
    before = dt.datetime.now(dt.UTC)
    text = bundle.read(thampi.save(Holder(), "model", tmp_path, verify=False)).trained_time_utc
    assert text.endswith("Z")
    assert before <= dt.datetime.fromisoformat(text) <= dt.datetime.now(dt.UTC)


@pytest.mark.parametrize("wrong", ["yesterday", "", 1757196184, dt.date(2026, 9, 6), "0001-01-01T00:00:00+14:00"])
def test_what_is_no_time_is_refused(tmp_path, wrong):
    assert "2026-09-06T22:03:04Z" in refused("is not a time", Holder(), "model", tmp_path, wrong).hint


def test_tags_are_kept_as_json_says_them(tmp_path):
    tags = {"accuracy": 0.97, "classes": ("a", "b"), "nested": {"deep": [1, None]}, "wörter": "ü"}
    known = bundle.read(thampi.save(Holder(), "model", tmp_path, tags=tags, verify=False))
    assert known.tags == {**tags, "classes": ["a", "b"]}
    assert known.properties("now")["tags"] == known.tags


@pytest.mark.parametrize(
    "wrong", [["a"], "text", 7, {1: "a"}, {"a": np.arange(3)}, {"a": object()}, {"a": np.float32(1)}]
)
def test_tags_that_are_not_json_are_refused(tmp_path, wrong):
    refused("`tags`", Holder(), "model", tmp_path, tags=wrong)


@pytest.mark.parametrize(
    "wrong", [np.arange(3), {"input": np.arange(3)}, {"input": {1, 2}}, object(), b"bytes", "\ud800"]
)
def test_an_example_that_is_not_json_is_refused(tmp_path, wrong):
    assert ".tolist()" in refused("`example` is not JSON", Holder(), "model", tmp_path, example=wrong).hint


def test_a_plain_estimator_is_answered_with_five_lines_that_wrap_it(tmp_path):
    from sklearn.linear_model import LinearRegression

    estimator = LinearRegression().fit([[0.0], [1.0]], [0, 1])
    error = refused("a LinearRegression is not a thampi.Model", estimator, "model", tmp_path)
    lines = error.hint.partition("\n\n")[2]
    assert len(lines.splitlines()) == 5
    namespace = {"thampi": thampi}
    exec("if True:\n" + lines, namespace)  # the five lines do what they promise
    saved = thampi.save(namespace["MyModel"](estimator), "model", tmp_path, example={"input": [0.5]})
    assert thampi.load(saved).predict({"input": [0.5]}, thampi.Context()) == {"result": pytest.approx(0.5)}


class Mute(thampi.Model):
    pass


class Speaks(Mute):
    def predict(self, args, context):
        return args


class NoMethod(Speaks):
    predict = None


class Regular(Speaks):
    """Everything that can be called with args and context is a predict."""

    def predict(self, args, context=None, *more, key=1):
        return args


class OneArgument(Speaks):
    def predict(self, args):
        return args


class ThreeArguments(Speaks):
    def predict(self, args, context, more):
        return args


class OnlyKeywords(Speaks):
    def predict(self, *, args, context):
        return args


class Awaited(Speaks):
    async def predict(self, args, context):
        return args


class InitializesWrongly(Speaks):
    def initialize(self):
        pass


class InitializesNothing(Speaks):
    initialize = None


def test_a_class_without_predict_is_told_so_rather_than_to_make_one(tmp_path):
    assert "def predict(self, args, context)" in refused("Mute has no `predict`", Mute, "model", tmp_path).hint
    refused("NoMethod has no `predict`", NoMethod(), "model", tmp_path)


def test_a_class_instead_of_an_instance_is_said_so(tmp_path):
    assert "Speaks(…)" in refused("Speaks is a class", Speaks, "model", tmp_path).hint
    refused("int is a class", int, "model", tmp_path)


@pytest.mark.parametrize("wrong", [OneArgument, ThreeArguments, OnlyKeywords, Awaited])
def test_a_predict_that_can_not_be_called_with_args_and_context_is_refused(tmp_path, wrong):
    error = refused(f"`{wrong.__name__}.predict`", wrong(), "model", tmp_path)
    assert error.hint == "write `def predict(self, args, context)`"


@pytest.mark.parametrize("wrong", [InitializesWrongly, InitializesNothing])
def test_an_initialize_that_can_not_be_called_with_a_context_is_refused(tmp_path, wrong):
    error = refused(f"`{wrong.__name__}.initialize`", wrong(), "model", tmp_path)
    assert error.hint == "write `def initialize(self, context)`"


def test_a_predict_may_take_more_than_it_is_given(tmp_path):
    thampi.save(Regular(), "model", tmp_path, verify=False)


@pytest.mark.parametrize("wrong", ["", ".", "..", "a/b", "/a", "a\\b", "a\n", "\0", None, 7, Path("model")])
def test_a_name_names_one_folder(tmp_path, wrong):
    assert "./models/mymodel" in refused("can't be the name", Holder(), wrong, tmp_path).hint


def test_swapped_arguments_are_said_so(tmp_path):
    refused("a str is not a thampi.Model", "model", Holder(), tmp_path)


@pytest.mark.parametrize("name", ["iris-sklearn", "a b", "größe", "a[1]*?", ".hidden", "-", "x" * 200])
def test_any_folder_name_will_do_and_is_saved_to_again(tmp_path, name):
    for number in range(2):
        saved = thampi.save(Holder(number), name, tmp_path, verify=False)
    assert thampi.load(saved).held == 1
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_no_mistake_of_the_caller_leaves_anything_behind(tmp_path):
    for model, keywords in ((Speaks, {}), (7, {}), (Speaks(), {"tags": 7}), (Speaks(), {"trained_time_utc": "no"})):
        refused(None, model, "model", tmp_path / "models", **keywords)
    assert files_in(tmp_path) == {}


def test_everybody_can_read_what_was_saved_whatever_the_umask(tmp_path):
    before = os.umask(0o077)
    try:
        for number in range(2):
            saved = thampi.save(Holder(np.full(5000, number)), "model", tmp_path, verify=False)
    finally:
        os.umask(before)
    assert stat.S_IMODE(saved.stat().st_mode) == 0o755
    assert {stat.S_IMODE(path.stat().st_mode) for path in saved.iterdir()} == {0o644}
    assert len(list(saved.iterdir())) == 3


def test_a_path_that_can_not_be_made_is_said_so(tmp_path):
    (tmp_path / "file").write_text("")
    assert "permissions" in refused("can't save to", Holder(), "model", tmp_path / "file", verify=False).hint
    refused("can't save to", Holder(), "x" * 300, tmp_path, verify=False)


def test_a_file_in_the_place_of_the_folder_stays(tmp_path):
    (tmp_path / "model").write_text("mine")
    refused("can't save to", Holder(), "model", tmp_path, verify=False)
    assert files_in(tmp_path) == {"model": b"mine"}


def test_a_link_to_a_folder_is_followed(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "model").symlink_to(tmp_path / "elsewhere")
    for number in range(2):
        thampi.save(Holder(number), "model", tmp_path, verify=False)
    assert (tmp_path / "model").is_symlink()
    assert thampi.load(tmp_path / "elsewhere").held == 1


def test_a_link_to_another_disk_is_followed(tmp_path):
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no other disk")
    with tempfile.TemporaryDirectory(dir=memory) as elsewhere:
        (tmp_path / "model").symlink_to(Path(elsewhere, "model"))
        for number in range(2):
            thampi.save(Holder(number), "model", tmp_path, verify=False)
        assert thampi.load(Path(elsewhere, "model")).held == 1
        assert [path.name for path in Path(elsewhere).iterdir()] == ["model"]


def test_saving_the_same_model_again_names_the_same_files(tmp_path):
    one = thampi.save(Holder(np.arange(5000)), "model", tmp_path, verify=False)
    names = {file.name for file in bundle.read(one).files.values()}
    thampi.save(Holder(np.arange(5000)), "model", tmp_path, verify=False)
    assert {file.name for file in bundle.read(one).files.values()} == names
    thampi.save(Holder(np.arange(1, 5001)), "model", tmp_path, verify=False)
    assert len({file.name for file in bundle.read(one).files.values()} - names) == 1  # the pickle is the same


def test_a_loaded_model_can_be_saved_again(tmp_path):
    saved = thampi.save(Holder(np.arange(5000)), "one", tmp_path, verify=False)
    again = thampi.save(thampi.load(saved), "two", tmp_path)
    assert (thampi.load(again).held == np.arange(5000)).all()
