"""The commands for what was released, by their words, streams and exit codes."""

import json

import boto3
import pytest

import thampi
from tests.aws.conftest import no_real_aws, service_models_read_once  # noqa: F401 - fixtures of every test here
from tests.test_cli_cloud import (  # noqa: F401 - fixtures
    REFUSAL,
    REGION,
    Doubler,
    answer_next,
    cloud,
    project,
    pushed,
    run,
    saved,
)
from thampi.aws.metrics import Measured
from thampi.errors import ReleaseError
from thampi.operations import watch

NAME = "thampi-doubler-staging"


@pytest.fixture
def again(run, project):  # noqa: F811
    """Save another model and push it."""

    def push(*words):
        thampi.save(Doubler(), "doubler", project / "models", verify=False)
        return run("push", "staging", *words)

    return push


def alias():
    return boto3.client("lambda", region_name=REGION).get_alias(FunctionName=NAME, Name="live")


def weights():
    return (alias().get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {}


def test_a_new_model_is_pushed_promoted_and_rolled_back_without_any_docker(run, pushed, again, monkeypatch):  # noqa: F811
    """The project's THAMPI_DOCKER names no docker; here there is none on the PATH, either."""
    monkeypatch.delenv("THAMPI_DOCKER")
    monkeypatch.setenv("PATH", "")
    code, out, err = again("--canary", "10%")
    assert (code, out.strip()) == (0, pushed), err
    assert weights() == {"2": 0.1}
    code, out, err = run("promote", "staging", "--to", "50")
    assert (code, out.strip()) == (0, "1"), err
    assert "share of 2: 10 % -> 50 %" in err
    code, out, err = run("promote", "staging")
    assert (code, out.strip(), weights()) == (0, "2", {}), err
    assert "live: 1 -> 2" in err
    code, out, err = run("rollback", "staging")
    assert (code, out.strip(), alias()["FunctionVersion"]) == (0, "1", "1"), err
    assert "account 123456789012, region eu-central-1" in err


def test_releases_are_a_table_on_stdout_or_json(run, pushed, again):  # noqa: F811
    again("--canary", "10")
    code, out, _ = run("releases", "staging")
    lines = out.splitlines()
    assert code == 0
    assert lines[0].split()[:4] == ["version", "state", "model", "image"]
    assert [line.split()[:3] for line in lines[1:]] == [["2", "candidate", "10"], ["1", "live", "90"]]
    code, out, _ = run("releases", "staging", "--json")
    newest, first = json.loads(out)
    assert (newest["state"], newest["share"], first["state"], first["share"]) == ("candidate", 10, "live", 90)
    assert newest["model"] != first["model"]
    assert newest["recipe"] == first["recipe"]
    assert newest["configuration"]["timeout_s"] == 29


def test_what_moved_is_told_as_json(run, pushed, again):  # noqa: F811
    again()
    code, out, _ = run("rollback", "staging", "--to", "1", "--json")
    assert code == 0
    assert json.loads(out) | {"trial_ms": 0} == {
        "version": "1",
        "before": "2",
        "changes": ["live: 2 -> 1"],
        "trial_ms": 0,
    }


def test_an_old_release_that_refuses_is_exit_code_7(run, pushed, again):  # noqa: F811
    again()
    answer_next(REFUSAL)
    code, out, err = run("rollback", "staging")
    assert (code, out) == (7, "")
    assert "error: version 1 did not become live, version 2 still is: it refuses the trial: no such flower" in err


def test_without_a_candidate_there_is_nothing_to_promote(run, pushed):  # noqa: F811
    code, _, err = run("promote", "staging")
    assert code == 7
    assert "hint: thampi push staging --canary 10" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--canary", "0"], "should be like 10 or 10%"),
        (["--canary", "100"], "should be like 10 or 10%"),
        (["--canary", "ten"], "should be like 10 or 10%"),
        (["--watch", "15m"], "--watch means nothing without --canary"),
        (["--canary", "10", "--max-errors", "1%"], "--max-errors means nothing without --watch"),
        (["--canary", "10", "--watch", "15"], "should be like 15m, 90s or 1h"),
        (["--canary", "10", "--watch", "15m", "--max-p99", "fast"], "should be like 800ms or 2s"),
        (["--max-p99", "1s"], "--max-p99 means nothing without --canary"),
    ],
)
def test_words_that_make_no_sense_are_said_before_anything(run, project, words, said):  # noqa: F811
    code, out, err = run("push", "staging", *words)
    assert (code, out) == (2, "")
    assert said in err


def test_promoting_to_nothing_is_no_promotion(run, project):  # noqa: F811
    code, _, err = run("promote", "staging", "--to", "0")
    assert code == 2
    assert "hint: thampi rollback staging" in err


def test_a_watched_canary_gets_the_limits_that_were_said(run, pushed, again, monkeypatch):  # noqa: F811
    asked = {}

    def watched(stage, place, version, **more):
        asked.update(more, version=version)
        raise ReleaseError("version 2 gets no more calls", hint="thampi logs")

    monkeypatch.setattr(watch, "watch", watched)
    code, out, _ = again(
        "--canary", "5", "--watch", "1h", "--max-errors", "2%", "--max-p99", "1.5s", "--min-requests", "7"
    )
    assert (code, out.strip()) == (7, pushed)
    assert (asked["version"], asked["seconds"]) == ("2", 3600)
    assert asked["limits"] == watch.Limits(max_errors=0.02, max_p99_ms=1500, requests=7)


def test_a_watched_canary_that_does_well_is_live_at_the_end(run, pushed, again, monkeypatch):  # noqa: F811
    real = watch.watch

    def quickly(stage, place, version, **more):
        return real(stage, place, version, source=lambda *_: Measured(200, 0, 5.0), **{**more, "seconds": -120.0})

    monkeypatch.setattr(watch, "watch", quickly)
    code, _, err = again("--canary", "5", "--watch", "1m")
    assert (code, alias()["FunctionVersion"], weights()) == (0, "2", {}), err
    assert "version 2 becomes live: 0 of 200 requests failed" in err


def test_cleaning_tells_what_it_takes_and_before_what_it_would(run, pushed, again, project, monkeypatch):  # noqa: F811
    monkeypatch.setenv("XDG_CACHE_HOME", str(project / "cache"))
    toml = project / "thampi.toml"
    again()
    again()
    toml.write_text(toml.read_text().replace("[build]", "keep_releases = 1\n[build]"))
    code, out, err = run("clean", "--dry-run")
    assert code == 0, err
    assert "would be deleted" in out
    assert ["staging", "version", "1"] in [line.split() for line in out.splitlines()]
    code, out, _ = run("clean", "--json")
    assert json.loads(out)["stages"]["staging"]["versions"] == ["1", "2"]
    # Of three one is in use and one the newest, which of those of one second may be another.
    assert len(json.loads(out)["stages"]["staging"]["models"]) in (1, 2)
    code, out, err = run("clean")
    assert (code, out) == (0, "")
    assert "there was nothing to delete" in err


def test_a_stage_that_can_not_be_asked_keeps_nobody_from_cleaning_the_others(run, pushed, again, project, monkeypatch):  # noqa: F811
    monkeypatch.setenv("XDG_CACHE_HOME", str(project / "cache"))
    toml = project / "thampi.toml"
    again()
    text = toml.read_text().replace("[build]", "keep_releases = 1\n[build]")
    toml.write_text(text.replace("[stages.other]", '[stages.other]\nprofile = "gone"'))
    code, out, err = run("clean", "--json")
    assert code == 0, err
    assert json.loads(out)["stages"]["staging"]["versions"] == ["1"]
    assert "stage other is left as it is: " in err


def test_what_is_live_on_one_stage_is_released_on_another(run, pushed, again, project):  # noqa: F811
    again()
    (project / "models").rename(project / "elsewhere")
    code, out, err = run("push", "other", "--from", "staging")
    assert code == 0, err
    assert out.strip().endswith("/other/doubler/predict")
    assert "releasing version 2 of staging" in err
    code, out, err = run("push", "other", "--from", "staging", "--json", "--dry-run")
    assert (code, json.loads(out)["changed"]) == (0, False), err


def test_from_a_stage_takes_no_other_model(run, project):  # noqa: F811
    code, _, err = run("push", "other", "--from", "staging", "--model_dir", "models/doubler")
    assert code == 2
    assert "--model-dir and --from exclude each other" in err


def test_the_policy_of_a_stage_is_json_on_stdout(run, project, cloud):  # noqa: F811
    code, out, err = run("doctor", "staging", "--policy")
    assert code == 0, err
    found = json.loads(out)
    assert found["Version"] == "2012-10-17"
    assert "lambda:UpdateAlias" in [action for each in found["Statement"] for action in each["Action"]]
    assert run("doctor", "--policy")[0] == 2
