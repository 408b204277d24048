"""Who asks a stage that wants tokens has one in a variable, or hears so before anything is sent."""

import json
from dataclasses import replace

import pytest

import thampi
from tests.operations.stand import BUCKET, REGION
from tests.operations.test_predict import endpoint, local  # noqa: F401 - fixtures
from thampi.asking.failures import UnauthorizedError
from thampi.config import Api, Jwt
from thampi.errors import ConfigError
from thampi.operations import predict, replacement

WHOSE = Jwt(issuer="https://login.example.com/", audience=("flowers",), scopes=("ask", "see"))
ASKED = Api(auth="jwt", jwt=WHOSE)
TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJtZSJ9.c2lnbmVk"


@pytest.fixture
def asked(local):  # noqa: F811
    stage, place, _ = local(api=ASKED)
    return stage, place


@pytest.mark.parametrize("said", [TOKEN, f"Bearer {TOKEN}", f" {TOKEN}\n", f"bearer  {TOKEN}"])
def test_the_token_of_the_variable_goes_with_the_request(asked, endpoint, said):  # noqa: F811
    assert predict.through_url(*asked, 1, {"THAMPI_TOKEN": said}) == {"result": 6}
    ((_, headers, body),) = endpoint.asked
    assert (headers["Authorization"], body) == (f"Bearer {TOKEN}", {"data": 1})


@pytest.mark.parametrize("environ", [None, {}, {"THAMPI_TOKEN": ""}, {"THAMPI_TOKEN": " Bearer "}])
def test_without_one_nothing_is_sent_and_the_cure_says_whose_token_it_has_to_be(asked, endpoint, environ):  # noqa: F811
    with pytest.raises(ConfigError, match="lets in who brings a token, and there is none in THAMPI_TOKEN") as refused:
        predict.through_url(*asked, 1, environ)
    assert "of https://login.example.com/ for flowers and a scope of ask, see" in refused.value.hint
    assert "read -rs THAMPI_TOKEN" in refused.value.hint
    assert endpoint.asked == []


def test_what_cant_be_a_token_is_refused_and_not_shown(asked, endpoint):  # noqa: F811
    with pytest.raises(ConfigError, match="what is in THAMPI_TOKEN is no token") as refused:
        predict.through_url(*asked, 1, {"THAMPI_TOKEN": f"{TOKEN}\r\nX-Other: 1"})
    assert TOKEN[:8] not in str(refused.value) + str(refused.value.hint)
    assert endpoint.asked == []


def test_where_none_is_asked_for_none_is_sent(local, endpoint):  # noqa: F811
    stage, place, _ = local()
    predict.through_url(stage, place, 1, {"THAMPI_TOKEN": TOKEN})
    ((_, headers, _),) = endpoint.asked
    assert "Authorization" not in headers


def test_a_refusal_says_what_is_wrong_with_the_token_and_not_the_token(asked, endpoint):  # noqa: F811
    endpoint.answer = 401, '{"message": "Unauthorized"}'
    with pytest.raises(UnauthorizedError, match="answered 401: Unauthorized") as refused:
        predict.through_url(*asked, 1, {"THAMPI_TOKEN": TOKEN})
    assert "a token for `thampi predict` into THAMPI_TOKEN" in refused.value.hint
    assert TOKEN not in str(refused.value) + refused.value.hint


def test_a_new_endpoint_that_asks_for_tokens_is_tried_without_one(local, endpoint):  # noqa: F811
    """A push needs no token: that it is asked for one is an answer."""
    stage, place, _ = local(api=ASKED)
    endpoint.answer = 401, "{}"
    reached = predict.reach(stage, place)
    assert reached.authorize("GET", reached.url, {}, None) == {}
    replacement.try_out(stage, place)


def test_a_client_of_a_stage_brings_its_own_token_or_that_of_the_variable(stand, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.delenv("THAMPI_TOKEN", raising=False)
    monkeypatch.chdir(tmp_path)
    stand.push()
    (tmp_path / "thampi.toml").write_text(
        f'name = "scale"\n[stages.staging]\nregion = "{REGION}"\nbucket = "{BUCKET}"\n'
        f'[stages.staging.api]\nauth = "jwt"\njwt = {{ issuer = "{WHOSE.issuer}", audience = ["flowers"] }}\n'
    )
    thampi.Client(stage="staging").close()  # it is not pushed yet: what stands is open
    stand.push(replace(stand.stage, api=ASKED))
    with pytest.raises(ConfigError, match="none in THAMPI_TOKEN"):
        thampi.Client(stage="staging")
    with thampi.Client(stage="staging", token=lambda: TOKEN) as client:
        assert client._asker._authorize("GET", client.url, {}, None) == {"Authorization": f"Bearer {TOKEN}"}
    monkeypatch.setenv("THAMPI_TOKEN", TOKEN)
    with thampi.Client(stage="staging") as client:
        assert client._asker._authorize("GET", client.url, {}, None) == {"Authorization": f"Bearer {TOKEN}"}
    assert json.dumps(TOKEN) not in repr(client)
