"""Signs requests to an endpoint that only lets AWS identities in."""

import re
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

from thampi.aws.session import doing
from thampi.errors import CloudError

Sign = Callable[[str, str, Mapping[str, str], bytes | None], dict[str, str]]

API = "execute-api"
FUNCTION_URL = "lambda"

_OF_HOST = re.compile(r"\.(execute-api|lambda-url)\.([a-z0-9-]+)\.")


def with_session(session: boto3.Session, service: str, region: str) -> Sign:
    """Return what makes the headers that sign a request: of method, URL, headers and body.

    Credentials are asked for at each request, and so renewed when they expire.
    Raises CloudError when there are none.
    """

    def sign(method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> dict[str, str]:
        with doing("signing the request"):
            credentials = session.get_credentials()
            if credentials is None:
                raise CloudError("there are no AWS credentials to sign with", hint="run `aws configure`")
            # The others a proxy on the way may change, which would void the signature.
            signed = {name: value for name, value in headers.items() if name.lower() == "content-type"}
            request = AWSRequest(method, url, data=body, headers=signed)
            SigV4Auth(credentials.get_frozen_credentials(), service, region).add_auth(request)
        return dict(request.headers.items())

    return sign


def of_url(url: str, profile: str | None) -> Sign:
    """Return what signs requests to a URL: its host says for which service and region.

    Behind a domain of one's own it is API Gateway, in the region of the profile. Raises CloudError when no region is
    known, or there is no such profile.
    """
    found = _OF_HOST.search(f"{urlsplit(url).hostname or ''}.")
    with doing("signing the request", profile=profile):
        session = boto3.Session(profile_name=profile)
    region = found[2] if found else session.region_name
    if region is None:
        raise CloudError("no AWS region is set to sign for", hint="set AWS_REGION to that of the endpoint")
    return with_session(session, FUNCTION_URL if found and found[1] == "lambda-url" else API, region)
