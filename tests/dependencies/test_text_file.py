"""A dependency file is text, however it was saved."""

import pytest

from thampi.dependencies import text_file
from thampi.errors import ConfigError


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_each_encoding_that_people_have_is_read(tmp_path, encoding):
    (tmp_path / "x.txt").write_text("größer\n", encoding)
    assert text_file.read(tmp_path / "x.txt") == "größer\n"


@pytest.mark.parametrize("content", [b"\xff\xd8\xff\xe0 a photograph", b"numpy\0", b"PK\x03\x04\x00\x00"])
def test_what_is_no_text_is_refused(tmp_path, content):
    (tmp_path / "x.txt").write_bytes(content)
    with pytest.raises(ConfigError) as raised:
        text_file.read(tmp_path / "x.txt")
    assert raised.value.hint == "save it as UTF-8 text"
