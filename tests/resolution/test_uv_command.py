"""uv is told where to look and who we are, and nobody else is."""

import netrc
import os
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import uv

from thampi.dependencies.wanted import Credentials, Dependencies, Indexes, Local
from thampi.resolution import uv_command

SECRET = Credentials("me", "pass word")


@pytest.fixture
def child(monkeypatch, tmp_path):
    """What uv was started with, in place of starting it."""
    seen = {}

    def run(words, *, env, **more):
        seen.update(words=words, env=env, netrc=Path(env["NETRC"]).read_text() if "NETRC" in env else None)
        seen["mode"] = stat.S_IMODE(os.stat(env["NETRC"]).st_mode) if "NETRC" in env else None

    monkeypatch.setattr(uv_command.subprocess, "run", run)

    def ask(environ, indexes):
        uv_command.run(["pip", "compile"], folder=tmp_path, environ=environ, indexes=indexes)
        return seen

    return ask


def test_who_we_are_stands_in_a_file_that_only_we_can_read(child):
    seen = child({"PATH": "/bin"}, Indexes(credentials={"host": SECRET}))
    assert seen["mode"] == 0o600
    assert "pass word" in seen["netrc"]
    assert not any("pass word" in text for text in (*seen["words"], *seen["env"].values()))


def test_what_uv_and_pip_are_told_elsewhere_does_not_reach_it(child, tmp_path):
    bundle = tmp_path / "ca.pem"
    environ = {
        "UV_INDEX_URL": "x",
        "UV_FIND_LINKS": "x",
        "PIP_INDEX_URL": "x",
        "VIRTUAL_ENV": "x",
        "UV_PRERELEASE": "allow",
        "UV_CACHE_DIR": "kept",
        "HTTPS_PROXY": "kept",
        "UV_NATIVE_TLS": "kept",
    }
    seen = child(environ, Indexes(ca_bundle=bundle))
    assert seen["env"] == {
        "UV_CACHE_DIR": "kept",
        "HTTPS_PROXY": "kept",
        "UV_NATIVE_TLS": "kept",
        "SSL_CERT_FILE": str(bundle),
    }
    assert "--no-config" in seen["words"]


@pytest.mark.parametrize("password", ["plain", "pass word", 'a"b', "a\\b", "#no comment", "pw@:/ü"])
def test_a_netrc_is_read_as_it_was_meant(tmp_path, password):
    file = tmp_path / "netrc"
    file.write_text(uv_command.netrc({"host": Credentials("me", password), "other": Credentials("you", "x")}), "utf-8")
    read = netrc.netrc(str(file)).hosts
    assert read["host"][::2] == ("me", password)
    assert read["other"][::2] == ("you", "x")


@pytest.mark.parametrize(
    ("place", "here"),
    [
        ("https://host/simple", False),
        ("http://localhost:8080/simple", True),
        ("http://me@127.0.0.1/simple", True),
        ("http://[::1]:80/simple", True),
        ("http://127.example.com/simple", False),
        ("file:///wheels", True),
        ("/wheels", True),
    ],
)
def test_what_no_build_can_reach_is_known(place, here):
    assert uv_command.is_here(place) is here


INDEXES = Indexes(
    index_url="file:///here/simple",
    extra_index_urls=("https://one/simple", "http://localhost/simple", "https://two/simple"),
    find_links=("/wheels", "https://links"),
    trusted_hosts=("one",),
)


def test_indexes_of_this_machine_come_last_so_that_less_is_shipped():
    words = uv_command.index_words(INDEXES, ["https://three/simple"])
    assert [word for word in words if word.startswith(("http", "file"))] == [
        *("https://one/simple", "https://two/simple", "https://three/simple"),
        *("file:///here/simple", "http://localhost/simple", "https://links"),
    ]
    assert words[words.index("--default-index") + 1] == "http://localhost/simple"
    assert "--no-index" in uv_command.index_words(Indexes(no_index=True))


def test_a_build_is_told_what_it_can_reach():
    kept = {"files": "max-age=31536000, immutable"}
    assert tomllib.loads(uv_command.configuration(INDEXES)) == {
        "find-links": ["https://links"],
        "allow-insecure-host": ["one"],
        "index": [
            {"url": "https://one/simple", "cache-control": kept},
            {"url": "https://two/simple", "cache-control": kept, "default": True},
        ],
    }
    pypi = {"url": "https://pypi.org/simple", "cache-control": kept, "default": True}
    assert tomllib.loads(uv_command.configuration(Indexes())) == {"index": [pypi]}
    assert tomllib.loads(uv_command.configuration(Indexes(no_index=True))) == {"no-index": True}
    assert tomllib.loads(uv_command.configuration(Indexes(index_url="http://localhost/simple"))) == {"no-index": True}


@pytest.mark.parametrize("indexes", [INDEXES, Indexes(), Indexes(no_index=True)], ids=["all", "PyPI", "none"])
def test_uv_understands_what_a_build_is_told(indexes, tmp_path):
    def run(text):
        file = tmp_path / "indexes"  # a secret's name has no ending
        file.write_text(text)
        words = [uv.find_uv_bin(), "--config-file", str(file), "pip", "install", "--dry-run", "--offline", "-r"]
        empty = tmp_path / "none.txt"
        empty.write_text("")
        asked = [*words, str(empty), "--python", sys.executable]
        return subprocess.run(asked, cwd=tmp_path, capture_output=True, text=True)

    done = run(uv_command.configuration(indexes))
    assert done.returncode == 0, done.stderr
    assert run("nonsense = 1\n" + uv_command.configuration(indexes)).returncode != 0


def test_what_thampi_needs_itself_comes_from_the_index_that_the_machine_uses():
    url = "https://mirror/simple"
    assert uv_command.pip_configuration(Indexes(index_url=url)) == f"[global]\nindex-url = {url}\n"
    assert uv_command.pip_configuration(Indexes(index_url=url, written=(url,))) == ""
    assert uv_command.pip_configuration(Indexes()) == ""
    assert uv_command.pip_configuration(INDEXES) == ""


def test_this_machine_is_asked_for_the_same(tmp_path):
    local = (
        Local("./mine[x]", str(tmp_path), "mine", ("x",), "python_version > '3'"),
        Local("git", "git+https://host/x@1"),
    )
    wanted = Dependencies("x", ("a==1",), options=("--pre",), indexes=INDEXES, local=local)
    assert uv_command.requirement_lines(wanted) == [
        "--index-url file:///here/simple",
        *(f"--extra-index-url {url}" for url in INDEXES.extra_index_urls),
        *("--find-links /wheels", "--find-links https://links", "--pre", "a==1"),
        f"mine[x] @ {tmp_path.as_uri()} ; python_version > '3'",
        "git+https://host/x@1",
    ]
