"""The rules of the house that a linter doesn't know; what is excepted stands here, with the reason."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]
LONGEST = 400

# Who may print, ask or end the process, and why.
EDGES = {
    "thampi/cli/__init__.py": "the one place where failures become exit codes",
    "thampi/terminal.py": "the one place that prints",
    "handler/__main__.py": "a process of its own: without a runtime API there is nothing to do",
    "images/smoke.py": "a script that runs in the image: its lines on stdout are its answer",
    "images/conda_install.py": "a script that runs in a build: what goes wrong ends the step",
    "thampi/resolution/conda_solver.py": "a process of its own: its answer stands on stdout",
    "thampi/local/guarded.py": "a process of its own, which dies with the one that started it",
    "thampi/local/ministack_server/__main__.py": "a process of its own, the local AWS",
}

# Who may catch all and go on, and why. Catching all to clean up, or to say it better, ends in `raise` and is no matter.
CATCHES_ALL = {
    "thampi/cli/__init__.py:main": "a bug is exit code 70, with its traceback",
    "handler/app.py:_http": "whatever goes wrong is an answer: the model's code is the user's",
    "handler/app.py:_direct": "whatever goes wrong is an answer: the model's code is the user's",
    "handler/startup.py:begin": "unpickling runs the code of others; the failure is kept for the requests to come",
    "handler/stand_in.py:_work": "it asks on a thread: the failure is raised on the main one",
    "images/smoke.py:<module>": "importing runs the code of others; the failure is the answer",
    "thampi/operations/push.py:run": "a step on a thread: its failure is raised where it is waited for",
    "thampi/runtime/decompressing.py:do": "a step on a thread: its failure is raised where it is waited for",
    "thampi/runtime/fetch.py:_work": "a step on a thread: its failure is raised where the bytes are waited for",
    "thampi/runtime/pickling.py:_can_pickle": "whatever a reducer of others raises, the answer is no",
    "thampi/runtime/proving.py:answer": "the trial runs the user's model; the failure is the answer",
    "thampi/runtime/signature/schemas.py:_of_library": "a library may refuse its own type: anything is taken",
    "thampi/resolution/conda_solver.py:_distributions": "a name in Python is asked for; without it conda's has to do",
    "thampi/local/ministack_server/__main__.py:_pass_on": "an engine may be reachable without it; a push says if not",
}


def _modules(*roots: str) -> list[Path]:
    return [
        path
        for root in roots
        for path in sorted((REPO / root).rglob("*.py"))
        if "shipped" not in path.relative_to(REPO).parts
    ]


def _name(path: Path) -> str:
    return path.relative_to(REPO).as_posix()


OURS = _modules("thampi", "handler", "images")
every_module_of_ours = pytest.mark.parametrize("path", OURS, ids=_name)


@pytest.mark.parametrize("path", [*OURS, *_modules("examples", "benchmarks", "scripts")], ids=_name)
def test_every_module_says_what_it_is_for(path):
    said = ast.get_docstring(ast.parse(path.read_text("utf-8")))
    assert said, "the docstring is the sentence that a newcomer reads first"


@every_module_of_ours
def test_nobody_prints_asks_or_exits_but_at_the_edges(path):
    if _name(path) in EDGES:
        return
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in ("print", "input", "exit", "quit", "sys.exit", "os._exit"), f"line {node.lineno}"
        if isinstance(node, ast.Raise) and node.exc is not None:
            assert not ast.unparse(node.exc).startswith("SystemExit"), f"line {node.lineno}"


def _catches(path: Path) -> set[str]:
    """Name the functions that catch all and go on."""
    found = set()

    def look(node: ast.AST, function: str) -> None:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            function = node.name
        if isinstance(node, ast.ExceptHandler) and _is_catch_all(node) and not isinstance(node.body[-1], ast.Raise):
            found.add(f"{_name(path)}:{function}")
        if isinstance(node, ast.With) and any("suppress(Exception" in ast.unparse(item) for item in node.items):
            found.add(f"{_name(path)}:{function}")
        for child in ast.iter_child_nodes(node):
            look(child, function)

    look(ast.parse(path.read_text("utf-8")), "<module>")
    return found


def _is_catch_all(node: ast.ExceptHandler) -> bool:
    kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
    return any(kind is None or ast.unparse(kind) in ("Exception", "BaseException") for kind in kinds)


@every_module_of_ours
def test_nobody_catches_all_and_goes_on_but_at_the_edges(path):
    assert _catches(path) <= set(CATCHES_ALL)


def test_every_exception_to_these_rules_is_still_needed():
    assert {name for path in OURS for name in _catches(path)} == set(CATCHES_ALL)
    assert set(EDGES) <= {_name(path) for path in OURS}


@pytest.mark.parametrize("path", _modules("thampi", "handler"), ids=_name)
def test_no_file_is_longer_than_one_can_take_in(path):
    assert len(path.read_text("utf-8").splitlines()) <= LONGEST


def _tracked() -> list[Path]:
    asked = ["git", "-C", str(REPO), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(asked, capture_output=True, text=True)
    if listed.returncode != 0:  # an unpacked source distribution
        return [path for path in REPO.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return [REPO / name for name in listed.stdout.split("\0") if name and (REPO / name).is_file()]


def test_no_file_knows_the_machine_that_it_was_written_on():
    """Paths and hosts of one machine, in whatever file: they would be dead words on every other."""
    here = [r"\.\./shared", r"/work/(main|shared)", r"/tmp/v0", r"/root/\.pyenv", r"/opt/(wheels|pypi)\b", r"10\.255\."]
    pattern = re.compile("|".join(here))
    found = []
    for path in _tracked():
        if path == Path(__file__):
            continue
        try:
            lines = path.read_text("utf-8").splitlines()
        except UnicodeDecodeError:
            continue
        found += [
            f"{_name(path)}:{number}: {line.strip()[:100]}"
            for number, line in enumerate(lines, 1)
            if pattern.search(line)
        ]
    assert found == []
