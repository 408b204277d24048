"""What goes into an image, as one value: the digest that names it, the Dockerfile, the files of its context.

The Dockerfiles of tests/recipe/ are what is rendered, word for word; when one changes on purpose, change it there.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from thampi import recipe, shipped
from thampi.errors import ConfigError
from thampi.recipe import Recipe
from thampi.resolution.resolved import Resolved
from thampi.version import __version__

GOLDEN = Path(__file__).parent / "recipe"
REPO = Path(__file__).resolve().parents[1]

# Instructions and mounts of the Dockerfile frontend that Docker 20.10 has built in.
INSTRUCTIONS = {"ARG", "FROM", "RUN", "COPY", "ENV", "WORKDIR", "EXPOSE", "ENTRYPOINT"}
FLAGS = {"COPY": {"--from", "--chmod"}, "RUN": {"--mount"}, "FROM": set()}
MOUNTS = {"bind", "cache", "secret"}


def make_base(python="3.11", platform="linux/amd64", base_image=None):
    return recipe.make_base(python, platform, base_image)


def make(
    project, requirements=("numpy==2.4.6",), apt=(), include=(), title="requirements.txt", base=None, model=None, **more
):
    resolved = Resolved(tuple(requirements), **more)
    given = {"title": title, "apt": apt, "include": include, "project_dir": project, "model": model}
    return recipe.make(base or make_base(), resolved, **given)


@pytest.fixture
def project(tmp_path):
    """A project with a package, a module and all that must not get into an image."""
    for name, content in {
        "features/__init__.py": "",
        "features/text.py": "WORDS = 1\n",
        "features/deep/words.txt": "spam\n",
        "features/__pycache__/text.cpython-311.pyc": "bytecode",
        "scoring.py": "THRESHOLD = 1\n",
        "train.py": "",
        ".env": "SECRET=1\n",
        ".git/config": "[core]\n",
        "models/iris/thampi.json": "{}",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return tmp_path


# --------------------------------------------------------------------------------------------------------- digest

_TELL = """
import sys
from pathlib import Path
from thampi import recipe
from thampi.resolution.resolved import Resolved
base = recipe.make_base("3.11", "linux/amd64")
resolved = Resolved(("numpy==2.4.6",))
print(base.digest)
project = Path(sys.argv[1])
print(recipe.make(base, resolved, title="x", apt=["git"], include=["features"], project_dir=project).digest)
"""


def test_the_same_inputs_have_the_same_digest_in_every_process(project):
    told = {
        subprocess.run(
            [sys.executable, "-c", _TELL, str(project)],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(told) == 1
    assert all(re.fullmatch("[0-9a-f]{16}", digest) for digest in told.pop().split())


@pytest.mark.parametrize(
    "change",
    [
        {"requirements": ("numpy==2.4.5",)},
        {"requirements": ("numpy==2.4.6", "scipy")},
        {"requirements": ("numpy==2.4.6  # from sha256:0",)},
        {"apt": ("libgomp1",)},
        {"include": ("scoring.py",)},
        {"base": make_base(python="3.12")},
        {"base": make_base(platform="linux/arm64")},
        {"base": make_base(base_image="python:3.11-slim")},
    ],
    ids=str,
)
def test_each_input_changes_the_digest(project, change):
    assert make(project, **change).digest != make(project).digest


def test_each_input_of_the_base_changes_its_digest():
    bases = [make_base(), make_base(python="3.12"), make_base(platform="linux/arm64"), make_base(base_image="x:1")]
    assert len({base.digest for base in bases}) == 4


def test_the_content_and_the_name_of_an_included_file_change_the_digest(project):
    before = make(project, include=["scoring.py"]).digest
    (project / "scoring.py").write_text("THRESHOLD = 2\n")
    after = make(project, include=["scoring.py"]).digest
    (project / "scoring.py").rename(project / "scores.py")
    renamed = make(project, include=["scores.py"]).digest
    assert len({before, after, renamed}) == 3


def test_the_names_files_and_arguments_of_a_recipe_can_not_be_mistaken_for_each_other():
    recipes = [
        Recipe("FROM x\n", "linux/amd64", {"a": b"b"}),
        Recipe("FROM x\n", "linux/amd64", {"b": b"a"}),
        Recipe("FROM x\n", "linux/amd64", {}, {"a": "b"}),
        Recipe("FROM x\n", "linux/amd64", {"a": b"", "b": b""}),
        Recipe("FROM x\nRUN y\n", "linux/amd64", {"a": b"b"}),
        Recipe("FROM x\n", "linux/arm64", {"a": b"b"}),
    ]
    assert len({each.digest for each in recipes}) == len(recipes)


@pytest.mark.parametrize("ours", ["handler/app.py", "images/install.sh", "images/entrypoint.sh", "Dockerfile.base"])
def test_a_change_of_our_own_files_changes_the_digest(project, tmp_path_factory, ours):
    """Tried on a copy of the package, laid out as a wheel does it."""
    home = tmp_path_factory.mktemp("installed")
    leave = shutil.ignore_patterns("__pycache__", "shipped")
    shutil.copytree(REPO / "thampi", home / "thampi", ignore=leave)
    for name in ("handler", "images"):
        shutil.copytree(REPO / name, home / "thampi/shipped" / name, ignore=leave)
    shutil.copy(REPO / "Dockerfile.base", home / "thampi/shipped/Dockerfile.base")

    def digest():
        words = [sys.executable, "-c", _TELL, str(project)]
        environ = os.environ | {"PYTHONPATH": str(home)}
        return subprocess.run(words, env=environ, cwd=home, capture_output=True, text=True, check=True).stdout

    before = digest()
    with (home / "thampi/shipped" / ours).open("a") as file:
        file.write("RUN true\n" if ours == "Dockerfile.base" else "# changed\n")
    assert digest().split()[1] != before.split()[1]


def test_our_own_version_is_part_of_the_base():
    assert any(__version__.encode() in content for content in make_base().files.values())


def test_the_name_of_the_dependency_file_is_shown_and_decides_nothing(project):
    one, other = make(project, title="requirements.txt"), make(project, title="what the saved model imports")
    assert "from requirements.txt" in one.dockerfile
    assert "from what the saved model imports" in other.dockerfile
    assert one.digest == other.digest


def test_the_bundle_is_no_part_of_a_recipe(project):
    """Two models with the same requirements are one image: nothing of a bundle is even an argument."""
    before = make(project).digest
    (project / "models/iris/thampi.json").write_text('{"instance_id": "another", "modules": ["sklearn"]}')
    assert make(project).digest == before


def test_a_model_that_is_baked_in_decides_by_its_manifest_and_lies_where_it_was_saved(project):
    (project / "models/iris/model.pkl").write_bytes(b"large")
    files = {"thampi.json": b"{}", "model.pkl": project / "models/iris/model.pkl"}
    made = make(project, model=files, shipped={"mine-1.0-py3-none-any.whl": b"one"})
    assert made.files["model/thampi.json"] == b"{}"
    assert made.carried["model/model.pkl"] == project / "models/iris/model.pkl"
    assert made.carried["dependencies/wheels/mine-1.0-py3-none-any.whl"] == b"one"
    assert made.digest == make(project, model=files).digest != make(project).digest
    assert make(project, model={**files, "thampi.json": b"{ }"}).digest != made.digest


@pytest.mark.parametrize("manager", ["pip", "conda"])
def test_a_model_that_is_baked_in_is_the_last_layer(project, manager):
    """Whatever else changes, no other layer is made anew for another model; without one the lines are the same."""
    packages = ("https://channel/linux-64/python-3.11.2-0.conda#abc",) if manager == "conda" else ()
    with_all = {"packages": packages, "apt": ("git",), "include": ("features",)}
    without, with_model = (make(project, **with_all, model=model).dockerfile for model in ({}, {"thampi.json": b"{}"}))
    assert with_model == without + "COPY model/ /opt/model/\n"


def test_a_recipe_stays_what_it_is_when_a_file_changes_after_it_was_made(project):
    made = make(project, include=["scoring.py"])
    (project / "scoring.py").write_text("THRESHOLD = 2\n")
    assert made.files["project/scoring.py"] == b"THRESHOLD = 1\n"
    assert made.digest != make(project, include=["scoring.py"]).digest


def test_the_image_is_named_by_the_recipe():
    base = make_base()
    assert recipe.reference(recipe.BASE, base) == f"thampi-base:{base.digest}"


# ----------------------------------------------------------------------------------------------------- Dockerfile


@pytest.mark.parametrize(
    ("golden", "given"),
    [
        ("plain.Dockerfile", {}),
        ("apt.Dockerfile", {"apt": ("libgomp1", "git")}),
        ("include.Dockerfile", {"include": ("features/", "scoring.py")}),
        ("all.Dockerfile", {"apt": ("libgomp1",), "include": ("scoring.py",), "title": "what the saved model imports"}),
    ],
)
def test_the_dockerfile_is_the_one_that_was_approved(project, golden, given):
    base = make_base()
    rendered = make(project, base=base, **given).dockerfile
    shown = rendered.replace(base.digest, "BASE").replace(__version__, "VERSION")
    assert shown == (GOLDEN / golden).read_text()


def _instructions(dockerfile):
    joined = re.sub(r"\\\n", " ", re.sub(r"(?m)^\s*#.*\n", "", dockerfile))
    return [line.strip() for line in joined.splitlines() if line.strip()]


@pytest.fixture(params=["base", "model"])
def dockerfile(request, project):
    if request.param == "base":
        return make_base().dockerfile
    return make(project, apt=("git",), include=("features",), model={"thampi.json": b"{}"}).dockerfile


def test_no_syntax_line_asks_a_registry_for_a_frontend(dockerfile):
    assert not re.search(r"(?im)^\s*#\s*(syntax|escape|check)\s*=", dockerfile)


def test_the_grammar_is_that_of_docker_20_10(dockerfile):
    for line in _instructions(dockerfile):
        instruction, _, rest = line.partition(" ")
        assert instruction in INSTRUCTIONS
        flags = re.findall(r"(?:^|(?<=\s))(--[\w-]+)=?", rest) if instruction != "RUN" else re.findall(r"--mount", rest)
        assert set(flags) <= FLAGS.get(instruction, set()), line
        assert "<<" not in line  # no heredocs
        for mount in re.findall(r"--mount=(\S+)", rest):
            options = dict(option.partition("=")[::2] for option in mount.split(","))
            assert options["type"] in MOUNTS
            assert "env" not in options  # secrets as variables came later


def test_the_entrypoint_is_absolute_and_no_shell():
    """Lambda starts it itself: https://docs.aws.amazon.com/lambda/latest/dg/images-create.html."""
    lines = [line for line in _instructions(make_base().dockerfile) if line.startswith("ENTRYPOINT")]
    assert lines == ['ENTRYPOINT ["/opt/thampi/bin/entrypoint"]']


def test_nothing_secret_gets_into_the_environment_or_an_argument(dockerfile):
    for line in _instructions(dockerfile):
        if line.startswith(("ENV", "ARG")):
            assert not re.search(r"(?i)token|secret|password|key|cert|index|proxy|\bca\b", line)


@pytest.mark.parametrize("secret", ["ca", "netrc", "indexes", "pip"])
def test_what_is_secret_is_only_ever_a_file_of_one_step(dockerfile, secret):
    for line in _instructions(dockerfile):
        if f"/run/secrets/{secret}" in line:
            assert line.startswith("RUN ")
            assert f"--mount=type=secret,id={secret}," in line


def test_who_we_are_reaches_the_step_that_installs(project):
    [install] = [line for line in _instructions(make(project).dockerfile) if "install.sh" in line]
    assert all(f"type=secret,id={secret}," in install for secret in ("ca", "netrc", "indexes"))


# -------------------------------------------------------------------------------------------------------- context


def test_the_context_holds_exactly_what_the_recipe_names(project):
    assert sorted(make(project, include=["features", "scoring.py"]).files) == [
        "dependencies/requirements.txt",
        "project/features/__init__.py",
        "project/features/deep/words.txt",
        "project/features/text.py",
        "project/scoring.py",
        "tools/bytecode.py",
        "tools/install.sh",
        "tools/trim.py",
        "tools/uv.txt",
    ]


def test_every_file_that_a_dockerfile_copies_or_mounts_is_in_the_context(project):
    for made in (make_base(), make(project, include=["features"], model={"thampi.json": b"{}"})):
        names = set(made.files) | {parent for name in made.files for parent in map(str, Path(name).parents)}
        for line in _instructions(made.dockerfile):
            if line.startswith("COPY ") and "--from" not in line:
                sources = [word for word in line.split()[1:-1] if not word.startswith("--")]
                assert {source.rstrip("/") for source in sources} <= names
            for mount in re.findall(r"--mount=type=bind,(\S+)", line):
                options = dict(option.partition("=")[::2] for option in mount.split(","))
                assert "from" in options or options["source"] in names


def test_the_requirements_are_installed_in_the_order_in_which_they_are_written(project):
    made = make(project, requirements=("--no-binary b", "b==1", "a==2"))
    assert made.files["dependencies/requirements.txt"] == b"--no-binary b\nb==1\na==2\n"


def test_what_is_shipped_is_in_the_context_and_decides_nothing_itself(project, tmp_path):
    """A colleague's wheel of the same sources may have other bytes: its sources stand among the requirements."""
    (tmp_path / "lies-there.whl").write_bytes(b"large")
    shipped_here = {"mine-1.0-py3-none-any.whl": b"one", "torch-2.0-x.whl": tmp_path / "lies-there.whl"}
    made = make(project, shipped=shipped_here)
    assert made.carried == {f"dependencies/wheels/{name}": content for name, content in shipped_here.items()}
    assert made.digest == make(project).digest == make(project, shipped={"mine-1.0-py3-none-any.whl": b"two"}).digest
    assert "two" not in repr(make(project, shipped={"mine-1.0-py3-none-any.whl": b"two"}))


def test_packages_of_conda_are_a_recipe_of_their_own(project):
    packages = ("https://channel/linux-64/python-3.11.2-0.conda#abc", "mine-1.0-0.conda#def")
    made = make(project, packages=packages, shipped={"mine-1.0-0.conda": b"conda"})
    assert made.files["dependencies/conda.txt"].decode().splitlines() == list(packages)
    assert made.carried == {"dependencies/packages/mine-1.0-0.conda": b"conda"}
    assert made.digest != make(project, packages=packages[:1]).digest != make(project).digest
    assert "conda.sh" in made.dockerfile


def test_a_single_file_is_included_under_its_path_in_the_project(project):
    made = make(project, include=["features/text.py"])
    assert [name for name in made.files if name.startswith("project/")] == ["project/features/text.py"]


def test_a_folder_is_included_without_its_bytecode(project):
    found = [name for name in make(project, include=["features"]).files if name.startswith("project/")]
    assert found == ["project/features/__init__.py", "project/features/deep/words.txt", "project/features/text.py"]


def test_a_folder_above_the_project_may_be_called_anything(tmp_path):
    project = tmp_path / "__pycache__"
    (project / "features").mkdir(parents=True)
    (project / "features/text.py").touch()
    assert "project/features/text.py" in make(project, include=["features"]).files


def test_what_is_named_twice_is_included_once(project):
    once, twice = make(project, include=["features"]), make(project, include=["features/text.py", "features"])
    assert sorted(once.files) == sorted(twice.files)


def test_an_empty_folder_adds_nothing(project):
    (project / "empty").mkdir()
    assert make(project, include=["empty"]).digest == make(project).digest


def test_a_path_that_is_not_there_is_refused_by_its_name(project):
    with pytest.raises(ConfigError) as raised:
        make(project, include=["features", "fetures/"])
    assert "build.include names fetures/" in raised.value.message
    assert str(project) in raised.value.message


def test_all_that_is_shipped_beside_the_package_is_found():
    home = shipped.folder()
    assert (home / "Dockerfile.base").is_file()
    assert (home / "handler/app.py").is_file()
    assert (home / "images/install.sh").is_file()
