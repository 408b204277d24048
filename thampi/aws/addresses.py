"""Which addresses lead to an API, noted at the API itself: a mapping has no tags, and no API names its mappings.

A note is written before the mapping is made, and erased after it has gone, so a run that ends in between leaves one too
many and never one too few: what it names is looked for, and may not be there. The notes come with the API's tags, so
where nothing was ever noted nothing is asked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from thampi.aws.domains import Api
from thampi.aws.session import Aws, doing

LONGEST = 256  # the letters that the value of a tag may have

_KEY = "thampi:address"


@dataclass(frozen=True)
class Target:
    """An API that addresses may lead to, and its tags."""

    api: Api
    arn: str
    tags: Mapping[str, str]

    @property
    def addresses(self) -> tuple[str, ...]:
        """Return the addresses that are noted, `models.example.com/iris` each."""
        return tuple(self.tags[key] for key in sorted(self.tags) if _is_note(key))


def split(address: str) -> tuple[str, str]:
    """Return the domain and the path of an address."""
    name, _, path = address.partition("/")
    return name, path


def note(aws: Aws, target: Target, address: str) -> Target:
    """Note an address, unless it is; return the API with its tags as they are then."""
    if address in target.addresses:
        return target
    keys = (_KEY, *(f"{_KEY}-{number}" for number in range(2, len(target.tags) + 3)))
    new = {next(key for key in keys if key not in target.tags): address}
    with doing(f"noting {address} at the API {target.api.id}"):
        if _is_rest(target):
            aws.client("apigateway").tag_resource(resourceArn=target.arn, tags=new)
        else:
            aws.client("apigatewayv2").tag_resource(ResourceArn=target.arn, Tags=new)
    return replace(target, tags={**target.tags, **new})


def erase(aws: Aws, target: Target, addresses: Sequence[str]) -> Target:
    """Erase what is noted of these addresses; return the API with its tags as they are then."""
    keys = [key for key, value in target.tags.items() if _is_note(key) and value in addresses]
    if not keys:
        return target
    with doing(f"erasing what was noted at the API {target.api.id}"):
        if _is_rest(target):
            aws.client("apigateway").untag_resource(resourceArn=target.arn, tagKeys=keys)
        else:
            aws.client("apigatewayv2").untag_resource(ResourceArn=target.arn, TagKeys=keys)
    return replace(target, tags={key: value for key, value in target.tags.items() if key not in keys})


def _is_note(key: str) -> bool:
    return key == _KEY or key.startswith(f"{_KEY}-")


def _is_rest(target: Target) -> bool:
    """Say whether it is a REST API: each version of API Gateway tags its own."""
    return "/restapis/" in target.arn
