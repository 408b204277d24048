"""Which wheels an image can use, in the words of uv and of wheels' names."""

import pytest
from packaging.tags import Tag

from thampi.resolution import platforms


@pytest.mark.parametrize(
    ("base_image", "glibc"),
    [
        (None, (2, 36)),
        ("public.ecr.aws/docker/library/python:3.11-slim-bookworm@sha256:01", (2, 36)),
        ("python:3.13-slim-trixie", (2, 40)),
        ("python:3.12-bullseye", (2, 31)),
        ("public.ecr.aws/lambda/python:3.12-al2023", (2, 34)),
        ("mycompany/base:7", (2, 28)),
    ],
)
def test_the_c_library_is_that_of_the_base_image_or_an_old_one(base_image, glibc):
    assert platforms.glibc(base_image) == glibc


def test_uv_is_asked_in_its_own_words():
    assert platforms.for_uv("linux/amd64", (2, 36)) == "x86_64-manylinux_2_36"
    assert platforms.for_uv("linux/arm64", (2, 28)) == "aarch64-manylinux_2_28"


@pytest.mark.parametrize(
    ("tag", "fits"),
    [
        ("cp311-cp311-manylinux_2_36_x86_64", True),
        ("cp311-cp311-manylinux_2_37_x86_64", False),
        ("cp311-abi3-manylinux2014_x86_64", True),
        ("cp37-abi3-manylinux1_x86_64", True),
        ("cp312-abi3-manylinux1_x86_64", False),
        ("cp311-none-linux_x86_64", True),
        ("py3-none-any", True),
        ("py311-none-manylinux_2_5_x86_64", True),
        ("py312-none-any", False),
        ("cp311-cp311-manylinux_2_17_aarch64", False),
        ("cp311-cp311-musllinux_1_2_x86_64", False),
        ("cp311-cp311-macosx_11_0_arm64", False),
    ],
)
def test_a_wheel_fits_or_it_does_not(tag, fits):
    assert (Tag(*tag.split("-")) in platforms.tags("linux/amd64", "3.11", (2, 36))) is fits


def test_the_best_comes_first():
    tags = platforms.tags("linux/arm64", "3.12", (2, 36))
    assert str(tags[0]) == "cp312-cp312-manylinux_2_36_aarch64"
    assert tags.index(Tag("cp312", "abi3", "manylinux2014_aarch64")) < tags.index(Tag("py3", "none", "any"))
