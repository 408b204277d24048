"""thampi.save: a model becomes a bundle, whole and proven, or nothing changes.

The order: every mistake of the caller first; the pickle and its buffers into a folder aside; a fresh process loads
them; one step puts them in place.
"""

import os
import platform
import sys
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from inspect import signature
from pathlib import Path
from typing import Any

import orjson

from thampi.errors import BundleError
from thampi.runtime import bundle, replacing
from thampi.runtime.bundle import About, File, Part
from thampi.runtime.model import Model
from thampi.version import __version__

_WRAPPER = """wrap it in five lines and save that:

    class MyModel(thampi.Model):
        def __init__(self, model):
            self.model = model
        def predict(self, args, context):
            return {"result": self.model.predict([args["input"]])[0]}"""


def save(
    model: Model,
    name: str,
    path: str | os.PathLike[str] = ".",
    trained_time_utc: datetime | str | None = None,
    instance_id: str | None = None,
    tags: Mapping[str, Any] | None = None,
    *,
    example: Any = None,
    verify: bool = True,
) -> Path:
    """Save `model` as the bundle `path`/`name`, and return that folder.

    `trained_time_utc` (now, when not given; without a time zone it is taken as UTC), `instance_id` (a new uuid4)
    and `tags` go out with every answer. `example` is a value of `data` as a caller would send it: the check, the
    trial of each release and the documentation use it. Unless `verify` is False the model is loaded once in a fresh
    process that can't see this project's files, and answers the example there.

    Raises BundleError when the model can't be saved, loaded or asked; the folder is then what it was before.
    """
    _check_model(model)
    folder = Path(path) / _checked_name(name)
    about = About(
        instance_id=instance_id or str(uuid.uuid4()),
        trained_time_utc=_utc(trained_time_utc),
        tags=_checked_json(dict(tags or {}), "tags"),
        format=bundle.FORMAT,
        python=platform.python_version(),
        platform=f"{sys.platform}-{platform.machine().lower()}",
        thampi=__version__,
        example=_checked_json(example, "example"),
    )
    try:
        with replacing.staging(folder) as staged:
            _write(model, about, staged)
            if verify:
                from thampi.runtime import (
                    proving,
                )  # only where there's something to prove: it starts processes

                proving.prove(staged, str(folder))
            replacing.put_in_place(staged, folder)
    except OSError as error:
        raise BundleError(
            f"can't save to {folder}: {error}", hint="check the folder's permissions and space"
        ) from error
    return folder


def _write(model: Model, about: About, staged: Path) -> None:
    import cloudpickle  # here and not above: in Lambda, which imports this package too, nobody saves

    from thampi.runtime import pickling, shipping

    pickled = pickling.dump(model, staged, by_reference=shipping.shipped_modules(Path.cwd()))
    files = {}
    for role, ending in (("pickle", "pkl"), ("buffers", "buffers")):
        written = staged / f"model.{ending}"
        if written.stat().st_size == 0:
            written.unlink()
            continue
        named = written.rename(staged / f"model-{_fingerprint(pickled.parts[role])}.{ending}")
        files[role] = File(named.name, named.stat().st_size)
    known = About(
        **vars(about)
        | {
            "cloudpickle": cloudpickle.__version__,
            "files": files,
            "parts": [*pickled.parts["pickle"], *pickled.parts["buffers"]],
            "buffers": pickled.buffers,
            "modules": pickled.modules,
            "distributions": pickled.distributions,
        }
    )
    (staged / bundle.MANIFEST).write_bytes(bundle.dump(known))


def _fingerprint(parts: list[Part]) -> str:
    return sha256("".join(part.sha256 for part in parts).encode()).hexdigest()[:8]


def _check_model(model: object) -> None:
    if isinstance(model, type):
        raise BundleError(
            f"{model.__name__} is a class: what is saved is a trained model",
            hint=f"save an instance: thampi.save({model.__name__}(…), …)",
        )
    if not isinstance(model, Model):
        raise BundleError(f"a {type(model).__name__} is not a thampi.Model", hint=_WRAPPER)
    name = type(model).__name__
    if getattr(type(model), "__abstractmethods__", None) or not callable(model.predict):
        raise BundleError(
            f"{name} has no `predict`: it can't answer anything",
            hint="give it `def predict(self, args, context)`",
        )
    for method, arguments in (("predict", ({}, None)), ("initialize", (None,))):
        try:
            signature(getattr(model, method)).bind(*arguments)
        except TypeError as error:
            wanted = "self, args, context" if method == "predict" else "self, context"
            raise BundleError(
                f"`{name}.{method}` can't be called as it will be: {error}",
                hint=f"write `def {method}({wanted})`",
            ) from error


def _checked_name(name: str) -> str:
    if not name or name in (".", "..") or any(mark in name for mark in "/\\\0"):
        raise BundleError(
            f"{name!r} can't be the name of a saved model: it names one folder",
            hint="thampi.save(model, 'mymodel', './models') saves to ./models/mymodel",
        )
    return name


def _checked_json(value: Any, what: str) -> Any:
    """Return what JSON makes of a value, which is what a caller would send; refuse what JSON can't say."""
    try:
        return orjson.loads(orjson.dumps(value))
    except TypeError as error:
        raise BundleError(
            f"`{what}` is not JSON: {error}",
            hint="give lists, dicts, strings and numbers, as a caller would send them (an array's .tolist())",
        ) from error


def _utc(moment: datetime | str | None) -> str:
    if isinstance(moment, str):
        try:
            moment = datetime.fromisoformat(moment)
        except ValueError as error:
            raise BundleError(
                f"trained_time_utc {moment!r} is not a time",
                hint="give a datetime, or ISO 8601 like 2026-09-06T22:03:04Z",
            ) from error
    moment = moment or datetime.now(UTC)
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
