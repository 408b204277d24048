"""The firewall in front of a REST API's stage: a web ACL of WAF, which its owner has made and names by its ARN.

A stage has one or none, and WAF puts another in its place without a word (guidance-for-custom-game-backend-hosting-on-
aws#34): so one that somebody else has put there stays, and where another is wanted that is refused. What thampi has put
there, or is about to, is noted before in a tag of the stage; it is all that is ever taken off.
https://docs.aws.amazon.com/waf/latest/APIReference/API_AssociateWebACL.html

What is there the stage itself says, so nobody is asked where nothing is to change.
https://docs.aws.amazon.com/apigateway/latest/api/API_Stage.html#apigw-Type-Stage-webAclArn
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from thampi.aws.session import Aws, absent_is_fine, code_of, doing
from thampi.errors import CloudError, ConfigError

TAG = "thampi:waf"  # of the stage: the ids of the ACLs that thampi has put there, or was about to

_ABSENT = "WAFNonexistentItemException"
# A new ACL, or a new stage, is not known everywhere "from a few seconds to a number of minutes".
_UNKNOWN = "WAFUnavailableEntityException"
_PAUSES_S = (2.0, 5.0, 10.0, 20.0, 30.0, 30.0, 30.0, 30.0)


@dataclass(frozen=True)
class WebAcl:
    """What stands in front of a stage, and which ones are thampi's."""

    arn: str | None = None  # None: nothing
    noted: tuple[str, ...] = ()  # ids, by the tag


def read(aws: Aws, stage_arn: str, stage: Mapping[str, Any]) -> WebAcl:
    """Read what stands in front of a stage, as GetStage says it; what plays AWS locally is asked where it was noted."""
    if aws.endpoint_url is None:
        return WebAcl(stage.get("webAclArn"), _noted(stage.get("tags") or {}))
    with doing(f"reading the web ACL of {stage_arn}"):
        noted = _noted(aws.client("apigateway").get_tags(resourceArn=stage_arn).get("tags", {}))
        if noted:
            with absent_is_fine(_ABSENT):
                found = aws.client("wafv2").get_web_acl_for_resource(ResourceArn=stage_arn)
                return WebAcl((found.get("WebACL") or {}).get("ARN"), noted)
    return WebAcl(None, noted)


def check(aws: Aws, wanted: str) -> None:
    """Raise ConfigError when it is an ACL of another region, CloudError when there is no such one; only reads."""
    region, name, acl_id = _parts(wanted)
    if region != aws.region:
        raise ConfigError(
            f"waf_acl_arn names a web ACL of {region}, and the stage is in {aws.region}",
            hint=f"a REST API takes those of its own region: {_listing(aws)}",
        )
    with _doing(aws, f"reading the web ACL {name}"):
        aws.client("wafv2").get_web_acl(Name=name, Scope="REGIONAL", Id=acl_id)


def changes(found: WebAcl, wanted: str | None) -> tuple[str, ...]:
    """Say what `ensure` would change; raise CloudError where what somebody else has put there would have to go."""
    stays = _stays(found)
    if stays and wanted is not None and found.arn != wanted:
        raise CloudError(
            f"the web ACL {found.arn} stands before the API, and thampi has not put it there",
            hint="set waf_acl_arn to it, or take it off where it was put there: AWS WAF, or Firewall Manager",
        )
    if not stays and found.arn != wanted:
        return (f"waf: {found.arn or 'none'} -> {wanted or 'none'}",)
    aim = _aim(found, wanted)
    return (f"tags.{TAG}: {' '.join(found.noted)} -> {' '.join(aim) or 'none'}",) if found.noted != aim else ()


def put_on(aws: Aws, stage_arn: str, found: WebAcl, wanted: str | None) -> tuple[WebAcl, tuple[str, ...]]:
    """Put the wanted one before the stage, and take none off; return what is there then, and what was changed.

    Noted before: a run that dies in between has noted what it may have put there, and still has what was there.
    """
    lines = changes(found, wanted)
    if wanted is None or found.arn == wanted:
        return found, ()
    noted = tuple(sorted({*found.noted, _id(wanted)}))
    _note(aws, stage_arn, found, noted)
    with _doing(aws, f"putting the web ACL {wanted} before the API"):
        _patiently(aws, lambda: aws.client("wafv2").associate_web_acl(WebACLArn=wanted, ResourceArn=stage_arn))
    return WebAcl(wanted, noted), lines


def ensure(aws: Aws, stage_arn: str, found: WebAcl, wanted: str | None) -> WebAcl:
    """Make it so: what thampi has put there goes where none is wanted any more, and after it the note of it."""
    found, _ = put_on(aws, stage_arn, found, wanted)
    if wanted is None and found.arn is not None and not _stays(found):
        with _doing(aws, f"taking the web ACL {found.arn} off the API"):
            aws.client("wafv2").disassociate_web_acl(ResourceArn=stage_arn)
        found = WebAcl(None, found.noted)
    aim = _aim(found, wanted)
    _note(aws, stage_arn, found, aim)
    return WebAcl(found.arn, aim)


def _stays(found: WebAcl) -> bool:
    """Say whether what is there was put there by somebody else."""
    return found.arn is not None and _id(found.arn) not in found.noted


def _aim(found: WebAcl, wanted: str | None) -> tuple[str, ...]:
    """Return what is noted when all is as wanted."""
    return (_id(wanted),) if wanted is not None and _id(wanted) in found.noted else ()


def _noted(tags: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(sorted(tags.get(TAG, "").split()))


def _note(aws: Aws, stage_arn: str, found: WebAcl, noted: tuple[str, ...]) -> None:
    client = aws.client("apigateway")
    with doing(f"noting the web ACL at {stage_arn}"):
        if noted and noted != found.noted:
            client.tag_resource(resourceArn=stage_arn, tags={TAG: " ".join(noted)})
        elif noted != found.noted:
            client.untag_resource(resourceArn=stage_arn, tagKeys=[TAG])


def _parts(arn: str) -> tuple[str, str, str]:
    """Return region, name and id of arn:aws:wafv2:REGION:ACCOUNT:regional/webacl/NAME/ID."""
    _, name, acl_id = arn.rsplit("/", 2)
    return arn.split(":")[3], name, acl_id


def _id(arn: str) -> str:
    return _parts(arn)[2]


def _listing(aws: Aws) -> str:
    return f"aws wafv2 list-web-acls --scope REGIONAL --region {aws.region}"


def _patiently(aws: Aws, call: Callable[[], object]) -> None:
    pauses = iter(_PAUSES_S)
    while True:
        try:
            call()
            return
        except ClientError as error:
            pause = next(pauses, None)
            if pause is None or code_of(error) != _UNKNOWN:
                raise
        aws.sleep(pause)


@contextlib.contextmanager
def _doing(aws: Aws, what: str) -> Iterator[None]:
    """Do as session.doing, and say what to do about what WAF refuses."""
    cures = {
        _ABSENT: f"check waf_acl_arn: {_listing(aws)}",
        _UNKNOWN: "WAF takes some minutes to know what is new: run the same command again",
        "WAFInvalidParameterException": f"waf_acl_arn has to be a regional web ACL of WAFv2: {_listing(aws)}",
    }
    with doing(what):
        try:
            yield
        except ClientError as error:
            code = code_of(error)
            if code not in cures:
                raise
            message = str(error.response.get("Error", {}).get("Message", ""))
            raise CloudError(f"{what}: {code}: {message}", hint=cures[code]) from error
