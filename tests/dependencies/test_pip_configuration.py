"""pip.conf and the PIP_ variables, with pip's own rules of what beats what."""

import itertools
import os
from pathlib import Path

import pytest

from thampi.dependencies import pip_configuration
from thampi.errors import ConfigError

ONE, TWO, THREE = (f"https://{name}.example.com/simple" for name in ("one", "two", "three"))


@pytest.fixture
def home(tmp_path):
    """The variables of a user whose home, environment and machine-wide folder are of the test's own."""
    for name in ("home", "venv", "xdg"):
        (tmp_path / name).mkdir()
    return {
        "HOME": str(tmp_path / "home"),
        "VIRTUAL_ENV": str(tmp_path / "venv"),
        "XDG_CONFIG_DIRS": str(tmp_path / "xdg"),
        "PIP_NO_INDEX": "0",  # of a machine that has an /etc/pip.conf, too
        "PIP_FIND_LINKS": "https://links.example.com/",
        "PIP_EXTRA_INDEX_URL": "https://extra.example.com/",
    }


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


PLACES = ("xdg/pip/pip.conf", "home/.pip/pip.conf", "home/.config/pip/pip.conf", "venv/pip.conf")


@pytest.mark.parametrize("place", PLACES)
def test_a_file_is_found_where_pip_finds_it(home, tmp_path, place):
    write(tmp_path / place, f"[global]\nindex-url = {ONE}\n")
    assert tmp_path / place in pip_configuration.files(home)


def test_the_users_file_may_lie_elsewhere(home, tmp_path):
    file = write(tmp_path / "config/pip/pip.conf", f"[global]\nindex-url = {ONE}\n")
    found = pip_configuration.read(home | {"XDG_CONFIG_HOME": str(tmp_path / "config")}, tmp_path)
    assert file in pip_configuration.files(home | {"XDG_CONFIG_HOME": str(tmp_path / "config")})
    assert found.files.index_url == ONE


@pytest.mark.parametrize(("weaker", "stronger"), list(itertools.pairwise(PLACES)))
def test_the_environments_file_beats_the_users_and_that_the_machines(home, tmp_path, weaker, stronger):
    write(tmp_path / weaker, f"[global]\nindex-url = {ONE}\n")
    write(tmp_path / stronger, f"[global]\nindex-url = {TWO}\n")
    assert pip_configuration.read(home, tmp_path).files.index_url == TWO


def test_a_file_that_is_named_beats_all_and_stands_for_the_users(home, tmp_path):
    write(tmp_path / "home/.config/pip/pip.conf", f"[global]\nindex-url = {ONE}\ntrusted-host = one.example.com\n")
    write(tmp_path / "venv/pip.conf", f"[global]\nindex-url = {TWO}\n")
    named = write(tmp_path / "named.conf", f"[global]\nindex-url = {THREE}\n")
    found = pip_configuration.read(home | {"PIP_CONFIG_FILE": str(named)}, tmp_path)
    assert found.files.index_url == THREE
    assert found.files.trusted_hosts == ()


def test_devnull_is_pips_word_for_no_file(home, tmp_path):
    write(tmp_path / "venv/pip.conf", f"[global]\nindex-url = {TWO}\n")
    assert pip_configuration.files(home | {"PIP_CONFIG_FILE": os.devnull}) == []


@pytest.fixture
def conf(tmp_path, quiet):
    def conf_(text, **environ):
        file = write(tmp_path / "pip.conf", text)
        return pip_configuration.read(quiet | {"PIP_CONFIG_FILE": str(file)} | environ, tmp_path)

    return conf_


def test_install_beats_global_in_whichever_order_they_stand(conf):
    assert conf(f"[install]\nindex-url = {ONE}\n[global]\nindex-url = {TWO}\n").files.index_url == ONE


def test_other_sections_are_of_other_commands(conf):
    assert conf(f"[download]\nindex-url = {ONE}\n").files.index_url is None


@pytest.mark.parametrize("key", ["index-url", "index_url", "--index-url", "INDEX-URL"])
def test_a_key_has_each_of_pips_spellings(conf, key):
    assert conf(f"[global]\n{key} = {ONE}\n").files.index_url == ONE


def test_values_may_stand_in_several_lines(conf):
    found = conf(f"[global]\nextra-index-url =\n    {ONE}\n    {TWO}\ntrusted-host = a b:8080\n").files
    assert found.extra_index_urls == (ONE, TWO)
    assert found.trusted_hosts == ("a", "b:8080")


def test_a_percent_sign_is_itself(conf):
    assert conf("[global]\nindex-url = https://ann:p%40ss@h.example.com/\n").files.index_url.count("p%40ss") == 1


def test_a_variable_replaces_its_key_and_no_other(conf):
    found = conf(f"[global]\nindex-url = {ONE}\nextra-index-url = {TWO}\n", PIP_EXTRA_INDEX_URL=THREE)
    assert found.variables.extra_index_urls == (THREE,)
    assert found.files.extra_index_urls == ()
    assert found.files.index_url == ONE


def test_an_empty_variable_leaves_the_key_of_the_file(conf):
    found = conf(f"[global]\nextra-index-url = {ONE}\npre = true\n", PIP_EXTRA_INDEX_URL=" ", PIP_PRE="")
    assert found.files.extra_index_urls == (ONE,)
    assert found.choice == ("--pre",)


@pytest.mark.parametrize(("value", "no_index"), [("1", True), ("true", True), ("YES", True), ("0", False), ("", False)])
def test_a_switch_is_on_as_pip_takes_it(conf, value, no_index):
    assert conf("", PIP_NO_INDEX=value).variables.no_index is no_index


def test_a_variable_switches_off_what_the_file_switched_on(conf):
    found = conf("[global]\nno-index = true\n", PIP_NO_INDEX="0")
    assert not found.variables.no_index
    assert not found.files.no_index


def test_a_folder_of_configuration_that_is_not_there_is_left_out_and_said(conf, tmp_path):
    (tmp_path / "here").mkdir()
    found = conf("[global]\nfind-links = here /nowhere/wheels\n", PIP_EXTRA_INDEX_URL="file:///nowhere/simple")
    assert found.files.find_links == (str(tmp_path / "here"),)
    assert found.variables.extra_index_urls == ()
    assert found.notes == (
        "pip's configuration names /nowhere/simple, which is not there: it is not used",
        "pip's configuration names /nowhere/wheels, which is not there: it is not used",
    )


def test_an_index_may_be_a_folder_of_this_machine(conf, tmp_path):
    (tmp_path / "simple").mkdir()
    url = (tmp_path / "simple").as_uri()
    assert conf(f"[global]\nindex-url = {url}\n").files.index_url == url
    assert conf("[global]\nindex-url = simple\n").files.index_url == url


def test_a_url_that_is_none_is_left_out_and_said_without_its_password(conf):
    found = conf("", PIP_INDEX_URL="https://ann:s3cret@h.example.com:port/simple")
    assert found.variables.index_url is None
    assert "not one" in found.notes[0]
    assert "s3cret" not in found.notes[0]


@pytest.mark.parametrize("text", ["index-url = https://ann:s3cret@h.example.com/\n", "[global\n", "[global]\n = x\n"])
def test_a_broken_file_is_refused_without_its_content(conf, text):
    with pytest.raises(ConfigError) as raised:
        conf(text)
    assert "pip.conf can't be read" in raised.value.message
    assert raised.value.hint == "pip config debug"
    assert "s3cret" not in str(raised.value)
    assert raised.value.__cause__ is None


def test_a_file_that_is_a_folder_is_no_file(home, tmp_path):
    (tmp_path / "venv/pip.conf").mkdir()
    assert Path(tmp_path / "venv/pip.conf") not in pip_configuration.files(home)
