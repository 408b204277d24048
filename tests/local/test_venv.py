"""The model's libraries on this machine, by a real uv."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from thampi.errors import BuildError
from thampi.local import venv

MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"
ENSURE = (
    "import sys; from thampi.local import venv; print(venv.ensure(sys.argv[2:], sys.argv[1], say=print), flush=True)"
)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Return where the environments of the test are."""
    monkeypatch.setenv("UV_CACHE_DIR", str(uv_cache()))  # uv's own stays: else each test would download
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "thampi/venvs"


def uv_cache():
    import uv

    found = subprocess.run([uv.find_uv_bin(), "cache", "dir"], capture_output=True, text=True, check=True)
    return Path(found.stdout.strip())


def ensure(*requirements, say=lambda text: None):
    return venv.ensure(requirements, MINOR, say=say)


def tell(python, code):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [str(python), "-c", code], capture_output=True, text=True, check=True, env=environment, cwd="/"
    ).stdout.split()


def test_it_has_the_requirements_and_what_the_handler_needs(home):
    python = ensure("idna==3.10")
    told = tell(
        python, "import idna, awslambdaric, orjson, sys; print(idna.__version__, '%d.%d' % sys.version_info[:2])"
    )
    assert told == ["3.10", MINOR]
    assert python.is_relative_to(home)


def test_it_sees_nothing_that_is_installed_elsewhere(home):
    assert (
        tell(ensure(), "import importlib.util as u; print(u.find_spec('numpy'), u.find_spec('thampi'))") == ["None"] * 2
    )


def test_a_version_that_the_user_pins_wins_over_the_handlers_own(home):
    python = ensure("orjson==3.10.7")
    assert tell(python, "import orjson; print(orjson.__version__)") == ["3.10.7"]
    paths = tell(python, "import sys; print(*sys.path)")
    assert paths[-1].endswith("thampi-lib")  # behind the user's, as in the image


def test_the_second_time_it_is_there_at_once_and_nothing_is_said(home):
    said = []
    first = ensure("idna==3.10", say=said.append)
    assert len(said) == 1
    began = time.perf_counter()
    assert ensure("idna==3.10", say=said.append) == first
    assert time.perf_counter() - began < 0.1
    assert len(said) == 1


def test_other_requirements_are_another_environment(home):
    assert ensure("idna==3.10") != ensure("idna==3.9")
    assert len(list(home.iterdir())) == 2


def test_what_can_not_be_installed_is_said_in_uvs_words_and_leaves_nothing(home):
    with pytest.raises(BuildError) as caught:
        ensure("idna==999")
    assert "idna==999" in caught.value.message
    assert "dependency file" in str(caught.value.hint)
    assert list(home.iterdir()) == []


def test_a_package_that_does_not_exist_is_one_to_check_the_name_of(home):
    with pytest.raises(BuildError) as caught:
        ensure("thampi-has-no-such-package")
    assert "thampi-has-no-such-package" in caught.value.message
    assert "check the name" in str(caught.value.hint)


def test_a_version_that_the_handler_can_not_work_with_is_said_to_be_that(home):
    with pytest.raises(BuildError) as caught:
        ensure("orjson==3.8.0")
    assert "handler" in str(caught.value.hint)
    assert "orjson>=3.10" in str(caught.value.hint)


def test_a_python_that_is_not_here_is_named(home):
    with pytest.raises(BuildError) as caught:
        venv.ensure([], "3.99", say=lambda text: None)
    assert "Python 3.99" in caught.value.message
    assert "uv python install 3.99" in str(caught.value.hint)
    assert list(home.iterdir()) == []


def test_an_environment_whose_interpreter_is_gone_is_made_anew(home):
    python = ensure("idna==3.10")
    python.unlink()
    python.symlink_to("/nowhere/python")
    assert ensure("idna==3.10") == python
    assert tell(python, "import idna; print(idna.__version__)") == ["3.10"]
    assert [path.name for path in home.iterdir()] == [python.parents[1].name]


def test_after_a_kill_it_is_complete_or_absent_and_the_next_one_clears_away(home):
    for after in (0.15, 0.3, 0.5):
        process = subprocess.Popen(
            [sys.executable, "-c", ENSURE, MINOR, "idna==3.10", f"certifi=={2024}.7.4"],
            stdout=subprocess.DEVNULL,
            process_group=0,
        )
        time.sleep(after)
        os.killpg(process.pid, signal.SIGKILL)  # with its uv
        process.wait()
        for made in home.glob("[!.]*") if home.exists() else ():
            tell(made / "bin/python", "import idna, certifi, orjson, awslambdaric")
    python = ensure("idna==3.10", "certifi==2024.7.4")
    tell(python, "import idna, certifi, orjson, awslambdaric")
    assert ensure("idna==3.9").exists()
    assert not [path for path in home.iterdir() if path.name.startswith(".")]


def test_two_at_once_get_the_same_complete_environment(home):
    found = []
    threads = [threading.Thread(target=lambda: found.append(ensure("idna==3.10"))) for _ in range(2)]
    other = subprocess.Popen([sys.executable, "-c", ENSURE, MINOR, "idna==3.10"], stdout=subprocess.PIPE, text=True)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found.append(Path(other.communicate()[0].split()[-1]))
    assert len(found) == 3
    assert len(set(found)) == 1
    assert tell(found[0], "import idna; print(idna.__version__)") == ["3.10"]
    assert [path.name for path in home.iterdir()] == [found[0].parents[1].name]


def test_a_cache_that_can_not_be_written_is_said_to_be_one(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(BuildError) as caught:
        ensure()
    assert str(tmp_path / "file") in caught.value.message
    assert "XDG_CACHE_HOME" in str(caught.value.hint)


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "PIP_CERT", "CURL_CA_BUNDLE"])
def test_uv_gets_the_machines_ca_bundle_from_whichever_variable_has_it(tmp_path, name):
    bundle = tmp_path / "ca.crt"
    bundle.touch()
    assert venv.environment({name: str(bundle)})["SSL_CERT_FILE"] == str(bundle)
    assert venv.environment({name: str(bundle), "SSL_CERT_FILE": "mine"})["SSL_CERT_FILE"] == "mine"
    assert "SSL_CERT_FILE" not in venv.environment({name: str(tmp_path / "gone.crt")})


def test_uv_gets_the_indexes_that_pip_was_told(tmp_path):
    told = venv.environment(
        {
            "PIP_INDEX_URL": "https://one",
            "PIP_EXTRA_INDEX_URL": "https://two https://three",
            "PIP_FIND_LINKS": f"{tmp_path} {tmp_path / 'gone'} https://four",
        }
    )
    assert told["UV_DEFAULT_INDEX"] == "https://one"
    assert told["UV_INDEX"] == "https://two https://three"
    assert told["UV_FIND_LINKS"] == f"{tmp_path},https://four"
    assert venv.environment({"PIP_INDEX_URL": "a", "UV_DEFAULT_INDEX": "b"})["UV_DEFAULT_INDEX"] == "b"


def test_another_environment_that_is_active_does_not_matter():
    told = venv.environment(
        {"VIRTUAL_ENV": "/elsewhere", "CONDA_PREFIX": "/conda", "UV_SYSTEM_PYTHON": "1", "HOME": "/me"}
    )
    assert told == {"HOME": "/me"}
