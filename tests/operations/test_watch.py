"""A canary is judged by recorded series: promoted only on enough requests, rolled back as soon as it is lost."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.operations.stand import Death
from tests.operations.test_push import other_model
from tests.operations.test_releases import states, weights
from thampi.aws.metrics import Measured
from thampi.errors import CloudError, ReleaseError
from thampi.operations import promote, rollback, watch
from thampi.operations.watch import Limits

BEGUN = datetime(2026, 9, 6, 22, 3, 4, tzinfo=UTC)
WELL = [(60 * (n + 1), 0, 80.0) for n in range(30)]  # requests, errors and p99 so far, at the end of each minute


class Player:
    """Plays series of measurements; time passes only while somebody sleeps."""

    def __init__(self, live=WELL, candidate=WELL):
        self.series, self.moment, self.asked = {"1": live, "2": candidate}, BEGUN, []
        self.at = {}

    def sleep(self, seconds):
        assert seconds >= 0
        self.moment += timedelta(seconds=seconds)
        for moment in [each for each in self.at if each <= (self.moment - BEGUN).total_seconds()]:
            self.at.pop(moment)()

    def source(self, version, start, end):
        self.asked.append((version, start, end))
        minute = int((end - start).total_seconds() // 60)
        return Measured(*self.series[version][minute - 1]) if minute else Measured()


@pytest.fixture
def canary(stand):
    """A candidate 2 with 10 % beside version 1."""
    stand.push()
    stand.push(other_model(stand), canary=10)
    stand.said.clear()
    return stand


def watched(stand, player, *, seconds=600, **limits):
    place = replace(stand.place, aws=replace(stand.place.aws, sleep=player.sleep))
    return watch.watch(
        stand.stage,
        place,
        "2",
        seconds=seconds,
        limits=Limits(**limits),
        say=stand.said.append,
        source=player.source,
        now=lambda: player.moment,
    )


def test_a_candidate_that_does_well_is_promoted_when_the_time_is_over_and_not_before(canary):
    player = Player()
    player.at = {590: lambda: seen.append(canary.answers())}
    seen = []
    moved = watched(canary, player, max_p99_ms=100)
    assert (moved.version, moved.before) == ("2", "1")
    assert (canary.answers(), weights(canary), seen) == ("model-3", {}, ["model-2"])
    # CloudWatch counts late: what was done until the end is asked for when it has arrived.
    assert (player.moment - BEGUN).total_seconds() == 720
    assert max(end for _, _, end in player.asked) == BEGUN + timedelta(seconds=600)


def test_both_are_shown_side_by_side_as_they_come(canary):
    watched(canary, Player(live=[(600, 3, 70.0)] * 30), seconds=120)
    assert canary.said[0] == "watching version 2 for 2m"
    assert (
        canary.said[1]
        == "    1m  live 1: 600 requests, 0.5 % failed, p99 70 ms   candidate 2: 60 requests, 0 % failed, p99 80 ms"
    )
    assert canary.said[-1] == "version 2 becomes live: 0 of 120 requests failed"


def test_a_candidate_that_fails_too_often_gets_no_more_calls_as_soon_as_that_is_sure(canary):
    player = Player(candidate=[(50, 0, 9.0), (100, 1, 9.0), (150, 2, 9.0), (1000, 2, 9.0)])
    with pytest.raises(
        ReleaseError, match="version 2 gets no more calls, version 1 has all of them again: 2 of 150"
    ) as no:
        watched(canary, player)
    assert no.value.exit_code == 7
    assert (player.moment - BEGUN).total_seconds() == 180
    assert (canary.answers(), weights(canary)) == ("model-2", {})
    assert states(canary) == {"2": ("", 0), "1": ("live", 100)}


def test_a_candidate_that_is_too_slow_is_rolled_back_at_the_end(canary):
    slow = [(n, e, 801.0) for n, e, _ in WELL]
    with pytest.raises(ReleaseError, match="1 % took longer than 801 ms, and 800 ms are allowed"):
        watched(canary, Player(candidate=slow), max_p99_ms=800)
    assert weights(canary) == {}


def test_where_nobody_knows_how_long_requests_took_a_limit_of_that_is_not_kept(canary):
    with pytest.raises(ReleaseError, match="nobody knows how long they took"):
        watched(canary, Player(candidate=[(n, e, None) for n, e, _ in WELL]), max_p99_ms=800)


@pytest.mark.parametrize(("requests", "said"), [(0, "no requests"), (99, "99 requests")])
def test_on_too_few_requests_it_is_never_promoted_and_stays_candidate(canary, requests, said):
    few = Player(candidate=[(requests, 0, 1.0)] * 30)
    with pytest.raises(
        ReleaseError, match=f"stays a candidate: {requests} requests are too few to judge by: 100 are"
    ) as no:
        watched(canary, few)
    assert "thampi promote staging" in no.value.hint
    assert (canary.answers(), weights(canary)) == ("model-2", {"2": 0.1})
    assert any(f"candidate 2: {said}" in line for line in canary.said)


def test_how_many_are_enough_can_be_said(canary):
    assert watched(canary, Player(candidate=[(20, 0, 1.0)] * 30), requests=20).version == "2"


def test_one_of_the_first_requests_that_fails_does_not_end_it_when_the_rest_makes_it_good(canary):
    series = [(5, 1, 1.0), (50, 1, 1.0), *[(400, 1, 1.0)] * 30]
    assert watched(canary, Player(candidate=series)).version == "2"


def test_few_requests_that_fail_are_enough_to_roll_back(canary):
    with pytest.raises(ReleaseError, match="3 of 3 requests failed"):
        watched(canary, Player(candidate=[(3, 3, 1.0)] * 30))
    assert weights(canary) == {}


@pytest.mark.parametrize(
    "end",
    [
        lambda stand: rollback.rollback(stand.stage, stand.place, say=stand.said.append),
        lambda stand: promote.promote(stand.stage, stand.place, say=stand.said.append),
        lambda stand: stand.push(replace(stand.stage, memory_mb=512)),
    ],
    ids=["rolled back", "promoted", "pushed"],
)
def test_what_somebody_else_does_with_the_canary_meanwhile_ends_the_watching_and_stays(canary, end):
    player = Player()
    player.at = {100: lambda: end(canary)}
    with pytest.raises(ReleaseError, match="somebody else has ended the canary of version 2"):
        watched(canary, player)
    before = canary.answers(), weights(canary)
    assert before[1] == {}
    assert (player.moment - BEGUN).total_seconds() <= 180


def test_another_share_meanwhile_goes_on_being_watched(canary):
    player = Player()
    player.at = {100: lambda: promote.promote(canary.stage, canary.place, to=50, say=canary.said.append)}
    assert watched(canary, player).version == "2"


def test_nobody_is_kept_waiting_by_the_one_that_watches(canary):
    """No lock is held: what watches for hours must not keep a rollback out."""
    player, keys = Player(), []
    player.at = {
        100: lambda: keys.extend(
            canary.clients["s3"]
            .list_objects_v2(Bucket=canary.place.bucket, Prefix="thampi/scale/locks/")
            .get("Contents", [])
        )
    }
    watched(canary, player)
    assert keys == []


def test_the_one_that_watches_may_die_and_the_next_command_sees_the_canary(canary):
    def die():
        raise Death

    player = Player()
    player.at = {100: die}
    with pytest.raises(Death):
        watched(canary, player)
    assert weights(canary) == {"2": 0.1}
    canary.said.clear()
    pushed = canary.push(other_model(canary), canary=10)
    assert (pushed.changed, pushed.candidate) == (False, "2")
    assert canary.said == ["a canary is under way: version 2 gets 10 % of the calls beside version 1"]
    assert watched(canary, Player()).version == "2"


def test_metrics_that_can_not_be_read_end_the_watching_and_change_nothing(canary):
    def refused(version, start, end):
        raise CloudError("AWS refuses cloudwatch:GetMetricData", hint="have it allowed")

    player = Player()
    player.source = refused
    with pytest.raises(CloudError, match="GetMetricData"):
        watched(canary, player)
    assert weights(canary) == {"2": 0.1}
