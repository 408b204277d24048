"""One requirement in every form that people and `pip freeze` write."""

import pytest

from tests.dependencies.conftest import RECORDED
from thampi.dependencies.wanted import Credentials, Local


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        ("numpy", "numpy"),
        ("numpy==2.*", "numpy==2.*"),
        ("numpy >= 2.0, < 3", "numpy<3,>=2.0"),
        ("numpy (>=2.0)", "numpy>=2.0"),
        ("numpy~=2.4", "numpy~=2.4"),
        ("numpy===2.4.6", "numpy===2.4.6"),
        ("uvicorn[standard]==0.30", "uvicorn[standard]==0.30"),
        ("dask[dataframe, array]", "dask[array,dataframe]"),
        ('pywin32==306; sys_platform == "win32"', 'pywin32==306; sys_platform == "win32"'),
        ("tomli==2.0 ; python_version < '3.11'", 'tomli==2.0; python_version < "3.11"'),
        ("six==1.17.0 --hash=sha256:4721f3 --hash sha256:aa", "six==1.17.0 --hash=sha256:4721f3 --hash=sha256:aa"),
        (
            "name @ https://example.com/name-1.0-py3-none-any.whl",
            "name @ https://example.com/name-1.0-py3-none-any.whl",
        ),
        ("name@https://example.com/name-1.0-py3-none-any.whl", "name @ https://example.com/name-1.0-py3-none-any.whl"),
        ("https://example.com/my_lib-1.0-py3-none-any.whl", "my-lib @ https://example.com/my_lib-1.0-py3-none-any.whl"),
        ("https://example.com/lib-1.0.tar.gz#sha256=ab", "lib @ https://example.com/lib-1.0.tar.gz#sha256=ab"),
        (
            "https://example.com/v1.zip#egg=lib[x]&subdirectory=py",
            "lib[x] @ https://example.com/v1.zip#subdirectory=py",
        ),
        ("https://example.com/v1.zip", "https://example.com/v1.zip"),
        (
            "lib[x] @ https://example.com/lib.zip ; python_version > '3'",
            'lib[x] @ https://example.com/lib.zip ; python_version > "3"',
        ),
    ],
)
def test_what_an_index_or_a_url_has_is_asked_for_in_one_spelling(read, line, asked):
    found = read(f"{line}\n")
    assert found.requirements == (asked, "cloudpickle==3.1.2")
    assert found.local == ()


# ------------------------------------------------------------------------------------------------------ repositories


@pytest.mark.parametrize(
    ("line", "target", "name", "extras"),
    [
        ("name @ git+https://github.com/owner/name@v1.0", "git+https://github.com/owner/name@v1.0", "name", ()),
        ("name[x] @ git+https://github.com/o/name.git", "git+https://github.com/o/name.git", "name", ("x",)),
        ("name @ git+ssh://git@github.com/owner/name.git", "git+ssh://git@github.com/owner/name.git", "name", ()),
        (
            "git+https://github.com/owner/name.git@v1.0#egg=My_Name",
            "git+https://github.com/owner/name.git@v1.0",
            "my-name",
            (),
        ),
        ("git+https://github.com/owner/name.git@v1.0", "git+https://github.com/owner/name.git@v1.0", None, ()),
        (
            "-e git+https://github.com/owner/name@0123#egg=name[a,b]",
            "git+https://github.com/owner/name@0123",
            "name",
            ("a", "b"),
        ),
        (
            "--editable=git+https://h.org/o/n@1#egg=n&subdirectory=py",
            "git+https://h.org/o/n@1#subdirectory=py",
            "n",
            (),
        ),
        ("-e git+file:///srv/name.git@main#egg=name", "git+file:///srv/name.git@main", "name", ()),
    ],
)
def test_a_git_repository_is_made_into_a_wheel_here(read, line, target, name, extras):
    found = read(f"{line}\n")
    assert found.local == (Local(line, target, name, extras, ""),)
    assert found.requirements == ("cloudpickle==3.1.2",)


def test_a_marker_stays_with_a_repository(read):
    (local,) = read("lib @ git+https://github.com/o/lib ; python_version < '3.12'\n").local
    assert local.marker == 'python_version < "3.12"'


@pytest.mark.parametrize("system", ["hg", "svn", "bzr"])
@pytest.mark.parametrize("form", ["lib @ {}+https://example.com/lib", "-e {}+https://example.com/lib#egg=lib"])
def test_a_repository_of_another_system_is_refused_with_what_works(refusal, system, form):
    error = refusal(form.format(system) + "\n")
    assert f"is a repository of {system}" in error.message
    assert "git+https://" in error.hint


# --------------------------------------------------------------------------------------------------- on this machine


@pytest.mark.parametrize(
    ("line", "extras", "marker"),
    [
        ("./lib", (), ""),
        ("./lib/", (), ""),
        ("lib/", (), ""),
        ("-e ./lib", (), ""),
        ("-e lib", (), ""),
        ("--editable ./lib[web,gpu]", ("web", "gpu"), ""),
        ('-e "{folder}/lib"', (), ""),
        ("-e './lib[web]'", ("web",), ""),
        ("./lib[web]", ("web",), ""),
        ("./lib ; python_version > '3'", (), 'python_version > "3"'),
        ("file:lib", (), ""),
        ("lib @ ./lib", (), ""),
        ("lib[web] @ file:///{folder}/lib", ("web",), ""),
        ("file://{folder}/lib", (), ""),
        ("{folder}/lib", (), ""),
    ],
)
def test_a_projects_folder_is_built_here(read, project, folder, line, extras, marker):
    project("lib", "My.Lib")
    line = line.format(folder=folder)
    (local,) = read(f"{line}\n").local
    assert local.target == str(folder / "lib")
    assert local.name == ("lib" if " @ " in line else "my-lib")
    assert (local.extras, local.marker, local.line) == (extras, marker, line)


def test_the_project_itself_can_be_asked_for(read, project, folder):
    project(".", "iris")
    (local,) = read("-e .\n").local
    assert (local.target, local.name) == (str(folder), "iris")


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("my_lib-1.0-py3-none-any.whl", "my-lib"),
        ("my_lib-1.0.tar.gz", "my-lib"),
        ("my_lib-1.0.zip", "my-lib"),
        ("main.zip", None),
    ],
)
@pytest.mark.parametrize("form", ["{}", "./{}", "wheels/../{}", "file:{}"])
def test_a_wheel_or_sdist_is_shipped(read, folder, file, name, form):
    (folder / "wheels").mkdir()
    (folder / file).write_bytes(b"")
    (local,) = read(form.format(file) + "\n").local
    assert (local.target, local.name) == (str(folder / file), name)


WHEEL = "lib-1.0-py3-none-any.whl"
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # the sha256 of nothing


@pytest.mark.parametrize(
    "line",
    [
        f"./{WHEEL} --hash=sha256:{EMPTY}",
        f"./{WHEEL} --hash=sha256:{EMPTY.upper()} --hash=sha256:ab",
        f"file:{WHEEL}#sha256={EMPTY}",
        f"lib @ file:///{{folder}}/{WHEEL}#sha256={EMPTY}",
    ],
)
def test_the_hash_of_a_file_is_checked_while_it_is_here(read, refusal, folder, line):
    (folder / WHEEL).write_bytes(b"")
    line = line.format(folder=folder)
    assert len(read(f"--require-hashes\n{line}\n", recorded={"cloudpickle": "1"}).local) == 1
    (folder / WHEEL).write_bytes(b"changed")
    assert "has another hash" in refusal(f"{line}\n").message


def test_a_folder_has_no_hash(refusal, project):
    project("lib")
    assert "no hash" in refusal(f"./lib --hash=sha256:{EMPTY}\n").message


def test_an_unknown_kind_of_hash_is_another_hash(refusal, folder):
    (folder / WHEEL).write_bytes(b"")
    assert "another hash" in refusal(f"./{WHEEL} --hash=crc32:00\n").message


def test_a_path_in_a_nested_file_is_meant_from_there_or_from_the_project(read, project, folder):
    project("deep/inner", "inner")
    project("outer", "outer")
    (folder / "deep/more.txt").write_text("./inner\n./outer\n")
    targets = [local.target for local in read("-r deep/more.txt\n").local]
    assert targets == [str(folder / "deep/inner"), str(folder / "outer")]


def test_a_path_with_a_space_or_percent_is_found(read, project, folder):
    project("my lib", "lib")
    assert [local.target for local in read(f"./my lib\nlib @ file://{folder}/my%20lib\n").local] == [
        str(folder / "my lib")
    ] * 2


@pytest.mark.parametrize(
    ("line", "what", "cure"),
    [
        ("./gone", "`./gone` is not there", "correct the path"),
        ("-e ./gone", "`-e ./gone` is not there", "correct the path"),
        ("gone-1.0-py3-none-any.whl", "is not there", "correct the path"),
        ("/nowhere/gone.tar.gz", "is not there", "correct the path"),
        (r"C:\work\gone", "is not there", "correct the path"),
        (
            "gone @ file:///nowhere/gone",
            "`gone @ file:///nowhere/gone` names a file that is not here",
            "pip list --format=freeze",
        ),
        ("numpy @ ./numpy", "`numpy @ ./numpy` names a file that is not here", "name==1.2.3"),
        ("./empty", "folder without a project", "pyproject.toml"),
        ("-e .", "folder without a project", "build.include"),
        ("./notes.txt", "no wheel and no sdist", ".whl"),
        ("./lib.whl", "not named as a wheel", "name-1.0-py3-none-any.whl"),
    ],
)
def test_what_is_not_there_or_is_no_project_is_refused_with_its_line(refusal, folder, line, what, cure):
    (folder / "empty").mkdir()
    (folder / "notes.txt").write_text("")
    (folder / "lib.whl").write_text("")
    error = refusal(f"numpy\n\n{line}\n")
    assert error.message.startswith(f"{folder / 'requirements.txt'}, line 3: ")
    assert what in error.message
    assert cure in error.hint


def test_an_editable_folder_that_is_gone_is_called_by_the_name_that_pip_freeze_noted(refusal):
    error = refusal("# Editable install with no version control (my-lib==1.0)\n-e /nowhere/folder\n")
    assert "(my-lib) is not there" in error.message
    assert "line 2" in error.message


# ----------------------------------------------------------------------------------- pip freeze of a conda environment


@pytest.mark.parametrize(
    "path",
    [
        "/croot/numpy_and_numpy_base_1704311704800/work/dist/numpy-1.26.3-cp311-cp311-linux_x86_64.whl#sha256=ab",
        "/home/conda/feedstock_root/build_artifacts/numpy_1/work",
        "/nowhere/numpy",
    ],
)
def test_a_file_that_is_gone_is_asked_for_in_the_version_that_the_model_imports(read, path):
    found = read(f"numpy @ file://{path}\n")
    assert found.requirements[0] == "numpy==2.4.6"
    assert found.notes[0] == "instead of files that are not here, an index is asked for numpy==2.4.6"


def test_the_extras_and_marker_stay_when_the_file_is_gone(read):
    found = read("numpy[x] @ file:///nowhere ; python_version > '3'\n", recorded=RECORDED | {"numpy": "2.1+local"})
    assert found.requirements[0] == 'numpy[x]==2.1 ; python_version > "3"'


def test_a_wheel_of_condas_own_build_says_its_version_itself(read):
    found = read("attrs @ file:///croot/attrs_17/work/dist/attrs-23.1.0-py3-none-any.whl#sha256=ab\n")
    assert found.requirements[0] == "attrs==23.1.0"


@pytest.mark.parametrize(
    "path",
    [
        "/croot/attrs_1695717823297/work",
        "/work/perseverance-python-buildout/croot/attrs_1728385099292/work",
        "/tmp/build/80754af9/attrs_1630003229654/work",
        "/tmp/abs_ecyw11_7ze/croots/recipe/attrs-split_1659616059936/work",
        "/home/conda/feedstock_root/build_artifacts/attrs_1671487769961/work/attrs",
        "/Users/runner/miniforge3/conda-bld/attrs_1/work",
        "/C:/b/abs_1/croot/attrs_1/work",
    ],
)
def test_a_conda_package_whose_version_nobody_says_is_asked_for_in_any_and_that_is_said(read, path):
    found = read(f"attrs @ file://{path}\n")
    assert found.requirements[0] == "attrs"
    assert found.notes[0].startswith("conda built attrs, and the file does not say in which version")
    assert "pip list --format=freeze" in found.notes[0]


def test_of_a_hundred_such_files_one_note_is_made(read):
    names = [f"lib{number}" for number in range(100)]
    found = read("".join(f"{name} @ file:///croot/{name}_1/work\n" for name in names))
    assert found.requirements[:-1] == tuple(names)
    assert len(found.notes) == 2  # with that of cloudpickle


@pytest.mark.parametrize(
    "line",
    [
        "attrs @ file:///nowhere/attrs",
        "mine @ file:///home/me/dist/mine-1.0-py3-none-any.whl",  # somebody else's `mine` may be on PyPI
        "numpy @ ./dist/numpy-2.4.6-py3-none-any.whl",
    ],
)
def test_a_file_that_is_gone_and_says_no_version_is_refused_with_the_command_that_does(refusal, line):
    error = refusal(f"{line}\n")
    assert "names a file that is not here" in error.message
    assert "pip list --format=freeze > requirements.txt" in error.hint


# ------------------------------------------------------------------------------------------------------- credentials


@pytest.mark.parametrize(
    ("line", "host", "user", "password"),
    [
        ("lib @ https://ann:p%40ss@example.com/lib-1.0-py3-none-any.whl", "example.com", "ann", "p@ss"),
        ("lib @ git+https://t0ken@github.com/owner/lib@v1", "github.com", "t0ken", ""),
        ("git+https://ann:p%40ss@example.com:8443/owner/lib@v1#egg=lib", "example.com", "ann", "p@ss"),
        ("-e git+https://ann:${TOKEN}@example.com/owner/lib@v1#egg=lib", "example.com", "ann", "p@ss"),
    ],
)
def test_who_we_are_is_taken_out_of_a_url(read, line, host, user, password):
    found = read(f"{line}\n", TOKEN="p%40ss")
    assert found.indexes.credentials == {host: Credentials(user, password)}
    shown = f"{found}"
    assert "p%40ss" not in shown
    assert "p@ss" not in shown
    assert "t0ken" not in shown.replace("user='t0ken'", "")
    assert "@v1" in shown or "lib-1.0" in shown


def test_two_users_at_one_host_are_refused_without_saying_them(refusal):
    error = refusal(
        "a @ https://ann:one@example.com/a-1-py3-none-any.whl\nb @ https://bob:two@example.com/b-1-py3-none-any.whl\n"
    )
    assert error.message.startswith("example.com: two different users")
    assert not any(secret in str(error) for secret in ("ann", "bob", "one@", "two@"))


@pytest.mark.parametrize("variable", ["TOKEN", "MY_API_KEY", "PASSWORD", "CI_SECRET_2"])
def test_a_secret_in_the_path_of_a_url_is_refused_as_it_would_stand_in_the_image(refusal, variable):
    error = refusal(f"lib @ https://example.com/${{{variable}}}/lib.zip\n", **{variable: "s3cret"})
    assert "a secret stands in the path or query" in error.message
    assert "${NAME}@host" in error.hint
    assert "s3cret" not in str(error)


@pytest.mark.parametrize(
    "query", ["?token=s3cret", "?a=b&X-Amz-Signature=s3cret", "?private_token=s3cret", "?sig=s3cret"]
)
def test_a_secret_in_the_query_of_a_url_is_refused_too(refusal, query):
    error = refusal(f"lib @ https://example.com/lib.zip{query}\n")
    assert "a secret stands in the path or query" in error.message
    assert "s3cret" not in str(error)


def test_a_version_in_the_path_of_a_url_may_be_a_variable(installed):
    assert installed("lib @ https://example.com/${VERSION}/lib.zip\n", VERSION="v2") == [
        "lib @ https://example.com/v2/lib.zip"
    ]


# ---------------------------------------------------------------------------------------------- what is no requirement


@pytest.mark.parametrize(
    ("line", "what", "cure"),
    [
        ("numpy=2.4.6", "is how conda writes it", "name==1.2.3"),
        ("numpy=2.4.6=py311h5f9d8c6_0", "is how conda writes it", "name==1.2.3"),
        ("numpy 2.4.6", "not a requirement", "pip freeze"),
        ("numpy==", "not a requirement", "pip freeze"),
        ("numpy; python_version <", "is no marker", "; python_version < '3.12'"),
        ("<<<<<<< HEAD", "not a requirement", "pip freeze"),
        ("lib==1.0 --config-settings a=b", "`--config-settings`", "take it out"),
        ("lib==1.0 --global-option=x", "`--global-option`", "take it out"),
        ("lib==1.0 --hash", "`--hash` has no hash", "--hash=sha256:…"),
        ("lib==1.0 --hash=abc", "`--hash` has no hash", "--hash=sha256:…"),
        ("lib @@ https://user:secret@example.com/lib.zip", "***@example.com", "pip freeze"),
        ("lib @ https://", "the URL of lib is not one", "https://host/path"),
        ("./lib ; python_version <", "is no marker", "; python_version < '3.12'"),
        ("https://example.com/v1.zip#egg=-", "an egg= that is no name", "#egg=name"),
        ("git+https:///lib", "the URL is not one", "https://host/path"),
        ("https://user:secret@example.com:port/lib.zip", "the URL is not one", "https://host/path"),
    ],
)
def test_what_is_no_requirement_is_refused_with_its_line_and_a_cure(refusal, folder, line, what, cure):
    error = refusal(f"numpy\n\n{line}\n")
    assert error.message.startswith(f"{folder / 'requirements.txt'}, line 3: ")
    assert what in error.message
    assert cure in error.hint
    assert "secret" not in f"{error}"


def test_all_mistakes_are_told_at_once_each_with_its_line_and_each_cure_once(refusal):
    error = refusal("numpy=1\n# fine\nscipy=1\n-r more.txt\nsix\npandas \\\n  ==\n")
    found = sorted(line.rpartition("requirements.txt, ")[2].partition(":")[0] for line in error.message.splitlines())
    assert found == ["line 1", "line 3", "line 4", "line 6"]
    assert len(error.hint.splitlines()) == 3
