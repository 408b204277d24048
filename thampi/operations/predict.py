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
from thampi.errors import CloudError, ConfigError, PredictionError
from thampi.operations import endpoint, keys, token
from thampi.operations.place import Place


@dataclass(frozen=True)
class Reached:
    """What asking a stage's endpoint needs."""

    url: str
    authorize: Authorize
    timeout_s: float


def reach(stage: Stage, place: Place, environ: Mapping[str, str] | None = None, *, is_new: bool = False) -> Reached:
    """Find the URL of a stage, and what lets a request in; with `is_new` that of the wanted type, while it changes.

    What callers are given, a key or a token, may be in `environ`; None: the caller sees to that, or does without.
    Raises CloudError when there is no endpoint or no key, ConfigError when there is no token.
    """
    stand = endpoint.read(stage, place)
    found = stand.wanted if is_new else stand.in_use
    if found is None:
        raise CloudError(f"{stage.name} has no endpoint in stage {stage.stage}", hint=f"thampi push {stage.stage}")
    if found.auth == "jwt" and environ is not None:
        return Reached(found.url, token.bearing(stage, environ), stage.timeout_s + 15)
    service = signing.FUNCTION_URL if found.type == "url" else signing.API
    sign = signing.with_session(place.aws.session, service, place.aws.region)
    authorize: Authorize = sign if found.auth == "iam" else openly
    if found.auth == "api_key" and environ is not None:
        authorize = _with_header("x-api-key", keys.find_value(stage, place, environ))
    return Reached(found.url, authorize, stage.timeout_s + 15)


def through_url(stage: Stage, place: Place, data: Any, environ: Mapping[str, str] | None = None) -> Any:
    """Return what the endpoint answers to `data`, signed, or with the key or token of `environ`, when it wants that.

    Raises EndpointError, by its kinds, when it refuses, fails or can't be reached; ConfigError when there is no token.
    """
    reached = reach(stage, place, environ or {})
    with contextlib.closing(Asker(reached.url, reached.authorize, timeout_s=reached.timeout_s)) as asker:
        return asker.predict(data)


def directly(stage: Stage, place: Place, data: Any) -> Any:
    """Return what the live version answers to `data`, asked through Lambda: no URL, no gateway, its own timeout."""
    if stage.api.mock:
        raise ConfigError(
            f"--direct asks the function, and stage {stage.stage} has none in use: mock = true",
            hint=f"without it, `thampi predict {stage.stage}` gets the example",
        )
    name = names.function(stage.name, stage.stage)
    tried = trial.try_out(place.aws, name, release.LIVE, {"data": data}, stage.timeout_s)
    if not tried.ok:
        raise PredictionError(f"the model did not answer: {tried.error}", hint=f"thampi logs {stage.stage} --errors")
    return json.loads(tried.payload)


def _with_header(name: str, secret: str) -> Authorize:
    def authorize(method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Mapping[str, str]:
        return {name: secret}

    return authorize
