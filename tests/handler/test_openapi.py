"""The document of an endpoint: valid, about this model, from where the caller stands."""

import copy
import json

import jsonschema
import openapi_schema_validator
import openapi_spec_validator
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handler import answers, openapi, routes, schemas
from tests.handler import flowers
from tests.handler.inprocess import SHAPES, Tells, behind_a_domain, event, sample, serve
from thampi import BadRequest
from thampi.errors import BundleError

TREE = {
    "$ref": "#/$defs/Node",
    "$defs": {
        "Node": {
            "type": "object",
            "properties": {
                "left": {"$ref": "#/$defs/Node"},
                "default": {"$ref": "#/$defs/Node"},
                "$ref": {"type": "string"},
                "name": {"$ref": "#/$defs/a~1b"},
            },
            "additionalProperties": False,
        },
        "a/b": {"enum": ["x", {"$ref": "#/$defs/Node"}]},
    },
}
LIST_OF_ITSELF = {"type": "array", "items": {"$ref": "#"}}
SIGNATURES = {
    "none": None,
    "hints": flowers.signature(),
    "only request": flowers.signature(answer=None),
    "anything": flowers.signature(request={}),
    "recursive": flowers.signature(request=TREE, answer=LIST_OF_ITSELF),
}


def document(about=None, shape="http-api-v2", made=None, **environ):
    """Return the document as a caller gets it, checked by two validators."""
    made = made or event(shape, "/iris/openapi.json", "GET", body=None)
    reply = serve(about=about or flowers.about(), **environ).http(made)
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    found = reply.json
    openapi_spec_validator.validate(found)
    for schema in found["components"]["schemas"].values():
        openapi_schema_validator.OAS31Validator.check_schema(schema)
    _check_references(found)
    return found


def _check_references(found):
    def look(node):
        for value in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
            look(value)
        if isinstance(node, dict) and isinstance(node.get("$ref"), str):
            at = found
            for key in node["$ref"].removeprefix("#/").split("/"):
                at = at[key]

    # What is data may look like a reference.
    without = copy.deepcopy(found)
    for schema in without["components"]["schemas"].values():
        if isinstance(schema, dict):
            schema.pop("enum", None)
    look(without)


def validator(found, component):
    """Return a validator of a component, which knows the others."""
    schema = {"$ref": f"#/components/schemas/{component}", "components": found["components"]}
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("kind", SIGNATURES)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_document_is_valid_through_every_front_for_every_signature(shape, kind):
    found = document(flowers.about(signature=SIGNATURES[kind]), shape)
    assert found["openapi"] == "3.1.0"
    assert set(found["paths"]) == {"/iris/predict", "/iris/ping", "/iris", "/iris/openapi.json"}


def test_it_says_what_is_served():
    info = document()["info"]
    assert (info["title"], info["version"]) == ("iris", flowers.about().instance_id)
    assert info["x-thampi"]["stage"] == "staging"
    assert info["x-thampi"]["properties"]["tags"] == {"team": "flowers"}
    assert info["x-thampi"]["distributions"]["numpy"] == "2.4.6"


def test_every_method_of_every_route_is_in_it_and_no_other():
    paths = document()["paths"]
    for route, path in {
        "predict": "/iris/predict",
        "ping": "/iris/ping",
        "about": "/iris",
        "openapi": "/iris/openapi.json",
    }.items():
        assert {method.upper() for method in paths[path]} == set(routes.METHODS[route])


def test_answers_to_head_have_no_body():
    for path, item in document()["paths"].items():
        assert all("content" not in said for said in item.get("head", {"responses": {}})["responses"].values()), path
        assert not any("$ref" in said for said in item.get("head", {"responses": {}})["responses"].values()), path


def test_the_example_is_in_it_and_is_what_the_schema_allows():
    found = document()
    body = found["paths"]["/iris/predict"]["post"]["requestBody"]["content"]["application/json"]
    assert body["examples"]["saved"]["value"] == {"data": flowers.EXAMPLE}
    validator(found, "Request").validate(body["examples"]["saved"]["value"])


def test_without_an_example_there_is_none_in_it():
    body = document(flowers.about(example=None))["paths"]["/iris/predict"]["post"]["requestBody"]["content"]
    assert "examples" not in body["application/json"]


@pytest.mark.parametrize(
    ("data", "fits"),
    [
        (flowers.EXAMPLE, True),
        (flowers.EXAMPLE | {"site": "moon"}, False),
        (flowers.EXAMPLE | {"height": None}, True),
        (flowers.EXAMPLE | {"height": 201}, False),
        ({}, False),
    ],
)
def test_the_models_own_schema_is_that_of_data(data, fits):
    assert validator(document(), "Request").is_valid({"data": data}) is fits


@pytest.mark.parametrize(
    ("data", "fits"),
    [
        ({"left": {"left": {}}}, True),
        ({"left": {"right": {}}}, False),
        ({"default": {"left": {}}}, True),
        ({"default": {"right": {}}}, False),
        ({"$ref": "a text of that name"}, True),
        ({"$ref": 1}, False),
        ({"name": {"$ref": "#/$defs/Node"}}, True),
        ({"name": "y"}, False),
    ],
)
def test_definitions_keep_their_meaning_where_they_are_now(data, fits):
    found = document(flowers.about(signature=SIGNATURES["recursive"]))
    assert validator(found, "Data").is_valid(data) is fits
    assert jsonschema.Draft202012Validator(TREE).is_valid(data) is fits


@pytest.mark.parametrize(("result", "fits"), [([[], [[]]], True), ([1], False)])
def test_a_schema_that_refers_to_itself_still_does(result, fits):
    found = document(flowers.about(signature=SIGNATURES["recursive"]))
    assert validator(found, "Result").is_valid(result) is fits


def test_definitions_whose_names_come_out_equal_stay_apart():
    schema = {
        "anyOf": [{"$ref": "#/$defs/a b"}, {"$ref": "#/$defs/a_b"}],
        "$defs": {"a b": {"const": 1}, "a_b": {"const": 2}},
    }
    moved = schemas.components("Data", schema)
    assert set(moved) == {"Data", "Data.a_b", "Data.a_b_2"}
    assert {moved[each["$ref"].rpartition("/")[2]]["const"] for each in moved["Data"]["anyOf"]} == {1, 2}


def test_pydantics_discriminator_leads_to_the_components():
    schema = {
        "oneOf": [{"$ref": "#/$defs/Cat"}],
        "discriminator": {"propertyName": "kind", "mapping": {"cat": "#/$defs/Cat"}},
        "$defs": {"Cat": {"type": "object"}},
    }
    assert schemas.components("Data", schema)["Data"]["discriminator"]["mapping"] == {
        "cat": "#/components/schemas/Data.Cat"
    }


@given(
    schema=st.recursive(
        st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_what_has_no_references_is_moved_as_it_is(schema):
    plain = json.loads(json.dumps(schema).replace("$", "_").replace("#", "_"))
    if isinstance(plain, dict):
        plain.pop("discriminator", None)
    assert schemas.components("Data", plain) == {"Data": plain}


# --- from where the caller stands


@pytest.mark.parametrize(
    ("shape", "server"),
    [
        ("http-api-v2", "https://h7v2k9q1ab.execute-api.eu-central-1.amazonaws.com/staging"),
        ("function-url", "https://q8w7e6r5t4y3u2i1.lambda-url.eu-central-1.on.aws"),
        ("rest-v1", "https://r3st0api42.execute-api.eu-central-1.amazonaws.com/staging"),
        ("alb", "http://garden-1234567890.eu-central-1.elb.amazonaws.com"),
    ],
)
def test_the_servers_are_the_one_that_the_caller_reached_and_where_the_document_is(shape, server):
    assert [each["url"] for each in document(shape=shape)["servers"]] == [server, ".."]


@pytest.mark.parametrize(
    ("mapping", "server"),
    [
        ("", "https://models.example.com"),
        ("ml", "https://models.example.com/ml"),
        ("models/iris", "https://models.example.com/models/iris"),
    ],
)
def test_behind_a_custom_domain_the_mapping_is_part_of_the_server(mapping, server):
    made = behind_a_domain(mapping, "/iris/openapi.json", "GET")
    assert [each["url"] for each in document(made=made)["servers"]] == [server, ".."]


def test_behind_a_custom_domain_of_an_http_api_whose_events_lack_the_mapping_no_host_is_named():
    made = event("http-api-v2", "/iris/openapi.json", "GET", body=None)
    made["requestContext"]["domainName"] = made["headers"]["host"] = "models.example.com"
    assert document(made=made)["servers"] == [{"url": ".."}]


def test_a_host_that_is_not_the_endpoints_own_is_not_believed():
    made = event("http-api-v2", "/iris/openapi.json", "GET", body=None, headers={"host": "evil.example.com"})
    assert document(made=made)["servers"] == [{"url": ".."}]


def test_on_this_machine_the_document_names_no_host():
    assert document(THAMPI_STAGE="local")["servers"] == [{"url": ".."}]


def test_without_a_name_the_paths_have_the_one_that_the_caller_wrote():
    made = event("function-url", "/rose/openapi.json", "GET", body=None)
    assert "/rose/predict" in document(made=made, THAMPI_NAME="")["paths"]


def test_one_environment_tells_each_caller_of_its_own_place():
    served = serve(about=flowers.about())
    said = [
        served.http(event(shape, "/iris/openapi.json", "GET", body=None)).json["servers"][0]["url"]
        for shape in ("rest-v1", "function-url", "rest-v1")
    ]
    assert said[0] == said[2] != said[1]


def test_a_document_is_made_once_for_each_place(monkeypatch):
    made = []
    render = openapi.document
    monkeypatch.setattr(openapi, "document", lambda *of: made.append(of[2]) or render(*of))
    served = serve(about=flowers.about())
    for shape in ("rest-v1", "function-url", "rest-v1", "function-url"):
        served.http(event(shape, "/iris/openapi.json", "GET", body=None))
    assert len(made) == 2


def test_hosts_that_callers_make_up_fill_no_memory():
    served = serve(about=flowers.about())
    for number in range(100):
        served.http(event("alb", "/iris/openapi.json", "GET", body=None, headers={"host": f"{number}.example.com"}))
    assert len(served.application._telling._documents) <= 16


def with_context(shape, **context):
    made = event(shape, "/iris/openapi.json", "GET", body=None)
    made["requestContext"].pop("authorizer", None)
    made["requestContext"] |= context
    return made


SIGNED = {"authorizer": {"iam": {"accessKey": "AKIA", "userArn": "arn:aws:iam::210987654321:user/gardener"}}}
TOKEN = {"authorizer": {"jwt": {"claims": {"sub": "gardener"}, "scopes": None}}}


@pytest.mark.parametrize(
    ("made", "wanted"),
    [
        (with_context("http-api-v2"), []),
        (with_context("http-api-v2", **SIGNED), ["sigv4"]),
        (with_context("function-url", **SIGNED), ["sigv4"]),
        (with_context("http-api-v2", **TOKEN), ["token"]),
        (with_context("rest-v1", identity={"apiKey": "a-key", "userArn": None}), ["api_key"]),
        (
            with_context("rest-v1", identity={"apiKey": "a-key", "userArn": "arn:aws:iam::2:user/g"}),
            ["sigv4", "api_key"],
        ),
        (with_context("rest-v1", identity={"apiKey": None, "userArn": None}), []),
        (with_context("rest-v1", identity={}, authorizer={"claims": {"sub": "gardener"}}), ["token"]),
        (with_context("rest-v1", identity=None, authorizer="odd"), []),
        (event("alb", "/iris/openapi.json", "GET", body=None), []),
    ],
)
def test_callers_are_told_to_prove_who_they_are_as_this_one_did(made, wanted):
    found = document(made=made)
    assert sorted(found["components"].get("securitySchemes", {})) == sorted(wanted)
    assert found.get("security", []) == ([{key: [] for key in wanted}] if wanted else [])
    assert ("401" in found["paths"]["/iris/predict"]["post"]["responses"]) is ("token" in wanted)


def test_a_signed_request_is_described_as_aws_exports_it():
    scheme = document(made=with_context("http-api-v2", **SIGNED))["components"]["securitySchemes"]["sigv4"]
    assert scheme["x-amazon-apigateway-authtype"] == "awsSigv4"
    assert (scheme["type"], scheme["in"], scheme["name"]) == ("apiKey", "header", "Authorization")


# --- what may come back


def test_what_the_gateway_says_of_bodies_and_of_keys_is_in_it_where_there_can_be_a_body():
    found = document(shape="rest-v1")
    said = {status: found["components"]["responses"][f"Status{status}"] for status in (400, 403, 415, 429)}
    for status, words in {400: "From the gateway", 403: "no key", 415: "From the gateway", 429: "quota"}.items():
        assert words in said[status]["description"]
        schema = said[status]["content"]["application/json"]["schema"]
        assert {"$ref": "#/components/schemas/GatewayError"} in schema.get("oneOf", [schema])
    for path, item in found["paths"].items():
        for method, operation in item.items():
            there = path == "/iris/predict"
            assert ({"400", "415"} <= set(operation["responses"])) is there, (path, method)
            assert bool({"400", "415"} & set(operation["responses"])) is there, (path, method)


def test_what_preflights_are_told_is_in_it_only_where_the_endpoint_itself_tells_it():
    cors = {"origins": ["*"], "methods": ["POST"], "headers": [], "credentials": False, "max_age_s": 1}
    for environ, there in (({}, False), ({"THAMPI_CORS": json.dumps(cors)}, True)):
        for item in document(**environ)["paths"].values():
            headers = item["options"]["responses"]["204"]["headers"]
            assert ("access-control-allow-origin" in headers) is there


def raising(error):
    def tell(args, context):
        raise error

    return Tells(tell)


@pytest.mark.parametrize(
    ("made", "route", "method"),
    [
        (event("http-api-v2", body='{"data": 1}'), "predict", "post"),
        (event("http-api-v2", body="{"), "predict", "post"),
        (event("http-api-v2", body="{}"), "predict", "post"),
        (event("http-api-v2", body="x" * 6_000_000), "predict", "post"),
        (event("http-api-v2", headers={"content-type": "text/csv"}), "predict", "post"),
        (event("http-api-v2", method="OPTIONS"), "predict", "options"),
        (event("http-api-v2", method="PUT"), "predict", "post"),
        (event("http-api-v2", "/iris/ping", "GET"), "ping", "get"),
        (event("http-api-v2", "/iris/ping", "HEAD"), "ping", "head"),
        (event("http-api-v2", "/iris", "GET"), "about", "get"),
        (event("http-api-v2", "/iris", "GET", headers={"accept": "text/html"}), "about", "get"),
        (event("http-api-v2", "/iris/openapi.json", "GET"), "openapi", "get"),
    ],
)
@pytest.mark.parametrize(
    "model",
    [Tells(lambda args, context: flowers.ANSWER), raising(BadRequest("no")), raising(ValueError("oops"))],
    ids=["answers", "refuses", "fails"],
)
def test_what_the_endpoint_answers_is_in_its_document(made, route, method, model):
    served = serve(model, flowers.about(signature=None))
    found = served.http(event("http-api-v2", "/iris/openapi.json", "GET", body=None)).json
    path = {"about": "/iris", "openapi": "/iris/openapi.json"}.get(route, f"/iris/{route}")
    reply = served.http(made)
    said = _dereferenced(found, found["paths"][path][method]["responses"][str(reply.status)])
    assert reply.headers.keys() >= said.get("headers", {}).keys() - {"retry-after"}
    if "content" not in said:
        assert reply.body == ""
        return
    schema = said["content"][reply.headers["content-type"].partition(";")[0]]["schema"]
    value = reply.json if reply.headers["content-type"] == "application/json" else reply.body
    jsonschema.Draft202012Validator(schema | {"components": found["components"]}).validate(value)


def _dereferenced(found, said):
    return found["components"]["responses"][said["$ref"].rpartition("/")[2]] if "$ref" in said else said


def test_what_the_gateway_says_in_its_own_words_is_in_it_too():
    found = document()
    for status in (403, 404, 413, 429, 500, 502, 503, 504):
        said = _dereferenced(found, found["paths"]["/iris/predict"]["post"]["responses"][str(status)])
        schema = said["content"]["application/json"]["schema"] | {"components": found["components"]}
        for body in ({"message": "Forbidden"}, {"Message": "Forbidden"}, {"message": None}):
            assert jsonschema.Draft202012Validator(schema).is_valid(body), status
        assert not jsonschema.Draft202012Validator(schema).is_valid({"reason": "none"}), status


def test_every_kind_of_error_that_the_handler_has_is_in_it():
    import ast
    from pathlib import Path

    folder = Path(answers.__file__).parent
    said = set()
    for file in folder.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Refusal") and len(node.args) > 1:
                said.add((ast.literal_eval(node.args[0]), ast.literal_eval(node.args[1])))
    known = {(status, kind) for status, (kinds, _) in answers._OURS.items() for kind in kinds}
    assert said <= known
    assert known <= said | {(422, "invalid_data")}


def test_the_document_of_a_model_that_cannot_be_loaded_is_still_there_and_without_its_thampi_json_a_503():
    class Missing:
        def about(self):
            raise BundleError("no thampi.json", hint=None)

    reply = serve(startup=Missing()).http(event("alb", "/iris/openapi.json", "GET", body=None))
    assert (reply.status, reply.error["type"]) == (503, "model_unavailable")


def test_nothing_of_it_is_there_before_somebody_asks():
    served = serve()
    served.http(sample("http-api-v2"))
    assert served.application._telling is None
