"""A conda environment, solved for an image's system: what is chosen, what pip adds, and the one clear error."""

import dataclasses
import http.server
import json
import os
import shutil
import sys
import threading
from pathlib import Path

import pytest

from tests import conda_channel
from thampi import dependencies
from thampi.dependencies.wanted import Channels, Dependencies
from thampi.errors import BuildError, ConfigError
from thampi.resolution import answer, conda

MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture(scope="module")
def channel(tmp_path_factory):
    """A channel of this machine, its folder."""
    folder = tmp_path_factory.mktemp("channel")
    conda_channel.make(folder, MINOR)
    return folder


@pytest.fixture
def resolved(channel):
    """Resolve specs, with what else `Channels`, `Dependencies` and `resolve` take."""

    def resolve(*specs, requirements=(), channels=None, python=None, unless_brought=(), **more):
        names = tuple(channels or [channel.as_uri()])
        asked = Dependencies(
            "environment.yml",
            requirements=tuple(requirements),
            conda=Channels(names, specs, python, unless_brought),
        )
        said = []
        settings = {"python": MINOR, "platform": "linux/amd64", "environ": os.environ, "say": said.append}
        return conda.resolve(asked, **settings | more)

    return resolve


def _files(resolved):
    return [package.partition("#")[0] for package in resolved.packages]


# ------------------------------------------------------------------------------------------------------- what is chosen


def test_what_a_package_needs_comes_before_it_and_python_is_the_models(resolved):
    assert _files(resolved("flowers")) == [f"python-{MINOR}.2-0.conda", "garden-1.0-0.tar.bz2", "flowers-1.2.0-0.conda"]


def test_each_package_has_its_sha256_and_what_lies_on_this_machine_is_shipped(resolved, channel):
    found = resolved("flowers")
    assert all(len(package.rpartition("#")[2]) == 64 for package in found.packages)
    assert set(found.shipped) == set(_files(found))
    assert found.shipped["flowers-1.2.0-0.conda"] == channel / "noarch/flowers-1.2.0-0.conda"


def test_another_platform_gets_its_own_packages(resolved, channel):
    found = resolved("flowers", platform="linux/arm64")
    assert found.shipped["garden-1.0-0.conda"].parent.name == "linux-aarch64"
    assert found.shipped[f"python-{MINOR}.2-0.conda"].parent.name == "linux-aarch64"


@pytest.mark.parametrize(
    ("spec", "file"),
    [
        ("flowers=0.9", "flowers-0.9.0-0.tar.bz2"),
        ("flowers==1.2.0", "flowers-1.2.0-0.conda"),
        ("flowers <1", "flowers-0.9.0-0.tar.bz2"),
        ("flowers=1.2.0=0", "flowers-1.2.0-0.conda"),
        ("flowers 1.2.*", "flowers-1.2.0-0.conda"),
        ("flowers[version='<1']", "flowers-0.9.0-0.tar.bz2"),
    ],
)
def test_packages_are_asked_for_in_each_of_condas_ways(resolved, spec, file):
    assert file in _files(resolved(spec))


def test_what_was_chosen_before_is_kept_where_it_still_fits(resolved):
    before = resolved("flowers=0.9")
    assert "flowers-0.9.0-0.tar.bz2" in _files(resolved("flowers", locked=before.packages))
    assert "flowers-1.2.0-0.conda" in _files(resolved("flowers>=1", locked=before.packages))
    gone = ["https://example.com/noarch/rose-9-0.conda#12"]
    assert "flowers-1.2.0-0.conda" in _files(resolved("flowers", locked=gone))


@pytest.fixture
def lab(channel, tmp_path):
    """A copy of the channel, and how to let it have a package or not."""
    folder = tmp_path / "lab"
    shutil.copytree(channel, folder, ignore=shutil.ignore_patterns("*.zst", "shards"))
    index = folder / "noarch/repodata.json"
    whole = index.read_text()

    def let_have(flowers):
        told = json.loads(whole)
        if not flowers:
            del told["packages.conda"]["flowers-1.2.0-0.conda"]
        index.write_text(json.dumps(told))

    return folder, let_have


def test_a_package_that_came_later_changes_nothing_that_is_locked_until_it_is_refreshed(lab, tmp_path):
    folder, let_have = lab
    project = tmp_path / "project"
    project.mkdir()
    asked = answer.Asked(
        dependencies=Dependencies("environment.yml", conda=Channels((folder.as_uri(),), ("flowers",))),
        python=MINOR,
        platform="linux/amd64",
        base_image="python",
        libc=(2, 36),
        project_dir=project,
    )

    def get(**more):
        return answer.get(asked, environ=os.environ, say=lambda line: None, pin=lambda name: name, **more)[0]

    let_have(flowers=False)
    assert "flowers-0.9.0-0.tar.bz2" in _files(get())
    let_have(flowers=True)
    locked = get()
    assert "flowers-0.9.0-0.tar.bz2" in _files(locked)
    shipped = answer.ship(asked, locked, environ=os.environ, say=lambda line: None)
    assert set(shipped) == set(_files(locked))
    assert "flowers-1.2.0-0.conda" in _files(get(refresh=True))
    # A colleague has the channel elsewhere.
    moved = Path(shutil.copytree(folder, tmp_path / "elsewhere/lab"))
    theirs = dataclasses.replace(asked.dependencies, conda=Channels((moved.as_uri(),), ("flowers",)))
    elsewhere = dataclasses.replace(asked, dependencies=theirs)
    said = []
    answer.get(elsewhere, environ=os.environ, say=said.append, pin=lambda name: name)
    assert said == []


def test_distributions_have_the_names_that_python_knows_them_by(resolved):
    found = {each.name: each.version for each in resolved("flowers").distributions}
    assert found == {"python": f"{MINOR}.2", "garden": "1.0", "flower-kit": "1.2.0"}


def test_a_package_counts_once_however_many_distributions_it_brings():
    package = conda._Package("kit", "3", "kit-3-0.conda", "", "", 700, (("Kit_A", "1"), ("kit.b", "2")))
    found = [(each.name, each.version, each.size) for each in conda._distributions(package)]
    assert found == [("kit-a", "1", 700), ("kit-b", "2", 0)]


# ----------------------------------------------------------------------------------------------------------- pip's part


def test_pip_adds_what_conda_does_not_bring_and_holds_to_what_it_does(resolved):
    found = resolved("six", requirements=["python-dateutil==2.9.0.post0"])
    assert [line.partition(" ")[0] for line in found.requirements] == ["python-dateutil==2.9.0.post0"]
    assert {each.name: each.version for each in found.distributions}["six"] == "1.99.0"  # no index has that version


def test_pip_and_conda_that_ask_for_different_versions_are_told_apart(resolved):
    with pytest.raises(BuildError) as caught:
        resolved("six", requirements=["six==1.16.0"])
    assert "six==1.16.0" in caught.value.message
    assert "six==1.99.0+conda" in caught.value.message


def test_what_only_counts_when_no_package_brings_it_gives_way(resolved):
    pin = "six==1.16.0"
    assert resolved("six", requirements=[pin], unless_brought=(pin,)).requirements == ()
    assert resolved("garden", requirements=[pin], unless_brought=(pin,)).requirements[0].startswith(pin)


def test_an_extra_of_what_conda_brings_is_said_to_be_empty(resolved):
    [note] = resolved("six", requirements=["six[moon]"]).notes
    assert note.startswith("six comes from conda, so what its extra (moon) needs does not come with it")


@pytest.mark.parametrize(("version", "known"), [("1.26.4", "1.26.4+conda"), ("2.1.0+cpu", "2.1.0+cpu.conda")])
def test_the_version_that_stands_for_condas_is_one_that_no_index_has(version, known):
    assert conda._stand_in(version) == known


# -------------------------------------------------------------------------------------------------------- what is wrong


@pytest.mark.parametrize(
    ("specs", "said", "cure"),
    [
        (["nothere"], "No candidates were found for nothere *", "check the name and version of nothere"),
        (["flowers=7"], "No candidates were found for flowers 7.*", "that a channel has it for linux-64"),
        (["florist"], "flowers >=2, for which no candidates", "loosen one of the versions"),
        (["flowers=1.2.0", "flowers=0.9.0"], "which conflicts with", "loosen one of the versions"),
        (["antique"], "python >=3.7,<3.8, for which no candidates", f"the model's Python, {MINOR}"),
        (["apple"], "__osx *, for which no candidates", "a comment `# [osx]`"),
        (["modern"], "__glibc >=2.99, for which no candidates", "ask for an earlier version"),
        (
            ["orjson"],
            "the constraint orjson >=3.10 cannot be fulfilled",
            "the handler needs orjson, too, and a newer one",
        ),
        (["flowers=1.2.0=py37_0"], "flowers ==1.2.0 py37_0", "conda env export --from-history"),
        (["garden=1.0=0", "nothere"], "nothere *", "check the name and version of nothere"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_no_channel_has_fails_in_the_solvers_words_with_a_cure(resolved, specs, said, cure):
    with pytest.raises(BuildError) as caught:
        resolved(*specs)
    assert caught.value.message.startswith("environment.yml can't be solved for linux-64:\n")
    assert said in caught.value.message
    assert cure in (caught.value.hint or "")


def test_the_original_tutorials_file_is_refused_in_the_solvers_words(channel, tmp_path):
    """YAML that is called requirements.txt, without channel and Python, with thampi in it and pins of 2018."""
    file = tmp_path / "requirements.txt"
    file.write_text("dependencies:\n  - scikit-learn=0.20.0\n  - numpy=1.15.2\n  - pip:\n    - thampi==0.1.0\n")
    read = dependencies.read(file, {}, environ=os.environ, project_dir=tmp_path)
    assert read.conda is not None
    here = dataclasses.replace(read, conda=dataclasses.replace(read.conda, channels=(channel.as_uri(),)))
    with pytest.raises(BuildError) as caught:
        conda.resolve(here, python=MINOR, platform="linux/amd64", environ=os.environ, say=lambda line: None)
    assert caught.value.message.startswith("requirements.txt can't be solved for linux-64:\n")
    assert "python >=3.7,<3.8, for which no candidates were found" in caught.value.message
    assert f"the image has the model's Python, {MINOR}" in (caught.value.hint or "")


@pytest.mark.parametrize("python", ["=3.9", "3.9.*", "==3.9.1", "=3.9.1=hab00c5b_0_cpython"])
def test_another_python_than_the_models_is_refused_before_anything_is_asked(resolved, python, monkeypatch):
    monkeypatch.setattr(conda, "_ask", None)
    with pytest.raises(ConfigError) as caught:
        resolved("flowers", python=python)
    assert f"asks for Python 3.9, and the model was saved with Python {MINOR}" in caught.value.message
    assert f"python={MINOR}" in (caught.value.hint or "")


@pytest.mark.parametrize("python", [f"={MINOR}", f"{MINOR}.*", f">={MINOR}", ">=3.8", "3.*", None])
def test_a_python_that_has_room_for_the_models_is_fine(resolved, python):
    assert f"python-{MINOR}.2-0.conda" in _files(resolved("garden", python=python))


def test_a_range_without_the_models_python_fails_in_the_solvers_words(resolved):
    with pytest.raises(BuildError, match=r"python >=3\.99"):
        resolved("flowers", python=">=3.99")


def test_all_that_is_not_written_as_conda_does_is_said_at_once(resolved):
    with pytest.raises(ConfigError) as caught:
        resolved("flowers>=2,<", "rose[", "garden")
    assert [line.partition("`: ")[0] for line in caught.value.message.splitlines()] == [
        "environment.yml: `flowers>=2,<",
        "environment.yml: `rose[",
    ]


# ------------------------------------------------------------------------------------------------------------- channels


@pytest.fixture
def server():
    """A server that answers everything in one way; its URL."""
    servers = []

    def serve(status):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_error(status)

            do_HEAD = do_GET

            def log_message(self, *told):
                """Say nothing."""

        servers.append(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}/channel"

    yield serve
    for each in servers:
        each.shutdown()
        each.server_close()


@pytest.mark.parametrize(
    ("status", "cure"),
    [(404, "there is no such channel"), (401, "the channel asks who we are"), (403, "the channel asks who we are")],
)
def test_a_channel_that_refuses_is_one_clear_error(resolved, server, status, cure):
    with pytest.raises(BuildError) as caught:
        resolved("flowers", channels=[server(status)])
    assert caught.value.message.startswith("a channel of environment.yml can't be read:\n")
    assert cure in (caught.value.hint or "")


def test_a_channel_that_nobody_answers_at_is_one_clear_error(resolved):
    with pytest.raises(BuildError) as caught:
        resolved("flowers", channels=["http://127.0.0.1:9/channel"])
    assert "Connection refused" in caught.value.message
    assert "check the network" in (caught.value.hint or "")


def test_a_folder_that_is_no_channel_is_one_clear_error(resolved, tmp_path):
    with pytest.raises(BuildError) as caught:
        resolved("flowers", channels=[tmp_path.as_uri()])
    assert "conda index" in (caught.value.hint or "")


def test_a_package_that_nobody_vouches_for_is_refused(resolved, channel, tmp_path):
    for subdir in ("noarch", "linux-64"):
        (tmp_path / subdir).mkdir()
        text = (channel / subdir / "repodata.json").read_text()
        (tmp_path / subdir / "repodata.json").write_text(text.replace('"sha256"', '"nothing"').replace('"md5"', '"no"'))
    with pytest.raises(BuildError, match="does not say its sha256"):
        resolved("garden", channels=[tmp_path.as_uri()])


def test_a_solver_that_cannot_be_had_is_one_clear_error(resolved, tmp_path):
    offline = os.environ | {"UV_OFFLINE": "1", "UV_CACHE_DIR": str(tmp_path)}
    with pytest.raises(BuildError) as caught:
        resolved("flowers", environ=offline)
    assert caught.value.message.startswith("conda's solver can't be used:\n")
    assert "it comes from PyPI, once" in (caught.value.hint or "")


def test_what_the_file_says_of_indexes_is_not_where_the_solver_comes_from(channel, tmp_path):
    asked = Dependencies("environment.yml", conda=Channels((channel.as_uri(),), ("garden",)))
    nowhere = "http://127.0.0.1:9/simple"
    private = dataclasses.replace(
        asked.indexes,
        index_url=nowhere,
        extra_index_urls=(f"{nowhere}/more",),
        find_links=(f"{nowhere}/links",),
        written=(nowhere, f"{nowhere}/more", f"{nowhere}/links"),
        no_index=True,
    )
    environ = os.environ | {"UV_CACHE_DIR": str(tmp_path)}
    found = conda.resolve(
        dataclasses.replace(asked, indexes=private),
        python=MINOR,
        platform="linux/amd64",
        environ=environ,
        say=lambda sentence: None,
    )
    assert len(found.packages) >= 1


def test_this_file_is_run_where_nothing_of_ours_is():
    """The solver's process imports the standard library and py-rattler, whatever lies beside it."""
    text = Path(conda.__file__).with_name("conda_solver.py").read_text("utf-8")
    assert "thampi" not in text.partition('"""')[2].partition('"""')[2]
