"""What wheels leave out is known before the build, for those versions that leave it out."""

import os
import re

import pytest

from thampi import recipe, system_packages
from thampi.builder import client as docker_client

TABLE = system_packages._NEEDS


def packages(**distributions):
    named = {name.replace("_", "-"): version for name, version in distributions.items()}
    return [package for package, _ in system_packages.needed(named)]


def test_libraries_that_bring_all_they_need_need_nothing():
    assert packages(numpy="2.4.6", scikit_learn="1.9.1", xgboost="3.1", torch="2.13.0+cpu") == []


@pytest.mark.parametrize(
    ("name", "version", "wanted"),
    [
        ("lightgbm", "4.6.0", ["libgomp1"]),
        ("LightGBM", "4.6.0", ["libgomp1"]),
        ("opencv-python", "4.11.0.86", ["libgl1", "libglib2.0-0"]),
        ("opencv_contrib_python", "4.11.0.86", ["libgl1", "libglib2.0-0"]),
        ("opencv-python-headless", "4.11.0.86", []),
        ("soundfile", "0.10.3.post1", ["libsndfile1"]),
        ("soundfile", "0.11.0", []),
        ("soundfile", "0.13.1", []),
        ("mediapipe", "0.10.21", []),
        ("mediapipe", "1.2.2", ["libegl1", "libgles2"]),
        ("mediapipe", "no version", ["libegl1", "libgles2"]),
        ("psycopg2-binary", "2.9.10", []),
        ("python-magic", "0.4.27", ["libmagic1"]),
        ("pyodbc", "5.2.0", ["libodbc2"]),
        ("pytesseract", "0.3.13", ["tesseract-ocr"]),
    ],
)
def test_each_library_gets_what_its_version_needs(name, version, wanted):
    assert [package for package, _ in system_packages.needed({name: version})] == wanted


def test_another_distribution_can_bring_what_would_be_needed():
    assert packages(psycopg="3.3") == ["libpq5"]
    assert packages(psycopg="3.3", psycopg_binary="3.3") == []
    assert packages(openslide_python="1.4", openslide_bin="4.0") == []


def test_the_reason_names_the_library_and_what_would_do_without():
    assert system_packages.needed({"lightgbm": "4.6"}) == (("libgomp1", "lightgbm needs it"),)
    [(_, reason), _] = system_packages.needed({"opencv-python": "4.11.0.86"})
    assert reason == (
        "opencv-python (opencv-python-headless needs none of that, and its image is 200 MB smaller) needs it"
    )


def test_a_package_that_two_need_is_there_once_with_both():
    assert system_packages.needed({"lightgbm": "4.6", "implicit": "0.7", "numpy": "2"}) == (
        ("libgomp1", "implicit and lightgbm need it"),
    )


def test_the_order_is_the_same_whatever_the_order_of_the_libraries():
    names = ["pyodbc", "lightgbm", "rdkit", "opencv-python"]
    found = system_packages.needed(dict.fromkeys(names, "9"))
    assert found == system_packages.needed(dict.fromkeys(reversed(names), "9"))
    assert [package for package, _ in found] == sorted(package for package, _ in found)


@pytest.mark.parametrize("name", sorted(TABLE))
def test_every_row_has_names_as_indexes_and_apt_write_them(name):
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", package) for package in TABLE[name].packages)


@pytest.mark.docker
def test_every_package_is_one_of_the_base_images_debian():
    client = docker_client.find(os.environ)
    names = sorted({package for need in TABLE.values() for package in need.packages})
    script = f"apt-get update -qq && apt-get install -qq --dry-run --no-install-recommends {' '.join(names)}"
    proxies = [f"--env={name}" for name in ("http_proxy", "HTTP_PROXY") if os.environ.get(name)]
    image = recipe.make_base("3.11", "linux/amd64").arguments["PYTHON_IMAGE"]
    done = client.run("run", "--rm", *proxies, image, "sh", "-c", script)
    assert done.returncode == 0, done.stderr
