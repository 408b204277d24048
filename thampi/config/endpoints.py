"""What an endpoint can't be told: what its type can't do, with the reason and what can; what doesn't go together.

`LACKS` is all of the first, as
https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-vs-rest.html and
https://docs.aws.amazon.com/lambda/latest/dg/urls-configuration.html have it.
"""

import json
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any

from thampi.config import rules
from thampi.config.settings import WAITS_S, AnswerCache, Api, Cors

Written = Mapping[str, tuple[str, Any]]  # the keys of the table api, each with the path where it is written


@dataclass(frozen=True)
class Lack:
    """Why a type of endpoint can't do something, and what can."""

    why: str
    cure: str


_HTTP, _REST = 'type = "http"', 'type = "rest"'
_CLOUD_FRONT = "put CloudFront in front of it"
_KEEPS_OUT = "keeps others out here"
_RATES = Lack("a function URL counts no requests", f"reserved_concurrency bounds those at one time; {_HTTP} has rates")
_SIGNATURE = f"{_REST} does; what the model's signature refuses is refused here, too"
_ANSWERS = f"{_REST} does; api.cache gives predictions again here, too"
_ACL = f"{_REST} does; or {_CLOUD_FRONT}, with the ACL"
_NO_ANSWERS = {
    "http": Lack("an HTTP API has no answers of its own", f"{_REST} has"),
    "url": Lack("a function URL has no answers of its own", f"{_REST} has"),
}

# What is told -> the types that can't do it. What isn't here can be had with every type.
LACKS: Mapping[str, Mapping[str, Lack]] = {
    'auth = "api_key"': {
        "http": Lack("an HTTP API has no API keys", f'{_REST} has; auth = "jwt" or "iam" {_KEEPS_OUT}'),
        "url": Lack("a function URL has no API keys", f'{_REST} has; auth = "iam" {_KEEPS_OUT}'),
    },
    'auth = "jwt"': {
        "rest": Lack("a REST API reads no tokens", f'{_HTTP} does; auth = "api_key" or "iam" {_KEEPS_OUT}'),
        "url": Lack("a function URL reads no tokens", f'{_HTTP} does; auth = "iam" {_KEEPS_OUT}'),
    },
    "rate_per_s": {"url": _RATES},
    "burst": {"url": _RATES},
    "routes": {"url": _RATES},
    "validate": {
        "http": Lack("an HTTP API looks into no request", _SIGNATURE),
        "url": Lack("a function URL looks into no request", _SIGNATURE),
    },
    "cache_ttl_s": {
        "http": Lack("an HTTP API keeps no answers", _ANSWERS),
        "url": Lack("a function URL keeps no answers", _ANSWERS),
    },
    "mock": _NO_ANSWERS,
    "mock_result": _NO_ANSWERS,
    "waf_acl_arn": {
        "http": Lack("an HTTP API takes no web ACL", _ACL),
        "url": Lack("a function URL takes no web ACL", _ACL),
    },
    "domain": {
        "url": Lack("a function URL has no other domain", f'{_HTTP} and "rest" can have one; or {_CLOUD_FRONT}'),
    },
    "access_log": {
        "url": Lack("a function URL writes no log", f'{_HTTP} and "rest" do; `thampi logs` has each request here, too'),
    },
    "tracing": {
        "http": Lack("an HTTP API makes no traces", f"{_REST} does"),
        "url": Lack("a function URL makes no traces", f"{_REST} does"),
    },
}
# With these a key says that nothing is wanted, which every type can do.
_NOTHING: Mapping[str, object] = {"routes": {}, "validate": False, "mock": False, "access_log": False, "tracing": False}
_OF_MEMORY = 4  # the cache may take one part in so many


def check(api: Written, *, region: object, memory_mb: object) -> list[str]:
    """Find what the endpoint can't be told; `region` is the one that is written, None where it isn't.

    What has the wrong form is passed over: that was said already.
    """
    return [
        *_check_type(api),
        *_check_auth(api),
        *_check_mock(api),
        *_check_cors(api),
        *_check_regions(api, region),
        *_check_cache(api, memory_mb),
    ]


def can_be(api: Api, kind: str) -> bool:
    """Say whether an endpoint of another type could be told the same."""
    default = Api()
    written = {each.name: ("", getattr(api, each.name)) for each in fields(Api)}
    told = {key: said for key, said in written.items() if said[1] != getattr(default, key)}
    return not any(kind in LACKS.get(name, {}) for name in _told(told))


def lets_in(kind: str, auth: str) -> bool:
    """Say whether a type can tell those apart whom it is to let in."""
    return kind not in LACKS.get(f'auth = "{auth}"', {})


def told_bytes(api: Written) -> int:
    """Return how much of the function's environment tells the handler of the pages of other sites.

    That is with a REST API only: elsewhere what stands in front of the function sees to them.
    """
    cors = api.get("cors", ("", None))[1]
    if _type(api) != "rest" or not isinstance(cors, dict):
        return 0
    whole = {each.name: each.default for each in fields(Cors) if each.default is not MISSING} | cors
    return len("THAMPI_CORS" + json.dumps(whole, separators=(",", ":"), ensure_ascii=False, default=str))


def check_auth_is_said_once(layers: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Find two answers to one question: `auth` beside the table api is the same as the one in it."""
    found = []
    for place, layer in layers.items():
        beside, within = layer.get("auth"), _table(layer.get("api")).get("auth")
        if None not in (beside, within) and beside != within:
            said = f"is {rules.shown(beside)}, and {place}api.auth is {rules.shown(within)}"
            found.append(f"{place}auth: {said}: keep one of them")
    return found


def check_waiting(timeout: tuple[str, object] | None, api: Written) -> list[str]:
    """Find a time to answer that the endpoint doesn't wait for; `timeout` is timeout_s, with where it is written."""
    kind = _type(api)
    if timeout is None or kind not in WAITS_S:
        return []
    (where, timeout_s), longest_s = timeout, WAITS_S[kind]
    if type(timeout_s) is not int or not longest_s < timeout_s <= WAITS_S["url"]:
        return []  # what is wrong then was said already
    lacks = [name for name in _told(api) if "url" in LACKS.get(name, {})]
    cure = f'one of type = "url" waits {WAITS_S["url"]} seconds'
    return [
        f"{where}: should be at most {longest_s}, is {timeout_s}: no endpoint of api.type = {rules.shown(kind)} waits "
        f"longer; {cure}{f', without {_listed(lacks)}' if lacks else ''}"
    ]


def _check_type(api: Written) -> list[str]:
    kind = _type(api)
    return [
        f"{where}: {'' if name == key else f'{rules.shown(value)} '}can't be had with api.type = {rules.shown(kind)}: "
        f"{LACKS[name][kind].why}; {LACKS[name][kind].cure}"
        for name, (key, where, value) in _told(api).items()
        if kind in LACKS.get(name, {})
    ]


def _told(api: Written) -> dict[str, tuple[str, str, Any]]:
    """Return what is wanted of the endpoint by the names of LACKS: the key, its path and its value."""
    return {
        f"auth = {rules.shown(value)}" if key == "auth" else key: (key, where, value)
        for key, (where, value) in api.items()
        if not (key in _NOTHING and value == _NOTHING[key])
    }


def _check_auth(api: Written) -> list[str]:
    where, auth = api.get("auth", ("", "none"))
    found = []
    if auth == "jwt" and "jwt" not in api:
        wanted = 'jwt = { issuer = "https://…", audience = ["…"] } beside it says whose tokens let a caller in'
        found.append(f'{where}: is "jwt", and {wanted}')
    for key, needed, kind in (("jwt", "jwt", "http"), ("plan", "api_key", "rest")):
        if key in api and auth != needed:
            of = f'it is for auth = "{needed}", which type = "{kind}" has'
            found.append(f"{api[key][0]}: is of no use with auth = {rules.shown(auth)}: {of}")
    place, plan = api.get("plan", ("", {}))
    if "period" in _table(plan) and "quota" not in plan:
        found.append(f"{place}.period: is of no use without a quota, the number of requests in each")
    return found


def _check_mock(api: Written) -> list[str]:
    if "mock_result" not in api or api.get("mock", ("", False))[1]:
        return []
    return [f"{api['mock_result'][0]}: is of no use without mock = true"]


def _check_cors(api: Written) -> list[str]:
    place, written = api.get("cors", ("", {}))
    cors, found = _table(written), []
    every = "*" in _list(cors.get("origins"))
    if every and len(cors["origins"]) > 1:
        found.append(f'{place}.origins: should be "*" alone, which is every origin, or the others without it')
    if cors.get("credentials") is not True:
        return found
    if every:
        why = "browsers send none where every page may ask: name the origins"
        found.append(f'{place}.credentials: can\'t be had with origins = ["*"]: {why}')
    if "*" in _list(cors.get("headers")):
        why = "browsers take it for a header of that name then: name the headers"
        found.append(f'{place}.credentials: can\'t be had with "*" among the headers: {why}')
    return found


def _check_regions(api: Written, region: object) -> list[str]:
    """Find what lies in another region than the stage."""
    place, domain = api.get("domain", ("", {}))
    certificate = (f"{place}.certificate_arn", _table(domain).get("certificate_arn"))
    found = []
    for where, arn in (api.get("waf_acl_arn", ("", None)), certificate):
        of_arn = arn.split(":")[3:4] if isinstance(arn, str) else []
        if isinstance(region, str) and of_arn not in ([], [region]):
            found.append(f"{where}: is of {of_arn[0]}, and the stage's region is {region}: it should be of that one")
    return found


def _check_cache(api: Written, memory_mb: object) -> list[str]:
    place, cache = api.get("cache", ("", None))
    size_mb = cache.get("size_mb", AnswerCache.size_mb) if isinstance(cache, dict) else None
    if type(memory_mb) is not int or type(size_mb) is not int or size_mb <= memory_mb // _OF_MEMORY:
        return []
    most_mb = memory_mb // _OF_MEMORY
    why = f"the model needs the rest of memory_mb, which is {memory_mb}"
    return [f"{place}.size_mb: should be at most {most_mb}, is {size_mb}: {why}"]


def _type(api: Written) -> str:
    kind = api.get("type", ("", Api.type))[1]
    return kind if isinstance(kind, str) else ""


def _table(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _listed(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
