"""uv.toml, [tool.uv] and the UV_ variables."""

import pytest

from thampi.dependencies import uv_configuration
from thampi.dependencies.wanted import Credentials
from thampi.errors import ConfigError

ONE, TWO, THREE = (f"https://{name}.example.com/simple" for name in ("one", "two", "three"))


@pytest.fixture
def configured(folder, quiet):
    def configured_(**environ):
        return uv_configuration.read(quiet | {"UV_NO_CONFIG": ""} | environ, folder)

    return configured_


@pytest.mark.parametrize("name", ["UV_DEFAULT_INDEX", "UV_INDEX_URL"])
@pytest.mark.parametrize("value", [ONE, f"company={ONE}"])
def test_a_variable_names_the_index(configured, name, value):
    assert configured(**{name: value}).variables.index_url == ONE


def test_variables_name_further_indexes_and_folders(configured, folder):
    (folder / "wheels").mkdir()
    found = configured(
        UV_INDEX=f"a={ONE} {TWO}",
        UV_EXTRA_INDEX_URL=THREE,
        UV_FIND_LINKS=f"wheels,{ONE}",
        UV_INSECURE_HOST="h.example.com:8080",
    ).variables
    assert found.extra_index_urls == (ONE, TWO, THREE)
    assert found.find_links == (str(folder / "wheels"), ONE)
    assert found.trusted_hosts == ("h.example.com:8080",)


def test_an_index_with_an_equals_sign_in_its_path_has_no_name(configured):
    url = "https://one.example.com/simple?a=b"
    assert configured(UV_INDEX=url).variables.extra_index_urls == (url,)


TOML = f"""
find-links = ["wheels"]
allow-insecure-host = ["h.example.com"]
[[index]]
name = "main"
url = "{ONE}"
default = true
[[index]]
name = "more"
url = "{TWO}"
[[index]]
name = "torch"
url = "{THREE}"
explicit = true
"""


@pytest.mark.parametrize("place", ["project/uv.toml", "uv.toml", "home/.config/uv/uv.toml"])
def test_a_file_is_found_in_the_project_above_it_and_at_the_users(configured, tmp_path, place):
    file = tmp_path / place
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(TOML)
    (file.parent / "wheels").mkdir()
    found = configured()
    assert found.files.index_url == ONE
    assert found.files.extra_index_urls == (TWO,)  # an explicit one is for those that name it
    assert found.files.find_links == (str(file.parent / "wheels"),)
    assert found.files.trusted_hosts == ("h.example.com",)
    assert found.named["torch"] == THREE


def test_a_file_may_be_named(configured, tmp_path):
    (tmp_path / "named.toml").write_text(f'index-url = "{ONE}"\nextra-index-url = ["{TWO}"]\nno-index = true\n')
    found = configured(UV_CONFIG_FILE=str(tmp_path / "named.toml")).files
    assert (found.index_url, found.extra_index_urls, found.no_index) == (ONE, (TWO,), True)


def test_a_projects_pyproject_has_a_table_of_uvs(configured, folder):
    (folder / "pyproject.toml").write_text(f'[[tool.uv.index]]\nurl = "{ONE}"\n')
    assert configured().files.extra_index_urls == (ONE,)


def test_a_uv_toml_stands_for_that_table(configured, folder):
    (folder / "pyproject.toml").write_text(f'[[tool.uv.index]]\nurl = "{ONE}"\n')
    (folder / "uv.toml").write_text(f'[[index]]\nurl = "{TWO}"\n')
    assert configured().files.extra_index_urls == (TWO,)


def test_no_file_is_read_when_uv_was_told_so(configured, folder):
    (folder / "uv.toml").write_text(TOML)
    assert configured(UV_NO_CONFIG="1").files.index_url is None


def test_who_we_are_at_an_index_with_a_name_stands_in_variables(configured, folder):
    (folder / "uv.toml").write_text(TOML)
    found = configured(UV_INDEX_MORE_USERNAME="ann", UV_INDEX_MORE_PASSWORD="s3cret", UV_INDEX_MAIN_PASSWORD="t0ken")
    assert found.credentials == {TWO: Credentials("ann", "s3cret"), ONE: Credentials("", "t0ken")}
    assert "s3cret" not in repr(found)


def test_a_folder_that_is_not_there_is_left_out_and_said(configured):
    found = configured(UV_FIND_LINKS="/nowhere/wheels")
    assert found.variables.find_links == ()
    assert found.notes == ("uv's configuration names /nowhere/wheels, which is not there: it is not used",)


def test_a_broken_file_is_refused_by_its_name(configured, folder):
    (folder / "uv.toml").write_text("index = [\n")
    with pytest.raises(ConfigError, match=r"uv\.toml can't be read"):
        configured()


@pytest.mark.parametrize("text", ["index = 1\n", "[[index]]\nname = 1\n", 'find-links = "x"\n', "[index]\nurl = 1\n"])
def test_what_is_of_another_shape_says_nothing(configured, folder, text):
    (folder / "uv.toml").write_text(text)
    assert (
        configured().files == uv_configuration.Configuration(uv_configuration.Places(), uv_configuration.Places()).files
    )
