"""thampi freeze writes what the model imports as a requirements.txt, and never over somebody's work."""

import os
import stat

import pytest

import thampi
from tests.dependencies.conftest import quiet  # noqa: F401 - a machine without configuration
from thampi import dependencies
from thampi.config import Build, Stage
from thampi.errors import BundleError, ConfigError
from thampi.operations import freeze
from thampi.runtime import bundle


@pytest.fixture
def stage(tmp_path):
    """A project with the model of somebody who used scikit-learn, PyTorch and thampi."""
    folder = tmp_path / "project"

    class Doubler(thampi.Model):
        def predict(self, args, context):
            return {"result": args["input"] * 2}

    thampi.save(Doubler(), "doubler", folder / "models", verify=False)
    record(folder / "models/doubler", {"torch": "2.5.1+cpu", "Scikit-Learn": "1.9.1", "numpy": "2.4.6", "thampi": "1"})
    return Stage(project_dir=folder, name="doubler", stage="local", model_dir=folder / "models/doubler")


def record(model_dir, distributions):
    from dataclasses import replace

    file = model_dir / "thampi.json"
    about = bundle.parse(file.read_bytes(), str(file))
    file.write_bytes(bundle.dump(replace(about, distributions=distributions)))


@pytest.fixture
def write(stage):
    def write_(path=None, *, force=False, said=None):
        output = stage.project_dir / "requirements.txt" if path is None else path
        return freeze.freeze(stage, output, force=force, say=([] if said is None else said).append)

    return write_


def pins(text):
    return [line for line in text.splitlines() if not line.startswith("#")]


def test_what_the_model_imports_is_written_pinned_and_sorted_without_thampi(stage, write):
    text = write().read_text("utf-8")
    cloudpickle = bundle.read(stage.model_dir).cloudpickle
    assert pins(text) == [f"cloudpickle=={cloudpickle}", "numpy==2.4.6", "Scikit-Learn==1.9.1", "torch==2.5.1"]


def test_it_says_of_what_it_is_and_by_whom(stage, write):
    text = write().read_text("utf-8")
    assert text.startswith("# What the model doubler imports, in the versions that saved it with Python 3.")
    assert "`thampi freeze`" in text


def test_what_it_writes_is_read_back_as_the_same_that_is_installed_without_it(stage, write, quiet):  # noqa: F811
    recorded = bundle.read(stage.model_dir).distributions
    told = {"environ": quiet, "project_dir": stage.project_dir}
    with_file = dependencies.read(write(), recorded, **told)
    without = dependencies.read(None, recorded, **told)
    names = {line.partition("==")[0].lower() for line in without.requirements}
    assert {line.partition("==")[0].lower() for line in with_file.requirements} == names


def test_writing_it_again_changes_nothing(write):
    first = write().read_bytes()
    assert write().read_bytes() == first


def test_another_file_is_not_replaced(stage, write):
    file = stage.project_dir / "requirements.txt"
    file.write_text("mine\n")
    with pytest.raises(ConfigError) as raised:
        write()
    assert str(file) in raised.value.message
    assert "--force" in raised.value.hint
    assert file.read_text() == "mine\n"


def test_another_file_is_replaced_when_it_was_said(stage, write):
    file = stage.project_dir / "requirements.txt"
    file.write_text("mine\n")
    file.chmod(0o640)
    write(force=True)
    assert "numpy==2.4.6" in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


def test_a_new_file_is_readable_by_all_and_nothing_else_is_left(stage, write):
    file = write(stage.project_dir / "frozen.txt")
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert sorted(path.name for path in stage.project_dir.iterdir()) == ["frozen.txt", "models"]


def test_a_link_stays_a_link(stage, write):
    (stage.project_dir / "real.txt").write_text("mine\n")
    link = stage.project_dir / "requirements.txt"
    link.symlink_to("real.txt")
    write(force=True)
    assert link.is_symlink()
    assert "numpy==2.4.6" in (stage.project_dir / "real.txt").read_text()


@pytest.mark.parametrize("where", ["gone/requirements.txt", "models"])
def test_what_can_not_be_written_is_said_and_nothing_is_left(stage, write, where):
    with pytest.raises(ConfigError) as raised:
        write(stage.project_dir / where, force=True)
    assert "can't be written" in raised.value.message
    assert [path.name for path in stage.project_dir.iterdir()] == ["models"]


def test_it_says_how_images_come_to_use_it_unless_they_do(stage, write):
    said = []
    file = write(said=said)
    assert said == [
        f"wrote {file}",
        'images install from it when thampi.toml names it: [build] dependency_file = "requirements.txt"',
    ]
    from dataclasses import replace

    named = replace(stage, build=Build(dependency_file=file))
    said.clear()
    freeze.freeze(named, file, force=False, say=said.append)
    assert said == [f"wrote {file}"]


def test_a_bundle_that_recorded_nothing_is_refused(stage):
    record(stage.model_dir, {})
    with pytest.raises(ConfigError, match="does not say what it needs"):
        freeze.lines(stage)


def test_no_bundle_is_refused(stage):
    (stage.model_dir / "thampi.json").unlink()
    with pytest.raises(BundleError):
        freeze.lines(stage)


def test_a_file_that_appears_meanwhile_is_none_of_a_half(stage, write, monkeypatch):
    """The disk is full in the middle: the old file stays whole."""
    file = stage.project_dir / "requirements.txt"
    file.write_text("mine\n")

    def full(*args):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(type(file), "replace", full)
    with pytest.raises(ConfigError, match="No space left"):
        write(force=True)
    assert file.read_text() == "mine\n"
    assert sorted(path.name for path in stage.project_dir.iterdir()) == ["models", "requirements.txt"]
