"""The options of a requirements file."""

import pytest

from thampi.dependencies import pip_options
from thampi.dependencies.mistakes import Mistakes
from thampi.dependencies.pip_options import Options


@pytest.fixture
def places(folder):
    def places_(*lines):
        options, mistakes = Options(), Mistakes()
        for line in lines:
            options = pip_options.added(options, line, "a line", folder, mistakes)
        mistakes.check()
        return options.places

    return places_


@pytest.mark.parametrize(
    "line",
    [
        "-i https://mirror.example.com/simple",
        "-ihttps://mirror.example.com/simple",
        "--index-url https://mirror.example.com/simple",
        "--index-url=https://mirror.example.com/simple",
        "--index-url   'https://mirror.example.com/simple'",
        "--pypi-url https://mirror.example.com/simple",
    ],
)
def test_an_index_is_named_in_each_of_pips_ways(places, line):
    assert places(line).index_url == "https://mirror.example.com/simple"


def test_several_options_may_stand_in_a_line(places):
    found = places(
        "-i https://a.example.com/ --extra-index-url=https://b.example.com/ -f https://c.example.com/ --no-index"
    )
    assert (found.index_url, found.extra_index_urls, found.find_links, found.no_index) == (
        "https://a.example.com/",
        ("https://b.example.com/",),
        ("https://c.example.com/",),
        True,
    )


def test_the_last_index_counts_and_further_ones_add_up(places):
    found = places(
        "--extra-index-url https://a.example.com/",
        "-i https://b.example.com/",
        "-i https://c.example.com/",
        "--extra-index-url https://d.example.com/",
    )
    assert found.index_url == "https://c.example.com/"
    assert found.extra_index_urls == ("https://a.example.com/", "https://d.example.com/")


def test_a_folder_is_made_absolute(places, folder):
    (folder / "wheels").mkdir()
    (folder / "my simple").mkdir()
    found = places("-f wheels", f"--find-links file://{folder}/wheels", "--extra-index-url 'my simple'")
    assert found.find_links == (str(folder / "wheels"),) * 2
    assert found.extra_index_urls == ((folder / "my simple").as_uri(),)


def test_trusted_hosts_are_kept(places):
    assert places("--trusted-host example.com", "--trusted-host=h:8080").trusted_hosts == ("example.com", "h:8080")


def test_credentials_are_never_shown(places):
    found = places("-i https://u:s3cret@a.example.com/", "-f https://u:s3cret@b.example.com/")
    assert "s3cret" not in repr(found)


@pytest.mark.parametrize("line", ["--prefer-binary", "--use-feature=fast-deps"])
def test_what_uv_does_anyway_is_noted(read, line):
    (note, _) = read(f"numpy\n{line}\n").notes
    assert "changes nothing" in note
    assert "line 2" in note


@pytest.mark.parametrize(
    ("line", "what", "cure"),
    [
        ("--use-pep517", "`--use-pep517` is no option", "take it out"),
        ("--isolated", "`--isolated` is no option", "take it out"),
        ("--no-binary https://example.com", "`--no-binary` should name distributions", "numpy,scipy"),
        ("-x", "`-x` is no option", "take it out"),
        ("--index-url", "`--index-url` has no value", "write it behind"),
        ("--index-url=", "`--index-url` has no value", "write it behind"),
        ("-f ./gone", "`--find-links` names what is not there", "meant from /"),
        ("--find-links /nowhere/wheels", "`--find-links` names what is not there", "correct the path"),
        (
            "--extra-index-url file:///nowhere/simple",
            "`--extra-index-url` names a folder that is not there",
            "correct the path",
        ),
        ("-i https://user:s3cret@example.com:port/", "the URL of `--index-url` is not one", "https://host/path"),
        ("-i https://", "the URL of `--index-url` is not one", "https://host/path"),
    ],
)
def test_an_option_that_means_nothing_here_is_refused_with_its_line(refusal, folder, line, what, cure):
    error = refusal(f"numpy\n\n{line}\n")
    assert error.message.startswith(f"{folder / 'requirements.txt'}, line 3: ")
    assert what in error.message
    assert cure in error.hint
    assert "s3cret" not in str(error)
