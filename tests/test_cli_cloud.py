"""The commands that change or ask AWS, by their words, streams and exit codes; AWS is moto's, in this process."""

import contextlib
import io
import json
import os
import pty
import re
import shutil
import sys
import time

import boto3
import pytest
from moto import mock_aws
from moto.awslambda_simple.models import lambda_simple_backends

import thampi
from tests.aws import strict, strict_http
from tests.aws.conftest import no_real_aws, service_models_read_once  # noqa: F401 - fixtures of every test here
from thampi import cli, config, names
from thampi.asking.answer import Answer
from thampi.asking.connections import Connections
from thampi.aws import registry, session
from thampi.operations import build

REGION, BUCKET = "eu-central-1", "cli-models"
TOML = f"""
name = "doubler"
model_dir = "models/doubler"
[build]
dependency_file = "requirements.txt"
[stages.staging]
region = "{REGION}"
bucket = "{BUCKET}"
[stages.staging.environment]
TOKEN = "sesame"
[stages.other]
region = "{REGION}"
bucket = "{BUCKET}"
"""
MODEL = {"result": 6}
REFUSAL = json.dumps({"error": {"type": "BadRequest", "message": "no such flower", "request_id": "1"}})


class Doubler(thampi.Model):
    """Twice the input."""

    def predict(self, args, context):
        return {"result": args["input"] * 2}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    thampi.save(Doubler(), "doubler", folder, verify=False)
    return folder


@pytest.fixture
def project(tmp_path, saved, monkeypatch):
    """The current folder: a project with a saved model."""
    folder = tmp_path / "project"
    shutil.copytree(saved, folder / "models")
    (folder / "requirements.txt").write_text("six==1.17.0\n")
    (folder / "thampi.toml").write_text(TOML)
    monkeypatch.chdir(folder)
    for variable in [name for name in os.environ if name.startswith("THAMPI_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("THAMPI_DOCKER", str(folder / "no-docker"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return folder


@pytest.fixture
def cloud(monkeypatch):
    """An empty account whose functions answer what was asked of them."""
    strict_http.http_apis_have_stages(monkeypatch)
    strict.lambda_guards_aliases(monkeypatch)
    strict.lambda_freezes_versions(monkeypatch)
    strict.lambda_takes_its_time(monkeypatch, polls=0)
    strict.lambda_provisions(monkeypatch)
    strict.lambda_urls_belong_to_aliases(monkeypatch)
    with mock_aws(config={"lambda": {"use_docker": False}}):
        yield


@pytest.fixture
def run(project, monkeypatch, capsys):
    """Run thampi in the project; return its exit code, stdout and stderr."""

    def run_(*words, stdin=None):
        monkeypatch.setattr(sys, "argv", ["thampi", *words])
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin or "") if not hasattr(stdin, "read") else stdin)
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = end.code
        said = capsys.readouterr()
        return code, said.out, said.err

    return run_


def bring_image(project, stage="staging", **flags):
    """Let the registry have the image already, so that no engine is needed."""
    settings = config.load(project / "thampi.toml", stage, flags=flags, environ={})
    plan = build.plan(settings)
    aws = session.connect(region=REGION)
    registry.ensure(aws, registry.make(aws, settings.name))
    kind = "application/vnd.docker.distribution.manifest.v2+json"
    layer = {
        "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
        "size": 1,
        "digest": "sha256:" + "b" * 64,
    }
    manifest = {"schemaVersion": 2, "mediaType": kind, "config": {"size": 7, "digest": "sha256:c"}, "layers": [layer]}
    aws.client("ecr").put_image(
        repositoryName=names.repository(settings.name),
        imageManifest=json.dumps(manifest),
        imageManifestMediaType=kind,
        imageDigest="sha256:" + plan.model.digest,
        imageTag=plan.model.digest,
    )


def answer_next(*bodies):
    """Let the functions of the account answer so, one after the other."""
    lambda_simple_backends["123456789012"][REGION].lambda_simple_results_queue += bodies


def functions():
    return [each["FunctionName"] for each in boto3.client("lambda", region_name=REGION).list_functions()["Functions"]]


@pytest.fixture
def pushed(run, project, cloud):
    """The stage `staging`, as pushed."""
    bring_image(project)
    code, out, err = run("push", "staging")
    assert code == 0, err
    return out.strip()


# ------------------------------------------------------------------------------------------------------------- push


def test_push_prints_the_url_and_nothing_else_on_stdout(pushed):
    assert re.fullmatch(r"https://\w+\.execute-api\.eu-central-1\.amazonaws\.com/staging/doubler/predict", pushed)


def test_push_says_account_region_and_stage_first_and_who_may_call_last(run, project, cloud):
    bring_image(project)
    _, _, err = run("push", "staging")
    lines = err.splitlines()
    assert lines[0] == "doubler, stage staging: account 123456789012, region eu-central-1"
    assert "anybody who knows the URL can call it" in lines[-1]
    assert any(re.match(r"release +1 +created", line) for line in lines)
    assert "sesame" not in err


def test_pushing_again_says_that_nothing_has_changed_and_prints_the_same_url(run, pushed):
    code, out, err = run("push", "staging")
    assert (code, out.strip()) == (0, pushed)
    assert "nothing has changed" in err


def test_push_prints_json_and_only_json_when_asked(run, project, cloud):
    bring_image(project)
    code, out, _ = run("push", "staging", "--json")
    found = json.loads(out)
    assert (code, found["version"], found["changed"], found["dry_run"]) == (0, "1", True, False)
    assert found["url"].endswith("/staging/doubler/predict")
    actions = {thing["thing"]: thing["action"] for thing in found["things"]}
    assert actions["release"] == actions["endpoint"] == "created"
    assert actions["image"] == "left"
    assert "sesame" not in out
    again = json.loads(run("push", "staging", "--json")[1])
    assert (again["changed"], again["url"]) == (False, found["url"])
    assert {thing["action"] for thing in again["things"]} == {"left"}


@pytest.mark.parametrize("command", ["push", "serve"])
def test_another_type_of_endpoint_is_another_url_and_wants_a_word(run, project, pushed, command):
    file = project / "thampi.toml"
    file.write_text(file.read_text() + '\n[stages.staging.api]\ntype = "url"\n')
    code, out, err = run(command, "staging")
    assert (code, out) == (2, "")
    assert pushed in err
    assert "hint: thampi push staging --replace-endpoint" in err
    assert run("push", "staging", "--dry-run")[0] == 2
    _, out, err = run("push", "staging", "--dry-run", "--replace-endpoint")
    assert re.search(r"^old endpoint .*would be changed", err, re.MULTILINE)
    assert out == ""


def test_a_dry_run_says_what_would_be_and_makes_nothing(run, project, cloud):
    code, out, err = run("push", "staging", "--dry-run")
    assert (code, out) == (0, "")
    assert re.search(r"^release .*would be created", err, re.MULTILINE)
    assert "anybody" not in err
    assert functions() == []
    assert boto3.client("s3").list_buckets()["Buckets"] == []
    assert json.loads(run("push", "staging", "--dry-run", "--json")[1])["dry_run"] is True


def test_a_dry_run_writes_no_lock_and_what_builds_does(run, project, cloud):
    assert run("push", "staging", "--dry-run")[0] == 0
    assert not (project / "thampi.lock").exists()
    bring_image(project)
    assert run("push", "staging")[0] == 0
    assert (project / "thampi.lock").exists()


def test_the_original_command_takes_its_original_flags_from_the_current_folder(run, project, cloud, monkeypatch):
    (project / "there").mkdir()
    shutil.move(project / "models", project / "there" / "models")
    shutil.move(project / "requirements.txt", project / "there" / "requirements.txt")
    there = {"model_dir": "there/models/doubler", "dependency_file": "there/requirements.txt"}
    bring_image(project, **there)
    assert run("serve", "staging")[0] in (2, 3)  # what thampi.toml names is gone
    monkeypatch.chdir(project / "there")
    code, out, err = run("serve", "staging", "--model_dir=./models/doubler", "--dependency_file=./requirements.txt")
    assert code == 0, err
    assert out.strip().endswith("/staging/doubler/predict")


def test_a_stage_without_a_bucket_is_exit_code_2_before_aws_is_asked(run, project):
    (project / "thampi.toml").write_text(TOML.replace(f'bucket = "{BUCKET}"', ""))
    code, out, err = run("push", "staging")
    assert (code, out) == (2, "")
    assert err.startswith("error: stages.staging.bucket is missing")
    assert "hint: name one in thampi.toml" in err


@pytest.mark.parametrize("command", [["push"], ["info"], ["predict", "--data", "1"], ["logs"], ["destroy"], ["doctor"]])
def test_an_unknown_stage_is_exit_code_2(run, command):
    code, out, err = run(command[0], "stagin", *command[1:])
    assert (code, out) == (2, "")
    assert "stagin" in err
    assert "staging" in err


def test_no_credentials_are_exit_code_5_with_the_cure(run, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    code, out, err = run("push", "staging")
    assert (code, out) == (5, "")
    assert "there are no AWS credentials" in err
    assert "hint: run `aws configure`" in err


def test_a_model_that_refuses_the_trial_is_exit_code_7_and_nothing_is_live(run, project, cloud):
    bring_image(project)
    answer_next(REFUSAL)
    code, out, err = run("push", "staging")
    assert (code, out) == (7, "")
    assert "error: version 1 did not become live, nothing is live yet" in err
    assert "no such flower" in err
    assert "hint: mend it and push again" in err
    assert run("info", "staging")[0] == 5
    assert run("push", "staging")[0] == 0


def test_no_docker_is_exit_code_4_after_the_credentials_were_proven(run, cloud):
    code, _, err = run("push", "staging")
    assert code == 4
    assert "account 123456789012" in err.splitlines()[0]


# ---------------------------------------------------------------------------------------------- info, predict, logs


def test_info_prints_the_url_first_as_the_tutorial_shows_it(run, pushed):
    code, out, _ = run("info", "staging")
    lines = out.splitlines()
    assert (code, lines[0]) == (0, str({"url": pushed}))
    assert "version       1" in lines
    assert "sesame" not in out


def test_info_prints_json_when_asked(run, pushed):
    code, out, _ = run("info", "staging", "--json")
    found = json.loads(out)
    assert (code, found["url"], found["version"], found["auth"]) == (0, pushed, "1", "none")


def test_info_of_what_was_never_pushed_is_exit_code_5_with_the_command_that_pushes(run, cloud):
    code, out, err = run("info", "staging")
    assert (code, out) == (5, "")
    assert "nothing of doubler is live in stage staging" in err
    assert err.splitlines()[-1] == "hint: thampi push staging"


@pytest.mark.parametrize("given", ['{"input": 3}', "@flower.json", "-"])
def test_predict_takes_its_data_from_the_words_a_file_or_standard_input(run, project, pushed, given):
    (project / "flower.json").write_text('{"input": 3}')
    code, out, _ = run("predict", "staging", "--direct", "--data", given, stdin='{"input": 3}')
    assert (code, json.loads(out)) == (0, {"data": {"input": 3}})  # this account's functions echo


@pytest.mark.parametrize(
    ("given", "said"),
    [("{input: 3}", "--data is not JSON"), ("@gone.json", "--data @gone.json: No such file"), ("-", "is not JSON")],
)
def test_data_that_is_none_is_exit_code_2_before_aws_is_asked(run, given, said):
    code, out, err = run("predict", "staging", "--data", given)
    assert (code, out) == (2, "")
    assert said in err
    assert "\nhint: " in err


def test_predict_without_data_is_exit_code_2(run):
    code, out, err = run("predict", "staging")
    assert (code, out) == (2, "")
    assert "--data" in err


def test_a_model_that_refuses_is_exit_code_6(run, pushed):
    answer_next(REFUSAL)
    code, out, err = run("predict", "staging", "--direct", "--data", "1")
    assert (code, out) == (6, "")
    assert "no such flower" in err
    assert "hint: thampi logs staging --errors" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["predict", "staging", "--data", "1"], "has no endpoint in stage staging"),
        (["logs", "staging"], "has no log in stage staging"),
    ],
)
def test_what_needs_a_push_says_so_with_exit_code_5(run, cloud, words, said):
    code, out, err = run(*words)
    assert (code, out) == (5, "")
    assert said in err
    assert err.splitlines()[-1] == "hint: thampi push staging"


def test_logs_shows_what_the_function_wrote(run, pushed):
    logs = boto3.client("logs", region_name=REGION)
    group = names.log_group("doubler", "staging")
    logs.create_log_stream(logGroupName=group, logStreamName="a")
    events = [{"timestamp": int(time.time() * 1000), "message": text} for text in ("hello", "ERROR no such flower")]
    logs.put_log_events(logGroupName=group, logStreamName="a", logEvents=events)
    code, out, _ = run("logs", "staging", "--since", "1h")
    assert (code, [line.partition(" ")[2] for line in out.splitlines()]) == (0, ["hello", "ERROR no such flower"])
    assert "hello" not in run("logs", "staging", "--errors")[1]
    assert "has no access log in stage staging" in run("logs", "staging", "--access")[2]
    code, out, err = run("logs", "staging", "--since", "yesterday")
    assert (code, out) == (2, "")
    assert "--since yesterday is no time" in err


# -------------------------------------------------------------------------------------------------- list and doctor


def test_list_shows_every_stage_and_does_not_start_the_local_aws(run, pushed):
    code, out, _ = run("list")
    rows = [line.split() for line in out.splitlines()]
    assert code == 0
    assert rows[1:] == [["staging", "live", "1", pushed], ["other", "absent"], ["local", "absent"]]
    found = json.loads(run("list", "--json")[1])
    assert [(each["stage"], each["state"]) for each in found] == [
        ("staging", "live"),
        ("other", "absent"),
        ("local", "absent"),
    ]


def test_doctor_ends_with_1_when_something_is_ill(run, cloud):
    assert run("doctor", "staging")[0] == 1


def test_doctor_prints_each_finding_with_its_cure(run, cloud):
    _, out, _ = run("doctor", "staging")
    lines = out.splitlines()
    assert lines[0].startswith("ILL  docker client")
    assert lines[1].startswith("     ")  # its cure
    assert any(re.match(r"ok +credentials", line) for line in lines)
    assert any(re.match(r"ok +S3 +nothing there yet", line) for line in lines)


# ---------------------------------------------------------------------------------------------------------- destroy


@contextlib.contextmanager
def terminal(typed):
    """A terminal at which somebody has typed this."""
    ours, theirs = pty.openpty()
    os.write(ours, typed.encode())
    try:
        with os.fdopen(theirs, "r", encoding="utf-8") as stream:
            yield stream
    finally:
        os.close(ours)


def test_destroy_wants_the_name_of_the_stage_typed(run, pushed, monkeypatch):
    with terminal("stagin\n") as stdin:
        code, out, err = run("destroy", "staging", stdin=stdin)
    assert (code, out) == (2, "")
    assert "'stagin' is not staging: nothing was deleted" in err
    assert functions() == ["thampi-doubler-staging"]
    with terminal("staging\n") as stdin:
        code, out, err = run("destroy", "staging", stdin=stdin)
    assert (code, out) == (0, "")
    assert re.search(r"^function +thampi-doubler-staging +deleted", err, re.MULTILINE)
    assert functions() == []


def test_destroy_without_a_terminal_wants_yes(run, pushed):
    code, out, err = run("destroy", "staging")
    assert (code, out) == (2, "")
    assert "there is no terminal to confirm at\nhint: thampi destroy staging --yes" in err
    assert functions() == ["thampi-doubler-staging"]
    code, _, err = run("destroy", "staging", "--yes")
    assert code == 0
    assert err.splitlines()[0] == "doubler, stage staging: account 123456789012, region eu-central-1"
    assert functions() == []
    assert "there was nothing to delete" in run("destroy", "staging", "--yes")[2]


def test_destroy_all_while_another_stage_serves_is_exit_code_2(run, project, pushed):
    assert run("push", "other")[0] == 0
    code, _, err = run("destroy", "staging", "--yes", "--all")
    assert code == 2
    assert "that other still serves" in err
    assert len(functions()) == 2


# ------------------------------------------------------------------------------------------------- through the URL


@pytest.fixture
def answering(monkeypatch):
    """Let every https URL answer so; nothing leaves this machine. Returns what is asked."""

    def answer(status, body):
        asked = []

        def exchange(self, method, target, headers, content, timeout_s):
            asked.append((f"{self._url.scheme}://{self._url.netloc}{target}", content))
            return Answer(status, {}, body.encode())

        monkeypatch.setattr(Connections, "exchange", exchange)
        return asked

    return answer


def test_predict_asks_the_url_and_prints_json(run, pushed, answering):
    asked = answering(200, json.dumps(MODEL))
    code, out, _ = run("predict", "staging", "--data", '{"input": 3}')
    assert (code, json.loads(out)) == (0, MODEL)
    ((url, content),) = asked
    assert (url, json.loads(content)) == (pushed, {"data": {"input": 3}})


def test_a_url_that_refuses_is_exit_code_6(run, pushed, answering):
    answering(400, REFUSAL)
    code, out, err = run("predict", "staging", "--data", "{}")
    assert (code, out) == (6, "")
    assert f"error: {pushed} answered 400: no such flower" in err
