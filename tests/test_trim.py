"""What is taken out of installed libraries is what no endpoint runs, and nothing that a library itself needs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TRIM = Path(__file__).resolve().parents[1] / "images/trim.py"


@pytest.fixture
def trim(tmp_path):
    """Trim a site-packages of these files, on a machine that has these commands; what is left of them."""

    def run(files, commands=()):
        site, path = tmp_path / "site", tmp_path / "bin"
        for folder, names in ((site, files), (path, dict.fromkeys(commands, ""))):
            folder.mkdir()
            for name, text in names.items():
                file = folder / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)
                file.chmod(0o755)
        environ = os.environ | {"PATH": str(path)}
        subprocess.run([sys.executable, str(TRIM), str(site)], env=environ, check=True)
        return {path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()}

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


# ------------------------------------------------------------------------------------------------- folders called test


def test_a_suite_in_a_folder_called_test_goes(trim):
    files = {"lib/__init__.py": "", "lib/test/__init__.py": "", "lib/test/test_it.py": "", "lib/test/data/x.bin": ""}
    assert trim(files) == {"lib/__init__.py"}


def test_what_a_library_offers_to_testers_stays(trim):
    """django.test, say."""
    files = {"lib/__init__.py": "", "lib/test/__init__.py": "", "lib/test/client.py": "", "lib/testing/test_x.py": ""}
    assert trim(files) == set(files)


@pytest.mark.parametrize("text", ["from lib.test import helper", "from lib import test", "from . import test"])
def test_a_suite_in_a_folder_called_test_that_its_library_imports_stays(trim, text):
    kept = {"lib/__init__.py", "lib/test/__init__.py", "lib/test/test_it.py", "lib/test/helper.py"}
    assert trim(dict.fromkeys(kept, "") | {"lib/__init__.py": text}) == kept


# ----------------------------------------------------------------------------------------------- scripts of developers

SCRIPT = "from lib.tests import data\n\ndef main():\n    pass\n\nif __name__ == '__main__':\n    main()\n"


def test_tests_that_only_a_script_of_the_developers_imports_go(trim):
    """scipy.special has such ones: 4 MB."""
    files = {"lib/__init__.py": "", "lib/inner/compute.py": SCRIPT, "lib/tests/data.py": "", "lib/tests/t.npz": ""}
    assert trim(files) == {"lib/__init__.py", "lib/inner/compute.py"}


@pytest.mark.parametrize(
    "files",
    [
        {"lib/__init__.py": "from lib import compute", "lib/compute.py": SCRIPT},
        {"lib/__init__.py": "", "lib/late.py": "importlib.import_module('lib.compute')", "lib/compute.py": SCRIPT},
        {"lib/__init__.py": "", "lib/__main__.py": SCRIPT},
        {"lib/__init__.py": "", "lib/compute.py": SCRIPT.partition("if")[0]},
    ],
    ids=["imported", "named", "started by the user", "no script"],
)
def test_tests_that_a_module_of_use_imports_stay(trim, files):
    files |= {"lib/tests/__init__.py": "", "lib/tests/data.py": ""}
    assert trim(files) == set(files)


# -------------------------------------------------------------------------------------------- what only compilers read

COMPILED = {
    "lib/include/lib.h": "",
    "lib/include/deep/lib.hpp": "",
    "lib/lib/liblib.a": "",
    "lib/fast.pyx": "",
    "lib/fast.pxd": "",
    "lib/fast.cpython-311-x86_64-linux-gnu.so": "",
}


def test_headers_static_libraries_and_cythons_sources_go(trim):
    left = trim(COMPILED | {"lib/__init__.py": "", "lib/names.txt": "", "lib/kernel.cl": "", "lib/a.html": ""})
    assert left == {
        "lib/__init__.py",
        "lib/names.txt",
        "lib/kernel.cl",
        "lib/a.html",
        "lib/fast.cpython-311-x86_64-linux-gnu.so",
    }


@pytest.mark.parametrize("compiler", ["cc", "gcc", "clang"])
def test_where_there_is_a_compiler_they_stay(trim, compiler):
    assert trim(COMPILED, commands=[compiler]) == set(COMPILED)


def test_a_header_that_python_code_names_stays(trim):
    """cffi's ABI mode reads one."""
    files = {"lib/__init__.py": "ffi.cdef(open('lib.h').read())", "lib/lib.h": "", "other/lib.h": "", "lib/core.h": ""}
    assert trim(files) == {"lib/__init__.py", "lib/lib.h"}


@pytest.mark.parametrize(
    ("text", "is_named"),
    [
        ("HEADER = 'include/api.h'", True),
        ('HERE / "api.h"', True),
        ("# see api.h", True),
        ("load(api.h)", True),
        ("'api.hpp'", False),
        ("'api.html'", False),
        ("'my-api.h'", False),
        ("api.handler", False),
    ],
)
def test_a_header_is_named_by_its_whole_name(trim, text, is_named):
    assert ("lib/api.h" in trim({"lib/__init__.py": text, "lib/api.h": ""})) == is_named


@pytest.mark.timeout(60)
def test_thousands_of_headers_and_much_code_take_seconds(trim):
    headers = {f"lib/include/h{number}.h": "" for number in range(5000)}
    code = {f"lib/m{number}.py": "a = b.c(d.e, 'f.g')\n" * 5000 for number in range(50)}
    assert trim(headers | code) == set(code)
