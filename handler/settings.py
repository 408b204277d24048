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
    cors: str = ""  # which other sites' pages may call, where no gateway says it: JSON, for `cors.read`; empty: none
    cache_ttl_s: int = 0  # how long an answer is given again to the same body; 0: never
    cache_bytes: int = 0  # what such answers may take, all together


def read(environ: Mapping[str, str]) -> Settings:
    """Read the settings; everything has a default, so that a plain `docker run` answers."""
    cache_ttl_s, cache_mb = _cache(environ.get("THAMPI_CACHE", ""))
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
        cors=environ.get("THAMPI_CORS", ""),
        cache_ttl_s=cache_ttl_s,
        cache_bytes=cache_mb * MIB,
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
    return _numbers("THAMPI_FILES", text, "model-1a2b3c4d.pkl=8121")


def _cache(text: str) -> tuple[int, int]:
    """Return how many seconds an answer is kept, and how many megabytes they may take; 0, 0 when none is."""
    like = "ttl_s=60,size_mb=64"
    found = _numbers("THAMPI_CACHE", text, like)
    if text and (set(found) != {"ttl_s", "size_mb"} or 0 in found.values()):
        raise _not_numbers("THAMPI_CACHE", text, like)
    return found.get("ttl_s", 0), found.get("size_mb", 0)


def _numbers(variable: str, text: str, like: str) -> dict[str, int]:
    found = {}
    for each in filter(None, text.split(",")):
        name, _, number = each.partition("=")
        if not name or not number.isdecimal():
            raise _not_numbers(variable, text, like)
        found[name] = int(number)
    return found


def _not_numbers(variable: str, text: str, like: str) -> ConfigError:
    return ConfigError(f"{variable} is {text!r}", hint=f"`thampi push` sets it, like {like}")


def _page(text: str) -> bool:
    if text not in ("true", "false"):
        raise ConfigError(f"THAMPI_PAGE is {text!r}", hint="it is true or false; `thampi push` sets it")
    return text == "true"


def _whole(text: str) -> int:
    return int(text) if text.isdecimal() else 0


def _now() -> str:
    return datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
