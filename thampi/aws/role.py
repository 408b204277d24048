"""The role that the function runs as: it may write this stage's log and read this project's models, and no more.

Where requests are traced, it may tell X-Ray of them, too.
"""

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from thampi import names
from thampi.aws import owned, policies, session
from thampi.aws.ensured import Ensured
from thampi.aws.policies import Document
from thampi.aws.session import Aws
from thampi.errors import CloudError

_POLICY = "thampi"  # the name of the inline policy
_SETTLES_S = 60  # how long IAM may not know yet what it has just made

# What Lambda does with the role, and nobody else, to join a network; the list and the statement that keeps the
# function's own code from it are AWS's: https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html
_NETWORK = [
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
]
_TRUST = policies.make(
    {
        "Sid": "Lambda",
        "Effect": "Allow",
        "Principal": {"Service": "lambda.amazonaws.com"},  # in every partition
        "Action": "sts:AssumeRole",
    }
)


@dataclass(frozen=True)
class Role:
    """The role of a stage's function."""

    name: str
    arn: str
    policy: Document
    trust: Document = field(default_factory=lambda: _TRUST)
    tags: Mapping[str, str] = field(default_factory=dict)


def make(
    aws: Aws,
    project: str,
    stage: str,
    *,
    bucket: str | None,
    in_vpc: bool = False,
    traced: bool = False,
    tags: Mapping[str, str] | None = None,
) -> Role:
    """Make the role that a stage should have; `bucket` is where its models are, `tags` are the user's.

    No bucket: no model lies in S3. `traced`: Lambda tells X-Ray of requests, in the name of the role.
    """
    name = names.role(project, stage, aws.region)
    function = aws.arn("lambda", f"function:{names.function(project, stage)}")
    models = names.model_prefix(project, "*") + "*"
    statements: list[dict[str, Any]] = [
        {
            "Sid": "Log",
            "Effect": "Allow",
            "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
            "Resource": aws.arn("logs", f"log-group:{names.log_group(project, stage)}:*"),
        },
    ]
    if bucket is not None:
        statements.append(
            {
                "Sid": "Models",
                "Effect": "Allow",
                "Action": "s3:GetObject",
                "Resource": aws.arn("s3", f"{bucket}/{models}", region=False, account=False),
            }
        )
    if traced:
        # X-Ray knows no narrower resource: https://docs.aws.amazon.com/lambda/latest/dg/services-xray.html
        actions = ["xray:PutTelemetryRecords", "xray:PutTraceSegments"]
        statements.append({"Sid": "Traces", "Effect": "Allow", "Action": actions, "Resource": "*"})
    if in_vpc:
        statements += [
            # EC2 knows no narrower resource for describing, and Lambda asks for all of the others, too.
            {"Sid": "Network", "Effect": "Allow", "Action": _NETWORK, "Resource": "*"},
            {
                "Sid": "NetworkNotByCode",
                "Effect": "Deny",
                "Action": [*_NETWORK, "ec2:DetachNetworkInterface"],
                "Resource": "*",
                "Condition": {"ArnEquals": {"lambda:SourceFunctionArn": function}},
            },
        ]
    return Role(
        name=name,
        arn=aws.arn("iam", f"role/{name}", region=False),
        policy=policies.make(*statements),
        tags={**(tags or {}), **names.tags(project, stage)},
    )


def read(aws: Aws, project: str, stage: str) -> Role | None:
    """Read the role of a stage, whoever made it; None when there is none."""
    return _read(aws, names.role(project, stage, aws.region))


def changes(found: Role, wanted: Role) -> tuple[str, ...]:
    """Say what `ensure` would write; raise CloudError when `found` isn't ours."""
    owned.check(f"the role {found.name}", found.tags, wanted.tags)
    return (
        *policies.changes("trust", found.trust, wanted.trust),
        *policies.changes("policy", found.policy, wanted.policy),
        *owned.changes(found.tags, wanted.tags),
    )


def ensure(aws: Aws, wanted: Role) -> Ensured[Role]:
    """Make the role so. A new one takes a while until Lambda can use it.

    Killed halfway it leaves a role with our tags that may do too little: the next run finishes it.
    Raises CloudError when a role of that name isn't ours, and leaves it alone.
    """
    found = _read(aws, wanted.name)
    created = found is None
    if found is None:
        found = _create(aws, wanted)
    lines = changes(found, wanted)
    value = replace(wanted, arn=found.arn, tags={**found.tags, **wanted.tags})
    if created or lines:
        _write(aws, found, wanted)
    return Ensured(value, "created") if created else Ensured(value, "changed" if lines else "left", lines)


def remove(aws: Aws, project: str, stage: str) -> bool:
    """Delete the role of a stage and what is written in it; say whether there was one.

    Delete the function first: Lambda needs the role to give back its network interfaces.
    Raises CloudError when it isn't ours, or when somebody has attached a policy to it; then nothing is deleted.
    """
    iam, name = aws.client("iam"), names.role(project, stage, aws.region)
    found = _read(aws, name)
    if found is None:
        return False
    owned.check(f"the role {name}", found.tags, names.tags(project, stage))
    with _doing(f"deleting the role {name}"), session.absent_is_fine("NoSuchEntity"):
        attached = _pages(iam, "list_attached_role_policies", "AttachedPolicies", name)
        if attached:  # thampi attaches none
            arns = ", ".join(policy["PolicyArn"] for policy in attached)
            raise CloudError(
                f"the role {name} can't be deleted: somebody has attached {arns} to it",
                hint="aws iam detach-role-policy --role-name "
                f"{name} --policy-arn {attached[0]['PolicyArn']}; then run the same command again",
            )
        for policy in _pages(iam, "list_role_policies", "PolicyNames", name):
            with session.absent_is_fine("NoSuchEntity"):
                iam.delete_role_policy(RoleName=name, PolicyName=policy)
        iam.delete_role(RoleName=name)
    return True


def _read(aws: Aws, name: str) -> Role | None:
    iam = aws.client("iam")
    with _doing(f"reading the role {name}"), session.absent_is_fine("NoSuchEntity"):
        role = iam.get_role(RoleName=name)["Role"]
        tags = {tag["Key"]: tag["Value"] for tag in role.get("Tags", [])}
        policy: Document = {}
        with session.absent_is_fine("NoSuchEntity"):
            policy = iam.get_role_policy(RoleName=name, PolicyName=_POLICY)["PolicyDocument"]
        return Role(name, role["Arn"], policy, role["AssumeRolePolicyDocument"], tags)
    return None


def _create(aws: Aws, wanted: Role) -> Role:
    """Create the role without its policy; one that is there by now (a lost answer) is read."""
    what = f"creating the role {wanted.name}"
    with _doing(what), session.absent_is_fine("EntityAlreadyExists"):
        made = aws.client("iam").create_role(
            RoleName=wanted.name,
            AssumeRolePolicyDocument=json.dumps(wanted.trust),
            Tags=[{"Key": key, "Value": value} for key, value in wanted.tags.items()],
        )
        return replace(wanted, arn=made["Role"]["Arn"], policy={})
    found = _read(aws, wanted.name)
    if found is None:
        raise CloudError(f"{what}: IAM says that it exists, and does not show it", hint="run the same command again")
    return found


def _write(aws: Aws, found: Role, wanted: Role) -> None:
    iam = aws.client("iam")
    with _doing(f"writing the role {wanted.name}"):
        if policies.changes("trust", found.trust, wanted.trust):
            iam.update_assume_role_policy(RoleName=wanted.name, PolicyDocument=json.dumps(wanted.trust))
        if policies.changes("policy", found.policy, wanted.policy):
            _put_policy(aws, wanted)
        tags = {key: value for key, value in wanted.tags.items() if found.tags.get(key) != value}
        if tags:
            iam.tag_role(RoleName=wanted.name, Tags=[{"Key": key, "Value": value} for key, value in tags.items()])


def _put_policy(aws: Aws, wanted: Role) -> None:
    """Write the policy; a role that was made a moment ago may not be known everywhere yet.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html#troubleshoot_general_eventual-consistency
    """
    waited = 0
    while True:
        # The last time, what IAM says goes through.
        with session.absent_is_fine("NoSuchEntity" if waited < _SETTLES_S else ""):
            aws.client("iam").put_role_policy(
                RoleName=wanted.name, PolicyName=_POLICY, PolicyDocument=json.dumps(wanted.policy)
            )
            return
        aws.sleep(5)
        waited += 5


def _pages(iam: Any, operation: str, key: str, name: str) -> list[Any]:
    return [each for page in iam.get_paginator(operation).paginate(RoleName=name) for each in page[key]]


@contextlib.contextmanager
def _doing(what: str) -> Iterator[None]:
    """Do as session.doing, and know what helps against IAM: it is what people are refused most."""
    try:
        with session.doing(what):
            yield
    except CloudError as error:
        cause = error.__cause__
        code = session.code_of(cause) if isinstance(cause, Exception) else ""
        if code == "AccessDenied":
            hint = f"{error.hint}; or set role_arn in the stage's table of thampi.toml to a role that you were given"
            raise CloudError(error.message, hint=hint) from cause
        if code == "DeleteConflict":
            hint = "detach from it what somebody has attached meanwhile, then run the same command again"
            raise CloudError(error.message, hint=hint) from cause
        raise
