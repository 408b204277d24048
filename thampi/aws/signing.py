"""Signs a request to an endpoint that only lets AWS identities in."""

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

from thampi.aws.session import Aws, doing
from thampi.errors import CloudError


def headers(aws: Aws, url: str, body: bytes, content_type: str) -> dict[str, str]:
    """Return the headers of a signed POST to API Gateway; raise CloudError when there is nothing to sign with."""
    with doing("signing the request"):
        credentials = aws.session.get_credentials()
        if credentials is None:
            raise CloudError("there are no AWS credentials to sign with", hint="run `aws configure`")
        request = AWSRequest("POST", url, data=body, headers={"Content-Type": content_type})
        SigV4Auth(credentials.get_frozen_credentials(), "execute-api", aws.region).add_auth(request)
    return dict(request.headers.items())
