"""A push says what it sends and what it got, raises what the engine only mentions, and leaves nothing behind."""

import io
import json
import secrets
import tarfile
from dataclasses import dataclass, field

import docker.errors
import pytest
import urllib3.exceptions

from tests.builder import fake_registry
from thampi.builder import engine as engines
from thampi.builder import push
from thampi.errors import BuildError

DIGEST = "sha256:" + "a" * 64
URI = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/thampi-iris"
DONE = {"progressDetail": {}, "aux": {"Tag": "0f3a", "Digest": DIGEST, "Size": 528}}


@dataclass
class Login:
    password: str = field(repr=False)
    username: str = "AWS"


class FakeEngine:
    """An engine with one image, which notes what it is asked to push and says what it was told to."""

    def __init__(self, *streams, architecture="amd64", layers=(100, 0, 23), size=123):
        self.api = self
        self.streams = list(streams)
        self.found = {"Os": "linux", "Architecture": architecture, "Size": size}
        self.layers, self.names, self.logins = layers, ["thampi-iris:0f3a"], []

    def inspect_image(self, reference):
        if reference not in self.names:
            raise docker.errors.ImageNotFound("no such image")
        return self.found

    def history(self, reference):
        if self.layers is None:
            raise docker.errors.APIError("not unpacked")
        return [{"Size": size} for size in self.layers]

    def tag(self, reference, repository, tag):
        self.names.append(f"{repository}:{tag}")

    def remove_image(self, name):
        self.names.remove(name)

    def push(self, repository, *, tag, auth_config, stream, decode):
        assert f"{repository}:{tag}" in self.names
        assert (stream, decode) == (True, True)
        self.logins.append(auth_config)
        for event in self.streams.pop(0):
            if isinstance(event, BaseException):
                raise event
            yield event


def pushed(engine, *, passwords=("secret",), platform="linux/amd64", progress=lambda layer: None):
    left = iter(passwords)
    return push.push(
        engine,
        "thampi-iris:0f3a",
        URI,
        "0f3a",
        platform=platform,
        login=lambda: Login(next(left)),
        progress=progress,
    )


def refused(engine, **more):
    with pytest.raises(BuildError) as caught:
        pushed(engine, **more)
    assert engine.names == ["thampi-iris:0f3a"]
    assert "secret" not in str(caught.value)
    return caught.value


def said(words):
    return [{"status": "Preparing", "id": "a"}, {"errorDetail": {"message": words}, "error": words}]


# ---------------------------------------------------------------------------------------------------------- the stream


def test_the_digest_is_the_one_that_the_engine_says():
    engine = FakeEngine([{"status": "The push refers to repository [x]"}, DONE])
    assert pushed(engine) == DIGEST
    assert engine.logins == [{"username": "AWS", "password": "secret"}]
    assert engine.names == ["thampi-iris:0f3a"]


def test_what_containerds_store_says_besides_is_no_digest():
    note = {"aux": {"manifestPushedInsteadOfIndex": True, "originalIndex": {}, "selectedManifest": {}}}
    assert pushed(FakeEngine([note, DONE, note, {"aux": None}])) == DIGEST


def test_a_push_without_a_digest_is_an_error():
    assert "did not say which digest" in refused(FakeEngine([{"status": "0f3a: done"}])).message


def test_each_layer_says_how_far_it_has_got():
    events = [
        {"status": "Preparing", "progressDetail": {}, "id": "a"},
        {"status": "Pushing", "progressDetail": {"current": 512, "total": 1000}, "progress": "[=>]", "id": "a"},
        {"status": "Pushing", "progressDetail": {"current": 1200, "total": 1000}, "id": "a"},
        {"status": "Pushing", "progressDetail": {"current": 7}, "id": "b"},
        {"status": "Layer already exists", "progressDetail": {}, "id": "c"},
        {"status": "0f3a: digest: sha256:a size: 528"},
        DONE,
    ]
    layers = []
    pushed(FakeEngine(events), progress=layers.append)
    assert layers == [
        push.Layer("a", "Preparing", 0, 0),
        push.Layer("a", "Pushing", 512, 1000),
        push.Layer("a", "Pushing", 1000, 1000),
        push.Layer("b", "Pushing", 7, 0),
        push.Layer("c", "Layer already exists", 0, 0),
    ]


@pytest.mark.parametrize(
    ("words", "reason", "cure"),
    [
        (
            "name unknown: The repository with name 'thampi-iris' does not exist in the registry with id '1'",
            "the registry has no such repository",
            "makes the repository first",
        ),
        (
            "denied: User: arn:aws:iam::1:user/me is not authorized to perform: ecr:InitiateLayerUpload on resource: x",
            "the registry does not allow it",
            "InitiateLayerUpload",
        ),
        ("denied: requested access to the resource is denied", "the registry does not allow it", "PutImage"),
        ("unauthorized: authentication required", "the registry refuses the login", "again"),
        ("unexpected status from HEAD request: 401 Unauthorized", "the registry refuses the login", "again"),
        ("toomanyrequests: Rate exceeded", "the registry limits requests", "in a minute"),
        ('Get "https://x/v2/": x509: certificate signed by unknown authority', "does not trust", "certs.d"),
        ("http: server gave HTTP response to HTTPS client", "the registry speaks plain HTTP", "insecure-registries"),
        ('Get "https://x/v2/": dial tcp: lookup x: no such host', "can't reach the registry", "network"),
        ("write tcp 1.2.3.4: broken pipe", "can't reach the registry", "not sent again"),
        ("unexpected EOF", "can't reach the registry", "not sent again"),
        ("net/http: TLS handshake timeout", "can't reach the registry", "network"),
        ("something else 401a", "something else 401a", "again"),
    ],
)
def test_what_the_engine_mentions_is_raised_in_our_words(words, reason, cure):
    error = refused(FakeEngine(said(words)))
    assert error.message.startswith(f"{URI}:0f3a can't be pushed: ")
    assert reason in error.message
    assert words in error.message
    assert cure in error.hint


def test_an_error_in_the_old_form_is_one_too():
    assert "no luck" in refused(FakeEngine([{"error": "no luck"}, DONE])).message


@pytest.mark.parametrize(
    "words",
    [
        "tag invalid: The image tag '0f3a' already exists in the 'x' repository and cannot be overwritten because the "
        "repository is immutable.",
        "tag invalid: tag '0f3a' is immutable",
    ],
)
def test_a_tag_that_is_taken_is_told_from_other_failures(words):
    assert isinstance(refused(FakeEngine(said(words))), push.TagTakenError)


@pytest.mark.parametrize(
    "words",
    ["denied: Your authorization token has expired. Reauthenticate and try again.", "no basic auth credentials"],
)
def test_a_login_that_expired_on_the_way_is_renewed_once(words):
    engine = FakeEngine(said(words), [DONE])
    assert pushed(engine, passwords=["secret", "newer"]) == DIGEST
    assert [login["password"] for login in engine.logins] == ["secret", "newer"]
    engine = FakeEngine(said(words), said(words))
    assert "the login has expired" in refused(engine, passwords=["secret", "newer", "newest"]).message
    assert len(engine.logins) == 2


@pytest.mark.parametrize(
    "accident",
    [
        urllib3.exceptions.ProtocolError("Connection broken"),
        urllib3.exceptions.ReadTimeoutError(None, "", "Read timed out."),
        ConnectionResetError("Connection reset by peer"),
        docker.errors.StreamParseError("no JSON"),
    ],
)
def test_an_engine_that_goes_away_is_no_traceback(accident):
    error = refused(FakeEngine([{"status": "Pushing", "id": "a"}, accident]))
    assert "the engine no longer answers" in error.message
    assert "docker info" in error.hint


def test_a_refusal_before_the_stream_is_raised_as_well():
    error = docker.errors.APIError("500", explanation="invalid reference format")
    assert "invalid reference format" in refused(FakeEngine([error])).message


def test_a_push_that_is_interrupted_leaves_no_name_behind():
    engine = FakeEngine([KeyboardInterrupt()])
    with pytest.raises(KeyboardInterrupt):
        pushed(engine)
    assert engine.names == ["thampi-iris:0f3a"]


# ---------------------------------------------------------------------------------------------- before anything is sent


def test_an_image_of_another_platform_is_never_sent():
    engine = FakeEngine()
    error = refused(engine, platform="linux/arm64")
    assert error.message == "the image thampi-iris:0f3a is for linux/amd64, and the function is for linux/arm64"
    assert engine.logins == []


def test_an_image_over_10_gb_is_never_sent():
    engine = FakeEngine(layers=(6 * 1024**3, 5 * 1024**3))
    error = refused(engine)
    assert error.message == "the image thampi-iris:0f3a is 11.0 GB, and Lambda takes 10 GB at most"
    assert engine.logins == []


def test_what_counts_is_the_unpacked_size_whatever_the_engine_calls_the_images():
    """The store of containerd counts packed layers, or packed and unpacked ones together."""
    assert pushed(FakeEngine([DONE], layers=(10 * 1024**3,), size=14 * 1024**3)) == DIGEST
    assert "11.0 GB" in refused(FakeEngine(layers=(11 * 1024**3,), size=4 * 1024**3)).message
    assert "11.0 GB" in refused(FakeEngine(layers=None, size=11 * 1024**3)).message


def test_an_image_that_the_engine_does_not_have_says_to_build():
    engine = FakeEngine()
    with pytest.raises(BuildError, match="the engine has no image iris:1") as caught:
        push.push(engine, "iris:1", URI, "1", platform="linux/amd64", login=Login, progress=print)
    assert caught.value.hint == "thampi build"


# ------------------------------------------------------------------------------------------------------ the real engine


@pytest.fixture(scope="module")
def engine():
    engine = engines.connect()
    yield engine
    engine.close()


@pytest.fixture
def make(engine):
    """Make a small image; return its name, which is gone after the test."""
    names = []

    def make():
        with io.BytesIO() as packed:
            with tarfile.open(fileobj=packed, mode="w") as tar:
                content = secrets.token_bytes(64)
                entry = tarfile.TarInfo("file")
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
            name = f"thampi-test-{secrets.token_hex(6)}"
            engine.api.import_image_from_data(packed.getvalue(), repository=name, tag="1")
        names.append(f"{name}:1")
        return names[-1]

    yield make
    for name in names:
        engine.api.remove_image(name, force=True)


@pytest.fixture
def registry():
    with fake_registry.running("right", "thampi-iris") as registry:
        yield registry


@pytest.fixture
def send(engine, registry, platform):
    def send(image, *, tag="0f3a", passwords=("right",), uri=None):
        left = iter(passwords)
        try:
            return push.push(
                engine,
                image,
                uri or registry.uri,
                tag,
                platform=platform,
                login=lambda: Login(next(left)),
                progress=lambda layer: None,
            )
        finally:
            listed = engine.api.images(name=registry.uri)
            assert listed == [], "the engine keeps no trace of the name"

    return send


@pytest.mark.docker
def test_an_image_arrives_once_and_its_digest_is_the_registrys(registry, make, send):
    image = make()
    digest = send(image)
    assert registry.manifests == {"0f3a": digest}
    assert digest[7:] in digest
    blobs = dict(registry.blobs)
    assert send(image) == digest
    assert registry.blobs == blobs
    assert registry.logins == ["right"]


@pytest.mark.docker
def test_an_engine_really_says_what_we_listen_for(registry, make, send):
    image = make()
    send(image)
    with pytest.raises(push.TagTakenError):
        send(make())
    with pytest.raises(BuildError, match="the registry refuses the login"):
        send(image, passwords=["wrong"])
    with pytest.raises(BuildError, match="the registry has no such repository"):
        send(image, uri=f"{registry.uri}-other")
    registry.forbids = fake_registry.NOT_AUTHORIZED
    with pytest.raises(BuildError, match="the registry does not allow it"):
        send(make(), tag="new")
    registry.forbids = None
    registry.server_close()
    registry.shutdown()
    with pytest.raises(BuildError, match="the engine can't reach the registry"):
        send(image)


@pytest.mark.docker
def test_a_login_that_the_registry_no_longer_knows_is_renewed(registry, make, send):
    registry.stale = {"old"}
    digest = send(make(), passwords=["old", "right"])
    assert registry.manifests == {"0f3a": digest}
    assert registry.logins == ["old", "right"]


@pytest.mark.docker
def test_no_credential_store_is_touched(registry, make, platform, tmp_path, monkeypatch):
    """One that doesn't work is what people have: https://github.com/docker/docker-credential-helpers/issues/37"""
    before = json.dumps({"credsStore": "thampi-has-none", "auths": {registry.uri.split("/")[0]: {}}})
    (tmp_path / "config.json").write_text(before)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    engine = engines.connect()
    try:
        push.push(
            engine,
            make(),
            registry.uri,
            "1",
            platform=platform,
            login=lambda: Login("right"),
            progress=lambda layer: None,
        )
    finally:
        engine.close()
    assert (tmp_path / "config.json").read_text() == before
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]
