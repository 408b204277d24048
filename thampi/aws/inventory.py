"""What of an account and region carries thampi's tags, of whichever project; by the API that finds things by tags."""

from dataclasses import dataclass

from thampi.aws.session import Aws, doing

_PROJECT, _STAGE = "thampi:project", "thampi:stage"


@dataclass(frozen=True)
class Thing:
    """Something that a push has made; what the stages of a project share has no stage."""

    project: str
    stage: str
    service: str  # as in its ARN: lambda, ecr, logs, apigateway
    name: str


def read(aws: Aws) -> tuple[Thing, ...]:
    """List all of it; what was made or deleted in the last minutes may not be known to that API yet."""
    found = []
    with doing("looking for what carries thampi's tags"):
        pages = aws.client("resourcegroupstaggingapi").get_paginator("get_resources")
        for page in pages.paginate(TagFilters=[{"Key": _PROJECT}]):
            for each in page["ResourceTagMappingList"]:
                tags = {tag["Key"]: tag["Value"] for tag in each["Tags"]}
                service, _, _, name = each["ResourceARN"].split(":", 5)[2:]
                found.append(Thing(tags[_PROJECT], tags.get(_STAGE, ""), service, name))
    return tuple(sorted(found, key=lambda thing: (thing.project, thing.stage, thing.service, thing.name)))
