"""The local AWS for real: ministack in its own environment, images that a real engine pushes and runs."""

import base64
import concurrent.futures
import contextlib
import http.client
import http.server
import json
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

import docker
import pytest

from thampi import recipe
from thampi.aws import session
from thampi.builder import build, client
from thampi.local import cloud
from thampi.local.ministack_server import engine as server_engine

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]

# A function that does what it is told and says where it is.
PROBE = """
import json, os, time, urllib.request, uuid
ME = uuid.uuid4().hex

def handle(event, context):
    match event.get("do"):
        case "sleep":
            time.sleep(event["s"])
        case "eat":
            return len(b"x" * (event["mb"] << 20))
        case "exit":
            os._exit(3)
        case "raise":
            raise ValueError("on purpose")
        case "fetch":
            return urllib.request.urlopen(os.environ["AWS_ENDPOINT_URL"] + event["path"], timeout=5).read().decode()
        case "write":
            with open(event["path"], "w") as file:
                return file.write("x")
    found = {"me": ME, "who": os.environ.get("WHO"), "uid": os.getuid(), "token": os.environ["AWS_SESSION_TOKEN"]}
    if "rawPath" in event:
        return {"statusCode": 200, "body": json.dumps({**found, "path": event["rawPath"]})}
    return found
"""
DOCKERFILE = """
FROM {base}
COPY probe.py /var/task/
ENV PYTHONPATH=/var/task:/opt/thampi/lib TESTED_BY={pid}
ENTRYPOINT ["/opt/thampi/bin/aws-lambda-rie", "/usr/local/bin/python3", "-m", "awslambdaric", "probe.handle"]
"""
ROLE = "arn:aws:iam::000000000000:role/not-needed"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def environment(folder, port):
    """A user's, with a state folder of its own; the installation is that of the machine."""
    return {**os.environ, "XDG_STATE_HOME": str(folder), "THAMPI_LOCAL_PORT": str(port)}


@pytest.fixture(scope="module", autouse=True)
def no_aws_of_the_user():
    """Neither a profile nor another endpoint of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        patch.setenv("NO_PROXY", "127.0.0.1,localhost")
        yield


@pytest.fixture(scope="module")
def environ(tmp_path_factory):
    environ = environment(tmp_path_factory.mktemp("state"), free_port())
    yield environ
    cloud.reset(environ, say=print)


@pytest.fixture
def aws(environ):
    found = cloud.ensure_running(environ, say=print)
    return session.connect(region=found.region, endpoint_url=found.endpoint_url, credentials=found.credentials)


@pytest.fixture(scope="module")
def engine():
    found = docker.from_env(timeout=120)
    yield found
    found.close()


@pytest.fixture(scope="module")
def probe_image(engine, tmp_path_factory):
    """The probe on thampi's base image, where the engine has it; tests beside these have another."""
    base = recipe.make_base("{}.{}".format(*sys.version_info), "linux/amd64")
    base_reference = recipe.reference(recipe.BASE, base)
    found = client.find(os.environ)
    if not build.has(found, base_reference):
        build.build(base, base_reference, client=found, show=print)
    folder = tmp_path_factory.mktemp("probe")
    (folder / "probe.py").write_text(PROBE)
    (folder / "Dockerfile").write_text(DOCKERFILE.format(base=base_reference, pid=os.getpid()))
    image, _ = engine.images.build(path=str(folder), tag=f"local-aws-probe:{os.getpid()}", rm=True)
    yield image
    engine.images.remove(image.id, force=True)


def pushed(engine, image, aws, environ, repository):
    """Push the image as thampi does; return its name by digest."""
    ecr = aws.client("ecr")
    ecr.create_repository(repositoryName=repository, imageTagMutability="IMMUTABLE")
    token = ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
    user, password = base64.b64decode(token).decode().split(":", 1)
    name = f"localhost:{environ['THAMPI_LOCAL_PORT']}/{repository}"
    image.tag(name, "1")
    said = list(
        engine.api.push(name, "1", stream=True, decode=True, auth_config={"username": user, "password": password})
    )
    assert not [line for line in said if "error" in line]
    digest = next(line["aux"]["Digest"] for line in said if "aux" in line)
    assert [each["imageDigest"] for each in ecr.describe_images(repositoryName=repository)["imageDetails"]] == [digest]
    return f"{name}@{digest}"


@pytest.fixture(scope="module")
def uri(engine, probe_image, environ):
    found = cloud.ensure_running(environ, say=print)
    aws = session.connect(region=found.region, endpoint_url=found.endpoint_url, credentials=found.credentials)
    return pushed(engine, probe_image, aws, environ, "thampi-probe")


def make(aws, name, uri, **settings):
    """Make a function, and a version of it that `live` names."""
    functions = aws.client("lambda")
    settings = {"MemorySize": 256, "Timeout": 5, "Environment": {"Variables": {"WHO": "first"}}, **settings}
    functions.create_function(FunctionName=name, PackageType="Image", Code={"ImageUri": uri}, Role=ROLE, **settings)
    publish(aws, name)
    functions.create_alias(FunctionName=name, Name="live", FunctionVersion="1")


def publish(aws, name):
    until_active(aws, name)
    return aws.client("lambda").publish_version(FunctionName=name)["Version"]


def until_active(aws, name):
    until = time.monotonic() + 10
    while aws.client("lambda").get_function_configuration(FunctionName=name)["State"] != "Active":
        assert time.monotonic() < until
        time.sleep(0.05)


def invoke(aws, name, event, qualifier="live"):
    answer = aws.invoker(30).invoke(FunctionName=name, Qualifier=qualifier, Payload=json.dumps(event))
    return answer.get("FunctionError"), json.loads(answer["Payload"].read())


@pytest.fixture
def function(aws, uri, request):
    name = f"thampi-{request.node.name[-40:].strip('_').replace('_', '-')}"
    make(aws, name, uri)
    yield name
    aws.client("lambda").delete_function(FunctionName=name)


def containers(engine, environ, **filters):
    """Those that this local AWS has started."""
    name = f":{environ['THAMPI_LOCAL_PORT']}"
    found = engine.api.containers(all=True, filters={"label": "ministack.instance", **filters})
    return [each["Id"] for each in found if each["Labels"]["ministack.instance"].endswith(name)]


def listening(pid):
    """The addresses that a process listens on."""
    links = [os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir() if path.is_symlink()]
    inodes = {link[8:-1] for link in links if link.startswith("socket:[")}
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                address, port = fields[1].split(":")
                raw = bytes.fromhex(address)
                found.add((socket.inet_ntoa(raw[::-1]) if len(raw) == 4 else address, int(port, 16)))
    return found


# ------------------------------------------------------------------------------------------------------- who may ask


def test_it_listens_on_loopback_and_the_engines_bridge_and_nowhere_else(aws, environ, bridge):
    status = cloud.status(environ)
    port = int(environ["THAMPI_LOCAL_PORT"])
    assert listening(status.pid) == {("127.0.0.1", port), (bridge, port)}
    assert set(status.addresses) == {f"127.0.0.1:{port}", f"{bridge}:{port}"}


def test_a_page_in_a_browser_can_not_use_it(aws, environ):
    connection = http.client.HTTPConnection("127.0.0.1", int(environ["THAMPI_LOCAL_PORT"]))
    with contextlib.closing(connection):
        for method, path in (("POST", "/2015-03-31/functions"), ("OPTIONS", "/2015-03-31/functions"), ("GET", "/")):
            connection.request(method, path, headers={"Origin": "http://somewhere"})
            answer = connection.getresponse()
            assert answer.status == 403
            assert "Access-Control-Allow-Origin" not in answer.headers
            answer.read()


def test_services_that_start_containers_of_their_own_are_not_there(aws):
    for service, operation in (("ecs", "list_clusters"), ("rds", "describe_db_instances"), ("eks", "list_clusters")):
        with pytest.raises(Exception, match=r"Unsupported service|\(400\)"):
            getattr(aws.once(service), operation)()


# --------------------------------------------------------------------------------------------------------- functions


def test_a_pushed_image_answers_by_its_digest(aws, function):
    error, answer = invoke(aws, function, {})
    assert error is None
    assert answer["who"] == "first"


def test_each_version_answers_for_itself_although_all_have_one_image(aws, function):
    """What a push relies on: the candidate that is tried is the candidate, and the live one stays live."""
    invoke(aws, function, {})
    functions = aws.client("lambda")
    functions.update_function_configuration(FunctionName=function, Environment={"Variables": {"WHO": "second"}})
    assert publish(aws, function) == "2"
    answers = [invoke(aws, function, {}, each)[1]["who"] for each in ("live", "2", "1", "live", "2")]
    assert answers == ["first", "second", "first", "first", "second"]


def test_a_request_to_the_live_version_outlives_an_update(aws, function, uri):
    invoke(aws, function, {})
    functions = aws.client("lambda")
    with concurrent.futures.ThreadPoolExecutor() as pool:
        slow = pool.submit(invoke, aws, function, {"do": "sleep", "s": 2})
        time.sleep(0.5)
        functions.update_function_configuration(FunctionName=function, MemorySize=300)
        until_active(aws, function)
        functions.update_function_code(FunctionName=function, ImageUri=uri.partition("@")[0] + ":1")
        error, answer = slow.result()
    assert (error, answer["who"]) == (None, "first")


def test_requests_at_once_are_answered_side_by_side(aws, function):
    with concurrent.futures.ThreadPoolExecutor() as pool:
        answers = list(pool.map(lambda _: invoke(aws, function, {"do": "sleep", "s": 1})[1], range(3)))
    assert len({answer["me"] for answer in answers}) == 3


def test_a_function_has_the_memory_the_disk_and_the_rights_of_lambda(aws, function):
    assert invoke(aws, function, {})[1]["uid"] == 993
    error, answer = invoke(aws, function, {"do": "eat", "mb": 600})
    assert error == "Unhandled"
    assert "signal: killed" in answer["errorMessage"]
    error, answer = invoke(aws, function, {"do": "write", "path": "/var/task/file"})
    assert "Read-only file system" in answer["errorMessage"]
    assert invoke(aws, function, {"do": "write", "path": "/tmp/file"}) == (None, 1)


def test_a_function_that_takes_too_long_or_dies_is_ended_and_the_next_request_is_answered(aws, function):
    assert "timed out after 5.00 seconds" in invoke(aws, function, {"do": "sleep", "s": 30})[1]["errorMessage"]
    assert invoke(aws, function, {})[0] is None
    assert "exit status 3" in invoke(aws, function, {"do": "exit"})[1]["errorMessage"]
    assert invoke(aws, function, {"do": "raise"})[1]["errorType"] == "ValueError"
    assert invoke(aws, function, {})[0] is None


def test_a_function_reaches_s3_by_the_endpoint_in_its_environment(aws, function):
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="thampi-store")
    s3.put_object(Bucket="thampi-store", Key="thampi/iris/x", Body=b"a model")
    assert invoke(aws, function, {"do": "fetch", "path": "/thampi-store/thampi/iris/x"}) == (None, "a model")
    assert invoke(aws, function, {})[1]["token"] == "local"


def test_what_a_function_prints_is_in_its_log_group(aws, function):
    invoke(aws, function, {"do": "raise"})
    events = aws.client("logs").filter_log_events(logGroupName=f"/aws/lambda/{function}")["events"]
    assert any("ValueError: on purpose" in each["message"] for each in events)


# ------------------------------------------------------------------------------------------------ gateway and stories


def publish_api(aws, name):
    """Put an API in front of `live`; return its path."""
    gateway = aws.client("apigatewayv2")
    api = gateway.create_api(Name=name, ProtocolType="HTTP")["ApiId"]
    live = aws.arn("lambda", f"function:{name}:live")
    integration = gateway.create_integration(
        ApiId=api, IntegrationType="AWS_PROXY", IntegrationUri=live, PayloadFormatVersion="2.0"
    )["IntegrationId"]
    gateway.create_route(ApiId=api, RouteKey="$default", Target=f"integrations/{integration}")
    gateway.create_stage(ApiId=api, StageName="local", AutoDeploy=True)
    return f"/_aws/execute-api/{api}/local"


def curl(environ, path):
    connection = http.client.HTTPConnection("127.0.0.1", int(environ["THAMPI_LOCAL_PORT"]), timeout=30)
    with contextlib.closing(connection):
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def test_everything_outlives_a_stop_and_a_kill(aws, uri, environ, engine, tmp_path):
    make(aws, "thampi-kept", uri)
    functions, s3 = aws.client("lambda"), aws.client("s3")
    functions.update_function_configuration(FunctionName="thampi-kept", Environment={"Variables": {"WHO": "second"}})
    publish(aws, "thampi-kept")
    path = publish_api(aws, "thampi-kept")
    s3.create_bucket(Bucket="thampi-kept")
    s3.put_bucket_tagging(Bucket="thampi-kept", Tagging={"TagSet": [{"Key": "thampi:project", "Value": "iris"}]})
    s3.put_object(Bucket="thampi-kept", Key="model", Body=b"a model", ContentType="text/x", Metadata={"a": "b"})
    assert curl(environ, f"{path}/iris/ping")[1]["who"] == "first"
    before = seen(aws)

    assert cloud.stop(environ, say=print)
    assert containers(engine, environ) == []
    cloud.ensure_running(environ, say=print)
    assert seen(aws) == before
    assert curl(environ, f"{path}/iris/ping")[1]["who"] == "first"

    s3.put_object(Bucket="thampi-kept", Key="second", Body=b"another")
    functions.update_alias(FunctionName="thampi-kept", Name="live", FunctionVersion="2")
    before = seen(aws)
    time.sleep(1.5)  # what it needs to write it down
    os.kill(cloud.status(environ).pid, signal.SIGKILL)
    assert len(containers(engine, environ)) >= 1
    cloud.ensure_running(environ, say=print)
    assert containers(engine, environ) == []
    assert seen(aws) == before
    assert curl(environ, f"{path}/iris/ping")[1]["who"] == "second"


def seen(aws):
    """What callers see of it all."""
    functions, s3, ecr, gateway = (aws.client(each) for each in ("lambda", "s3", "ecr", "apigatewayv2"))
    answers = [
        functions.list_versions_by_function(FunctionName="thampi-kept")["Versions"],
        functions.list_aliases(FunctionName="thampi-kept")["Aliases"],
        s3.get_bucket_tagging(Bucket="thampi-kept")["TagSet"],
        {key: value for key, value in s3.head_object(Bucket="thampi-kept", Key="model").items() if key in HEAD},
        [each["Key"] for each in s3.list_objects_v2(Bucket="thampi-kept")["Contents"]],
        ecr.describe_repositories()["repositories"],
        ecr.describe_images(repositoryName="thampi-probe")["imageDetails"],
        gateway.get_apis()["Items"],
    ]
    return json.loads(json.dumps(answers, default=str))


HEAD = ("ContentLength", "ContentType", "ETag", "Metadata", "LastModified")


def test_an_image_that_the_engine_has_lost_comes_back_from_the_registry(aws, function, uri, engine, environ):
    cloud.stop(environ, say=print)  # containers hold on to their image
    cloud.ensure_running(environ, say=print)
    engine.api.remove_image(uri, force=True)
    if has(engine, uri):
        engine.api.remove_image(f"{uri.partition('@')[0]}:1", force=True)
    assert invoke(aws, function, {})[1]["who"] == "first"
    assert has(engine, uri)


def has(engine, reference):
    with contextlib.suppress(docker.errors.ImageNotFound):
        return bool(engine.images.get(reference))
    return False


def test_stopping_one_that_was_killed_leaves_no_container(aws, function, engine, environ):
    invoke(aws, function, {})
    os.kill(cloud.status(environ).pid, signal.SIGKILL)
    assert containers(engine, environ) != []
    assert cloud.stop(environ, say=print)
    assert containers(engine, environ) == []
    cloud.ensure_running(environ, say=print)  # for the fixture to clear up


def test_two_local_aws_leave_each_others_containers_alone(aws, function, engine, environ, tmp_path):
    invoke(aws, function, {})
    mine = containers(engine, environ)
    other = environment(tmp_path, free_port())
    cloud.ensure_running(other, say=print)
    cloud.reset(other, say=print)
    assert containers(engine, environ) == mine != []


def test_the_loopback_of_an_engine_with_a_machine_of_its_own_leads_here(engine):
    """Here both are one machine: what listens on the bridge only plays the user's."""
    found = server_engine.find()
    served = http.server.HTTPServer((found.bridge, 0), Answers)
    port, label = served.server_port, f"local-aws-test-{os.getpid()}"
    serving = threading.Thread(target=served.serve_forever)
    serving.start()
    try:
        server_engine.pass_on(found, port, {label: ""})
        until = time.monotonic() + 20
        while (status := answer_of(port)) is None:
            assert time.monotonic() < until
        assert status == 200
    finally:
        for each in engine.api.containers(all=True, filters={"label": label}):
            engine.api.remove_container(each["Id"], force=True)
        served.shutdown()
        serving.join()
        served.server_close()
        found.client.close()


class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def answer_of(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
        connection.request("GET", "/")
        return connection.getresponse().status
    time.sleep(0.05)
    return None
