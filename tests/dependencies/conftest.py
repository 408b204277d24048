"""A machine on which nobody configured pip or uv, and the way from the text of a file to what it asks for."""

import os

import pytest

from thampi import dependencies
from thampi.errors import ConfigError

RECORDED = {"cloudpickle": "3.1.2", "numpy": "2.4.6", "scikit-learn": "1.9.1"}


@pytest.fixture
def quiet(tmp_path):
    """Variables of a machine without any configuration of pip's or uv's."""
    home = tmp_path / "home"
    home.mkdir()
    return {"PIP_CONFIG_FILE": os.devnull, "UV_NO_CONFIG": "1", "HOME": str(home), "USERPROFILE": str(home)}


@pytest.fixture
def folder(tmp_path):
    """The project's folder."""
    made = tmp_path / "project"
    made.mkdir()
    return made


@pytest.fixture
def read(folder, quiet):
    """Write a dependency file into the project, and read it."""

    def read_(content, recorded=RECORDED, name="requirements.txt", extras=(), **environ):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return dependencies.read(file, recorded, environ=quiet | environ, project_dir=folder, extras=extras)

    return read_


@pytest.fixture
def installed(read):
    """Return the lines that get installed, without the cloudpickle that is added to all of them."""

    def installed_(content, **more):
        *lines, cloudpickle = read(content, **more).requirements
        assert cloudpickle == "cloudpickle==3.1.2"
        return lines

    return installed_


@pytest.fixture
def refusal(read):
    """Return the error of a file that is refused."""

    def refusal_(content, **more):
        with pytest.raises(ConfigError) as raised:
            read(content, **more)
        return raised.value

    return refusal_


@pytest.fixture
def project(folder):
    """Make a project's folder in the project's folder."""

    def project_(path, name="lib"):
        made = folder / path
        made.mkdir(parents=True, exist_ok=True)
        (made / "pyproject.toml").write_text(f'[project]\nname = "{name}"\nversion = "1.0"\n')
        return made

    return project_
