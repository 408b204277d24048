"""thampi keys, by its words, streams and exit codes: the value of a key is where it was asked for, and nowhere else."""

import json
import os
import pty

import boto3
import pytest
from moto.apigateway.models import apigateway_backends

from tests.aws import strict_keys, strict_rest
from tests.aws.conftest import no_real_aws, service_models_read_once  # noqa: F401 - fixtures of every test here
from tests.test_cli_cloud import (  # noqa: F401 - fixtures
    REGION,
    TOML,
    answer_next,
    bring_image,
    cloud,
    project,
    run,
    saved,
)

NAME = "thampi-doubler-staging"
REST = '[stages.staging.api]\ntype = "rest"\nauth = "api_key"\n'


@pytest.fixture
def asking(project, cloud, monkeypatch):  # noqa: F811
    """A project whose stage `staging` asks for keys; nothing was pushed yet."""
    strict_rest.rest_apis_are_strict(monkeypatch)
    strict_keys.keys_are_strict(monkeypatch)
    settings(project)
    return project


def settings(folder, api=REST):
    (folder / "thampi.toml").write_text(TOML + api)


def gateway():
    return boto3.client("apigateway", region_name=REGION)


def values():
    return [each["value"] for each in gateway().get_api_keys(includeValues=True)["items"]]


def test_create_prints_the_value_alone_on_stdout_and_says_first_where(run, asking):  # noqa: F811
    code, out, err = run("keys", "staging", "create", "anna")
    assert (code, out) == (0, f"{values()[0]}\n"), err
    assert err.splitlines()[0] == f"doubler, stage staging: account 123456789012, region {REGION}"
    assert "key anna" in err
    assert values()[0] not in err


def test_create_makes_the_plan_before_anything_was_pushed(run, asking):  # noqa: F811
    settings(asking, REST + "plan.quota = 100\nplan.rate_per_s = 2.5\n")
    run("keys", "staging", "create", "anna")
    (plan,) = gateway().get_usage_plans()["items"]
    assert (plan["name"], plan["quota"]["limit"], plan["throttle"]) == (NAME, 100, {"rateLimit": 2.5, "burstLimit": 3})
    (held,) = gateway().get_usage_plan_keys(usagePlanId=plan["id"])["items"]
    assert held["name"] == f"{NAME}-anna"


def test_create_as_json_has_all_of_it(run, asking):  # noqa: F811
    code, out, err = run("keys", "staging", "create", "anna", "--json")
    found = json.loads(out)
    assert code == 0, err
    assert (found["label"], found["value"], found["enabled"], found["in_plan"]) == ("anna", values()[0], True, True)
    assert set(found) == {"label", "id", "created_utc", "enabled", "in_plan", "used", "remaining", "value"}


def test_a_label_that_is_taken_is_refused_with_what_shows_it(run, asking):  # noqa: F811
    run("keys", "staging", "create", "anna")
    code, out, err = run("keys", "staging", "create", "anna")
    assert (code, out) == (2, "")
    assert "error: stage staging has a key anna already, of 20" in err
    assert "hint: thampi keys staging show anna prints it" in err
    assert len(values()) == 1


def test_a_key_that_was_begun_is_finished_by_create(run, asking):  # noqa: F811
    tags = {"thampi:project": "doubler", "thampi:stage": "staging", "thampi:key": "anna"}
    gateway().create_api_key(name=f"{NAME}-anna", enabled=True, tags=tags)
    code, out, err = run("keys", "staging", "list")
    assert code == 0, err
    assert "unfinished: thampi keys staging create anna" in " ".join(out.split())
    code, out, err = run("keys", "staging", "create", "anna")
    assert (code, out) == (0, f"{values()[0]}\n"), err
    assert len(values()) == 1


@pytest.mark.parametrize("label", ["an na", "-anna", "anna/1", "", "ännä", "a..b", "x" * 200])
def test_a_label_that_is_none_is_refused_before_aws_is_asked(run, asking, label):  # noqa: F811
    code, out, err = run("keys", "staging", "create", "--", label)
    assert (code, out) == (2, "")
    assert f"error: a key can't be called {label!r}: a label is letters and digits" in err
    assert "account" not in err


def test_the_longest_label_makes_a_name_of_128(run, asking):  # noqa: F811
    longest = "x" * (128 - len(f"{NAME}-"))
    assert run("keys", "staging", "create", longest)[0] == 0
    assert run("keys", "staging", "create", f"{longest}x")[0] == 2
    assert len(gateway().get_api_keys()["items"][0]["name"]) == 128


def test_list_shows_all_but_the_values(run, asking):  # noqa: F811
    settings(asking, REST + 'plan.quota = 100\nplan.period = "day"\n')
    for label in ("ben", "anna"):
        run("keys", "staging", "create", label)
    (plan,) = gateway().get_usage_plans()["items"]
    ids = {each["name"].rpartition("-")[2]: each["id"] for each in gateway().get_api_keys()["items"]}
    apigateway_backends["123456789012"][REGION].usage_plans[plan["id"]].used = {ids["ben"]: 40}
    code, out, err = run("keys", "staging", "list", "--json")
    found = json.loads(out)
    assert code == 0, err
    assert [(each["label"], each["id"], each["used"], each["remaining"]) for each in found] == [
        ("anna", ids["anna"], None, None),
        ("ben", ids["ben"], 40, 60),
    ]
    code, table, err = run("keys", "staging", "list")
    assert code == 0, err
    assert "40 of 100 used" in table
    assert "enabled" in table
    for value in values():
        assert value not in out + table + err


def test_list_without_a_key_says_how_to_make_one(run, asking):  # noqa: F811
    code, out, err = run("keys", "staging", "list")
    assert (code, out) == (0, "")
    assert "thampi keys staging create LABEL makes one" in err
    assert run("keys", "staging", "list", "--json")[1] == "[]\n"


def test_show_prints_the_value_alone(run, asking):  # noqa: F811
    run("keys", "staging", "create", "anna")
    code, out, err = run("keys", "staging", "show", "anna")
    assert (code, out) == (0, f"{values()[0]}\n"), err
    assert values()[0] not in err
    assert json.loads(run("keys", "staging", "show", "anna", "--json")[1])["value"] == values()[0]


@pytest.mark.parametrize("words", [("show", "anne"), ("revoke", "anne", "--yes")])
def test_an_unknown_label_is_refused_with_the_one_that_was_meant(run, asking, words):  # noqa: F811
    for label in ("anna", "ben"):
        run("keys", "staging", "create", label)
    code, out, err = run("keys", "staging", *words)
    assert (code, out) == (2, "")
    assert "error: stage staging has no key 'anne', did you mean anna?" in err
    assert "hint: there are: anna, ben" in err
    assert len(values()) == 2


def test_without_any_key_the_way_to_one_is_said(run, asking):  # noqa: F811
    code, _, err = run("keys", "staging", "show", "anna")
    assert code == 2
    assert "hint: thampi keys staging create anna makes it" in err


def test_revoke_deletes_the_key_and_no_other(run, asking):  # noqa: F811
    for label in ("anna", "ben"):
        run("keys", "staging", "create", label)
    code, out, err = run("keys", "staging", "revoke", "anna", "--yes")
    assert (code, out) == (0, "anna\n"), err
    assert "within about half a minute" in err
    assert [each["name"] for each in gateway().get_api_keys()["items"]] == [f"{NAME}-ben"]
    code, out, err = run("keys", "staging", "revoke", "ben", "--yes", "--json")
    assert [each["label"] for each in json.loads(out)] == ["ben"], err


def test_revoke_asks_first_and_needs_a_terminal_to(run, asking):  # noqa: F811
    run("keys", "staging", "create", "anna")
    code, out, err = run("keys", "staging", "revoke", "anna")
    assert (code, out) == (2, "")
    assert "hint: thampi keys staging revoke anna --yes" in err
    for typed, code, left in (("staging\n", 2, 1), ("anna\n", 0, 0)):
        ours, theirs = pty.openpty()
        os.write(ours, typed.encode())
        with os.fdopen(theirs, "r") as terminal:
            assert run("keys", "staging", "revoke", "anna", stdin=terminal)[0] == code
        os.close(ours)
        assert len(values()) == left


@pytest.mark.parametrize("words", [("create", "anna"), ("list",), ("show", "anna"), ("revoke", "anna", "--yes")])
@pytest.mark.parametrize(
    ("api", "said", "cure"),
    [
        ("", 'only a REST API asks for API keys, and stages.staging.api.type is "http"', 'type = "rest"'),
        (
            '[stages.staging.api]\ntype = "rest"\nauth = "iam"\n',
            'nobody is asked for an API key in stage staging: stages.staging.api.auth is "iam"',
            'set auth = "api_key" under [stages.staging.api], then thampi push staging',
        ),
    ],
)
def test_a_stage_that_asks_for_no_keys_is_told_with_the_setting(run, asking, words, api, said, cure):  # noqa: F811
    settings(asking, api)
    code, out, err = run("keys", "staging", *words)
    assert (code, out) == (2, "")
    assert f"error: {said}" in err
    assert cure in err.split("hint: ")[1]


def test_keys_that_are_there_can_be_listed_and_revoked_when_nobody_is_asked_for_them_any_more(run, asking):  # noqa: F811
    run("keys", "staging", "create", "anna")
    settings(asking, "")
    assert [each["label"] for each in json.loads(run("keys", "staging", "list", "--json")[1])] == ["anna"]
    assert run("keys", "staging", "revoke", "anna", "--yes")[0] == 0
    assert values() == []


def test_a_push_says_who_can_call_it_and_how_to_become_one_of_them(run, asking):  # noqa: F811
    bring_image(asking)
    answer_next(json.dumps({"result": 6}))
    code, out, err = run("push", "staging")
    assert (code, "execute-api" in out) == (0, True), err
    assert "who has a key can call it, as the header x-api-key: thampi keys staging create LABEL" in err
    assert "anybody" not in err


def test_help_names_the_commands(run, project):  # noqa: F811
    code, out, _ = run("keys", "--help")
    assert code == 0
    assert [out.index(f"  {each} ") > 0 for each in ("create", "list", "show", "revoke")]
