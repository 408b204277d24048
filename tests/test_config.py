"""config.py: thampi.toml and flags become one frozen Stage, or every mistake is said at once."""

import copy
import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thampi import config
from thampi.config import Api, Build, Masked, Stage, Vpc, tables
from thampi.errors import ConfigError

LEAST = 'name = "iris"\n[stages.staging]\n'


@pytest.fixture
def write(tmp_path):
    def write(text):
        file = tmp_path / "thampi.toml"
        file.write_text(text, encoding="utf-8")
        return file

    return write


@pytest.fixture
def load(write):
    def load(text, stage="staging", flags=None, environ=None):
        return config.load(write(text), stage, flags=flags or {}, environ=environ or {})

    return load


@pytest.fixture
def mistakes(load):
    """Load what must be refused; return its mistakes as {path: words}."""

    def mistakes(text, stage="staging", flags=None, environ=None):
        with pytest.raises(ConfigError) as refused:
            load(text, stage, flags, environ)
        lines = refused.value.message.splitlines()[1:]
        assert all(line.startswith("  ") for line in lines)
        return dict(line.strip().split(": ", 1) for line in lines)

    return mistakes


def in_stage(line):
    return f"{LEAST}{line}\n"


def in_build(line):
    return f'name = "iris"\n[build]\n{line}\n[stages.staging]\n'


# ------------------------------------------------------------------------------------------------------------ finding


def test_the_project_is_found_from_a_folder_below_it(write, tmp_path):
    file = write(LEAST)
    below = tmp_path / "features" / "text"
    below.mkdir(parents=True)
    assert config.find(below) == config.find(tmp_path) == file.resolve()


def test_the_nearest_project_is_the_one(write, tmp_path):
    write(LEAST)
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "thampi.toml").write_text(LEAST)
    assert config.find(inner) == (inner / "thampi.toml").resolve()


def test_without_a_project_the_way_to_one_is_shown(tmp_path):
    (tmp_path / "thampi.toml").mkdir()  # a folder of that name is no project
    with pytest.raises(ConfigError, match=r"there is no thampi.toml in .* or above it") as refused:
        config.find(tmp_path)
    assert refused.value.hint == "run `thampi init`"


# ------------------------------------------------------------------------------------------------- what comes out


def test_the_least_file_makes_a_whole_stage(load, tmp_path):
    folder = tmp_path.resolve()
    assert load(LEAST) == Stage(project_dir=folder, name="iris", stage="staging", model_dir=folder / "models" / "iris")
    assert load(LEAST).build == Build()


def test_the_defaults_are_these(load):
    stage = load(LEAST)
    assert (stage.memory_mb, stage.timeout_s, stage.ephemeral_storage_mb) == (1024, 29, 512)
    assert (stage.api.auth, stage.max_body_mb, stage.log_retention_days) == ("none", 5, 30)
    assert (stage.profile, stage.region, stage.bucket, stage.vpc) == (None, None, None, None)
    assert (dict(stage.environment), dict(stage.tags)) == ({}, {})
    assert (stage.build.platform, stage.build.apt, stage.build.include) == ("linux/amd64", (), ())


def test_every_key_arrives_in_its_own_field(load, tmp_path):
    stage = load(
        """
        name = "iris"
        model_dir = "models/iris-sklearn"
        [build]
        dependency_file = "requirements.txt"
        extras = ["serving", "gpu.2"]
        package_manager = "conda"
        python = "3.12"
        platform = "linux/arm64"
        base_image = "localhost:5000/base:1"
        apt = ["libgomp1", "g++=4:12.2.0-3"]
        include = ["features/", "./words.txt"]
        model = "image"
        [stages.staging]
        profile = "my profile"
        region = "eu-central-1"
        bucket = "thampi-store"
        memory_mb = 128
        timeout_s = 900
        ephemeral_storage_mb = 10240
        api = { type = "url", auth = "iam", page = false }
        max_body_mb = 6
        log_retention_days = 1
        environment = { MODE = "careful" }
        tags = { team = "Übersicht", "cost center" = "" }
        vpc = { subnet_ids = ["subnet-1", "subnet-2"], security_group_ids = ["sg-1"] }
        role_arn = "arn:aws-us-gov:iam::123456789012:role/path/mine"
        endpoint_url = "http://127.0.0.1:4566"
        registry = "localhost:5000"
        """
    )
    folder = tmp_path.resolve()
    assert stage == Stage(
        project_dir=folder,
        name="iris",
        stage="staging",
        model_dir=folder / "models" / "iris-sklearn",
        build=Build(
            dependency_file=folder / "requirements.txt",
            extras=("serving", "gpu.2"),
            package_manager="conda",
            python="3.12",
            platform="linux/arm64",
            base_image="localhost:5000/base:1",
            apt=("libgomp1", "g++=4:12.2.0-3"),
            include=("features", "words.txt"),
            model="image",
        ),
        profile="my profile",
        region="eu-central-1",
        bucket="thampi-store",
        memory_mb=128,
        timeout_s=900,
        ephemeral_storage_mb=10240,
        api=Api(type="url", auth="iam", page=False),
        max_body_mb=6,
        log_retention_days=1,
        environment=Masked({"MODE": "careful"}),
        tags={"team": "Übersicht", "cost center": ""},
        vpc=Vpc(subnet_ids=("subnet-1", "subnet-2"), security_group_ids=("sg-1",)),
        role_arn="arn:aws-us-gov:iam::123456789012:role/path/mine",
        endpoint_url="http://127.0.0.1:4566",
        registry="localhost:5000",
    )


def test_no_pydantic_comes_out(load):
    def types(value):
        yield type(value)
        if dataclasses.is_dataclass(value):
            for each in dataclasses.fields(value):
                yield from types(getattr(value, each.name))

    assert [each for each in types(load(LEAST)) if "pydantic" in each.__module__] == []


def test_a_stage_cannot_be_changed(load):
    stage = load(LEAST)
    with pytest.raises(dataclasses.FrozenInstanceError):
        stage.memory_mb = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        stage.build.python = "3.13"
    with pytest.raises(TypeError):
        stage.environment["MODE"] = "x"


def test_what_is_checked_and_what_comes_out_have_the_same_keys():
    made = {"project_dir", "stage"}  # by load, nobody writes them
    stage_keys = {each.name for each in dataclasses.fields(Stage)} - made
    beside = {"auth"}  # as it was written before there was a table api
    assert set(tables.Project.model_fields) - {"stages"} - beside == stage_keys
    assert set(tables.StageTable.model_fields) - beside == stage_keys - {"name", "model_dir", "build"}
    assert set(tables.BuildTable.model_fields) == {each.name for each in dataclasses.fields(Build)}
    made_of = {
        "vpc": Vpc,
        "api": Api,
        "api.plan": config.Plan,
        "api.jwt": config.Jwt,
        "api.cors": config.Cors,
        "api.cache": config.AnswerCache,
        "api.domain": config.Domain,
        "api.routes.predict": config.Limit,
    }
    for place, made_of_it in made_of.items():
        table = tables.at(tables.StageTable, place.split("."))
        assert set(tables.keys(table)) == {each.name for each in dataclasses.fields(made_of_it)}


def test_paths_are_meant_from_the_folder_of_the_file(load, tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    stage = load(in_build('dependency_file = "deps/pip.txt"'), flags={"model_dir": "saved"})
    assert stage.build.dependency_file == tmp_path.resolve() / "deps" / "pip.txt"
    assert stage.model_dir == tmp_path.resolve() / "saved"


def test_an_absolute_path_stays_what_it_is(load):
    assert load(LEAST, flags={"model_dir": Path("/models/iris")}).model_dir == Path("/models/iris")


def test_a_path_in_the_home_folder_is_found_there(load):
    assert load('model_dir = "~/models/iris"\n' + LEAST).model_dir == Path.home() / "models" / "iris"


# --------------------------------------------------------------------------------------------------------- precedence


FLAG, VARIABLE = {"region": "us-east-1"}, {"THAMPI_REGION": "us-east-2"}


@pytest.mark.parametrize(
    ("flags", "environ", "line", "top", "region"),
    [
        (FLAG, VARIABLE, 'region = "us-west-1"', 'region = "us-west-2"', "us-east-1"),
        ({}, VARIABLE, 'region = "us-west-1"', 'region = "us-west-2"', "us-east-2"),
        ({}, {}, 'region = "us-west-1"', 'region = "us-west-2"', "us-west-1"),
        ({}, {}, "", 'region = "us-west-2"', "us-west-2"),
        ({}, {}, "", "", None),
    ],
)
def test_a_flag_wins_over_a_variable_over_the_stage_over_the_project(load, flags, environ, line, top, region):
    stage = load(f"{top}\n{LEAST}{line}\n", flags=flags, environ=environ)
    assert stage.region == region


@pytest.mark.parametrize(
    ("variable", "read"),
    [
        ("THAMPI_PROFILE", lambda stage: stage.profile),
        ("THAMPI_REGION", lambda stage: stage.region),
        ("THAMPI_BUCKET", lambda stage: stage.bucket),
        ("THAMPI_MODEL_DIR", lambda stage: stage.model_dir.name),
        ("THAMPI_DEPENDENCY_FILE", lambda stage: stage.build.dependency_file.name),
    ],
)
def test_each_variable_of_the_list_sets_its_key(load, variable, read):
    value = "eu-west-1"  # a right value for all of them
    lines = in_build('dependency_file = "other"') + 'profile = "other"\nregion = "us-east-1"\nbucket = "other"\n'
    assert read(load('model_dir = "other"\n' + lines, environ={variable: value})) == value
    assert read(load('model_dir = "other"\n' + lines, environ={variable: ""})) != value


def test_the_list_of_variables_is_closed():
    assert sorted(config.VARIABLES) == [
        "THAMPI_BUCKET",
        "THAMPI_DEPENDENCY_FILE",
        "THAMPI_MODEL_DIR",
        "THAMPI_PROFILE",
        "THAMPI_REGION",
    ]


@pytest.mark.parametrize(
    "variable",
    [
        "THAMPI_DOCKER",
        "THAMPI_LOCAL_PORT",
        "THAMPI_TOKEN",
        "THAMPI_MODEL",
        "THAMPI_MANIFEST_SHA256",
        "THAMPI_FILES",
        "THAMPI_NAME",
        "THAMPI_STAGE",
        "THAMPI_SERVED_TIME_UTC",
        "THAMPI_HOME",
        "THAMPI_API_KEY",
    ],
)
def test_a_variable_that_others_read_changes_nothing(load, variable):
    assert load(LEAST, environ={variable: "other"}) == load(LEAST)


def test_a_variable_that_seems_to_set_a_key_is_refused(mistakes):
    assert mistakes(LEAST, environ={"THAMPI_REGON": "us-east-1", "THAMPI_MEMORY_MB": "2048"}) == {
        "THAMPI_REGON": "there is no such variable, did you mean `THAMPI_REGION`?",
        "THAMPI_MEMORY_MB": "there is no such variable, `memory_mb` is set in thampi.toml",
    }


def test_a_flag_of_the_build_wins_over_the_file(load):
    stage = load(in_build('python = "3.12"\napt = ["libgomp1"]'), flags={"python": "3.13"})
    assert (stage.build.python, stage.build.apt) == ("3.13", ("libgomp1",))


def test_a_flag_that_was_not_given_says_nothing(load):
    assert load(in_stage("memory_mb = 2048"), flags={"memory_mb": None}).memory_mb == 2048


def test_a_flag_that_may_be_repeated_comes_as_a_tuple(load):
    assert load(LEAST, flags={"apt": ("libgomp1",)}).build.apt == ("libgomp1",)


def test_one_stage_says_nothing_about_another(load):
    text = LEAST + 'memory_mb = 2048\n[stages.production]\nregion = "us-east-1"\n'
    assert (load(text, "staging").region, load(text, "production").memory_mb) == (None, 1024)


def test_tables_are_merged_key_by_key_and_the_stage_wins(load):
    stage = load(
        """
        name = "iris"
        environment = { MODE = "careful", LEVEL = "1" }
        tags = { team = "a", owner = "b" }
        vpc = { subnet_ids = ["subnet-1"], security_group_ids = ["sg-1"] }
        [stages.staging]
        environment = { LEVEL = "2", MORE = "3" }
        tags = { team = "c" }
        vpc = { subnet_ids = ["subnet-2"] }
        """
    )
    assert dict(stage.environment) == {"MODE": "careful", "LEVEL": "2", "MORE": "3"}
    assert stage.tags == {"team": "c", "owner": "b"}
    assert stage.vpc == Vpc(subnet_ids=("subnet-2",), security_group_ids=("sg-1",))


# ------------------------------------------------------------------------------------------------------------- stages


def test_stages_come_in_the_order_of_the_file_and_local_is_always_there(write):
    assert config.stages(write('name = "iris"\n[stages.staging]\n[stages.alpha]\n')) == (
        "staging",
        "alpha",
        "local",
    )
    assert config.stages(write('name = "iris"\n[stages.local]\n[stages.alpha]\n')) == ("local", "alpha")
    assert config.stages(write('name = "iris"\n')) == ("local",)


def test_stages_of_a_wrong_file_are_refused(write):
    with pytest.raises(ConfigError, match=r"stages\.Staging: should be named"):
        config.stages(write('name = "iris"\n[stages.Staging]\n'))


def test_the_local_stage_needs_no_entry(load):
    stage = load('memory_mb = 2048\nname = "iris"\n', "local")
    assert (stage.stage, stage.memory_mb) == ("local", 2048)


def test_the_local_stage_may_have_an_entry(load):
    assert load('name = "iris"\n[stages.local]\nmemory_mb = 512\n', "local").memory_mb == 512


def test_an_unknown_stage_is_answered_with_the_defined_ones(mistakes):
    text = LEAST + "[stages.production]\n"
    assert mistakes(text, "stagin") == {
        "stages": 'there is no "stagin", did you mean `staging`? Defined: staging, production, local'
    }
    assert mistakes(text, "x") == {"stages": 'there is no "x". Defined: staging, production, local'}


# -------------------------------------------------------------------------------------------------------- environment


def test_a_value_is_taken_from_the_callers_environment(load):
    stage = load(
        in_stage('environment = { API_KEY = { from_env = "MY_KEY" }, EMPTY = { from_env = "NOTHING" } }'),
        environ={"MY_KEY": "s3cret", "NOTHING": ""},
    )
    assert dict(stage.environment) == {"API_KEY": "s3cret", "EMPTY": ""}


def test_a_missing_variable_is_named_with_the_path_that_wants_it(mistakes):
    text = 'name = "iris"\nenvironment = { A_KEY = { from_env = "A" } }\n[stages.staging.environment]\n'
    assert mistakes(text + 'B_KEY = { from_env = "B" }') == {
        "environment.A_KEY": "your variable A is not set",
        "stages.staging.environment.B_KEY": "your variable B is not set",
    }


def test_only_the_variables_of_the_loaded_stage_have_to_be_set(load):
    text = (
        'name = "iris"\nenvironment = { KEY = { from_env = "MISSING" } }\n[stages.staging]\nenvironment = { KEY = "x" }'
        '\n[stages.production]\nenvironment = { OTHER = { from_env = "MISSING" } }\n'
    )
    assert dict(load(text).environment) == {"KEY": "x"}


def test_nothing_that_shows_a_stage_shows_the_values_of_its_environment(load):
    stage = load(
        in_stage('environment = { API_KEY = { from_env = "MY_KEY" }, MODE = "pa55" }'),
        environ={"MY_KEY": "s3cret"},
    )
    shown = [
        repr(stage),
        str(stage),
        f"{stage.environment}",
        repr(dataclasses.asdict(stage)),
        repr(copy.copy(stage)),
    ]
    for text in shown:
        assert "s3cret" not in text
        assert "pa55" not in text
        assert "API_KEY" in text
    with pytest.raises(TypeError):
        json.dumps(stage.environment)


@pytest.mark.parametrize(
    "value",
    [
        "s3cret5",
        5353535,
        "{ from_emv = 's3cret5' }",
        "{ from_env = 5353535 }",
        '["s3cret5"]',
        '{ from_env = "" }',
    ],
)
def test_a_wrong_value_of_the_environment_is_not_shown(mistakes, value):
    wrong = '"s3cret5\\u0000"' if value == "s3cret5" else value
    (path, words), *more = mistakes(in_stage(f"environment = {{ KEY = {wrong} }}")).items()
    assert (path, more) == ("stages.staging.environment.KEY", [])
    assert "NUL" in words or '{ from_env = "NAME" }' in words
    assert "s3cret5" not in words
    assert "5353535" not in words


def test_a_wrong_environment_is_not_shown_either(mistakes):
    assert mistakes(in_stage('environment = "s3cret"')) == {"stages.staging.environment": "should be a table"}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("AWS_REGION", "Lambda keeps"),
        ("AWS_ANYTHING", "Lambda keeps"),
        ("LAMBDA_TASK_ROOT", "Lambda keeps"),
        ("_HANDLER", "Lambda keeps"),
        ("_X_AMZN_TRACE_ID", "Lambda keeps"),
        ("THAMPI_MODEL", "thampi keeps"),
        ("THAMPI_ANYTHING", "thampi keeps"),
        ("PYTHONPATH", "set by the image"),
        ("X", "two or more letters"),
        ("2ND", "two or more letters"),
        ("_PRIVATE", "two or more letters"),
        ("WITH-DASH", "two or more letters"),
    ],
)
def test_a_reserved_or_impossible_variable_is_refused(mistakes, name, words):
    assert words in mistakes(in_stage(f'environment = {{ {name} = "x" }}'))[f"stages.staging.environment.{name}"]


def test_more_environment_than_lambda_takes_is_refused(load, mistakes):
    assert len(load(in_stage(f'environment = {{ BIG = "{"x" * 3581}" }}')).environment["BIG"]) == 3581
    assert mistakes(in_stage('environment = { BIG = { from_env = "BIG" } }'), environ={"BIG": "ü" * 1791}) == {
        "environment": "should be at most 3584 bytes in all, is 3585"
    }


# ------------------------------------------------------------------------------------------------------------- values


OFTEN = 'should be like "rate(4 minutes)", "rate(1 hour)" or "cron(0/4 7-18 ? * MON-FRI *)"'


@pytest.mark.parametrize(
    ("text", "path", "words"),
    [
        (in_stage('keep_warm = "rate(1 minutes)"'), "stages.staging.keep_warm", f'{OFTEN}, is "rate(1 minutes)"'),
        (in_stage('keep_warm = "4 minutes"'), "stages.staging.keep_warm", f'{OFTEN}, is "4 minutes"'),
        (in_stage('keep_warm = "cron(* * *)"'), "stages.staging.keep_warm", f'{OFTEN}, is "cron(* * *)"'),
        (in_stage("reserved_concurrency = 0"), "stages.staging.reserved_concurrency", "should be 1 to 100000, is 0"),
        (
            in_stage("provisioned_concurrency = 0"),
            "stages.staging.provisioned_concurrency",
            "should be 1 to 100000, is 0",
        ),
        (in_stage("keep_releases = 0"), "stages.staging.keep_releases", "should be 1 to 30, is 0"),
        (in_stage("keep_releases = 31"), "stages.staging.keep_releases", "should be 1 to 30, is 31"),
        (in_stage("memory_mb = 127"), "stages.staging.memory_mb", "should be 128 to 10240, is 127"),
        (in_stage("memory_mb = 10241"), "stages.staging.memory_mb", "should be 128 to 10240, is 10241"),
        (in_stage('memory_mb = "30"'), "stages.staging.memory_mb", 'should be a whole number, is "30"'),
        (in_stage("memory_mb = true"), "stages.staging.memory_mb", "should be a whole number, is true"),
        (in_stage("memory_mb = 1024.0"), "stages.staging.memory_mb", "should be a whole number, is 1024.0"),
        (
            in_stage("memory_mb = 2026-01-01"),
            "stages.staging.memory_mb",
            "should be a whole number, is 2026-01-01",
        ),
        (in_stage("memory_mb = [1]"), "stages.staging.memory_mb", "should be a whole number, is a list"),
        (in_stage("timeout_s = 0"), "stages.staging.timeout_s", "should be 1 to 900, is 0"),
        (in_stage("timeout_s = 901"), "stages.staging.timeout_s", "should be 1 to 900, is 901"),
        (
            in_stage("ephemeral_storage_mb = 511"),
            "stages.staging.ephemeral_storage_mb",
            "should be 512 to 10240, is 511",
        ),
        (
            in_stage("ephemeral_storage_mb = 10241"),
            "stages.staging.ephemeral_storage_mb",
            "should be 512 to 10240, is 10241",
        ),
        (
            in_stage("max_body_mb = 0"),
            "stages.staging.max_body_mb",
            "should be 1 to 6 (Lambda itself takes no more than 6 MB), is 0",
        ),
        (
            in_stage("max_body_mb = 7"),
            "stages.staging.max_body_mb",
            "should be 1 to 6 (Lambda itself takes no more than 6 MB), is 7",
        ),
        (
            in_stage('auth = "key"'),
            "stages.staging.auth",
            'should be "none" (anyone who knows the URL may call it), "iam" (callers sign with AWS credentials), '
            '"api_key" (callers have a key of `thampi keys`) or "jwt" (callers bring a token), is "key"',
        ),
        (in_stage("auth = false"), "stages.staging.auth", "should be text in quotes, is false"),
        (in_stage('profile = ""'), "stages.staging.profile", 'should not be empty, is ""'),
        (
            in_stage('profile = "a\\nb"'),
            "stages.staging.profile",
            'should be one line without spaces around it, is "a\\nb"',
        ),
        (
            in_stage('region = "frankfurt"'),
            "stages.staging.region",
            'should be an AWS region like "eu-central-1", is "frankfurt"',
        ),
        (in_stage('tags = "x"'), "stages.staging.tags", 'should be a table, is "x"'),
        (in_stage("vpc = []"), "stages.staging.vpc", "should be a table, is a list"),
        ('name = "iris"\nstages = 3\n', "stages", "should be a table, is 3"),
        ('name = "iris"\nbuild = "x"\n[stages.staging]\n', "build", 'should be a table, is "x"'),
        ('name = "iris"\nstages.staging = 3\n', "stages.staging", "should be a table, is 3"),
        ("[stages.staging]\n", "name", "is missing"),
        (
            'name = "Iris"\n[stages.staging]\n',
            "name",
            'should be lower-case letters and digits with single - or _ between, at most 24, is "Iris"',
        ),
        (in_build("python = 3.12"), "build.python", "should be text in quotes, is 3.12"),
        (in_build('apt = "libgomp1"'), "build.apt", 'should be a list, in [ ], is "libgomp1"'),
        (in_build("apt = [1]"), "build.apt[0]", "should be text in quotes, is 1"),
        (in_build('extras = "serving"'), "build.extras", 'should be a list, in [ ], is "serving"'),
        (in_build('extras = ["-x"]'), "build.extras[0]", 'should be the name of an extra like "serving", is "-x"'),
        (in_build('extras = ["a,b"]'), "build.extras[0]", 'should be the name of an extra like "serving", is "a,b"'),
        (
            in_build('package_manager = "npm"'),
            "build.package_manager",
            'should be "pip" or "conda", is "npm"',
        ),
        (
            in_build('platform = "linux/riscv64"'),
            "build.platform",
            'should be "linux/amd64" or "linux/arm64", is "linux/riscv64"',
        ),
        (
            in_build('model = "S3"'),
            "build.model",
            'should be "s3" (the function loads it from the bucket) or "image" (it is baked into the image), is "S3"',
        ),
    ],
)
def test_a_wrong_value_is_named_in_plain_words(mistakes, text, path, words):
    found = mistakes(text)
    assert found.pop(path) == words
    assert set(found) <= {"stages"}  # where there is no table there is no stage


@pytest.mark.parametrize("days", [1, 7, 30, 365, 3653])
def test_a_retention_that_cloudwatch_knows_is_taken(load, days):
    assert load(in_stage(f"log_retention_days = {days}")).log_retention_days == days


@pytest.mark.parametrize("days", [0, 2, 31, 366, 3654])
def test_a_retention_that_cloudwatch_does_not_know_is_refused(mistakes, days):
    words = mistakes(in_stage(f"log_retention_days = {days}"))["stages.staging.log_retention_days"]
    assert words.startswith("should be one of CloudWatch's 1, 3, 5, 7, 14, 30, ")
    assert words.endswith(f", is {days}")


@pytest.mark.parametrize("python", ["3.11", "3.14", "3.20"])
def test_a_right_python_is_taken(load, python):
    assert load(in_build(f'python = "{python}"')).build.python == python


@pytest.mark.parametrize(
    "python", ["3.10", "3.9", "3", "3.12.1", "4.0", "2.7", ">=3.11", "3.011", "3.12\\n", "3.\u0661\u0662"]
)
def test_a_wrong_python_is_refused(mistakes, python):
    words = mistakes(in_build(f'python = "{python}"'))["build.python"]
    assert words.startswith('should be "3.11" or newer, without a third number, is ')


@pytest.mark.parametrize("package", ["libgomp1", "g++", "libstdc++6", "libgomp1=12.2.0-14", "ab=1:2.3~rc1+b-4"])
def test_a_right_package_is_taken(load, package):
    assert load(in_build(f'apt = ["{package}"]')).build.apt == (package,)


@pytest.mark.parametrize(
    "package",
    [
        *("", "lib gomp", "ab\\nc", "ab\\n"),
        *[
            "-y",
            "a",
            "Lib",
            "a;b",
            "ab&&c",
            "$(id)",
            "`id`",
            "ab|c",
            "ab>c",
            "ab'c",
            "ab#c",
            "ab=",
            "ab=1;2",
            "ab=$X",
            "curl-",
            "../x.deb",
            "ab*",
            "--assume-yes",
        ],
    ],
)
def test_a_package_that_is_none_never_reaches_the_shell(mistakes, package):
    assert "should be a Debian package" in mistakes(in_build(f'apt = ["libgomp1", "{package}"]'))["build.apt[1]"]


@pytest.mark.parametrize(
    "image",
    [
        *["python", "python:3.12-slim", "public.ecr.aws/docker/library/python:3.12", "localhost:5000/base"],
        "localhost:5000/team/base:1.0@sha256:" + "0f" * 32,
    ],
)
def test_a_right_base_image_is_taken(load, image):
    assert load(in_build(f'base_image = "{image}"')).build.base_image == image


@pytest.mark.parametrize(
    "image", ["", "-x", "a b", "a\\nRUN id", "a\\n", "$BASE", "https://x/y", "a:", "a@sha256:12", "a:1 AS b"]
)
def test_a_wrong_base_image_never_reaches_the_dockerfile(mistakes, image):
    assert "should be an image like" in mistakes(in_build(f'base_image = "{image}"'))["build.base_image"]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/etc", "inside the project"),
        ("../secrets", "inside the project"),
        ("features/../../x", "inside the project"),
        ("a/..", "inside the project"),
        ("~/x", "inside the project"),
        ("C:/x", "inside the project"),
        ("a\\\\b", "inside the project"),
        (".", "not the whole of it"),
        ("./", "not the whole of it"),
        ("", "should not be empty"),
        ("a\\nb", "one line"),
        ("thampi", "thampi's own"),
        ("thampi/", "thampi's own"),
        ("./thampi/x.py", "thampi's own"),
        ("thampi.py", "thampi's own"),
        ("thampi_handler", "thampi's own"),
        ("thampi_handler.py", "thampi's own"),
    ],
)
def test_what_does_not_belong_into_the_image_is_refused(mistakes, path, words):
    assert words in mistakes(in_build(f'include = ["{path}"]'))["build.include[0]"]


@pytest.mark.parametrize("path", ["features", "src/thampi", "thampi.toml", "thampi_words", "a b/c.txt", "..a"])
def test_what_lies_in_the_project_may_be_included(load, path):
    assert load(in_build(f'include = ["{path}"]')).build.include == (path,)


@pytest.mark.parametrize("bucket", ["Thampi", "a_b", "192.168.5.4"])
def test_a_wrong_bucket_is_refused(mistakes, bucket):
    assert f'is "{bucket}"' in mistakes(in_stage(f'bucket = "{bucket}"'))["stages.staging.bucket"]


@pytest.mark.parametrize(
    ("tags", "path", "words"),
    [
        ('"aws:x" = "1"', 'tags."aws:x"', "keep for themselves"),
        ('"AWS:x" = "1"', 'tags."AWS:x"', "keep for themselves"),
        ('"thampi:stage" = "1"', 'tags."thampi:stage"', "keep for themselves"),
        ('"" = "1"', 'tags.""', "1 to 128"),
        (f'{"k" * 129} = "1"', f"tags.{'k' * 129}", "1 to 128"),
        (f'k = "{"v" * 257}"', "tags.k", "0 to 256"),
        ('k = "a#b"', "tags.k", "0 to 256"),
        ("k = 1", "tags.k", "text in quotes"),
    ],
)
def test_a_tag_that_aws_refuses_is_refused(mistakes, tags, path, words):
    assert words in mistakes(in_stage(f"tags = {{ {tags} }}"))[f"stages.staging.{path}"]


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("role_arn", "mine", "the ARN of a role"),
        ("role_arn", "arn:aws:iam::123456789012:user/mine", "the ARN of a role"),
        ("role_arn", "arn:aws:iam::12:role/mine", "the ARN of a role"),
        ("role_arn", "arn:aws:iam::123456789012:role/mine\\n", "the ARN of a role"),
        ("endpoint_url", "localhost:4566", "a URL"),
        ("endpoint_url", "ftp://localhost", "a URL"),
        ("endpoint_url", "http://", "a URL"),
        ("endpoint_url", "http://x/ y", "a URL"),
        ("registry", "https://localhost:5000", "a host"),
        ("registry", "localhost:", "a host"),
        ("registry", "localhost:5000/team", "a host"),
    ],
)
def test_a_wrong_address_is_refused(mistakes, key, value, words):
    assert words in mistakes(in_stage(f'{key} = "{value}"'))[f"stages.staging.{key}"]


@pytest.mark.parametrize(
    ("vpc", "path", "words"),
    [
        ('subnet_ids = ["subnet-1"]', "security_group_ids", "should name at least one"),
        ('security_group_ids = ["sg-1"]', "subnet_ids", "should name at least one"),
        (
            'subnet_ids = ["subnet-1"], security_group_ids = []',
            "security_group_ids",
            "should name at least one",
        ),
        ('subnet_ids = ["sg-1"], security_group_ids = ["sg-1"]', "subnet_ids[0]", "should be a subnet like"),
        (
            'subnet_ids = ["subnet-1"], security_group_ids = ["x"]',
            "security_group_ids[0]",
            "should be a security group like",
        ),
    ],
)
def test_half_a_network_is_refused(mistakes, vpc, path, words):
    assert words in mistakes(in_stage(f"vpc = {{ {vpc} }}"))[f"stages.staging.vpc.{path}"]


# ------------------------------------------------------------------------------------------------------- unknown keys


@pytest.mark.parametrize(
    ("text", "path", "words"),
    [
        (in_stage("memry_mb = 1"), "stages.staging.memry_mb", "unknown key, did you mean `memory_mb`?"),
        (in_build('pyton = "3.12"'), "build.pyton", "unknown key, did you mean `python`?"),
        ('modeldir = "x"\n' + LEAST, "modeldir", "unknown key, did you mean `model_dir`?"),
        (LEAST + "[stage.staging]\n", "stage", "unknown key, did you mean `stages`?"),
        (
            LEAST + "vpc.subnets = []\n",
            "stages.staging.vpc.subnets",
            "unknown key, did you mean `subnet_ids`?",
        ),
        ('dependency_file = "x"\n' + LEAST, "dependency_file", "unknown key here, it belongs under [build]"),
        (in_stage('python = "3.12"'), "stages.staging.python", "unknown key here, it belongs under [build]"),
        (in_build("memory_mb = 1"), "build.memory_mb", "unknown key here, it belongs in a stage"),
        (in_build('name = "x"'), "build.name", "unknown key here, it belongs at the top of the file"),
        (
            in_stage('model_dir = "x"'),
            "stages.staging.model_dir",
            "unknown key here, it belongs at the top of the file",
        ),
        (
            LEAST + '[stages.build]\npython = "3.12"\n',
            "stages.build.python",
            "unknown key here, it belongs under [build]",
        ),
        (LEAST + "[stages.vpc]\nsubnets = 1\n", "stages.vpc.subnets", "unknown key"),
        (in_stage('"a b\\nc" = 1'), 'stages.staging."a b\\nc"', "unknown key"),
    ],
)
def test_an_unknown_key_is_named_with_its_path_and_what_was_meant(mistakes, text, path, words):
    assert mistakes(text)[path] == words


@pytest.mark.parametrize("line", ["api.throttle = 1"])
def test_a_key_that_does_nothing_yet_is_unknown(mistakes, line):
    (words,) = mistakes(in_stage(line)).values()
    assert words.startswith("unknown key")


HALF = ": a release starts its own before those of the old one are freed"


@pytest.mark.parametrize(
    ("top", "stage", "path"),
    [
        ("", "reserved_concurrency = 3\nprovisioned_concurrency = 2", "stages.staging.provisioned_concurrency"),
        ("reserved_concurrency = 3", "provisioned_concurrency = 2", "stages.staging.provisioned_concurrency"),
        ("provisioned_concurrency = 2", "reserved_concurrency = 3", "provisioned_concurrency"),
    ],
)
def test_what_is_kept_ready_is_at_most_half_of_what_is_reserved(load, mistakes, top, stage, path):
    text = f'name = "iris"\n{top}\n[stages.staging]\n{stage}\n'
    words = f"should be at most half of reserved_concurrency, which is 3, is 2{HALF}"
    assert mistakes(text) == {path: words}
    loaded = load(text.replace("= 3", "= 4"))
    assert (loaded.provisioned_concurrency, loaded.reserved_concurrency) == (2, 4)


@pytest.mark.parametrize(
    ("line", "path", "words"),
    [
        ("provisioned_concurrency = 1", "provisioned_concurrency", "should be left out: Lambda keeps no environments"),
        ("ephemeral_storage_mb = 513", "ephemeral_storage_mb", "should be left out: Lambda takes no snapshot of more"),
    ],
)
def test_what_lambda_has_not_together_with_snapshots_is_refused(load, mistakes, line, path, words):
    (said,) = mistakes(in_stage(f"snapstart = true\n{line}")).items()
    assert said[0] == f"stages.staging.{path}"
    assert said[1].startswith(words)
    assert load(in_stage(f"snapstart = false\n{line}")).snapstart is False
    assert load(in_stage("snapstart = true\nephemeral_storage_mb = 512")).snapstart is True
    assert mistakes(in_stage('snapstart = "yes"')) == {"stages.staging.snapstart": 'should be true or false, is "yes"'}


# --------------------------------------------------------------------------------------------------------- the endpoint


@pytest.mark.parametrize(
    ("top", "stage", "api"),
    [
        ("", "", Api()),
        ("", 'auth = "iam"', Api(auth="iam")),
        ("", 'api.auth = "iam"', Api(auth="iam")),
        ("", 'auth = "iam"\napi.auth = "iam"', Api(auth="iam")),
        ("", 'auth = "iam"\napi.page = false', Api(auth="iam", page=False)),
        ('api = { type = "url", auth = "iam" }', 'api.auth = "none"', Api(type="url")),
        ('api = { type = "url", auth = "iam" }', 'auth = "none"', Api(type="url")),
        ('auth = "iam"', 'api.auth = "none"', Api()),
        ('auth = "iam"', "api.page = false", Api(auth="iam", page=False)),
    ],
)
def test_the_table_api_is_merged_key_by_key_and_auth_beside_it_is_the_same(load, top, stage, api):
    assert load(f"{top}\n{in_stage(stage)}").api == api


def test_auth_that_is_written_twice_in_one_table_and_differs_is_a_mistake(mistakes):
    assert mistakes(in_stage('auth = "none"\napi.auth = "iam"')) == {
        "stages.staging.auth": 'is "none", and stages.staging.api.auth is "iam": keep one of them'
    }


@pytest.mark.parametrize(
    ("line", "path", "words"),
    [
        (
            'api.type = "soap"',
            "type",
            'should be "http" (an HTTP API of API Gateway), "rest" (a REST API: keys, plans, a firewall, mocks) or '
            '"url" (a function URL: no gateway, and 15 minutes to answer), is "soap"',
        ),
        ("api.page = 1", "page", "should be true or false, is 1"),
        ('api.auht = "iam"', "auht", "unknown key, did you mean `auth`?"),
        ("api.memory_mb = 1024", "memory_mb", "unknown key here, it belongs in a stage"),
        ('page = "x"', None, "unknown key here, it belongs in a stage's table api"),
        ("api = 1", "", "should be a table, is 1"),
    ],
)
def test_what_is_wrong_with_the_table_api_is_said_with_its_path(mistakes, line, path, words):
    where = {"": ".api", None: ".page"}.get(path, f".api.{path}")
    assert mistakes(in_stage(line))[f"stages.staging{where}"].startswith(words)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (in_stage("timeout_s = 30"), None),
        (in_stage("timeout_s = 31"), ("stages.staging.timeout_s", 30, 31)),
        (in_stage('timeout_s = 900\napi.type = "url"'), None),
        ("timeout_s = 60\n" + in_stage(""), ("timeout_s", 30, 60)),
        ("timeout_s = 60\n" + in_stage("timeout_s = 20"), None),
        ('api.type = "url"\n' + in_stage("timeout_s = 60"), None),
        ('api.type = "url"\ntimeout_s = 60\n' + in_stage('api.type = "http"'), ("timeout_s", 30, 60)),
    ],
)
def test_a_time_that_the_endpoint_does_not_wait_is_refused_with_the_type_that_does(mistakes, load, text, wrong):
    if wrong is None:
        assert load(text).timeout_s
        return
    path, longest, has = wrong
    assert mistakes(text) == {
        path: f'should be at most {longest}, is {has}: no endpoint of api.type = "http" waits longer; one of '
        'type = "url" waits 900 seconds'
    }


def test_what_is_wrong_otherwise_is_said_once(mistakes):
    assert set(mistakes(in_stage("timeout_s = 901"))) == {"stages.staging.timeout_s"}
    assert set(mistakes(in_stage('timeout_s = 60\napi.type = "x"'))) == {"stages.staging.api.type"}
    assert set(mistakes(in_stage('timeout_s = "60"'))) == {"stages.staging.timeout_s"}


# ------------------------------------------------------------------------------------------------- all mistakes at once


def test_every_mistake_of_every_layer_is_said_at_once(mistakes):
    found = mistakes(
        """
        name = "My Iris"
        modl_dir = "x"
        memory_mb = "1"
        [build]
        python = "3.9"
        [stages.staging]
        memry_mb = 1
        environment = { KEY = { from_env = "MISSING" }, PYTHONPATH = "x" }
        vpc = { subnet_ids = ["subnet-1"] }
        [stages.production]
        timeout_s = 901
        """,
        environ={"THAMPI_REGION": "mars", "THAMPI_BUKET": "x"},
        flags={"memory_mb": 3, "apt": ("a b",), "pyton": "3.12"},
    )
    assert set(found) == {
        "name",
        "modl_dir",
        "memory_mb",
        "build.python",
        "stages.staging.memry_mb",
        "stages.staging.environment.KEY",
        "stages.staging.environment.PYTHONPATH",
        "stages.staging.vpc.security_group_ids",
        "stages.production.timeout_s",
        "THAMPI_REGION",
        "THAMPI_BUKET",
        "--memory_mb",
        "--apt[0]",
        "--pyton",
    }


def test_the_mistakes_are_counted_and_the_file_is_named(load, tmp_path):
    with pytest.raises(ConfigError) as refused:
        load(in_stage("timeout_s = 0\nmemory_mb = 0"))
    assert refused.value.message.splitlines()[0] == f"2 mistakes in the configuration ({tmp_path / 'thampi.toml'}):"
    assert "thampi init" in refused.value.hint
    assert refused.value.exit_code == 2
    with pytest.raises(ConfigError, match=r"^1 mistake in the configuration"):
        load(in_stage("timeout_s = 0"))


def test_pydantic_has_no_word_in_it(load):
    text = in_stage('memory_mb = "x"\nauth = 1\nvpc = 1\ntags = 1\nprofile = 1\nfoo = 1') + "[build]\napt = 1\n"
    with pytest.raises(ConfigError) as refused:
        load(text)
    _, *lines = refused.value.message.lower().splitlines()
    assert [line for line in lines if "pydantic" in line or "input" in line or "valid" in line] == []
    assert "something else" not in refused.value.message


def test_a_wrong_flag_is_a_mistake_even_where_the_file_is_right(mistakes):
    assert mistakes(in_stage("memory_mb = 1024"), flags={"memory_mb": 64}) == {
        "--memory_mb": "should be 128 to 10240, is 64"
    }


def test_a_flag_cannot_rename_the_project(mistakes):
    assert "--name" in mistakes(LEAST, flags={"name": "other"})


def test_a_long_value_is_shortened(mistakes):
    (words,) = mistakes(in_stage(f'region = "{"x" * 5000}"')).values()
    assert len(words) < 200


KEYS = st.sampled_from(
    sorted({*tables.Override.model_fields, *tables.Project.model_fields, "staging", "from_env", "x"})
)
VALUES = st.recursive(
    st.booleans() | st.integers(-1, 10**20) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(KEYS, values, max_size=4),
    max_leaves=12,
)


def in_toml(value):
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {in_toml(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(in_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


@settings(deadline=None)  # it writes files
@given(st.dictionaries(KEYS, VALUES, max_size=6), st.dictionaries(KEYS, VALUES, max_size=3))
def test_whatever_is_written_or_given_ends_in_a_stage_or_in_mistakes(tmp_path_factory, written, flags):
    file = tmp_path_factory.mktemp("project") / "thampi.toml"
    text = "".join(f"{key} = {in_toml(value)}\n" for key, value in written.items())
    file.write_text(text, encoding="utf-8")
    try:
        lines = [f"0 mistakes in {config.load(file, 'local', flags=flags, environ={}).stage}"]
    except ConfigError as error:
        lines = error.message.splitlines()
    assert re.match(rf"{len(lines) - 1} mistakes? in ", lines[0])


# --------------------------------------------------------------------------------------------------------- broken files


def refusal(file):
    with pytest.raises(ConfigError) as refused:
        config.load(file, "staging", flags={}, environ={})
    assert refused.value.hint
    return refused.value.message


def test_broken_toml_is_found_by_its_line(write):
    file = write('name = "iris"\n[stages.staging]\nmemory_mb = = 3\n')
    assert refusal(file) == f"{file}, line 3, column 13: Invalid value"


def test_toml_that_breaks_off_is_found_by_its_last_line(write):
    file = write('name = "iris"\nmodel_dir = ["x"')
    assert refusal(file).startswith(f"{file}, line 2, column ")
    assert "(at " not in refusal(file)


def test_a_key_that_stands_twice_is_found_by_its_line(write):
    file = write('name = "iris"\nname = "iris"\n')
    assert refusal(file).startswith(f"{file}, line 2, column ")


def test_a_file_that_is_no_text_is_refused(tmp_path):
    file = tmp_path / "thampi.toml"
    file.write_bytes(b'name = "\xff\xfe"')
    assert refusal(file) == f"{file} is not UTF-8 text"


def test_a_file_that_is_not_there_is_refused(tmp_path):
    assert refusal(tmp_path / "thampi.toml") == f"there is no {tmp_path / 'thampi.toml'}"


def test_a_folder_in_place_of_the_file_is_refused(tmp_path):
    assert refusal(tmp_path).startswith(f"{tmp_path} can't be read: ")


def test_what_an_editor_on_windows_writes_is_read(tmp_path):
    file = tmp_path / "thampi.toml"
    file.write_bytes(b'\xef\xbb\xbfname = "iris"\r\n[stages.staging]\r\nmemory_mb = 2048\r\n')
    assert config.load(file, "staging", flags={}, environ={}).memory_mb == 2048


def test_reading_the_configuration_needs_neither_click_nor_boto3():
    code = "import sys, thampi.config; print({'click', 'boto3', 'docker', 'jinja2'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
