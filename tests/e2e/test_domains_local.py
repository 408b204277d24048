"""Domains on the local AWS, which takes them from the header Host: with and without a path, and moved under load.

It has no TLS and checks no certificate; that one that can't be used is refused is shown in tests/aws/test_domains.py.
"""

import contextlib
import http.client
import itertools
import json
import secrets
import subprocess
import threading

import pytest

from tests.e2e.test_push_local import (  # noqa: F401 - fixtures
    JSON,
    ask,
    new_project,
    own_aws,
    result,
    shared_aws,
)

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

CLIENTS = 3  # of each address


def certificate(project, name):
    """Ask the local AWS for one, once it has started."""
    started = project.thampi("local", "start")
    assert started.returncode == 0, started.stderr
    return project.aws.client("acm").request_certificate(DomainName=name, ValidationMethod="DNS")["CertificateArn"]


def settings(kind, name, arn, path=""):
    at = f', path = "{path}"' if path else ""
    return f'api = {{ type = "{kind}", domain = {{ name = "{name}", certificate_arn = "{arn}"{at} }} }}'


def through(aws, name, path, body=None):
    """Ask as a client does to whom DNS has told that the domain is here; the status and the answer's JSON.

    Under an address that leads nowhere another service of the local AWS answers, in XML.
    """
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", aws.port, timeout=60)) as connection:
        headers = {**JSON, "Host": f"{name}:{aws.port}"}
        connection.request("GET" if body is None else "POST", path, body and json.dumps(body), headers)
        answer = connection.getresponse()
        said = answer.read()
        return answer.status, json.loads(said) if said.startswith(b"{") else said


@pytest.mark.parametrize("kind", ["http", "rest"])
def test_an_endpoint_answers_under_its_domain_with_and_without_a_path(new_project, shared_aws, kind):  # noqa: F811
    project, name = new_project(shared_aws), f"{secrets.token_hex(4)}.example.com"
    arn = certificate(project, name)

    def answers(path):
        """Whether each route of the model is there under the path."""
        status, said = through(shared_aws, name, f"{path}/{project.name}/predict", {"data": "x"})
        pinged = through(shared_aws, name, f"{path}/{project.name}/ping")[0]
        about = through(shared_aws, name, f"{path}/{project.name}")[0]
        return (status, pinged, about) == (200, 200, 200) and said["result"] == {"said": "x"}

    project.configure(settings(kind, name, arn, "models/iris"))
    url, said = project.push()
    assert answers("/models/iris")
    assert not answers("")
    domain_url = f"http://{name}:{shared_aws.port}/models/iris/{project.name}/predict"
    assert f"under its domain: {domain_url}" in said
    assert result(url) == ({"said": "x"}, project.instance_id)

    # What was said is what a user does who has no DNS here.
    (line,) = [each for each in said.splitlines() if "curl --resolve" in each]
    asked = subprocess.run([*line[line.index("curl") :].split(), "--silent"], capture_output=True, text=True)
    assert json.loads(asked.stdout) == {"ping": "pong"}, asked

    found = json.loads(project.thampi("info", "local", "--json").stdout)
    assert (found["url"], found["domain_url"], found["certificate"]) == (url, domain_url, arn)
    assert found["domain_target"].endswith(".execute-api.us-east-1.amazonaws.com")
    again = json.loads(project.thampi("push", "local", "--json").stdout)
    assert (again["changed"], again["url"], again["domain_url"]) == (False, url, domain_url)

    project.configure(settings(kind, name, arn))
    assert project.push()[0] == url
    assert answers("")
    assert not answers("/models/iris")

    project.configure(f'api = {{ type = "{kind}" }}')
    assert project.push()[0] == url
    assert not answers("")
    domains = shared_aws.client("apigatewayv2").get_domain_names()["Items"]
    assert name not in [each["DomainName"] for each in domains]
    assert result(url) == ({"said": "x"}, project.instance_id)
    gone = project.thampi("destroy", "local", "--yes")
    assert gone.returncode == 0, gone.stderr


class Callers:
    """Ask under some addresses all the time; note what was not answered as it should be."""

    def __init__(self, aws, addresses):
        self._aws, self._addresses = aws, addresses
        self.answered, self.wrong = dict.fromkeys(addresses, 0), []
        self._lock, self._done = threading.Lock(), threading.Event()

    @contextlib.contextmanager
    def asking(self):
        ways = [each for each in self._addresses for _ in range(CLIENTS)]
        threads = [threading.Thread(target=self._ask, args=(each,)) for each in ways]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._done.set()
            for thread in threads:
                thread.join()

    def until(self, number):
        """Wait for so many more answers under each address."""
        goal = {address: count + number for address, count in self.answered.items()}
        while any(self.answered[address] < count for address, count in goal.items()):
            assert not self._done.wait(0.05)

    def _ask(self, address):
        name, path = address
        for number in itertools.count():
            if self._done.is_set():
                return
            problem = ""
            try:
                status, said = through(self._aws, name, path, {"data": number})
                if status != 200 or said["result"] != {"said": number}:
                    problem = f"{name}{path}: {status} {said}"
            except (OSError, ValueError, KeyError, http.client.HTTPException) as error:
                problem = f"{name}{path}: {error!r}"
            with self._lock:
                self.answered[address] += 1
                self.wrong += [problem] * bool(problem)


def test_two_domains_are_moved_to_another_type_under_load_and_no_request_fails(new_project, own_aws):  # noqa: F811
    names = ("one.example.com", "two.example.com")
    projects = [new_project(own_aws), new_project(own_aws)]
    arns = [certificate(*each) for each in zip(projects, names, strict=True)]
    paths = ("models/iris", "")
    old = []
    for project, name, arn, path in zip(projects, names, arns, paths, strict=True):
        project.configure(settings("http", name, arn, path))
        old.append(project.push()[0])
    addresses = [
        (name, f"/{path}/{project.name}/predict".replace("//", "/"))
        for project, name, path in zip(projects, names, paths, strict=True)
    ]
    callers = Callers(own_aws, addresses)
    with callers.asking():
        callers.until(20)
        for number, kind in ((0, "rest"), (1, "rest"), (0, "http")):
            project = projects[number]
            project.configure(settings(kind, names[number], arns[number], paths[number]))
            new, said = project.push("--replace-endpoint")
            assert f"{old[number]} answers no longer, {new} does" in said
            assert ask(old[number], {"data": "x"})[0] in (403, 404)
            old[number] = new
            callers.until(20)
    print(f"answered: {callers.answered}")
    assert callers.wrong == [], f"{len(callers.wrong)} of {callers.answered}: {sorted(set(callers.wrong))[:5]}"
    assert min(callers.answered.values()) > 100
