"""Which libraries only thampi's command line needs: read from what is installed, not from a list."""

from importlib import metadata

from packaging.requirements import Requirement

from thampi.dependencies import ours


def test_what_thampi_needs_and_what_that_needs_is_found():
    assert {"boto3", "botocore", "s3transfer", "jmespath", "docker", "click", "jinja2", "markupsafe"} <= ours.tools()


def test_every_library_that_thampi_asks_for_is_among_them():
    asked = [Requirement(text) for text in metadata.requires("thampi")]
    for needed in asked:
        if needed.marker is None:
            assert needed.name in ours.tools()


def test_the_libraries_of_our_own_tests_are_not():
    assert not {"numpy", "pandas", "scikit-learn", "pytest"} & ours.tools()


def test_thampi_is_not_among_them():
    assert "thampi" not in ours.tools()
