"""How others bring a model from S3 into memory; each in a fresh process, up to its first prediction.

    python -m benchmarks.cold.peers HOW KEY EXAMPLE

The endpoint and the credentials are those of the environment, as for our handler. Prints, as JSON, the processor
seconds and the most memory that the process took. Nothing of ours is imported but what the pickle itself names.
"""

import contextlib
import io
import json
import os
import pickle
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

_BUCKET = "store"


def _s3() -> Any:
    import boto3
    from botocore.config import Config

    return boto3.client("s3", config=Config(s3={"addressing_style": "path"}))


def _original(key: str) -> Any:
    """As thampi 0.1.0 did: the whole object into bytes by one connection, those into a file, that into the model."""
    import boto3

    body = boto3.session.Session().resource("s3").Object(_BUCKET, f"{key}/plain.pkl").get()["Body"].read()
    with io.BytesIO(body) as file:
        return pickle.load(file)


def _download_fileobj(key: str) -> Any:
    import cloudpickle

    file = io.BytesIO()
    _s3().download_fileobj(_BUCKET, f"{key}/plain.pkl", file)
    file.seek(0)
    return cloudpickle.load(file)


def _download_file(key: str) -> Any:
    import cloudpickle

    with _downloaded(f"{key}/plain.pkl") as path, path.open("rb") as file:
        return cloudpickle.load(file)


def _joblib(key: str) -> Any:
    import joblib

    with _downloaded(f"{key}/model.joblib") as path:
        joblib.load(path)
    return None


def _safetensors(key: str) -> Any:
    with _downloaded(f"{key}/model.safetensors") as path:
        with path.open("rb") as file:  # the file begins with the length of a JSON that says what it holds
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        if header["__metadata__"]["format"] == "pt":
            from safetensors.torch import load_file
        else:
            from safetensors.numpy import load_file
        for tensor in load_file(path).values():
            tensor[-100:].sum()
    return None


@contextlib.contextmanager
def _downloaded(key: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model")
        _s3().download_file(_BUCKET, key, str(path))
        yield path


LOADS: dict[str, Callable[[str], Any]] = {
    "original": _original,
    "download_fileobj": _download_fileobj,
    "download_file": _download_file,
    "joblib": _joblib,
    "safetensors": _safetensors,
}


def main(how: str, key: str, example: str) -> None:
    """Load, predict, and tell what it took."""
    model = LOADS[how](key)
    if model is not None and example != "null":
        model.predict(json.loads(example), None)
    status = Path("/proc/self/status").read_text("utf-8").splitlines()
    high = next(line.split()[1] for line in status if line.startswith("VmHWM"))
    spent = os.times()
    print(json.dumps({"cpu": spent.user + spent.system, "peak": 1024 * int(high)}), flush=True)
    os._exit(0)  # giving a large model back is no part of loading it


if __name__ == "__main__":
    main(*sys.argv[1:4])
