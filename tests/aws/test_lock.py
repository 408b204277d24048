"""aws/lock.py: of all that push a stage at once, one gets through, and no one ever touches another's lock."""

import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.aws import strict
from tests.aws.conftest import Death, refusal
from thampi import names
from thampi.aws import buckets, lock
from thampi.errors import CloudError

BUCKET = "thampi-store"
KEY = names.lock_key("iris", "staging")


@pytest.fixture(autouse=True)
def bucket(aws, calls, monkeypatch):
    strict.take_objects_one_at_a_time(monkeypatch)
    buckets.ensure(aws, BUCKET, {})
    calls.clear()


def hold(aws, who="anna@laptop", **how):
    return lock.hold(aws, BUCKET, "iris", "staging", who=who, **how)


def content(aws):
    try:
        found = aws.client("s3").get_object(Bucket=BUCKET, Key=KEY)
    except aws.client("s3").exceptions.NoSuchKey:
        return None
    return json.loads(found["Body"].read())


def put(aws, who="bob@ci", lease_s=60.0, run="another"):
    body = json.dumps({"who": who, "since": "2026-09-06 14:03:05 UTC", "run": run, "lease_s": lease_s})
    aws.client("s3").put_object(Bucket=BUCKET, Key=KEY, Body=body)


def wait_until(condition):
    for _ in range(1000):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it never came true")


def on(aws, event, handler, identity="on"):
    aws.client("s3").meta.events.register(event, handler, unique_id=identity)


def off(aws, event, identity="on"):
    aws.client("s3").meta.events.unregister(event, unique_id=identity)


def test_a_lock_is_there_while_it_is_held_and_gone_afterwards(aws, calls):
    with hold(aws) as held:
        held.check()
        found = content(aws)
        assert found["who"] == "anna@laptop"
        assert found["lease_s"] == lock.LEASE_S
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", found["since"])
    assert content(aws) is None
    assert calls == ["PutObject", "GetObject", "DeleteObject", "GetObject"]


def test_who_finds_it_held_is_told_by_whom_and_since_when(aws):
    put(aws)
    with pytest.raises(CloudError) as caught, hold(aws):
        pass
    assert caught.value.message == "another run is changing iris staging: bob@ci, since 2026-09-06 14:03:05 UTC"
    assert re.fullmatch(
        r"let it finish; if it was killed, its lock lapses in 6[012] s, and --force takes it at once",
        caught.value.hint,
    )
    assert content(aws)["who"] == "bob@ci"


def test_two_stages_have_two_locks(aws):
    with hold(aws), lock.hold(aws, BUCKET, "iris", "production", who="bob@ci") as other:
        other.check()


def test_a_lock_of_a_run_that_died_lapses(aws):
    put(aws, lease_s=-10.0)
    with hold(aws) as held:
        held.check()
        assert content(aws)["who"] == "anna@laptop"
    assert content(aws) is None


def test_the_age_of_a_lock_is_judged_by_the_clock_of_the_store(aws):
    put(aws)

    def an_hour_later(parsed, **_):
        parsed["ResponseMetadata"]["HTTPHeaders"]["date"] = "Tue, 01 Jan 2999 00:00:00 GMT"

    on(aws, "after-call.s3.GetObject", an_hour_later)
    with hold(aws) as held:
        held.check()


def test_a_lock_that_nobody_can_read_lapses_too(aws):
    aws.client("s3").put_object(Bucket=BUCKET, Key=KEY, Body=b"what is this?")
    with pytest.raises(CloudError, match="somebody, since an unknown time"), hold(aws):
        pass


def test_force_takes_the_lock_and_the_one_that_had_it_notices(aws):
    with hold(aws, lease_s=1.5) as first, hold(aws, "bob@ci", force=True) as second:
        wait_until(lambda: _is_lost(first))
        with pytest.raises(CloudError, match="lock of iris staging was lost: bob@ci has taken it") as caught:
            first.check()
        assert "thampi info staging" in caught.value.hint
        second.check()
        assert content(aws)["who"] == "bob@ci"
    assert content(aws) is None


def _is_lost(held):
    try:
        held.check()
    except CloudError:
        return True
    return False


def test_the_one_that_lost_its_lock_leaves_it_to_the_other(aws):
    with hold(aws):
        put(aws)
    assert content(aws)["who"] == "bob@ci"


def test_the_one_that_lost_its_lock_and_knows_it_leaves_it_to_the_other(aws, calls):
    with hold(aws, lease_s=0.3) as held:
        put(aws)
        wait_until(lambda: _is_lost(held))
        calls.clear()
    assert "DeleteObject" not in calls
    assert content(aws)["who"] == "bob@ci"


def test_a_lock_that_somebody_deleted_is_lost(aws):
    with hold(aws, lease_s=0.3) as held:
        aws.client("s3").delete_object(Bucket=BUCKET, Key=KEY)
        wait_until(lambda: _is_lost(held))
        with pytest.raises(CloudError, match="somebody has deleted it"):
            held.check()


def test_a_lock_is_renewed_while_it_is_held(aws):
    with hold(aws, lease_s=1.5) as held:
        wait_until(lambda: content(aws)["written"] > 2)
        held.check()
        assert content(aws)["who"] == "anna@laptop"
    assert content(aws) is None
    assert not [thread for thread in threading.enumerate() if thread.name == "thampi-lock"]


def test_no_two_writes_of_a_lock_have_the_same_etag(aws):
    with hold(aws, lease_s=1.5):
        etags = set()
        wait_until(lambda: etags.add(aws.client("s3").head_object(Bucket=BUCKET, Key=KEY)["ETag"]) or len(etags) > 2)


def test_a_renewal_whose_answer_was_lost_is_this_runs_own(aws):
    lost = []

    def lose_once(http_response, parsed, **_):
        if not lost:
            lost.append(parsed["ETag"])
            http_response.status_code = 500
            parsed.update(Error={"Code": "InternalError", "Message": ""})

    aws.once("s3").meta.events.register("after-call.s3.PutObject", lose_once)
    with hold(aws, lease_s=1.5) as held:
        wait_until(lambda: lost and content(aws)["written"] > 3)
        held.check()
    assert content(aws) is None


def test_a_first_write_whose_answer_was_lost_is_this_runs_own(aws):
    s3 = aws.session.client("s3")

    def be_quicker(params, **_):
        off(aws, "provide-client-params.s3.PutObject")
        s3.put_object(Bucket=BUCKET, Key=KEY, Body=params["Body"])

    on(aws, "provide-client-params.s3.PutObject", be_quicker)
    with hold(aws) as held:
        held.check()
    assert content(aws) is None


def test_a_lock_that_can_not_be_renewed_in_time_is_lost(aws, meddler):
    with hold(aws, lease_s=0.3) as held:
        meddler.refuse("PutObject", "ExpiredToken", 400)
        wait_until(lambda: _is_lost(held))
        with pytest.raises(
            CloudError, match=r"could not renew it \(renewing the lock: the AWS credentials have expired"
        ):
            held.check()
        meddler.stop()
    assert content(aws)["who"] == "anna@laptop"  # by now it may be another's: it lapses


def test_a_check_renews_what_the_keeper_could_not(aws, meddler):
    """The machine was asleep, or S3 out of reach for a while."""
    with hold(aws, lease_s=3.0) as held:
        meddler.refuse("PutObject", "InternalError", 500)
        threading.Event().wait(1.6)
        meddler.stop()
        written = content(aws)["written"]
        held.check()
        assert content(aws)["written"] > written


def test_an_error_passes_and_the_lock_is_released(aws):
    with pytest.raises(ZeroDivisionError), hold(aws):
        raise ZeroDivisionError
    assert content(aws) is None


def test_a_run_that_is_killed_leaves_a_lock_that_lapses(aws, meddler):
    holding = hold(aws)
    holding.__enter__()
    meddler.kill("before", 0)  # it makes no further call
    with pytest.raises(Death):
        holding.__exit__(None, None, None)
    meddler.stop()
    with pytest.raises(CloudError, match=r"anna@laptop") as caught, hold(aws):
        pass
    assert "its lock lapses in 6" in caught.value.hint


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_run_that_dies_while_it_takes_the_lock_leaves_nothing_that_does_not_lapse(aws, meddler, moment):
    meddler.kill(moment, 0)
    with pytest.raises(Death), hold(aws, lease_s=-10):
        pass
    meddler.stop()
    with hold(aws) as held:
        held.check()
    assert content(aws) is None


def test_a_lock_that_can_not_be_released_fails_nothing(aws, meddler):
    with hold(aws):
        meddler.refuse("DeleteObject", "AccessDenied", 403)
    meddler.stop()
    assert content(aws)["who"] == "anna@laptop"


def test_where_deletions_take_no_condition_the_lock_is_looked_at_first(aws, meddler, calls):
    conditional = []
    on(aws, "provide-client-params.s3.DeleteObject", lambda params, **_: conditional.append("IfMatch" in params))

    def refuse_conditions(operation):
        if operation == "DeleteObject" and conditional[-1]:
            return refusal("NotImplemented", 501)
        return None

    with hold(aws):
        calls.clear()
        meddler.before = refuse_conditions
    assert calls == ["DeleteObject", "GetObject", "DeleteObject"]
    assert content(aws) is None


def race(aws, **how):
    """Let 16 runs want the lock at once, the winner keep it until all others were refused; return who won, and what
    the others were told.
    """
    start, end, inside, refused = threading.Barrier(16), threading.Event(), [], []

    def want(who):
        start.wait(10)
        try:
            with hold(aws, who, **how) as held:
                held.check()
                inside.append(who)
                end.wait(10)
                held.check()
        except CloudError as error:
            refused.append(error.message)
            if len(refused) == 15:
                end.set()

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(want, [f"number{number}@race" for number in range(16)]))
    return inside, refused


def test_of_many_that_want_the_lock_at_once_one_gets_it(aws):
    for _ in range(4):
        inside, refused = race(aws)
        assert len(inside) == 1
        assert len(refused) == 15
        assert content(aws) is None
        assert all(f"another run is changing iris staging: {inside[0]}, since" in message for message in refused)


def test_of_many_that_want_a_lapsed_lock_at_once_one_gets_it(aws):
    for _ in range(4):
        put(aws, lease_s=-10.0)
        inside, refused = race(aws)
        assert (len(inside), len(refused)) == (1, 15)
        assert content(aws) is None


def test_of_many_that_force_the_lock_of_a_dead_run_at_once_one_gets_it(aws):
    """What --force was said of is the dead run, and not the one that is quicker now."""
    put(aws)
    seen, mine = threading.Barrier(16), threading.local()

    def wait_for_the_others(**_):
        if not hasattr(mine, "has_looked"):
            mine.has_looked = True
            seen.wait(10)

    on(aws, "after-call.s3.GetObject", wait_for_the_others)
    inside, refused = race(aws, force=True)
    assert (len(inside), len(refused)) == (1, 15)


def test_a_conflicting_write_is_tried_again(aws, meddler, sleeps):
    meddler.refuse("PutObject", "ConditionalRequestConflict", 409, times=2)
    with hold(aws) as held:
        held.check()
    assert sleeps == [1.0, 1.0]


def test_who_never_gets_to_it_gives_up(aws, meddler, sleeps):
    meddler.refuse("PutObject", "ConditionalRequestConflict", 409)
    with pytest.raises(CloudError, match="other runs are changing iris staging all the time"), hold(aws):
        pass
    assert sum(sleeps) <= 60


@pytest.mark.parametrize(
    ("code", "status", "said"),
    [
        ("AccessDenied", 403, "AWS refuses PutObject"),
        ("SlowDown", 503, "again and again"),
        ("InternalError", 500, "again and again"),
        ("NoSuchBucket", 404, "NoSuchBucket"),
    ],
)
def test_a_lock_that_can_not_be_taken_is_said_in_our_words(aws, meddler, code, status, said):
    meddler.refuse("PutObject", code, status)
    with pytest.raises(CloudError, match=said) as caught, hold(aws):
        pass
    assert "locking iris staging in the bucket thampi-store" in caught.value.message


def test_every_call_says_whose_the_bucket_must_be(aws, calls):
    unsaid = []

    def note(params, model, **_):
        if params.get("ExpectedBucketOwner") != aws.account:
            unsaid.append(model.name)

    for client in (aws.client("s3"), aws.once("s3")):
        client.meta.events.register("provide-client-params.s3", note)
    with hold(aws, lease_s=1.5):
        wait_until(lambda: calls.count("PutObject") > 1)
    with hold(aws), pytest.raises(CloudError), hold(aws):
        pass
    assert unsaid == []
    assert set(calls) == {"PutObject", "GetObject", "DeleteObject"}
