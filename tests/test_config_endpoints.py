"""What an endpoint is told: every key arrives, and what its type can't do is refused with the reason and what can."""

import dataclasses
import json
import re
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.test_config import LEAST, in_stage, in_toml, load, mistakes, write  # noqa: F401
from thampi import config
from thampi.config import AnswerCache, Api, Cors, Domain, Jwt, Limit, Plan, endpoints, tables
from thampi.errors import ConfigError

TYPES, AUTHS = (get_args(Api.__annotations__[key]) for key in ("type", "auth"))
CERTIFICATE = "arn:aws:acm:eu-central-1:123456789012:certificate/1a2b"
ACL = "arn:aws:wafv2:eu-central-1:123456789012:regional/webacl/mine/1a2b"
JWT = 'api.jwt = { issuer = "https://login.example.com/", audience = ["models"] }'
# Each name of LACKS as it is written.
LINES = {
    'auth = "api_key"': 'api.auth = "api_key"',
    'auth = "jwt"': f'api.auth = "jwt"\n{JWT}',
    "rate_per_s": "api.rate_per_s = 10",
    "burst": "api.burst = 10",
    "routes": "api.routes = { predict = { rate_per_s = 10 } }",
    "validate": "api.validate = true",
    "cache_ttl_s": "api.cache_ttl_s = 60",
    "mock": "api.mock = true",
    "mock_result": "api.mock = true\napi.mock_result = 1",
    "waf_acl_arn": f'api.waf_acl_arn = "{ACL}"',
    "domain": f'api.domain = {{ name = "models.example.com", certificate_arn = "{CERTIFICATE}" }}',
    "access_log": "api.access_log = true",
    "tracing": "api.tracing = true",
}
EVERYWHERE = {
    "auth": 'api.auth = "iam"',
    "page": "api.page = false",
    "cors": 'api.cors.origins = ["https://app.example.com"]',
    "cache": "api.cache.ttl_s = 60",
}
CELLS = [(kind, name) for kind in TYPES for name in LINES]
REFUSED = [(kind, name) for kind, name in CELLS if kind in endpoints.LACKS[name]]


def of_type(kind, lines):
    return in_stage(f'api.type = "{kind}"\n{lines}')


# ---------------------------------------------------------------------------------------------- what a type can't do


def test_the_table_of_what_a_type_can_not_do_is_this_one():
    """As AWS has it; https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-vs-rest.html."""
    assert {name: "".join(sorted(kind[0] for kind in of)) for name, of in endpoints.LACKS.items()} == {
        'auth = "api_key"': "hu",
        'auth = "jwt"': "ru",
        "rate_per_s": "u",
        "burst": "u",
        "routes": "u",
        "validate": "hu",
        "cache_ttl_s": "hu",
        "mock": "hu",
        "mock_result": "hu",
        "waf_acl_arn": "hu",
        "domain": "u",
        "access_log": "u",
        "tracing": "hu",
    }


def test_the_documents_have_the_same_table():
    text = (Path(__file__).parents[1] / "docs" / "gateway.md").read_text(encoding="utf-8")
    head, _, *rows = [
        line.strip("|").split("|") for line in re.findall(r"^\| setting .*?\n\n", text, re.S | re.M)[0].split("\n")[:-2]
    ]
    kinds = [cell.strip(" `") for cell in head[1:]]
    said = {
        name: {kind for kind, cell in zip(kinds, cells, strict=True) if not cell.strip().startswith("✓")}
        for names, *cells in rows
        for name in re.findall("`([^`]+)`", names)
    }
    beside = {f'auth = "{auth}"' for auth in AUTHS} | {"plan", "jwt"}
    assert set(said) == beside | {each.name for each in dataclasses.fields(Api)} - {"type", "auth"}
    for name, lacking in said.items():
        name = {"plan": 'auth = "api_key"', "jwt": 'auth = "jwt"'}.get(name, name)
        assert lacking == set(endpoints.LACKS.get(name, {})), name


@pytest.mark.parametrize("document", ["gateway", "endpoint"])
def test_what_the_documents_show_is_loaded(load, document):  # noqa: F811
    text = (Path(__file__).parents[1] / "docs" / f"{document}.md").read_text(encoding="utf-8")
    shown = re.findall("```toml\n(.*?)```", text, re.DOTALL)
    assert len(shown) > 2
    for lines in shown:
        lines = lines if lines.startswith("[") else f"[stages.staging.api]\n{lines}"
        stage = re.search(r"stages\.(\w+)", lines)[1]
        api = load(f'name = "iris"\n{lines.replace("certificate/…", "certificate/1a2b")}', stage).api
        assert api != Api()


def test_every_key_of_the_table_api_is_in_the_table_or_can_be_told_every_type():
    known = {name.split(" ")[0] for name in endpoints.LACKS}
    assert known | set(EVERYWHERE) | {"type", "jwt", "plan"} == {each.name for each in dataclasses.fields(Api)}
    assert set(LINES) == set(endpoints.LACKS)


@pytest.mark.parametrize(("kind", "name"), REFUSED)
def test_what_a_type_can_not_do_is_refused_with_the_reason_and_with_what_can(mistakes, kind, name):  # noqa: F811
    found = mistakes(of_type(kind, LINES[name]))
    words = found[f"stages.staging.api.{name.split(' ')[0]}"]
    lack = endpoints.LACKS[name][kind]
    assert words.endswith(f'can\'t be had with api.type = "{kind}": {lack.why}; {lack.cure}')
    assert words.startswith('"' if name.startswith("auth") else "can't")
    assert set(found) == {f"stages.staging.{line.split(' ')[0]}" for line in LINES[name].split("\n")} - {
        "stages.staging.api.jwt"
    }


@pytest.mark.parametrize(("kind", "name"), [each for each in CELLS if each not in REFUSED])
def test_what_a_type_can_do_is_loaded(load, kind, name):  # noqa: F811
    api = load(of_type(kind, LINES[name])).api
    assert api.type == kind
    assert api != Api(type=kind) or name == "validate"  # which is the default where it can be had


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("line", EVERYWHERE.values())
def test_what_every_type_can_do_is_loaded_with_every_type(load, kind, line):  # noqa: F811
    assert load(of_type(kind, line)).api != Api(type=kind)


@pytest.mark.parametrize(("kind", "name"), REFUSED)
def test_the_cure_names_a_setting_that_works(load, kind, name):  # noqa: F811
    """Each word in the form of a setting is tried, and leads out of the mistake."""
    cure = endpoints.LACKS[name][kind].cure
    types = re.findall(r'type = "(\w+)"', cure)
    assert types or "reserved_concurrency" in cure
    for other in types:
        assert load(of_type(other, LINES[name])).api.type == other
    for auth in re.findall(r'auth = "(\w+)"', cure):
        assert load(of_type(kind, f'api.auth = "{auth}"\n{JWT if auth == "jwt" else ""}')).api.auth == auth
    for key in re.findall(r"reserved_concurrency|api\.\w+", cure):
        value = "5" if key == "reserved_concurrency" else "{ ttl_s = 5 }"
        load(of_type(kind, f"{key} = {value}"))


@pytest.mark.parametrize("kind", TYPES)
def test_what_says_that_nothing_is_wanted_can_be_told_every_type(load, kind):  # noqa: F811
    lines = "api.routes = {}\napi.validate = false\napi.mock = false\napi.access_log = false\napi.tracing = false"
    assert load(of_type(kind, lines)).api == Api(type=kind, validate=False)


def test_everything_that_a_type_can_not_do_is_said_at_once_each_where_it_is_written(mistakes):  # noqa: F811
    text = f"""
        name = "iris"
        timeout_s = 60
        [api]
        tracing = true
        waf_acl_arn = "{ACL}"
        [stages.staging]
        auth = "jwt"
        [stages.staging.api]
        burst = 5
        mock_result.answer = 1
        """
    assert set(mistakes(text)) == {
        "timeout_s",
        "api.tracing",
        "api.waf_acl_arn",
        "stages.staging.auth",
        "stages.staging.api.mock_result",
    }
    assert set(mistakes(text.replace("[stages.staging.api]", '[stages.staging.api]\ntype = "url"'))) == {
        "api.tracing",
        "api.waf_acl_arn",
        "stages.staging.auth",
        "stages.staging.api.burst",
        "stages.staging.api.mock_result",
    }


def test_another_stage_may_have_what_this_one_can_not(load):  # noqa: F811
    text = in_stage('api.type = "url"') + '[stages.production]\napi.type = "rest"\napi.tracing = true\n'
    assert load(text, "production").api == Api(type="rest", tracing=True)
    assert load(text).api == Api(type="url")


@pytest.mark.parametrize(
    ("api", "kinds"),
    [
        (Api(), {"http", "rest", "url"}),
        (Api(auth="iam", page=False, cors=Cors(origins=("*",)), cache=AnswerCache(ttl_s=1)), {"http", "rest", "url"}),
        (Api(validate=False), {"http", "rest", "url"}),
        (Api(auth="api_key"), {"rest"}),
        (Api(auth="jwt", jwt=Jwt(issuer="https://x", audience=("a",))), {"http"}),
        (Api(rate_per_s=5), {"http", "rest"}),
        (Api(access_log=True), {"http", "rest"}),
        (Api(waf_acl_arn=ACL), {"rest"}),
    ],
)
def test_another_type_is_only_advised_where_it_can_be_told_the_same(api, kinds):
    assert {kind for kind in TYPES if endpoints.can_be(api, kind)} == kinds


def test_a_longer_wait_says_what_has_to_go_for_it(mistakes):  # noqa: F811
    text = of_type("rest", 'api.auth = "api_key"\napi.burst = 5\ntimeout_s = 30')
    assert mistakes(text)["stages.staging.timeout_s"] == (
        'should be at most 29, is 30: no endpoint of api.type = "rest" waits longer; one of type = "url" waits 900 '
        'seconds, without auth = "api_key" and burst'
    )


# -------------------------------------------------------------------------------------------- what doesn't go together


@pytest.mark.parametrize(
    ("lines", "path", "words"),
    [
        (
            'api.auth = "jwt"',
            "api.auth",
            'is "jwt", and jwt = { issuer = "https://…", audience = ["…"] } beside it says whose tokens let a caller ',
        ),
        ('auth = "jwt"', "auth", 'is "jwt", and jwt = {'),
        (JWT, "api.jwt", 'is of no use with auth = "none": it is for auth = "jwt", which type = "http" has'),
        (f'auth = "iam"\n{JWT}', "api.jwt", 'is of no use with auth = "iam": it is for auth = "jwt"'),
        (
            'api.type = "rest"\napi.plan.quota = 5',
            "api.plan",
            'is of no use with auth = "none": it is for auth = "api_key", which type = "rest" has',
        ),
        (
            'api.type = "rest"\napi.auth = "api_key"\napi.plan.period = "day"',
            "api.plan.period",
            "is of no use without a quota, the number of requests in each",
        ),
        ('api.type = "rest"\napi.mock_result = 1', "api.mock_result", "is of no use without mock = true"),
        ('api.type = "rest"\napi.mock_result = 1\napi.mock = false', "api.mock_result", "is of no use without mock"),
        (
            'api.cors = { origins = ["*", "https://app.example.com"] }',
            "api.cors.origins",
            'should be "*" alone, which is every origin, or the others without it',
        ),
        (
            'api.cors = { origins = ["*"], credentials = true }',
            "api.cors.credentials",
            "can't be had with origins = [\"*\"]: browsers send none where every page may ask: name the origins",
        ),
        (
            'api.cors = { origins = ["https://a.example"], headers = ["*"], credentials = true }',
            "api.cors.credentials",
            'can\'t be had with "*" among the headers: browsers take it for a header of that name then: name the he',
        ),
        ("memory_mb = 512\napi.cache = { ttl_s = 1, size_mb = 129 }", "api.cache.size_mb", "should be at most 128"),
        ("api.cache = { ttl_s = 1, size_mb = 257 }", "api.cache.size_mb", "should be at most 256, is 257: the model"),
        ("memory_mb = 252\napi.cache.ttl_s = 1", "api.cache.size_mb", "should be at most 63, is 64"),
        (
            f'region = "us-east-1"\napi.type = "rest"\napi.waf_acl_arn = "{ACL}"',
            "api.waf_acl_arn",
            "is of eu-central-1, and the stage's region is us-east-1: it should be of that one",
        ),
        (
            f'region = "us-east-1"\n{LINES["domain"]}',
            "api.domain.certificate_arn",
            "is of eu-central-1, and the stage's region is us-east-1: it should be of that one",
        ),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(mistakes, lines, path, words):  # noqa: F811
    ((found, said),) = mistakes(in_stage(lines)).items()
    assert found == f"stages.staging.{path}"
    assert said.startswith(words)


@pytest.mark.parametrize(
    "lines",
    [
        f'region = "eu-central-1"\n{LINES["domain"]}',
        f'region = "eu-central-1"\napi.type = "rest"\napi.waf_acl_arn = "{ACL}"',
        'api.cors = { origins = ["https://a.example"], credentials = true }',
        'api.cors = { origins = ["*"], headers = ["*"] }',
        'api.type = "rest"\napi.auth = "api_key"\napi.plan = { quota = 5, period = "day" }',
        'api.type = "rest"\napi.auth = "api_key"\napi.mock = true\nkeep_warm = "rate(4 minutes)"\nsnapstart = true',
        "api.burst = 5",
        "api.routes.predict.rate_per_s = 500",  # each route has its own; more than the stage's is no mistake
        "memory_mb = 256\napi.cache.ttl_s = 1",
        "memory_mb = 128\napi.cache = { ttl_s = 1, size_mb = 32 }",
    ],
)
def test_what_goes_together_is_loaded(load, lines):  # noqa: F811
    assert load(in_stage(lines)).api != Api()


def test_the_region_of_a_flag_or_variable_counts(load, mistakes):  # noqa: F811
    text = in_stage(f'region = "us-east-1"\n{LINES["domain"]}')
    assert load(text, flags={"region": "eu-central-1"}).region == "eu-central-1"
    assert load(text, environ={"THAMPI_REGION": "eu-central-1"}).region == "eu-central-1"
    assert "eu-west-1" in mistakes(text, flags={"region": "eu-west-1"})["stages.staging.api.domain.certificate_arn"]


def test_the_sites_that_a_function_is_told_of_have_to_fit_into_its_environment(load, mistakes):  # noqa: F811
    origins = [f"https://app-{number:03}.example.com" for number in range(110)]
    many = f"api.cors.origins = {in_toml(origins)}"
    loaded = load(of_type("rest", many))
    told = len("THAMPI_CORS" + json.dumps(dataclasses.asdict(loaded.api.cors), separators=(",", ":")))
    room = "x" * (3584 - told - len("BIG"))
    assert load(of_type("rest", f'{many}\nenvironment = {{ BIG = "{room}" }}')).api.cors == loaded.api.cors
    assert mistakes(of_type("rest", f'{many}\nenvironment = {{ BIG = "{room}x" }}')) == {
        "environment": f"should be at most 3584 bytes in all, is 3585 with the {told} that api.cors takes there"
    }
    assert load(of_type("http", f'{many}\nenvironment = {{ BIG = "{room}x" }}'))  # there the gateway sees to them


# ------------------------------------------------------------------------------------------------------ how it is told


WHOLE = {
    "http": """
        auth = "jwt"
        page = false
        rate_per_s = 50
        burst = 100
        routes = { predict = { rate_per_s = 0.5, burst = 1 }, ping = { burst = 7 } }
        jwt.issuer = "https://login.example.com/realms/one"
        jwt.audience = ["models", "others"]
        jwt.scopes = ["predict"]
        access_log = true
        """,
    "rest": f"""
        auth = "api_key"
        plan = {{ rate_per_s = 5, burst = 10, quota = 1000, period = "week" }}
        cors.origins = ["https://app.example.com", "http://localhost:3000"]
        cors.methods = ["GET", "POST", "HEAD"]
        cors.headers = ["content-type", "X-Mine"]
        cors.credentials = true
        cors.max_age_s = 0
        validate = false
        cache = {{ ttl_s = 60, size_mb = 100 }}
        cache_ttl_s = 3600
        mock = true
        mock_result = [{{ label = "a", score = 0.5, more = [1, true, ""] }}]
        waf_acl_arn = "{ACL}"
        tracing = true
        [stages.staging.api.domain]
        name = "models.example.com"
        certificate_arn = "{CERTIFICATE}"
        path = "iris/one"
        """,
}


def test_every_key_arrives_in_its_own_field(load):  # noqa: F811
    http, rest = (load(f'{LEAST}[stages.staging.api]\ntype = "{kind}"\n{lines}').api for kind, lines in WHOLE.items())
    assert http == Api(
        type="http",
        auth="jwt",
        page=False,
        rate_per_s=50.0,
        burst=100,
        routes={"predict": Limit(rate_per_s=0.5, burst=1), "ping": Limit(burst=7)},
        jwt=Jwt(issuer="https://login.example.com/realms/one", audience=("models", "others"), scopes=("predict",)),
        access_log=True,
    )
    assert rest == Api(
        type="rest",
        auth="api_key",
        plan=Plan(rate_per_s=5.0, burst=10, quota=1000, period="week"),
        cors=Cors(
            origins=("https://app.example.com", "http://localhost:3000"),
            methods=("GET", "POST", "HEAD"),
            headers=("content-type", "X-Mine"),
            credentials=True,
            max_age_s=0,
        ),
        validate=False,
        cache=AnswerCache(ttl_s=60, size_mb=100),
        cache_ttl_s=3600,
        mock=True,
        mock_result=[{"label": "a", "score": 0.5, "more": [1, True, ""]}],
        waf_acl_arn=ACL,
        domain=Domain(name="models.example.com", certificate_arn=CERTIFICATE, path="iris/one"),
        tracing=True,
    )
    told = {
        each.name
        for each in dataclasses.fields(Api)
        for api in (http, rest)
        if getattr(api, each.name) != getattr(Api(), each.name)
    }
    assert told == {each.name for each in dataclasses.fields(Api)}


def test_a_rate_is_the_same_with_and_without_a_point(load):  # noqa: F811
    written = load(in_stage("api.rate_per_s = 100\napi.routes.ping.rate_per_s = 5")).api
    assert [type(each) for each in (written.rate_per_s, written.routes["ping"].rate_per_s)] == [float, float]


def test_a_table_of_the_stage_takes_the_place_of_the_whole_one_that_all_share(load):  # noqa: F811
    api = load(
        """
        name = "iris"
        [api]
        page = false
        cors = { origins = ["https://a.example"], max_age_s = 5 }
        routes = { predict = { burst = 5 }, ping = { burst = 6 } }
        [stages.staging.api]
        cors = { origins = ["https://b.example"] }
        routes.predict.rate_per_s = 7
        """
    ).api
    assert api == Api(page=False, cors=Cors(origins=("https://b.example",)), routes={"predict": Limit(rate_per_s=7.0)})


@pytest.mark.parametrize(
    ("line", "path", "words"),
    [
        ("api.valdate = false", "valdate", "unknown key, did you mean `validate`?"),
        ("api.validate_ = false", "validate_", "unknown key, did you mean `validate`?"),
        ("api.validate = 1", "validate", "should be true or false, is 1"),
        ('api.jwt.isuer = "x"', "jwt.isuer", "unknown key, did you mean `issuer`?"),
        ("api.plan.qouta = 1", "plan.qouta", "unknown key, did you mean `quota`?"),
        ("api.cors.orgins = []", "cors.orgins", "unknown key, did you mean `origins`?"),
        ("api.cache.ttl = 1", "cache.ttl", "unknown key, did you mean `ttl_s`?"),
        ('api.domain.nme = "x"', "domain.nme", "unknown key, did you mean `name`?"),
        ("api.routes.ping.brst = 1", "routes.ping.brst", "unknown key, did you mean `burst`?"),
        ('api.issuer = "x"', "issuer", "unknown key here, it belongs in the table api.jwt"),
        ("api.plan.audience = []", "plan.audience", "unknown key here, it belongs in the table api.jwt"),
        ("api.origins = []", "origins", "unknown key here, it belongs in the table api.cors"),
        ("api.quota = 1", "quota", "unknown key here, it belongs in the table api.plan"),
        ("api.ttl_s = 1", "ttl_s", "unknown key here, it belongs in the table api.cache"),
        ('api.certificate_arn = "x"', "certificate_arn", "unknown key here, it belongs in the table api.domain"),
        ("api.cors.page = true", "cors.page", "unknown key here, it belongs in a stage's table api"),
        ("api.jwt.memory_mb = 1", "jwt.memory_mb", "unknown key here, it belongs in a stage"),
        ('api.jwt = { audience = ["a"] }', "jwt.issuer", "is missing"),
        ('api.jwt = { issuer = "https://x" }', "jwt.audience", "is missing"),
        ("api.cors = {}", "cors.origins", "is missing"),
        ("api.cache = {}", "cache.ttl_s", "is missing"),
        ('api.domain = { name = "a.example" }', "domain.certificate_arn", "is missing"),
        ("api.routes.predct.burst = 1", "routes.predct", 'should be "predict" or "about" or "ping" or "openapi", is '),
        ("api.routes.ping.burst = 0", "routes.ping.burst", "should be 1 to 10000, is 0"),
        ("api.burst = 10001", "burst", "should be 1 to 10000, is 10001"),
        ("api.rate_per_s = 0", "rate_per_s", "should be more than 0 and at most 10000, is 0"),
        ("api.rate_per_s = nan", "rate_per_s", "should be more than 0 and at most 10000, is NaN"),
        ('api.rate_per_s = "5"', "rate_per_s", 'should be a number, is "5"'),
        ("api.rate_per_s = true", "rate_per_s", "should be a number, is true"),
        ("api.plan.rate_per_s = -1", "plan.rate_per_s", "should be more than 0 and at most 10000, is -1"),
        ("api.plan.quota = 0", "plan.quota", "should be 1 to 2000000000, is 0"),
        ('api.plan = { quota = 1, period = "year" }', "plan.period", 'should be "day" or "week" or "month", is "year"'),
        ('api.jwt.issuer = "login"', "jwt.issuer", 'should be a URL like "https://login.example.com/", is "login"'),
        ('api.jwt.audience = "a"', "jwt.audience", 'should be a list, in [ ], is "a"'),
        ("api.jwt.audience = []", "jwt.audience", "should name at least one, is a list"),
        ("api.jwt.audience = ['']", "jwt.audience[0]", 'should not be empty, is ""'),
        ('api.cors.origins = ["https://A.example"]', "cors.origins[0]", 'should be "*", or as browsers say it, like '),
        ('api.cors.origins = ["https://a.example/"]', "cors.origins[0]", 'should be "*", or as browsers say it, like '),
        ('api.cors.origins = ["https://a.example:443"]', "cors.origins[0]", 'should be "*", or as browsers say it, '),
        ('api.cors.origins = ["http://a.example:80"]', "cors.origins[0]", 'should be "*", or as browsers say it, '),
        ('api.cors.origins = ["a.example"]', "cors.origins[0]", 'should be "*", or as browsers say it, like '),
        ("api.cors.origins = []", "cors.origins", "should name at least one"),
        ('api.cors.methods = ["PUT"]', "cors.methods[0]", 'should be "GET" or "POST" or "HEAD", is "PUT"'),
        ('api.cors.headers = ["a b"]', "cors.headers[0]", 'should be the name of a header, or "*", is "a b"'),
        ("api.cors.max_age_s = 86401", "cors.max_age_s", "should be 0 to 86400, is 86401"),
        ("api.cache.ttl_s = 0", "cache.ttl_s", "should be 1 to 86400, is 0"),
        ("api.cache_ttl_s = 3601", "cache_ttl_s", "should be 1 to 3600, is 3601"),
        ("api.mock = true\napi.mock_result = 2026-01-01", "mock_result", "should be what JSON can say: no date or "),
        ("api.mock = true\napi.mock_result = { a = [inf] }", "mock_result", "should be what JSON can say: no date or "),
        ('api.waf_acl_arn = "mine"', "waf_acl_arn", "should be the ARN of a regional web ACL like"),
        (f'api.waf_acl_arn = "{ACL.replace("regional", "global")}"', "waf_acl_arn", "should be the ARN of a regional "),
        ('api.domain.name = "Models.example.com"', "domain.name", 'should be a domain like "models.example.com", in'),
        ('api.domain.name = "localhost"', "domain.name", 'should be a domain like "models.example.com", in lower case'),
        ('api.domain.certificate_arn = "x"', "domain.certificate_arn", "should be the ARN of a certificate like"),
        ('api.domain.path = "/iris"', "domain.path", 'should be a path like "iris" or "models/iris", without / at its'),
    ],
)  # fmt: skip
def test_a_wrong_key_or_value_of_the_endpoint_is_named_in_plain_words(mistakes, line, path, words):  # noqa: F811
    found = mistakes(of_type("rest", line))
    assert found[f"stages.staging.api.{path}"].startswith(words)
    assert [said for said in found.values() if "something else" in said] == []


# --------------------------------------------------------------------------------------------------- whatever is told


def values(key):
    """Values of a key of the table api, right by themselves, or not quite."""
    name = st.sampled_from(["a.example", "models.example.com"])
    right = {
        "type": st.sampled_from(TYPES),
        "auth": st.sampled_from(AUTHS),
        "rate_per_s": st.floats(0.5, 100) | st.integers(1, 100),
        "burst": st.integers(1, 100),
        "cache_ttl_s": st.integers(1, 100),
        "routes": st.dictionaries(
            st.sampled_from(["predict", "about", "ping", "openapi"]),
            st.fixed_dictionaries({}, optional={"rate_per_s": st.integers(1, 9), "burst": st.integers(1, 9)}),
        ),
        "plan": st.fixed_dictionaries(
            {}, optional={"quota": st.integers(1, 9), "period": st.just("day"), "burst": st.integers(1, 9)}
        ),
        "jwt": st.fixed_dictionaries({"issuer": st.just("https://x"), "audience": st.just(["a"])}),
        "cors": st.fixed_dictionaries(
            {"origins": st.lists(st.sampled_from(["*", "https://a.example"]), min_size=1)},
            optional={"credentials": st.booleans(), "headers": st.lists(st.sampled_from(["*", "a"]))},
        ),
        "cache": st.fixed_dictionaries({"ttl_s": st.just(1)}, optional={"size_mb": st.integers(1, 600)}),
        "domain": st.fixed_dictionaries({"name": name, "certificate_arn": st.just(CERTIFICATE)}),
        "waf_acl_arn": st.just(ACL),
        "mock_result": st.integers() | st.dictionaries(name, st.booleans()),
    }
    return right.get(key, st.booleans())


APIS = st.fixed_dictionaries({}, optional={key: values(key) for key in tables.keys(tables.ApiTable)})


@st.composite
def right(draw):
    """Any of what a type can be told, together with what it takes."""
    kind = draw(st.sampled_from(TYPES))
    auth = draw(st.sampled_from([each for each in AUTHS if kind not in endpoints.LACKS.get(f'auth = "{each}"', {})]))
    whole = {"cors": {"origins": ["https://a.example"]}, "cache": {"ttl_s": 1}, "plan": {"quota": 5, "period": "day"}}
    known = {key for key in tables.keys(tables.ApiTable) if kind not in endpoints.LACKS.get(key, {})}
    wanted = draw(st.sets(st.sampled_from(sorted(known - {"type", "auth", "jwt", "plan", "mock_result"}))))
    wanted |= {"plan"} if auth == "api_key" and draw(st.booleans()) else set()
    told = {key: whole.get(key) or draw(values(key)) for key in sorted(wanted)} | {"type": kind, "auth": auth}
    told |= {"jwt": draw(values("jwt"))} if auth == "jwt" else {}
    return told | ({"mock_result": draw(values("mock_result"))} if told.get("mock") and draw(st.booleans()) else {})


@settings(deadline=None, max_examples=200)  # it writes files
@given(right())
def test_whatever_goes_together_is_loaded_as_it_is_told(tmp_path_factory, api):
    file = tmp_path_factory.mktemp("project") / "thampi.toml"
    file.write_text(f'name = "iris"\nregion = "eu-central-1"\napi = {in_toml(api)}\n', encoding="utf-8")
    loaded = config.load(file, "local", flags={}, environ={}).api
    assert endpoints.can_be(loaded, api["type"])
    assert {key: getattr(loaded, key) for key, value in api.items() if not isinstance(value, dict | list)} == {
        key: value for key, value in api.items() if not isinstance(value, dict | list)
    }


@settings(deadline=None, max_examples=300)  # it writes files
@given(APIS, APIS, st.sampled_from([None, "none", "jwt"]), st.sampled_from([None, 1, 29, 30, 31, 900]))
def test_whatever_an_endpoint_is_told_ends_in_one_that_can_be_or_in_mistakes(tmp_path_factory, top, own, auth, waits):
    file = tmp_path_factory.mktemp("project") / "thampi.toml"
    beside = {"auth": auth, "timeout_s": waits, "region": "us-east-1"}
    stage = {key: value for key, value in beside.items() if value is not None} | {"api": own}
    written = {"name": "iris", "api": top, "stages": {"staging": stage}}
    file.write_text("".join(f"{key} = {in_toml(value)}\n" for key, value in written.items()), encoding="utf-8")
    try:
        loaded = config.load(file, "staging", flags={}, environ={})
    except ConfigError as error:
        lines = error.message.splitlines()
        assert re.match(rf"{len(lines) - 1} mistakes? in ", lines[0])
        for line in lines[1:]:
            assert re.match(r"  (stages\.staging\.)?(api\.[\w.\[\]]+|auth|timeout_s): \S.+", line)
        return
    assert endpoints.can_be(loaded.api, loaded.api.type)
    assert (loaded.api.jwt is None) == (loaded.api.auth != "jwt")
