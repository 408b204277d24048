"""What is decided of an image before any engine works: from the files of a project and thampi.lock."""

from dataclasses import replace
from pathlib import Path

import pytest

import thampi
from thampi.config import Build, Stage
from thampi.errors import ConfigError
from thampi.operations import build
from thampi.resolution import lock
from thampi.resolution.lock import Entry
from thampi.resolution.resolved import Distribution, Resolved
from thampi.runtime import bundle, loading

HASH = f"--hash=sha256:{'a' * 64}"


class Echo(thampi.Model):
    """The smallest model."""

    def predict(self, args, context):
        return args


@pytest.fixture
def stage(tmp_path):
    """A project with a model and requirements."""
    saved = thampi.save(Echo(), "echo", tmp_path, verify=False)
    (tmp_path / "requirements.txt").write_text("lightgbm\n")

    def make(**settings):
        given = {"dependency_file": tmp_path / "requirements.txt", **settings}
        return Stage(project_dir=tmp_path, name="echo", stage="local", model_dir=saved, build=Build(**given))

    return make


@pytest.fixture
def locked(stage):
    """Write a lock that answers what the project asks for, so that nobody else is."""

    def write(*names, without_wheel=(), **settings):
        wanted = stage(**settings)
        about = bundle.read(wanted.model_dir)
        asked = build.ask(wanted, about, {})
        from thampi.resolution import inputs

        known = {"cloudpickle": about.distributions["cloudpickle"], **dict.fromkeys(names, "1.0")}
        resolved = Resolved(
            tuple(f"{name}=={version} {HASH}" for name, version in known.items()),
            distributions=tuple(
                Distribution(name, version, name not in without_wheel) for name, version in known.items()
            ),
        )
        digest = inputs.digest(asked.dependencies, asked.libc)
        entry = Entry("linux/amd64", loading.minor(about.python), f"{asked.base_image}@sha256:0", digest, resolved)
        assert lock.write(wanted.project_dir, (), entry) is None
        return wanted

    return write


def test_the_lock_decides_the_libraries_and_the_base(locked):
    plan = build.plan(locked("lightgbm"), environ={})
    assert plan.base.arguments["PYTHON_IMAGE"].endswith("-slim-bookworm@sha256:0")
    text = plan.model.files["dependencies/requirements.txt"].decode()
    assert f"lightgbm==1.0 {HASH}\n" in text


def test_a_system_package_that_is_known_to_be_needed_is_added_and_said(locked):
    plan = build.plan(locked("lightgbm"), environ={})
    assert "--no-install-recommends libgomp1" in plan.model.dockerfile
    assert any(note.startswith("system package libgomp1 added: lightgbm") for note in plan.notes)
    named = build.plan(locked("lightgbm", apt=("libgomp1=12.2.0-14",)), environ={})
    assert "--no-install-recommends libgomp1=12.2.0-14 \\" in named.model.dockerfile.replace("\n", " \\")
    assert not any("libgomp1" in note for note in named.notes)


def test_what_has_no_wheel_is_named_before_the_build(locked):
    plan = build.plan(locked("lightgbm", without_wheel=("lightgbm",)), environ={})
    assert any("lightgbm 1.0 has no wheel" in note for note in plan.notes)


def test_a_package_manager_that_the_file_is_not_for_is_refused(stage):
    with pytest.raises(ConfigError, match=r"package_manager is conda, and requirements\.txt is none of conda's"):
        build.plan(stage(package_manager="conda"), environ={})


def test_a_library_of_the_model_that_would_be_missing_is_refused_with_its_line(locked, monkeypatch):
    wanted = locked("lightgbm")
    about = bundle.read(wanted.model_dir)
    known = {"distributions": {**about.distributions, "packaging": "3.1", "rich": "14.0"}}
    known["modules"] = ["packaging.version"]  # the code names rich, and the pickle does not need it
    monkeypatch.setattr(build.bundle, "read", lambda folder: replace(about, **known))
    with pytest.raises(ConfigError) as raised:
        build.plan(wanted, environ={})
    assert raised.value.message == "the model imports packaging, which requirements.txt does not install"
    assert raised.value.hint.endswith("requirements.txt: packaging==3.1")


def test_without_docker_this_machine_is_asked_for_the_same_requirements(stage):
    wanted = stage()
    (wanted.project_dir / "requirements.txt").write_text("-c held.txt\n--extra-index-url https://one/simple\nsix\n")
    (wanted.project_dir / "held.txt").write_text("six<2\n")
    libraries = build.libraries(wanted, environ={"HOME": str(wanted.project_dir)})
    assert "--extra-index-url https://one/simple" in libraries.requirements
    assert "six" in libraries.requirements
    assert libraries.constraints == ("six<2",)
    assert not Path(wanted.project_dir / lock.FILE).exists()
