"""What nobody needs goes, what any version of any stage names stays; whatever was done before, and where it ended."""

import contextlib
import itertools
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from botocore.awsrequest import AWSResponse
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from moto.ecr import models as ecr_models
from moto.s3 import models as s3_models

import thampi
from tests.operations.stand import BUCKET, Death, Scale, refusal
from tests.operations.test_push import again, answer
from thampi.aws import lock
from thampi.config import Build
from thampi.errors import CloudError, ReleaseError
from thampi.operations import destroy, garbage, promote, rollback

STAGES = ("staging", "production")
LIMITS = {"AccountLimit": {"ConcurrentExecutions": 1000, "UnreservedConcurrentExecutions": 1000}}


@pytest.fixture(scope="session")
def many(tmp_path_factory):
    """Saved models, by number."""
    folder = tmp_path_factory.mktemp("many")
    return [thampi.save(Scale(n), "scale", folder / str(n), instance_id=f"many-{n}", verify=False) for n in range(6)]


@pytest.fixture(autouse=True)
def times_that_differ(monkeypatch):
    """S3 and ECR say when something came in whole seconds, and these tests are faster."""
    base, seconds = datetime.now(UTC).replace(tzinfo=None, microsecond=0), itertools.count()
    put = ecr_models.Image.__init__

    def made(self, *args, **kwargs):
        put(self, *args, **kwargs)
        self.image_pushed_at = int(time.time()) + next(seconds)

    monkeypatch.setattr(s3_models, "utcnow", lambda: base + timedelta(seconds=next(seconds)))
    monkeypatch.setattr(ecr_models.Image, "__init__", made)


def function(stage):
    return f"thampi-scale-{stage}"


def versions(stand, stage="staging"):
    client = stand.clients["lambda"]
    with contextlib.suppress(client.exceptions.ResourceNotFoundException):
        return [each["Version"] for each in client.list_versions_by_function(FunctionName=function(stage))["Versions"]][
            1:
        ]
    return []


def models(stand):
    listed = stand.clients["s3"].list_objects_v2(Bucket=BUCKET, Prefix="thampi/scale/models/").get("Contents", [])
    return {each["Key"].split("/")[3] for each in listed}


def images(stand):
    return {
        each["imageDigest"]
        for each in stand.clients["ecr"].describe_images(repositoryName="thampi-scale")["imageDetails"]
    }


def stage_of(stand, model, stage="staging", keep=2, requirements="", **more):
    """The stage, to be pushed with a model, and an image of some requirements."""
    file = stand.stage.project_dir / f"wants-{requirements or 'nothing'}.txt"
    file.write_text(requirements)
    return replace(
        stand.stage, stage=stage, model_dir=model, keep_releases=keep, build=Build(dependency_file=file), **more
    )


# ----------------------------------------------------------------------------------------- what goes, what stays


def test_as_many_releases_as_are_to_be_kept_are_kept_with_their_images_and_models(stand, many):
    for number in range(5):
        stand.push(stage_of(stand, many[number], requirements=f"six==1.1{number}.0"))
    assert versions(stand) == ["4", "5"]
    assert models(stand) == {"many-3", "many-4"}
    assert len(images(stand)) == 2
    assert any(
        "deleted what is older than the 2 releases to keep: 1 release, 1 image, 1 model" in x for x in stand.said
    )
    assert rollback.rollback(stand.stage, stand.place, say=stand.said.append).version == "4"


def test_where_nothing_is_too_much_one_call_finds_that_out(stand, many):
    stand.push(stage_of(stand, many[0]))
    again(stand, stage_of(stand, many[1]))
    after = stand.calls[stand.calls.index("lambda.UpdateAlias") + 1 :]
    assert after == ["lambda.ListVersionsByFunction", "s3.DeleteObject"]


def test_what_is_live_and_what_an_alias_of_anybody_names_stays_however_old_it_is(stand, many):
    stand.push(stage_of(stand, many[0]))
    stand.clients["lambda"].create_alias(FunctionName=function("staging"), Name="mine", FunctionVersion="1")
    for number in (1, 2, 3):
        stand.push(stage_of(stand, many[number]))
    assert versions(stand) == ["1", "3", "4"]
    assert models(stand) == {"many-0", "many-2", "many-3"}


def test_a_share_of_an_alias_names_a_version_too(stand, many):
    stand.push(stage_of(stand, many[0]))
    stand.push(stage_of(stand, many[1]))
    shares = {"AdditionalVersionWeights": {"1": 0.5}}
    stand.clients["lambda"].create_alias(
        FunctionName=function("staging"), Name="mine", FunctionVersion="2", RoutingConfig=shares
    )
    for number in (2, 3, 4):
        stand.push(stage_of(stand, many[number], keep=1))
    assert versions(stand) == ["1", "2", "5"]
    assert models(stand) == {"many-0", "many-1", "many-4"}


def test_what_never_was_live_goes_before_what_was(stand, many):
    stand.push(stage_of(stand, many[0]))
    for number in (1, 2):
        stand.before = lambda call: (
            answer({"errorType": "ModelFailed", "errorMessage": "no"}, FunctionError="Unhandled")
            if call == "lambda.Invoke"
            else None
        )
        with pytest.raises(ReleaseError):
            stand.push(stage_of(stand, many[number]))
        stand.undisturbed()
    stand.push(stage_of(stand, many[3]))
    assert versions(stand) == ["1", "4"]


def test_what_is_newer_than_what_is_live_stays(stand, many):
    for number in range(3):
        stand.push(stage_of(stand, many[number], keep=3))
    rollback.rollback(stand.stage, stand.place, to="1", say=stand.said.append)
    assert garbage.old_versions(stage_of(stand, many[0], keep=1), stand.place) == ()
    stand.push(stage_of(stand, many[3], keep=3), canary=10)
    assert versions(stand) == ["1", "2", "3", "4"]


def test_what_another_stage_serves_stays_also_one_that_this_project_file_does_not_know(stand, many):
    stand.push(stage_of(stand, many[0], "ann", requirements="six==1.10.0"))
    for number in range(1, 5):
        stand.push(stage_of(stand, many[number], keep=1, requirements=f"six==1.1{number}.0"))
    assert versions(stand) == ["4"]
    assert models(stand) == {"many-0", "many-4"}
    assert len(images(stand)) == 2


def test_what_the_function_itself_names_stays_for_lambda_takes_no_update_without_its_image(stand, many):
    stand.push(stage_of(stand, many[0], "production", requirements="six==1.10.0"))
    stand.before = lambda call: refusal("ValidationException") if call == "lambda.PublishVersion" else None
    with pytest.raises(CloudError):
        stand.push(stage_of(stand, many[1], "production", requirements="six==1.11.0"))
    stand.undisturbed()
    for number in (2, 3, 4):
        stand.push(stage_of(stand, many[number], keep=1, requirements=f"six==1.1{number}.0"))
    assert models(stand) == {"many-0", "many-1", "many-4"}
    assert len(images(stand)) == 3


def test_where_lambda_does_not_say_the_digest_of_a_version_it_is_asked_for(stand, many, monkeypatch):
    """Who plays AWS may say something else for CodeSha256."""
    stand.push(stage_of(stand, many[0], "production", requirements="six==1.10.0"))
    stand.push(stage_of(stand, many[1], "production", requirements="six==1.11.0"))
    told = garbage.release.versions
    monkeypatch.setattr(
        garbage.release, "versions", lambda *of: tuple(replace(each, code_sha256="c2hh") for each in told(*of))
    )
    for number in (2, 3):
        stand.push(stage_of(stand, many[number], keep=1, requirements=f"six==1.1{number}.0"))
    assert len(images(stand)) == 3


def test_images_and_models_stay_while_another_stage_is_being_changed(stand, many):
    stand.push(stage_of(stand, many[0], "production"))
    with lock.hold(stand.place.aws, BUCKET, "scale", "production", who="ann@laptop"):
        for number in (1, 2):
            stand.push(stage_of(stand, many[number], keep=1))
    assert versions(stand) == ["2"]
    assert models(stand) == {"many-0", "many-1", "many-2"}
    assert any("images and models stay for now: another run is changing scale production: ann" in x for x in stand.said)


def test_a_first_push_of_a_new_stage_that_has_no_function_yet_counts_too(stand, many):
    stand.push(stage_of(stand, many[0]))
    with lock.hold(stand.place.aws, BUCKET, "scale", "brandnew", who="ann@laptop"):
        for number in (1, 2):
            stand.push(stage_of(stand, many[number], keep=1))
    assert models(stand) == {"many-0", "many-1", "many-2"}


def test_no_other_stage_can_be_changed_while_shared_things_are_deleted(stand, many):
    stand.push(stage_of(stand, many[0], "production"))
    stand.push(stage_of(stand, many[1], keep=1))
    held = []

    def look(call):
        if call in ("s3.DeleteObjects", "ecr.BatchDeleteImage"):
            held.append(set(lock.stages(stand.place.aws, BUCKET, "scale")))

    stand.before = look
    stand.push(stage_of(stand, many[2], keep=1, requirements="six==1.12.0"))
    stand.push(stage_of(stand, many[3], keep=1, requirements="six==1.13.0"))
    assert held
    assert all(each == {"staging", "production"} for each in held)
    stand.undisturbed()
    assert lock.stages(stand.place.aws, BUCKET, "scale") == ()


def test_who_meets_one_that_tidies_up_waits_for_it(stand, many):
    stand.push(stage_of(stand, many[0]))
    tidying = lock.hold(stand.place.aws, BUCKET, "scale", "staging", who=f"bob@ci{lock.TIDYING}")
    tidying.__enter__()
    done = []

    def end(seconds):
        if not done:
            done.append(seconds)
            tidying.__exit__(None, None, None)

    place = replace(stand.place, aws=replace(stand.place.aws, sleep=end))
    with lock.hold(place.aws, BUCKET, "scale", "staging", who="ann@laptop"):
        assert done


@pytest.mark.parametrize(
    "call", ["lambda.ListVersionsByFunction", "lambda.ListAliases", "lambda.DeleteFunction", "ecr.DescribeImages"]
)
def test_who_may_not_delete_has_released_all_the_same_and_is_told(stand, many, call):
    stand.push(stage_of(stand, many[0]))
    stand.push(stage_of(stand, many[1]))
    stand.before = lambda asked: refusal("AccessDeniedException", 403) if asked == call else None
    pushed = stand.push(stage_of(stand, many[2]))
    stand.undisturbed()
    assert pushed.version == "3"
    assert stand.answers() == "many-2"
    assert any("older releases were left where they are: " in line for line in stand.said)


def test_collecting_thoroughly_finds_what_earlier_runs_have_left(stand, many):
    stand.push(stage_of(stand, many[0]))
    for number in (1, 2, 3):
        stand.before = lambda call: (
            refusal("ValidationException") if call == "lambda.UpdateFunctionConfiguration" else None
        )
        with pytest.raises(CloudError):
            stand.push(stage_of(stand, many[number]))
        stand.undisturbed()
    assert models(stand) == {"many-0", "many-1", "many-2", "many-3"}
    stage = stage_of(stand, many[0], keep=1)
    with lock.hold(stand.place.aws, BUCKET, "scale", "staging", who="me") as held:
        found = garbage.collect(stage, stand.place, held, say=stand.said.append, thorough=True)
        assert found.models == ("many-2", "many-1")
        assert not garbage.collect(stage, stand.place, held, say=stand.said.append, thorough=True)
    assert models(stand) == {"many-0", "many-3"}
    assert stand.answers() == "many-0"


# ------------------------------------------------------------------------------------- whatever was done before


def deaths(calls):
    """No death, or one before or after AWS does the call of that number."""
    return st.none() | st.tuples(st.sampled_from(["before", "after"]), st.integers(0, calls))


class Stages(RuleBasedStateMachine):
    """Two stages of one project, whose runs may be refused, or die at any call; what is live is known all the time."""

    stand = None  # a subclass has it
    saved = ()

    def __init__(self):
        super().__init__()
        self.account = self.stand.account()
        self.account.__enter__()
        self.live = dict.fromkeys(STAGES)  # (model, memory), or None
        self.candidate = dict.fromkeys(STAGES)
        self.were_live = {stage: set() for stage in STAGES}

    def teardown(self):
        self.account.__exit__(None, None, None)

    @rule(
        stage=st.sampled_from(STAGES),
        model=st.integers(0, 3),
        image=st.integers(0, 1),
        good=st.integers(0, 3).map(bool),
        canary=st.sampled_from([None, None, 10.0]),
        ready=st.sampled_from([None, None, 3]),
        dies=deaths(75),
    )
    def push(self, stage, model, image, good, canary, ready, dies):
        wanted = stage_of(self.stand, self.saved[model], stage, 2, f"six==1.1{image}.0", provisioned_concurrency=ready)
        new = (f"many-{model}", image)
        old = self.live[stage], self.candidate[stage]
        after = (new, None) if canary is None or old[0] in (None, new) else (old[0], new)

        def do():
            return self.stand.push(wanted, canary=canary, force=True)

        ended = self.act(stage, do, old, {after}, good=good, dies=dies)
        if ended:
            live, candidate = self.numbers(stage)
            wants = {live: 3, candidate: 1} if candidate else {live: 3}
            assert self.ready(stage) == (wants if ready else {})

    @rule(
        stage=st.sampled_from(STAGES),
        dies=deaths(8),
    )
    def promote(self, stage, dies):
        old = self.live[stage], self.candidate[stage]
        stage_ = stage_of(self.stand, self.saved[0], stage)
        self.act(
            stage,
            lambda: promote.promote(stage_, self.stand.place, say=lambda text: None, force=True),
            old,
            {(old[1], None)} if old[1] else set(),
            dies=dies,
        )

    @rule(
        stage=st.sampled_from(STAGES),
        good=st.integers(0, 3).map(bool),
        dies=deaths(12),
    )
    def roll_back(self, stage, good, dies):
        old = self.live[stage], self.candidate[stage]
        stage_ = stage_of(self.stand, self.saved[0], stage)
        after = {(old[0], None)} if old[1] else {(each, None) for each in self.were_live[stage]}
        live, _ = self.numbers(stage)
        if not old[1] and not any(int(each) < int(live or 0) for each in versions(self.stand, stage)):
            after = set()  # it goes back, and never forth
        self.act(
            stage,
            lambda: rollback.rollback(stage_, self.stand.place, say=lambda text: None, force=True),
            old,
            after,
            good=good,
            dies=dies,
        )

    @rule(
        stage=st.sampled_from(STAGES),
        dies=deaths(15),
    )
    def destroy(self, stage, dies):
        old = self.live[stage], self.candidate[stage]
        stage_ = stage_of(self.stand, self.saved[0], stage)
        self.act(
            stage,
            lambda: destroy.destroy(stage_, self.stand.place, who="me", force=True),
            old,
            {(None, None)},
            dies=dies,
        )
        if self.live[stage] is None:
            self.were_live[stage] = set()

    def act(self, stage, do, old, after, *, good=True, dies=None):
        """Do it; what is live then is what was, or one of `after`, and the former only where it didn't end well."""
        count, moment = itertools.count(), dies[0] if dies else None
        told = {"lambda.GetAccountSettings": (AWSResponse("", 200, {}, None), LIMITS)}
        if not good:
            no = {"errorType": "ModelFailed", "errorMessage": "no"}
            told["lambda.Invoke"] = answer(no, FunctionError="Unhandled")

        def interfere(call):
            if moment == "before" and next(count) >= dies[1]:
                raise Death(call)
            return told.get(call)

        def die(call):
            if moment == "after" and next(count) >= dies[1]:
                raise Death(call)

        self.stand.before, self.stand.after = interfere, die
        ended = False
        try:
            do()
            ended = True
        except (ReleaseError, CloudError):
            assert old[0] is None or not after or not good or dies is not None or self.were_live[stage] <= {old[0]}
        except Death:
            pass
        self.stand.undisturbed()
        # What gets no calls costs nothing.
        assert not ended or {*self.ready(stage)} <= {*self.numbers(stage)}
        if dies:
            self.wait_a_minute()
        seen = self.callers_get(stage)
        assert seen in (after if ended else {*after, old}), (seen, after, old, ended)
        if old[0] is not None:
            self.were_live[stage].add(old[0])
        self.live[stage], self.candidate[stage] = seen
        return ended

    def numbers(self, stage):
        """The versions that are live and candidate; None where there is none."""
        client = self.stand.clients["lambda"]
        try:
            alias = client.get_alias(FunctionName=function(stage), Name="live")
        except client.exceptions.ResourceNotFoundException:
            return None, None
        shares = (alias.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {}
        return alias["FunctionVersion"], next(iter(shares), None)

    def ready(self, stage):
        """How many environments of each version stand ready, and cost."""
        client = self.stand.clients["lambda"]
        try:
            listed = client.list_provisioned_concurrency_configs(FunctionName=function(stage))
        except client.exceptions.ResourceNotFoundException:
            return {}
        return {
            each["FunctionArn"].rpartition(":")[2]: each["RequestedProvisionedConcurrentExecutions"]
            for each in listed["ProvisionedConcurrencyConfigs"]
        }

    def wait_a_minute(self):
        """Let the locks of dead runs lapse."""
        s3 = self.stand.clients["s3"]
        with contextlib.suppress(s3.exceptions.NoSuchBucket):
            for each in s3.list_objects_v2(Bucket=BUCKET, Prefix="thampi/scale/locks/").get("Contents", []):
                s3.delete_object(Bucket=BUCKET, Key=each["Key"])

    def callers_get(self, stage):
        client = self.stand.clients["lambda"]
        try:
            alias = client.get_alias(FunctionName=function(stage), Name="live")
        except client.exceptions.ResourceNotFoundException:
            return None, None
        shares = (alias.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {}
        assert len(shares) <= 1
        return self.content(stage, alias["FunctionVersion"]), *(self.content(stage, each) for each in shares or [None])

    def content(self, stage, version):
        if version is None:
            return None
        found = self.stand.clients["lambda"].get_function(FunctionName=function(stage), Qualifier=version)
        model = found["Configuration"]["Environment"]["Variables"]["THAMPI_MODEL"].rpartition("/")[2]
        return model, self.images().get(found["Code"]["ImageUri"].rpartition("@")[2])

    def images(self):
        """The images of the repository: which of the two each is, by its digest."""
        ecr, tags = self.stand.clients["ecr"], {}
        for number in range(2):
            plan = self.stand.plan(stage_of(self.stand, self.saved[0], requirements=f"six==1.1{number}.0"))
            tags[plan.model.digest] = number
        with contextlib.suppress(ecr.exceptions.RepositoryNotFoundException):
            listed = ecr.describe_images(repositoryName="thampi-scale")["imageDetails"]
            return {each["imageDigest"]: tags[each["imageTags"][0]] for each in listed}
        return {}

    @invariant()
    def what_any_version_of_any_stage_names_is_there(self):
        for stage in STAGES:
            for version in versions(self.stand, stage):
                model, image = self.content(stage, version)
                assert image is not None, f"{stage} {version}: its image is gone"
                listed = self.stand.clients["s3"].list_objects_v2(Bucket=BUCKET, Prefix=f"thampi/scale/models/{model}/")
                names = {each["Key"].rpartition("/")[2] for each in listed.get("Contents", [])}
                assert {path.name for path in self.saved[int(model[-1])].iterdir()} <= names, (
                    f"{stage} {version}: {model}"
                )

    @invariant()
    def no_more_is_kept_than_is_to_be(self):
        for stage in STAGES:
            # Two to roll back to, a candidate, and what a run that failed or died has left beyond.
            assert len(versions(self.stand, stage)) <= 2 + 25


def _run(accounts, many, examples, steps):
    machine = type("Stages", (Stages,), {"stand": accounts, "saved": many})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=False,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_no_story_of_two_stages_deletes_what_is_in_use_or_makes_live_what_was_not_wanted(accounts, many):
    _run(accounts, many, examples=12, steps=12)


@pytest.mark.long
def test_no_story_of_two_stages_deletes_what_is_in_use_however_long(accounts, many):
    _run(accounts, many, examples=300, steps=30)
