"""What is taken out of installed libraries is what no endpoint runs, and nothing that a library itself needs."""

import subprocess
import sys
from pathlib import Path

import pytest

TRIM = Path(__file__).resolve().parents[1] / "images/trim.py"


@pytest.fixture
def trim(tmp_path):
    """Trim a site-packages of these files; what is left of them."""

    def run(files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        subprocess.run([sys.executable, str(TRIM), str(tmp_path)], check=True)
        return {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}

    return run


def test_tests_and_stubs_go(trim):
    left = trim(
        {
            "lib/__init__.py": "import lib.inner",
            "lib/__init__.pyi": "",
            "lib/tests/test_it.py": "",
            "lib/tests/data/large.bin": "",
            "lib/inner/deep.pyi": "",
            "lib/inner/tests/__init__.py": "",
            "lib/testing.py": "",
            "lib/test/__init__.py": "",
        }
    )
    assert left == {"lib/__init__.py", "lib/testing.py", "lib/test/__init__.py"}


@pytest.mark.parametrize(
    "text",
    [
        "from lib.tests import helper",
        "import lib.tests.helper",
        "from lib import tests",
        "from . import api, tests",
        "from .tests.helper import one",
        "def late():\n    from lib.tests.helper import one",
    ],
)
def test_tests_that_their_own_library_imports_stay(trim, text):
    kept = {"lib/__init__.py", "lib/tests/__init__.py", "lib/tests/helper.py"}
    assert trim({"lib/__init__.py": text, "lib/tests/__init__.py": "", "lib/tests/helper.py": "one = 1"}) == kept


def test_tests_that_only_tests_import_go(trim):
    left = trim({"lib/__init__.py": "# the tests are elsewhere", "lib/tests/test_a.py": "from lib.tests import helper"})
    assert left == {"lib/__init__.py"}


def test_a_stub_stays_when_its_module_reads_it(trim):
    """scikit-image, librosa and others load their submodules by what stands in the stub."""
    lazy = "import lazy_loader\n__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)\n"
    left = trim({"lib/__init__.py": lazy, "lib/__init__.pyi": "", "lib/other.py": "", "lib/other.pyi": ""})
    assert left == {"lib/__init__.py", "lib/__init__.pyi", "lib/other.py"}


def test_a_package_that_is_itself_called_tests_is_nobodys_tests(trim):
    assert trim({"tests/__init__.py": ""}) == {"tests/__init__.py"}
