"""Who asks S3: the keys of the function's role, or those of a profile on a laptop, renewed before they expire.

Looked for where AWS's own SDKs look, in their order: the environment, the shared files, the container's endpoint
(https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html). What takes a sign-in, another role or
the metadata of a machine is the business of the AWS CLI, which exports keys from all of those.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from thampi.errors import BundleError

_EXPORT = 'eval "$(aws configure export-credentials --format env)"'
_RENEWED_BEFORE_S = 300.0


@dataclass(frozen=True)
class Credentials:
    """The keys to sign with; they are in no message and in no repr."""

    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    token: str = field(default="", repr=False)
    expires: float | None = None  # seconds since 1970; None: nobody knows, or never


class Wallet:
    """Holds the credentials that are good now; any thread may ask."""

    def __init__(
        self,
        environ: Mapping[str, str],
        ask_container: Callable[[], Credentials],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._environ, self._ask_container, self._now = environ, ask_container, now
        self._lock = threading.Lock()
        self._held: Credentials | None = None

    def get(self, instead_of: Credentials | None = None) -> Credentials:
        """Return credentials; new ones, when there are any, instead of those that S3 has just refused.

        Raises BundleError when there are none, or none that can be used here, and OSError when the container's
        endpoint does not give them.
        """
        with self._lock:
            if self._held is None or self._is_old(self._held) or self._held is instead_of:
                self._held = self._find()
            return self._held

    def _is_old(self, held: Credentials) -> bool:
        return held.expires is not None and held.expires - self._now() < _RENEWED_BEFORE_S

    def _find(self) -> Credentials:
        environ = self._environ
        if environ.get("AWS_ACCESS_KEY_ID") and environ.get("AWS_SECRET_ACCESS_KEY"):
            return _of(environ, "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
        name = _profile_name(environ)
        profile = read_profile(environ)
        if profile.get("aws_access_key_id") and profile.get("aws_secret_access_key"):
            return _of(profile, "aws_access_key_id", "aws_secret_access_key", "aws_session_token")
        if environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI") or environ.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"):
            return self._ask_container()
        why = f"the AWS profile {name!r} keeps no keys itself" if profile else "there are no AWS credentials here"
        raise BundleError(f"S3 can't be asked: {why}", hint=f"{_EXPORT} exports those that the AWS CLI has")


def read_profile(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what the shared files say of the profile; nothing when there are none, or they name no such profile."""
    name = _profile_name(environ)
    section = name if name == "default" else f"profile {name}"
    config = environ.get("AWS_CONFIG_FILE") or "~/.aws/config"
    shared = environ.get("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials"
    return _section(config, section) | _section(shared, name)


def _profile_name(environ: Mapping[str, str]) -> str:
    return environ.get("AWS_PROFILE") or environ.get("AWS_DEFAULT_PROFILE") or "default"


def _section(file: str, name: str) -> dict[str, str]:
    try:
        path = Path(file).expanduser()
    except RuntimeError:  # Lambda's user has no home
        return {}
    if not path.is_file():  # so it is in Lambda, where nothing is imported for this
        return {}
    import configparser

    found = configparser.RawConfigParser()
    try:
        found.read(path, "utf-8")
    except (configparser.Error, OSError, UnicodeDecodeError) as error:
        raise BundleError(f"{file} can't be read: {error.__class__.__name__}", hint=_EXPORT) from error
    return dict(found[name]) if found.has_section(name) else {}


def _of(found: Mapping[str, str], access_key: str, secret_key: str, token: str) -> Credentials:
    return Credentials(found[access_key].strip(), found[secret_key].strip(), found.get(token, "").strip())
