"""What is changed about ministack, each part by itself; tests/e2e/test_local_aws.py has the real one."""

import asyncio
import copy
import json
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest
from docker import types

from thampi.local.ministack_server import __main__ as server
from thampi.local.ministack_server import apis, functions, keeping, relay, rest_apis


def lambda_service(functions=("f",), pool=()):
    """What functions.py touches of ministack's lambda_svc."""
    service = SimpleNamespace(
        _warm_pool_key=lambda name, config: f"000000000000:us-east-1:{name}:image:{config['ImageUri']}",
        _functions=dict.fromkeys(functions),
        _warm_pool={key: [key] for key in pool},
        _warm_pool_lock=threading.Lock(),
        ended=[],
    )
    service._kill_pool_entry = service.ended.append
    return service


URI = "localhost:4566/thampi-iris@sha256:1"


def test_versions_of_one_image_have_containers_of_their_own():
    service = lambda_service()
    functions.keep_versions_apart(service)
    keys = [service._warm_pool_key("f", {"ImageUri": URI, "Version": each}) for each in ("1", "2", "$LATEST", None)]
    assert len(set(keys)) == 3
    assert keys[2] == keys[3]


def test_what_is_provisioned_is_listed_by_version():
    service = lambda_service()
    one = {"RequestedProvisionedConcurrentExecutions": 2, "Status": "READY"}
    service._functions = {"f": {"provisioned_concurrency": {"3": one}}, "g": {}}
    service._func_arn = "arn:aws:lambda:us-east-1:000000000000:function:{}".format
    service._get_provisioned_concurrency = lambda name, qualifier: f"{name} {qualifier}"
    service.json_response = lambda said: said
    functions.list_what_is_provisioned(service)
    read = service._get_provisioned_concurrency
    assert read("f", None) == {"ProvisionedConcurrencyConfigs": [{"FunctionArn": f"{service._func_arn('f')}:3", **one}]}
    assert read("g", None) == {"ProvisionedConcurrencyConfigs": []}
    assert (read("f", "3"), read("nobody", None)) == ("f 3", "nobody None")


def gateway_service():
    """What rest_apis.py touches of ministack's apigateway_v1."""
    service = SimpleNamespace(
        _usage_plans={"p": {"id": "p", "apiStages": [{"apiId": "a", "stage": "s"}]}},
        _usage_plan_keys={"p": {"k": {}, "l": {}}, "q": {"k": {}}},
        updated=[],
        deleted=[],
    )
    service._update_usage_plan = lambda plan_id, data: service.updated.append((plan_id, data["patchOperations"]))
    service._delete_api_key = service.deleted.append
    return service


def test_a_plan_holds_the_stages_that_are_added_to_it_and_not_those_that_are_removed():
    service = gateway_service()
    rest_apis.hold_stages(service)
    other = {"op": "replace", "path": "/quota/limit", "value": "5"}
    add = {"op": "add", "path": "/apiStages", "value": "b:s"}
    for _ in range(2):
        service._update_usage_plan("p", {"patchOperations": [other, add]})
    assert service._usage_plans["p"]["apiStages"] == [{"apiId": "a", "stage": "s"}, {"apiId": "b", "stage": "s"}]
    service._update_usage_plan("p", {"patchOperations": [{"op": "remove", "path": "/apiStages", "value": "a:s"}]})
    assert service._usage_plans["p"]["apiStages"] == [{"apiId": "b", "stage": "s"}]
    service._update_usage_plan("nobody", {"patchOperations": [add]})
    assert service.updated == [("p", [other]), ("p", [other]), ("p", []), ("nobody", [])]


def test_a_key_that_is_deleted_is_in_no_plan():
    service = gateway_service()
    rest_apis.forget_keys(service)
    service._delete_api_key("k")
    assert (service._usage_plan_keys, service.deleted) == ({"p": {"l": {}}, "q": {}}, ["k"])


def test_a_method_asks_for_a_key_or_does_not_as_the_text_says():
    service, heard = SimpleNamespace(), []
    service._update_method = lambda api, resource, method, data: heard.append((api, resource, method, data))
    rest_apis.ask_for_keys(service)
    other = {"op": "replace", "path": "/authorizationType", "value": "NONE"}
    for said in ("true", "false"):
        asked = {"op": "replace", "path": "/apiKeyRequired", "value": said}
        service._update_method("a", "r", "ANY", {"patchOperations": [asked, other]})
    assert [each[:3] for each in heard] == [("a", "r", "ANY")] * 2
    assert [each[3]["patchOperations"][0]["value"] for each in heard] == [True, False]
    assert [each[3]["patchOperations"][1] for each in heard] == [other] * 2


def api_gateway(stage):
    """What apis.py touches of ministack's apigateway: all that it doesn't answer itself says so."""

    async def handle(method, path, headers, body, query):
        return 200, {}, f"{method} {path}".encode()

    return SimpleNamespace(
        _stages={"a": {"s": stage}},
        _apigw_error=lambda code, message, status: (status, {}, code.encode()),
        handle_request=handle,
    )


def test_what_is_taken_off_a_stage_leaves_the_stage():
    stage = {"accessLogSettings": {"format": "x"}, "routeSettings": {"POST /m/predict": {}, "GET /m": {}}}
    service = api_gateway(stage)
    apis.keep_stages(service)

    def ask(method, path):
        return asyncio.run(service.handle_request(method, path, {}, b"", {}))[::2]

    assert ask("DELETE", "/v2/apis/a/stages/s/routesettings/POST /m/predict") == (204, b"")
    assert stage == {"accessLogSettings": {"format": "x"}, "routeSettings": {"GET /m": {}}}
    assert ask("DELETE", "/v2/apis/a/stages/s/routesettings/GET%20%2Fm") == (204, b"")
    assert ask("DELETE", "/v2/apis/a/stages/s/routesettings/GET%20%2Fm") == (404, b"NotFoundException")
    assert ask("DELETE", "/v2/apis/a/stages/s/accesslogsettings") == (204, b"")
    assert stage == {"routeSettings": {}}
    assert ask("DELETE", "/v2/apis/a/stages/other/accesslogsettings") == (404, b"NotFoundException")
    for method, path in (
        ("DELETE", "/v2/apis/a/stages/s"),
        ("GET", "/v2/apis/a/stages/s/accesslogsettings"),
        ("DELETE", "/v2/apis/a/routes/s/accesslogsettings"),
        ("DELETE", "/v2/apis/a/stages/s/cachesettings"),
    ):
        assert ask(method, path) == (200, f"{method} {path}".encode())


def test_an_update_ends_the_containers_of_latest_and_no_others():
    service = lambda_service()
    functions.keep_versions_apart(service)
    keys = [
        service._warm_pool_key(name, {"ImageUri": URI, "Version": version})
        for name, version in (("f", "$LATEST"), ("f", "1"), ("g", "$LATEST"))
    ]
    service._warm_pool.update({key: [key] for key in keys})
    service._pool_kill_function("000000000000", "f")
    assert service.ended == keys[:1]
    assert list(service._warm_pool) == keys[1:]


def test_a_deleted_function_keeps_no_container():
    service = lambda_service(functions=())
    functions.keep_versions_apart(service)
    keys = [service._warm_pool_key("f", {"ImageUri": URI, "Version": version}) for version in ("$LATEST", "1")]
    service._warm_pool.update({key: [key] for key in keys})
    service._pool_kill_function("000000000000", "f")
    assert service.ended == keys


class Containers:
    """Docker's, as far as starting goes."""

    def __init__(self):
        self.started = []

    def run(self, image, command=None, **wanted):
        return self.create(image=image, command=command, **wanted)

    def create(self, image, command=None, **wanted):
        self.started.append((image, wanted))


@pytest.fixture
def containers():
    class Fresh(Containers):
        pass

    return Fresh()


def limit(containers, service):
    library = SimpleNamespace(
        types=types, models=SimpleNamespace(containers=SimpleNamespace(ContainerCollection=type(containers)))
    )
    functions.limit_containers(service, library)


def test_a_function_gets_what_its_configuration_says_and_no_more(containers):
    service = SimpleNamespace(
        _spawn_lambda_container_impl=lambda config, code, pin: containers.run(
            image=config["ImageUri"], environment={"A": "b"}, privileged=True, mem_limit="9g"
        )
    )
    limit(containers, service)
    service._spawn_lambda_container_impl({"ImageUri": URI, "MemorySize": 512}, None, True)
    [(image, given)] = containers.started
    assert image == URI
    assert given["environment"] == {"A": "b"}
    assert (given["mem_limit"], given["memswap_limit"]) == ("512m", "512m")
    assert (given["read_only"], given["user"], given["cap_drop"]) == (True, "993:990", ["ALL"])
    assert given["privileged"] is False
    assert "size=512m" in given["tmpfs"]["/tmp"]


def test_tmp_is_as_large_as_the_function_says():
    assert "size=2048m" in functions.world_of({"EphemeralStorage": {"Size": 2048}}, types)["tmpfs"]["/tmp"]


def test_no_other_service_starts_a_container(containers):
    limit(containers, SimpleNamespace(_spawn_lambda_container_impl=lambda *_: None))
    for start in (containers.run, containers.create):
        with pytest.raises(PermissionError, match="Lambda functions only"):
            start("alpine", privileged=True)
    assert containers.started == []


def test_layers_are_files_and_what_is_written_down_of_them_is_their_size(tmp_path):
    layers = keeping.Layers(tmp_path, {})
    layers["sha256:a"] = b"blob"
    assert layers["sha256:a"] == layers.get("sha256:a") == b"blob"
    assert [path.name for path in tmp_path.iterdir()] == ["sha256-a"]
    assert json.dumps(layers) == json.dumps(copy.deepcopy(layers)) == '{"sha256:a": 4}'
    again = keeping.Layers(tmp_path, json.loads(json.dumps(layers)))
    assert again["sha256:a"] == b"blob"
    assert "sha256:a" in again


def test_a_layer_whose_file_is_gone_was_never_pushed(tmp_path):
    layers = keeping.Layers(tmp_path, {"sha256:a": 4})
    assert layers.get("sha256:a") is None
    layers["sha256:a"] = b"blob"
    assert layers.get("sha256:a") == b"blob"


def test_a_layer_is_whole_or_absent(tmp_path):
    with pytest.raises(TypeError):
        keeping.Layers(tmp_path, {})["sha256:a"] = "no bytes"
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("method", "path", "may"),
    [
        ("POST", "/2015-03-31/functions", True),
        ("PUT", "/v2/thampi-iris/manifests/1", True),
        ("PUT", "/bucket/key", True),
        ("DELETE", "/v2/apis/1", True),
        ("GET", "/bucket/key", False),
        ("HEAD", "/v2/thampi-iris/manifests/1", False),
        ("POST", "/_aws/execute-api/1/local/iris/predict", False),
        ("POST", "/2015-03-31/functions/f/invocations", False),
    ],
)
def test_only_what_may_change_the_state_has_it_written_down(method, path, may):
    assert keeping.changes(method, path) is may


def test_the_state_is_written_soon_after_a_change_and_what_is_being_written_is_finished():
    written, begun = [], threading.Event()

    def save(states):
        begun.set()
        threading.Event().wait(0.2)
        written.append({name: state() for name, state in states.items()})

    def busy():
        raise RuntimeError("dictionary changed size during iteration")

    async def scenario():
        changed = asyncio.Event()
        saving = asyncio.ensure_future(
            keeping.save_after_changes(changed, lambda: {"s3": lambda: {"a": 1}, "logs": busy}, save)
        )
        changed.set()
        await asyncio.to_thread(begun.wait, 5)
        assert written == []
        saving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await saving

    asyncio.run(scenario())
    assert written == [{"s3": {"a": 1}, "logs": None}]


@pytest.mark.parametrize(
    ("path", "headers", "refused"),
    [
        ("/2015-03-31/functions", [(b"origin", b"http://evil")], True),
        ("/", [(b"Origin", b"null"), (b"host", b"localhost:4566")], True),
        ("/2015-03-31/functions", [(b"host", b"localhost:4566")], False),
        ("/_aws/execute-api/1/local/iris/predict", [(b"origin", b"http://mine")], False),
        ("/_aws/execute-api/../../2015-03-31/functions", [(b"origin", b"http://evil")], False),
        ("/_aws/lambda-url/1/", [(b"origin", b"http://mine")], False),
        ("/local/iris", [(b"host", b"1.execute-api.localhost:4566"), (b"origin", b"http://mine")], False),
        ("/local/iris", [(b"host", b"1.execute-api.evil.com"), (b"origin", b"http://1.execute-api.evil.com")], True),
        ("/x", [(b"host", b"execute-api.localhost"), (b"origin", b"http://mine")], True),
    ],
)
def test_a_page_in_a_browser_may_only_call_what_is_on_the_web(path, headers, refused):
    assert server.is_foreign_page(path, headers) is refused


def test_a_relay_passes_both_ways_and_ends():
    async def shout(reader, writer):
        writer.write((await reader.read()).upper())
        await writer.drain()
        writer.close()

    async def scenario():
        there = await asyncio.start_server(shout, "127.0.0.1", 0)
        port = there.sockets[0].getsockname()[1]
        probe = await asyncio.start_server(shout, "127.0.0.1", 0)
        here = probe.sockets[0].getsockname()[1]
        probe.close()
        await probe.wait_closed()
        passing = asyncio.ensure_future(relay.relay(here, "127.0.0.1", port))
        await asyncio.sleep(0.1)

        async def ask():
            reader, writer = await asyncio.open_connection("127.0.0.1", here)
            writer.write(b"x" * 1_000_000)
            writer.write_eof()
            answer = await reader.read()
            writer.close()
            await writer.wait_closed()
            return answer

        answers = await asyncio.gather(*[ask() for _ in range(4)])
        assert answers == [b"X" * 1_000_000] * 4
        there.close()
        await asyncio.sleep(0.1)
        passing.cancel()
        await asyncio.gather(passing, return_exceptions=True)

    asyncio.run(asyncio.wait_for(scenario(), 20))


def test_the_relay_needs_nothing_but_python():
    done = subprocess.run([sys.executable, "-I", "-S", relay.__file__], capture_output=True, text=True)
    assert "IndexError" in done.stderr
