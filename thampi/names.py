"""Every name AWS knows us by, from (project, stage); golden-tested.

Renaming a thing that is live orphans it, so a change here is a migration. Projects, stages, buckets and regions are
named by the user; what is wrong with such a name, or None, says `wrong_…`. A stage has no dash, so the last dash of
`thampi-{project}-{stage}` is ours and two pairs never meet in one name.
"""

import re


def repository(project: str) -> str:
    """Name the ECR repository; the stages share it."""
    return f"thampi-{project}"


def image(project: str, digest: str) -> str:
    """Name the image on this machine; `digest` is the recipe's, in hex."""
    return f"{repository(project)}:{digest}"


def function(project: str, stage: str) -> str:
    """Name the Lambda function."""
    return f"thampi-{project}-{stage}"


def role(project: str, stage: str, region: str) -> str:
    """Name the function's role; IAM is global, so the region is part of the name."""
    return f"{function(project, stage)}-{region}"


def api(project: str, stage: str) -> str:
    """Name the API in front of the function."""
    return function(project, stage)


def rule(project: str, stage: str) -> str:
    """Name the EventBridge rule that keeps the function warm."""
    return function(project, stage)


def log_group(project: str, stage: str) -> str:
    """Name the log group; Lambda itself prescribes it."""
    return f"/aws/lambda/{function(project, stage)}"


def access_log_group(project: str, stage: str) -> str:
    """Name the log group in which the gateway writes a line for each request."""
    return f"/aws/apigateway/{function(project, stage)}"


def usage_plan(project: str, stage: str) -> str:
    """Name the usage plan of a stage's API keys."""
    return function(project, stage)


def api_key(project: str, stage: str, label: str) -> str:
    """Name an API key; `label` is what its owner calls it."""
    return f"{function(project, stage)}-{label}"


def model_prefix(project: str, instance_id: str) -> str:
    """Name the folder of one saved model inside the bucket; it belongs to no stage."""
    return f"{models_prefix(project)}{instance_id}/"


def models_prefix(project: str) -> str:
    """Name the folder of all saved models of a project inside the bucket."""
    return f"thampi/{project}/models/"


def lock_key(project: str, stage: str) -> str:
    """Name the object in the bucket that one push of the stage holds at a time."""
    return f"thampi/{project}/locks/{stage}"


def bucket_tags() -> dict[str, str]:
    """Make the tags of a bucket that we made; it may serve several projects."""
    return {"thampi:bucket": "made"}


def domain_tags() -> dict[str, str]:
    """Make the tags of a custom domain that we made; it may serve several projects and stages."""
    return {"thampi:domain": "made"}


def tags(project: str, stage: str | None) -> dict[str, str]:
    """Make the tags that say what is ours; None for what the stages share."""
    ours = {"thampi:project": project}
    return ours if stage is None else {**ours, "thampi:stage": stage}


def wrong_project(text: str) -> str | None:
    """Say what is wrong with a project's name: ECR, Lambda, IAM and S3 all have to take it as it is."""
    if len(text) <= 24 and re.fullmatch(r"[a-z0-9]+(?:[-_][a-z0-9]+)*", text):
        return None
    return "should be lower-case letters and digits with single - or _ between, at most 24"


def wrong_stage(text: str) -> str | None:
    """Say what is wrong with a stage's name."""
    if re.fullmatch(r"[a-z][a-z0-9]{0,15}", text):
        return None
    return "should be named with a lower-case letter, then letters and digits, at most 16"


def wrong_region(text: str) -> str | None:
    """Say what is wrong with the name of an AWS region."""
    if re.fullmatch(r"[a-z]{2,4}(?:-[a-z]+)+-[0-9]{1,2}", text):
        return None
    return 'should be an AWS region like "eu-central-1"'


def wrong_bucket(text: str) -> str | None:
    """Say what is wrong with the name of an S3 bucket."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", text) or ".." in text:
        return "should be 3 to 63 lower-case letters, digits, - and single dots, with a letter or digit at both ends"
    if re.fullmatch(r"[0-9]+(?:\.[0-9]+){3}", text):
        return "should not look like an IP address"
    ends = ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")
    if text.startswith(("xn--", "sthree-", "amzn-s3-demo-")) or text.endswith(ends):
        return "should not begin or end with what S3 keeps for itself"
    return None


def wrong_instance_id(text: str) -> str | None:
    """Say what is wrong with a saved model's id: it becomes a folder's name in S3, and part of a URL."""
    if len(text) <= 128 and re.fullmatch(r"[A-Za-z0-9._-]*[A-Za-z0-9][A-Za-z0-9._-]*", text):
        return None
    return "should be letters, digits, -, _ and dots, at most 128"
