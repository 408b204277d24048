"""The settings of a stage's endpoint, and the schema of a model that bodies are to be checked by."""

from dataclasses import dataclass, replace

from thampi.config import Api, Stage


@dataclass(frozen=True, kw_only=True)
class CheckedApi(Api):
    """The settings, and the JSON text of a schema of draft 4."""

    schema: str | None = None


def by(stage: Stage, schema: str | None) -> Stage:
    """Return the stage with a schema; None: with nothing to check by."""
    written = {key: value for key, value in vars(stage.api).items() if key != "schema"}
    return replace(stage, api=CheckedApi(**written, schema=schema))


def schema(stage: Stage) -> str | None:
    """Return what bodies are to be checked by; None where they aren't, or the model isn't known here."""
    api = stage.api
    return api.schema if isinstance(api, CheckedApi) and api.validate and not api.mock else None
