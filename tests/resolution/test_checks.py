"""What is wrong with an answer is said before anything is built from it, with the line to write."""

import pytest

from thampi.errors import BuildError, ConfigError
from thampi.resolution import checks
from thampi.resolution.resolved import Distribution, Resolved


def resolved(**versions):
    return Resolved(distributions=tuple(Distribution(name.replace("_", "-"), text) for name, text in versions.items()))


@pytest.mark.parametrize(
    ("saved", "installed", "line"),
    [
        ({"numpy": "2.4.6"}, {"numpy": "1.26.4"}, "numpy==2.4.6"),
        ({"numpy": "1.26.4"}, {"numpy": "2.0.0"}, "numpy==1.26.4"),
        ({"scikit-learn": "1.6.1"}, {"scikit_learn": "1.7.0"}, "scikit-learn==1.6.1"),
        ({"scikit_learn": "1.6.1"}, {"scikit_learn": "0.24.2"}, "scikit-learn==1.6.1"),
        ({"pandas": "2.2.3"}, {"numpy": "2.4.6"}, "pandas==2.2.3"),
        ({"torch": "2.9.0+cpu"}, {"numpy": "2.4.6"}, "torch==2.9.0"),
    ],
)
def test_what_the_model_could_not_be_read_with_is_refused_with_the_line_to_write(saved, installed, line):
    with pytest.raises(ConfigError) as raised:
        checks.versions(resolved(**installed), saved, "requirements.txt", needed=lambda: saved)
    assert raised.value.hint == f"write in requirements.txt: {line}"


def test_every_such_version_is_said_at_once_and_conda_is_told_its_own_way():
    saved = {"numpy": "2.4.6", "scikit-learn": "1.6.1"}
    with pytest.raises(ConfigError) as raised:
        checks.versions(resolved(numpy="1.26.4", scikit_learn="1.5.0"), saved, "environment.yml", is_conda=True)
    assert raised.value.hint == "write in environment.yml: numpy=2.4.6, scikit-learn=1.6.1"
    assert len(raised.value.message.splitlines()) == 2


@pytest.mark.parametrize(
    ("saved", "installed"),
    [
        ({"numpy": "2.4.6"}, {"numpy": "2.4.6"}),
        ({"torch": "2.9.0+cu130"}, {"torch": "2.9.0+cpu"}),
        ({"NumPy": "2.4"}, {"numpy": "2.4.0"}),
        ({"opencv-python": "4.9"}, {"opencv_python_headless": "4.9"}),
        ({"psycopg2-binary": "2.9"}, {"psycopg2": "2.9"}),
        ({}, {"anything": "1"}),
    ],
)
def test_what_fits_is_not_talked_about(saved, installed):
    assert checks.versions(resolved(**installed), saved, "x") == []


def test_other_differences_are_one_sentence():
    saved = {"numpy": "2.4.6", "pandas": "2.2.3", "scikit-learn": "1.6.0"}
    [note] = checks.versions(resolved(numpy="2.4.5", pandas="3.0.0", scikit_learn="1.6.1"), saved, "x")
    assert note.endswith("numpy 2.4.5 (2.4.6), pandas 3.0.0 (2.2.3), scikit-learn 1.6.1 (1.6.0)")


def test_what_the_code_names_and_the_pickle_does_not_need_is_said_and_not_refused():
    saved = {"matplotlib": "3.9.0", "numpy": "2.4.6"}
    [note] = checks.versions(resolved(numpy="2.4.6"), saved, "requirements.txt", needed=lambda: ["NumPy"])
    assert note == "the model's code names what is not installed by requirements.txt: matplotlib"


def test_what_conda_may_call_otherwise_is_said_and_not_refused():
    [note] = checks.versions(resolved(numpy="2.4.6"), {"pydot": "1"}, "environment.yml", is_conda=True)
    assert "pydot" in note


def test_what_is_built_in_the_image_is_named_with_what_it_may_need():
    found = Resolved(distributions=(Distribution("docopt", "0.6.2", has_wheel=False), Distribution("numpy", "2.4.6")))
    [note] = checks.wheels(found, "linux/amd64")
    assert "docopt 0.6.2 has no wheel for linux/amd64" in note
    assert 'apt = ["build-essential"]' in note
    assert checks.wheels(resolved(numpy="2"), "linux/amd64") == []


def test_more_than_an_image_may_have_is_refused_and_what_may_be_too_much_is_said():
    def sized(gigabytes):
        return Resolved(distributions=(Distribution("torch", "2", size=int(gigabytes * 1e9)), Distribution("six", "1")))

    assert checks.size(sized(3), "linux/amd64") == []
    [note] = checks.size(sized(5), "linux/amd64")
    assert "torch 5.0 GB" in note
    with pytest.raises(BuildError, match="an image may have 10 GB"):
        checks.size(sized(11), "linux/amd64")
