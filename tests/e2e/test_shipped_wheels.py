"""What no index has is shipped: a wheel in a folder, a project beside this one, a git repository; and it is locked."""

import subprocess

import pytest

import thampi
from tests.e2e.conftest import LIKE_LAMBDA, unique
from tests.resolution.index import make_project, wheel

pytestmark = pytest.mark.docker


class Echo(thampi.Model):
    """The smallest model."""

    def predict(self, args, context):
        return args


@pytest.fixture
def project(tmp_path):
    """A project whose requirements are all on this machine."""
    folder = tmp_path / "project"
    (folder / "wheels").mkdir(parents=True)
    bundle = thampi.save(Echo(), "echo", folder, verify=False)
    name, content = wheel("in-a-folder")
    (folder / "wheels" / name).write_bytes(content)
    name, content = wheel("lib", "999.0")  # PyPI has one, too, of which nothing is known
    (folder / "wheels" / name).write_bytes(content)
    make_project(folder / "mine")
    (folder / "requirements.txt").write_text("--find-links wheels\nin-a-folder\n./mine\n")
    (folder / "thampi.toml").write_text(
        f'name = "{unique("shipped")}"\nmodel_dir = "{bundle.name}"\n[build]\ndependency_file = "requirements.txt"\n'
    )
    return folder


SHOW = "import in_a_folder, lib, mine; print(in_a_folder.VERSION, lib.VERSION, dict(vars(mine)).get('ONE'))"


def test_what_lies_on_this_machine_is_in_the_image_and_a_change_of_it_makes_another(project, command, client, inside):
    done = command("thampi", "build", cwd=project)
    assert done.returncode == 0, done.stderr
    first = done.stdout.splitlines()[-1]
    try:
        assert inside(first, "-c", SHOW)[0].split() == ["1.0", "999.0", "1"]
        client.run("rmi", "--force", first)
        again = command("thampi", "build", cwd=project)  # of the lock, which names the wheels only
        assert again.stdout == done.stdout
        assert "choosing" in again.stderr  # to find them again
        assert inside(first, "-c", SHOW)[0].split() == ["1.0", "999.0", "1"]

        (project / "mine/src/mine/__init__.py").write_text("ONE = 11\n")
        changed = command("thampi", "build", cwd=project)
        second = changed.stdout.splitlines()[-1]
        try:
            assert second != first
            assert inside(second, "-c", SHOW)[0].split() == ["1.0", "999.0", "11"]
        finally:
            client.run("rmi", "--force", second)
    finally:
        client.run("rmi", "--force", first)


def test_a_git_repository_needs_no_git_in_the_image(project, command, built, inside, running):
    for words in (
        ("init", "--quiet", "--initial-branch=main"),
        ("add", "."),
        ("-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "-m", "one"),
    ):
        subprocess.run(["git", *words], cwd=project / "mine", check=True)
    (project / "requirements.txt").write_text(f"-f wheels\nmine @ git+file://{project}/mine@main\nin-a-folder\n")
    image = built(project)
    assert inside(image, "-c", SHOW)[0].split() == ["1.0", "999.0", "1"]
    with running(image, next(project.glob("*/thampi.json")).parent, *LIKE_LAMBDA) as container:
        assert container.invoke({"data": {"input": 3}})["result"] == {"input": 3}
