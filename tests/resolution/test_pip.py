"""uv chooses for the image's Python and platform, whatever this machine is; against indexes of the tests' own."""

import hashlib
import os
import subprocess
import sys

import pytest

from tests.resolution.index import make_project, serving, wheel
from thampi.dependencies.wanted import Credentials, Dependencies, Indexes, Local
from thampi.errors import BuildError, ConfigError
from thampi.resolution import pip

LINUX = "cp311-cp311-manylinux_2_28_x86_64"
ARM = "cp311-cp311-manylinux_2_28_aarch64"
MAC = "cp311-cp311-macosx_11_0_arm64"
WINDOWS = "cp311-cp311-win_amd64"


def silent(_):
    pass


def _sha256(content):
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def environ(tmp_path):
    """This machine's environment with a cache of the test's own: ports are used again, by other indexes."""
    return {**os.environ, "UV_CACHE_DIR": str(tmp_path / "uv-cache"), "UV_HTTP_RETRIES": "0"}


@pytest.fixture
def resolve(environ):
    """Resolve against the index at `url` alone."""

    def ask(url, *lines, python="3.11", platform="linux/amd64", local=(), more=None, **given):
        known = {key: given.pop(key) for key in ("options", "constraints") if key in given}
        indexes = Indexes(index_url=url, **(more or {}))
        wanted = Dependencies("requirements.txt", tuple(lines), indexes=indexes, local=tuple(local), **known)
        return pip.resolve(wanted, python=python, platform=platform, environ=environ, say=silent, **given)

    return ask


def versions(resolved):
    return {each.name: each.version for each in resolved.distributions}


def test_the_answer_is_complete_and_each_line_has_the_hash_of_the_images_own_wheel(resolve):
    wheels = dict(
        [
            wheel("top", requires=["compiled>=1", "colorama; sys_platform == 'win32'", "old; python_version < '3.11'"]),
            *(wheel("compiled", tag=tag) for tag in (LINUX, ARM, MAC, WINDOWS)),
        ]
    )
    with serving({"pypi": wheels}) as server:
        for platform, tag in (("linux/amd64", LINUX), ("linux/arm64", ARM)):
            resolved = resolve(server.url("pypi"), "Top", platform=platform)
            names = [f"compiled-1.0-{tag}.whl", "top-1.0-py3-none-any.whl"]
            assert [line.partition(" ")[0] for line in resolved.requirements] == ["compiled==1.0", "top==1.0"]
            for line, name in zip(resolved.requirements, names, strict=True):
                assert line.partition(" ")[2] == f"--hash=sha256:{_sha256(wheels[name])}"
            # An index of this machine is one that no build can reach.
            assert sorted(resolved.shipped) == names
            assert all(each.has_wheel for each in resolved.distributions)


def test_the_newest_wins_wherever_it_is_and_a_pre_release_only_when_it_may(resolve):
    here, there = dict([wheel("lib", "1.0"), wheel("lib", "3.0rc1")]), dict([wheel("lib", "2.0")])
    with serving({"pypi": here, "more": there}) as server:
        more = {"extra_index_urls": (server.url("more"),)}
        assert versions(resolve(server.url("pypi"), "lib", more=more)) == {"lib": "2.0"}
        assert versions(resolve(server.url("pypi"), "lib", more=more, options=("--pre",))) == {"lib": "3.0rc1"}
        assert versions(resolve(server.url("pypi"), "lib", more=more, constraints=("lib<2",))) == {"lib": "1.0"}


def test_what_was_chosen_before_stays_while_it_fits(resolve):
    with serving({"pypi": dict([wheel("lib", "1.0"), wheel("lib", "2.0")])}) as server:
        assert versions(resolve(server.url("pypi"), "lib", preferred={"lib": "1.0"})) == {"lib": "1.0"}
        assert versions(resolve(server.url("pypi"), "lib>1", preferred={"lib": "1.0"})) == {"lib": "2.0"}


def test_what_is_provided_holds_and_is_not_installed_again(resolve):
    wheels = dict([wheel("top", requires=["lib"]), wheel("lib", "1.0"), wheel("lib", "2.0")])
    with serving({"pypi": wheels}) as server:
        assert versions(resolve(server.url("pypi"), "top", provided={"lib": "1.0"})) == {"top": "1.0"}
        with pytest.raises(BuildError, match=r"lib==1\.0"):
            resolve(server.url("pypi"), "lib>=2", provided={"lib": "1.0"})


def test_the_users_own_hashes_are_held(resolve):
    [(_, content)] = [wheel("lib")]
    good, bad = _sha256(content), "0" * 64
    with serving({"pypi": dict([wheel("lib")])}) as server:
        resolved = resolve(server.url("pypi"), f"lib==1.0 --hash=sha256:{bad} --hash=sha256:{good}")
        assert resolved.requirements == (f"lib==1.0 --hash=sha256:{good}",)
        with pytest.raises(BuildError, match="none of its hashes") as raised:
            resolve(server.url("pypi"), f"lib==1.0 --hash=sha256:{bad}")
        assert "uv pip compile" in raised.value.hint
        with pytest.raises(ConfigError, match="another kind than sha256"):
            resolve(server.url("pypi"), f"lib==1.0 --hash=md5:{bad}")


def test_a_folder_of_wheels_is_shipped_from_where_it_lies(resolve, tmp_path):
    name, content = wheel("lib")
    (tmp_path / name).write_bytes(content)
    with serving({"pypi": {}}) as server:
        resolved = resolve(server.url("pypi"), "lib", more={"find_links": (str(tmp_path),)})
    assert resolved.shipped == {name: tmp_path / name}
    assert resolved.requirements == (f"lib==1.0 --hash=sha256:{_sha256(content)}",)


# -------------------------------------------------------------------------------------------------------- made here


@pytest.fixture
def project(tmp_path):
    return make_project(tmp_path / "mine")


@pytest.mark.parametrize("extras", [(), ("extra",)])
def test_a_project_is_made_into_a_wheel_and_what_it_needs_is_chosen(resolve, project, extras):
    with serving({"pypi": dict([wheel("lib"), wheel("more")])}) as server:
        local = Local("./mine", str(project), "mine", extras)
        resolved = resolve(server.url("pypi"), local=[local])
    assert set(versions(resolved)) == {"lib", "mine", *(["more"] if extras else [])}
    [line] = [line for line in resolved.requirements if line.startswith("mine")]
    assert line.startswith("mine @ file:///mnt/dependencies/wheels/mine-1.2-py3-none-any.whl  # from sha256:")
    assert isinstance(resolved.shipped["mine-1.2-py3-none-any.whl"], bytes)
    assert not (project / "src/left-behind").exists()  # nothing is written into the user's folder


def test_a_git_repository_is_made_into_a_wheel_and_locked_by_its_commit(resolve, project):
    def git(*words):
        who = ("-c", "user.name=a", "-c", "user.email=a@b")
        done = subprocess.run(["git", *who, *words], cwd=project, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    git("init", "--quiet", "--initial-branch=main")
    git("add", ".")
    git("commit", "--quiet", "-m", "one")
    first = git("rev-parse", "HEAD")
    (project / "src/mine/__init__.py").write_text("TWO = 2\n")
    git("commit", "--quiet", "-am", "two")
    second = git("rev-parse", "HEAD")
    with serving({"pypi": dict([wheel("lib")])}) as server:
        for revision, commit in (("", second), ("@main", second), (f"@{first}", first), (f"@{first[:10]}", first)):
            target = f"git+file://{project}{revision}"
            resolved = resolve(server.url("pypi"), local=[Local("mine @ git+…", target, "mine")])
            assert resolved.requirements[-1].endswith(f"  # from git+file://{project}@{commit}")
        with pytest.raises(BuildError, match="git can't fetch it"):
            resolve(server.url("pypi"), local=[Local("mine @ git+…", f"git+file://{project}@nowhere", "mine")])


@pytest.mark.parametrize("tag", [MAC, ARM, "cp312-cp312-manylinux_2_28_x86_64", "cp311-cp311-manylinux_2_40_x86_64"])
def test_a_wheel_that_the_image_can_not_use_is_refused_before_anything_else(resolve, tmp_path, tag):
    name, content = wheel("mine", tag=tag)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BuildError, match=rf"its wheel is for {tag}") as raised:
        resolve("http://127.0.0.1:9/simple", local=[Local(f"./{name}", str(tmp_path / name))])
    assert "build its wheel on a machine like the image" in raised.value.hint


def test_a_folder_that_is_no_project_and_one_of_another_name_are_mistakes(resolve, project, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"neither a pyproject\.toml nor a setup\.py"):
        resolve("http://127.0.0.1:9/simple", local=[Local("./empty", str(tmp_path / "empty"))])
    with pytest.raises(ConfigError, match="what lies there is mine, not yours"):
        resolve("http://127.0.0.1:9/simple", local=[Local("yours @ file:///…", str(project), "yours")])


# ------------------------------------------------------------------------------------------------- torch without CUDA

CUDA = dict(
    [
        wheel("torch", "2.9.0", ["nvidia-cublas; sys_platform == 'linux'", "triton"], LINUX, size=3_000_000),
        wheel("nvidia-cublas", "13.0", tag="py3-none-manylinux_2_27_x86_64", size=5_000_000),
        wheel("triton", "3.0", tag=LINUX, size=1_000_000),
        wheel("lib", requires=["torch"]),
    ]
)
CPU = dict([wheel("torch", "2.9.0+cpu", tag=LINUX, size=2_000_000), wheel("lib", "0.1")])


def test_torch_comes_without_cuda_and_the_megabytes_are_said(resolve):
    with serving({"pypi": CUDA, "cpu": CPU}) as server:
        resolved = resolve(server.url("pypi"), "lib", cpu_index=server.url("cpu"))
    assert versions(resolved) == {"lib": "1.0", "torch": "2.9.0+cpu"}
    [note] = resolved.notes
    assert note.startswith("torch 2.9.0+cpu, the build for the CPU")
    assert "7 MB less" in note


FROZEN = ("torch==2.9.0", "nvidia-cublas==13.0", "triton==3.0")


def test_what_pip_freeze_names_of_cuda_goes_with_it_and_is_said(resolve):
    with serving({"pypi": CUDA, "cpu": CPU}) as server:
        resolved = resolve(server.url("pypi"), *FROZEN, cpu_index=server.url("cpu"))
    assert versions(resolved) == {"torch": "2.9.0+cpu"}
    assert resolved.notes[0].endswith("; left out: nvidia-cublas==13.0, triton==3.0")


@pytest.mark.parametrize("name", ["nvidia-ml-py", "needs-cuda"])
def test_what_asks_for_a_gpu_by_itself_stays(resolve, name):
    more = dict([wheel("nvidia-ml-py"), wheel("needs-cuda", requires=["nvidia-cublas"])])
    with serving({"pypi": CUDA | more, "cpu": CPU}) as server:
        resolved = resolve(server.url("pypi"), *FROZEN, f"{name}==1.0", cpu_index=server.url("cpu"))
    assert name in versions(resolved)
    assert ("nvidia-cublas" in versions(resolved)) == (name == "needs-cuda")


def test_a_wheel_of_torch_in_a_folder_of_this_machine_counts_as_well(resolve, tmp_path):
    for name, content in CPU.items():
        (tmp_path / name).write_bytes(content)
    with serving({"pypi": CUDA}) as server:
        more = {"find_links": (str(tmp_path),)}
        resolved = resolve(server.url("pypi"), "torch", more=more, cpu_index="http://127.0.0.1:9/cpu")
    assert versions(resolved) == {"torch": "2.9.0+cpu"}
    assert list(resolved.shipped) == [f"torch-2.9.0+cpu-{LINUX}.whl"]


def test_without_an_index_of_cpu_builds_cuda_stays_and_its_size_is_said(resolve):
    with serving({"pypi": CUDA}) as server:
        resolved = resolve(server.url("pypi"), "torch", cpu_index="http://127.0.0.1:9/cpu")
    assert set(versions(resolved)) == {"torch", "nvidia-cublas", "triton"}
    assert "6 MB to download" in resolved.notes[0]
    assert "could not be reached" in resolved.notes[0]


def test_who_chose_a_build_of_torch_gets_it(resolve):
    chosen = dict([*CUDA.items(), wheel("torch", "2.9.0+cu130", ["nvidia-cublas"], LINUX)])
    with serving({"pypi": chosen, "cpu": CPU}) as server:
        resolved = resolve(server.url("pypi"), "torch==2.9.0+cu130", cpu_index=server.url("cpu"))
    assert "nvidia-cublas" in versions(resolved)
    assert not any(path.startswith("/cpu/") for _, path in server.asked)


# ---------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("lines", "kind", "said", "cure"),
    [
        (("nosuch",), BuildError, "nosuch was not found", "check the name"),
        (("lib>5",), BuildError, "lib", "that version doesn't exist there"),
        (("lib<2", "lib>1"), BuildError, "unsatisfiable", "exclude each other"),
        (("top", "lib==2.0"), BuildError, "top", "exclude each other"),
        (("lib==",), ConfigError, "expected version", "name==1.2.3"),
        (("onlymac",), BuildError, "no wheels with a matching platform tag", "no wheel for this Python and platform"),
        (("orjson==1.0",), BuildError, "orjson", "the handler needs that library"),
    ],
    ids=str,
)
def test_what_can_not_be_chosen_is_told_in_uvs_words_with_the_cure(resolve, lines, kind, said, cure):
    wheels = dict(
        [
            *(wheel("lib", version) for version in ("1.0", "2.0")),
            wheel("top", requires=["lib<2"]),
            wheel("onlymac", tag=MAC),
            wheel("orjson", "1.0"),
        ]
    )
    with serving({"pypi": wheels}) as server, pytest.raises(kind) as raised:
        resolve(server.url("pypi"), *lines)
    assert said in " ".join(raised.value.message.split())
    assert cure in raised.value.hint


def test_an_index_that_nobody_reaches_is_told_as_that(resolve):
    with pytest.raises(BuildError, match="Connection refused") as raised:
        resolve("http://127.0.0.1:9/simple", "lib")
    assert "check the network" in raised.value.hint


@pytest.mark.parametrize("known", [False, True])
def test_an_index_that_wants_a_password_is_never_passed_over(resolve, known):
    """uv would go on, and take a library of the same name from anywhere else."""
    credentials = {"127.0.0.1": Credentials("me", "secret-password")} if known else {}
    with serving({"pypi": dict([wheel("lib")])}) as public, serving({}, status=401) as private:
        more = {"extra_index_urls": (private.url("private"),), "credentials": credentials}
        with pytest.raises(BuildError, match=r"\(401") as raised:
            resolve(public.url("pypi"), "lib", more=more)
    assert ("does not accept" in raised.value.message) is known
    assert "netrc" in raised.value.hint
    assert "secret-password" not in str(raised.value)


def test_neither_pips_nor_uvs_variables_change_what_was_read_of_them(environ, monkeypatch):
    """What they say is in the indexes already, with what the file says against it."""
    told = environ | {"UV_INDEX_URL": "http://127.0.0.1:9/a", "UV_FIND_LINKS": "/nowhere", "UV_PRERELEASE": "allow"}
    with serving({"pypi": dict([wheel("lib"), wheel("lib", "2.0rc1")])}) as server:
        wanted = Dependencies("x", ("lib",), indexes=Indexes(index_url=server.url("pypi")))
        resolved = pip.resolve(wanted, python="3.11", platform="linux/amd64", environ=told, say=silent)
    assert versions(resolved) == {"lib": "1.0"}


def test_the_python_of_this_machine_makes_no_difference(resolve):
    other = "3.13" if sys.version_info[:2] != (3, 13) else "3.12"
    wheels = dict([wheel("lib", tag=f"cp{other.replace('.', '')}-abi3-manylinux_2_28_x86_64")])
    with serving({"pypi": wheels}) as server:
        assert versions(resolve(server.url("pypi"), "lib", python=other)) == {"lib": "1.0"}
