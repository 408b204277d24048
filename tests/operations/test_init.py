"""init: the answers make a thampi.toml that loads as it is and explains every key; all files or none."""

import dataclasses
import importlib.util
import re
import string
import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thampi import config, shipped
from thampi.errors import ConfigError
from thampi.operations import init
from thampi.operations.init import Answers

ANSWERS = Answers(name="iris", bucket="thampi-store", profile="work", region="eu-central-1")
COMMENTED = re.compile(r"^# (?=[\w.]+ = )", re.MULTILINE)
# The heads of what only some endpoints take: `# With type "http" and auth = "jwt", …:`.
ONLY_WITH = re.compile(r"(?=^# With type )", re.MULTILINE)
EXAMPLE = shipped.folder() / "examples" / "iris"


def run(folder, **answers):
    said = []
    written = init.init(folder, dataclasses.replace(ANSWERS, **answers), say=said.append)
    return written, said


def load(folder, stage="staging", **environ):
    return config.load(folder / "thampi.toml", stage, flags={}, environ=environ)


def files(folder):
    return sorted(path.name for path in folder.iterdir())


# ------------------------------------------------------------------------------------------------------ thampi.toml


def test_what_is_written_loads_with_the_answers_in_it(tmp_path):
    written, said = run(tmp_path)
    assert written == (tmp_path / "thampi.toml",)
    assert said == [f"wrote {tmp_path / 'thampi.toml'}"]
    assert config.stages(tmp_path / "thampi.toml") == ("staging", "production", "local")
    for stage in (load(tmp_path), load(tmp_path, "production")):
        assert (stage.name, stage.bucket, stage.profile, stage.region) == (
            "iris",
            "thampi-store",
            "work",
            "eu-central-1",
        )
        assert stage.model_dir == tmp_path.resolve() / "models" / "iris"
        assert stage.build == config.Build(package_manager="pip")


def test_both_stages_have_what_a_model_needs(tmp_path):
    run(tmp_path)
    for stage in (load(tmp_path), load(tmp_path, "production")):
        assert stage.memory_mb >= 1769  # a whole CPU
        assert stage.timeout_s == 29  # what a gateway waits for
        assert stage.api.auth == "none"
    assert load(tmp_path).log_retention_days < load(tmp_path, "production").log_retention_days


def uncommented(text, kind, auth):
    """Take the comments away that an endpoint of this type takes."""
    always, *parts = ONLY_WITH.split(text)
    parts[-1], rest = parts[-1].split("[stages.production]")
    text, count = COMMENTED.subn("", always)
    for part in parts:
        head = part.partition("\n")[0]
        is_it = f'"{kind}"' in head and ("auth =" not in head or f'auth = "{auth}"' in head)
        text += COMMENTED.sub("", part) if is_it else part
    text = re.sub('^type = "http"', f'type = "{kind}"', text, flags=re.MULTILINE)
    return re.sub('^auth = "none"', f'auth = "{auth}"', text, flags=re.MULTILINE) + "[stages.production]" + rest, count


@pytest.mark.parametrize(("kind", "auth"), [("http", "jwt"), ("rest", "api_key"), ("url", "iam")])
def test_every_line_that_is_commented_out_loads_when_it_is_not(tmp_path, kind, auth):
    run(tmp_path, profile=None, region=None)
    file = tmp_path / "thampi.toml"
    text, count = uncommented(file.read_text(encoding="utf-8"), kind, auth)
    assert count > 10
    file.write_text(text, encoding="utf-8")
    stage = load(tmp_path, API_KEY="s3cret")
    defaults = config.Stage(
        project_dir=stage.project_dir, name=stage.name, stage=stage.stage, model_dir=stage.model_dir
    )
    shows_the_default = {"ephemeral_storage_mb", "max_body_mb", "timeout_s", "keep_releases", "snapstart"}
    same = {
        each.name for each in dataclasses.fields(stage) if getattr(stage, each.name) == getattr(defaults, each.name)
    }
    assert same == shows_the_default | {"project_dir", "name", "stage", "model_dir"}
    assert dict(stage.environment) == {"LOG_LEVEL": "info", "API_KEY": "s3cret"}
    assert None not in [getattr(stage.build, each.name) for each in dataclasses.fields(stage.build)]
    assert (stage.api.type, stage.api.auth) == (kind, auth)
    cors = config.Cors(origins=("https://app.example.com",))
    assert (stage.api.cors, stage.api.cache) == (cors, config.AnswerCache(ttl_s=60))


def test_every_key_of_the_endpoint_is_told_to_one_type_or_another(tmp_path):
    run(tmp_path, profile=None, region=None)
    file = tmp_path / "thampi.toml"
    text, apis = file.read_text(encoding="utf-8"), []
    for kind, auth in (("http", "jwt"), ("rest", "api_key")):
        file.write_text(uncommented(text, kind, auth)[0], encoding="utf-8")
        apis.append(load(tmp_path, API_KEY="s3cret").api)
    shows_the_default = {"page", "rate_per_s", "burst", "validate", "access_log", "tracing"}
    keys = {each.name for each in dataclasses.fields(config.Api)}
    assert {key for key in keys if {repr(getattr(api, key)) for api in apis} == {repr(getattr(config.Api(), key))}} == (
        shows_the_default
    )


def test_every_key_that_there_is_stands_in_the_file(tmp_path):
    run(tmp_path)
    text = COMMENTED.sub("", (tmp_path / "thampi.toml").read_text(encoding="utf-8"))
    written = tomllib.loads(text)
    made = {"project_dir", "stage", "name", "model_dir", "build"}
    stage_keys = {each.name for each in dataclasses.fields(config.Stage)} - made
    assert set(written) == {"name", "model_dir", "build", "stages"}
    assert set(written["stages"]["staging"]) == stage_keys
    staging = written["stages"]["staging"]
    for table, made_of_it in (
        (written["build"], config.Build),
        (staging["vpc"], config.Vpc),
        (staging["api"], config.Api),
        (staging["api"]["plan"], config.Plan),
        (staging["api"]["jwt"], config.Jwt),
        (staging["api"]["cors"], config.Cors),
        (staging["api"]["cache"], config.AnswerCache),
        (staging["api"]["domain"], config.Domain),
        (staging["api"]["routes"]["predict"], config.Limit),
    ):
        assert set(table) == {each.name for each in dataclasses.fields(made_of_it)}


def test_every_key_is_explained_in_its_line(tmp_path):
    run(tmp_path)
    text = (tmp_path / "thampi.toml").read_text(encoding="utf-8")
    explained = text[: text.index("[stages.production]")]
    keys = re.findall(r"^(?:# )?([\w.]+) = .*$", explained, re.MULTILINE)
    assert keys == re.findall(r"^(?:# )?([\w.]+) = .*\S  # \S.*$", explained, re.MULTILINE)
    assert max(map(len, text.splitlines())) <= 120


def test_every_variable_that_overrides_a_key_is_named(tmp_path):
    run(tmp_path)
    text = (tmp_path / "thampi.toml").read_text(encoding="utf-8")
    assert set(re.findall(r"THAMPI_\w+", text)) == set(config.VARIABLES)


def test_nothing_of_the_template_is_left_over(tmp_path):
    run(tmp_path)
    assert "$" not in (tmp_path / "thampi.toml").read_text(encoding="utf-8")


def test_without_profile_and_region_they_are_left_to_aws(tmp_path):
    run(tmp_path, profile=None, region=None)
    assert (load(tmp_path).profile, load(tmp_path).region) == (None, None)
    assert (load(tmp_path, "production").profile, load(tmp_path, "production").region) == (None, None)


@settings(deadline=None)  # it writes files
@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=20))
def test_any_profile_that_is_taken_arrives_as_it_was_answered(tmp_path_factory, profile):
    folder = tmp_path_factory.mktemp("project")
    try:
        run(folder, profile=profile)
    except ConfigError:
        assert not profile.isprintable() or profile.strip() != profile
        assert files(folder) == []
    else:
        assert load(folder).profile == load(folder, "production").profile == profile


@pytest.mark.parametrize(("manager", "name"), [("pip", "requirements.txt"), ("conda", "environment.yml")])
def test_a_dependency_file_is_named_when_the_project_has_it(tmp_path, manager, name):
    (tmp_path / name).touch()
    run(tmp_path, package_manager=manager)
    assert load(tmp_path).build == config.Build(package_manager=manager, dependency_file=tmp_path.resolve() / name)


@pytest.mark.parametrize(("manager", "name"), [("pip", "environment.yml"), ("conda", "requirements.txt")])
def test_without_its_dependency_file_the_bundles_own_record_is_used(tmp_path, manager, name):
    (tmp_path / name).touch()
    run(tmp_path, package_manager=manager)
    assert load(tmp_path).build == config.Build(package_manager=manager)


def test_wrong_answers_are_refused_all_at_once_and_nothing_is_written(tmp_path):
    with pytest.raises(ConfigError) as refused:
        run(tmp_path, name="My Iris", bucket="a_b", region="mars", package_manager="npm", profile="a\nb")
    lines = refused.value.message.splitlines()
    assert [line.split(":")[0] for line in lines] == ["name", "profile", "region", "bucket", "package_manager"]
    assert 'is "My Iris"' in lines[0]
    assert files(tmp_path) == []


# ------------------------------------------------------------------------------------------------------- all or none


def test_a_thampi_toml_is_never_overwritten(tmp_path):
    (tmp_path / "thampi.toml").write_text("mine")
    with pytest.raises(ConfigError, match=r"^thampi\.toml in .* would be overwritten") as refused:
        run(tmp_path)
    assert refused.value.hint
    assert (tmp_path / "thampi.toml").read_text() == "mine"


def test_the_example_overwrites_nothing_and_writes_nothing_beside_what_is_there(tmp_path):
    (tmp_path / "train.py").write_text("mine")
    (tmp_path / "requirements.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"^train\.py and requirements\.txt in "):
        run(tmp_path, example=True)
    assert files(tmp_path) == ["requirements.txt", "train.py"]
    assert (tmp_path / "train.py").read_text() == (tmp_path / "requirements.txt").read_text() == "mine"


def test_a_link_that_leads_nowhere_is_not_written_through(tmp_path):
    (tmp_path / "thampi.toml").symlink_to(tmp_path / "elsewhere.toml")
    with pytest.raises(ConfigError, match="would be overwritten"):
        run(tmp_path)
    assert not (tmp_path / "elsewhere.toml").exists()


def test_when_one_file_cannot_be_written_none_is_left(tmp_path):
    contents = {"train.py": "x", "no such folder/thampi.toml": "y"}
    with pytest.raises(ConfigError, match=r"thampi\.toml can't be written: .*; nothing is left behind"):
        init._write(tmp_path, contents)
    assert files(tmp_path) == []


def test_a_file_that_appears_meanwhile_is_kept(tmp_path):
    (tmp_path / "thampi.toml").write_text("mine")
    with pytest.raises(ConfigError, match="can't be written"):
        init._write(tmp_path, {"train.py": "x", "thampi.toml": "y"})
    assert files(tmp_path) == ["thampi.toml"]
    assert (tmp_path / "thampi.toml").read_text() == "mine"


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="can't be written"):
        run(tmp_path / "missing")


# ------------------------------------------------------------------------------------------------------- the example


def test_the_example_is_a_whole_project(tmp_path):
    written, said = run(tmp_path, example=True)
    assert files(tmp_path) == ["requirements.txt", "thampi.toml", "train.py"]
    assert sorted(path.name for path in written) == files(tmp_path)
    assert len(said) == 3
    for name in ("train.py", "requirements.txt"):
        assert (tmp_path / name).read_text() == (EXAMPLE / name).read_text()
    stage = load(tmp_path)
    assert stage.model_dir == tmp_path.resolve() / "models" / "iris-sklearn"
    assert stage.build.dependency_file == tmp_path.resolve() / "requirements.txt"


def test_the_example_for_a_package_manager_that_it_is_not_written_for_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="not written for conda") as refused:
        run(tmp_path, example=True, package_manager="conda")
    assert "pip" in refused.value.hint
    assert files(tmp_path) == []


@pytest.fixture(scope="module")
def train():
    found = importlib.util.spec_from_file_location("iris_train", EXAMPLE / "train.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_the_tutorials_flower_is_answered_with_2(train):
    classifier, accuracy = train.train()
    model = train.ThampiWrapper(classifier)
    model.initialize(None)
    answer = model.predict({"input": [5.9, 3.2, 4.8, 1.8]}, None)
    assert answer == {"result": 2}
    assert type(answer["result"]) is int
    assert accuracy == 0.9


def test_the_example_saves_where_its_configuration_looks(tmp_path):
    run(tmp_path, example=True)
    name = load(tmp_path).model_dir.name
    text = (tmp_path / "train.py").read_text()
    assert f'"{name}"' in text
    assert '"./models"' in text


def test_the_example_says_what_it_needs():
    wanted = (EXAMPLE / "requirements.txt").read_text().split()
    assert sorted(re.split("[>=<]", line)[0] for line in wanted) == ["numpy", "scikit-learn"]
    assert not re.search(r"==|<", " ".join(wanted))


# ------------------------------------------------------------------------------------------------------ the questions


@pytest.fixture
def aws(tmp_path):
    """Write AWS's two files; return the environment that leads to them."""

    def aws(config="", credentials=""):
        (tmp_path / "config").write_text(config, encoding="utf-8")
        (tmp_path / "credentials").write_text(credentials, encoding="utf-8")
        return {
            "AWS_CONFIG_FILE": str(tmp_path / "config"),
            "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
        }

    return aws


def test_the_questions_come_in_the_order_of_the_original(aws):
    two = aws("[default]\n[profile work]\n")
    asked = init.questions(two)
    assert [each.field for each in asked] == ["name", "profile", "bucket", "package_manager"]
    assert all(each.about and each.text for each in asked)
    assert {each.field for each in asked} < {each.name for each in dataclasses.fields(Answers)}


@pytest.mark.parametrize("text", ["", "[default]\n", "[profile work]\n"])
def test_nobody_is_asked_for_a_profile_without_a_choice(aws, text):
    assert [each.field for each in init.questions(aws(text))] == ["name", "bucket", "package_manager"]


def test_every_default_is_a_right_answer(aws):
    for each in init.questions(aws("[profile one]\n[profile two]\n")):
        assert each.default is None or each.check(each.default) is None
    assert init.questions(aws())[0].default is None  # a name has to be thought of


def test_a_wrong_answer_is_told_what_would_be_right(aws):
    name, profile, bucket, manager = init.questions(aws("[default]\n[profile work]\n"))
    assert "lower-case" in name.check("My Model")
    assert profile.check("wrok") == "should be one of default, work"
    assert "3 to 63" in bucket.check("A")
    assert manager.check("npm") == "should be pip or conda"


def test_a_default_bucket_is_random_and_right():
    made = {init.default_bucket() for _ in range(50)}
    assert len(made) == 50
    for bucket in made:
        assert bucket.startswith("thampi-")
        assert len(bucket) == len("thampi-") + 9
        assert set(bucket.removeprefix("thampi-")) <= set(string.ascii_lowercase + string.digits)
        assert init.check_bucket(bucket) is None


def test_profiles_come_with_their_regions(aws):
    environ = aws(
        "[default]\nregion = us-east-1\n[profile work]\nregion=eu-central-1\noutput = json\n[profile bare]\n"
        '[profile "two words"]\nregion = us-west-2\n',
        "[default]\naws_access_key_id = A\n[only-keys]\naws_secret_access_key = %x%(y)s\n[bare]\nregion = us-west-1\n",
    )
    assert init.profiles(environ) == {
        "default": "us-east-1",
        "work": "eu-central-1",
        "bare": "us-west-1",
        "two words": "us-west-2",
        "only-keys": None,
    }


def test_what_is_no_profile_is_none(aws):
    text = (
        "[sso-session work]\nsso_region = us-east-1\n[services x]\n[preview]\ncloudsearch = true\n[profile 'broken]\n"
    )
    assert init.profiles(aws(text)) == {}


def test_settings_within_settings_are_no_trouble(aws):
    text = "[profile work]\ns3 =\n  max_concurrent_requests = 20\nregion = us-east-1\n[profile work]\noutput = json\n"
    assert init.profiles(aws(text)) == {"work": "us-east-1"}


def test_profiles_are_looked_for_at_home(tmp_path):
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "config").write_text("[profile home]\nregion = us-east-1\n")
    (tmp_path / ".aws" / "credentials").write_text("[keys]\n")
    environ = {"HOME": str(tmp_path), "USERPROFILE": str(tmp_path)}
    assert init.profiles(environ) == {"home": "us-east-1", "keys": None}


def test_without_the_files_there_are_no_profiles(tmp_path):
    environ = {"HOME": str(tmp_path), "USERPROFILE": str(tmp_path)}
    assert init.profiles(environ) == {}
    assert init.default_profile(environ) is None


def test_a_broken_file_of_aws_is_named(aws):
    environ = aws("region = us-east-1\n")
    with pytest.raises(ConfigError, match="config can't be read") as refused:
        init.profiles(environ)
    assert refused.value.hint


@pytest.mark.parametrize(
    ("variables", "chosen"),
    [
        ({}, "default"),
        ({"AWS_PROFILE": "work"}, "work"),
        ({"AWS_DEFAULT_PROFILE": "work"}, "work"),
        ({"AWS_PROFILE": "gone"}, "default"),
    ],
)
def test_the_default_profile_is_the_one_that_aws_would_use(aws, variables, chosen):
    assert init.default_profile(aws("[profile work]\n[default]\n") | variables) == chosen
    assert init.default_profile(aws("[profile work]\n")) == "work"
