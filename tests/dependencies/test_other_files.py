"""Files that thampi does not read are answered with the command that makes one that it reads."""

import pytest

from thampi.dependencies import other_files


@pytest.mark.parametrize(
    ("name", "command", "then"),
    [
        ("poetry.lock", "poetry export --output requirements.txt", "requirements.txt"),
        ("Pipfile", "pipenv requirements > requirements.txt", "requirements.txt"),
        ("Pipfile.lock", "pipenv requirements > requirements.txt", "requirements.txt"),
        ("pdm.lock", "pdm export --prod --output requirements.txt", "requirements.txt"),
        ("pylock.toml", "uv export --format requirements.txt", "requirements.txt"),
        ("pylock.prod.toml", "uv export --format requirements.txt", "requirements.txt"),
        ("setup.py", "uv pip compile setup.py", "requirements.txt"),
        ("setup.cfg", "uv pip compile setup.cfg", "requirements.txt"),
        ("pixi.lock", "pixi workspace export conda-environment environment.yml", "environment.yml"),
        ("pixi.toml", "pixi workspace export conda-environment environment.yml", "environment.yml"),
        ("conda-lock.yml", "conda env export --from-history > environment.yml", "environment.yml"),
        ("gpu.conda-lock.yaml", "conda env export --from-history > environment.yml", "environment.yml"),
    ],
)
def test_a_file_of_another_tool_is_refused_with_the_command_that_exports_it(refusal, folder, name, command, then):
    error = refusal("name: x\nchannels: []\n", name=name)
    assert error.exit_code == 2
    assert error.message.startswith(f"{folder / name}: thampi can't read ")
    assert command in error.hint
    assert error.hint.endswith(f'dependency_file = "{then}"')


def test_an_explicit_list_of_condas_is_known_by_its_content(refusal):
    error = refusal("# platform: linux-64\n@EXPLICIT\nhttps://conda.anaconda.org/conda-forge/noarch/x.conda\n")
    assert "conda env export --from-history" in error.hint


@pytest.mark.parametrize("name", ["train.ipynb", "train.py", "package.json", "deno.lock"])
def test_a_file_that_no_tool_of_pythons_wrote_is_refused_with_those_that_are_read(refusal, name):
    assert "requirements.txt, an environment.yml, a pyproject.toml or a uv.lock" in refusal("{}", name=name).hint


@pytest.mark.parametrize(
    "content",
    [
        "name: iris\ndependencies:\n  - python=3.11\n  - numpy\n",
        "# made by conda\nchannels:\n  - conda-forge\ndependencies: [numpy]\n",
        "---\r\nname: iris\r\ndependencies:\r\n- numpy\r\n",
        'dependencies:\n  - pip:\n    - numpy\nprefix: "/opt/conda"\n',
    ],
)
def test_a_conda_environment_is_known_by_its_content(content):
    assert other_files.is_conda(content)


@pytest.mark.parametrize(
    "content", ["# dependencies:\nnumpy\n", "dependencies @ https://example.com/x.zip\n", "name==1"]
)
def test_a_requirements_file_is_none(content):
    assert not other_files.is_conda(content)
