import json
import subprocess
import sys

import pytest

from thampi import runtime_files

NEVER = {
    "boto3",
    "botocore",
    "click",
    "cloudpickle",
    "docker",
    "jinja2",
    "numpy",
    "packaging",
    "pandas",
    "pydantic",
    "requests",
    "rich",
    "urllib3",
}
CLIENT = {"awslambdaric", "runtime_client", "simplejson"}  # the interface client: itself, its C part, its JSON
# Of the standard library, what takes long to import and is no part of answering a request.
SLOW = {"asyncio", "email", "http.client", "importlib.metadata", "multiprocessing", "ssl", "subprocess", "unittest"}
# Of ours, what only saving needs.
SAVING = {f"thampi.runtime.{name}" for name in ("pickling", "proving", "origins", "shipping")}

# Beside what the interpreter had loaded before, which a venv's .pth files add to.
PROGRAM = """
import importlib, json, sys
before = set(sys.modules)
for name in sys.argv[1:]:
    importlib.import_module(name)
print(json.dumps(sorted(set(sys.modules) - before)))
"""

# Starts the handler, and says how far it was when the interface client was asked for.
WATCH = """
import os, runpy, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "awslambdaric":
            beginning = sys.modules.get("thampi_handler.beginning")
            begun = beginning is not None and beginning.startup._loading is not None
            print("begun" if begun else "nothing", flush=True)
            os._exit(0)
sys.meta_path.insert(0, Finder())
runpy.run_module("thampi_handler", run_name="__main__")
"""


def loaded(path, *modules):
    """Return the modules that a fresh process loads for some; print those that Python doesn't bring."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *modules],
        env={"PYTHONPATH": str(path)},
        capture_output=True,
        text=True,
        check=True,
    )
    found = set(json.loads(done.stdout))
    print("loaded:", *sorted(brought(found)))
    return found


def brought(modules):
    return {name.partition(".")[0] for name in modules} - set(sys.stdlib_module_names)


@pytest.fixture(scope="module")
def staged(tmp_path_factory):
    folder = tmp_path_factory.mktemp("staged")
    runtime_files.stage_runtime(folder)
    return folder


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        ("thampi", {"thampi", "orjson"}),
        ("thampi_handler.app", {"thampi", "thampi_handler", "orjson"}),
        ("thampi_handler.__main__", {"thampi", "thampi_handler", "orjson"}),
        ("thampi_handler.beginning", {"thampi", "thampi_handler", "orjson"}),
        ("thampi_handler.interface", {"thampi", "thampi_handler", "orjson"} | CLIENT),
    ],
)
def test_what_runs_in_lambda_loads_this_and_nothing_else(staged, module, allowed):
    found = brought(loaded(staged, module))
    assert found == allowed
    assert not found & NEVER


def test_in_the_checkout_the_handler_loads_no_more_than_in_the_image(request):
    assert brought(loaded(request.config.rootpath, "handler.app")) == {"thampi", "handler", "orjson"}


def test_what_only_saving_needs_is_not_loaded_and_nothing_slow(staged):
    ours = [f"thampi_handler.{name}" for name in ("app", "beginning", "interface", "__main__")]
    assert not loaded(staged, "thampi", *ours) & (SAVING | SLOW)


def test_the_models_bytes_are_on_their_way_before_the_interface_client_is_imported(staged, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", WATCH],
        env={"PYTHONPATH": str(staged), "THAMPI_MODEL": str(tmp_path), "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "begun\n"
