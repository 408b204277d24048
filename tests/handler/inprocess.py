"""An Application around a model, in this process: events in, answers out, and the lines that it would have logged."""

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from handler import settings
from handler.app import Application
from thampi import Context, Model
from thampi.runtime import calling
from thampi.runtime.bundle import About
from thampi.runtime.signature import checking

REQUEST_ID = "8f0e1c6a-1111-4c1e-8a53-2f1d3c4b5a69"
DATA = {"input": [5.9, 3.2, 4.8, 1.8]}  # what the body of each event in events/ asks for
ABOUT = About("the-id", "2026-09-06T22:03:04.886644Z", {"team": "flowers"}, python="3.11.7", distributions={"a": "1"})

SHAPES = ("http-api-v2", "http-api-v1", "rest-v1", "rest-v1-console-test", "function-url", "alb", "alb-multi-value")
# The headers of these come from a caller; a test in the console of API Gateway has none.
WITH_HEADERS = tuple(shape for shape in SHAPES if shape != "rest-v1-console-test")


@dataclass
class Invocation:
    """What awslambdaric hands over with each event."""

    aws_request_id: str = REQUEST_ID
    left_ms: int = 2500

    def get_remaining_time_in_millis(self) -> int:
        return self.left_ms


class Echo(Model):
    """Answers with what it was asked."""

    def predict(self, args: Any, context: Context) -> Any:
        return args


class Tells(Model):
    """Does what it is told: a function of the data and the context."""

    def __init__(self, tell: Callable[[Any, Context], Any]) -> None:
        self.tell = tell

    def predict(self, args: Any, context: Context) -> Any:
        return self.tell(args, context)


class Ready:
    """A startup that is done: stands in for `handler.startup.Startup`."""

    failure = None

    def __init__(self, model: Model, about: About = ABOUT, types: Any = None) -> None:
        self._model, self._about, self._types = model, about, types

    def model(self) -> Model:
        return self._model

    def asking(self) -> calling.Ask:
        signature = self._about.signature
        return calling.make(self._model, signature, signature and checking.checker(signature), self._types)

    def about(self) -> About:
        return self._about


@dataclass
class Served:
    """An application, and what one can ask it."""

    application: Application
    lines: list[dict[str, Any]] = field(default_factory=list)

    def ask(self, event: Any) -> Any:
        """Return the raw answer to an event."""
        return self.application.handle(event, Invocation())

    def http(self, event: Any) -> "Reply":
        """Return the answer to a proxy event as an HTTP client would see it."""
        return Reply.of(self.ask(event))

    def direct(self, event: Any) -> Any:
        """Return the answer to a direct call, as JSON."""
        return json.loads(self.ask(event))


@dataclass
class Reply:
    """A proxy response as the client behind the gateway sees it."""

    status: int
    headers: dict[str, str]
    body: str

    @classmethod
    def of(cls, response: dict[str, Any]) -> "Reply":
        json.dumps(response, allow_nan=False)
        headers = response.get("headers")
        if headers is None:
            headers = {name: values[0] for name, values in response["multiValueHeaders"].items()}
        assert isinstance(response["body"], str)
        assert response["isBase64Encoded"] is False
        return cls(response["statusCode"], headers, response["body"])

    @property
    def json(self) -> Any:
        return json.loads(self.body, parse_constant=_refuse)

    @property
    def error(self) -> dict[str, str]:
        """The error that the body says, which has three members and no more."""
        (error,) = [self.json[key] for key in self.json]
        assert sorted(error) == ["message", "request_id", "type"]
        assert error["request_id"] == self.headers["x-request-id"] == REQUEST_ID
        return error


def behind_a_domain(mapping: str, path: str = "/iris/predict", method: str = "POST") -> dict[str, Any]:
    """Return the event of a REST API that was asked by its custom domain, with the mapping before the path.

    As in https://github.com/aws/serverless-java-container/issues/112: both paths begin with the mapping, and neither
    with the stage; `resource` and `pathParameters` are those of the API alone.
    """
    made = event("rest-v1", path, method, **({} if method == "POST" else {"body": None}))
    whole = f"/{mapping}{path}" if mapping else path
    domain = {"domainName": "models.example.com", "domainPrefix": "models"}
    made["requestContext"] |= {"path": whole, "httpMethod": method} | domain
    made["headers"]["Host"] = domain["domainName"]
    made["multiValueHeaders"]["Host"] = [domain["domainName"]]
    return made | {"path": whole, "pathParameters": {"proxy": path.removeprefix("/")}}


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


def serve(model: Model | None = None, about: About = ABOUT, startup: Any = None, **environ: str) -> Served:
    """Serve a model as the project `iris` (or what `environ` says)."""
    lines: list[dict[str, Any]] = []
    environ = {"THAMPI_NAME": "iris", "THAMPI_STAGE": "staging", "THAMPI_SERVED_TIME_UTC": "served-then"} | environ
    application = Application(
        settings.read(environ),
        startup or Ready(model or Echo(), about),
        lambda line: lines.append(json.loads(line)),
    )
    return Served(application, lines)


def sample(name: str) -> dict[str, Any]:
    """Return one of the events in events/."""
    event: dict[str, Any] = json.loads((Path(__file__).parent / "events" / f"{name}.json").read_text("utf-8"))
    return event


def event(
    shape: str,
    path: str = "/iris/predict",
    method: str = "POST",
    body: Any = ...,
    base64: bool = False,
    headers: dict[str, str | None] | None = None,
) -> dict[str, Any]:
    """Return the sample of a shape for another request; a header that is None is left out.

    `path` is what the caller asked for, without the stage, which an HTTP API puts before it.
    """
    made = copy.deepcopy(sample(shape))
    if "http" in made["requestContext"]:
        made["rawPath"] = made["rawPath"].removesuffix("/iris/predict") + path
        made["requestContext"]["http"] |= {"path": made["rawPath"], "method": method}
    else:
        made["path"] = made["path"].removesuffix("/iris/predict") + path
        if "path" in made["requestContext"]:
            made["requestContext"]["path"] = made["requestContext"]["path"].removesuffix("/iris/predict") + path
        made["httpMethod"] = method
    if body is not ...:
        made["body"] = body
    made["isBase64Encoded"] = base64
    for name, value in (headers or {}).items():
        for key, wrapped in (("headers", value), ("multiValueHeaders", [value])):
            if made.get(key) is not None:
                made[key] = {known: old for known, old in made[key].items() if known.lower() != name.lower()}
                if value is not None:
                    made[key][name] = wrapped
    return made
