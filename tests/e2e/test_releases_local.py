"""Releases on a local AWS, as users type them: from one stage to another, and under callers who never stop asking.

The local AWS stores the weights of an alias and sends every call to what is live. So a router of the test's own stands
before it, which reads the alias as Lambda does for each call, draws the version by the weights, and asks that one.
"""

import contextlib
import itertools
import json
import random
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
import pytest
from botocore.config import Config

from tests.e2e.test_push_local import LOCAL, new_project, own_aws, result, shared_aws  # noqa: F401

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

CLIENTS = 4
TWO_STAGES = """
name = "{name}"
model_dir = "models/m"
region = "us-east-1"
endpoint_url = "{url}"
registry = "localhost:{port}"

[build]
dependency_file = "requirements.txt"

[stages.staging]
bucket = "thampi-{name}-staging"

[stages.production]
bucket = "thampi-{name}-production"
memory_mb = 512
"""
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_SESSION_TOKEN": ""}


# ------------------------------------------------------------------------------------------- from one stage to another


def test_production_gets_exactly_what_is_live_on_staging_and_answers(new_project, shared_aws):  # noqa: F811
    project = new_project(shared_aws)
    settings = TWO_STAGES.format(name=project.name, url=shared_aws.endpoint_url, port=shared_aws.port)
    (project.folder / "thampi.toml").write_text(settings)

    def thampi(*words):
        done = project.thampi(*words, **KEYS)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def info(stage):
        return json.loads(thampi("info", stage, "--json"))

    thampi("local", "start")
    thampi("push", "staging")
    released = project.instance_id
    project.save('return {"said": "saved, and never released"}')
    thampi("push", "production", "--from", "staging")
    staging, production = info("staging"), info("production")
    assert production["image"].rpartition("@")[2] == staging["image"].rpartition("@")[2] != ""
    assert production["model_sha256"] == staging["model_sha256"]
    assert [each["model"].rpartition("/")[2] for each in (staging, production)] == [released, released]
    assert production["model"].startswith(f"s3://thampi-{project.name}-production/")
    assert (staging["memory_mb"], production["memory_mb"]) == (1024, 512)
    assert json.loads(thampi("predict", "production", "--direct", "--data", '"x"'))["result"] == {"said": "x"}
    # The URL is AWS's, which nobody answers here; the API behind it does.
    api_id = production["url"].removeprefix("https://").partition(".")[0]
    path = f"_aws/execute-api/{api_id}/production/{project.name}/predict"
    assert result(f"{shared_aws.endpoint_url}/{path}") == ({"said": "x"}, released)
    assert '"changed": false' in thampi("push", "production", "--from", "staging", "--json")
    for stage in ("production", "staging"):
        thampi("destroy", stage, "--yes")


# ---------------------------------------------------------------------------------------- callers who never stop asking


class Callers:
    """Ask all the time, and note who answered: through the URL, and through a router that obeys the weights."""

    def __init__(self, aws, function, url):
        self._aws, self._function, self.url = aws, function, url
        self.allowed = frozenset()
        self.answers, self.wrong = {"url": 0, "router": 0}, []
        self.seen = {"url": set(), "router": set()}
        self._lock, self._done = threading.Lock(), threading.Event()

    @contextlib.contextmanager
    def asking(self):
        with ThreadingHTTPServer(("127.0.0.1", 0), self._router()) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            router = f"http://127.0.0.1:{server.server_port}/"
            ways = itertools.islice(itertools.cycle([("url", self.url), ("router", router)]), CLIENTS)
            threads = [threading.Thread(target=self._ask, args=way) for way in ways]
            for thread in threads:
                thread.start()
            try:
                yield
            finally:
                self._done.set()
                for thread in threads:
                    thread.join()
                server.shutdown()

    def serves(self, *models):
        """From now on these answer; what was asked for before may still come from others."""
        self.allowed = frozenset(models)

    def until(self, number):
        """Wait for so many more answers each way."""
        goal = {way: count + number for way, count in self.answers.items()}
        while any(self.answers[way] < count for way, count in goal.items()):
            assert not self._done.wait(0.05)

    def _ask(self, way, url):
        while not self._done.is_set():
            allowed, problem, model = self.allowed, "", ""
            try:
                _, model = result(url)
            except (AssertionError, OSError, ValueError, KeyError) as error:
                problem = f"{way}: {error}"
            if model and model not in allowed | self.allowed:
                problem = f"{way}: answered by {model}"
            with self._lock:
                self.answers[way] += 1
                self.seen[way].add(model)
                self.wrong += [problem] * bool(problem)

    def _router(self):
        clients, function, draw = threading.local(), self._function, random.Random(7)

        class Router(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(router):
                if not hasattr(clients, "mine"):
                    clients.mine = self._client()
                client, body = clients.mine, router.rfile.read(int(router.headers["Content-Length"]))
                alias = client.get_alias(FunctionName=function, Name="live")
                version, dice = alias["FunctionVersion"], draw.random()
                for each, share in (alias.get("RoutingConfig") or {}).get("AdditionalVersionWeights", {}).items():
                    version = each if dice < share else version
                answer = client.invoke(FunctionName=function, Qualifier=version, Payload=body)
                said = answer["Payload"].read()
                router.send_response(500 if "FunctionError" in answer or b'"error"' in said else 200)
                router.send_header("Content-Length", str(len(said)))
                router.end_headers()
                router.wfile.write(said)

            def log_message(router, *_):
                pass

        return Router

    def _client(self):
        with self._lock:
            once = Config(retries={"total_max_attempts": 1})  # a call that fails has failed
            return boto3.client("lambda", endpoint_url=self._aws.endpoint_url, config=once, **LOCAL)


def story(project, callers, rounds, each_time):
    """Push, canary, promote, roll back, and end a canary; whoever asks gets an answer of who is to give it."""
    live = project.instance_id
    for number in range(rounds):
        callers.until(each_time)
        new = project.save(f'return {{"said": [{number}, args]}}')
        callers.serves(live, new)
        project.push("--canary", "40")
        callers.until(each_time)
        assert callers.seen["router"] >= {live, new}
        for words, stays in ((("promote", "local"), new), (("rollback", "local"), live)):
            done = project.thampi(*words)
            assert done.returncode == 0, done.stderr
            callers.serves(stays)
            callers.until(each_time)
            callers.serves(live, new)
        project.push("--canary", "40")
        callers.until(each_time)
        done = project.thampi("rollback", "local")
        assert done.returncode == 0, done.stderr
        callers.serves(live)
        callers.until(each_time)
        callers.serves(live, new)
        project.push()
        callers.serves(new)
        live = new


def under_load(project, rounds, each_time):
    url, _ = project.push()
    callers = Callers(project.aws, project.function, url)
    callers.serves(project.instance_id)  # before the first can have been answered
    with callers.asking():
        story(project, callers, rounds, each_time)
        callers.until(each_time)
    assert callers.wrong == [], f"{len(callers.wrong)} of {callers.answers}: {sorted(set(callers.wrong))[:5]}"
    return sum(callers.answers.values())


def test_callers_get_an_answer_of_what_is_live_or_candidate_whatever_is_done(new_project, own_aws):  # noqa: F811
    assert under_load(new_project(own_aws, stage="provisioned_concurrency = 2"), rounds=1, each_time=30) >= 300


@pytest.mark.long
def test_thousands_of_calls_during_many_releases_are_all_answered(new_project, own_aws):  # noqa: F811
    assert under_load(new_project(own_aws), rounds=8, each_time=100) >= 5000
