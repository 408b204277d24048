"""What is decided of an image before any engine works: from the files of a project and thampi.lock."""

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest

import thampi
from thampi.config import Build, Stage
from thampi.errors import BundleError, ConfigError
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
    monkeypatch.setattr(build.bundle, "parse", lambda manifest, where: replace(about, **known))
    with pytest.raises(ConfigError) as raised:
        build.plan(wanted, environ={})
    assert raised.value.message == "the model imports packaging, which requirements.txt does not install"
    assert raised.value.hint.endswith("requirements.txt: packaging==3.1")


def test_without_docker_this_machine_is_asked_for_the_same_requirements(stage):
    wanted = stage()
    (wanted.project_dir / "requirements.txt").write_text("-c held.txt\n--extra-index-url https://one/simple\nsix\n")
    (wanted.project_dir / "held.txt").write_text("six<2\n")
    # Nothing of the pip.conf of whoever runs the tests.
    environ = {"HOME": str(wanted.project_dir), "PIP_CONFIG_FILE": os.devnull}
    libraries = build.libraries(wanted, environ=environ)
    assert "--extra-index-url https://one/simple" in libraries.requirements
    assert "six" in libraries.requirements
    assert libraries.constraints == ("six<2",)
    assert not Path(wanted.project_dir / lock.FILE).exists()


# ----------------------------------------------------------------------------------------------- the model in the image


def test_a_new_model_is_the_same_image_unless_it_is_baked_in(locked):
    wanted = locked("lightgbm")
    plans = {"s3": build.plan(wanted, environ={}), "image": build.plan(baked_in(wanted), environ={})}
    before = {name: path.read_bytes() for name, path in plans["image"].model.carried.items()}
    assert list(before) == [f"model/{file.name}" for file in plans["image"].about.files.values()]
    assert plans["s3"].baked_bytes == 0
    assert plans["image"].baked_bytes == sum(path.stat().st_size for path in wanted.model_dir.iterdir())
    thampi.save(Echo(), "echo", wanted.project_dir, verify=False)
    assert build.plan(wanted, environ={}).reference == plans["s3"].reference
    new = build.plan(baked_in(wanted), environ={})
    assert len({plans["s3"].reference, plans["image"].reference, new.reference}) == 3
    assert new.base == plans["image"].base
    assert new.manifest_sha256 == hashlib.sha256((wanted.model_dir / "thampi.json").read_bytes()).hexdigest()


def baked_in(stage):
    return replace(stage, build=replace(stage.build, model="image"))


def test_a_model_that_is_too_large_for_an_image_or_damaged_is_found_before_anything_is_asked(locked, monkeypatch):
    wanted = baked_in(locked("lightgbm"))
    build.check(wanted, environ={})
    monkeypatch.setattr(build.baked.recipe, "LARGEST_BYTES", 1000)
    for find in (build.check, build.plan):
        with pytest.raises(ConfigError, match="Lambda takes images of"):
            find(wanted, environ={})
    monkeypatch.undo()
    [pickle] = wanted.model_dir.glob("*.pkl")
    pickle.unlink()
    for find in (build.check, build.plan):
        with pytest.raises(BundleError, match="is missing from the saved model"):
            find(wanted, environ={})


class Engine:
    """Stands for docker: keeps what it is to build, and has what it says it has."""

    def __init__(self, monkeypatch, base_bytes=0):
        self.built = []
        monkeypatch.setattr(build.docker_client, "find", lambda environ: self)
        monkeypatch.setattr(build.platforms, "check", lambda *words: None)
        monkeypatch.setattr(build.docker_build, "has", lambda client, reference: "base" in reference)
        monkeypatch.setattr(build.docker_build, "unpacked_bytes", lambda client, reference: base_bytes)
        monkeypatch.setattr(build.docker_base, "pin", lambda *words: Engine)
        monkeypatch.setattr(build.docker_build, "build", self.build)

    @staticmethod
    def note(now):
        return ""

    def build(self, recipe, reference, *, check, **more):
        self.built.append((recipe, check.keywords["model_dir"]))


def test_what_is_shipped_and_the_model_get_into_one_context(locked, monkeypatch):
    engine = Engine(monkeypatch)
    monkeypatch.setattr(build.answer, "ship", lambda *words, **more: {"mine-1.0-py3-none-any.whl": b"a wheel"})
    for wanted in (locked("lightgbm"), baked_in(locked("lightgbm"))):
        plan = build.plan(wanted, environ={})
        build.build(plan, environ={}, say=print, show=print)
        made, model_dir = engine.built.pop()
        assert made.carried == {**plan.model.carried, "dependencies/wheels/mine-1.0-py3-none-any.whl": b"a wheel"}
        assert model_dir == ("/opt/model" if wanted.build.model == "image" else None)
    assert any(name.startswith("model/") for name in made.carried)


def test_a_model_that_does_not_fit_beside_the_base_is_refused_before_it_is_built(locked, monkeypatch):
    engine = Engine(monkeypatch, base_bytes=10 * 1024**3)
    with pytest.raises(ConfigError, match=r"the rest of the image at least 10\.00 GB"):
        build.build(build.plan(baked_in(locked("lightgbm")), environ={}), environ={}, say=print, show=print)
    build.build(build.plan(locked("lightgbm"), environ={}), environ={}, say=print, show=print)
    assert len(engine.built) == 1  # the one without a model
