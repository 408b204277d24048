"""What browsers are told of other sites' pages, where the handler tells it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.handler.inprocess import (
    REQUEST_ID,
    SHAPES,
    WITH_HEADERS,
    Tells,
    behind_a_domain,
    event,
    sample,
    serve,
)
from thampi import BadRequest
from thampi.errors import ConfigError

APP = "https://app.example.com"
OTHER = "http://localhost:3000"
PATHS = ("/iris/predict", "/iris/ping", "/iris", "/iris/openapi.json", "/", "/rose/predict")
EXPOSED = "age, allow, retry-after, x-request-id, x-thampi-cache"
ACTUAL = {"access-control-allow-origin", "access-control-expose-headers"}
PREFLIGHT = {"access-control-allow-methods", "access-control-allow-headers", "access-control-max-age"}


def said(**changes):
    given_ = {
        "origins": [APP, OTHER],
        "methods": ["GET", "POST"],
        "headers": ["authorization", "content-type", "x-api-key"],
        "credentials": False,
        "max_age_s": 600,
    }
    return json.dumps(given_ | changes)


def served(model=None, environ=(), **changes):
    return serve(model, **{"THAMPI_CORS": said(**changes), **dict(environ)})


def asked(origin=APP, shape="rest-v1", **how):
    how["headers"] = {"Origin": origin, **how.get("headers", {})}
    return event(shape, **how)


def preflight(origin=APP, path="/iris/predict", method="POST", headers="content-type,x-api-key", shape="rest-v1"):
    wanted = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": headers}
    return asked(origin, shape, path=path, method="OPTIONS", body=None, headers=wanted)


def cors_of(reply):
    return {name: value for name, value in reply.headers.items() if name.startswith("access-control-")}


# --- answers


@pytest.mark.parametrize("shape", WITH_HEADERS)
@pytest.mark.parametrize("origin", [APP, OTHER])
def test_a_page_of_an_origin_that_is_allowed_may_read_the_answer(shape, origin):
    reply = served().http(asked(origin, shape))
    assert reply.status == 200
    assert cors_of(reply) == {"access-control-allow-origin": origin, "access-control-expose-headers": EXPOSED}
    assert reply.headers["vary"] == "origin"


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example.com",
        "http://app.example.com",
        "https://app.example.com:444",
        "https://app.example.com.evil.com",
        "https://xapp.example.com",
        "HTTPS://APP.EXAMPLE.COM",
        "null",
        "*",
        "",
        f"{APP}, {OTHER}",
    ],
)
def test_a_page_of_another_origin_gets_no_leave_to_read_it(origin):
    for made in (asked(origin), preflight(origin)):
        reply = served().http(made)
        assert reply.status in (200, 204)
        assert cors_of(reply) == {}
        assert reply.headers["vary"] == "origin"  # or a cache would give this answer to the app's page


def test_a_caller_that_is_no_browser_gets_its_answer_as_ever_and_caches_are_told_that_it_depends():
    reply = served().http(sample("rest-v1"))
    assert (reply.status, cors_of(reply), reply.headers["vary"]) == (200, {}, "origin")


@pytest.mark.parametrize("headers", [{}, {"Origin": APP}, {"Origin": "null"}])
def test_what_everyone_may_read_says_so_to_everyone_alike(headers):
    reply = served(origins=["*"]).http(event("rest-v1", headers=headers))
    assert cors_of(reply) == {"access-control-allow-origin": "*", "access-control-expose-headers": EXPOSED}
    assert "vary" not in reply.headers


def test_everyone_is_everyone_beside_others_too():
    reply = served(origins=[APP, "*"]).http(asked("https://evil.example.com"))
    assert reply.headers["access-control-allow-origin"] == "*"


def test_credentials_are_allowed_where_they_are_wanted():
    for made in (asked(), preflight()):
        reply = served(credentials=True).http(made)
        assert reply.headers["access-control-allow-credentials"] == "true"
        assert reply.headers["access-control-allow-origin"] == APP
    assert "access-control-allow-credentials" not in served().http(asked()).headers


def failing(error):
    def tell(args, context):
        raise error

    return Tells(tell)


@pytest.mark.parametrize(
    ("model", "made", "status"),
    [
        (None, asked(body="{"), 400),
        (None, asked(path="/iris/train"), 404),
        (None, asked(path="/iris/ping", method="POST"), 405),
        (None, asked(body=json.dumps({"data": "x" * 6_000_000})), 413),
        (None, asked(headers={"Content-Type": "text/csv"}), 415),
        (failing(BadRequest("no")), asked(), 400),
        (failing(ValueError("no")), asked(), 500),
        (Tells(lambda args, context: "\\" * 4_000_000), asked(), 413),
    ],
)
def test_a_page_may_read_what_went_wrong_as_well(model, made, status):
    reply = served(model).http(made)
    assert (reply.status, reply.headers["access-control-allow-origin"]) == (status, APP)


def test_a_page_may_read_that_there_is_no_model_yet_and_when_to_try_again():
    class Unready:
        def asking(self):
            from handler.startup import StillLoadingError

            raise StillLoadingError("still", hint="wait")

    reply = serve(startup=Unready(), THAMPI_CORS=said()).http(asked())
    assert (reply.status, reply.headers["retry-after"]) == (503, "5")
    assert reply.headers["access-control-allow-origin"] == APP
    assert "retry-after" in reply.headers["access-control-expose-headers"]


@pytest.mark.parametrize(("origins", "wanted"), [(["*"], ACTUAL), ([APP], set())])
def test_an_event_that_was_cut_off_and_tells_no_origin_is_answered_for_everyone_or_nobody(origins, wanted):
    made = json.dumps(asked() | {"body": "x" * 7_000_000}).encode()[:6_291_456]
    reply = served(origins=origins).http(made)
    assert reply.status == 413
    assert set(cors_of(reply)) == wanted


def test_the_page_to_try_the_model_depends_on_the_origin_and_on_what_the_browser_accepts():
    for accept in ("text/html", "application/json"):
        reply = served().http(asked(path="/iris", method="GET", body=None, headers={"Accept": accept}))
        assert reply.headers["content-type"].startswith(accept)
        assert reply.headers["vary"] == "accept, origin"
        assert reply.headers["access-control-allow-origin"] == APP


def test_a_method_that_is_not_allowed_lets_no_page_read_the_answer():
    reply = served(methods=["POST"]).http(asked(path="/iris", method="GET", body=None))
    assert (reply.status, cors_of(reply)) == (200, {})
    assert cors_of(served(methods=["GET"], origins=["*"]).http(asked())) == {}


@pytest.mark.parametrize("shape", WITH_HEADERS)
def test_where_the_project_says_nothing_the_handler_says_nothing(shape):
    for made in (asked(shape=shape), preflight(shape=shape)):
        reply = serve().http(made)
        assert cors_of(reply) == {}
        assert "vary" not in reply.headers


# --- preflights


@pytest.mark.parametrize("shape", WITH_HEADERS)
@pytest.mark.parametrize("path", PATHS)
def test_a_preflight_to_any_path_is_answered_with_what_a_page_may_do(shape, path):
    reply = served().http(preflight(shape=shape, path=path))
    assert (reply.status, reply.body) == (204, "")
    assert cors_of(reply) == {
        "access-control-allow-origin": APP,
        "access-control-allow-methods": "GET, POST",
        "access-control-allow-headers": "authorization, content-type, x-api-key",
        "access-control-max-age": "600",
        "access-control-expose-headers": EXPOSED,
    }
    assert reply.headers["x-request-id"] == REQUEST_ID


def test_a_preflight_by_a_custom_domain_is_answered_too():
    made = behind_a_domain("models/iris", method="OPTIONS")
    for key, wrapped in (("headers", str), ("multiValueHeaders", lambda value: [value])):
        made[key] |= {"Origin": wrapped(APP), "Access-Control-Request-Method": wrapped("POST")}
    assert served().http(made).headers["access-control-allow-origin"] == APP


@pytest.mark.parametrize("method", ["PUT", "DELETE", "HEAD", "post", ""])
def test_a_preflight_for_a_method_that_is_not_allowed_allows_nothing(method):
    reply = served().http(preflight(method=method))
    assert (reply.status, cors_of(reply)) == (204, {})


@pytest.mark.parametrize("age", [0, 86400])
def test_a_browser_is_told_how_long_to_remember(age):
    assert served(max_age_s=age).http(preflight()).headers["access-control-max-age"] == str(age)


@pytest.mark.parametrize("wanted", ["authorization,x-one", "x-one", "X-One , x_two,Authorization"])
@pytest.mark.parametrize("credentials", [False, True])
def test_where_every_header_is_allowed_those_that_are_asked_for_are_named(wanted, credentials):
    # No "*": for browsers that allows no `authorization`, and with credentials nothing at all.
    reply = served(headers=["*"], credentials=credentials).http(preflight(headers=wanted))
    assert reply.headers["access-control-allow-headers"] == ", ".join(each.strip() for each in wanted.split(","))


@pytest.mark.parametrize(
    ("wanted", "said_back"),
    [("", None), (" , ", None), ("x-ok,<script>,x y,ä,x-2", "x-ok, x-2"), ("x-a\r\nset-cookie: b", None)],
)
def test_nothing_but_names_of_headers_is_said_back(wanted, said_back):
    reply = served(headers=["*"]).http(preflight(headers=wanted))
    assert reply.headers.get("access-control-allow-headers") == said_back
    assert reply.headers["access-control-allow-origin"] == APP


def test_what_is_said_back_has_an_end():
    reply = served(headers=["*"]).http(preflight(headers=",".join(f"x-{number}" for number in range(5000))))
    assert len(reply.headers["access-control-allow-headers"]) < 8192


def test_where_no_header_is_allowed_none_is_named():
    assert "access-control-allow-headers" not in served(headers=[]).http(preflight()).headers


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": APP},  # a page that sends OPTIONS itself; its browser's preflight was refused
        {"Access-Control-Request-Method": "POST"},
    ],
)
@pytest.mark.parametrize("shape", WITH_HEADERS)
def test_options_that_is_no_preflight_says_as_ever_which_methods_there_are(shape, headers):
    reply = served().http(event(shape, method="OPTIONS", body=None, headers=headers))
    assert (reply.status, reply.headers["allow"]) == (204, "POST, OPTIONS")
    assert cors_of(reply) == {}
    assert served().http(event(shape, "/iris/train", "OPTIONS", body=None, headers=headers)).status == 404


def test_a_preflight_never_asks_the_model():
    reply = served(failing(AssertionError("asked"))).http(preflight())
    assert reply.status == 204


def test_a_preflight_is_in_the_log_as_what_it_is():
    known = served()
    known.http(preflight())
    known.http(preflight(path="/iris/train"))
    assert [(line["route"], line["status"]) for line in known.lines] == [("predict", 204), ("none", 204)]


# --- for any settings, through any front: what Fetch demands


origins = st.sampled_from([APP, OTHER, "https://evil.example.com", "null"])


@given(
    allowed=st.lists(st.sampled_from([APP, OTHER, "*"]), min_size=1),
    methods=st.lists(st.sampled_from(["GET", "POST", "HEAD"]), unique=True),
    headers=st.lists(st.sampled_from(["*", "content-type", "x-api-key"]), unique=True),
    credentials=st.booleans(),
    origin=origins,
    shape=st.sampled_from(SHAPES),
    made=st.sampled_from([asked, preflight]),
)
def test_leave_is_given_to_the_allowed_alone_and_never_to_all_with_credentials(
    allowed, methods, headers, credentials, origin, shape, made
):
    if credentials and "*" in allowed:
        return
    known = served(origins=allowed, methods=methods, headers=headers, credentials=credentials)
    reply = known.http(made(origin, shape=shape))
    leave = reply.headers.get("access-control-allow-origin")
    if shape not in WITH_HEADERS:
        assert leave in (None, "*")
        return
    let_in = ("*" in allowed or origin in allowed) and "POST" in methods
    assert leave == (("*" if "*" in allowed else origin) if let_in else None)
    assert bool(cors_of(reply)) is let_in
    assert "*" not in reply.headers.get("access-control-allow-headers", "")
    if leave == "*":
        assert "access-control-allow-credentials" not in reply.headers
    else:
        assert "*" in allowed or reply.headers["vary"] == "origin"


# --- what it is told


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "1",
        '{"origins": ["*"]}',
        said(more=1),
        said(origins="*"),
        said(origins=[1]),
        said(methods=None),
        said(headers={"a": 1}),
        said(credentials="yes"),
        said(max_age_s="600"),
        said(max_age_s=True),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_answered(text):
    with pytest.raises(ConfigError, match="THAMPI_CORS"):
        serve(THAMPI_CORS=text)


def test_credentials_for_pages_of_every_origin_are_refused():
    with pytest.raises(ConfigError, match="every origin"):
        served(origins=[APP, "*"], credentials=True)
