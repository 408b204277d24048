"""The rule that calls what is live now and then, so that an environment with the model in memory stays there."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from thampi import names
from thampi.aws import owned
from thampi.aws.ensured import Ensured
from thampi.aws.session import Aws, absent_is_fine, doing
from thampi.errors import CloudError

PRINCIPAL = "events.amazonaws.com"
_TARGET = "live"
_PING = json.dumps({"thampi": "ping"})  # answered by the handler; the model is not asked


@dataclass(frozen=True)
class Schedule:
    """A rule with one target, as wanted and as read alike."""

    name: str
    expression: str  # rate(4 minutes), or cron(…)
    target: str | None  # the ARN of what is live; as read: None where a run that ended in between didn't get to
    payload: str | None = _PING
    enabled: bool = True
    tags: Mapping[str, str] = field(default_factory=dict)


def arn(aws: Aws, project: str, stage: str) -> str:
    """Return the ARN of the rule, by which Lambda knows its calls."""
    return aws.arn("events", f"rule/{names.rule(project, stage)}")


def read(aws: Aws, project: str, stage: str) -> Schedule | None:
    """Read the rule of a stage, whoever made it; None when there is none."""
    name, client = names.rule(project, stage), aws.client("events")
    with doing(f"reading the rule {name}"), absent_is_fine("ResourceNotFoundException"):
        rule = client.describe_rule(Name=name)
        targets = [each for each in client.list_targets_by_rule(Rule=name)["Targets"] if each["Id"] == _TARGET]
        tags = client.list_tags_for_resource(ResourceARN=arn(aws, project, stage))["Tags"]
        return Schedule(
            name=name,
            expression=rule.get("ScheduleExpression", ""),
            target=targets[0]["Arn"] if targets else None,
            payload=targets[0].get("Input") if targets else None,
            enabled=rule.get("State") == "ENABLED",
            tags={tag["Key"]: tag["Value"] for tag in tags},
        )
    return None


def changes(found: Schedule, wanted: Schedule) -> tuple[str, ...]:
    """Say what would have to change; raise CloudError when the rule isn't ours."""
    owned.check(f"the rule {found.name}", found.tags, wanted.tags)
    keys = ("expression", "target", "payload", "enabled")
    old, new = ({key: getattr(rule, key) for key in keys} for rule in (found, wanted))
    plain = [f"{key}: {old[key]} -> {new[key]}" for key in keys if old[key] != new[key]]
    return (*plain, *owned.changes(found.tags, wanted.tags))


def ensure(aws: Aws, project: str, stage: str, wanted: Schedule) -> Ensured[Schedule]:
    """Make the rule so. Killed halfway it leaves one that calls nobody yet, with our tags: the next run finishes it."""
    found = read(aws, project, stage)
    lines = changes(found, wanted) if found else ()
    if found and not lines:
        return Ensured(found, "left")
    client = aws.client("events")
    # A rule that is there takes no tags by being put again.
    tags = [{"Key": key, "Value": value} for key, value in wanted.tags.items()]
    with doing(f"making the rule {wanted.name}"):
        born_with = {} if found else {"Tags": tags}
        client.put_rule(Name=wanted.name, ScheduleExpression=wanted.expression, State="ENABLED", **born_with)
        target = {"Id": _TARGET, "Arn": wanted.target, "Input": wanted.payload}
        failed = client.put_targets(Rule=wanted.name, Targets=[target]).get("FailedEntries")
        if failed:
            raise CloudError(f"the rule {wanted.name} takes no target: {failed[0].get('ErrorMessage')}", hint=None)
        if found and owned.changes(found.tags, wanted.tags):
            client.tag_resource(ResourceARN=arn(aws, project, stage), Tags=tags)
    return Ensured(wanted, "changed" if found else "created", lines)


def remove(aws: Aws, project: str, stage: str) -> bool:
    """Delete the rule of a stage; say whether there was one. Raises CloudError when it isn't ours."""
    found = read(aws, project, stage)
    if found is None:
        return False
    owned.check(f"the rule {found.name}", found.tags, names.tags(project, stage))
    client = aws.client("events")
    with doing(f"deleting the rule {found.name}"), absent_is_fine("ResourceNotFoundException"):
        if found.target is not None:
            client.remove_targets(Rule=found.name, Ids=[_TARGET])
        client.delete_rule(Name=found.name)
    return True
