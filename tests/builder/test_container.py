"""What `thampi run` refuses before, or instead of, starting a container; no engine is needed for it."""

import gc
import hashlib
import json
import socket

import pytest

from thampi.builder import container
from thampi.errors import BuildError, BundleError

# The SDK forgets the socket with which it found nobody; it is collected here, and not in another test.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def _collect():
    yield
    gc.collect()


@pytest.fixture
def model_dir(tmp_path):
    folder = tmp_path / "models/iris"
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    for name in ("thampi.json", "model-1a2b3c4d.pkl"):
        (folder / name).touch(0o644)
    return folder


def start(model_dir):
    return container.start(
        "thampi-nobody:0",
        name_prefix="thampi-iris-local",
        environment={},
        model_dir=model_dir,
        memory_mb=512,
        tmp_mb=512,
        timeout_s=3,
    )


def use_context(monkeypatch, folder, endpoint):
    """Make a docker context, as `docker context create` does, and have it chosen in docker's settings."""
    meta = folder / "contexts/meta" / hashlib.sha256(b"elsewhere").hexdigest()
    meta.mkdir(parents=True)
    described = {
        "Name": "elsewhere",
        "Metadata": {},
        "Endpoints": {"docker": {"Host": endpoint, "SkipTLSVerify": False}},
    }
    (meta / "meta.json").write_text(json.dumps(described))
    (folder / "config.json").write_text('{"currentContext": "elsewhere"}')
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.delenv("DOCKER_CONTEXT", raising=False)


def test_a_model_that_everybody_can_read_is_fine(model_dir):
    container.check_readable(model_dir)


@pytest.mark.parametrize(
    ("what", "mode"), [("model-1a2b3c4d.pkl", 0o600), (".", 0o700), (".", 0o744), ("thampi.json", 0o640)]
)
def test_a_model_that_other_users_cant_read_is_refused_with_the_cure(model_dir, what, mode):
    (model_dir / what).chmod(mode)
    with pytest.raises(BundleError) as caught:
        start(model_dir)
    assert str((model_dir / what).resolve()) in caught.value.message
    assert caught.value.hint == f"chmod -R a+rX {model_dir}"


def test_an_image_that_has_its_model_is_asked_for_no_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")
    with pytest.raises(BuildError, match="no Docker engine answers"):
        start(None)


def test_without_an_engine_the_way_around_it_is_named(model_dir, monkeypatch, tmp_path):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")
    with pytest.raises(BuildError) as caught:
        start(model_dir)
    assert "no Docker engine answers" in caught.value.message
    assert "--no-docker" in str(caught.value.hint)


@pytest.mark.parametrize("endpoint", ["ssh://me@box", "tcp://10.1.2.3:2375"])
def test_an_engine_on_another_machine_is_refused_because_the_model_is_not_there(model_dir, monkeypatch, endpoint):
    monkeypatch.setenv("DOCKER_HOST", endpoint)
    with pytest.raises(BuildError) as caught:
        start(model_dir)
    assert endpoint in caught.value.message
    assert "another machine" in caught.value.message


def test_the_engine_is_that_of_the_context_that_docker_itself_would_use(model_dir, monkeypatch, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    use_context(monkeypatch, tmp_path / "docker", f"tcp://127.0.0.1:{port}")
    with pytest.raises(BuildError) as caught:
        start(model_dir)
    assert str(port) in caught.value.message


def test_a_context_of_another_machine_is_refused_and_a_variable_chooses_another(model_dir, monkeypatch, tmp_path):
    use_context(monkeypatch, tmp_path / "docker", "ssh://me@box")
    with pytest.raises(BuildError) as caught:
        start(model_dir)
    assert "ssh://me@box" in caught.value.message
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")
    with pytest.raises(BuildError) as caught:
        start(model_dir)
    assert "no Docker engine answers" in caught.value.message
