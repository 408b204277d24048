"""thampi predict: asks a stage's model, through its URL as a caller would, or straight through Lambda."""

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from thampi import names
from thampi.asking.asker import Asker, Authorize, openly
from thampi.aws import release, signing, trial
from thampi.config import Stage
from thampi.errors import CloudError, PredictionError
from thampi.operations import endpoint, token
from thampi.operations.place import Place


@dataclass(frozen=True)
class Reached:
    """What asking a stage's endpoint needs."""

    url: str
    authorize: Authorize
    timeout_s: float


def reach(stage: Stage, place: Place, environ: Mapping[str, str] | None = None) -> Reached:
    """Find the URL of a stage, and what lets a request in.

    A token that the endpoint asks for is in `environ`; without that, the caller has one, or none.
    Raises CloudError when there is no endpoint, ConfigError when there is no token.
    """
    found = endpoint.read(stage, place).in_use
    if found is None:
        raise CloudError(f"{stage.name} has no endpoint in stage {stage.stage}", hint=f"thampi push {stage.stage}")
    if found.auth == "jwt" and environ is not None:
        return Reached(found.url, token.bearing(stage, environ), stage.timeout_s + 15)
    service = signing.FUNCTION_URL if found.type == "url" else signing.API
    sign = signing.with_session(place.aws.session, service, place.aws.region)
    return Reached(found.url, sign if found.auth == "iam" else openly, stage.timeout_s + 15)


def through_url(stage: Stage, place: Place, data: Any, environ: Mapping[str, str] | None = None) -> Any:
    """Return what the endpoint answers to `data`, signed or with the token of `environ` when it wants that.

    Raises EndpointError, by its kinds, when it refuses, fails or can't be reached; ConfigError when there is no token.
    """
    reached = reach(stage, place, environ or {})
    with contextlib.closing(Asker(reached.url, reached.authorize, timeout_s=reached.timeout_s)) as asker:
        return asker.predict(data)


def directly(stage: Stage, place: Place, data: Any) -> Any:
    """Return what the live version answers to `data`, asked through Lambda: no URL, no gateway, its own timeout."""
    name = names.function(stage.name, stage.stage)
    tried = trial.try_out(place.aws, name, release.LIVE, {"data": data}, stage.timeout_s)
    if not tried.ok:
        raise PredictionError(f"the model did not answer: {tried.error}", hint=f"thampi logs {stage.stage} --errors")
    return json.loads(tried.payload)
