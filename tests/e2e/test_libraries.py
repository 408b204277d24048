"""Libraries that write caches, ask who they are or want shared memory work where there is nothing but /tmp.

One image has them all. Each is tried in a container of its own: read-only, no network, no shared memory, a user without
name, home or rights; and says nothing on stderr, which would be in every log.
"""

import functools
import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import uv

from tests.e2e.conftest import LIKE_LAMBDA, unique

pytestmark = pytest.mark.docker

REPO = Path(__file__).resolve().parents[2]
LAMBDA = (*LIKE_LAMBDA, "--ipc=none", "--cap-drop=ALL", "--security-opt=no-new-privileges")
LIBRARIES = ("duckdb", "joblib", "matplotlib", "nltk", "numba", "pooch", "scikit-learn", "transformers", "wandb")

MODULE = """
import numba
import numpy

import thampi


@numba.njit(cache=True)
def total(numbers):
    found = 0.0
    for number in numbers:
        found += number
    return found


class Adds(thampi.Model):
    def predict(self, args, context):
        return {"total": total(numpy.array(args["numbers"], dtype=float))}
"""
TRAIN = """
import thampi
from adding import Adds

thampi.save(Adds(), "adds", "models", example={"numbers": [1, 2]})
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """A Python with numba and thampi, as its user has it."""
    folder = tmp_path_factory.mktemp("venv")
    run = functools.partial(subprocess.run, check=True, capture_output=True)
    run([uv.find_uv_bin(), "venv", "--python", sys.executable, str(folder)])
    run([uv.find_uv_bin(), "pip", "install", "--python", str(folder / "bin/python"), "numba", "-e", str(REPO)])
    return str(folder / "bin/python")


@pytest.fixture(scope="module")
def project(tmp_path_factory, command, python):
    """A model whose function numba compiles, and a dependency file with all the libraries."""
    folder = tmp_path_factory.mktemp("adding")
    files = {
        "adding.py": MODULE,
        "train.py": TRAIN,
        "requirements.txt": "".join(f"{name}\n" for name in LIBRARIES),
        "thampi.toml": f'name = "{unique("adding")}"\nmodel_dir = "models/adds"\n'
        '[build]\ndependency_file = "requirements.txt"\n',
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    done = command("train.py", cwd=folder, python=python)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def image(project, command, client):
    done = command("thampi", "build", cwd=project)
    assert done.returncode == 0, done.stderr
    reference = done.stdout.splitlines()[-1]
    yield reference
    client.run("rmi", "--force", reference)


def test_a_model_whose_function_numba_compiles_and_caches_answers(image, project, running):
    with running(image, project / "models/adds", *LAMBDA) as container:
        assert container.invoke({"data": {"numbers": [1, 2, 3.5]}})["result"] == {"total": 6.5}
        assert "arning" not in container.logs()


TRIALS = {
    "numba caches a function of a file": """
        import pathlib, sys
        import numba

        pathlib.Path("/tmp/fast.py").write_text(
            "import numba\\n@numba.njit(cache=True)\\ndef double(number):\\n    return number * 2\\n"
        )
        sys.path.insert(0, "/tmp")
        import fast

        assert fast.double(21) == 42
        assert list(pathlib.Path("/tmp/.cache/numba").rglob("*.nbc"))
    """,
    "numba computes on all processors": """
        import numba

        @numba.njit(parallel=True)
        def total(count):
            found = 0
            for number in numba.prange(count):
                found += number
            return found

        assert total(10) == 45
    """,
    "matplotlib draws": """
        import io, os
        from matplotlib import pyplot

        pyplot.plot([1, 2, 3])
        pyplot.title("a title")
        drawn = io.BytesIO()
        pyplot.savefig(drawn)
        assert drawn.getvalue().startswith(b"\\x89PNG")
        assert any(name.startswith("fontlist") for name in os.listdir("/tmp/.config/matplotlib"))
    """,
    "nltk looks where one can write, and where include puts files": """
        import os
        import nltk
        from nltk.downloader import Downloader
        from nltk.stem import PorterStemmer

        assert PorterStemmer().stem("running") == "run"
        assert Downloader().default_download_dir() == "/tmp/nltk_data"
        os.makedirs("/tmp/nltk_data/corpora/words")
        assert nltk.data.find("corpora/words").startswith("/tmp/nltk_data")
        assert "/var/task/nltk_data" in nltk.data.path
    """,
    "joblib without shared memory does one after the other": """
        import joblib
        import numpy
        from sklearn.ensemble import RandomForestClassifier
        from sklearn.model_selection import cross_val_score

        assert joblib.Parallel(n_jobs=2)(joblib.delayed(abs)(-number) for number in range(9)) == list(range(9))
        data = numpy.random.default_rng(0).random((60, 3))
        forest = RandomForestClassifier(n_estimators=5, n_jobs=2).fit(data, data[:, 0] > 0.5)
        assert len(forest.predict(data)) == 60
        assert len(cross_val_score(forest, data, data[:, 0] > 0.5, n_jobs=2)) == 5
        assert joblib.Memory("/tmp/memory", verbose=0).cache(abs)(-1) == 1
    """,
    "transformers and the hub keep their files in /tmp": """
        import os
        os.environ["TRANSFORMERS_VERBOSITY"] = "error"  # that there is no torch is not what is tried
        import transformers
        from huggingface_hub import constants, try_to_load_from_cache

        assert constants.HF_HUB_CACHE == "/tmp/.cache/huggingface/hub"
        assert try_to_load_from_cache("somebody/something", "config.json") is None
        transformers.BertConfig().save_pretrained("/tmp/bert")
        assert transformers.AutoConfig.from_pretrained("/tmp/bert").model_type == "bert"
    """,
    "pooch fetches into its cache": """
        import pooch

        found = pooch.create(pooch.os_cache("mine"), base_url="", registry={"a": None})
        assert str(found.abspath) == "/tmp/.cache/mine"
        found.abspath.mkdir(parents=True)
        (found.abspath / "a").write_text("data")
        assert found.fetch("a") == "/tmp/.cache/mine/a"
    """,
    "duckdb spills into /tmp": """
        import duckdb

        found = duckdb.connect("/tmp/file.duckdb")
        found.sql("create table numbers as select range as number from range(1000)")
        assert found.sql("select sum(number) from numbers").fetchall() == [(499500,)]
    """,
    "wandb writes its run into /tmp": """
        import os, pathlib
        os.environ["WANDB_SILENT"] = "true"
        import wandb

        with wandb.init(mode="offline", project="any") as run:
            run.log({"loss": 1})
        assert list(pathlib.Path("/tmp/wandb").glob("offline-run-*"))
    """,
    "who asks for the user gets a name, and who asks for home /tmp": """
        import getpass, os, pathlib, tempfile

        assert getpass.getuser() == "lambda"
        assert {pathlib.Path.home(), pathlib.Path(tempfile.gettempdir())} == {pathlib.Path("/tmp")}
        for name, value in os.environ.items():
            if value.startswith("/tmp/") and ":" not in value:
                os.makedirs(value, exist_ok=True)
    """,
}


@pytest.mark.parametrize("trial", TRIALS)
def test_where_only_tmp_can_be_written(trial, image, client):
    words = ("run", "--rm", "--network=none", *LAMBDA, "--entrypoint=python3", image, "-c")
    done = client.run(*words, textwrap.dedent(TRIALS[trial]))
    assert (done.returncode, done.stderr) == (0, "")


def test_every_variable_of_a_cache_points_into_tmp(image, client):
    shown = client.run("image", "inspect", "--format", "{{json .Config.Env}}", image).stdout
    found = dict(line.split("=", 1) for line in json.loads(shown))
    places = {name: value for name, value in found.items() if name.endswith(("_HOME", "_DIR", "_DATA", "_FOLDER"))}
    assert len(places) > 10
    assert [name for name, value in places.items() if not value.startswith("/tmp")] == []
