"""Whether to ask again, and when: only where the model has not been run, or may be run twice."""

from thampi.asking.failures import EndpointError

ATTEMPTS = 4  # in all
LONGEST_S = 20.0  # of one pause: who is told to wait longer hears so at once
_FIRST_S = 0.25  # doubles each time


def pause_s(failure: EndpointError, attempt: int, *, idempotent: bool, chance: float) -> float | None:
    """Return the seconds to wait before asking again, after the attempt of this number (from 1); None: don't.

    `idempotent` says that running the model twice does no harm. `chance`, from 0 to 1, keeps clients that failed
    together from coming back together.
    """
    if attempt >= ATTEMPTS or not failure.may_pass or (failure.may_have_run and not idempotent):
        return None
    wanted = failure.retry_after_s
    if wanted is not None and wanted > LONGEST_S:
        return None
    spread = _FIRST_S * 2 ** (attempt - 1) * (0.5 + chance / 2)
    return spread if wanted is None else wanted + chance * _FIRST_S
