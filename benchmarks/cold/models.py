"""Models to load, saved by `thampi.save`, and the same models as others would have them.

    python -m benchmarks.cold.models KIND SIZE FOLDER       SIZE in MiB, about
    python -m benchmarks.cold.models --copy BUNDLE FOLDER   the same for a bundle that there is

FOLDER/bundle is ours, FOLDER/plain.pkl is cloudpickle's, FOLDER/model.joblib joblib's, and
FOLDER/model.safetensors (arrays and tensors only) that of safetensors. Prints what is there, as JSON.
"""

import contextlib
import json
import pickle
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import thampi

_MIB = 1024 * 1024


class Arrays(thampi.Model):
    """Arrays of random numbers, which don't compress."""

    def __init__(self, arrays: list[Any]) -> None:
        self.arrays = arrays

    def predict(self, args: Any, context: thampi.Context) -> Any:
        """Return the sum of a row of the last one."""
        return float(self.arrays[-1][-int(args) :].sum())


class Estimator(thampi.Model):
    """What scikit-learn fits."""

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator

    def predict(self, args: Any, context: thampi.Context) -> Any:
        """Return the class of one row."""
        return self.estimator.predict([args])[0]


class Network(thampi.Model):
    """A torch module."""

    def __init__(self, module: Any) -> None:
        self.module = module

    def predict(self, args: Any, context: thampi.Context) -> Any:
        """Return the first output for a vector of the same number."""
        import torch

        with torch.no_grad():
            return float(self.module(torch.full((1, self.module[0].in_features), float(args)))[0, 0])


class Words(thampi.Model):
    """Python objects, and nothing else."""

    def __init__(self, words: dict[str, str]) -> None:
        self.words = words

    def predict(self, args: Any, context: thampi.Context) -> Any:
        """Return what stands under a word."""
        return self.words[args]


def _arrays(mib: int) -> tuple[thampi.Model, Any]:
    import numpy

    source = numpy.random.default_rng(0)
    return Arrays([source.random(mib * _MIB // 4, dtype="float32")]), 100


def _pieces(mib: int) -> tuple[thampi.Model, Any]:
    """The same in pieces of 16 MiB, for sizes that come close to a limit."""
    import numpy

    source = numpy.random.default_rng(0)
    return Arrays([source.random(4 * _MIB, dtype="float32") for _ in range(max(1, mib // 16))]), 100


def _forest(mib: int) -> tuple[thampi.Model, Any]:
    import numpy
    from sklearn.ensemble import RandomForestClassifier

    source = numpy.random.default_rng(0)
    rows = source.random((24_000, 20)).astype("float32")
    found = RandomForestClassifier(max(1, int(mib * 1.4)), max_features=3, n_jobs=2, random_state=0)
    found.fit(rows, source.integers(0, 2, 24_000))
    found.n_jobs = None
    return Estimator(found), rows[0].tolist()


def _tiny(mib: int) -> tuple[thampi.Model, Any]:
    from sklearn.datasets import load_iris
    from sklearn.neighbors import KNeighborsClassifier

    return Estimator(KNeighborsClassifier().fit(*load_iris(return_X_y=True))), [5.9, 3.2, 4.8, 1.8]


def _torch(mib: int) -> tuple[thampi.Model, Any]:
    import torch

    torch.manual_seed(0)
    layers = [torch.nn.Linear(2048, 2048) for _ in range(max(1, mib // 16))]
    return Network(torch.nn.Sequential(*layers)), 0.5


def _words(mib: int) -> tuple[thampi.Model, Any]:
    count = mib * 20_000
    named = {f"user-{i:08d}": f"value for user number {i * 7919 % 1000003:07d} ok" for i in range(count)}
    return Words(named), "user-00000007"


MAKE: dict[str, Callable[[int], tuple[thampi.Model, Any]]] = {
    "arrays": _arrays,
    "pieces": _pieces,
    "forest": _forest,
    "tiny": _tiny,
    "torch": _torch,
    "words": _words,
}


def save(kind: str, mib: int, folder: Path) -> None:
    """Make a model, and save it as ours and as others would."""
    model, example = MAKE[kind](mib)
    thampi.save(model, "bundle", folder, example=example, verify=False)
    if kind != "pieces":
        others(model, folder)


def copy(bundle: Path, folder: Path) -> None:
    """Take a bundle as it is, and save its model as others would."""
    shutil.copytree(bundle, folder / "bundle")
    others(thampi.load(bundle), folder)


def others(model: thampi.Model, folder: Path) -> None:
    """Save a model with cloudpickle, joblib and, where that can, safetensors."""
    import cloudpickle

    with (folder / "plain.pkl").open("wb") as file:
        cloudpickle.dump(model, file)
    with contextlib.suppress(ImportError):  # a peer that isn't installed is left out of the table
        import joblib

        try:
            joblib.dump(_held(model), folder / "model.joblib")
        except (pickle.PicklingError, AttributeError, TypeError):  # classes that can only be pickled with their code
            (folder / "model.joblib").unlink(missing_ok=True)
    with contextlib.suppress(ImportError):
        _as_tensors(_held(model), folder / "model.safetensors")


def _as_tensors(held: Any, path: Path) -> None:
    """Save with safetensors what is a module of torch, an array, or a collection of these; nothing else."""
    if callable(getattr(held, "state_dict", None)):
        from safetensors.torch import save_model

        save_model(held, str(path), metadata={"format": "pt"})
        return
    entries = held if isinstance(held, dict) else dict(enumerate(held if isinstance(held, list | tuple) else [held]))
    if entries and all(_is_array(entry) for entry in entries.values()):
        import numpy as np
        from safetensors.numpy import save_file

        # It writes an array's memory as it lies there.
        arrays = {str(name): np.ascontiguousarray(array) for name, array in entries.items()}
        save_file(arrays, path, metadata={"format": "np"})


def _is_array(value: Any) -> bool:
    return type(value).__module__ == "numpy" and type(value).__name__ == "ndarray" and value.dtype.kind in "biuf"


def _held(model: thampi.Model) -> Any:
    """Return what a model holds: who dumps with joblib dumps that, and has the class in a file."""
    held = list(vars(model).values())
    return held[0] if len(held) == 1 else vars(model)


def uncompressed(bundle: Path, into: Path) -> bool:
    """Write a bundle again with all parts stored as they are; return False when they are already."""
    from hashlib import sha256

    from thampi.runtime import codec

    manifest = json.loads((bundle / "thampi.json").read_bytes())
    if all(part["codec"] == "none" for part in manifest["parts"]):
        return False
    into.mkdir(parents=True)
    for role, known in manifest["files"].items():
        with (bundle / known["name"]).open("rb") as source, (into / known["name"]).open("wb") as copied:
            for part in (part for part in manifest["parts"] if part["file"] == role):
                stored = source.read(part["stored"])
                content = stored
                if part["codec"] != "none":
                    content = bytearray(part["size"])
                    codec.decompress_into(memoryview(stored), [memoryview(content)])
                copied.write(content)
                part |= {"stored": part["size"], "codec": "none", "sha256": sha256(content).hexdigest()}
        known["size"] = (into / known["name"]).stat().st_size
    (into / "thampi.json").write_text(json.dumps(manifest), "utf-8")
    return True


def main() -> None:
    """Save what is asked for, and say what is there."""
    if sys.argv[1] == "--copy":
        folder = Path(sys.argv[3])
        folder.mkdir(parents=True)
        copy(Path(sys.argv[2]), folder)
    else:
        folder = Path(sys.argv[3])
        folder.mkdir(parents=True)
        save(sys.argv[1], int(sys.argv[2]), folder)
    uncompressed(folder / "bundle", folder / "uncompressed")
    print(json.dumps(sorted(path.name for path in folder.iterdir())))


if __name__ == "__main__":
    main()
