"""What an image installs: requirements files as people have them, or else what the bundle recorded."""

import pytest

from thampi import dependencies
from thampi.errors import ConfigError

RECORDED = {"cloudpickle": "3.1.2", "numpy": "2.4.6", "scikit-learn": "1.9.1"}


@pytest.fixture
def read(tmp_path):
    def read_(content, recorded=RECORDED, name="requirements.txt"):
        file = tmp_path / name
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return dependencies.read(file, recorded)

    return read_


@pytest.fixture
def installed(read):
    """The lines that get installed, without the cloudpickle that is added to all of them."""

    def installed_(content):
        *lines, cloudpickle = read(content).requirements
        assert cloudpickle == "cloudpickle==3.1.2"
        return lines

    return installed_


@pytest.fixture
def refusal(read):
    def refusal_(content, **more):
        with pytest.raises(ConfigError) as raised:
            read(content, **more)
        return raised.value

    return refusal_


# ---------------------------------------------------------------------------------------- files as people have them


def test_comments_and_empty_lines_say_nothing(installed):
    assert installed("# what we need\n\n  # numbers\nnumpy==2.4.6  # the newest\n\t\nscipy\n#six\n") == [
        "numpy==2.4.6",
        "scipy",
    ]


def test_a_comment_needs_a_space_before_it(installed):
    assert installed("six @ https://example.com/six.zip#sha256=abc\n") == [
        "six @ https://example.com/six.zip#sha256=abc"
    ]


def test_a_line_that_ends_with_a_backslash_goes_on(installed):
    text = "numpy==2.4.6 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\nscipy\n"
    assert installed(text) == ["numpy==2.4.6     --hash=sha256:aa     --hash=sha256:bb", "scipy"]


def test_a_comment_ends_what_the_backslash_before_it_continued(installed):
    assert installed("numpy==2.4.6 \\\n    # via scikit-learn\nscipy\n") == ["numpy==2.4.6", "scipy"]
    assert installed("numpy\n# not a continuation \\\nscipy\n") == ["numpy", "scipy"]


def test_a_backslash_at_the_end_of_the_file_is_forgiven(installed):
    assert installed("numpy \\") == ["numpy"]


@pytest.mark.parametrize(
    "line",
    [
        "numpy",
        "numpy==2.*",
        "numpy >= 2.0, < 3",
        "numpy (>=2.0)",
        "numpy~=2.4",
        "numpy===2.4.6",
        "uvicorn[standard]==0.30",
        "dask[array, dataframe]",
        'pywin32==306; sys_platform == "win32"',
        "tomli==2.0 ; python_version < '3.11'",
        "name @ https://example.com/name-1.0-py3-none-any.whl",
        "name@https://example.com/name-1.0-py3-none-any.whl",
        "name @ git+https://github.com/owner/name@v1.0",
        "name @ git+ssh://git@github.com/owner/name.git",
        "https://example.com/name-1.0-py3-none-any.whl",
        "git+https://github.com/owner/name.git@v1.0#egg=name",
        "six==1.17.0 --hash=sha256:4721f391ed90541fddacab5acf947aa0d3dc7d27b2e1e8eda2be8970586c3274",
        "--pre",
        "--prefer-binary",
        "--no-binary :all:",
        "--only-binary=numpy",
        "-i https://mirror.example.com/simple",
        "--index-url https://mirror.example.com/simple",
        "--extra-index-url=https://download.pytorch.org/whl/cpu",
        "-f https://download.pytorch.org/whl/torch_stable.html",
        "--find-links=https://example.com/wheels",
    ],
)
def test_what_an_image_can_install_goes_in_as_it_is(installed, line):
    assert installed(f"{line}\n") == [line]


@pytest.mark.parametrize(
    "encode",
    [
        lambda text: text.encode("utf-8-sig"),
        lambda text: text.encode("utf-16"),  # PowerShell's `pip freeze > requirements.txt`
        lambda text: b"\xfe\xff" + text.encode("utf-16-be"),
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: text.replace("\n", "\r").encode(),
        lambda text: text.rstrip("\n").encode(),
    ],
    ids=["utf-8 with a mark", "utf-16 LE", "utf-16 BE", "CRLF", "CR", "no newline at the end"],
)
def test_a_file_reads_the_same_however_an_editor_saved_it(installed, encode):
    assert installed(encode("# größer\nnumpy==2.4.6\nscipy\n")) == ["numpy==2.4.6", "scipy"]


def test_a_file_that_is_no_text_is_refused(refusal):
    error = refusal(b"\xff\xd8\xff\xe0 a photograph")
    assert "requirements.txt" in error.message
    assert error.hint == "save it as UTF-8 text"


def test_a_missing_file_is_refused_with_both_ways_out(tmp_path):
    with pytest.raises(ConfigError) as raised:
        dependencies.read(tmp_path / "requirements.txt", RECORDED)
    assert str(tmp_path / "requirements.txt") in raised.value.message
    assert "pip freeze > requirements.txt" in raised.value.hint
    assert "leave `dependency_file` out" in raised.value.hint


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="can't read"):
        dependencies.read(tmp_path, RECORDED)


# --------------------------------------------------------------------------------------------------- thampi itself


@pytest.mark.parametrize(
    "line",
    [
        "thampi",
        "thampi==1.0.0",
        "Thampi>=1",
        "thampi[test]==1.0.0",
        "thampi @ file:///home/me/dist/thampi-1.0.0-py3-none-any.whl",
        "thampi @ file:///home/me/dist/thampi-1.0.0-py3-none-any.whl#sha256=abc",
        "thampi @ git+https://github.com/owner/thampi@0123abc",
        "-e git+https://github.com/owner/thampi@0123abc#egg=thampi",
        "-e git+ssh://git@github.com/owner/any.git@0123abc#egg=Thampi[test]",
        "--editable=git+https://github.com/owner/repo#subdirectory=x&egg=thampi",
        "git+https://github.com/owner/thampi.git",
        "git+https://github.com/owner/thampi@v1.0",
        "./thampi.whl",
        "thampi-1.0.0-py3-none-any.whl",
        "dist/thampi-1.0.0-py3-none-any.whl",
        "/home/me/dist/thampi-1.0.0.tar.gz",
        "file:///home/me/dist/thampi-1.0.0-py3-none-any.whl",
        "https://example.com/thampi-1.0.0-py3-none-any.whl",
        "-e /nowhere/on/this/machine/thampi",
        "thampi==1.0.0 --hash=sha256:abc",
    ],
)
def test_thampi_itself_is_left_out_however_it_is_named_and_a_note_says_so(read, line):
    found = read(f"numpy\n{line}\nscipy\n")
    assert found.requirements == ("numpy", "scipy", "cloudpickle==3.1.2")
    assert found.notes[0] == "requirements.txt line 2 left out: the image has its own thampi"


@pytest.mark.parametrize("form", ["-e {}", "-e {}[test]", "{}", "--editable {}/", "file://{}"])
def test_a_checkout_of_thampi_is_known_by_its_own_name(read, tmp_path, form):
    checkout = tmp_path / "somewhere"
    checkout.mkdir()
    (checkout / "pyproject.toml").write_text('[project]\nname = "thampi"\n')
    assert read(form.format(checkout) + "\n").requirements == ("cloudpickle==3.1.2",)


def test_a_checkout_is_found_from_the_folder_of_the_file(read, tmp_path):
    (tmp_path / "checkout").mkdir()
    (tmp_path / "checkout/pyproject.toml").write_text('[project]\nname = "thampi"\n')
    assert read("-e ./checkout\n").requirements == ("cloudpickle==3.1.2",)


@pytest.mark.parametrize(
    "note",
    [
        "# Editable install with no version control (thampi==1.0.0)\n",
        "# Editable Git install with no remote (thampi==1.0.0)\n",
        "# Editable Git install (thampi==1.0.0) with either a deleted local remote or invalid URI:\n# '/gone'\n",
    ],
)
def test_what_pip_freeze_notes_above_a_checkout_is_enough_to_know_it(read, note):
    found = read(f"numpy\n{note}-e /nowhere/on/this/machine\nscipy\n")
    assert found.requirements == ("numpy", "scipy", "cloudpickle==3.1.2")


def test_that_note_speaks_of_one_line_only(refusal):
    note = "# Editable install with no version control (thampi==1.0.0)\n"
    assert "line 3: `-e`" in refusal(f"{note}-e /nowhere/a\n-e /nowhere/b\n").message


@pytest.mark.parametrize(
    "line",
    [
        "thampi-extras==1.0",
        "thampi_client",
        "thampi.plugins",
        "thampix",
        "thampi-extras @ https://example.com/thampi-extras-1.0.zip",
        "git+https://github.com/owner/thampi-extras",
        "https://example.com/thampi_extras-1.0-py3-none-any.whl",
        "git+https://github.com/thampi/other#egg=other",
        "git+https://github.com/owner/thampi-extras#egg=thampi-extras",
    ],
)
def test_a_package_whose_name_merely_begins_with_thampi_stays(installed, line):
    assert installed(f"{line}\n") == [line]


def test_an_editable_package_whose_name_merely_begins_with_thampi_is_not_taken_for_ours(refusal):
    assert "line 1" in refusal("-e git+https://github.com/owner/any#egg=thampi-extras\n").message


# ----------------------------------------------------------------------------------------------------- cloudpickle


def test_cloudpickle_is_added_in_the_version_that_saved_the_model_and_a_note_says_so(read):
    found = read("numpy\n")
    assert found.requirements == ("numpy", "cloudpickle==3.1.2")
    assert found.notes == ("cloudpickle==3.1.2 added: the model was saved with it",)


@pytest.mark.parametrize("line", ["cloudpickle==3.0.0", "CloudPickle", "cloudpickle>=2; python_version > '3'"])
def test_cloudpickle_stays_as_it_is_when_the_file_names_it(read, line):
    found = read(f"numpy\n{line}\n")
    assert found.requirements == ("numpy", line)
    assert found.notes == ()


def test_a_bundle_that_does_not_say_its_cloudpickle_gets_any(read):
    assert read("numpy\n", recorded={}).requirements == ("numpy", "cloudpickle")


def test_an_empty_file_installs_what_the_pickle_needs_and_no_more(read):
    assert read("").requirements == ("cloudpickle==3.1.2",)


# ------------------------------------------------------------------------------------------------------- no file


def test_without_a_file_the_bundles_record_is_installed_pinned():
    found = dependencies.read(None, RECORDED)
    assert found.requirements == ("cloudpickle==3.1.2", "numpy==2.4.6", "scikit-learn==1.9.1")
    assert found.title == "what the saved model imports"


def test_a_recorded_build_of_another_index_is_asked_for_by_its_plain_version():
    assert dependencies.read(None, {"torch": "2.5.1+cpu"}).requirements == ("torch==2.5.1",)


def test_without_a_file_and_a_record_there_is_nothing_to_go_by():
    with pytest.raises(ConfigError) as raised:
        dependencies.read(None, {})
    assert 'dependency_file = "requirements.txt"' in raised.value.hint


# ------------------------------------------------------------------------------- what an image can't install (yet)


@pytest.mark.parametrize(
    ("line", "what", "cure"),
    [
        ("-r other.txt", "`-r`", "uv pip compile requirements.txt"),
        ("-rother.txt", "`-r`", "uv pip compile requirements.txt"),
        ("--requirement=other.txt", "`--requirement`", "uv pip compile requirements.txt"),
        ("-c constraints.txt", "`-c`", "uv pip compile requirements.txt"),
        ("--constraint constraints.txt", "`--constraint`", "uv pip compile requirements.txt"),
        ("-e .", "`-e`", "build.include"),
        ("-e .[dev]", "`-e`", "build.include"),
        ("--editable ../lib", "`--editable`", "build.include"),
        ("-e git+https://github.com/owner/other#egg=other", "`-e`", "name @ git+https://"),
        ("./lib", "`./lib` is on this machine", "name==1.2.3"),
        ("lib-1.0-py3-none-any.whl", "is on this machine", "name==1.2.3"),
        ("wheels/lib-1.0-py3-none-any.whl", "is on this machine", "name==1.2.3"),
        ("file:///home/me/lib", "is on this machine", "name==1.2.3"),
        ("numpy @ file:///croot/numpy_1/work/dist/numpy.whl", "numpy is a file", "pip list --format=freeze"),
        ("lib @ ./lib", "lib is a file", "name==1.2.3"),
        ("numpy=2.4.6", "conda", "name==1.2.3"),
        ("numpy=2.4.6=py311h5f9d8c6_0", "conda", "name==1.2.3"),
        ("numpy 2.4.6", "not a requirement", "pip freeze"),
        ("numpy==", "not a requirement", "pip freeze"),
        ("--require-hashes", "`--require-hashes`", "take the line out"),
        ("--no-index", "`--no-index`", "public indexes"),
        ("--trusted-host example.com", "`--trusted-host`", "public indexes"),
        ("--use-pep517", "`--use-pep517`", "take it out"),
        ("lib==1.0 --config-settings a=b", "`--config-settings`", "take it out"),
        ("-i https://user:secret@example.com/simple", "credentials", "public indexes"),
        ("--extra-index-url https://${TOKEN}@example.com/simple", "credentials", "public indexes"),
        ("--index-url=https://secret@example.com/simple", "credentials", "public indexes"),
        ("lib @ git+https://${TOKEN}@github.com/owner/lib", "credentials", "public indexes"),
        ("git+https://user:secret@github.com/owner/lib", "credentials", "public indexes"),
        ("--find-links ./wheels", "path on this machine", "public indexes"),
        ("-f /srv/wheels", "path on this machine", "public indexes"),
        ("--extra-index-url file:///srv/pypi/simple", "path on this machine", "public indexes"),
        ("--index-url http://localhost:3141/root/pypi", "this machine", "public indexes"),
        ("--index-url http://127.0.0.1:3141/root/pypi", "this machine", "public indexes"),
        ("${PACKAGE}==1.0", "variable", "name==1.2.3"),
        ("lib @@ https://user:secret@example.com/lib.zip", "***@example.com", "name==1.2.3"),
    ],
)
def test_what_an_image_can_not_install_is_refused_with_its_line_and_a_cure(refusal, tmp_path, line, what, cure):
    error = refusal(f"numpy\n\n{line}\n")
    assert error.message.startswith(f"{tmp_path / 'requirements.txt'}, line 3: ")
    assert what in error.message
    assert cure in error.hint
    assert "secret" not in f"{error}"


def test_all_mistakes_are_told_at_once_each_with_its_line_and_each_cure_once(refusal):
    error = refusal("numpy=1\n# fine\nscipy=1\n-r more.txt\nsix\npandas \\\n  ==\n")
    lines = error.message.splitlines()
    assert [line.rpartition("requirements.txt, ")[2].partition(":")[0] for line in lines] == [
        "line 1",
        "line 3",
        "line 4",
        "line 6",
    ]
    assert len(error.hint.splitlines()) == 3


# ------------------------------------------------------------------------------------------------------ other files


@pytest.mark.parametrize(
    "content",
    [
        "name: iris\ndependencies:\n  - python=3.11\n  - numpy\n",
        "# made by conda\nchannels:\n  - conda-forge\ndependencies: [numpy]\n",
        "---\r\nname: iris\r\ndependencies:\r\n- numpy\r\n",
        'dependencies:\n  - pip:\n    - numpy\nprefix: "/opt/conda"\n',
    ],
)
@pytest.mark.parametrize("name", ["requirements.txt", "environment.yml"])
def test_a_conda_environment_is_known_by_its_content_whatever_its_name(refusal, content, name):
    error = refusal(content, name=name)
    assert "is a conda environment" in error.message
    assert "requirements.txt" in error.hint


@pytest.mark.parametrize(
    "content",
    [
        "# name: iris\n# dependencies:\nnumpy\n",
        "# This file may be used to create an environment using:\n# $ conda create --name <env> --file <it>\nnumpy\n",
        "name==1.0\nchannels\n",
        "dependencies @ https://example.com/dependencies-1.0.zip\n",
    ],
)
def test_a_requirements_file_is_not_taken_for_a_conda_environment(read, content):
    assert read(content).requirements


def test_a_pyproject_is_refused_with_the_command_that_makes_a_requirements_file_of_it(refusal):
    error = refusal('[project]\nname = "iris"\ndependencies = ["numpy"]\n', name="pyproject.toml")
    assert "is not a requirements file" in error.message
    assert error.hint == "uv pip compile pyproject.toml -o requirements.txt"
