"""The arrows of the house, as tables: who may import whom, and which library belongs to whom.

Every import counts, also one inside a function. A new module has to be entered here, with what it may lean on.
"""

import ast
import graphlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]

# cli -> operations -> { builder -> recipe -> resolution -> dependencies, aws, local, config -> names, runtime }
# -> errors
# What runs beside the command line in a process of its own is a part of its own.
ARROWS = {
    "thampi": {"client", "runtime", "version"},
    "client": {"asking", "aws", "config", "errors", "operations"},
    "cli": {"operations", "config", "terminal", "errors", "version"},
    "operations": {
        *("asking", "aws", "builder", "config", "dependencies", "errors", "liveness", "local", "names", "recipe"),
        *("resolution", "runtime", "runtime_files", "shipped", "system_packages", "version"),
    },
    "aws": {"errors", "liveness", "names", "runtime", "version"},
    "builder": {"errors", "liveness", "recipe", "runtime", "shipped"},
    "local": {"errors", "liveness", "runtime", "runtime_files", "shipped", "version"},
    "local.ministack_server": {"liveness"},
    "config": {"errors", "names"},
    "recipe": {"dependencies", "errors", "resolution", "runtime_files", "shipped", "version"},
    "resolution": {"dependencies", "errors", "shipped"},
    "dependencies": {"errors"},
    "asking": {"errors", "runtime", "version"},
    "runtime_files": {"shipped"},
    "runtime": {"errors", "version"},
    "handler": {"runtime", "errors"},
    "system_packages": set(),
    "terminal": set(),
    "names": set(),
    "liveness": set(),
    "shipped": set(),
    "errors": set(),
    "version": set(),
}

# library: the parts that may import it. What is in none of these rows nobody may import.
LIBRARIES = {
    "click": {"cli"},
    "rich": {"terminal"},
    "pydantic": {"config"},
    "jinja2": {"recipe"},
    "rattler": {"resolution"},  # in an environment of its own, not in ours
    "yaml": {"dependencies"},
    "packaging": {"dependencies", "resolution", "system_packages"},
    "docker": {"builder", "local.ministack_server"},
    "urllib3": {"builder"},  # what the docker library raises
    "boto3": {"aws"},
    "botocore": {"aws"},
    "uv": {"local", "resolution", "dependencies"},  # there: what is in a uv.lock only uv can say
    "orjson": {"runtime", "handler", "local", "operations"},
    "cloudpickle": {"runtime"},
    "jsonschema_rs": {"runtime"},
    "annotationlib": {"runtime"},  # Python's own, from 3.14 on
    "backports": {"runtime"},  # backports.zstd, and what it is from Python 3.14 on:
    "compression": {"runtime"},
    "awslambdaric": {"handler"},
    "snapshot_restore_py": {"handler"},
    "ministack": {"local.ministack_server"},
    "hypercorn": {"local.ministack_server"},
}

# Of these, what Lambda has: the handler's own requirements, and cloudpickle, which comes with each model's libraries.
IN_LAMBDA = {
    *("orjson", "awslambdaric", "snapshot_restore_py", "cloudpickle", "backports", "compression"),
    *("jsonschema_rs", "annotationlib"),
}


@dataclass(frozen=True)
class Module:
    path: Path
    name: str  # thampi.aws.store, handler.app
    part: str

    def imports(self, *, whole: bool = True) -> Iterator[str]:
        """Yield the dotted name of each import; of those at the top of the module only, unless `whole`."""
        tree = ast.parse(self.path.read_text("utf-8"))
        for node in ast.walk(tree) if whole else _at_the_top(tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                start = self._package()[: len(self._package()) - node.level + 1] if node.level else []
                base = ".".join([*start, *(node.module or "").split(".")]).strip(".")
                for alias in node.names:
                    inner = f"{base}.{alias.name}"
                    yield inner if inner in NAMES else base

    def _package(self) -> list[str]:
        parts = self.name.split(".")
        return parts if self.path.name == "__init__.py" else parts[:-1]


def _at_the_top(tree: ast.Module) -> Iterator[ast.stmt]:
    """Yield what runs when the module is imported; what stands under TYPE_CHECKING doesn't."""
    for node in tree.body:
        if isinstance(node, ast.If | ast.Try) and "TYPE_CHECKING" not in ast.unparse(getattr(node, "test", node)):
            yield from node.body
        yield node


def _modules() -> list[Module]:
    found = []
    for root in ("thampi", "handler"):
        for path in sorted((REPO / root).rglob("*.py")):
            parts = [part for part in path.relative_to(REPO).with_suffix("").parts if part != "__init__"]
            if "shipped" in parts[1:-1]:
                continue
            if root == "handler" or len(parts) == 1:
                part = root
            else:
                part = ".".join(parts[1:3]) if ".".join(parts[1:3]) in ARROWS else parts[1]
            found.append(Module(path, ".".join(parts), part))
    return found


NAMES: set[str] = set()
MODULES = _modules()
NAMES |= {module.name for module in MODULES}
PARTS = {module.name: module.part for module in MODULES}


def _part_of(name: str) -> str | None:
    """The part of ours that a dotted name belongs to; None for a library."""
    while name:
        if name in PARTS:
            return PARTS[name]
        name = name.rpartition(".")[0]
    return None


every_module = pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)


@every_module
def test_every_module_is_of_a_part_that_the_table_knows(module):
    assert module.part in ARROWS, f"enter {module.part} in the table, with what it may import"


@every_module
def test_every_import_of_ours_follows_an_arrow(module):
    reached = {part for name in module.imports() if (part := _part_of(name)) not in (None, module.part)}
    if module.part != "thampi":
        reached -= {"thampi"}  # `from thampi import names` means the module
    allowed = ARROWS[module.part]
    if module.part == "local":
        allowed = allowed | {"local.ministack_server"}
    assert reached <= allowed, f"{module.name} must not know {sorted(reached - allowed)}"


@every_module
def test_every_library_is_imported_where_it_belongs(module):
    for name in module.imports():
        top = name.partition(".")[0]
        if _part_of(name) is None and top not in sys.stdlib_module_names:
            assert module.part in LIBRARIES.get(top, set()), f"{module.name} imports {name}"


@pytest.mark.parametrize("part", ["thampi", "runtime", "handler", "errors", "version"])
def test_what_runs_in_lambda_imports_only_what_lambda_has(part):
    for module in (module for module in MODULES if module.part == part):
        tops = {name.partition(".")[0] for name in module.imports() if _part_of(name) is None}
        assert tops - sys.stdlib_module_names <= IN_LAMBDA, module.name


def test_the_arrows_form_no_circle():
    graphlib.TopologicalSorter(ARROWS).prepare()


def test_no_modules_import_each_other_in_a_circle():
    graph = {module.name: {name for name in module.imports(whole=False) if name in NAMES} for module in MODULES}
    for name, reached in graph.items():
        reached.discard(name)
        reached -= {"thampi"}  # a package is there when its modules are imported
    graphlib.TopologicalSorter(graph).prepare()


@every_module
def test_no_module_is_named_like_a_library_that_it_imports(module):
    own = module.name.rpartition(".")[2]
    assert own not in {name.partition(".")[0] for name in module.imports() if _part_of(name) is None}


@pytest.mark.parametrize(
    "module", [module for module in MODULES if module.part == "handler"], ids=lambda module: module.name
)
def test_the_handler_calls_itself_by_no_absolute_name(module):
    """In the image it is `thampi_handler`: a user's own handler.py can neither shadow it nor be shadowed."""
    tree = ast.parse(module.path.read_text("utf-8"))
    for node in ast.walk(tree):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        assert not any(name.partition(".")[0] in ("handler", "thampi_handler") for name in names)


@pytest.mark.parametrize("library", sorted(LIBRARIES))
def test_every_row_of_the_table_is_needed(library):
    users = {
        module.part
        for module in MODULES
        if any(name.partition(".")[0] == library and _part_of(name) is None for name in module.imports())
    }
    assert users, f"nobody imports {library}"


def test_importing_thampi_and_the_handler_loads_nothing_that_lambda_lacks():
    told = (
        "import sys, thampi, handler.app, handler.__main__;"
        "print(*{name.partition('.')[0] for name in sys.modules} & set(sys.argv[1:]))"
    )
    lacking = sorted(set(LIBRARIES) - IN_LAMBDA | {"jsonschema_rs"})  # which only a bundle with a signature needs
    environ = os.environ | {"PYTHONPATH": str(REPO)}
    words = [sys.executable, "-c", told, *lacking]
    done = subprocess.run(words, cwd="/", env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
