"""A model that can't be loaded or asked in a fresh process is refused, and what was saved before stays."""

import os
import signal
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import thampi
from thampi.errors import BundleError
from thampi.runtime import bundle

from .fresh import Holder, files_in, python


def refused(tmp_path: Path, model: thampi.Model, **keywords) -> BundleError:
    """Save over a good model; return why that was refused, and see that the good one is untouched."""
    saved = thampi.save(Holder("good"), "model", tmp_path, verify=False)
    before = files_in(tmp_path)
    with pytest.raises(BundleError) as raised:
        thampi.save(model, "model", tmp_path, **keywords)
    assert files_in(tmp_path) == before
    assert thampi.load(saved).held == "good"
    assert raised.value.message.startswith(f"{saved} was not saved: in a fresh process ")
    assert "saving-" not in str(raised.value)  # the folder aside is nothing that users know
    return raised.value


def fails_elsewhere(here: int) -> str:
    if os.getpid() != here:
        raise RuntimeError("only in the process that made it")
    return "fine"


class Reduces:
    def __init__(self, make, *arguments):
        self.made = make, arguments

    def __reduce__(self):
        return self.made


def test_what_works_only_in_this_process_is_refused_with_the_reason(tmp_path):
    error = refused(tmp_path, Holder(Reduces(fails_elsewhere, os.getpid())))
    assert "can't be loaded: RuntimeError: only in the process that made it" in error.message
    assert "in fails_elsewhere" in error.hint  # the traceback of the other process


def test_a_file_that_only_this_process_has_is_refused(tmp_path):
    (tmp_path / "words.txt").write_text("")
    model = Holder(Reduces(os.stat, str(tmp_path / "words.txt")))
    thampi.save(model, "fine", tmp_path)
    (tmp_path / "words.txt").unlink()
    (tmp_path / "fine" / "thampi.json").unlink()
    assert "FileNotFoundError" in refused(tmp_path, model).message


def test_a_module_that_exists_only_in_memory_is_refused_by_name(tmp_path):
    import types

    made_up = types.ModuleType("made_up")
    exec("def made(): pass", vars(made_up))
    made_up.made.__module__ = "made_up"
    sys.modules["made_up"] = made_up
    try:
        error = refused(tmp_path, Holder(Reduces(made_up.made)))
    finally:
        del sys.modules["made_up"]
    assert "needs `made_up`, which is not installed here" in error.message
    assert "build.include" in error.hint


def kill_itself():
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(
    ("do", "code"), [(lambda: sys.exit(0), 0), (lambda: os._exit(3), 3), (kill_itself, -signal.SIGKILL.value)]
)
def test_a_process_that_ends_while_loading_is_refused(tmp_path, do, code):
    error = refused(tmp_path, Holder(Reduces(only_elsewhere, os.getpid(), do)))
    assert f"ended with code {code}" in error.message
    assert "verify=False" in error.hint


def only_elsewhere(here, do):
    if os.getpid() != here:
        do()


class Fails(Holder):
    def predict(self, args, context):
        raise ValueError(f"no answer to {args}")


class Chatty(Holder):
    def __init__(self, held=None):
        super().__init__(held)

    def initialize(self, context):
        print("initialized")

    def predict(self, args, context):
        print("asked", file=sys.stderr)
        return np.array([args["x"], context.remaining_ms()])


class AnswersNothingJson(Holder):
    def predict(self, args, context):
        return {"model": object()}


class NeedsInitialize(Holder):
    def initialize(self, context):
        self.ready = context.properties["tags"]["ready"]

    def predict(self, args, context):
        return self.ready


def test_an_example_that_fails_is_refused_with_its_traceback(tmp_path):
    error = refused(tmp_path, Fails(), example={"x": 1})
    assert "could not answer the example: ValueError: no answer to {'x': 1}" in error.message
    assert error.hint.startswith("mend `predict`, or the example")
    assert "raise ValueError" in error.hint or "in predict" in error.hint


def test_an_answer_that_json_can_not_say_is_refused(tmp_path):
    assert "`object` has no form in JSON" in refused(tmp_path, AnswersNothingJson(), example=1).message


def test_the_example_is_answered_after_initialize_as_where_the_model_is_served(tmp_path):
    thampi.save(NeedsInitialize(), "model", tmp_path, tags={"ready": True}, example=1)
    assert "KeyError" in refused(tmp_path, NeedsInitialize(), example=1).message


def test_without_an_example_the_model_is_only_loaded(tmp_path):
    thampi.save(Fails(), "model", tmp_path)


def test_what_a_model_prints_stays_out_of_the_way(tmp_path, capfd):
    thampi.save(Chatty(), "model", tmp_path, example={"x": 1})
    assert capfd.readouterr() == ("", "")


def test_told_not_to_nobody_proves_anything(tmp_path):
    thampi.save(Fails(Reduces(fails_elsewhere, os.getpid())), "model", tmp_path, example=1, verify=False)


def test_without_a_python_to_start_the_way_out_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nowhere"))
    with pytest.raises(BundleError, match="can't start a fresh Python") as raised:
        thampi.save(Holder(), "model", tmp_path)
    assert "verify=False" in raised.value.hint


# What follows runs scripts as people write them: in a folder of their own, that the fresh process must not see.


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    return folder


LOAD = "import sys, json, thampi\n"
LOAD += "print(json.dumps(thampi.load(sys.argv[1]).predict(json.loads(sys.argv[2]), thampi.Context())))"


def asked_elsewhere(tmp_path: Path, saved: Path, question: str) -> str:
    """Return the answer of a model in a process that sees nothing of the project."""
    (tmp_path / "elsewhere").mkdir(exist_ok=True)
    return python("-c", LOAD, saved, question, cwd=tmp_path / "elsewhere").strip()


def test_a_class_in_the_script_itself_goes_along(tmp_path):
    files = {
        "train.py": """
            import math
            import thampi

            FACTOR = 3

            def scaled(value):
                return math.floor(value * FACTOR)

            class Model(thampi.Model):
                def __init__(self, offset):
                    self.offset = offset

                def predict(self, args, context):
                    return scaled(args) + self.offset

            if __name__ == "__main__":
                thampi.save(Model(1), "model", "models", example=1.5)
            """
    }
    folder = write(tmp_path / "project", files)
    python("train.py", cwd=folder)
    assert asked_elsewhere(tmp_path, folder / "models/model", "2.5") == "8"


SPAM = {
    "spam/__init__.py": "from spam.model import Filter\n",
    "spam/text/__init__.py": "",
    "spam/text/words.py": """
        import re

        WORD = re.compile(r"[a-z]+")

        def words(text):
            return WORD.findall(text.lower())
        """,
    "spam/model.py": """
        import spam.text.words
        import thampi
        from . import text
        from .text.words import words
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.naive_bayes import MultinomialNB
        from sklearn.pipeline import make_pipeline

        class Filter(thampi.Model):
            def __init__(self, texts, labels):
                self.pipeline = make_pipeline(TfidfVectorizer(tokenizer=words, token_pattern=None), MultinomialNB())
                self.pipeline.fit(texts, labels)

            def predict(self, args, context):
                assert spam.text.words.words is text.words.words
                return {"result": str(self.pipeline.predict([args["text"]])[0]), "words": words(args["text"])}
        """,
    "train.py": """
        import thampi
        from spam import Filter

        texts = ["win a free prize now", "free money win", "lunch at noon?", "see you at the meeting"]
        model = Filter(texts, ["spam", "spam", "ham", "ham"])
        thampi.save(model, "spam", "models", example={"text": "free lunch"})
        """,
}


def test_a_pipeline_in_a_package_of_the_project_goes_along(tmp_path):
    folder = write(tmp_path / "project", SPAM)
    python("train.py", cwd=folder)
    answer = asked_elsewhere(tmp_path, folder / "models/spam", '{"text": "Win money"}')
    assert answer == '{"result": "spam", "words": ["win", "money"]}'
    about = bundle.read(folder / "models/spam")
    assert {"scikit-learn", "numpy"} <= set(about.distributions)
    assert not any(name.startswith("spam") for name in about.modules)


SMALL = {
    "features/__init__.py": "",
    "features/words.py": "def words(text):\n    return text.split()\n",
    "model.py": """
        import thampi
        from features.words import words

        class Counts(thampi.Model):
            def predict(self, args, context):
                return len(words(args))
        """,
    "train.py": """
        import thampi
        from model import Counts
        thampi.save(Counts(), "model", "models", example="a b")
        """,
}


def pickle_of(saved: Path) -> bytes:
    return next(saved.glob("model-*.pkl")).read_bytes()


def test_what_the_project_ships_as_files_is_only_named(tmp_path):
    folder = write(tmp_path / "project", SMALL | {"thampi.toml": 'name = "x"\n[build]\ninclude = ["features/"]\n'})
    python("train.py", cwd=folder)
    assert b"features.words" in pickle_of(folder / "models/model")
    assert b"split" not in pickle_of(folder / "models/model")
    with pytest.raises(AssertionError, match="needs `features`"):
        asked_elsewhere(tmp_path, folder / "models/model", '"a b c"')
    answer = python("-c", LOAD, "models/model", '"a b c"', cwd=folder)
    assert answer == "3\n"


def test_without_include_all_of_the_project_goes_along(tmp_path):
    folder = write(tmp_path / "project", SMALL | {"thampi.toml": 'name = "x"\n'})
    python("train.py", cwd=folder)
    assert asked_elsewhere(tmp_path, folder / "models/model", '"a b c"') == "3"


@pytest.mark.parametrize("toml", ["[build", "build = 7", '[build]\ninclude = "features"', "[build]\ninclude = [7]"])
def test_a_broken_thampi_toml_is_for_the_command_line_to_report(tmp_path, toml):
    folder = write(tmp_path / "project", SMALL | {"thampi.toml": toml})
    python("train.py", cwd=folder)
    assert asked_elsewhere(tmp_path, folder / "models/model", '"a b c"') == "3"


NESTED = {
    "shop/__init__.py": "NAME = 'shop'\n",
    "shop/features/__init__.py": "",
    "shop/features/words.py": "def words(text):\n    return text.split()\n",
    "shop/features/words.txt": "",
    "shop/model.py": """
        import thampi
        from shop.features.words import words

        class Counts(thampi.Model):
            def predict(self, args, context):
                return len(words(args))
        """,
    "train.py": """
        import thampi
        from shop.model import Counts
        thampi.save(Counts(), "model", "models", example="a b")
        """,
    "thampi.toml": '[build]\ninclude = ["shop/features"]\n',
}


def test_a_package_inside_a_package_ships_and_the_rest_goes_along(tmp_path):
    folder = write(tmp_path / "project", NESTED)
    python("train.py", cwd=folder)
    content = pickle_of(folder / "models/model")
    assert b"shop.features.words" in content
    assert b"split" not in content
    assert b"Counts" in content
    assert b"predict" in content  # by value: what it does, not where it is


def test_the_fresh_process_sees_what_ships_and_no_other_module_of_the_project(tmp_path):
    hidden = """
        import thampi

        class Model(thampi.Model):
            def predict(self, args, context):
                import helpers
                return helpers.value
        """
    files = {
        "helpers.py": "value = 1\n",
        "features.py": "",
        "model.py": hidden,
        "train.py": "import thampi, model\nthampi.save(model.Model(), 'model', 'models', example=1)\n",
        "thampi.toml": '[build]\ninclude = ["features.py"]\n',
    }
    folder = write(tmp_path / "project", files)
    said = python("train.py", cwd=folder, fails=True)
    assert "could not answer the example: ModuleNotFoundError: No module named 'helpers'" in said
    assert "build.include" in said
    (folder / "thampi.toml").write_text('[build]\ninclude = ["features.py", "helpers.py"]\n')
    python("train.py", cwd=folder)


def test_a_package_without_an_init_goes_along(tmp_path):
    files = {
        "words/count.py": "def count(text):\n    return len(text.split())\n",
        "train.py": """
            import thampi
            import words.count

            class Model(thampi.Model):
                def predict(self, args, context):
                    return words.count.count(args)

            thampi.save(Model(), "model", "models", example="a b")
            """,
    }
    folder = write(tmp_path / "project", files)
    python("train.py", cwd=folder)
    assert asked_elsewhere(tmp_path, folder / "models/model", '"a b c"') == "3"


def test_a_model_made_in_a_worker_process_goes_along(tmp_path):
    files = {
        "train.py": """
            import multiprocessing
            import thampi

            class Model(thampi.Model):
                def predict(self, args, context):
                    return args

            def train():
                thampi.save(Model(), "model", "models", example="a b")

            if __name__ == "__main__":
                process = multiprocessing.get_context("spawn").Process(target=train)
                process.start()
                process.join()
                assert process.exitcode == 0
            """,
    }
    folder = write(tmp_path / "project", files)
    python("train.py", cwd=folder)
    assert asked_elsewhere(tmp_path, folder / "models/model", '"a"') == '"a"'


def test_what_can_not_go_along_in_a_module_of_the_project_is_named(tmp_path):
    files = {
        "store.py": "import threading\nLOCK = threading.Lock()\nrows = [1]\n",
        "train.py": """
            import thampi
            import store

            class Model(thampi.Model):
                def predict(self, args, context):
                    return store.rows

            thampi.save(Model(), "model", "models")
            """,
    }
    said = python("train.py", cwd=write(tmp_path / "project", files), fails=True)
    assert "the global `store.LOCK` can't be saved" in said


def test_a_module_run_with_m_goes_along(tmp_path):
    train = """
        import thampi
        from .values import VALUE

        class Model(thampi.Model):
            def predict(self, args, context):
                return VALUE

        thampi.save(Model(), "model", "models", example=1)
        """
    files = {"shop/__init__.py": "", "shop/values.py": "VALUE = 7\n", "shop/train.py": train}
    folder = write(tmp_path / "project", files)
    python("-m", "shop.train", cwd=folder)
    assert asked_elsewhere(tmp_path, folder / "models/model", "1") == "7"


def test_dataclasses_enums_and_inheritance_of_the_project_go_along(tmp_path):
    files = {
        "parts.py": """
            import dataclasses, enum, typing
            import thampi

            class Colour(enum.Enum):
                RED = "red"

            @dataclasses.dataclass(frozen=True)
            class Settings:
                colour: Colour = Colour.RED
                more: list = dataclasses.field(default_factory=list)

            class Point(typing.NamedTuple):
                x: int

            class Base(thampi.Model):
                def __init__(self):
                    super().__init__()
                    self.settings = Settings()

                def initialize(self, context):
                    self.point = Point(3)

            class Model(Base):
                def initialize(self, context):
                    super().initialize(context)

                def predict(self, args, context):
                    self.initialize(context)
                    assert isinstance(self.settings, Settings) and self.settings.colour is Colour(args)
                    if args != "red":
                        raise thampi.BadRequest("no")
                    return [self.settings.colour.value, self.point.x]
            """,
        "train.py": "import thampi, parts\nthampi.save(parts.Model(), 'model', 'models', example='red')\n",
    }
    folder = write(tmp_path / "project", files)
    python("train.py", cwd=folder)
    assert asked_elsewhere(tmp_path, folder / "models/model", '"red"') == '["red", 3]'
