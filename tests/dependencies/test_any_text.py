"""Whatever stands in a dependency file, it is read or refused; and a password in it is never said."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thampi import dependencies
from thampi.errors import ConfigError

SECRET = "s3cret0"
PARTS = st.sampled_from(
    [
        *(
            "numpy",
            "thampi",
            "lib",
            "==1.0",
            "==",
            ">=",
            "[x]",
            "[",
            ";",
            " ; ",
            "python_version",
            "<'3'",
            " ",
            "  ",
            "\t",
        ),
        *(
            "@",
            " @ ",
            "-e ",
            "-r ",
            "-c ",
            "-i ",
            "-f ",
            "-",
            "--",
            "--hash=sha256:ab",
            "--pre",
            "--no-binary ",
            "=",
            "#",
        ),
        *(
            "https://",
            "git+https://",
            "git+ssh://git@",
            "hg+",
            "file:",
            "file:///",
            "file://",
            "example.com",
            "/",
            "\\",
            ".",
        ),
        *(
            f"https://ann:{SECRET}@",
            f"git+https://{SECRET}@",
            "https://${TOKEN}@",
            "${TOKEN}",
            "${token}",
            "${GONE}",
            "#egg=lib",
            "#egg=",
            "&subdirectory=x",
            "..",
            "~",
        ),
        *(
            "lib-1.0-py3-none-any.whl",
            ".tar.gz",
            ".whl",
            "\n",
            "\\\n",
            "'",
            '"',
            "%",
            ":port",
            "[::1]",
            "[",
            "\0",
            "é",
            "\x0c",
        ),
    ]
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("any")


def _read(file: Path, content: str):
    file.write_text(content, "utf-8", newline="")
    environ = {
        "PIP_CONFIG_FILE": os.devnull,
        "UV_NO_CONFIG": "1",
        "HOME": str(file.parent),
        "USERPROFILE": str(file.parent),
        "TOKEN": SECRET,
        "PATH": os.environ["PATH"],
    }
    return dependencies.read(file, {"numpy": "2.4.6"}, environ=environ, project_dir=file.parent)


def _refusal(file: Path, content: str) -> str | None:
    """Return what is said against a file, None when it is read; in both cases nothing of a password is told."""
    try:
        found = _read(file, content)
    except ConfigError as error:
        return f"{error.message}\nhint: {error.hint or 'NONE'}"
    # Where a password would be one, in the place of a user, it is taken out; elsewhere it is a word like any other.
    return "KEPT" if f"{SECRET}@" in repr(found) or SECRET in " ".join(found.notes) else None


@settings(deadline=None, max_examples=300)
@given(st.lists(PARTS, max_size=12).map("".join))
def test_a_requirements_file_is_read_or_refused_and_says_no_password(folder, text):
    said = _refusal(folder / "requirements.txt", text) or ""
    assert SECRET not in said
    assert said != "KEPT"
    assert "hint: NONE" not in said


@settings(deadline=None, max_examples=100)
@given(st.text(max_size=80))
def test_any_text_at_all_is_read_or_refused(folder, text):
    assert "hint: NONE" not in (_refusal(folder / "requirements.txt", text) or "")


@settings(deadline=None, max_examples=100)
@given(
    st.recursive(
        st.one_of(st.text(max_size=8), st.integers(), st.booleans()),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(
                st.sampled_from(
                    [
                        "name",
                        "dependencies",
                        "optional-dependencies",
                        "dynamic",
                        "sources",
                        "index",
                        "url",
                        "path",
                        "git",
                    ]
                ),
                inner,
                max_size=4,
            ),
        ),
        max_leaves=12,
    )
)
def test_a_pyproject_of_any_shape_is_read_or_refused(folder, value):
    text = "".join(f"{key} = {_toml(value)}\n" for key in ("project", "tool.uv"))
    assert "hint: NONE" not in (_refusal(folder / "pyproject.toml", text) or "")


def _toml(value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, list):
        return "[" + ", ".join(_toml(each) for each in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(each)}" for key, each in value.items()) + "}"
    return str(value)
