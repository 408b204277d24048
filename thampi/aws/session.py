"""Clients of one account and region, and what botocore raises in the user's words.

Every call is made inside `doing("…")`: what escapes from there is a CloudError with a cure.
"""

import contextlib
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import boto3
import botocore.exceptions as failures
import botocore.session
from botocore.config import Config

from thampi.errors import CloudError
from thampi.version import __version__

_AGENT = f"thampi/{__version__}"
_ATTEMPTS = 6

# What plays AWS on this machine has nothing to do with the user's profiles: AWS_PROFILE may name one that is gone.
_NOBODYS = {
    "profile": (None, None, None, None),
    "config_file": (None, None, os.devnull, None),
    "credentials_file": (None, None, os.devnull, None),
}

_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"}
_UNKNOWN = {
    "InvalidClientTokenId",
    "UnrecognizedClientException",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "InvalidSignatureException",
    "IncompleteSignature",
    "AuthFailure",
}
_REFUSED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "Forbidden", "403"}
_TRANSIENT = {
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "TooManyRequestsException",
    "RequestLimitExceeded",
    "SlowDown",
    "ServiceUnavailable",
    "ServiceException",
    "InternalError",
    "InternalFailure",
    "InternalServerError",
    "500",
    "503",
}


@dataclass(frozen=True)
class Aws:
    """One account and region of AWS, or of what plays it, and the clients for it."""

    session: boto3.Session = field(repr=False)
    region: str
    account: str
    partition: str  # aws, aws-cn, aws-us-gov
    caller: str  # the ARN of who acts
    endpoint_url: str | None = None
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False, compare=False)
    _clients: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def client(self, service: str) -> Any:
        """Return the client of a service; transient failures are tried again by botocore."""
        return self._client(service, service, _config(_ATTEMPTS, self._is_custom(service), self.endpoint_url))

    def once(self, service: str) -> Any:
        """Return a client that sends each call once: for what makes a second thing when it is repeated."""
        return self._client(f"{service} once", service, _config(1, self._is_custom(service), self.endpoint_url))

    def invoker(self, timeout_s: int) -> Any:
        """Return a Lambda client that waits for a prediction and never asks for it twice.

        botocore's own read timeout of 60 s would end, and repeat, an invocation that is still running.
        """
        waits = Config(read_timeout=timeout_s + 15)
        config = _config(1, False, self.endpoint_url).merge(waits)
        return self._client(f"invoke {timeout_s}", "lambda", config)

    def arn(self, service: str, resource: str, *, region: bool = True, account: bool = True) -> str:
        """Return an ARN of this account in its partition."""
        return ":".join(
            ["arn", self.partition, service, self.region if region else "", self.account if account else "", resource]
        )

    def _client(self, key: str, service: str, config: Config) -> Any:
        with self._lock:  # boto3 can't make two clients of a session at once
            if key not in self._clients:
                self._clients[key] = self.session.client(service, endpoint_url=self.endpoint_url, config=config)
            return self._clients[key]

    def _is_custom(self, service: str) -> bool:
        return service == "s3" and self.endpoint_url is not None


def connect(
    *,
    profile: str | None = None,
    region: str | None = None,
    endpoint_url: str | None = None,
    credentials: tuple[str, str] | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Aws:
    """Prove the credentials with one call, and return what they reach.

    `credentials` (key, secret) are for what plays AWS on this machine; otherwise AWS's own chain finds them.
    `sleep` is what waiting for AWS does.
    Raises CloudError when there are none, they are not valid, or no region is known.
    """
    key, secret = credentials or (None, None)
    with doing("asking AWS who we are", profile=profile):
        session = boto3.Session(
            profile_name=profile,
            region_name=region,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            botocore_session=botocore.session.Session(session_vars=_NOBODYS) if credentials else None,
        )
        if session.region_name is None:
            raise CloudError(
                "no AWS region is set" + (f" in profile {profile}" if profile else ""),
                hint="set region in the stage's table of thampi.toml, or THAMPI_REGION",
            )
        identity = session.client(
            "sts", endpoint_url=endpoint_url, config=_config(_ATTEMPTS, False, endpoint_url)
        ).get_caller_identity()
    return Aws(
        session=session,
        region=session.region_name,
        account=identity["Account"],
        partition=identity["Arn"].split(":")[1],
        caller=identity["Arn"],
        endpoint_url=endpoint_url,
        sleep=sleep,
    )


def code_of(error: Exception) -> str:
    """Return AWS's own code for a failure (`ResourceNotFoundException`), empty for one that isn't AWS's."""
    return str(getattr(error, "response", {}).get("Error", {}).get("Code", ""))


@contextlib.contextmanager
def absent_is_fine(*codes: str) -> Iterator[None]:
    """Pass over the failures that say that something isn't there."""
    try:
        yield
    except failures.ClientError as error:
        if code_of(error) not in codes:
            raise


@contextlib.contextmanager
def doing(what: str, *, profile: str | None = None) -> Iterator[None]:
    """Turn what botocore raises while `what` is done into a CloudError."""
    try:
        yield
    except failures.ClientError as error:
        raise _refusal(what, error) from error
    except (failures.BotoCoreError, failures.WaiterError) as error:
        raise _accident(what, error, profile) from error


def _refusal(what: str, error: failures.ClientError) -> CloudError:
    code, message = code_of(error), str(error.response.get("Error", {}).get("Message", ""))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in _EXPIRED:
        return CloudError(f"{what}: the AWS credentials have expired", hint="log in again (aws sso login), and repeat")
    if code in _UNKNOWN:
        return CloudError(
            f"{what}: AWS does not know these credentials ({code})",
            hint="check them with `aws sts get-caller-identity`, and the clock of this machine",
        )
    if code in _REFUSED:
        action = re.search(r"perform: (\S+)", message)
        wanted = action.group(1) if action else f"{error.operation_name}"
        return CloudError(
            f"{what}: AWS refuses {wanted} to these credentials" + (f": {message}" if message else ""),
            hint=f"have {wanted} allowed to them, or use another profile",
        )
    if code in _TRANSIENT or status >= 500:
        return CloudError(
            f"{what}: AWS answered {code} to {error.operation_name}, again and again: {message}",
            hint="run the same command again in a minute: it goes on where it stopped",
        )
    return CloudError(f"{what}: {code}: {message}", hint=None)


def _accident(what: str, error: Exception, profile: str | None) -> CloudError:
    login = f"aws sso login --profile {profile}" if profile else "aws sso login"
    table: tuple[tuple[tuple[type[Exception], ...], str, str], ...] = (
        (
            (failures.NoCredentialsError, failures.PartialCredentialsError, failures.CredentialRetrievalError),
            "there are no AWS credentials",
            "run `aws configure`, or set profile in the stage's table of thampi.toml",
        ),
        (
            (failures.ProfileNotFound,),
            f"the AWS profile {profile or os.environ.get('AWS_PROFILE', '')} does not exist",
            "`aws configure list-profiles` shows those that do",
        ),
        (
            (
                failures.UnauthorizedSSOTokenError,
                failures.SSOTokenLoadError,
                failures.TokenRetrievalError,
                failures.SSOError,
            ),
            "the SSO session has expired",
            login,
        ),
        ((failures.NoRegionError,), "no AWS region is set", "set region in the stage's table of thampi.toml"),
        (
            (failures.SSLError,),
            "the connection to AWS is not trusted",
            "a proxy signs the traffic: set AWS_CA_BUNDLE to your company's CA bundle",
        ),
        (
            (failures.HTTPClientError, failures.ConnectionError),
            "AWS can't be reached",
            "check the network, and endpoint_url if one is set; then run the same command again",
        ),
    )
    for kinds, message, hint in table:
        if isinstance(error, kinds):
            return CloudError(f"{what}: {message} ({error})", hint=hint)
    return CloudError(f"{what}: {error}", hint=None)


def _config(attempts: int, custom: bool, endpoint_url: str | None = None) -> Config:
    """Return botocore's settings. S3 look-alikes know neither its newer checksums nor buckets as host names."""
    checksums: dict[str, Any] = (
        {
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
            "s3": {"addressing_style": "path"},
        }
        if custom
        else {}
    )
    return Config(
        user_agent_extra=_AGENT,
        connect_timeout=10,
        read_timeout=60,
        tcp_keepalive=True,
        retries={"total_max_attempts": attempts, "mode": "standard"},
        # An endpoint on this machine is behind no proxy, whatever HTTP_PROXY says.
        proxies={} if urlsplit(endpoint_url or "").hostname in ("127.0.0.1", "localhost", "::1") else None,
        **checksums,
    )
