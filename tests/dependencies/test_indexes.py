"""Where distributions are looked for, and who we are there: the file's word, configuration, and netrc."""

import pytest

from thampi.dependencies.wanted import Credentials, Indexes

ONE, TWO, THREE = (f"https://{name}.example.com/simple" for name in ("one", "two", "three"))


@pytest.fixture
def indexes(read):
    def indexes_(text="", **environ):
        return read(text, **environ).indexes

    return indexes_


def test_without_a_word_it_is_pypi(indexes):
    assert indexes("numpy\n") == Indexes()


@pytest.mark.parametrize("url", ["https://pypi.org/simple", "https://pypi.org/simple/"])
def test_pypi_by_its_name_is_pypi(indexes, url):
    assert indexes(f"-i {url}\n").index_url is None
    assert indexes(PIP_INDEX_URL=url).index_url is None


# ---------------------------------------------------------------------------------------------------- what beats what


def test_an_index_in_the_file_stands_for_all_that_are_configured(indexes):
    found = indexes(f"-i {ONE}\n", PIP_INDEX_URL=TWO, PIP_EXTRA_INDEX_URL=THREE, UV_INDEX=THREE)
    assert (found.index_url, found.extra_index_urls) == (ONE, ())


def test_a_further_index_in_the_file_is_added_to_those_that_are_configured(indexes):
    found = indexes(f"--extra-index-url {ONE}\n", PIP_INDEX_URL=TWO, PIP_EXTRA_INDEX_URL=f"{THREE} {ONE}")
    assert (found.index_url, found.extra_index_urls) == (TWO, (ONE, THREE))


def test_no_index_leaves_folders_only_wherever_it_is_said(indexes, folder):
    (folder / "wheels").mkdir()
    for found in (
        indexes(f"--no-index\n-f wheels\n-i {ONE}\n", PIP_EXTRA_INDEX_URL=TWO),
        indexes(f"-i {ONE}\n-f wheels\n", PIP_NO_INDEX="1"),
    ):
        assert found.no_index
        assert (found.index_url, found.extra_index_urls, found.find_links) == (None, (), (str(folder / "wheels"),))


def test_uvs_variable_beats_pips_and_both_beat_files(indexes, tmp_path):
    (tmp_path / "pip.conf").write_text(f"[global]\nindex-url = {THREE}\n")
    conf = {"PIP_CONFIG_FILE": str(tmp_path / "pip.conf")}
    assert indexes(**conf).index_url == THREE
    assert indexes(**conf, PIP_INDEX_URL=TWO).index_url == TWO
    assert indexes(**conf, PIP_INDEX_URL=TWO, UV_DEFAULT_INDEX=ONE).index_url == ONE


def test_what_the_file_itself_names_is_told_apart(indexes, folder):
    (folder / "wheels").mkdir()
    found = indexes(f"--extra-index-url {ONE}\n-f wheels\n", PIP_EXTRA_INDEX_URL=TWO)
    assert found.written == (ONE, str(folder / "wheels"))


def test_an_empty_variable_says_nothing(indexes):
    names = (
        *("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX", "PIP_TRUSTED_HOST", "PIP_CERT"),
        *("UV_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS", "UV_INSECURE_HOST"),
        *("NETRC", "SSL_CERT_FILE", "PIP_CONSTRAINT", "PIP_PRE"),
    )
    assert indexes("numpy\n", **dict.fromkeys(names, "")) == Indexes()


# -------------------------------------------------------------------------------------------------------- credentials


@pytest.mark.parametrize(
    ("text", "environ"),
    [
        ("-i https://ann:p%40ss@one.example.com/simple\n", {}),
        ("-i https://${WHO}:${PASS}@one.example.com/simple\n", {"WHO": "ann", "PASS": "p%40ss"}),
        ("--extra-index-url https://ann:p%40ss@one.example.com:8443/simple\n", {}),
        ("-f https://ann:p%40ss@one.example.com/wheels.html\n", {}),
        ("", {"PIP_INDEX_URL": "https://ann:p%40ss@one.example.com/simple"}),
        ("", {"PIP_EXTRA_INDEX_URL": "https://two.example.com/ https://ann:p%40ss@one.example.com/simple"}),
        ("", {"UV_INDEX": "company=https://ann:p%40ss@one.example.com/simple"}),
        ("", {"UV_DEFAULT_INDEX": "https://ann:p%40ss@one.example.com/simple"}),
        (
            "",
            {
                "UV_INDEX": "my-company=https://one.example.com/simple",
                "UV_INDEX_MY_COMPANY_USERNAME": "ann",
                "UV_INDEX_MY_COMPANY_PASSWORD": "p@ss",
            },
        ),
    ],
)
def test_who_we_are_is_taken_out_of_the_url_of_an_index(indexes, text, environ):
    found = indexes(text, **environ)
    assert found.credentials == {"one.example.com": Credentials("ann", "p@ss")}
    assert "ann" not in repr(found)
    assert "p@ss" not in repr(found)
    assert "p%40ss" not in repr(found)


def test_an_index_that_is_not_used_brings_no_credentials(indexes):
    found = indexes(f"-i {ONE}\n", PIP_INDEX_URL="https://ann:secret@two.example.com/simple")
    assert found.credentials == {}


def test_two_users_of_one_host_are_refused(refusal):
    error = refusal("-i https://ann:one@h.example.com/a\n--extra-index-url https://bob:two@h.example.com/b\nnumpy=1\n")
    assert "h.example.com: two different users or passwords" in error.message
    assert "numpy=1" in error.message  # with all else that is wrong
    assert "bob" not in str(error)


def test_the_same_user_may_be_given_twice(indexes):
    found = indexes("-i https://ann:one@h.example.com/a\n--extra-index-url https://ann:one@h.example.com/b\n")
    assert found.credentials == {"h.example.com": Credentials("ann", "one")}


# -------------------------------------------------------------------------------------------------------------- netrc

NETRC = """
machine one.example.com login ann password p@ss
machine two.example.com
    login bob
    password s3cret
default login anybody password nothing
"""


@pytest.fixture
def netrc(tmp_path):
    file = tmp_path / "home" / ".netrc"

    def write(text=NETRC):
        file.write_text(text)
        return file

    return write


def test_netrc_says_who_we_are_at_the_hosts_that_are_used_and_no_others(indexes, netrc):
    netrc()
    assert indexes(f"-i {ONE}\n").credentials == {"one.example.com": Credentials("ann", "p@ss")}
    assert indexes(PIP_EXTRA_INDEX_URL=TWO).credentials == {"two.example.com": Credentials("bob", "s3cret")}
    assert indexes(f"-i {THREE}\n").credentials == {}


def test_netrc_may_lie_elsewhere(indexes, netrc, tmp_path):
    elsewhere = netrc().rename(tmp_path / "elsewhere")
    assert indexes(f"-i {ONE}\n").credentials == {}
    assert indexes(f"-i {ONE}\n", NETRC=str(elsewhere)).credentials == {"one.example.com": Credentials("ann", "p@ss")}


@pytest.mark.parametrize(
    "line",
    [
        "lib @ https://one.example.com/lib-1.0-py3-none-any.whl",
        "lib @ git+https://one.example.com/lib",
        "https://one.example.com/lib.zip",
    ],
)
def test_netrc_knows_hosts_of_requirements_as_well(indexes, netrc, line):
    netrc()
    assert indexes(f"{line}\n").credentials == {"one.example.com": Credentials("ann", "p@ss")}


def test_a_url_beats_netrc(indexes, netrc):
    netrc()
    found = indexes("-i https://zoe:other@one.example.com/simple\n")
    assert found.credentials == {"one.example.com": Credentials("zoe", "other")}


def test_a_user_without_a_password_has_the_password_of_netrc(indexes, netrc):
    netrc()
    assert indexes("-i https://ann@one.example.com/simple\n").credentials["one.example.com"].password == "p@ss"
    assert indexes("-i https://zoe@one.example.com/simple\n").credentials["one.example.com"] == Credentials("zoe", "")


@pytest.mark.parametrize("text", ["machine one.example.com login", "\x00", "nonsense nonsense"])
def test_a_broken_netrc_says_nothing_as_with_pip(indexes, netrc, text):
    netrc(text)
    assert indexes(f"-i {ONE}\n").credentials == {}


# --------------------------------------------------------------------------------------------------------- CA bundles


def test_the_machines_ca_bundle_is_kept(indexes, tmp_path):
    (tmp_path / "ca.pem").write_text("")
    (tmp_path / "pip.pem").write_text("")
    assert indexes(PIP_CERT=str(tmp_path / "pip.pem")).ca_bundle == tmp_path / "pip.pem"
    both = {"PIP_CERT": str(tmp_path / "pip.pem"), "SSL_CERT_FILE": str(tmp_path / "ca.pem")}
    assert indexes(**both).ca_bundle == tmp_path / "ca.pem"


def test_pip_conf_may_name_a_ca_bundle(read, tmp_path):
    (tmp_path / "company.pem").write_text("")
    (tmp_path / "pip.conf").write_text(f"[global]\ncert = {tmp_path / 'company.pem'}\n")
    found = read("numpy\n", PIP_CONFIG_FILE=str(tmp_path / "pip.conf"))
    assert found.indexes.ca_bundle == tmp_path / "company.pem"


def test_a_ca_bundle_that_is_gone_is_said(read, tmp_path):
    (tmp_path / "pip.conf").write_text("[global]\ncert = /nowhere/company.pem\n")
    found = read("numpy\n", PIP_CONFIG_FILE=str(tmp_path / "pip.conf"))
    assert found.indexes.ca_bundle is None
    assert any("/nowhere/company.pem, which is not there" in note for note in found.notes)
