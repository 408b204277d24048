"""What of ours is copied to where a model is served."""

import os
import subprocess
import sys
from pathlib import Path

from thampi import runtime_files

REPO = Path(__file__).resolve().parents[1]


def test_the_two_packages_are_named_as_the_image_has_them():
    found = runtime_files.files()
    assert found["thampi/__init__.py"] == REPO / "thampi/__init__.py"
    assert found["thampi/runtime/bundle.py"] == REPO / "thampi/runtime/bundle.py"
    assert found["thampi_handler/app.py"] == REPO / "handler/app.py"
    assert {path.partition("/")[0] for path in found} == {"thampi", "thampi_handler"}


def test_nothing_but_what_the_handler_needs_is_among_them():
    inside = {path.split("/")[1] for path in runtime_files.files() if path.startswith("thampi/")}
    assert inside == {"__init__.py", "errors.py", "version.py", "runtime"}
    assert {path for path in runtime_files.files() if not path.endswith(".py")} == {"thampi_handler/page.html"}


def test_every_file_is_there_and_the_order_is_always_the_same():
    found = runtime_files.files()
    assert all(file.is_file() for file in found.values())
    assert list(found) == sorted(found)


def test_every_module_of_the_handler_and_the_runtime_is_among_them():
    wanted = {f"thampi_handler/{file.name}" for file in (REPO / "handler").glob("*.py")}
    wanted |= {f"thampi/runtime/{file.name}" for file in (REPO / "thampi/runtime").glob("*.py")}
    assert wanted <= set(runtime_files.files())


def test_a_staged_folder_is_enough_to_import_the_handler(tmp_path):
    runtime_files.stage_runtime(tmp_path)
    told = "import thampi, thampi_handler.app as app; print(thampi.__file__); print(app.__file__)"
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    process = subprocess.run(
        [sys.executable, "-c", told], cwd="/", env=environment, capture_output=True, text=True, check=True
    )
    assert process.stdout.split() == [str(tmp_path / "thampi/__init__.py"), str(tmp_path / "thampi_handler/app.py")]
    assert sorted(file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*.*")) == list(
        runtime_files.files()
    )
