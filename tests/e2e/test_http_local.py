"""HTTP APIs and function URLs on the local AWS: tokens, other sites' pages, limits of routes, who is let in meanwhile.

What plays AWS here answers preflights before it looks for a route, so that of `OPTIONS /{proxy+}` only the calls that
make it are shown (tests/aws/test_gateway_settings.py); it lets any signature in; and it holds no HTTP API's requests
back, whatever its limits are: that they are written where API Gateway reads them is shown here, a 429 isn't.
"""

import json
import subprocess
import threading
import time

import pytest

from tests.e2e import tokens
from tests.e2e.test_push_local import JSON, ask, new_project, result, shared_aws  # noqa: F401 - fixtures

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]

HERE, THERE = "https://app.example.com", "https://evil.example.com"


@pytest.fixture(scope="module")
def issuer():
    with tokens.issuing() as found:
        yield found


@pytest.fixture(scope="module")
def stranger():
    with tokens.issuing() as found:
        yield found


def jwt(issuer, audience="flowers", *scopes):
    said = f'issuer = "{issuer.url}", audience = ["{audience}"], scopes = {json.dumps(scopes)}'
    return f'api.auth = "jwt"\napi.jwt = {{ {said} }}'


def bearing(token):
    return {**JSON, "Authorization": f"Bearer {token}"}


def status(url, headers=JSON):
    return ask(url, {"data": "x"}, headers=headers)[0]


def curl(*words):
    """The status that curl gets."""
    asked = ["curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}", *words]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout


def test_only_who_brings_a_token_of_the_right_issuer_audience_and_scope_is_let_in(
    new_project,  # noqa: F811
    shared_aws,  # noqa: F811
    issuer,
    stranger,
):
    project = new_project(shared_aws, jwt(issuer, "flowers", "ask", "see"))
    url, said = project.push()
    good = {"aud": "flowers", "scope": "see else"}
    assert result_with(url, issuer.token(**good)) == {"said": "x"}
    assert status(url, bearing(issuer.token(aud=["others", "flowers"], scope="ask"))) == 200
    now = int(time.time())
    refused = {
        "no token": (401, JSON),
        "no token at all": (401, bearing("nonsense")),
        "forged": (401, bearing(issuer.token(tokens.other_key(), **good))),
        "expired": (401, bearing(issuer.token(**good, exp=now - 10))),
        "not yet": (401, bearing(issuer.token(**good, nbf=now + 600))),
        "of a stranger": (401, bearing(stranger.token(**good))),
        "of a stranger who says it was the issuer": (401, bearing(stranger.token(**good, iss=issuer.url))),
        "for somebody else": (401, bearing(issuer.token(**{**good, "aud": "birds"}))),
        "without a scope": (403, bearing(issuer.token(aud="flowers"))),
        "with another scope": (403, bearing(issuer.token(aud="flowers", scope="seer"))),
    }
    assert {name: status(url, headers) for name, (_, headers) in refused.items()} == {
        name: code for name, (code, _) in refused.items()
    }
    body = ("--data", '{"data": 1}', "--header", "Content-Type: application/json", url)
    assert curl(*body) == "401"
    assert curl("--header", f"Authorization: Bearer {issuer.token(**good)}", *body) == "200"
    assert curl("--header", f"Authorization: Bearer {issuer.token(**good, exp=now - 10)}", *body) == "401"

    asked = project.thampi("predict", "local", "--data", '"y"', THAMPI_TOKEN=issuer.token(**good))
    assert (asked.returncode, json.loads(asked.stdout)["result"]) == (0, {"said": "y"}), asked.stderr
    without = project.thampi("predict", "local", "--data", '"y"')
    assert without.returncode == 2
    assert f"get one of {issuer.url} for flowers and a scope of ask, see" in without.stderr
    old = issuer.token(**good, exp=now - 10)
    expired = project.thampi("predict", "local", "--data", '"y"', THAMPI_TOKEN=old)
    assert (expired.returncode, "answered 401: Unauthorized" in expired.stderr) == (6, True)
    assert old not in expired.stderr + said
    again, said = project.push()
    assert (again, "nothing has changed" in said) == (url, True)


def result_with(url, token):
    code, said, _ = ask(url, {"data": "x"}, headers=bearing(token))
    assert code == 200, said
    return said["result"]


def test_another_issuer_lets_in_its_own_and_no_others_any_more(new_project, shared_aws, issuer, stranger):  # noqa: F811
    project = new_project(shared_aws, jwt(issuer))
    url, _ = project.push()
    old, new = issuer.token(aud="flowers"), stranger.token(aud="flowers")
    assert (status(url, bearing(old)), status(url, bearing(new))) == (200, 401)
    project.configure(jwt(stranger))
    assert project.push()[0] == url
    assert (status(url, bearing(old)), status(url, bearing(new))) == (401, 200)
    project.configure(jwt(stranger, "birds"))
    project.push()
    birds = stranger.token(aud="birds")
    assert (status(url, bearing(new)), status(url, bearing(birds))) == (401, 200)
    project.configure()
    project.push()
    assert (status(url), status(url, bearing(new))) == (200, 200)
    assert authorizers(project) == []


def api(project):
    client = project.aws.client("apigatewayv2")
    (found,) = [each for each in client.get_apis()["Items"] if each["Name"] == project.function]
    return client, {"ApiId": found["ApiId"]}


def authorizers(project):
    client, of = api(project)
    return client.get_authorizers(**of)["Items"]


# ---------------------------------------------------------------------------------------------------------- other sites


SITES = 'cors = {{ origins = ["{0}"] }}'


def preflight(url, origin):
    wish = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type,authorization"}
    code, _, headers = ask(url, None, "OPTIONS", {"Origin": origin, **wish})
    return code, headers


@pytest.mark.parametrize("kind", ["http", "url"])
def test_pages_of_the_sites_that_are_named_may_ask_and_read_and_no_others(new_project, shared_aws, kind):  # noqa: F811
    project = new_project(shared_aws, f'api = {{ type = "{kind}", {SITES.format(HERE)} }}')
    url, _ = project.push()
    code, headers = preflight(url, HERE)
    assert code in (200, 204)
    assert headers["access-control-allow-origin"] == HERE
    assert {*headers["access-control-allow-methods"].split(",")} == {"GET", "POST"}
    assert {"content-type", "authorization", "x-api-key"} <= {*headers["access-control-allow-headers"].split(",")}
    assert headers["access-control-max-age"] == "600"
    assert "access-control-allow-credentials" not in headers
    assert "access-control-allow-origin" not in preflight(url, THERE)[1]
    for body, code in (({"data": "x"}, 200), ({"no": "data"}, 400)):
        found, _, headers = ask(url, body, headers={**JSON, "Origin": HERE})
        assert (found, headers["access-control-allow-origin"]) == (code, HERE)
        assert "x-request-id" in headers["access-control-expose-headers"]
        assert headers["x-request-id"]
    assert "access-control-allow-origin" not in ask(url, {"data": 1}, headers={**JSON, "Origin": THERE})[2]

    project.configure(f'api = {{ type = "{kind}", {SITES.format(THERE)} }}')
    assert project.push()[0] == url
    assert preflight(url, THERE)[1]["access-control-allow-origin"] == THERE
    assert "access-control-allow-origin" not in preflight(url, HERE)[1]
    project.configure(f'api = {{ type = "{kind}" }}')
    assert project.push()[0] == url
    assert "access-control-allow-origin" not in preflight(url, THERE)[1]
    assert "access-control-allow-origin" not in ask(url, {"data": 1}, headers={**JSON, "Origin": THERE})[2]


def test_a_page_asks_without_a_token_whether_it_may_ask_with_one(new_project, shared_aws, issuer):  # noqa: F811
    project = new_project(shared_aws, f"{jwt(issuer)}\napi.{SITES.format(HERE)}")
    url, _ = project.push()
    code, headers = preflight(url, HERE)
    assert (code in (200, 204), headers["access-control-allow-origin"]) == (True, HERE)
    with_token = {**bearing(issuer.token(aud="flowers")), "Origin": HERE}
    assert ask(url, {"data": 1}, headers={**JSON, "Origin": HERE})[0] == 401
    assert ask(url, {"data": 1}, headers=with_token)[2]["access-control-allow-origin"] == HERE


# ------------------------------------------------------------------------------------------------ limits, and the log


def test_routes_with_limits_answer_as_before_and_the_stage_outlives_them(new_project, shared_aws):  # noqa: F811
    project = new_project(shared_aws, "api.routes = { predict = { rate_per_s = 5, burst = 10 }, ping = { burst = 3 } }")
    url, _ = project.push()
    client, of = api(project)
    assert result(url)[0] == {"said": "x"}
    base = url.removesuffix("/predict")
    for path in ("/ping", "", "/openapi.json"):
        assert ask(f"{base}{path}", None, "GET", {})[0] == 200
    (stage,) = client.get_stages(**of)["Items"]
    limits = {
        key: (each["ThrottlingRateLimit"], each["ThrottlingBurstLimit"]) for key, each in stage["RouteSettings"].items()
    }
    assert limits == {f"POST /{project.name}/predict": (5.0, 10), f"GET /{project.name}/ping": (100.0, 3)}
    project.configure("api.access_log = true")
    assert project.push()[0] == url
    (stage,) = client.get_stages(**of)["Items"]
    assert stage["RouteSettings"] == {}
    assert stage["AccessLogSettings"]["DestinationArn"].endswith(f":/aws/apigateway/{project.function}")
    assert [each["RouteKey"] for each in client.get_routes(**of)["Items"]] == ["$default"]
    project.configure()
    assert project.push()[0] == url
    (stage,) = client.get_stages(**of)["Items"]
    assert "AccessLogSettings" not in stage
    assert result(url)[0] == {"said": "x"}


# --------------------------------------------------------------------------------------------------------- under load


class Load:
    """Callers that ask all the time, and what each of them was answered, with the moment."""

    def __init__(self, url, callers):
        self.answers = {name: [] for name in callers}
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(url, *each)) for each in callers.items()]

    def _ask(self, url, name, headers):
        while not self._stopped.is_set():
            began = time.monotonic()
            self.answers[name].append((began, status(url, headers), time.monotonic()))

    def __enter__(self):
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, *_):
        self._stopped.set()
        for each in self._threads:
            each.join()

    def wait(self):
        """Let each caller ask some more."""
        until = {name: len(answers) + 4 for name, answers in self.answers.items()}
        while any(len(self.answers[name]) < count for name, count in until.items()):
            time.sleep(0.05)

    def codes(self, name, since=0.0, until=float("inf")):
        """What was answered to requests that began and ended in a time."""
        return {code for began, code, ended in self.answers[name] if began >= since and ended <= until}


def test_who_may_call_before_and_after_may_call_all_the_while_and_nobody_else_for_a_moment(
    new_project,  # noqa: F811
    shared_aws,  # noqa: F811
    issuer,
):
    """auth: none -> jwt -> iam -> none, with limits of two routes, so that there is more than one door to close.

    A signature is anything that looks like one, here; so who signs is let in wherever `iam` is asked for.
    """
    limits = "api.routes = { predict = { burst = 150 } }"
    project = new_project(shared_aws, limits)
    url, _ = project.push()
    signed = (
        "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/execute-api/aws4_request, SignedHeaders=host, Signature=0"
    )
    callers = {
        "nobody": JSON,
        "token": bearing(issuer.token(aud="flowers")),
        "forger": bearing(issuer.token(tokens.other_key(), aud="flowers")),
        "signer": {**JSON, "Authorization": signed},
    }
    closed = {}
    with Load(url, callers) as load:
        for name, said in (
            ("jwt", f"{jwt(issuer)}\n{limits}"),
            ("iam", f'api.auth = "iam"\n{limits}'),
            ("none", limits),
        ):
            began = time.monotonic()
            project.configure(said)
            assert project.push()[0] == url
            pushed = time.monotonic()
            load.wait()
            closed[name] = (began, pushed)
    for name in callers:
        assert load.codes(name) <= {200, 401, 403}, name  # nobody failed, and nobody missed a route
    asked_for_tokens = (closed["jwt"][1], closed["iam"][0])
    assert load.codes("nobody", *asked_for_tokens) == {401}
    assert load.codes("forger", *asked_for_tokens) == {401}
    # Who brings the token is let in before, while, and after `jwt` is switched on.
    assert load.codes("token", 0.0, closed["iam"][0]) == {200}
    # Once closed it is never open to who has nothing, or a forgery (which passes for a signature, here), until it is to
    # be open to all.
    for name, until in (("nobody", closed["none"][0]), ("forger", closed["iam"][0])):
        first = next(ended for _, code, ended in load.answers[name] if code == 401)
        assert 200 not in load.codes(name, first, until), name
    # Who signs is let in as soon as signatures are asked for, and stays so when nothing is.
    assert load.codes("signer", closed["iam"][1]) == {200}
    assert [load.codes(name, closed["none"][1]) for name in callers] == [{200}] * len(callers)
    assert min(len(each) for each in load.answers.values()) > 20


def test_a_push_that_widens_the_audience_shuts_nobody_out(new_project, shared_aws, issuer):  # noqa: F811
    project = new_project(shared_aws, jwt(issuer))
    url, _ = project.push()
    with Load(url, {"flowers": bearing(issuer.token(aud="flowers")), "nobody": JSON}) as load:
        said = f'issuer = "{issuer.url}", audience = ["birds", "flowers"], scopes = []'
        project.configure(f'api.auth = "jwt"\napi.jwt = {{ {said} }}')
        project.push()
    assert (load.codes("flowers"), load.codes("nobody")) == ({200}, {401})
