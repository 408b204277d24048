"""`thampi push local`, as users type it: a local AWS of the tests' own, a real engine, real requests, other clients."""

import base64
import contextlib
import http.client
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import docker
import pytest

from tests import sharing

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]

REPO = Path(__file__).resolve().parents[2]
# What a shell's background job inherits, a SIGINT that is ignored, would make a Ctrl-C into nothing.
START = [
    "-c",
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
    "sys.argv[0] = 'thampi'; from thampi.cli import main; main()",
]
FLOWER = {"input": [5.9, 3.2, 4.8, 1.8]}
JSON = {"Content-Type": "application/json"}

# What nobody but the user may have: a push to this machine needs none of it.
CALLERS_OWN = {
    "AWS_ACCESS_KEY_ID": "AKIACALLERSOWN",
    "AWS_SECRET_ACCESS_KEY": "callers-own-secret",
    "AWS_SESSION_TOKEN": "callers-own-token",
    "AWS_REGION": "eu-central-1",
    "AWS_DEFAULT_REGION": "eu-central-1",
}
LOCAL = {"region_name": "us-east-1", "aws_access_key_id": "test", "aws_secret_access_key": "test"}

SETTINGS = """
name = "{name}"
model_dir = "models/m"

[build]
dependency_file = "requirements.txt"

[stages.local]
{stage}
"""
# Saved without being proven: some of them are to fail where they are served.
SAVE = """
import os, sys
import thampi

class M(thampi.Model):
    def predict(self, args, context):
{predict}

thampi.save(M(), "m", "models", example="example", verify=False, signature=False)
"""


# -------------------------------------------------------------------------------------------------- a local AWS to use


class LocalAws:
    """One on a port and in a folder of its own: nobody's is touched."""

    def __init__(self, port, state):
        self.port, self.state = port, state
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("THAMPI_", "AWS_"))}
        kept |= {key: os.environ[key] for key in ("THAMPI_DOCKER",) if key in os.environ}
        own = {"XDG_STATE_HOME": state, "THAMPI_LOCAL_PORT": str(port), "PYTHONPATH": str(REPO)}
        self.environ = kept | CALLERS_OWN | own
        self.endpoint_url = f"http://127.0.0.1:{port}"

    def start(self, *words, cwd, python=START, **environ):
        """Start thampi as a shell does: in a process group of its own, which Ctrl-C reaches as a whole."""
        return subprocess.Popen(
            [sys.executable, *python, *words],
            cwd=cwd,
            env=self.environ | environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *words, cwd, **settings):
        """Run thampi to its end."""
        process = self.start(*words, cwd=cwd, **settings)
        return ended(process)

    def client(self, service):
        """Return a client of boto3's own making."""
        return boto3.client(service, endpoint_url=self.endpoint_url, **LOCAL)


def ended(process):
    out, err = process.communicate(timeout=240)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def new_local_aws(folder):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return {"port": probe.getsockname()[1], "state": str(folder)}


def end_local_aws(made):
    aws = LocalAws(**made)
    done = aws.run("local", "reset", "--yes", cwd="/")
    assert done.returncode == 0, done.stderr
    # What the engine got from pushing to its registry and running from there.
    with contextlib.closing(docker.from_env(timeout=120)) as engine:
        for image in engine.images.list():
            for name in [*image.tags, *(image.attrs.get("RepoDigests") or [])]:
                if name.startswith(f"localhost:{aws.port}/"):
                    with contextlib.suppress(docker.errors.APIError):
                        engine.api.remove_image(name, force=True)


@pytest.fixture(scope="session")
def shared_aws(tmp_path_factory):
    """The one that most tests use, all workers together."""
    place = sharing.folder(tmp_path_factory)
    with sharing.once(place, "push_local_aws", lambda: new_local_aws(place / "push-state"), end_local_aws) as made:
        yield LocalAws(**made)


@pytest.fixture
def own_aws(tmp_path):
    """One for what would disturb the others: it ends, or all that it holds is looked at."""
    made = new_local_aws(tmp_path / "state")
    yield LocalAws(**made)
    end_local_aws(made)


# ---------------------------------------------------------------------------------------------------- projects to push


class Project:
    """A small model of pure Python: its image takes seconds to make."""

    def __init__(self, folder, name, aws):
        self.folder, self.name, self.aws = folder, name, aws
        self.function = f"thampi-{name}-local"

    def configure(self, stage=""):
        (self.folder / "thampi.toml").write_text(SETTINGS.format(name=self.name, stage=stage))
        return self

    def save(self, *predict):
        """Save a model with this body; return its instance id."""
        lines = "\n".join(f"        {line}" for line in predict)
        (self.folder / "train.py").write_text(SAVE.format(predict=lines))
        done = ended(self.aws.start(cwd=self.folder, python=["train.py"]))
        assert done.returncode == 0, done.stderr
        return self.instance_id

    @property
    def instance_id(self):
        return json.loads((self.folder / "models/m/thampi.json").read_text())["instance_id"]

    def thampi(self, *words, **environ):
        return self.aws.run(*words, cwd=self.folder, **environ)

    def push(self, *flags):
        """Push; return the URL and what was said."""
        done = self.thampi("push", "local", *flags)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()[-1], done.stderr


@pytest.fixture
def new_project(tmp_path, client):
    """Make a project; its images are gone when the test ends."""
    names = []

    def make(aws, stage="", predict=('return {"said": args}',)):
        name = f"t{secrets.token_hex(4)}"
        names.append(name)
        folder = tmp_path / name
        folder.mkdir()
        (folder / "requirements.txt").write_text("six\n")
        project = Project(folder, name, aws).configure(stage)
        project.save(*predict)
        return project

    yield make
    for name in names:
        # By name: other projects have the same image, and containers of it run.
        for reference in client.run("images", "--format={{.Repository}}:{{.Tag}}", f"thampi-{name}").stdout.split():
            client.run("rmi", "--force", reference)


def ask(url, body, method="POST", headers=JSON):
    """Ask as curl does; the status, what was answered, its headers."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
    with contextlib.closing(connection):
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        connection.request(method, parts.path, data, headers)
        answer = connection.getresponse()
        text = answer.read()
        headers = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, json.loads(text) if text else None, headers


def result(url, data="x"):
    """Return the answer's result and which model it is from."""
    status, said, _ = ask(url, {"data": data})
    assert status == 200, said
    return said["result"], said["properties"]["instance_id"]


# -------------------------------------------------------------------------------------------------------- the tutorial


def test_the_tutorials_second_half_word_for_word(iris_project, shared_aws, tmp_path):
    served = shared_aws.run(
        *("serve", "local", "--model_dir=./models/iris-sklearn", "--dependency_file=./requirements.txt"),
        cwd=iris_project,
    )
    assert served.returncode == 0, served.stderr
    url = served.stdout.strip()
    name = next(line for line in (iris_project / "thampi.toml").read_text().splitlines() if line.startswith("name "))
    name = name.split('"')[1]
    assert url.startswith(f"{shared_aws.endpoint_url}/")
    assert url.endswith(f"/local/{name}/predict")
    assert "created" in served.stderr

    info = shared_aws.run("info", "local", cwd=iris_project)
    assert info.stdout.splitlines()[0] == str({"url": url})

    said = curl("-d", json.dumps({"data": FLOWER}), "-H", "Content-Type: application/json", url)
    assert list(said) == ["properties", "result"]
    assert said["result"] == {"result": 2}
    about = json.loads((iris_project / "models/iris-sklearn/thampi.json").read_text())
    assert said["properties"]["instance_id"] == about["instance_id"]
    assert said["properties"]["tags"] == {"accuracy": 0.9}

    # Neither a proxy nor a profile that is gone has to do with this machine.
    users = {"HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9", "AWS_PROFILE": "gone"}
    users |= {"NO_PROXY": "", "no_proxy": ""}
    for way in ((), ("--direct",)):
        predicted = shared_aws.run("predict", "local", "--data", json.dumps(FLOWER), *way, cwd=iris_project, **users)
        assert predicted.returncode == 0, predicted.stderr
        assert json.loads(predicted.stdout) == said
    for way in (("url", url), ("stage", "local")):
        asked = ended(shared_aws.start(*way, json.dumps(FLOWER), python=["-c", CLIENT], cwd=iris_project, **users))
        assert asked.returncode == 0, asked.stderr
        assert json.loads(asked.stdout) == {"answer": said, "result": said["result"], "name": name}


# As in a user's own program: by the URL, or by the stage of the project in this folder.
CLIENT = """
import json, sys, thampi
way, value, data = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
with thampi.Client(**{way: value}) as client:
    client.ping()
    print(json.dumps({"answer": client.ask(data), "result": client.predict(data), "name": client.about()["name"]}))
    try:
        client.predict({"no": "input"})
    except thampi.ModelFailedError as failure:
        sys.exit(0 if failure.request_id else 3)
    except thampi.InvalidDataError as failure:
        sys.exit(0 if failure.mistakes and failure.request_id else 4)
sys.exit(5)
"""


def curl(*words):
    done = subprocess.run(["curl", "--silent", "--show-error", *words], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


# ------------------------------------------------------------------------------------------------------- pushing again


def test_a_push_makes_only_what_differs(new_project, shared_aws):
    project = new_project(shared_aws)
    old = project.instance_id
    url, said = project.push()
    assert "building image" in said
    assert "pushing image" in said  # its layers may be there, from another project
    assert result(url) == ({"said": "x"}, old)

    again, said = project.push()
    assert again == url
    assert "nothing has changed" in said
    assert works(said) == set()
    assert versions(project) == ["1"]

    new = project.save('return {"new": args}')
    again, said = project.push()
    assert (again, works(said)) == (url, {"trying version 2"})
    assert new != old
    assert result(url) == ({"new": "x"}, new)

    project.configure("memory_mb = 640")
    again, said = project.push()
    assert (again, works(said)) == (url, {"trying version 3"})
    assert "memory_mb: 1024 -> 640" in said.replace("  ", " ")
    live = project.aws.client("lambda").get_function_configuration(FunctionName=project.function, Qualifier="live")
    assert live["MemorySize"] == 640
    assert result(url) == ({"new": "x"}, new)
    assert versions(project) == ["1", "2", "3"]


def works(said):
    """Return what of a push's talk is work."""
    starts = ("building", "pushing", "pushed", "trying", "uploading", "uploaded", "image ")
    return {line.strip() for line in said.splitlines() if line.strip().startswith(starts) and "  " not in line.strip()}


def versions(project):
    found = project.aws.client("lambda").list_versions_by_function(FunctionName=project.function)["Versions"]
    return [each["Version"] for each in found if each["Version"] != "$LATEST"]


def test_the_result_is_on_stdout_and_the_talk_on_stderr(new_project, shared_aws):
    project = new_project(shared_aws)
    dry = project.thampi("push", "local", "--dry-run", "--json")
    assert dry.returncode == 0, dry.stderr
    plan = json.loads(dry.stdout)
    assert (plan["dry_run"], plan["changed"], plan["url"]) == (True, True, "")
    assert {row["action"] for row in plan["things"] if row["thing"] != "bucket"} == {"created"}
    info = project.thampi("info", "local")
    assert (info.returncode, info.stdout) == (5, "")
    assert "thampi push local" in info.stderr

    done = project.thampi("push", "local", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["version"], said["changed"], said["dry_run"]) == ("1", True, False)
    plain = project.thampi("push", "local")
    assert plain.stdout == said["url"] + "\n"
    assert "anybody who knows the URL can call it" in plain.stderr
    assert "account 000000000000, region us-east-1" in plain.stderr.splitlines()[0]
    info = json.loads(project.thampi("info", "local", "--json").stdout)
    assert (info["url"], info["version"], info["auth"]) == (said["url"], "1", "none")
    listed = json.loads(project.thampi("list", "--json").stdout)
    assert [(each["stage"], each["url"]) for each in listed] == [("local", said["url"])]


# ------------------------------------------------------------------------------------------------------- broken models


def test_a_broken_model_never_becomes_live_and_the_reason_is_said(new_project, shared_aws):
    project = new_project(shared_aws)
    old = project.instance_id
    url, _ = project.push()

    project.save('raise ValueError("the weights are of another flower")')
    refused(project, "ValueError: the weights are of another flower", url, old)

    project.save("import a_library_that_is_not_there", "return 1")
    refused(project, "No module named 'a_library_that_is_not_there'", url, old)

    project.configure("memory_mb = 128")
    project.save("return len(bytearray(os.urandom(1)) * (400 << 20))")
    refused(project, "want of memory: raise memory_mb", url, old)

    project.configure("timeout_s = 3")
    project.save("import time", "time.sleep(60)")
    refused(project, "no answer within timeout_s = 3", url, old)

    project.configure()
    new = project.save('return "mended"')
    project.push()
    assert result(url) == ("mended", new)


def refused(project, reason, url, old):
    """Check that a push is refused for this reason, and that callers still get the old model."""
    done = project.thampi("push", "local")
    assert done.returncode == 7, done.stderr
    assert done.stdout == ""
    assert "did not become live, version 1 still is" in done.stderr
    assert reason in done.stderr
    assert result(url) == ({"said": "x"}, old)


# ------------------------------------------------------------------------------------------------------------ requests


def test_callers_get_the_status_that_says_what_is_wrong(new_project, shared_aws):
    project = new_project(
        shared_aws, predict=('if args == "fail": raise ValueError("secret of the model")', "return args")
    )
    url, _ = project.push()
    status, said, headers = ask(url, {"data": [1, {"a": None}]})
    assert (status, said["result"]) == (200, [1, {"a": None}])
    assert headers["content-type"].startswith("application/json")

    too_big = b'{"data": "' + b"x" * (5 << 20) + b'"}'
    for expected, body, method, where in (
        (400, b"{no json", "POST", url),
        (400, {"no": "data"}, "POST", url),
        (404, {"data": 1}, "POST", url.replace("/predict", "/nothing")),
        (405, None, "GET", url),
        (413, too_big, "POST", url),
        (500, {"data": "fail"}, "POST", url),
    ):
        status, said, headers = ask(where, body, method)
        assert (status, set(said)) == (expected, {"error"}), said
        assert {"type", "message", "request_id"} <= set(said["error"])
        assert "secret" not in json.dumps(said)
        if status == 405:
            assert "POST" in headers["allow"]

    failed = project.thampi("predict", "local", "--data", '"fail"')
    assert failed.returncode == 6
    assert "the model failed on request" in project.thampi("logs", "local", "--errors").stdout
    assert "secret of the model" in project.thampi("logs", "local").stdout


def test_an_endpoint_for_aws_identities_refuses_the_unsigned_and_predict_signs(new_project, shared_aws):
    project = new_project(shared_aws, 'auth = "iam"')
    url, said = project.push()
    assert "anybody who knows" not in said
    status, _, _ = ask(url, {"data": 1})
    assert status == 403
    predicted = project.thampi("predict", "local", "--data", "1")
    assert predicted.returncode == 0, predicted.stderr
    assert json.loads(predicted.stdout)["result"] == {"said": 1}
    project.configure('auth = "none"')
    assert project.push()[0] == url
    assert ask(url, {"data": 1})[0] == 200
    project.configure('auth = "iam"')
    assert project.push()[0] == url
    assert ask(url, {"data": 1})[0] == 403


# ------------------------------------------------------------------------------------------------- independent clients


def test_boto3_and_the_aws_cli_see_what_was_made_and_get_the_answer(new_project, shared_aws, tmp_path):
    project = new_project(shared_aws)
    project.push()
    name = project.function
    functions, s3, ecr = (shared_aws.client(each) for each in ("lambda", "s3", "ecr"))
    answer = functions.invoke(FunctionName=name, Qualifier="live", Payload=b'{"data": "boto3"}')
    assert json.loads(answer["Payload"].read())["result"] == {"said": "boto3"}
    prefix = f"thampi/{project.name}/models/{project.instance_id}/"
    keys = [each["Key"] for each in s3.list_objects_v2(Bucket="thampi-local", Prefix=prefix)["Contents"]]
    assert f"{prefix}thampi.json" in keys
    images = ecr.describe_images(repositoryName=f"thampi-{project.name}")["imageDetails"]
    live = functions.get_function(FunctionName=name, Qualifier="live")["Code"]["ImageUri"]
    assert [live.rpartition("@")[2]] == [each["imageDigest"] for each in images]
    apis = shared_aws.client("apigatewayv2").get_apis()["Items"]
    assert len([each for each in apis if each["Name"] == name]) == 1

    aws = aws_cli(shared_aws)
    assert name in [each["FunctionName"] for each in aws("lambda", "list-functions")["Functions"]]
    assert "thampi-local" in [each["Name"] for each in aws("s3api", "list-buckets")["Buckets"]]
    listed = aws("ecr", "describe-images", "--repository-name", f"thampi-{project.name}")["imageDetails"]
    assert [each["imageDigest"] for each in listed] == [each["imageDigest"] for each in images]
    assert name in [each["Name"] for each in aws("apigatewayv2", "get-apis")["Items"]]
    out = tmp_path / "answer.json"
    asked = base64.b64encode(b'{"data": "cli"}').decode()
    invoked = aws("lambda", "invoke", "--function-name", f"{name}:live", "--payload", asked, str(out), version=True)
    assert invoked["StatusCode"] == 200
    assert json.loads(out.read_text())["result"] == {"said": "cli"}


def aws_cli(local):
    """The aws CLI of this machine, or one from PyPI."""
    found = shutil.which("aws")
    start = [found] if found else [sys.executable, "-m", "uv", "tool", "run", "--from", "awscli", "aws"]
    credentials = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_SESSION_TOKEN": ""}
    environ = local.environ | credentials | {"AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1"}
    del environ["PYTHONPATH"]
    is_first = b"aws-cli/1." in subprocess.run([*start, "--version"], env=environ, capture_output=True).stdout

    def aws(*words, version=False):
        if version and is_first:  # the first takes a payload as it is, the second in base64
            words = [
                base64.b64decode(word).decode() if before == "--payload" else word
                for before, word in zip(("", *words), words, strict=False)
            ]
        done = subprocess.run(
            [*start, "--endpoint-url", local.endpoint_url, "--output", "json", *words],
            env=environ,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return aws


def test_a_function_gets_nothing_of_who_pushed_it(new_project, shared_aws):
    project = new_project(shared_aws, predict=("return [dict(os.environ), os.getuid()]",))
    url, _ = project.push()
    (environ, uid), _ = result(url)
    assert uid == 993
    assert not [value for value in environ.values() if "callers" in value.lower()]
    assert environ["AWS_ACCESS_KEY_ID"] in ("test", "000000000000")
    assert environ["AWS_REGION"] == "us-east-1"
    assert environ["THAMPI_NAME"] == project.name
    assert not {"HOME_OF_CALLER", "DOCKER_HOST", "XDG_STATE_HOME", "THAMPI_LOCAL_PORT", "SSH_AUTH_SOCK"} & set(environ)
    with contextlib.closing(docker.from_env()) as engine:
        (found,) = [
            each
            for each in engine.containers.list()
            if f"localhost:{shared_aws.port}/thampi-{project.name}@" in each.attrs["Config"]["Image"]
        ]
    host = found.attrs["HostConfig"]
    assert host["ReadonlyRootfs"] is True
    assert host["Privileged"] is False
    assert host["Memory"] == 1024 << 20
    assert found.attrs["Mounts"] == []
    for published in found.attrs["NetworkSettings"]["Ports"].values():
        assert {each["HostIp"] for each in published or []} <= {"127.0.0.1"}


# ------------------------------------------------------------------------------------------------------------- at once


def test_of_two_pushes_of_a_stage_at_once_one_gets_through_and_the_other_says_who_has_it(new_project, shared_aws):
    project = new_project(shared_aws)
    other = project.folder.parent / "other"
    shutil.copytree(project.folder, other)
    other = Project(other, project.name, shared_aws).configure("memory_mb = 640")
    other.save('return "other"')
    wanted = {project.instance_id: 1024, other.instance_id: 640}
    running = [shared_aws.start("push", "local", cwd=each.folder) for each in (project, other)]
    done = [ended(each) for each in running]
    assert sorted(each.returncode for each in done) == [0, 5], [each.stderr for each in done]
    (late,) = [each for each in done if each.returncode == 5]
    assert f"another run is changing {project.name} local: " in late.stderr
    assert "@" in late.stderr
    assert "since 20" in late.stderr
    assert late.stdout == ""
    (first,) = [each for each in done if each.returncode == 0]
    winner = (project, other)[done.index(first)]
    live = shared_aws.client("lambda").get_function_configuration(FunctionName=project.function, Qualifier="live")
    assert live["MemorySize"] == wanted[winner.instance_id]
    assert result(first.stdout.strip())[1] == winner.instance_id
    apis = shared_aws.client("apigatewayv2").get_apis()["Items"]
    assert len([each for each in apis if each["Name"] == project.function]) == 1


def test_an_interrupted_push_is_finished_by_the_next(new_project, shared_aws):
    slow = ("import time", "time.sleep(2)", 'return {"said": args}')  # its trial is not over before it is interrupted
    project = new_project(shared_aws, predict=slow)
    for moment in ("building image", "pushing image", "trying version"):
        process = shared_aws.start("push", "local", cwd=project.folder)
        said = ""
        for line in process.stderr:
            said += line
            if moment in line:
                os.killpg(process.pid, signal.SIGINT)
                break
        done = ended(process)
        assert process.returncode == 130, f"{moment}: {process.returncode}\n{said}---\n{done.stderr}"
        assert "Traceback" not in done.stderr
        assert done.stdout == ""
    url, said = project.push()
    assert result(url) == ({"said": "x"}, project.instance_id)
    assert "nothing has changed" in project.push()[1]


# ------------------------------------------------------------------------------------------------------- two of a kind


def test_two_projects_share_a_local_aws_that_stops_starts_and_is_left_empty(new_project, own_aws):
    one, two = new_project(own_aws), new_project(own_aws)
    # Neither has been told to start it: the second waits for the first to have done it.
    running = [own_aws.start("push", "local", cwd=each.folder) for each in (one, two)]
    done = [ended(each) for each in running]
    assert [each.returncode for each in done] == [0, 0], [each.stderr for each in done]
    urls = [each.stdout.strip() for each in done]
    for project, url in zip((one, two), urls, strict=True):
        assert result(url) == ({"said": "x"}, project.instance_id)

    assert own_aws.run("local", "stop", cwd=one.folder).returncode == 0
    with pytest.raises(OSError, match="refused"):
        ask(urls[0], {"data": 1})
    assert own_aws.run("list", cwd=one.folder).returncode == 0
    assert json.loads(own_aws.run("local", "status", "--json", cwd="/").stdout)["state"] == "stopped"
    assert own_aws.run("local", "start", cwd=one.folder).stdout.strip() == own_aws.endpoint_url
    for project, url in zip((one, two), urls, strict=True):
        assert result(url) == ({"said": "x"}, project.instance_id)
    assert "nothing has changed" in one.push()[1]

    refused = one.thampi("destroy", "local")
    assert (refused.returncode, refused.stdout) == (2, "")
    for project in (one, two):
        gone = project.thampi("destroy", "local", "--yes", "--all")
        assert gone.returncode == 0, gone.stderr
        assert project.function in gone.stderr
        if project is one:
            assert result(urls[1]) == ({"said": "x"}, two.instance_id)
    assert everything(own_aws) == {}
    gone = one.thampi("destroy", "local", "--yes", "--all")
    assert gone.returncode == 0, gone.stderr
    assert "there was nothing to delete" in gone.stderr
    assert everything(own_aws) == {}


def everything(aws):
    """Return what there is in an account, by kind."""
    found = {
        "functions": aws.client("lambda").list_functions()["Functions"],
        "buckets": aws.client("s3").list_buckets()["Buckets"],
        "repositories": aws.client("ecr").describe_repositories()["repositories"],
        "roles": aws.client("iam").list_roles()["Roles"],
        "apis": aws.client("apigatewayv2").get_apis()["Items"],
        "groups": aws.client("logs").describe_log_groups()["logGroups"],
    }
    with contextlib.closing(docker.from_env()) as engine:
        running = engine.containers.list(all=True)
        ours = [each.attrs["Config"]["Image"] for each in running]
    found["containers"] = [each for each in ours if each.startswith(f"localhost:{aws.port}/")]
    return {kind: each for kind, each in found.items() if each}
