import pytest

from handler import events, routes
from tests.handler.inprocess import SHAPES, behind_a_domain, event, sample


def route(path, prefix="", name="iris"):
    return routes.find(events.Request("v2", "GET", path, {}, b"", prefix), name)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("/iris/predict", "predict"),
        ("/iris/ping", "ping"),
        ("/iris", "about"),
        ("/iris/", "about"),
        ("/iris/openapi.json", "openapi"),
        ("/iris/predict/", "predict"),
        ("//iris//predict", "predict"),
        ("/", None),
        ("/rose/predict", None),
        ("/iris/predict/now", None),
        ("/iris/train", None),
        ("/predict", None),
    ],
)
def test_each_path_means_the_same_through_every_front(shape, path, wanted):
    assert routes.find(events.read(event(shape, path)), "iris") == wanted


@pytest.mark.parametrize("path", ["/other/iris/predict", "/iris/iris/predict", "/staging/staging/iris/predict"])
def test_only_the_stage_may_stand_before_our_path(path):
    assert route(path, prefix="staging") is None


def test_a_function_url_has_nothing_before_our_path():
    assert route("/staging/iris/predict") is None


@pytest.mark.parametrize("path", ["/iris/iris/predict", "/iris/predict"])
def test_a_stage_with_the_name_of_the_project_is_no_trouble(path):
    assert route(path, prefix="iris") == "predict"


def test_with_a_stage_of_the_projects_name_the_bare_path_is_the_project():
    assert route("/iris", prefix="iris") == route("/iris/iris", prefix="iris") == "about"


@pytest.mark.parametrize(
    "path",
    [
        "/iris/predict",
        "/ml/iris/predict",
        "/ml/flowers/iris/predict",
        "/iris/iris/predict",
        "/ml/staging/iris/predict/",
    ],
)
def test_behind_a_custom_domain_a_mapping_of_any_length_is_taken_off(path):
    made = sample("http-api-v2")
    made["rawPath"] = path
    made["requestContext"]["domainName"] = "models.example.com"
    assert routes.find(events.read(made), "iris") == "predict"


@pytest.mark.parametrize(
    "mapping", ["", "ml", "models/iris", "models/v1/flowers", "iris", "iris/iris", "predict", "iris/ping"]
)
@pytest.mark.parametrize(
    ("path", "wanted"),
    [("/iris/predict", "predict"), ("/iris/ping", "ping"), ("/iris", "about"), ("/iris/openapi.json", "openapi")],
)
def test_the_mapping_of_a_rest_apis_domain_is_taken_off_whatever_it_is_called(mapping, path, wanted):
    assert routes.find(events.read(behind_a_domain(mapping, path)), "iris") == wanted


@pytest.mark.parametrize("path", ["/models/iris/rose/predict", "/models/iris/train", "/models/iris/iris/predict/now"])
def test_behind_a_mapping_what_is_not_ours_is_still_not_ours(path):
    made = behind_a_domain("models/iris")
    made["path"] = made["requestContext"]["path"] = path
    assert routes.find(events.read(made), "iris") is None


def test_behind_a_custom_domain_an_http_api_has_its_stage_before_our_path_and_not_the_mapping():
    made = sample("http-api-v2")
    made["requestContext"]["domainName"] = made["headers"]["host"] = "models.example.com"
    assert made["rawPath"] == "/staging/iris/predict"
    assert routes.find(events.read(made), "iris") == "predict"


def test_behind_a_custom_domain_another_project_is_still_not_ours():
    assert route("/ml/rose/predict", prefix="*") is None


@pytest.mark.parametrize("path", ["/iris/predict", "/rose/predict", "/staging/iris/predict"])
def test_without_a_name_every_project_is_ours(path):
    assert route(path, prefix="staging", name="") == "predict"


def test_without_a_name_the_empty_path_is_still_nothing():
    assert route("/", name="") is None
