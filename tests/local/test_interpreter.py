"""How a finished environment gets to its place, where others may want the same place."""

import pytest

from thampi.local import interpreter


def _make(folder, *, text="made"):
    python = interpreter.python(folder)
    python.parent.mkdir(parents=True)
    python.write_text(text)
    return folder


def test_a_finished_environment_gets_to_its_place(tmp_path):
    interpreter.put_in_place(_make(tmp_path / "aside" / "venv"), tmp_path / "wanted")

    assert interpreter.python(tmp_path / "wanted").read_text() == "made"


def test_what_another_process_has_put_there_meanwhile_is_left(tmp_path):
    _make(tmp_path / "wanted", text="theirs")

    interpreter.put_in_place(_make(tmp_path / "aside" / "venv"), tmp_path / "wanted")

    assert interpreter.python(tmp_path / "wanted").read_text() == "theirs"


def test_one_whose_interpreter_is_gone_makes_room(tmp_path):
    interpreter.python(_make(tmp_path / "wanted", text="theirs")).unlink()

    interpreter.put_in_place(_make(tmp_path / "aside" / "venv"), tmp_path / "wanted")

    assert interpreter.python(tmp_path / "wanted").read_text() == "made"
    assert (tmp_path / "aside" / "broken").exists()


def test_what_can_not_be_moved_there_is_said(tmp_path):
    with pytest.raises(OSError, match="not-there"):
        interpreter.put_in_place(_make(tmp_path / "aside" / "venv"), tmp_path / "not-there" / "wanted")
