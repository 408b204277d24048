"""What S3 says when it gives no bytes: what it means, and whether asking again can help.

The codes are those of https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html.
"""

import re
from collections.abc import Mapping

_PASSES = {408, 429, 500, 502, 503, 504}
_CODES_THAT_PASS = {"SlowDown", "InternalError", "ServiceUnavailable", "RequestTimeout", "RequestLimitExceeded"}
_EXPIRED = {"ExpiredToken", "TokenRefreshRequired", "InvalidToken", "RequestExpired", "InvalidAccessKeyId"}


class Refusal(Exception):  # noqa: N818 - an answer, not an accident
    """An answer that holds no bytes of a file. Of its text only the code is kept: the rest may quote what we signed."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status, self._headers = status, headers
        self.code = _element(body, "Code")
        self.region = headers.get("x-amz-bucket-region") or _element(body, "Region")
        super().__init__(f"S3 answered {status} {self.code}".strip())

    def passes(self) -> bool:
        """Say whether the same request may get another answer in a moment."""
        return self.status in _PASSES or self.code in _CODES_THAT_PASS

    def is_of_expired_credentials(self) -> bool:
        """Say whether newer credentials, when there are any, would get another answer."""
        return self.code in _EXPIRED

    def is_of_another_region(self, region: str) -> bool:
        """Say whether the bucket is in another region than `region`, and which is known."""
        return self.status in (301, 307, 400) and self.region not in ("", region)

    def is_of_a_wrong_clock(self) -> bool:
        """Say whether the request was signed at a time that isn't the store's."""
        return self.code == "RequestTimeTooSkewed"

    def clock(self) -> float | None:
        """Return the store's own time, in seconds since 1970."""
        from email.utils import parsedate_to_datetime  # slow to import, and rarely needed

        try:
            return parsedate_to_datetime(self._headers.get("date", "")).timestamp()
        except (ValueError, TypeError):
            return None


def _element(body: bytes, name: str) -> str:
    found = re.search(rf"<{name}>([\w.-]{{1,64}})</{name}>".encode(), body)
    return found[1].decode() if found else ""
