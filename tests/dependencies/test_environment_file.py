"""conda's environment.yml: by hand, exported, and wrong."""

import os

import pytest

from thampi.dependencies import environment_file
from thampi.errors import ConfigError

RECORDED = {"scikit-learn": "1.9.1", "cloudpickle": "3.1.2"}

# As `conda env export` writes it on a Mac.
EXPORTED = """\
name: iris
channels:
  - conda-forge
  - defaults
dependencies:
  - appnope=0.1.3=pyhd8ed1ab_0
  - libcxx=16.0.6=h4653b0c_0
  - numpy=1.26.4=py311h7125741_0
  - python=3.11.9=h932a869_0_cpython
  - tzdata=2024a=h0c530f3_0
  - pip:
      - joblib==1.4.2
      - thampi==1.0.0
prefix: /Users/ada/miniforge3/envs/iris
"""


@pytest.fixture
def read(tmp_path):
    """Read a text as the project's environment.yml, with nothing configured on this machine."""
    environ = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "PIP_CONFIG_FILE": os.devnull}

    def read(text, name="environment.yml"):
        file = tmp_path / name
        file.write_text(text)
        return environment_file.read(file, text, RECORDED, environ=environ, project_dir=tmp_path)

    return read


@pytest.fixture
def wrong(read):
    """Read a wrong text; what is said, without the folder, and the cures."""

    def wrong(text):
        with pytest.raises(ConfigError) as caught:
            read(text)
        assert caught.value.exit_code == 2
        lines = [line.rpartition("environment.yml")[2].lstrip(", :") for line in caught.value.message.splitlines()]
        return lines, caught.value.hint or ""

    return wrong


# -------------------------------------------------------------------------------------------------------- what is taken


def test_an_export_is_read_with_its_builds_and_its_pip_section(read):
    found = read(EXPORTED)
    assert found.manager == "conda"
    assert found.title == "environment.yml"
    assert found.conda is not None
    assert found.conda.channels == (
        *("conda-forge", "https://repo.anaconda.com/pkgs/main", "https://repo.anaconda.com/pkgs/r"),
    )
    assert found.conda.specs == (
        *("appnope=0.1.3=pyhd8ed1ab_0", "libcxx=16.0.6=h4653b0c_0"),
        *("numpy=1.26.4=py311h7125741_0", "tzdata=2024a=h0c530f3_0"),
    )
    assert found.conda.python == "=3.11.9=h932a869_0_cpython"
    assert found.requirements == ("joblib==1.4.2", "cloudpickle==3.1.2")
    assert found.notes == (
        "environment.yml line 13 left out: the image has its own thampi",
        "cloudpickle==3.1.2 added unless conda brings it: the model was saved with it",
    )


@pytest.mark.parametrize(
    "text",
    [
        "dependencies: [scikit-learn=0.20.0, numpy=1.15.2, thampi=0.1.0]\n",
        "dependencies:\n  - scikit-learn=0.20.0\n  - numpy=1.15.2\n  - thampi=0.1.0\n",
        "name: iris\ndependencies:\n- scikit-learn=0.20.0\n- numpy=1.15.2\n- pip:\n  - thampi==0.1.0\n",
        "dependencies:\n- pip\n- scikit-learn=0.20.0\n- numpy=1.15.2\n- conda-forge::thampi\n",
    ],
)
def test_the_original_tutorials_file_has_no_channel_and_no_python_and_names_us(read, text):
    found = read(text, "requirements.txt")
    assert found.conda is not None
    assert found.conda.channels == ("conda-forge",)
    assert found.conda.specs == ("scikit-learn=0.20.0", "numpy=1.15.2")
    assert found.conda.python is None
    assert found.requirements == ("cloudpickle==3.1.2",)
    assert any("left out: the image has its own thampi" in note for note in found.notes)


@pytest.mark.parametrize(
    ("line", "spec"),
    [
        ("numpy", "numpy"),
        ("numpy=1.26", "numpy=1.26"),
        ("numpy ==1.26.4", "numpy==1.26.4"),
        ("numpy 1.26.*", "numpy 1.26.*"),
        ("'numpy >=1.26,<2'", "numpy>=1.26,<2"),
        ("NumPy=1.26", "numpy=1.26"),
        ("_libgcc_mutex=0.1=main", "_libgcc_mutex=0.1=main"),
        ("blas=*=openblas", "blas=*=openblas"),
        ("'pytorch[version=\">=2\",build=cpu*]'", 'pytorch[version=">=2",build=cpu*]'),
        ("conda-forge::numpy=1.26", "conda-forge::numpy=1.26"),
        ("conda-forge/linux-64::numpy 1.26.4 py311_0", "conda-forge::numpy 1.26.4 py311_0"),
        ("defaults::numpy", "numpy"),
        ("https://conda.example.com/lab::numpy", "https://conda.example.com/lab::numpy"),
        ("numpy  # [linux]", "numpy"),
        ("thampi-tools=1", "thampi-tools=1"),
        ("python-dateutil", "python-dateutil"),
        ("thampilib", "thampilib"),
    ],
)
def test_a_package_is_asked_for_as_conda_writes_it(read, line, spec):
    found = read(f"channels: [conda-forge]\ndependencies:\n  - {line}\n").conda
    assert found is not None
    assert found.specs == (spec,)
    assert found.python is None


@pytest.mark.parametrize(
    ("line", "python"),
    [
        ("python", None),
        ("python=3.11", "=3.11"),
        ("python 3.11.*", "3.11.*"),
        ("'python >=3.8,<3.12'", ">=3.8,<3.12"),
        ("conda-forge::python=3.11", "=3.11"),
    ],
)
def test_what_is_said_of_python_is_kept_apart(read, line, python):
    found = read(f"dependencies: [{line}, numpy]\n").conda
    assert found is not None
    assert (found.specs, found.python) == (("numpy",), python)


@pytest.mark.parametrize(
    ("line", "channels"),
    [
        ("", ("conda-forge",)),
        ("channels: []", ("conda-forge",)),
        ("channels:", ("conda-forge",)),
        ("channels: bioconda", ("bioconda",)),
        ("channels: [pytorch, nodefaults, conda-forge, pytorch]", ("pytorch", "conda-forge")),
        ("channels: [nodefaults]", ("conda-forge",)),
        ("channels: [https://conda.example.com/lab/]", ("https://conda.example.com/lab",)),
        ("channels: [https://conda.example.com/lab/linux-64]", ("https://conda.example.com/lab",)),
        ("channels: [conda-forge/label/rc]", ("conda-forge/label/rc",)),
        ("channels: [pkgs/main]", ("https://repo.anaconda.com/pkgs/main", "https://repo.anaconda.com/pkgs/r")),
    ],
)
def test_channels_stay_in_their_order(read, line, channels):
    found = read(f"{line}\ndependencies: [numpy]\n").conda
    assert found is not None
    assert found.channels == channels


def test_a_channel_that_only_stands_before_a_package_comes_last(read):
    found = read("channels: [conda-forge]\ndependencies: [pytorch::pytorch, numpy]\n").conda
    assert found is not None
    assert found.channels == ("conda-forge", "pytorch")


@pytest.mark.parametrize("written", ["./lab", "{folder}/lab", "file://{folder}/lab"])
def test_a_folder_of_this_machine_is_meant_from_the_files_own(read, tmp_path, written):
    (tmp_path / "lab").mkdir()
    found = read(f"channels: ['{written.format(folder=tmp_path)}']\ndependencies: [numpy]\n").conda
    assert found is not None
    assert found.channels == ((tmp_path / "lab").as_uri(),)


def test_the_pip_section_is_a_requirements_file(read, tmp_path):
    (tmp_path / "more.txt").write_text("joblib==1.4.2\n")
    found = read(
        "dependencies:\n- numpy\n- pip\n- pip:\n  - --extra-index-url https://pypi.example.com/simple\n"
        "  - -r more.txt\n  - 'six>=1 ; python_version > \"3\"'\n"
    )
    assert found.requirements[0] == "joblib==1.4.2"
    assert found.requirements[1].startswith("six>=1")
    assert found.indexes.extra_index_urls == ("https://pypi.example.com/simple",)
    assert found.conda is not None
    assert found.conda.specs == ("numpy",)
    assert any(note.startswith("environment.yml line 3 left out: an image installs nothing") for note in found.notes)


def test_only_a_pip_section_is_enough(read):
    found = read("dependencies:\n- pip:\n  - six\n")
    assert found.conda is not None
    assert (found.conda.specs, found.requirements[0]) == ((), "six")


# ------------------------------------------------------------------------------------------- what is left out, or added


@pytest.mark.parametrize("comment", ["[win]", "[osx]", "[osx-arm64]", "[not linux]", "[win or osx]", "[ win64 ]"])
def test_a_line_that_is_marked_for_another_system_is_left_out_and_said(read, comment):
    found = read(f"dependencies:\n- numpy\n- pywin32  # {comment}\n- pip:\n  - colorama  # {comment}\n")
    assert found.conda is not None
    assert found.conda.specs == ("numpy",)
    assert found.requirements == ("cloudpickle==3.1.2",)
    assert "environment.yml line 3 left out: pywin32 is for another system" in found.notes
    assert "environment.yml line 5 left out: colorama is for another system" in found.notes


@pytest.mark.parametrize("comment", ["[linux]", "[unix]", "[not win]", "for plots", "[linux or win]"])
def test_any_other_comment_leaves_a_line_as_it_is(read, comment):
    found = read(f"dependencies:\n- numpy  # {comment}\n").conda
    assert found is not None
    assert found.specs == ("numpy",)


def test_variables_and_unknown_keys_are_said_not_to_count_without_their_values(read):
    notes = read("variables: {TOKEN: verysecret, MODE: x}\nplatforms: [osx-64]\ndependencies: [numpy]\n").notes
    assert any("variables (TOKEN, MODE) are no part of an image" in note for note in notes)
    assert any("line 2: `platforms:` says nothing about an image" in note for note in notes)
    assert "verysecret" not in str(notes)


@pytest.mark.parametrize(
    "text",
    [
        "dependencies: [cloudpickle]",
        "dependencies: [conda-forge::cloudpickle=3]",
        "dependencies: [{pip: [cloudpickle==3.1.1]}]",
    ],
)
def test_cloudpickle_is_added_only_where_nobody_names_it(read, text):
    found = read(text)
    assert "cloudpickle==3.1.2" not in found.requirements
    assert found.conda is not None
    assert found.conda.unless_brought == ()


def test_cloudpickle_that_was_added_gives_way_to_condas(read):
    found = read("dependencies: [numpy]")
    assert found.conda is not None
    assert found.conda.unless_brought == ("cloudpickle==3.1.2",)


# -------------------------------------------------------------------------------------------------------- what is wrong


@pytest.mark.parametrize(
    ("text", "said", "cure"),
    [
        ("dependencies:\n\t- numpy\n", ["line 2: found character '\\t' that cannot start any token"], "tabs"),
        ("dependencies: [numpy\n", ["line 2: expected ',' or ']', but got '<stream end>'"], "correct it there"),
        ("- numpy\n", ["is no conda environment"], "conda env export --from-history"),
        ("name: iris\n", ["it names no dependencies"], "dependencies: ["),
        ("dependencies: numpy\n", ["line 1: `dependencies` is no list"], "a line of its own"),
        ("dependencies:\n- numpy: 1.26\n", ["line 2: `numpy:` is no section that an image knows"], "`pip:`"),
        ("dependencies:\n- pip:\n  - six: 1\n", ["line 3: a name is expected here"], "take the colon out"),
        ("dependencies:\n- -e .\n", ["line 2: `-e .` is not how conda names a package"], "under `- pip:`"),
        ("dependencies:\n- six @ https://u:pw@h/x.whl\n", ["line 2: `six @ https://***@h/x.whl` is not"], "- pip:"),
        ("dependencies:\n- numpy===1.26\n", ["line 2: `numpy===1.26` is not how"], "name=1.2.3"),
        ("channels:\n- ./lab\ndependencies: [numpy]\n", ["line 2: there is no channel "], "correct the path"),
        ("dependencies:\n- numpy\n- pip:\n  - six==\n", ["line 4: `six==` is not a requirement"], "name==1.2.3"),
    ],
)
def test_each_mistake_has_its_line_and_its_cure(wrong, text, said, cure):
    lines, hint = wrong(text)
    assert len(lines) == len(said)
    assert all(line.startswith(start) for line, start in zip(lines, said, strict=True)), lines
    assert cure in hint


@pytest.mark.parametrize(
    "channel",
    [
        "https://ada:verysecret@conda.example.com/lab",
        "https://conda.anaconda.org/t/verysecret/lab",
        "https://conda.example.com/${verysecret}/lab",
        "https://verysecret@conda.example.com/lab",
    ],
)
@pytest.mark.parametrize("where", ["channels: ['{}']\ndependencies: [numpy]", "dependencies:\n- '{}::numpy'"])
def test_a_channel_that_asks_who_we_are_is_refused_without_repeating_it(wrong, channel, where):
    lines, hint = wrong(where.format(channel))
    assert "has a password, a token or a variable in it" in lines[0]
    assert "verysecret" not in "\n".join([*lines, hint])


def test_all_mistakes_are_said_at_once_those_of_the_pip_section_too(wrong):
    lines, hint = wrong("channels: [./lab]\ndependencies:\n- -e .\n- pip:\n  - six==\n  - ./nowhere\n")
    assert [line.partition(":")[0] for line in lines] == ["line 1", "line 3", "line 5", "line 6"]
    assert len(hint.splitlines()) == 4
