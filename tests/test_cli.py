"""The command line as people and scripts meet it: in a process of its own, by its words, streams and exit codes."""

import fcntl
import json
import os
import pty
import re
import resource
import select
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import click
import pytest

import thampi
from thampi import cli, config

REPO = Path(__file__).resolve().parents[1]
COMMANDS = list(cli.thampi.commands)
START = "import sys; sys.argv[0] = 'thampi'; from thampi import cli; "

# None of them is needed to say what a command does, and each takes longer to import than all of thampi.
SLOW = ("boto3", "botocore", "docker", "jinja2", "pydantic", "rich", "numpy", "pandas", "uv")


@pytest.fixture
def folder(tmp_path):
    """An empty folder to be in."""
    path = tmp_path / "empty"
    path.mkdir()
    return path


@pytest.fixture
def run(folder, tmp_path):
    """Run thampi in that folder, at nobody's terminal, on a machine without docker and AWS profiles."""

    def run_(*words, cwd=folder, code="cli.main()", **environ):
        return subprocess.run(
            [sys.executable, "-c", START + code, *words],
            cwd=cwd,
            env=_environment(tmp_path, **environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )

    return run_


def _environment(home, **more):
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("THAMPI_", "AWS_", "CI"))}
    return kept | {"PYTHONPATH": str(REPO), "HOME": str(home), "PATH": "/nowhere"} | more


@pytest.fixture
def project(folder):
    """A project with a saved model and the file that init writes."""

    class Doubler(thampi.Model):
        def predict(self, args, context):
            return {"result": args["input"] * 2}

    thampi.save(Doubler(), "doubler", folder / "models", verify=False)
    (folder / "requirements.txt").write_text("six==1.17.0\n")
    (folder / "thampi.toml").write_text(
        'name = "doubler"\nmodel_dir = "models/doubler"\n[build]\ndependency_file = "requirements.txt"\n'
    )
    return folder


@pytest.fixture
def docker(tmp_path):
    """A docker that has no image, builds all that it is asked to, and finds that it works."""

    def make(build="echo '#5 [2/2] RUN make'"):
        path = tmp_path / "docker"
        path.write_text(
            "#!/bin/sh\n"
            f'echo "$*" >> {tmp_path}/asked\n'
            'case "$1 $2" in\n'
            '    "buildx version"|"context show") ;;\n'
            '    "image inspect") echo "No such image: x" >&2; exit 1 ;;\n'
            f'    "buildx build") {build} ;;\n'
            '    "run --rm") echo \'{"installed": {}}\' ;;\n'
            "esac\n"
        )
        path.chmod(0o755)
        return {"THAMPI_DOCKER": str(path), "PATH": "/usr/bin:/bin"}

    return make


# ------------------------------------------------------------------------------------------------ failing, readably


@pytest.mark.parametrize(
    ("words", "said", "hint"),
    [
        (["biuld"], "No such command 'biuld'. Did you mean 'build'?", "thampi --help"),
        (["build", "--nme", "x"], "No such option '--nme'", "thampi build --help"),
        (["build", "--platform"], "requires an argument", "--help"),
        (["build", "extra"], "unexpected extra argument", "thampi build --help"),
        (["--nothing"], "No such option '--nothing'", "thampi --help"),
        (["build"], "there is no thampi.toml", "run `thampi init`"),
        (["init"], "--name is missing", "thampi init --name"),
        (["init", "--name", "My Model"], "--name: ", None),
        (["init", "--name", "iris", "--package-manager", "npm"], "--package-manager: should be pip or conda", None),
    ],
)
def test_what_was_typed_wrong_is_exit_code_2_and_told_on_stderr(run, folder, words, said, hint):
    done = run(*words)
    assert done.returncode == 2
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert lines[0].startswith("error: ")
    assert said in lines[0]
    assert hint is None or (lines[-1].startswith("hint: ") and hint in lines[-1])
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ('name = "doubler"\nnmae = 1\n', "did you mean `name`"),
        ("name = doubler\n", "line 1"),
        ('name = "doubler"\nmodel_dir = "models/doubler"\n[build]\ndependency_file = "gone.txt"\n', "gone.txt"),
        ('name = "doubler"\nmodel_dir = "models/doubler"\n[build]\npython = "3.99"\n', "build.python is 3.99"),
        ('name = "doubler"\nmodel_dir = "models/doubler"\n[build]\ninclude = ["gone.py"]\n', "names gone.py"),
        ('name = "doubler"\nmodel_dir = "models/doubler"\n[build]\npackage_manager = "conda"\n', "is conda"),
    ],
)
def test_a_mistake_in_the_project_is_exit_code_2(run, project, broken, said):
    (project / "thampi.toml").write_text(broken)
    done = run("build")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_line_that_no_image_can_install_is_exit_code_2(run, project):
    (project / "requirements.txt").write_text("-e .\nnumpy=1\n")
    done = run("build")
    assert (done.returncode, done.stdout) == (2, "")
    assert "requirements.txt, line 1" in done.stderr
    assert "requirements.txt, line 2" in done.stderr
    assert "\nhint: " in done.stderr


def test_no_saved_model_is_exit_code_3(run, folder):
    (folder / "thampi.toml").write_text('name = "doubler"\n')
    done = run("build")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("error: no saved model in ")
    assert "\nhint: save one with thampi.save" in done.stderr


def test_no_docker_is_exit_code_4(run, project):
    done = run("build")
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.startswith("error: there is no docker command on this machine\nhint: ")


def test_no_engine_is_exit_code_4(run, project, tmp_path):
    docker = tmp_path / "docker"
    docker.write_text(
        '#!/bin/sh\n[ "$1" = buildx ] || { echo "Cannot connect to the Docker daemon at unix:///x." >&2; exit 1; }\n'
    )
    docker.chmod(0o755)
    done = run("build", THAMPI_DOCKER=str(docker), PATH="/bin")
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.startswith("error: no Docker engine answers: Cannot connect to the Docker daemon")


def test_a_build_that_fails_is_exit_code_4_with_the_steps_last_words(run, project, docker):
    fails = "printf '#5 [2/2] RUN make\\n#5 0.1 no rule\\n#5 ERROR: exit code: 2\\n'; exit 1"
    done = run("build", **docker(fails))
    assert (done.returncode, done.stdout) == (4, "")
    assert "error: the build failed at [2/2] RUN make" in done.stderr
    assert "  no rule\n" in done.stderr
    assert "hint: --verbose shows every line" in done.stderr


def test_a_bug_is_exit_code_70_with_its_traceback_and_where_to_take_it(run):
    add = "import click; cli.thampi.add_command(click.Command('bug', callback=lambda: 1 / 0)); cli.main()"
    done = run("bug", code=add)
    assert (done.returncode, done.stdout) == (70, "")
    assert "ZeroDivisionError" in done.stderr
    assert done.stderr.endswith(
        "error: this is a bug in thampi, not in your model\nhint: please report it with the lines above\n"
    )


def test_a_failure_shows_its_traceback_only_to_those_who_ask(run, folder):
    (folder / "thampi.toml").write_text('name = "doubler"\n')
    assert "Traceback" not in run("build").stderr
    done = run("build", THAMPI_DEBUG="1")
    assert done.returncode == 3
    assert "Traceback" in done.stderr
    assert "error: no saved model" in done.stderr


def test_ctrl_c_during_a_build_is_exit_code_130_without_a_traceback(project, docker, tmp_path):
    environ = _environment(tmp_path, **docker("echo begun >&2; trap 'exit 1' TERM; sleep 60 & wait"))
    process = subprocess.Popen(
        [sys.executable, "-c", START + "cli.main()", "build", "--verbose"],
        cwd=project,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    for line in process.stderr:
        if "begun" in line:
            break
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=20)
    assert (process.returncode, stdout) == (130, "")
    assert "Traceback" not in stderr


def test_a_reader_who_had_enough_is_no_bug(folder, tmp_path):
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run(
        [sys.executable, "-c", START + "cli.main()", "--help"],
        env=_environment(tmp_path),
        cwd=folder,
        stdout=write_end,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(write_end)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "bug" not in done.stderr


# ------------------------------------------------------------------------------------------------------------ help

_LOADED = "import atexit; atexit.register(lambda: print('LOADED', *sys.modules, file=sys.stderr)); cli.main()"


@pytest.mark.parametrize(
    "words", [["--help"], ["-h"], ["--version"], [], *([name, "--help"] for name in COMMANDS)], ids=" ".join
)
def test_help_is_there_in_an_empty_folder_at_once_and_loads_nothing_slow(run, folder, words):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = run(*words, code=_LOADED)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0
    # The processor's time: that of the clock says more about what else the machine does.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1
    loaded = done.stderr.partition("LOADED ")[2].split()
    assert not {name.partition(".")[0] for name in loaded} & set(SLOW)
    assert "thampi" in done.stdout
    assert list(folder.iterdir()) == []


def test_help_needs_no_valid_project(run, folder):
    (folder / "thampi.toml").write_text("broken")
    assert run("build", "--help").returncode == 0


def test_help_lists_every_command_in_the_order_of_use(run):
    listed = re.findall(r"(?m)^  (\w+)  +\S", run("--help").stdout.partition("Commands:")[2])
    assert listed == COMMANDS
    assert listed[:2] == ["init", "build"]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_what_it_does_and_every_option_what_it_is_for(name):
    command = cli.thampi.commands[name]
    assert command.help
    context = click.Context(cli.thampi)
    assert not command.get_short_help_str(limit=66).endswith("..."), "too long for the list of commands"
    for option in (parameter for parameter in command.get_params(context) if isinstance(parameter, click.Option)):
        assert option.help, option.name


def test_the_version_is_told(run):
    assert run("--version").stdout == f"thampi {thampi.__version__}\n"


# ------------------------------------------------------------------------------------------------------------ init


def test_init_takes_every_answer_as_a_flag(run, folder):
    done = run("init", "--name", "iris", "--profile", "work", "--region", "eu-central-1", "--bucket", "my-models",
               "--package-manager", "pip", "--example")  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "")
    assert sorted(path.name for path in folder.iterdir()) == ["requirements.txt", "thampi.toml", "train.py"]
    stage = config.load(folder / "thampi.toml", "staging", flags={}, environ={})
    assert (stage.name, stage.profile, stage.region, stage.bucket) == ("iris", "work", "eu-central-1", "my-models")


def test_init_without_a_terminal_takes_the_defaults_for_all_but_the_name(run, folder):
    done = run("init", "--name", "iris")
    assert done.returncode == 0
    stage = config.load(folder / "thampi.toml", "staging", flags={}, environ={})
    assert re.fullmatch("thampi-[a-z0-9]{9}", stage.bucket)
    assert stage.build.package_manager == "pip"


def test_init_takes_both_spellings_of_a_flag(run, folder):
    assert run("init", "--name", "iris", "--package_manager", "pip").returncode == 0


def test_init_refuses_to_overwrite(run, folder):
    (folder / "thampi.toml").write_text("mine")
    done = run("init", "--name", "iris")
    assert (done.returncode, done.stdout) == (2, "")
    assert "thampi.toml" in done.stderr
    assert (folder / "thampi.toml").read_text() == "mine"


class Terminal:
    """thampi at a terminal, with somebody who types."""

    def __init__(self, folder, home, *words):
        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", START + "cli.main()", *words],
            cwd=folder,
            env=_environment(home, TERM="dumb"),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # so that Ctrl-C becomes a signal
        )
        os.close(slave)
        self.shown = ""

    def wait_for(self, words):
        deadline = time.monotonic() + 20
        while words not in self.shown:
            assert time.monotonic() < deadline, self.shown
            self._read(0.1)
        self.shown = self.shown.partition(words)[2]

    def type(self, text):
        os.write(self._master, text.encode())

    def end(self, *, press=""):
        """Wait for the end, and keep what is shown meanwhile; `press` a key, again until it is heard."""
        deadline = time.monotonic() + 20
        while self.process.poll() is None:
            assert time.monotonic() < deadline, self.shown
            self.type(press)
            self._read(0.5)
        self._read(0)
        return self.process.returncode

    def _read(self, patience_s):
        try:
            while select.select([self._master], [], [], patience_s)[0]:
                self.shown += os.read(self._master, 4096).decode(errors="replace")
        except OSError:  # how Linux says that the other side is gone
            pass

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self._master)


@pytest.fixture
def terminal(folder, tmp_path):
    opened = []

    def open_(*words):
        opened.append(Terminal(folder, tmp_path, *words))
        return opened[-1]

    yield open_
    for each in opened:
        each.close()


def test_init_asks_at_a_terminal_and_asks_again_after_a_wrong_answer(folder, terminal):
    asking = terminal("init")
    asking.wait_for("What do you want to call your model")
    asking.type("My Model\n")
    asking.wait_for("should be lower-case letters")
    asking.wait_for("What do you want to call your model")
    asking.type("iris\n")
    asking.wait_for("What do you want to call your bucket [thampi-")
    asking.type("\n")
    asking.wait_for("pip or conda [pip]")
    asking.type("\n")
    asking.wait_for("wrote ")
    assert asking.end() == 0
    stage = config.load(folder / "thampi.toml", "staging", flags={}, environ={})
    assert stage.name == "iris"
    assert stage.bucket.startswith("thampi-")


def test_init_asks_which_profile_only_where_there_is_a_choice(folder, tmp_path, terminal):
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws/config").write_text("[default]\nregion=us-east-1\n[profile work]\nregion=eu-central-1\n")
    asking = terminal("init", "--name", "iris", "--bucket", "my-models")
    asking.wait_for("default, work")
    asking.type("work\n")
    asking.wait_for("pip or conda")
    asking.type("\n")
    assert asking.end() == 0
    stage = config.load(folder / "thampi.toml", "staging", flags={}, environ={})
    assert (stage.profile, stage.region) == ("work", "eu-central-1")


@pytest.mark.parametrize("key", ["\x03", "\x04"], ids=["Ctrl-C", "Ctrl-D"])
def test_leaving_at_a_question_writes_nothing_and_is_exit_code_130(folder, terminal, key):
    asking = terminal("init")
    asking.wait_for("What do you want to call your model")
    assert asking.end(press=key) == 130
    assert "Traceback" not in asking.shown
    assert list(folder.iterdir()) == []


# ---------------------------------------------------------------------------------------------------------- freeze


def test_freeze_writes_the_file_beside_thampi_toml_and_ends_with_its_path(run, project):
    (project / "requirements.txt").unlink()
    inner = project / "inner"
    inner.mkdir()
    done = run("freeze", cwd=inner)
    assert (done.returncode, done.stdout) == (0, f"{project / 'requirements.txt'}\n")
    assert "cloudpickle==" in (project / "requirements.txt").read_text()


def test_freeze_writes_where_it_is_told_from_the_current_folder(run, project):
    inner = project / "inner"
    inner.mkdir()
    assert run("freeze", "--output", "frozen.txt", cwd=inner).stdout == f"{inner / 'frozen.txt'}\n"
    assert "cloudpickle==" in (inner / "frozen.txt").read_text()


def test_freeze_to_stdout_writes_no_file_and_says_nothing_else(run, project):
    before = sorted(project.iterdir())
    done = run("freeze", "--output", "-")
    assert (done.returncode, done.stderr) == (0, "")
    assert "cloudpickle==" in done.stdout
    assert sorted(project.iterdir()) == before


def test_freeze_replaces_a_file_of_somebody_elses_only_by_force(run, project):
    done = run("freeze")
    assert (done.returncode, done.stdout) == (2, "")
    assert "hint: thampi freeze --force" in done.stderr
    assert (project / "requirements.txt").read_text() == "six==1.17.0\n"
    assert run("freeze", "--force").returncode == 0
    assert "cloudpickle==" in (project / "requirements.txt").read_text()


# ----------------------------------------------------------------------------------------------------------- build


def test_build_print_prints_the_dockerfile_and_nothing_else_and_needs_no_docker(run, project):
    done = run("build", "--print")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("# Made by thampi ")
    assert lines[1].startswith("FROM thampi-base:")
    assert "sh /mnt/tools/install.sh" in lines[-1]


def test_build_prints_the_images_reference_as_the_last_line_of_stdout(run, project, docker):
    done = run("build", **docker())
    assert done.returncode == 0
    assert re.fullmatch(r"thampi-doubler:[0-9a-f]{16}\n", done.stdout)
    assert "building image thampi-doubler:" in done.stderr


def test_build_says_the_steps_and_with_verbose_every_line(run, project, docker):
    build = docker("echo '#5 [2/2] RUN make'; echo '#5 0.1 made'")
    assert "  [2/2] RUN make\n" in run("build", **build).stderr
    assert "#5 0.1 made" not in run("build", **build).stderr
    assert "#5 0.1 made\n" in run("build", "--verbose", **build).stderr


def test_build_says_what_it_added_to_the_dependency_file_and_what_it_left_out(run, project, docker):
    (project / "requirements.txt").write_text("thampi==1.0.0\nsix\n")
    said = run("build", **docker()).stderr
    assert "requirements.txt line 1 left out: the image has its own thampi" in said
    assert "cloudpickle==" in said


def test_build_takes_model_and_dependency_file_in_both_spellings(run, project):
    (project / "other.txt").write_text("numpy\n")
    (project / "models/doubler").rename(project / "models/other")
    assert run("build", "--print").returncode == 3
    for model, file in (("--model_dir", "--dependency_file"), ("--model-dir", "--dependency-file")):
        done = run("build", "--print", model, "models/other", file, "other.txt")
        assert "from other.txt" in done.stdout


def test_build_works_from_a_folder_inside_the_project(run, project):
    (project / "notebooks").mkdir()
    assert run("build", "--print", cwd=project / "notebooks").stdout == run("build", "--print").stdout


def test_build_for_another_platform_is_another_image(run, project, docker):
    amd, arm = (run("build", "--platform", f"linux/{kind}", **docker()).stdout for kind in ("amd64", "arm64"))
    assert amd != arm
    refused = run("build", "--platform", "windows/amd64")
    assert refused.returncode == 2
    assert "--platform" in refused.stderr


def test_an_image_is_tried_as_one_of_its_platform(run, project, docker, tmp_path):
    assert run("build", "--platform", "linux/arm64", **docker()).returncode == 0
    [tried] = [line for line in (tmp_path / "asked").read_text().splitlines() if line.startswith("run --rm")]
    assert " --platform linux/arm64 " in tried


def test_build_takes_newer_versions_only_when_it_is_told_to(run, project, docker):
    def locked(*words):
        assert run("build", *words, **docker()).returncode == 0
        return re.findall(r"six==[\d.]+", (project / "thampi.lock").read_text())

    (project / "requirements.txt").write_text("six==1.16.0\n")
    assert locked() == ["six==1.16.0"]
    (project / "requirements.txt").write_text("six\n")
    assert locked() == ["six==1.16.0"]
    [newer] = locked("--refresh")
    assert newer != "six==1.16.0"
    assert locked() == [newer]


def test_a_model_of_another_python_is_built_for_that_python(run, project):
    manifest = project / "models/doubler/thampi.json"
    about = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(about | {"python": "3.99.1"}))
    here = run("build", "--print").stdout
    manifest.write_text(json.dumps(about))
    assert here.splitlines()[1] != run("build", "--print").stdout.splitlines()[1]
