"""Reads a text file whoever saved it: UTF-8, with a mark or without, or UTF-16."""

import codecs
from pathlib import Path

from thampi.errors import ConfigError

_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


def read(file: Path) -> str:
    """Return the text of a dependency file; raise ConfigError when it is absent or no text."""
    try:
        return decoded(file.read_bytes())
    except FileNotFoundError as error:
        raise ConfigError(
            f"there is no dependency file {file}",
            hint="write it (pip freeze > requirements.txt), or leave `dependency_file` out of thampi.toml: what the "
            "model imports is installed then",
        ) from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"can't read {file}: {error}", hint="save it as UTF-8 text") from error


def decoded(content: bytes) -> str:
    """Return the text of a file's content; raise ValueError when it is none.

    PowerShell's `pip freeze > requirements.txt` is UTF-16; pip reads that, too.
    """
    text = content.decode(next((encoding for mark, encoding in _MARKS if content.startswith(mark)), "utf-8"))
    if "\0" in text:
        raise ValueError("there is a NUL in it")
    return text
