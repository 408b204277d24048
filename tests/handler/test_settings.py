import re

import pytest

from handler import settings
from thampi.errors import ConfigError


def test_a_plain_docker_run_needs_to_say_nothing():
    read = settings.read({})
    assert (read.model, read.name, read.stage, read.function, read.version) == (
        "/opt/model",
        "",
        "local",
        "local",
        "$LATEST",
    )
    assert read.max_body_bytes == 5 * 1024 * 1024
    assert not read.waits_for_init
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", read.served_time_utc)


def test_what_is_set_to_nothing_is_not_set():
    names = ("THAMPI_MODEL", "THAMPI_STAGE", "THAMPI_SERVED_TIME_UTC", "THAMPI_MAX_BODY_MB", "AWS_LAMBDA_FUNCTION_NAME")
    read = settings.read(dict.fromkeys(names, ""))
    assert (read.model, read.stage, read.function) == ("/opt/model", "local", "local")
    assert read.served_time_utc
    assert read.max_body_bytes


def test_everything_can_be_said():
    read = settings.read(
        {
            "THAMPI_MODEL": "/models/iris",
            "THAMPI_MANIFEST_SHA256": "ab",
            "THAMPI_FILES": "model-1a2b3c4d.pkl=8121,model-5e6f7a8b.buffers=10737418240",
            "THAMPI_NAME": "iris",
            "THAMPI_STAGE": "staging",
            "THAMPI_SERVED_TIME_UTC": "then",
            "THAMPI_MAX_BODY_MB": "0.5",
            "AWS_LAMBDA_FUNCTION_NAME": "thampi-iris-staging",
            "AWS_LAMBDA_FUNCTION_VERSION": "7",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "3008",
        }
    )
    assert read == settings.Settings(
        model="/models/iris",
        manifest_sha256="ab",
        name="iris",
        stage="staging",
        served_time_utc="then",
        max_body_bytes=512 * 1024,
        function="thampi-iris-staging",
        version="7",
        files={"model-1a2b3c4d.pkl": 8121, "model-5e6f7a8b.buffers": 10 * 1024**3},
        memory_mb=3008,
        waits_for_init=False,
    )


@pytest.mark.parametrize(
    ("kind", "waits"),
    [("on-demand", False), ("provisioned-concurrency", True), ("snap-start", True), ("managed-instances", False)],
)
def test_only_an_environment_that_is_made_ahead_waits_for_its_init(kind, waits):
    assert settings.read({"AWS_LAMBDA_INITIALIZATION_TYPE": kind}).waits_for_init is waits


@pytest.mark.parametrize("text", ["model.pkl", "model.pkl=", "model.pkl=many", "=5", "model.pkl=-1"])
def test_files_that_are_no_names_and_sizes_are_refused(text):
    with pytest.raises(ConfigError, match="THAMPI_FILES"):
        settings.read({"THAMPI_FILES": text})


@pytest.mark.parametrize("text", ["five", "0", "-1", "nan", "inf", "5MB"])
def test_a_limit_that_is_no_number_of_megabytes_is_refused_by_its_name(text):
    with pytest.raises(ConfigError, match="THAMPI_MAX_BODY_MB"):
        settings.read({"THAMPI_MAX_BODY_MB": text})


@pytest.mark.parametrize(
    ("said", "page"), [({}, True), ({"THAMPI_PAGE": "true"}, True), ({"THAMPI_PAGE": "false"}, False)]
)
def test_browsers_get_the_page_unless_it_is_turned_off(said, page):
    assert settings.read(said).page is page


def test_a_word_that_is_neither_true_nor_false_is_refused():
    with pytest.raises(ConfigError, match="THAMPI_PAGE"):
        settings.read({"THAMPI_PAGE": "no"})
