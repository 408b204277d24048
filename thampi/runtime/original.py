"""Bundles of thampi 0.1.0: one plain pickle, and the names that its classes had then."""

import pickle
from pathlib import Path
from typing import Any

from thampi.errors import BundleError
from thampi.runtime import bundle
from thampi.runtime.model import Context, Model
from thampi.runtime.s3 import Prefix

HINT = "thampi 0.1.0 saved it: save the model again, with this version"


class _Base(Model):
    """The base class as those pickles mean it: not abstract, so that a class can be made before it has `predict`."""

    predict = None  # type: ignore[assignment]


_NAMES = {
    ("thampi.core.model", "Model"): _Base,
    ("thampi.core.thampi_core", "ThampiContext"): Context,  # people annotate `predict` with it
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        return _NAMES.get((module, name)) or super().find_class(module, name)


def unpickle(folder: Path | Prefix) -> object:
    """Return what the pickle holds; a class in it that Python 3.6 compiled is beyond us and raises.

    It is read as it is unpickled: what is large in it goes straight into its place.
    """
    if not isinstance(folder, Path):  # its thampi.json has no hashes: a pickle that others may have put there
        raise BundleError(
            f"{folder} is a model of thampi 0.1.0, and nothing vouches for its pickle",
            hint="download the folder, load the model from there, and save it again with this version",
        )
    path = folder / bundle.ORIGINAL_PICKLE
    try:
        with path.open("rb") as stream:
            model = _Unpickler(stream).load()
    except FileNotFoundError as error:
        if error.filename != str(path):
            raise
        raise BundleError(f"{path} is missing from the saved model", hint="copy the whole folder") from error
    for each in type(model).__mro__:  # saved again, the model has to name the base class that it will find
        if _Base in each.__bases__:
            each.__bases__ = tuple(Model if base is _Base else base for base in each.__bases__)
    return model
