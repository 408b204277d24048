"""The installer of conda's packages, as far as it is ours: what it fetches, checks, leaves out, and activates."""

import hashlib
import http.server
import importlib.util
import json
import os
import subprocess
import sys
import threading
import types
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "images/conda_install.py"
CONTENT = b"a package"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def conda_install(monkeypatch):
    """The module; py-rattler is in the build only, and nothing here asks it for anything."""
    monkeypatch.setitem(sys.modules, "rattler", types.ModuleType("rattler"))
    spec = importlib.util.spec_from_file_location("conda_install", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
    return module


# ------------------------------------------------------------------------------------------------------------- fetching


@pytest.fixture
def server():
    """A server that gives these answers one after the other, the last for ever; its URL, and what it was asked."""
    servers = []

    def serve(*answers):
        asked = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                status, body = answers[min(len(asked), len(answers) - 1)]
                asked.append(self.path)
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *told):
                """Say nothing."""

        servers.append(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}/noarch/a%2Bb-1-0.conda", asked

    yield serve
    for each in servers:
        each.shutdown()
        each.server_close()


def test_an_archive_is_fetched_once_and_kept_under_its_own_name(conda_install, server, tmp_path):
    url, asked = server((200, CONTENT))
    for _ in range(2):
        path = conda_install.archive(url, SHA256, tmp_path / "shipped", tmp_path / "cache")
        assert path.read_bytes() == CONTENT
    assert path == tmp_path / "cache" / SHA256 / "a+b-1-0.conda"
    assert len(asked) == 1


def test_a_server_that_stumbles_is_asked_again(conda_install, server, tmp_path):
    url, asked = server((503, b""), (500, b""), (200, CONTENT))
    assert conda_install.archive(url, SHA256, tmp_path, tmp_path).read_bytes() == CONTENT
    assert len(asked) == 3


@pytest.mark.parametrize(("status", "times"), [(404, 1), (403, 1), (503, 3)])
def test_what_cannot_be_fetched_ends_the_build(conda_install, server, tmp_path, status, times):
    url, asked = server((status, b""))
    with pytest.raises(SystemExit, match=f"error: Failed to fetch {url}: HTTP Error {status}"):
        conda_install.archive(url, SHA256, tmp_path, tmp_path / "cache")
    assert len(asked) == times


def test_another_file_than_was_chosen_ends_the_build_and_is_not_kept(conda_install, server, tmp_path):
    url, _ = server((200, b"another"))
    with pytest.raises(SystemExit, match=f"error: Hash mismatch for a.b-1-0.conda.*, and {SHA256} was chosen"):
        conda_install.archive(url, SHA256, tmp_path, tmp_path / "cache")
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


def test_what_was_damaged_in_the_cache_is_fetched_again(conda_install, server, tmp_path):
    url, asked = server((200, CONTENT))
    conda_install.archive(url, SHA256, tmp_path, tmp_path).write_bytes(b"damaged")
    assert conda_install.archive(url, SHA256, tmp_path, tmp_path).read_bytes() == CONTENT
    assert len(asked) == 2


def test_what_is_shipped_is_checked_too_and_stays_where_it_is(conda_install, tmp_path):
    (tmp_path / "a-1-0.conda").write_bytes(CONTENT)
    assert conda_install.archive("a-1-0.conda", SHA256, tmp_path, tmp_path / "cache") == tmp_path / "a-1-0.conda"
    (tmp_path / "a-1-0.conda").write_bytes(b"another")
    with pytest.raises(SystemExit, match="Hash mismatch"):
        conda_install.archive("a-1-0.conda", SHA256, tmp_path, tmp_path / "cache")
    assert (tmp_path / "a-1-0.conda").exists()


# ----------------------------------------------------------------------------------------------------- what is left out


def _made(prefix, *files):
    for name in files:
        file = prefix / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("{}")


def _left(prefix):
    return {path.relative_to(prefix).as_posix() for path in prefix.rglob("*") if path.is_file()}


RUNS = {"bin/python3", "lib/libm.so", "lib/python3.11/os.py", "share/zoneinfo/UTC", "lib/python3.11/site-packages/a.py"}
DEAD = {
    *("share/man/man1/a.1", "share/doc/a/README", "lib/python3.11/test/test_os.py", "lib/python3.11/idlelib/a.py"),
    *("lib/python3.11/__pycache__/os.cpython-311.pyc", "lib/python3.11/site-packages/__pycache__/a.pyc"),
}
BUILDS = {"include/python3.11/Python.h", "lib/libm.a", "lib/pkgconfig/a.pc"}


@pytest.mark.parametrize(
    ("compiler", "left"),
    [((), RUNS), (("bin/x86_64-conda-linux-gnu-gcc",), {*RUNS, *BUILDS, "bin/x86_64-conda-linux-gnu-gcc"})],
)
def test_what_no_endpoint_needs_is_left_out_and_headers_too_unless_there_is_a_compiler(
    conda_install, tmp_path, compiler, left
):
    _made(tmp_path, *RUNS, *DEAD, *BUILDS, *compiler)
    conda_install.keep_what_runs(tmp_path)
    assert _left(tmp_path) == left


def test_of_each_package_its_name_and_origin_are_kept(conda_install, tmp_path):
    _made(tmp_path, "conda-meta/a-1-0.json", "conda-meta/history")
    told = {"name": "a", "version": "1", "files": ["x"] * 1000, "paths_data": {}, "sha256": SHA256, "license": "MIT"}
    (tmp_path / "conda-meta/a-1-0.json").write_text(json.dumps(told))
    conda_install.keep_what_runs(tmp_path)
    kept = json.loads((tmp_path / "conda-meta/a-1-0.json").read_text())
    assert {key: value for key, value in kept.items() if value} == {
        "name": "a",
        "version": "1",
        "sha256": SHA256,
        "license": "MIT",
    }
    assert _left(tmp_path) == {"conda-meta/a-1-0.json"}


# ----------------------------------------------------------------------------------------------------------- activation


@pytest.fixture
def activated(conda_install, tmp_path, monkeypatch):
    """Activate a prefix with these scripts and variables; run Python as it would start there, with `environ`."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.setattr(conda_install, "site_packages", lambda prefix: str(site))

    def activate(scripts, variables=None, **environ):
        for folder, suffix, files in (("activate.d", "sh", scripts), ("env_vars.d", "json", variables or {})):
            place = tmp_path / "etc/conda" / folder
            place.mkdir(parents=True, exist_ok=True)
            for name, text in files.items():
                (place / f"{name}.{suffix}").write_text(text)
        conda_install.activate(tmp_path)
        told = f"import site; site.addsitedir({str(site)!r}); import json, os; print(json.dumps(dict(os.environ)))"
        plain = {"PATH": os.environ["PATH"]} | environ
        done = subprocess.run([sys.executable, "-c", told], env=plain, capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    return activate


def test_what_activation_would_set_python_sets_when_it_starts(activated, tmp_path):
    found = activated(
        {"1": 'export PROJ_DATA="$CONDA_PREFIX/share/proj"\n', "2": "export ODD='a \"b\" é'; unset PROJ_DATA_OLD\n"},
        {"gdal": '{"GDAL_DRIVER_PATH": "/x"}'},
    )
    assert found["PROJ_DATA"] == f"{tmp_path}/share/proj"
    assert (found["ODD"], found["GDAL_DRIVER_PATH"]) == ('a "b" é', "/x")


def test_what_the_stage_sets_counts_more(activated):
    assert activated({"1": "export PROJ_DATA=/theirs\n"}, PROJ_DATA="/mine")["PROJ_DATA"] == "/mine"


def test_a_script_that_fails_spoils_no_other(activated, capfd):
    assert activated({"1": "export A=1; false\n", "2": "nosuchcommand\n", "3": "export C=3\n"})["C"] == "3"
    assert "nosuchcommand" in capfd.readouterr().err


def test_condas_own_variables_and_the_shells_are_not_kept(activated):
    found = activated({"1": "export CONDA_SHLVL=1 PATH=/nowhere:$PATH\n"})
    assert "CONDA_PREFIX" not in found
    assert "CONDA_SHLVL" not in found
    assert found["PATH"] == os.environ["PATH"]


def test_without_scripts_nothing_is_written(activated, tmp_path):
    activated({})
    assert list((tmp_path / "site").iterdir()) == []
