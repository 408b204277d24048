"""thampi predict: asks a stage's model, through its URL as a caller would, or straight through Lambda."""

import json
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit

from thampi import names
from thampi.aws import gateway, release, signing, trial
from thampi.config import Stage
from thampi.errors import CloudError, PredictionError
from thampi.operations.place import Place

_JSON = "application/json"


def through_url(stage: Stage, place: Place, data: Any) -> Any:
    """Return what the endpoint answers to `data`, signed when it wants that.

    Raises PredictionError when it refuses or fails, CloudError when it can't be reached.
    """
    api = gateway.read(place.aws, stage.name, stage.stage)
    if api is None:
        raise CloudError(f"{stage.name} has no endpoint in stage {stage.stage}", hint=f"thampi push {stage.stage}")
    url = gateway.url(place.aws, api.api_id, stage.name, stage.stage)
    body = json.dumps({"data": data}).encode()
    headers = {"Content-Type": _JSON}
    if api.endpoint.auth == "iam":
        headers = signing.headers(place.aws, url, body, _JSON)
    request = urllib.request.Request(url, body, headers)  # noqa: S310 - our own endpoint's URL
    try:
        # The gateway waits 30 s; a prediction is never asked for twice.
        with _opener(url).open(request, timeout=stage.timeout_s + 15) as answer:
            return json.loads(answer.read())
    except urllib.error.HTTPError as error:
        raise _refused(url, error.code, error.read()) from error
    except OSError as error:
        raise CloudError(f"{url} can't be reached: {error}", hint="check the network") from error


def directly(stage: Stage, place: Place, data: Any) -> Any:
    """Return what the live version answers to `data`, asked through Lambda: no URL, no gateway, its own timeout."""
    name = names.function(stage.name, stage.stage)
    tried = trial.try_out(place.aws, name, release.LIVE, {"data": data}, stage.timeout_s)
    if not tried.ok:
        raise PredictionError(f"the model did not answer: {tried.error}", hint=f"thampi logs {stage.stage} --errors")
    return json.loads(tried.payload)


def _opener(url: str) -> urllib.request.OpenerDirector:
    """Return what opens a URL; one of this machine is behind no proxy, whatever HTTP_PROXY says."""
    is_here = urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")
    return urllib.request.build_opener(*([urllib.request.ProxyHandler({})] if is_here else []))


def _refused(url: str, status: int, body: bytes) -> PredictionError:
    try:
        found = json.loads(body)
        said = found["error"]["message"] if "error" in found else found.get("message", "")
    except (ValueError, TypeError, KeyError, AttributeError):
        said = body.decode(errors="replace")[:500]
    hint = "thampi logs shows why" if status >= 500 else None
    if status == 403:
        hint = 'the endpoint wants signed requests: auth = "iam"; have execute-api:Invoke allowed to these credentials'
    return PredictionError(f"{url} answered {status}: {said}", hint=hint)
