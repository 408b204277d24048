"""A mock and its model, and bodies that are checked: what callers get when a push of these fails; see `faults`."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

import thampi
from tests.operations.faults import Case, story
from tests.operations.stand import Death, Stand
from thampi.config import Api, Build
from thampi.operations import gateway_schema, promote, rollback
from thampi.runtime import bundle


class Takes(thampi.Model):
    """Takes what its hint says."""

    def predict(self, data: Any, context: Any) -> Any:
        return data


REST = Api(type="rest")
UNCHECKED = Api(type="rest", validate=False)
MOCK = Api(type="rest", mock=True, mock_result={"label": "setosa $1 #2"})
OTHER_MOCK = Api(type="rest", mock=True, mock_result=[1])
EXAMPLE, OTHER_EXAMPLE = f"example {MOCK.mock_result}", "example [1]"


@pytest.fixture(scope="module")
def hinted(tmp_path_factory) -> dict[str, Path]:
    """Saved models that take a number, a number too, and a text."""
    folder = tmp_path_factory.mktemp("hinted")
    found = {}
    for name, hint in (("number", float), ("number2", float), ("text", str), ("anything", Any)):
        Takes.predict.__annotations__["data"] = hint
        # The same name would be the same folder.
        found[name] = thampi.save(Takes(), "takes", folder / name, instance_id=name, verify=False)
    return found


def schema(folder: Path) -> str | None:
    return gateway_schema.make(bundle.read(folder).signature)


@dataclass(frozen=True)
class Told(Case):
    """A push of models that say what they take; `models` before and after, by their names."""

    models: tuple[str, str] = ("number", "number")
    folders: dict[str, Path] = field(default_factory=dict, compare=False)

    def prepare(self, stand):
        if self.old is not None:
            stand.push(self._stage(stand, self.models[0], self.before))
            stand.calls.clear()

    def stage(self, stand):
        return self._stage(stand, self.models[1], {**self.before, **self.settings})

    def push(self, stand, **more):
        try:
            return super().push(stand, **more)
        finally:
            nobody_is_refused(stand, self.folders)

    def _stage(self, stand, model, settings):
        folder = self.folders[model]
        build = Build(dependency_file=stand.stage.build.dependency_file)
        return replace(stand.stage, model_dir=folder, build=build, **settings)


def nobody_is_refused(stand: Stand, folders: dict[str, Path]) -> None:
    """Whatever gets calls takes what the gateway lets through, and the gateway lets through all that it takes."""
    checks = stand.checks()
    if checks is not None:
        assert {schema(folders[model]) for model in called(stand)} == {checks}


def watched(stand: Stand, folders: dict[str, Path]) -> Callable[[str], None]:
    """Return what looks, after each call that callers may see something of."""

    def after(call: str) -> None:
        if call.split(".")[1] in ("CreateStage", "UpdateStage", "CreateAlias", "UpdateAlias") and stand.live():
            nobody_is_refused(stand, folders)

    return after


def called(stand: Stand) -> list[str]:
    """Return the ids of the models that get calls through the alias."""
    client, name = stand.clients["lambda"], f"thampi-{stand.stage.name}-{stand.stage.stage}"
    alias = client.get_alias(FunctionName=name, Name="live")
    versions = [alias["FunctionVersion"], *(alias.get("RoutingConfig") or {}).get("AdditionalVersionWeights", {})]
    found = [client.get_function_configuration(FunctionName=name, Qualifier=each) for each in versions]
    return [each["Environment"]["Variables"]["THAMPI_MODEL"].rpartition("/")[2] for each in found]


CASES = {
    "first push of a mock": Told("apigateway.CreateStage", None, EXAMPLE, {"api": MOCK}),
    "another example": Told("apigateway.UpdateStage", EXAMPLE, OTHER_EXAMPLE, {"api": OTHER_MOCK}, {"api": MOCK}),
    "from the mock to the model": Told("apigateway.UpdateStage", EXAMPLE, "number", {"api": REST}, {"api": MOCK}),
    "from the model to the mock": Told("apigateway.UpdateStage", "number", EXAMPLE, {"api": MOCK}, {"api": REST}),
    "first push": Told("lambda.AddPermission", None, "number", {"api": REST}),
    "bodies are checked from now on": Told(
        "lambda.UpdateAlias", "number", "number", {"api": REST}, {"api": UNCHECKED}, flips=2
    ),
    "bodies are checked no more": Told(
        "lambda.UpdateAlias", "number", "number", {"api": UNCHECKED}, {"api": REST}, flips=2
    ),
    "a model with another signature": Told(
        "lambda.UpdateAlias", "number", "text", {"api": REST}, {"api": REST}, 3, ("number", "text")
    ),
    "a model without a signature": Told(
        "lambda.UpdateAlias", "number", "anything", {"api": REST}, {"api": REST}, 3, ("number", "anything")
    ),
    "a model that has one at last": Told(
        "lambda.UpdateAlias", "anything", "text", {"api": REST}, {"api": REST}, 3, ("anything", "text")
    ),
}
_WRITTEN = (
    *("first push of a mock", "from the mock to the model", "from the model to the mock"),
    *("a model with another signature", "bodies are checked from now on"),
)
_STORIES = [(name, "died after", "apigateway") for name in _WRITTEN]
_STORIES += [
    (name, "died after", "lambda") for name in ("a model with another signature", "from the mock to the model")
]


@pytest.mark.parametrize(("name", "kind", "service"), _STORIES)
def test_a_push_that_fails_changes_nothing_for_callers_and_the_next_one_ends_like_an_undisturbed_one(
    accounts, hinted, name, kind, service
):
    CASES[name].folders.update(hinted)
    problems = story(accounts, CASES[name], kind, service, sampled=True)
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("name", CASES)
def test_it_ends_in_nothing_to_do_and_in_a_check_by_what_is_live(accounts, hinted, name):
    case = CASES[name]
    case.folders.update(hinted)
    with accounts.account() as stand:
        case.prepare(stand)
        case.push(stand)
        api = case.stage(stand).api
        checked = api.validate and not api.mock
        wanted = schema(hinted[case.models[1]]) if checked else None
        assert stand.checks() == wanted
        (rest,) = stand.snapshot()["REST APIs"]
        assert (len(rest["models"]), rest["validators"], len(rest["deployments"])) == (bool(wanted), bool(wanted), 1)
        stand.calls.clear()
        again = case.push(stand)
        assert not again.changed, again.rows
        written = ("Create", "Put", "Update", "Delete", "Add", "Remove", "Publish", "Tag", "Invoke")
        assert not [each for each in stand.calls if each.split(".")[1].startswith(written)]


@pytest.mark.parametrize("name", CASES)
def test_at_no_moment_is_anybody_refused_what_is_called_takes(accounts, hinted, name):
    case = CASES[name]
    case.folders.update(hinted)
    with accounts.account() as stand:
        case.prepare(stand)

        stand.after = watched(stand, hinted)
        case.push(stand)


def test_a_model_with_an_equal_signature_is_a_push_that_asks_the_gateway_for_its_url_alone(accounts, hinted):
    with accounts.account() as stand:
        stage = replace(stand.stage, api=REST, model_dir=hinted["number"])
        stand.push(stage)
        checks = stand.checks()
        stand.calls.clear()
        stand.push(replace(stage, model_dir=hinted["number2"]))
        assert [each for each in stand.calls if each.startswith("apigateway.")] == ["apigateway.GetRestApis"]
        assert len(stand.calls) <= 25
        assert stand.checks() == checks
        assert checks is not None
        assert called(stand) == ["number2"]


# ------------------------------------------------------------------------------------- rollback, promote and canaries


@dataclass
class Canary:
    """A stage with the models before and after, each pushed."""

    stand: Stand
    hinted: dict[str, Path]

    def push(self, model, **more):
        self.stand.push(replace(self.stand.stage, api=REST, model_dir=self.hinted[model]), **more)

    def rollback(self, **more):
        return rollback.rollback(
            replace(self.stand.stage, api=REST), self.stand.place, say=self.stand.said.append, **more
        )

    def promote(self, **more):
        return promote.promote(
            replace(self.stand.stage, api=REST), self.stand.place, say=self.stand.said.append, **more
        )

    def checks_by(self, model):
        return self.stand.checks() == (schema(self.hinted[model]) if model else None)


@pytest.fixture
def canary(accounts, hinted):
    with accounts.account() as stand:
        found = Canary(stand, hinted)
        stand.after = watched(stand, hinted)
        yield found


def test_beside_a_candidate_of_another_signature_nothing_is_checked_until_one_of_them_is_alone(canary):
    canary.push("number")
    canary.push("text", canary=10)
    assert sorted(called(canary.stand)) == ["number", "text"]
    assert canary.checks_by(None)
    canary.promote(to=50)
    assert canary.checks_by(None)
    canary.promote()
    assert called(canary.stand) == ["text"]
    assert canary.checks_by("text")


def test_a_canary_that_is_ended_leaves_the_check_of_what_was_live(canary):
    canary.push("number")
    canary.push("text", canary=10)
    canary.rollback()
    assert called(canary.stand) == ["number"]
    assert canary.checks_by("number")


def test_a_canary_that_watching_ends_leaves_the_check_of_what_was_live(canary):
    canary.push("number")
    canary.push("text", canary=10)
    client = canary.stand.clients["lambda"]
    alias = client.get_alias(FunctionName="thampi-scale-staging", Name="live")
    (candidate,) = alias["RoutingConfig"]["AdditionalVersionWeights"]
    rollback.end_canary(replace(canary.stand.stage, api=REST), canary.stand.place, candidate)
    assert canary.checks_by("number")


def test_beside_a_candidate_of_an_equal_signature_bodies_stay_checked(canary):
    canary.push("number")
    canary.push("number2", canary=10)
    assert canary.checks_by("number")
    canary.promote()
    assert canary.checks_by("number2")


def test_a_rollback_takes_the_check_with_it(canary):
    canary.push("number")
    canary.push("text")
    canary.rollback()
    assert called(canary.stand) == ["number"]
    assert canary.checks_by("number")
    canary.push("text")  # the note of the ground is no reason to leave the check as it is
    assert canary.checks_by("text")
    canary.push("number2")
    assert canary.checks_by("number2")


def test_a_rollback_to_what_says_nothing_checks_nothing(canary):
    canary.push("anything")
    canary.push("text")
    canary.rollback()
    assert canary.checks_by(None)


def test_a_rollback_under_settings_of_another_type_refuses_nobody_at_the_api_that_stands(canary):
    canary.push("number")
    canary.push("text")
    stage = replace(canary.stand.stage, api=Api())
    rollback.rollback(stage, canary.stand.place, say=canary.stand.said.append)
    assert canary.checks_by(None)
    canary.push("number", force=True)
    assert canary.checks_by("number")


@pytest.mark.parametrize(
    ("dies", "nth"), [("apigateway.UpdateStage", 1), ("lambda.UpdateAlias", 1), ("apigateway.CreateDeployment", 2)]
)
def test_a_rollback_that_dies_refuses_nobody_and_the_next_push_finishes(canary, dies, nth):
    canary.push("number")
    canary.push("text")
    watch, made = canary.stand.after, []

    def after(call):
        watch(call)
        made.append(call)
        if call == dies and made.count(call) == nth:
            raise Death(call)

    canary.stand.after = after
    with pytest.raises(Death):
        canary.rollback()
    canary.stand.after = watch
    for model in ("number", "text"):
        canary.push(model, force=True)
        assert canary.checks_by(model)


def test_a_release_whose_model_is_in_its_image_is_not_checked_after_a_rollback_until_the_next_push(canary):
    stage = replace(canary.stand.stage, api=REST, model_dir=canary.hinted["number"])
    canary.stand.after = lambda call: None
    canary.stand.push(replace(stage, build=replace(stage.build, model="image")))
    assert canary.checks_by("number")
    canary.push("text")
    assert canary.checks_by("text")
    canary.rollback()
    assert canary.checks_by(None)
    canary.stand.push(replace(stage, build=replace(stage.build, model="image")))
    assert canary.checks_by("number")


def test_what_a_dead_run_has_written_is_not_served_by_a_rollback(canary):
    canary.push("number")
    canary.push("text")
    before = canary.stand.whom_rest_lets_in()
    stand = canary.stand
    signed = replace(stand.stage, api=replace(REST, auth="iam"), model_dir=canary.hinted["text"])
    watch = stand.after

    def after(call):
        if call == "apigateway.UpdateMethod":
            raise Death(call)

    stand.after = after
    with pytest.raises(Death):
        stand.push(signed)
    stand.after = watch
    canary.rollback(force=True)
    assert canary.checks_by("number")
    assert stand.whom_rest_lets_in() == before
