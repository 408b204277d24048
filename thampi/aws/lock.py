"""The push lock of a stage: an object in the bucket that one run at a time holds, and renews while it works.

S3 takes a write only if nothing is there (`If-None-Match: *`), or only if what is there is what the writer has seen
(`If-Match: ETag`): of all that try at once, one gets through. A run that was killed stops renewing, and its lock
lapses. https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-requests.html
"""

import contextlib
import json
import math
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from botocore.exceptions import ClientError

from thampi import names
from thampi.aws import session
from thampi.aws.session import Aws
from thampi.errors import CloudError

LEASE_S = 60.0
TIDYING = ", who tidies up"  # ends the name of a holder who has it for a moment only, and is waited for

_SLACK_S = 2.0  # S3 says times in whole seconds
_TRIES, _PAUSE_S = 10, 1.0
# Somebody else's write was quicker (412), is under way (409), or has taken away what was to be matched (404).
_CONFLICTS = ("PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey")


@dataclass(frozen=True)
class Holder:
    """Who holds a lock, for those whom it keeps out; it lapses `lease_s` after it was last written."""

    who: str
    since: str
    run: str
    lease_s: float
    written: int = 0  # makes each write another one: S3's ETag is a hash of the content


@dataclass(frozen=True)
class _Seen:
    holder: Holder
    etag: str
    lapses_in_s: float


@contextlib.contextmanager
def hold(
    aws: Aws, bucket: str, project: str, stage: str, *, who: str, force: bool = False, lease_s: float = LEASE_S
) -> Iterator["Lock"]:
    """Hold the lock of a stage; `who` (user@host) is what others are told. `force` takes it from a run that died.

    Raises CloudError, naming the holder, when another run has it. Left behind when this run is killed: a lock that
    lapses by itself; the same when it can't be deleted at the end, which fails nothing that was done.
    """
    since = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
    lock = Lock(aws, bucket, project, stage, Holder(who, since, str(uuid.uuid4()), lease_s))
    with session.doing(f"locking {project} {stage} in the bucket {bucket}"):
        lock.take(force)
    done = threading.Event()
    keeper = threading.Thread(target=lock.keep, args=(done,), name="thampi-lock", daemon=True)
    keeper.start()
    try:
        yield lock
    finally:
        done.set()
        keeper.join(lease_s / 3)  # a renewal that hangs is not waited for: its condition keeps it from doing harm
        with contextlib.suppress(CloudError), session.doing(f"unlocking {project} {stage}"):
            lock.release()


def stages(aws: Aws, bucket: str, project: str) -> tuple[str, ...]:
    """Name the stages of a project whose lock lies in the bucket: held, or left by a run that died."""
    prefix = names.lock_key(project, "")
    with session.doing(f"looking for the locks of {project}"), session.absent_is_fine("NoSuchBucket"):
        of = {"Bucket": bucket, "ExpectedBucketOwner": aws.account, "Prefix": prefix}
        listed = aws.client("s3").list_objects_v2(**of).get("Contents", ())
        return tuple(each["Key"].removeprefix(prefix) for each in listed)
    return ()


class Lock:
    """A lock that this run holds; `check` it before each step that must not meet another run's."""

    def __init__(self, aws: Aws, bucket: str, project: str, stage: str, holder: Holder) -> None:
        self._aws = aws
        self._object = {"Bucket": bucket, "Key": names.lock_key(project, stage), "ExpectedBucketOwner": aws.account}
        self._what, self._stage = f"{project} {stage}", stage
        self._holder = holder
        self._etag = ""
        self._written_at = _now()
        self._lost: str | None = None
        self._trouble: CloudError | None = None
        self._renewing = threading.Lock()

    def check(self) -> None:
        """Raise CloudError when the lock is another run's by now, or may be: nothing more may be changed then."""
        if self._age_s() > self._holder.lease_s / 2:
            # The keeper should have done it: the machine was asleep, or S3 can't be reached.
            self._renew()
        if self._lost is None and self._age_s() >= self._holder.lease_s:
            self._lost = "this run could not renew it" + (f" ({self._trouble.message})" if self._trouble else "")
        if self._lost is not None:
            raise CloudError(
                f"the lock of {self._what} was lost: {self._lost}",
                hint=f"see what is live with `thampi info {self._stage}`, then run the same command again",
            )

    def take(self, force: bool) -> None:
        """Write the lock, or raise CloudError with who holds it."""
        overruled = None  # the run that --force was said of, and not one that is quicker than we are
        for _ in range(_TRIES):
            if self._write(self._aws.client("s3"), IfNoneMatch="*"):
                return
            seen = self._read()
            if seen is None:
                self._aws.sleep(_PAUSE_S)
                continue
            if self._adopt(seen):
                return
            if force and overruled is None:
                overruled = seen.holder.run
            if seen.lapses_in_s > 0 and seen.holder.run != overruled:
                if seen.holder.who.endswith(TIDYING):
                    self._aws.sleep(_PAUSE_S)
                    continue
                raise CloudError(
                    f"another run is changing {self._what}: {seen.holder.who}, since {seen.holder.since}",
                    hint="let it finish; if it was killed, its lock lapses in "
                    f"{math.ceil(seen.lapses_in_s)} s, and --force takes it at once",
                )
            if self._write(self._aws.client("s3"), IfMatch=seen.etag):
                return
        raise CloudError(f"other runs are changing {self._what} all the time", hint="run the same command again later")

    def keep(self, done: threading.Event) -> None:
        """Renew the lease until `done`, or until there is nothing left to renew."""
        while self._lost is None and not done.wait(self._holder.lease_s / 3):
            self._renew()

    def release(self) -> None:
        """Delete the object unless another run has it."""
        condition = {"IfMatch": self._etag}
        for _ in range(2):
            # Within the lease nobody else may have it, also where a store knows no conditions for deletions.
            if self._lost is not None or self._age_s() >= self._holder.lease_s:
                return
            try:
                self._aws.client("s3").delete_object(**self._object, **condition)
                return
            except ClientError as error:
                if session.code_of(error) not in {*_CONFLICTS, "NotImplemented"}:
                    raise
                is_conditional = session.code_of(error) != "NotImplemented"
            seen = self._read()
            if seen is None or not self._adopt(seen):
                return
            condition = {"IfMatch": self._etag} if is_conditional else {}

    def _renew(self) -> None:
        """Write the lock again, or find out who has it; a failure of another kind is for the next renewal to mend."""
        with self._renewing:
            try:
                with session.doing("renewing the lock"):
                    self._write_over_own()
            except CloudError as error:
                self._trouble = error

    def _write_over_own(self) -> None:
        for _ in range(3):
            # Sent once: the next renewal is its repetition, and `check` waits for this one.
            if self._write(self._aws.once("s3"), IfMatch=self._etag):
                return
            seen = self._read()
            if seen is None or not self._adopt(seen):
                self._lost = f"{seen.holder.who} has taken it" if seen else "somebody has deleted it"
                return

    def _adopt(self, seen: _Seen) -> bool:
        """Say whether what was seen is this run's own: a write whose answer was lost, and which was repeated."""
        if seen.holder.run != self._holder.run:
            return False
        self._etag = seen.etag
        return True

    def _write(self, s3: Any, **condition: str) -> bool:
        now = _now()
        self._holder = replace(self._holder, written=self._holder.written + 1)
        body = json.dumps(asdict(self._holder)).encode()
        with session.absent_is_fine(*_CONFLICTS):
            answer = s3.put_object(**self._object, Body=body, ContentType="application/json", **condition)
            self._etag, self._written_at = answer["ETag"], now
            return True
        return False

    def _read(self) -> _Seen | None:
        with session.absent_is_fine("NoSuchKey"):
            answer = self._aws.client("s3").get_object(**self._object)
            holder = _parse(answer["Body"].read())
            return _Seen(holder, answer["ETag"], holder.lease_s + _SLACK_S - _age_in_store_s(answer))
        return None

    def _age_s(self) -> float:
        """Return how long ago the lease began; of the clocks of a machine that sleeps only one goes on."""
        return max(now - then for now, then in zip(_now(), self._written_at, strict=True))


def _now() -> tuple[float, float]:
    return time.monotonic(), time.time()


def _parse(content: bytes) -> Holder:
    try:
        found = json.loads(content)
        return Holder(str(found["who"]), str(found["since"]), str(found["run"]), float(found["lease_s"]))
    except (ValueError, TypeError, KeyError):
        return Holder("somebody", "an unknown time", "", LEASE_S)


def _age_in_store_s(answer: dict[str, Any]) -> float:
    """Return the age of an object by the store's own clock, which is the same one for all that want the lock."""
    date = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    now = parsedate_to_datetime(date) if date else datetime.now(UTC)
    return float((now - answer["LastModified"]).total_seconds())
