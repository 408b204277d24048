"""What comes instead of a result, each kind with its cure, and whether the model may have been run.

EndpointError (a thampi.errors.PredictionError)
├── RefusedError             4xx      the request is wrong: asking again won't help
│   ├── InvalidDataError     422      the data isn't what the model's signature says: `mistakes` has the paths
│   ├── UnauthorizedError    401, 403 the endpoint wants a signature, a key or a token, or another one
│   ├── TooLargeError        413      the request or the answer is larger than the endpoint takes
│   └── ThrottledError       429      too many requests: `retry_after_s` says when, if the endpoint does
│       └── QuotaExceededError        the API key has used up its quota of the day, week or month
├── ModelFailedError         500      the model failed: the log has the reason under `request_id`
├── UnavailableError         502-504  the model is being loaded or can't be, or the endpoint waited too long for it
├── TimedOutError                     no answer came within the client's `timeout_s`
├── LostAnswerError                   the connection broke after the request had been sent
├── UnreachableError                  nothing was sent: no such host, nobody there, no trust in its certificate
└── UnexpectedAnswerError             what answers is no model of thampi: a proxy's page, another URL
"""

import contextlib
import copyreg
import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from thampi.asking.answer import Answer
from thampi.errors import PredictionError

_SHOWN = 300  # characters of what is no JSON
_MISTAKES_SHOWN = 10
# The handler's words for a model that isn't there yet, or can't be: `predict` was not called.
_NOT_LOADED = ("model_loading", "model_unavailable")
_REQUEST_IDS = ("x-request-id", "x-amzn-requestid", "apigw-requestid")
_ERROR_TYPE = "x-amzn-errortype"  # of a REST API
_LOGS = "`thampi logs STAGE --errors` shows why"


class EndpointError(PredictionError):
    """There is no result; the kinds below say why."""

    # Whether it may be better a moment later.
    may_pass = False

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        url: str = "",
        status: int | None = None,
        type: str = "",  # noqa: A002 - the word for it in the answer
        request_id: str = "",
        mistakes: tuple[dict[str, str], ...] = (),
        retry_after_s: float | None = None,
        may_have_run: bool = False,
    ) -> None:
        super().__init__(message, hint=hint)
        self.url = url
        self.status = status  # of HTTP; None when no answer came
        self.type = type  # the endpoint's word for it (`bad_request`); "" when it said none
        self.request_id = request_id  # leads to the lines of the log; "" when the endpoint said none
        self.mistakes = mistakes  # of InvalidDataError: {"path": "/data/input/2", "message": …} each
        self.retry_after_s = retry_after_s
        self.may_have_run = may_have_run  # False: for sure the model was not run on this request

    def __reduce__(self) -> Any:
        # Failures come out of process pools as pickles, which would make them anew from their message alone.
        return copyreg.__newobj__, (type(self), self.message), vars(self)  # type: ignore[attr-defined]


class RefusedError(EndpointError):
    """The request is wrong (4xx): asking the same again gets the same answer."""


class InvalidDataError(RefusedError):
    """The data isn't what the model's signature says (422): `mistakes` has the path of each."""


class UnauthorizedError(RefusedError):
    """The endpoint wants a signature, a key or a token, or other ones (401, 403)."""


class TooLargeError(RefusedError):
    """The request, or the answer, is larger than the endpoint takes (413)."""


class ThrottledError(RefusedError):
    """There were too many requests (429); the model was not run."""

    may_pass = True


class QuotaExceededError(ThrottledError):
    """The API key has used up its quota (429): it is let in again when the next period begins."""

    may_pass = False  # not within the time that anybody waits for an answer


class ModelFailedError(EndpointError):
    """The model failed on this request (500)."""

    may_pass = True


class UnavailableError(EndpointError):
    """The model is being loaded, or can't be, or what is in front of it waited too long (502, 503, 504)."""

    may_pass = True


class TimedOutError(EndpointError):
    """No answer came in time; the model may have run, or still be running."""

    may_pass = True


class LostAnswerError(EndpointError):
    """The connection broke after the request had been sent; the model may have run."""

    may_pass = True


class UnreachableError(EndpointError):
    """The endpoint can't be reached; nothing was sent."""

    exit_code = 5
    may_pass = True


class UnexpectedAnswerError(EndpointError):
    """What answers is no model of thampi."""


_KINDS: dict[int, type[EndpointError]] = {
    401: UnauthorizedError,
    403: UnauthorizedError,
    413: TooLargeError,
    422: InvalidDataError,
    429: ThrottledError,
    500: ModelFailedError,
}


def of(url: str, answer: Answer) -> EndpointError:
    """Return the failure that an answer other than 200 means."""
    status = answer.status
    said = _said(answer.body)
    kind = _KINDS.get(status) or _kind_of_class(status)
    if kind is ThrottledError and _is_of_quota(said, answer.headers):
        kind = QuotaExceededError
    told = str(said.get("type") or "")
    mistakes = _mistakes(said.get("mistakes"))
    return kind(
        f"{url} answered {status}: {_message(said, answer, mistakes)}",
        hint=_hint(kind, answer, told),
        url=url,
        status=status,
        type=told,
        request_id=_request_id(said, answer.headers),
        mistakes=mistakes,
        retry_after_s=retry_after_s(answer.headers.get("retry-after", ""), datetime.now(UTC)),
        may_have_run=status >= 500 and told not in _NOT_LOADED,
    )


def retry_after_s(value: str, now: datetime) -> float | None:
    """Return what a Retry-After header says, in seconds from `now`; it is a number or a date. None: neither."""
    with contextlib.suppress(ValueError):
        seconds = float(value)
        return max(0.0, seconds) if math.isfinite(seconds) else None
    with contextlib.suppress(ValueError, TypeError):
        moment = parsedate_to_datetime(value)
        return max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds())
    return None


def _kind_of_class(status: int) -> type[EndpointError]:
    if 400 <= status < 500:
        return RefusedError
    return UnavailableError if status >= 500 else UnexpectedAnswerError


def _is_of_quota(said: Mapping[str, Any], headers: Mapping[str, str]) -> bool:
    # https://docs.aws.amazon.com/apigateway/latest/developerguide/supported-gateway-response-types.html, QUOTA_EXCEEDED
    return said.get("message") == "Limit Exceeded" or headers.get(_ERROR_TYPE) == "LimitExceededException"


def _said(body: bytes) -> dict[str, Any]:
    """Return what an answer says of the failure: `error` of ours, or a gateway's {"message": …}; {} for no JSON."""
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    if not isinstance(found, dict):
        return {}
    error = found.get("error")
    if isinstance(error, dict):
        return error
    # A function URL writes it with a capital.
    words = found.get("message") or found.get("Message")
    return {"message": words} if isinstance(words, str) else {}


def _message(said: Mapping[str, Any], answer: Answer, mistakes: tuple[dict[str, str], ...]) -> str:
    if len(mistakes) > 1:
        lines = [f"  {each['path']}: {each['message']}" for each in mistakes[:_MISTAKES_SHOWN]]
        more = len(mistakes) - len(lines)
        return "\n".join([f"{len(mistakes)} mistakes", *lines, *([f"  … and {more} more"] if more else [])])
    if isinstance(said.get("message"), str):
        why = _why_no_token(answer) if answer.status in (401, 403) else ""
        return f"{said['message']}: {why}" if why else str(said["message"])
    if 300 <= answer.status < 400:
        return f"it leads to {answer.headers.get('location', 'somewhere else')}"
    return shown(answer.body)


def _why_no_token(answer: Answer) -> str:
    """Return what is wrong with a token, as HTTP APIs say it (RFC 6750, section 3); what may be the token itself isn't.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-troubleshooting-jwt.html
    """
    said = answer.headers.get("www-authenticate", "")
    found = re.search(r'error_description="([^"]*)"', said) or re.search(r'\berror="([^"]*)"', said)
    return re.sub(r"[\w-]{12,}\.[\w.=-]+", "…", found[1])[:_SHOWN] if found else ""


def shown(body: bytes) -> str:
    """Return the beginning of what is no JSON, in one line; of a web page, its text."""
    text = body.decode(errors="replace")
    if "<html" in text[:1000].lower():
        text = re.sub(r"(?is)<(style|script)\b.*?</\1\s*>|<[^>]*>", " ", text)
    return " ".join(text.split())[:_SHOWN] or "nothing that can be read"


def _mistakes(found: object) -> tuple[dict[str, str], ...]:
    if not isinstance(found, list):
        return ()
    keys = ("path", "message")
    return tuple({key: str(each.get(key, "")) for key in keys} for each in found if isinstance(each, dict))


def _request_id(said: Mapping[str, Any], headers: Mapping[str, str]) -> str:
    found = [said.get("request_id"), *(headers.get(name) for name in _REQUEST_IDS)]
    return str(next((each for each in found if each), ""))


def _hint(kind: type[EndpointError], answer: Answer, told: str) -> str | None:
    if kind is UnauthorizedError and answer.headers.get(_ERROR_TYPE) == "ForbiddenException":
        return (
            "a REST API says so to who brings no API key, or one that it doesn't know, or no longer, or not yet: "
            "`thampi keys STAGE list` shows those that it knows; a key goes into Client(url, api_key=…), "
            "THAMPI_API_KEY, or the header x-api-key. A firewall (api.waf_acl_arn) says the same of what it blocks"
        )
    if kind is UnauthorizedError:
        return (
            'auth = "iam" wants signed requests (Client(url, sign=True), Client(stage=…)) of credentials that may '
            "execute-api:Invoke, or lambda:InvokeFunctionUrl and lambda:InvokeFunction; a key or a token goes into "
            "Client(url, api_key=…) or Client(url, token=…), a token for `thampi predict` into THAMPI_TOKEN"
        )
    if kind is QuotaExceededError:
        return "wait for the next period, ask with another key, or raise api.plan.quota and push"
    if kind is ThrottledError:
        return "ask more slowly, or raise api.rate_per_s and burst, of the stage, the route or the plan, and push"
    if told == "model_loading":
        return "the first request after a pause waits for the model: ask again in some seconds"
    if answer.status == 404:
        return "`thampi info STAGE` prints the URL"
    if kind is UnexpectedAnswerError:
        return "is it the URL that `thampi push` printed, and does no proxy answer in its place?"
    return _LOGS if answer.status >= 500 else None
