"""Where credentials come from, and when they are asked for again."""

import http.server
import json
import threading

import pytest

from thampi.errors import BundleError
from thampi.runtime import container_credentials
from thampi.runtime.connection import Network
from thampi.runtime.credentials import Credentials, Wallet, read_profile

KEYS = {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "secret"}


def never() -> Credentials:
    raise AssertionError("the container's endpoint was asked")


@pytest.fixture
def files(tmp_path):
    def write(credentials: str = "", config: str = "", **environ: str) -> dict[str, str]:
        (tmp_path / "credentials").write_text(credentials)
        (tmp_path / "config").write_text(config)
        return {
            "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
            "AWS_CONFIG_FILE": str(tmp_path / "config"),
        } | environ

    return write


def test_those_of_the_environment_go_before_all_others(files):
    environ = files("[default]\naws_access_key_id=other\naws_secret_access_key=other\n", **KEYS)
    assert Wallet(environ | {"AWS_SESSION_TOKEN": "token"}, never).get() == Credentials("AKID", "secret", "token")
    assert Wallet(environ, never).get() == Credentials("AKID", "secret")


def test_a_profile_s_keys_are_read_from_the_shared_files(files):
    shared = "[default]\naws_access_key_id = one\naws_secret_access_key = uno\n"
    shared += "[work]\naws_access_key_id = two\naws_secret_access_key = due%\naws_session_token = t\n"
    config = "[default]\nregion = eu-west-1\n[profile work]\nregion = eu-north-1\n"
    config += "[profile only]\naws_access_key_id = three\naws_secret_access_key = tre\n"
    assert Wallet(files(shared, config), never).get() == Credentials("one", "uno")
    work = files(shared, config, AWS_PROFILE="work")
    assert Wallet(work, never).get() == Credentials("two", "due%", "t")
    assert read_profile(work)["region"] == "eu-north-1"
    assert Wallet(files(shared, config, AWS_PROFILE="only"), never).get() == Credentials("three", "tre")
    assert Wallet(files(shared, config, AWS_DEFAULT_PROFILE="work"), never).get().access_key == "two"


@pytest.mark.parametrize("config", ["[profile sso]\nsso_session = x\n", "[profile sso]\nrole_arn = a\n", ""])
def test_a_profile_that_takes_more_than_keys_says_how_to_export_them(files, config):
    with pytest.raises(BundleError) as raised:
        Wallet(files("", config, AWS_PROFILE="sso"), never).get()
    assert raised.value.hint.startswith('eval "$(aws configure export-credentials --format env)"')
    assert ("'sso' keeps no keys" if config else "no AWS credentials") in raised.value.message


def test_a_file_that_is_no_configuration_is_named_and_not_quoted(files):
    environ = files("aws_secret_access_key = verysecret\n")
    with pytest.raises(BundleError) as raised:
        Wallet(environ, never).get()
    assert "credentials can't be read" in raised.value.message
    assert "verysecret" not in str(raised.value)


def test_they_are_kept_until_shortly_before_they_expire(files):
    clock = [1000.0]
    given = []

    def ask() -> Credentials:
        given.append(Credentials("A", "B", str(len(given)), expires=clock[0] + 3600))
        return given[-1]

    environ = files(AWS_CONTAINER_CREDENTIALS_FULL_URI="http://localhost/")
    wallet = Wallet(environ, ask, lambda: clock[0])
    assert wallet.get() is wallet.get() is given[0]
    clock[0] += 3200
    assert wallet.get() is given[0]
    clock[0] += 200  # less than five minutes are left
    assert wallet.get() is given[1]


def test_those_that_were_refused_are_asked_for_anew_by_the_first_who_says_so(files):
    given = []

    def ask() -> Credentials:
        given.append(Credentials("A", "B", str(len(given))))
        return given[-1]

    wallet = Wallet(files(AWS_CONTAINER_CREDENTIALS_RELATIVE_URI="/x"), ask)
    old = wallet.get()
    assert wallet.get(instead_of=old) is given[1]
    assert wallet.get(instead_of=old) is given[1]
    assert len(given) == 2


@pytest.fixture
def container():
    """The endpoint beside a function under snapshots: gives keys to who has the token."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            self.server.asked.append((self.path, self.headers.get("Authorization")))
            status = 200 if self.headers.get("Authorization") == "Bearer/xyz==" else 401
            body = self.server.answer if status == 200 else b"{}"
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.asked = []
        server.answer = json.dumps(
            {"AccessKeyId": "A", "SecretAccessKey": "B", "Token": "T", "Expiration": "2030-01-01T00:00:00Z"}
        ).encode()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def environ_of(container, **more: str) -> dict[str, str]:
    url = f"http://127.0.0.1:{container.server_port}/2021-08-23/credentials?for=me"
    return {"AWS_CONTAINER_CREDENTIALS_FULL_URI": url, "AWS_CONTAINER_AUTHORIZATION_TOKEN": "Bearer/xyz=="} | more


def ask(environ: dict[str, str]) -> Credentials:
    return container_credentials.ask(environ, Network(environ))


def test_under_a_snapshot_the_keys_come_from_beside_the_function(container):
    assert ask(environ_of(container)) == Credentials("A", "B", "T", expires=1893456000.0)
    assert container.asked == [("/2021-08-23/credentials?for=me", "Bearer/xyz==")]


def test_the_token_may_be_in_a_file(container, tmp_path):
    (tmp_path / "token").write_text("Bearer/xyz==")
    environ = environ_of(container, AWS_CONTAINER_AUTHORIZATION_TOKEN="wrong")
    environ["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] = str(tmp_path / "token")
    assert ask(environ).access_key == "A"


def test_a_token_that_would_be_two_headers_is_refused(container):
    with pytest.raises(BundleError, match="line break"):
        ask(environ_of(container, AWS_CONTAINER_AUTHORIZATION_TOKEN="x\r\nhost: evil"))


@pytest.mark.parametrize("answer", [b"[]", b"null", b"no", b'{"AccessKeyId": "verysecret"}', b'{"Expiration": 5}'])
def test_an_answer_without_keys_is_refused_and_not_quoted(container, answer):
    container.answer = answer
    with pytest.raises(BundleError, match="something else than keys") as raised:
        ask(environ_of(container))
    assert raised.value.__cause__ is None


def test_an_endpoint_that_refuses_may_do_so_no_more_in_a_moment(container):
    with pytest.raises(OSError, match="answered 401"):
        ask(environ_of(container, AWS_CONTAINER_AUTHORIZATION_TOKEN="other"))


@pytest.mark.parametrize("url", ["http://evil.example/keys", "ftp://localhost/", "http://169.254.169.254/", "nothing"])
def test_nobody_else_is_asked_for_keys(url):
    with pytest.raises(BundleError, match="not asked for"):
        ask({"AWS_CONTAINER_CREDENTIALS_FULL_URI": url})
