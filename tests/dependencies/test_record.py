"""Without a dependency file the image has what the bundle recorded."""

import pytest

from tests.dependencies.conftest import RECORDED
from thampi import dependencies
from thampi.errors import ConfigError


@pytest.fixture
def recorded(folder, quiet):
    def recorded_(distributions, **environ):
        return dependencies.read(None, distributions, environ=quiet | environ, project_dir=folder)

    return recorded_


def test_without_a_file_the_bundles_record_is_installed_pinned(recorded):
    found = recorded(RECORDED)
    assert found.requirements == ("cloudpickle==3.1.2", "numpy==2.4.6", "scikit-learn==1.9.1")
    assert found.title == "what the saved model imports"
    assert found.notes == ()


def test_what_the_command_line_needs_is_asked_for_when_the_model_imports_it(recorded):
    assert "boto3==1.35.70" in recorded(RECORDED | {"boto3": "1.35.70"}).requirements


def test_thampi_is_not_asked_for(recorded):
    assert recorded({"thampi": "1.0", "cloudpickle": "3.1.2"}).requirements == ("cloudpickle==3.1.2",)


def test_cloudpickle_is_added_when_the_record_has_none(recorded):
    assert recorded({"numpy": "2.4.6"}).requirements == ("numpy==2.4.6", "cloudpickle")


def test_a_recorded_build_of_another_index_is_asked_for_by_its_plain_version(recorded):
    assert recorded({"torch": "2.5.1+cpu"}).requirements[0] == "torch==2.5.1"


def test_it_is_looked_for_where_pip_is_told_to_look(recorded):
    found = recorded(RECORDED, PIP_INDEX_URL="https://mirror.example.com/simple")
    assert found.indexes.index_url == "https://mirror.example.com/simple"


def test_without_a_file_and_a_record_there_is_nothing_to_go_by(recorded):
    with pytest.raises(ConfigError) as raised:
        recorded({})
    assert 'dependency_file = "requirements.txt"' in raised.value.hint
