"""pyproject.toml: its dependencies, chosen extras, and uv's sources; the project itself is not installed."""

import pytest

from thampi.dependencies.wanted import Local

PROJECT = """
[project]
name = "Iris.Model"
version = "1.0"
dependencies = [
    "numpy>=2,<3",
    "tomli; python_version < '3.11'",
    "thampi",
]
[project.optional-dependencies]
gpu = ["torch==2.5.1"]
web_ui = ["flask"]
all = ["iris-model[gpu,web-ui]", "six"]
"""


@pytest.fixture
def pyproject(read):
    def pyproject_(text=PROJECT, *extras, **environ):
        return read(text, name="pyproject.toml", extras=extras, **environ)

    return pyproject_


@pytest.fixture
def wrong(refusal):
    def wrong_(text=PROJECT, *extras):
        return refusal(text, name="pyproject.toml", extras=extras)

    return wrong_


def test_the_dependencies_are_asked_for_and_the_project_is_not(pyproject):
    found = pyproject()
    assert found.requirements == ("numpy<3,>=2", 'tomli; python_version < "3.11"', "cloudpickle==3.1.2")
    assert found.local == ()
    assert found.title == "pyproject.toml"
    assert found.notes[0].startswith("pyproject.toml: iris-model itself is not installed")
    assert found.notes[1] == "pyproject.toml line 8 left out: the image has its own thampi"


@pytest.mark.parametrize(
    ("extras", "more"),
    [
        (["gpu"], ["torch==2.5.1"]),
        (["web-ui"], ["flask"]),
        (["Web_UI"], ["flask"]),
        (["gpu", "web_ui"], ["torch==2.5.1", "flask"]),
        (["all"], ["torch==2.5.1", "flask", "six"]),
    ],
)
def test_chosen_extras_are_asked_for_also_by_the_projects_own_name(pyproject, extras, more):
    found = pyproject(PROJECT, *extras)
    assert list(found.requirements[2:-1]) == more
    assert found.title == "pyproject.toml" + "".join(f"[{extra}]" for extra in extras)


def test_extras_that_name_each_other_come_to_an_end(pyproject):
    text = '[project]\nname = "x"\n[project.optional-dependencies]\na = ["x[b]"]\nb = ["x[a]", "six"]\n'
    assert pyproject(text, "a").requirements == ("six", "cloudpickle==3.1.2")


def test_an_unknown_extra_is_refused_with_those_that_there_are(wrong, folder):
    error = wrong(PROJECT, "gpus", "gpu", "other")
    assert "there is no extra gpus" in error.message
    assert "there is no extra other" in error.message
    assert "it has: all, gpu, web-ui" in error.hint


def test_a_project_without_extras_says_so(wrong):
    assert "it has none" in wrong('[project]\nname = "x"\n', "gpu").hint


def test_a_project_may_need_nothing(pyproject):
    assert pyproject('[project]\nname = "x"\nversion = "1"\n').requirements == ("cloudpickle==3.1.2",)


def test_every_mistake_is_told_with_its_line(wrong, folder):
    error = wrong(
        '[project]\nname = "x"\ndependencies = [\n  "numpy==",\n  "six",\n  "lib @ file:///nowhere/lib",\n]\n'
    )
    assert [line.partition(": ")[0] for line in error.message.splitlines()] == [
        f"{folder / 'pyproject.toml'}, line 4",
        f"{folder / 'pyproject.toml'}, line 6",
    ]


@pytest.mark.parametrize(
    ("text", "what", "cure"),
    [
        ("[project\n", "is not TOML", "correct that line"),
        ('[project]\nname = "x"\ndynamic = ["dependencies"]\n', "project.dependencies is dynamic", "uv pip compile"),
        (
            '[project]\nname = "x"\ndynamic = ["optional-dependencies"]\n',
            "project.optional-dependencies is dynamic",
            "uv pip compile",
        ),
        ('[tool.poetry.dependencies]\nnumpy = "^2"\n', "under [tool.poetry]", "poetry export"),
        ("[tool.pdm]\nx = 1\n", "under [tool.pdm]", "pdm export"),
        ("[tool.pixi.dependencies]\nnumpy = '*'\n", "under [tool.pixi]", "pixi workspace export"),
        ("[tool.flit.metadata]\nrequires = []\n", "under [tool.flit]", "[project]"),
        ("[build-system]\nrequires = []\n", "has no [project] table", "requirements.txt"),
        ('[project]\nname = "x"\ndependencies = "numpy"\n', "should be a list of texts", "dependencies ="),
        ('[project]\nname = "x"\noptional-dependencies = []\n', "should be a table", "gpu ="),
        ('[project]\nname = "x"\n[project.optional-dependencies]\ngpu = [1]\n', "optional-dependencies.gpu", "gpu"),
    ],
)
def test_a_file_that_says_nothing_of_dependencies_is_refused_with_a_cure(wrong, text, what, cure):
    error = wrong(text)
    assert error.exit_code == 2
    assert what in error.message
    assert cure in error.hint


def test_another_name_of_the_file_is_fine(read):
    assert read(PROJECT, name="model.toml").requirements[0] == "numpy<3,>=2"


# ------------------------------------------------------------------------------------------------------ uv's sources


def sourced(source, dependency="lib[x]>=1", more=""):
    return f'[project]\nname = "demo"\ndependencies = ["{dependency}"]\n{more}[tool.uv.sources]\nlib = {source}\n'


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ('{ git = "https://h.org/o/lib" }', "git+https://h.org/o/lib"),
        ('{ git = "https://h.org/o/lib", rev = "0123" }', "git+https://h.org/o/lib@0123"),
        ('{ git = "https://h.org/o/lib", tag = "v1" }', "git+https://h.org/o/lib@v1"),
        (
            '{ git = "https://h.org/o/lib", branch = "main", subdirectory = "py" }',
            "git+https://h.org/o/lib@main#subdirectory=py",
        ),
        ('{ path = "lib" }', "{folder}/lib"),
        ('{ path = "./lib", editable = true }', "{folder}/lib"),
        ('{ path = "{folder}/lib" }', "{folder}/lib"),
    ],
)
def test_a_folder_or_repository_of_a_source_is_built_here(pyproject, project, folder, source, target):
    project("lib")
    found = pyproject(sourced(source.replace("{folder}", str(folder))))
    assert found.local == (Local("lib[x]>=1", target.replace("{folder}", str(folder)), "lib", ("x",), ""),)


def test_a_url_of_a_source_is_asked_for(pyproject):
    found = pyproject(sourced('{ url = "https://h.org/lib-1.0.tar.gz" }'))
    assert found.requirements[0] == "lib[x] @ https://h.org/lib-1.0.tar.gz"


def test_an_index_of_a_source_is_looked_at_too(pyproject):
    index = '[[tool.uv.index]]\nname = "torch"\nurl = "https://h.org/cpu"\nexplicit = true\n'
    found = pyproject(sourced('{ index = "torch" }', more=index), UV_NO_CONFIG="")
    assert found.requirements[0] == "lib[x]>=1"
    assert found.indexes.extra_index_urls == ("https://h.org/cpu",)
    assert found.indexes.written == ("https://h.org/cpu",)


def test_an_explicit_index_that_nobody_asks_for_is_not_looked_at(pyproject):
    index = '[[tool.uv.index]]\nname = "torch"\nurl = "https://h.org/cpu"\nexplicit = true\n'
    found = pyproject(f'[project]\nname = "demo"\ndependencies = ["six"]\n{index}', UV_NO_CONFIG="")
    assert found.indexes.extra_index_urls == ()


def test_each_of_several_sources_has_its_marker(pyproject):
    one = '{ git = "https://h.org/o/lib", marker = "sys_platform == \'linux\'" }'
    other = '{ url = "https://h.org/lib.zip", marker = "sys_platform == \'darwin\'" }'
    found = pyproject(sourced(f"[{one}, {other}]", dependency="lib; python_version > '3'"))
    assert found.local[0].marker == 'python_version > "3" and sys_platform == "linux"'
    assert found.requirements[0] == 'lib @ https://h.org/lib.zip ; python_version > "3" and sys_platform == "darwin"'


def test_a_source_without_a_dependency_means_nothing(pyproject):
    assert pyproject(sourced('{ path = "gone" }', dependency="six")).requirements[0] == "six"


@pytest.mark.parametrize(
    ("source", "what", "cure"),
    [
        ("{ workspace = true }", "a member of the workspace", 'dependency_file = "uv.lock"'),
        ('{ index = "gone" }', "the index gone", "[[tool.uv.index]]"),
        ('{ path = "gone" }', "names a file that is not here", "name==1.2.3"),
        ('"lib"', "is no table", "as uv does"),
        ("{ other = 1 }", "of a kind that thampi does not know", "uv.lock"),
    ],
)
def test_a_source_that_can_not_be_used_is_refused_with_its_line(wrong, folder, source, what, cure):
    error = wrong(sourced(source))
    assert error.message.startswith(f"{folder / 'pyproject.toml'}, line 3: ")
    assert what in error.message
    assert cure in error.hint
