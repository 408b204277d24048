"""What a requirements file comes to: thampi left out, cloudpickle added, options and notes beside the lines."""

import pytest

from tests.dependencies.conftest import RECORDED
from thampi import dependencies
from thampi.dependencies import requirements
from thampi.errors import ConfigError


def test_the_file_is_named_by_its_last_name(read):
    assert read("numpy\n").title == "requirements.txt"


def test_options_that_change_what_is_chosen_are_kept_apart_one_for_each_distribution(read):
    found = read("--pre\n--no-binary numpy,scipy\n--only-binary=:all:\nnumpy\n--pre\n")
    assert found.options == ("--pre", "--no-binary numpy", "--no-binary scipy", "--only-binary :all:")
    assert found.requirements[0] == "numpy"


def test_options_of_pips_configuration_count_as_well(read, tmp_path):
    (tmp_path / "pip.conf").write_text("[install]\npre = true\nno-binary = numpy\n")
    found = read("--only-binary scipy\n", PIP_CONFIG_FILE=str(tmp_path / "pip.conf"))
    assert found.options == ("--pre", "--no-binary numpy", "--only-binary scipy")


def test_constraints_of_pips_configuration_count_as_well(read, tmp_path):
    (tmp_path / "company.txt").write_text("numpy<3\n")
    found = read("numpy\n", PIP_CONSTRAINT=str(tmp_path / "company.txt"))
    assert found.constraints == ("numpy<3",)


def test_a_constraints_file_of_pips_configuration_that_is_gone_is_refused(refusal):
    error = refusal("numpy\n", PIP_CONSTRAINT="/nowhere/company.txt")
    assert "pip's configuration" in error.message
    assert "/nowhere/company.txt is not there" in error.message


def test_a_file_that_is_no_text_is_refused(refusal):
    error = refusal(b"\xff\xd8\xff\xe0 a photograph")
    assert "requirements.txt" in error.message
    assert error.hint == "save it as UTF-8 text"


def test_a_missing_file_is_refused_with_both_ways_out(folder, quiet):
    with pytest.raises(ConfigError) as raised:
        dependencies.read(folder / "requirements.txt", RECORDED, environ=quiet, project_dir=folder)
    assert str(folder / "requirements.txt") in raised.value.message
    assert "pip freeze > requirements.txt" in raised.value.hint
    assert "leave `dependency_file` out" in raised.value.hint


def test_a_folder_is_refused(folder, quiet):
    with pytest.raises(ConfigError, match="can't read"):
        dependencies.read(folder, RECORDED, environ=quiet, project_dir=folder)


@pytest.mark.parametrize("name", ["requirements.txt", "environment.yml"])
def test_extras_of_a_file_that_has_none_are_refused(refusal, name):
    error = refusal("dependencies: [numpy]\n", name=name, extras=["gpu"])
    assert f"build.extras is gpu, and {name} has no extras" in error.message
    assert "pyproject.toml" in error.hint


def test_extras_without_a_file_are_refused(folder, quiet):
    with pytest.raises(ConfigError, match="what the model imports has no extras"):
        dependencies.read(None, RECORDED, environ=quiet, project_dir=folder, extras=["gpu"])


def test_a_yaml_file_is_never_taken_for_requirements(refusal):
    assert "requirement" not in refusal("services:\n  web:\n    image: x\n", name="docker-compose.yml").message


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
    found = read(content)
    assert found.manager == "pip"
    assert found.requirements


def test_a_part_of_a_file_has_the_line_numbers_of_the_whole(folder, quiet):
    with pytest.raises(ConfigError, match=r"environment\.yml, line 12: "):
        requirements.read(
            folder / "environment.yml", "six\nnumpy=1\n", {}, environ=quiet, project_dir=folder, line_offset=10
        )


def test_what_has_cloudpickle_from_elsewhere_need_not_ask_for_it(folder, quiet):
    told = {"environ": quiet, "project_dir": folder, "with_cloudpickle": False}
    assert requirements.read(folder / "x", "six\n", RECORDED, **told).requirements == ("six",)


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
    assert found.local == ()
    assert found.notes[0] == "requirements.txt line 2 left out: the image has its own thampi"


@pytest.mark.parametrize("form", ["-e {}", "-e {}[test]", "{}", "--editable {}/", "file://{}"])
def test_a_checkout_of_thampi_is_known_by_its_own_name(read, project, form):
    checkout = project("somewhere", "thampi")
    assert read(form.format(checkout) + "\n").requirements == ("cloudpickle==3.1.2",)


def test_a_checkout_is_found_from_the_folder_of_the_file(read, project):
    project("checkout", "thampi")
    assert read("-e ./checkout\n").requirements == ("cloudpickle==3.1.2",)


def test_another_project_in_a_folder_called_thampi_is_not_thampi(read, project):
    project("thampi", "iris")
    assert [local.name for local in read("-e ./thampi\n").local] == ["iris"]


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


def test_that_note_speaks_of_editable_lines_only(read, project):
    project("lib")
    found = read("# Editable install with no version control (thampi==1.0.0)\n./lib\n")
    assert [local.name for local in found.local] == ["lib"]


def test_that_note_speaks_of_one_line_only(refusal):
    note = "# Editable install with no version control (thampi==1.0.0)\n"
    error = refusal(f"{note}-e /nowhere/a\n-e /nowhere/b\n")
    assert "line 3: `-e /nowhere/b` is not there" in error.message
    assert "line 2" not in error.message


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        ("thampi-extras==1.0", "thampi-extras==1.0"),
        ("thampi_client", "thampi_client"),
        ("thampi.plugins", "thampi.plugins"),
        ("thampix", "thampix"),
        ("thampi-extras @ https://example.com/t.zip", "thampi-extras @ https://example.com/t.zip"),
        (
            "https://example.com/thampi_extras-1.0-py3-none-any.whl",
            "thampi-extras @ https://example.com/thampi_extras-1.0-py3-none-any.whl",
        ),
    ],
)
def test_a_package_whose_name_merely_begins_with_thampi_stays(installed, line, asked):
    assert installed(f"{line}\n") == [asked]


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("git+https://github.com/owner/thampi-extras", None),
        ("git+https://github.com/thampi/other#egg=other", "other"),
        ("-e git+https://github.com/owner/any#egg=thampi-extras", "thampi-extras"),
    ],
)
def test_a_repository_whose_name_merely_begins_with_thampi_stays(read, line, name):
    assert [local.name for local in read(f"{line}\n").local] == [name]


def test_thampi_in_a_constraints_file_constrains_nothing(read, folder):
    (folder / "pins.txt").write_text("thampi==1.0\nnumpy<3\nboto3==1.35.70\n")
    found = read("-c pins.txt\nnumpy\nboto3==1.35.70\n")
    assert found.constraints == ("numpy<3", "boto3==1.35.70")
    assert "boto3==1.35.70" in found.requirements
    assert found.notes == ("cloudpickle==3.1.2 added: the model was saved with it",)


# ------------------------------------------------------------------------------- what only the command line needs


def test_of_a_freeze_what_only_the_command_line_needs_is_left_out_and_said(read):
    found = read("boto3==1.35.70\ndocker==7.1.0\nnumpy==2.4.6\nsix==1.17.0\nthampi==1.0.0\ncloudpickle==3.1.2\n")
    assert found.requirements == ("numpy==2.4.6", "cloudpickle==3.1.2")
    assert found.constraints == ("boto3==1.35.70", "docker==7.1.0", "six==1.17.0")
    assert "boto3, docker, six" in found.notes[1]
    assert "to keep one, write >= instead of ==" in found.notes[1]


def test_hashes_of_what_is_left_out_are_no_part_of_a_constraint(read):
    found = read("boto3==1.35.70 --hash=sha256:aa --hash=sha256:bb\nthampi\n")
    assert found.constraints == ("boto3==1.35.70",)


@pytest.mark.parametrize("line", ["boto3==1.35.70", "boto3==1.35.70 --hash=sha256:aa"])
def test_what_the_model_imports_stays(read, line):
    found = read(f"{line}\nthampi==1.0.0\n", recorded=RECORDED | {"Boto3": "1.35.70"})
    assert found.requirements[0] == line
    assert found.constraints == ()


def test_without_thampi_in_the_file_nothing_is_left_out(read):
    found = read("boto3==1.35.70\ndocker==7.1.0\n")
    assert found.requirements[:2] == ("boto3==1.35.70", "docker==7.1.0")


@pytest.mark.parametrize(
    "line", ["boto3", "boto3>=1.35", "boto3[crt]==1.35.70", "boto3==1.35.*", "boto3==1.35.70; python_version > '3'"]
)
def test_what_a_person_wrote_stays_beside_thampi(read, line):
    found = read(f"{line}\nthampi\n")
    assert found.requirements[0].startswith("boto3")
    assert found.constraints == ()


# ------------------------------------------------------------------------------------------ a freeze of other systems


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("pywin32==306", "Windows"),
        ("pywinpty==2.0.14", "Windows"),
        ("PyObjC-core==10.3", "macOS"),
        ("pyobjc==10.3", "macOS"),
        ("pkg_resources==0.0.0", "Debian"),
    ],
)
def test_what_no_linux_has_is_left_out_and_said(read, line, why):
    found = read(f"numpy\n{line}\n")
    assert found.requirements == ("numpy", "cloudpickle==3.1.2")
    assert found.notes[0].startswith("requirements.txt line 2 left out: ")
    assert why in found.notes[0]


# ----------------------------------------------------------------------------------------------------- cloudpickle


def test_cloudpickle_is_added_in_the_version_that_saved_the_model_and_a_note_says_so(read):
    found = read("numpy\n")
    assert found.requirements == ("numpy", "cloudpickle==3.1.2")
    assert found.notes == ("cloudpickle==3.1.2 added: the model was saved with it",)


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        ("cloudpickle==3.0.0", "cloudpickle==3.0.0"),
        ("CloudPickle", "CloudPickle"),
        ("cloudpickle>=2; python_version > '3'", 'cloudpickle>=2; python_version > "3"'),
    ],
)
def test_cloudpickle_stays_as_it_is_when_the_file_names_it(read, line, asked):
    found = read(f"numpy\n{line}\n")
    assert found.requirements == ("numpy", asked)
    assert found.notes == ()


def test_cloudpickle_from_a_repository_is_cloudpickle(read):
    found = read("cloudpickle @ git+https://github.com/cloudpipe/cloudpickle\n")
    assert found.requirements == ()


def test_a_bundle_that_does_not_say_its_cloudpickle_gets_any(read):
    assert read("numpy\n", recorded={}).requirements == ("numpy", "cloudpickle")


def test_an_empty_file_installs_what_the_pickle_needs_and_no_more(read):
    assert read("").requirements == ("cloudpickle==3.1.2",)


# ------------------------------------------------------------------------------------------------- hashes for all


def test_hashes_for_all_are_checked_before_anything_is_fetched(read, refusal):
    assert read("--require-hashes\nnumpy==2.4.6 --hash=sha256:aa\n").requirements[0].startswith("numpy==2.4.6 --hash")
    error = refusal("--require-hashes\nnumpy==2.4.6 --hash=sha256:aa\nscipy==1.17.1\n./lib-1.0-py3-none-any.whl\n")
    assert "line 3: `scipy==1.17.1` has no hash" in error.message
    assert "line 2" not in error.message
    assert "--generate-hashes" in error.hint


def test_a_url_with_a_hash_in_it_has_one(read):
    assert read("--require-hashes\nlib @ https://example.com/lib.zip#sha256=ab\n").requirements


# ------------------------------------------------------------------------------------------- what can't constrain


@pytest.mark.parametrize("line", ["numpy @ git+https://github.com/numpy/numpy", "-e git+https://h.org/numpy#egg=numpy"])
def test_a_repository_as_a_constraint_is_refused_when_it_would_matter(read, refusal, folder, line):
    (folder / "pins.txt").write_text(f"{line}\n")
    assert read("-c pins.txt\nscipy\n").constraints == ()
    assert "pins.txt, line 1" in refusal("-c pins.txt\nnumpy\n").message


def test_a_constraint_without_a_name_is_refused(refusal, folder):
    (folder / "pins.txt").write_text("https://example.com/archive.zip\n")
    assert "can't be a constraint" in refusal("-c pins.txt\nnumpy\n").message
