"""Dependency files as people have them: each resolves for an image, or is refused with one clear error.

They lie in zoo/, written in the manner of well-known repositories; a file's first line says what is expected of it:
`resolves`, `resolves, and says WORDS` (in a note), `refused: WORDS` (in the error), or, where it takes a host that not
every network lets through, `resolves, or names HOST`.
"""

import re
from pathlib import Path

import pytest

import thampi
from thampi import config
from thampi.errors import BuildError, ConfigError
from thampi.operations import build

pytestmark = pytest.mark.long

ZOO = Path(__file__).resolve().parent / "zoo"
FILES = sorted(path for path in ZOO.rglob("*") if path.is_file() and path.read_text("utf-8").startswith("# expected:"))


class Any(thampi.Model):
    """A model that needs nothing, so that only the file decides."""

    def predict(self, args, context):
        return None


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    thampi.save(Any(), "any", folder, verify=False)
    return folder / "any"


@pytest.fixture
def planned(model, tmp_path):
    """Decide what an image with this dependency file is made of."""

    def plan(file):
        (tmp_path / "thampi.toml").write_text(
            f'name = "zoo"\nmodel_dir = "{model.as_posix()}"\n'
            f'[build]\npython = "3.11"\nplatform = "linux/amd64"\ndependency_file = "{file.as_posix()}"\n'
        )
        return build.plan(config.load(tmp_path / "thampi.toml", "local", flags={}, environ={}), write=False)

    return plan


def test_there_are_dozens():
    assert len(FILES) >= 36


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.relative_to(ZOO).as_posix())
def test_a_file_resolves_or_gets_one_clear_error(file, planned):
    expected = file.read_text("utf-8").splitlines()[0].removeprefix("# expected:").strip()
    outcome, _, words = re.fullmatch("(resolves|refused)(, or names |, and says |: |$)(.*)", expected).groups()
    plan, error = _tried(lambda: planned(file))
    if error is not None:
        assert outcome == "refused" or ", or names " in expected, error
        assert words in str(error), "it names what is wrong"
        assert error.hint, "and the cure"
        assert len(str(error).splitlines()) <= 25, "in words that one can take in"
        return
    assert outcome == "resolves", "it should have been refused"
    if ", and says " in expected:
        assert any(words in note for note in plan.notes), plan.notes
    assert plan.resolved.distributions
    assert "FROM" in plan.model.dockerfile
    for line in plan.resolved.requirements:
        assert re.match(r"[\w.-]+(\[.*\])?(==| @ )", line), "every line names one version"
        assert " @ file:" in line or "--hash=sha256:" in line


def _tried(plan):
    try:
        return plan(), None
    except (BuildError, ConfigError) as error:
        return None, error


def test_a_large_answer_for_gpus_is_not_taken_where_there_is_one_for_cpus(planned):
    """This network may not have torch's own index, and then a find-links folder may have the wheel, or not."""
    plan = planned(ZOO / "segmentation.txt")
    torch = next(each for each in plan.resolved.distributions if each.name == "torch")
    if torch.version.endswith("+cpu"):
        assert not [each.name for each in plan.resolved.distributions if each.name.startswith("nvidia-")]
    else:
        assert any("torch" in note and "MB" in note for note in plan.notes), plan.notes


def test_system_packages_of_the_libraries_are_added_and_told(planned):
    plan = planned(ZOO / "system-packages.txt")
    for package in ("libgomp1", "libgl1", "libglib2.0-0", "libmagic1", "libodbc2", "tesseract-ocr"):
        assert package in plan.model.dockerfile
        assert any(package in note for note in plan.notes)
