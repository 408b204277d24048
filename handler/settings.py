"""What the image is told from outside, by environment variables."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from thampi.errors import ConfigError

MIB = 1024 * 1024


@dataclass(frozen=True)
class Settings:
    """What this environment serves, and as what."""

    model: str  # a folder, or an s3:// prefix, with a bundle
    manifest_sha256: str  # of its thampi.json; empty: nobody vouches for it but who mounted it
    name: str  # the project's, the first segment of each path; empty: any
    stage: str
    served_time_utc: str
    max_body_bytes: int
    function: str
    version: str
    files: Mapping[str, int]  # of the bundle: names and sizes in bytes, so that all can be asked for at once
    waits_for_init: bool  # provisioned concurrency or a snapshot: there a broken model must fail the init
    from_snapshot: bool = False  # it is to become one, and what requests meet is made of it
    memory_mb: int = 0  # what the environment may hold; 0: nobody said
    page: bool = True  # browsers get the page to try the model


def read(environ: Mapping[str, str]) -> Settings:
    """Read the settings; everything has a default, so that a plain `docker run` answers."""
    return Settings(
        model=environ.get("THAMPI_MODEL") or "/opt/model",
        manifest_sha256=environ.get("THAMPI_MANIFEST_SHA256", ""),
        name=environ.get("THAMPI_NAME", ""),
        stage=environ.get("THAMPI_STAGE") or "local",
        served_time_utc=environ.get("THAMPI_SERVED_TIME_UTC") or _now(),
        max_body_bytes=_max_body_bytes(environ.get("THAMPI_MAX_BODY_MB") or "5"),
        function=environ.get("AWS_LAMBDA_FUNCTION_NAME") or "local",
        version=environ.get("AWS_LAMBDA_FUNCTION_VERSION") or "$LATEST",
        files=_files(environ.get("THAMPI_FILES", "")),
        memory_mb=_whole(environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "")),
        page=_page(environ.get("THAMPI_PAGE") or "true"),
        waits_for_init=environ.get("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand")
        in ("provisioned-concurrency", "snap-start"),
        from_snapshot=environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start",
    )


def _max_body_bytes(text: str) -> int:
    try:
        megabytes = float(text)
    except ValueError:
        megabytes = math.nan
    if not 0 < megabytes < math.inf:
        raise ConfigError(f"THAMPI_MAX_BODY_MB is {text!r}", hint="give a number of megabytes above 0, like 5")
    return int(megabytes * MIB)


def _files(text: str) -> dict[str, int]:
    found = {}
    for each in filter(None, text.split(",")):
        name, _, size = each.partition("=")
        if not name or not size.isdecimal():
            raise ConfigError(f"THAMPI_FILES is {text!r}", hint="`thampi push` sets it, like model-1a2b3c4d.pkl=8121")
        found[name] = int(size)
    return found


def _page(text: str) -> bool:
    if text not in ("true", "false"):
        raise ConfigError(f"THAMPI_PAGE is {text!r}", hint="it is true or false; `thampi push` sets it")
    return text == "true"


def _whole(text: str) -> int:
    return int(text) if text.isdecimal() else 0


def _now() -> str:
    return datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
