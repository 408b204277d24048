"""The token that lets a caller of a stage in: found where it is in no list of arguments and in no file."""

import re
from collections.abc import Mapping

from thampi.asking.asker import Authorize
from thampi.config import Stage
from thampi.errors import ConfigError

VARIABLE = "THAMPI_TOKEN"


def bearing(stage: Stage, environ: Mapping[str, str]) -> Authorize:
    """Return what puts the caller's token into each request.

    Raises ConfigError, before anything is sent, when there is none, or what is there can't be one.
    """
    found = re.sub(r"(?i)^bearer(\s+|$)", "", environ.get(VARIABLE, "").strip())
    if not found:
        raise ConfigError(
            f"stage {stage.stage} lets in who brings a token, and there is none in {VARIABLE}",
            hint=f"get one {_whose(stage)}, and put it there: read -rs {VARIABLE} && export {VARIABLE}",
        )
    if not re.fullmatch(r"[\x21-\x7e]+", found):
        raise ConfigError(
            f"what is in {VARIABLE} is no token: it has to be one word of plain ASCII",
            hint="was more put there than the token itself?",
        )
    headers = {"Authorization": f"Bearer {found}"}

    def authorize(method: str, url: str, so_far: Mapping[str, str], body: bytes | None) -> Mapping[str, str]:
        return headers

    return authorize


def _whose(stage: Stage) -> str:
    if stage.api.jwt is None:
        return "of the issuer that the endpoint trusts"
    scopes = f" and a scope of {', '.join(stage.api.jwt.scopes)}" if stage.api.jwt.scopes else ""
    return f"of {stage.api.jwt.issuer} for {' or '.join(stage.api.jwt.audience)}{scopes}"
