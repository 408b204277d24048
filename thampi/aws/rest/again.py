"""What makes a second thing when it is repeated: each try looks first for what the one before it has made."""

from collections.abc import Callable
from typing import TypeVar

from botocore import exceptions as failures

from thampi.aws.session import Aws, code_of

F = TypeVar("F")
T = TypeVar("T")

# An account may make one API in 3 s, and one deployment in 5 s, whoever else makes some:
# https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html
_PAUSES_S = (1.0, 3.0, 6.0, 12.0, 24.0)
# NotFoundException: what was made a moment ago isn't seen everywhere yet.
_PASSING = {"TooManyRequestsException", "ThrottlingException", "ConflictException", "NotFoundException"}


def again(aws: Aws, found: F, read: Callable[[], F], write: Callable[[F], T]) -> T:
    """Return what `write` makes of `found`; while what stops it may pass, `read` anew and make it of that.

    Raises the failure itself when it won't pass, or has lasted.
    """
    pauses = iter(_PAUSES_S)
    while True:
        try:
            return write(found)
        except (failures.ClientError, failures.HTTPClientError, failures.ConnectionError) as error:
            pause = next(pauses, None)
            if pause is None or not _may_pass(error):
                raise
        aws.sleep(pause)
        found = read()


def _may_pass(error: Exception) -> bool:
    if not isinstance(error, failures.ClientError):
        return True  # no answer: what was asked for may have happened, or not
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return code_of(error) in _PASSING or status >= 500
