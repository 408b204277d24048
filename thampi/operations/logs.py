"""thampi logs: what a stage's function wrote, or its gateway of each request."""

import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from thampi import names
from thampi.aws import logs
from thampi.config import Stage
from thampi.errors import CloudError, ConfigError
from thampi.operations.place import Place

# What a failure looks like in a log: ours, the interface client's, Lambda's own, and the journal of an answer 5xx.
_ERROR = re.compile(r'ERROR|Traceback|Task timed out|Runtime\.\w+|signal: killed|"status_5xx":\s*1')
# Of the gateway's lines: an answer 5xx, by whomever.
_ERROR_OF_ACCESS = re.compile(r'"status":"5\d\d"')
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def read(
    stage: Stage,
    place: Place,
    *,
    since: str,
    follow: bool,
    errors: bool,
    access: bool = False,
    stop: Callable[[], bool] = lambda: False,
    now: Callable[[], float] = time.time,
) -> Iterator[str]:
    """Yield the lines since a time (`10m`, `2h`, `1d`, or a date), and with `follow` those to come.

    With `access` they are the gateway's, one for each request, also when the setting was switched off since.
    Raises CloudError when the stage has no such log, ConfigError when `since` is no time.
    """
    since_ms = _since_ms(since, now())
    group = (names.access_log_group if access else names.log_group)(stage.name, stage.stage)
    if logs.find(place.aws, group) is None:
        what, cure = (
            ("access log", f"access_log = true under [stages.{stage.stage}.api], and ") if access else ("log", "")
        )
        raise CloudError(f"{stage.name} has no {what} in stage {stage.stage}", hint=f"{cure}thampi push {stage.stage}")
    failed = _ERROR_OF_ACCESS if access else _ERROR
    for line in logs.events(place.aws, group, since_ms=since_ms, follow=follow, stop=stop):
        if not errors or failed.search(line.message):
            yield f"{datetime.fromtimestamp(line.time_ms / 1000, UTC):%Y-%m-%dT%H:%M:%S}Z {line.message.rstrip()}"


def _since_ms(since: str, now_s: float) -> int:
    ago = re.fullmatch(r"(\d+)([smhd])", since)
    if ago:
        return int((now_s - int(ago[1]) * _UNITS[ago[2]]) * 1000)
    try:
        moment = datetime.fromisoformat(since)
    except ValueError:
        raise ConfigError(f"--since {since} is no time", hint="give 10m, 2h, 1d, or 2026-11-21T10:00") from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
