"""`thampi doctor --policy` is enough for every command, and each part of it is needed: on a local AWS that enforces it.

The local AWS looks at actions and resources of identity policies. It names the resource of some calls in another way
than AWS does, or not at all; for these, and as far as the policy has them, the test allows any resource (`QUIRKS`).
It doesn't evaluate iam:PassRole, and a few actions of Lambda go by another action's name there: what tells AWS's names
from the calls is tests/operations/test_policy.py.
"""

import json
import re
import secrets

import pytest

from tests.e2e.test_push_local import LocalAws, end_local_aws, ended, new_local_aws, new_project  # noqa: F401

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]

ENFORCING = [
    "-c",
    "import sys; from thampi.local import cloud_process as process; plain = process._environment;"
    "process._environment = lambda place, environ: plain(place, environ) | {'AUTH': 'true'};"
    "sys.argv[0] = 'thampi'; from thampi.cli import main; main()",
]
# CreateFunction is refused there under any resource but *; the others are asked for with a list of names or an ARN,
# which isn't read, and rules have no ARN at all.
QUIRKS = ("lambda:CreateFunction", "ecr:DescribeRepositories", "ecr:ListTagsForResource", "events:")
STAGES = """
name = "{name}"
model_dir = "models/m"
region = "us-east-1"
bucket = "thampi-{name}"
endpoint_url = "{url}"
registry = "localhost:{port}"

[build]
dependency_file = "requirements.txt"

[stages.staging]
keep_warm = "rate(4 minutes)"
provisioned_concurrency = 1
keep_releases = 1

[stages.production]

[stages.keyed.api]
type = "rest"
auth = "api_key"
"""


class Deployer:
    """A user of the account who has what he is given, and runs thampi in a project."""

    def __init__(self, project):
        self.project, self.name = project, f"deployer-{secrets.token_hex(4)}"
        self.iam = project.aws.client("iam")
        self.iam.create_user(UserName=self.name)
        key = self.iam.create_access_key(UserName=self.name)["AccessKey"]
        self.keys = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}

    def may(self, document, without=""):
        """Give him a policy, without one of its statements; the list of actions that are left."""
        statements = [each for each in document["Statement"] if each["Sid"] != without]
        left = [action for each in statements for action in each["Action"]]
        anyway = [action for action in left if action.startswith(QUIRKS)]
        quirks = [{"Sid": "Quirks", "Effect": "Allow", "Action": anyway, "Resource": "*"}] if anyway else []
        self.iam.put_user_policy(
            UserName=self.name,
            PolicyName="thampi",
            PolicyDocument=json.dumps({**document, "Statement": [*statements, *quirks]}),
        )

    def thampi(self, *words):
        return self.project.thampi(*words, **self.keys, AWS_SESSION_TOKEN="")

    def works(self, *words):
        done = self.thampi(*words)
        assert done.returncode == 0, f"{words}: {done.stderr}"
        assert "AWS refuses" not in done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def enforcing_aws(tmp_path_factory):
    made = new_local_aws(tmp_path_factory.mktemp("enforcing"))
    aws = LocalAws(**made)
    done = ended(aws.start("local", "start", cwd="/", python=ENFORCING))
    assert done.returncode == 0, done.stderr
    yield aws
    end_local_aws(made)


@pytest.fixture
def project(new_project, enforcing_aws):  # noqa: F811
    found = new_project(enforcing_aws)
    text = STAGES.format(name=found.name, url=enforcing_aws.endpoint_url, port=enforcing_aws.port)
    (found.folder / "thampi.toml").write_text(text)
    return found


def root(project, *words):
    done = project.thampi(*words, AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="test", AWS_SESSION_TOKEN="")
    assert done.returncode == 0, done.stderr
    return done.stdout


def fails(deployer, policy, sid, *words):
    """A command that needs a part of a policy says that it is missing."""
    deployer.may(policy, without=sid)
    done = deployer.thampi(*words)
    assert re.search("AWS refuses|is not allowed to these credentials", done.stderr), f"without {sid}: {done.stderr}"
    # One stage that can't be cleaned is no hindrance to the others.
    assert done.returncode == (0 if words == ("clean",) else 5), f"without {sid}: {done.stderr}"
    assert "Traceback" not in done.stderr
    deployer.may(policy)


def test_with_the_printed_policy_every_command_works_and_without_any_part_of_it_one_does_not(project):
    policy = json.loads(root(project, "doctor", "staging", "--policy"))
    deployer = Deployer(project)
    works = deployer.works
    deployer.may({**policy, "Statement": policy["Statement"][:1]})
    assert deployer.thampi("push", "staging").returncode == 5
    deployer.may(policy)
    works("push", "staging")
    assert json.loads(works("predict", "staging", "--direct", "--data", '"x"'))["result"] == {"said": "x"}
    first = json.loads(works("info", "staging", "--json"))
    assert (first["version"], first["state"]) == ("1", "Active")
    project.save('return {"said": "other"}')
    works("push", "staging", "--canary", "10")
    works("promote", "staging")
    assert json.loads(works("predict", "staging", "--direct", "--data", '"x"'))["result"] == {"said": "other"}
    works("rollback", "staging")
    assert json.loads(works("info", "staging", "--json"))["model"] == first["model"]
    works("releases", "staging")
    assert "staging" in works("logs", "staging")

    # Another stage is there, so that what it uses is looked at.
    root(project, "push", "production", "--from", "staging")
    commands = {
        "Function": ("push", "staging", "--dry-run"),
        "OtherStages": ("clean",),
        "Bucket": ("push", "staging", "--dry-run"),
        "Models": ("info", "staging"),
        "Images": ("push", "staging", "--dry-run"),
        "Log": ("logs", "staging"),
        "Endpoint": ("info", "staging"),
        "Lists": ("info", "staging"),
        "Schedule": ("push", "staging", "--dry-run"),
        "Anywhere": ("clean",),
        "Role": ("push", "staging", "--dry-run"),
    }
    assert set(commands) | {"New", "Leftovers"} == {each["Sid"] for each in policy["Statement"]}  # see the next test
    for sid, words in commands.items():
        fails(deployer, policy, sid, *words)
    deployer.may(policy)
    works("destroy", "staging", "--yes")
    functions = [each["FunctionName"] for each in project.aws.client("lambda").list_functions()["Functions"]]
    assert functions == [f"thampi-{project.name}-production"]
    root(project, "destroy", "production", "--yes", "--all")


def test_keys_are_made_shown_and_revoked_with_the_printed_policy_and_not_without_its_parts(project):
    policy, deployer = json.loads(root(project, "doctor", "keyed", "--policy")), Deployer(project)
    create, show = ("keys", "keyed", "create", "me"), ("keys", "keyed", "show", "me")
    deployer.may(policy)
    deployer.works("push", "keyed")
    fails(deployer, policy, "New", *create)
    key = deployer.works(*create)
    fails(deployer, policy, "Leftovers", *show)
    assert deployer.works(*show) == key
    deployer.works("keys", "keyed", "revoke", "me", "--yes")
    fails(deployer, policy, "Endpoint", "info", "keyed")
    deployer.works("destroy", "keyed", "--yes", "--all")
    assert project.aws.client("apigateway").get_usage_plans()["items"] == []
