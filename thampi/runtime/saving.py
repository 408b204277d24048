"""thampi.save: a model becomes a bundle, whole and proven, or nothing changes.

The order: every mistake of the caller first; the pickle and its buffers into a folder aside; a fresh process loads
them; one step puts them in place.
"""

import os
import platform
import sys
import uuid
import warnings
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from inspect import iscoroutinefunction
from inspect import signature as arguments_of
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

_METHODS = {
    "predict": "self, args, context",
    "initialize": "self, context",
    "before": "self, data, context",
    "after": "self, result, context",
    "predict_batch": "self, items, context",
}


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
    signature: bool = True,
) -> Path:
    """Save `model` as the bundle `path`/`name`, and return that folder.

    `trained_time_utc` (now, when not given; without a time zone it is taken as UTC), `instance_id` (a new uuid4)
    and `tags` go out with every answer. `example` is a value of `data` as a caller would send it: the check, the
    trial of each release and the documentation use it. Unless `verify` is False the model is loaded once in a fresh
    process that can't see this project's files, and answers the example there.

    What callers may send is read from the type hints of `predict` (or `before`), or else from the example, loosely: its
    types, and the keys at its top. Other data is refused with a 422 before the model sees it; with `signature=False`
    the model sees all.

    Raises BundleError when the model can't be saved, loaded or asked; the folder is then what it was before.
    """
    _check_model(model)
    folder = Path(path) / _checked_name(name)
    about = About(
        instance_id=str(uuid.uuid4()) if instance_id is None else _checked_id(instance_id),
        trained_time_utc=_utc(trained_time_utc),
        tags=_checked_tags(tags),
        format=bundle.FORMAT,
        python=platform.python_version(),
        platform=f"{sys.platform}-{platform.machine().lower()}",
        thampi=__version__,
        example=_checked_json(example, "example"),
    )
    place = Path(os.path.realpath(folder))  # of a link, what it leads to
    try:
        with replacing.staging(place) as staged:
            _write(model, about, staged, check=signature)
            if verify:
                from thampi.runtime import proving  # here and not above: it starts processes, which takes modules

                answer = proving.prove(staged, str(folder))
                manifest = staged / bundle.MANIFEST
                manifest.write_bytes(bundle.dump(replace(bundle.read(staged), answer=answer)))
            replacing.put_in_place(staged, place)
    except OSError as error:
        raise BundleError(
            f"can't save to {folder}: {error}", hint="check the folder's permissions and space"
        ) from error
    return folder


def _write(model: Model, about: About, staged: Path, *, check: bool) -> None:
    import cloudpickle  # here and not above: in Lambda, which imports this package too, nobody saves

    from thampi.runtime import pickling, shipping
    from thampi.runtime.signature import describing

    described = describing.describe(model, about.example, check=check)
    shipped = shipping.shipped_modules(Path.cwd())
    pickled = pickling.dump(model, staged, by_reference=shipped, types=described.plan)
    for note in described.notes:
        warnings.warn(note, stacklevel=4)
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
            "signature": described.signature and described.signature | {"types": pickled.has_types},
        }
    )
    (staged / bundle.MANIFEST).write_bytes(bundle.dump(known))


def _fingerprint(parts: list[Part]) -> str:
    return sha256("".join(part.sha256 for part in parts).encode()).hexdigest()[:8]


def _check_model(model: object) -> None:
    model_class = model if isinstance(model, type) else type(model)
    name = model_class.__name__
    if issubclass(model_class, Model) and not _has_predict(model):
        raise BundleError(
            f"{name} has no `predict`: it can't answer anything",
            hint="give it `def predict(self, args, context)`",
        )
    if isinstance(model, type):
        raise BundleError(
            f"{name} is a class: what is saved is a trained model",
            hint=f"save an instance: thampi.save({name}(…), …)",
        )
    if not isinstance(model, Model):
        raise BundleError(f"a {name} is not a thampi.Model", hint=_WRAPPER)
    for method, wanted in _METHODS.items():
        if hasattr(model, method):  # predict_batch is for those who want it
            arguments: tuple[Any, ...] = ({}, None)[-wanted.count(",") :]
            _check_call(f"{name}.{method}", getattr(model, method), arguments, hint=f"write `def {method}({wanted})`")


def _has_predict(model: object) -> bool:
    found = getattr(model, "predict", None)
    return callable(found) and not getattr(found, "__isabstractmethod__", False)


def _check_call(name: str, method: Any, arguments: tuple[Any, ...], *, hint: str) -> None:
    if not callable(method) or iscoroutinefunction(method):
        raise BundleError(f"`{name}` has to be a plain method: it is called, and not awaited", hint=hint)
    try:
        expected = arguments_of(method)
    except ValueError:  # compiled code that doesn't say
        return
    try:
        expected.bind(*arguments)
    except TypeError as error:
        raise BundleError(f"`{name}` can't be called as it will be: {error}", hint=hint) from error


def _checked_name(name: str) -> str:
    if not _names_one_folder(name):
        raise BundleError(
            f"{name!r} can't be the name of a saved model: it names one folder",
            hint="thampi.save(model, 'mymodel', './models') saves to ./models/mymodel",
        )
    return name


def _checked_id(instance_id: str | uuid.UUID) -> str:
    if not _names_one_folder(str(instance_id)):
        raise BundleError(
            f"{instance_id!r} can't be an instance_id: the store keeps the model under it, as a folder",
            hint="leave it out for a new uuid4, or give one word",
        )
    return str(instance_id)


def _names_one_folder(text: object) -> bool:
    return isinstance(text, str) and text not in ("", ".", "..") and text.isprintable() and not {"/", "\\"} & set(text)


def _checked_tags(tags: Mapping[str, Any] | None) -> dict[str, Any]:
    if tags is not None and not isinstance(tags, Mapping):
        raise BundleError(f"`tags` is a {type(tags).__name__}", hint='give a dict: tags={"version": "1.0"}')
    checked: dict[str, Any] = _checked_json(dict(tags or {}), "tags")
    return checked


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
    try:
        moment = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
        moment = datetime.now(UTC) if moment is None else moment
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError, AttributeError) as error:
        raise BundleError(
            f"trained_time_utc {moment!r} is not a time",
            hint="give a datetime, or ISO 8601 like 2026-09-06T22:03:04Z",
        ) from error
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
