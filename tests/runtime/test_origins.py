"""What is installed can be installed again; what is the project's own goes along."""

import sys
import types
from pathlib import Path

import numpy as np
import pytest

from thampi.runtime import origins

from .fresh import python


@pytest.fixture
def imported(tmp_path, monkeypatch):
    """Import a module from a file, as if its folder were on the path."""

    def import_from(folder: Path, name: str) -> types.ModuleType:
        file = folder / Path(*name.split(".")).with_suffix(".py")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("")
        module = types.ModuleType(name)
        module.__file__ = str(file)
        monkeypatch.setitem(sys.modules, name, module)
        return module

    return import_from


def carried() -> set[str]:
    return {module.__name__ for module in origins.project_modules()}


def test_modules_of_the_project_are_those_that_no_installation_brings(tmp_path, imported):
    imported(tmp_path, "my_features")
    imported(tmp_path, "my_package.inner")
    assert {"my_features", "my_package.inner"} <= carried()
    assert not {"numpy", "pytest", "json", "thampi", "thampi.runtime.origins", "__main__"} & carried()
    assert not any(name.startswith(("numpy.", "_pytest", "thampi.")) for name in carried())


def test_what_pip_installed_into_a_folder_is_no_module_of_the_project(tmp_path, imported):
    (tmp_path / "target" / "lib-1.0.dist-info").mkdir(parents=True)
    imported(tmp_path / "target", "my_lib")
    imported(tmp_path / "target", "my_libs.inner")
    assert not {"my_lib", "my_libs.inner"} & carried()


def test_an_installation_that_links_to_a_store_is_an_installation(tmp_path, imported):
    (tmp_path / "target" / "lib-1.0.dist-info").mkdir(parents=True)
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "code.py").write_text("")
    module = imported(tmp_path / "target", "my_linked")
    Path(module.__file__).unlink()
    Path(module.__file__).symlink_to(tmp_path / "store" / "code.py")
    assert "my_linked" not in carried()


def test_compiled_modules_of_the_project_can_not_go_along(tmp_path, imported):
    imported(tmp_path, "my_fast").__file__ = str(tmp_path / "my_fast.cpython-311-x86_64-linux-gnu.so")
    assert "my_fast" not in carried()


def test_a_module_under_another_name_is_left_alone(tmp_path, imported, monkeypatch):
    module = imported(tmp_path, "my_module")
    monkeypatch.setitem(sys.modules, "my_alias", module)
    monkeypatch.setitem(sys.modules, "my_thing", object())
    monkeypatch.setitem(sys.modules, "my_nothing", None)
    gone = imported(tmp_path, "my_gone")
    monkeypatch.delitem(sys.modules, "my_gone")
    monkeypatch.setitem(sys.modules, "my_other_alias", gone)  # cloudpickle would look for `my_gone`, and find nothing
    assert "my_module" in carried()
    assert not {"my_alias", "my_other_alias", "my_gone", "my_thing", "my_nothing"} & carried()


def test_a_package_without_an_init_is_of_the_project(tmp_path, monkeypatch):
    (tmp_path / "my_space").mkdir()
    (tmp_path / "my_space" / "inner.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    import my_space.inner

    assert my_space.__file__ is None
    assert {"my_space", "my_space.inner"} <= carried()


def test_the_path_of_a_fresh_process_has_the_installations_and_not_the_project(tmp_path):
    found = origins.installed_path([*sys.path, str(tmp_path), "", "."])
    assert any(entry.endswith("site-packages") for entry in found)
    assert not {str(tmp_path), "", "."} & set(found)
    numpy_is_in = str(Path(np.__file__).parents[1])
    assert numpy_is_in in found


def test_a_name_comes_with_the_packages_above_it():
    assert origins.with_parents("a.b.c") == ["a", "a.b", "a.b.c"]
    assert origins.with_parents("a") == ["a"]


@pytest.mark.parametrize(
    "name", ["json", "os.path", "__main__", "__mp_main__", "thampi", "thampi.runtime", "", "no_such"]
)
def test_what_comes_with_python_or_with_us_needs_no_import_elsewhere(name):
    assert not origins.importable_elsewhere(name)


def test_libraries_are_importable_elsewhere_and_what_they_make_for_themselves_is_not(monkeypatch):
    assert origins.importable_elsewhere("numpy")
    monkeypatch.setitem(sys.modules, "_cython_9_9", types.ModuleType("_cython_9_9"))
    assert not origins.importable_elsewhere("_cython_9_9")


def test_distributions_have_the_names_that_pip_knows():
    import sklearn

    found = origins.distributions_of(["sklearn.neighbors._base", "numpy", "json", "no_such_module", "thampi"])
    assert found == {"numpy": np.__version__, "scikit-learn": sklearn.__version__}


def installed(folder: Path, name: str, version: str | None, *files: str) -> None:
    """Put a distribution into a folder, as an installer would."""
    known = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    known.mkdir(parents=True)
    known.joinpath("METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n" if version else ""
    )
    known.joinpath("RECORD").write_text("".join(f"{file},,\n" for file in files))
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text("")


def test_a_namespace_of_many_distributions_names_the_one_that_has_the_module(tmp_path, monkeypatch):
    installed(tmp_path, "cloud-storage", "1.0", "my_cloud/storage/__init__.py")
    installed(tmp_path, "cloud-queue", "2.0", "my_cloud/queue.py")
    installed(tmp_path, "cloud-fast", "3.0", "my_cloud/fast.cpython-311-x86_64-linux-gnu.so", "my_cloud/slow.py")
    monkeypatch.syspath_prepend(tmp_path)
    assert origins.distributions_of(["my_cloud.storage"]) == {"cloud-storage": "1.0"}
    assert origins.distributions_of(["my_cloud.queue"]) == {"cloud-queue": "2.0"}
    assert origins.distributions_of(["my_cloud.fast"]) == {"cloud-fast": "3.0"}
    assert origins.distributions_of(["my_cloud"]) == {"cloud-fast": "3.0", "cloud-queue": "2.0", "cloud-storage": "1.0"}


def test_what_an_interrupted_installation_left_is_no_obstacle(tmp_path, monkeypatch):
    installed(tmp_path, "broken", None, "my_broken.py")
    installed(tmp_path, "whole", "1.0", "my_whole.py")
    monkeypatch.syspath_prepend(tmp_path)
    assert origins.distributions_of(["my_whole", "my_broken"]) == {"whole": "1.0"}


def test_what_was_installed_meanwhile_is_found(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    assert origins.distributions_of(["my_late"]) == {}
    installed(tmp_path, "late", "1.0", "my_late.py")
    assert origins.distributions_of(["my_late"]) == {"late": "1.0"}


def test_a_project_that_is_installed_for_editing_goes_along(tmp_path):
    """Its distribution is known, but no index has it: the pickle carries the code."""
    source, site = tmp_path / "source", tmp_path / "site"
    (source / "my_shop").mkdir(parents=True)
    (source / "my_shop" / "__init__.py").write_text("import thampi\n\n")
    (source / "my_shop" / "model.py").write_text(
        "import thampi\n\nclass Model(thampi.Model):\n    def predict(self, args, context):\n        return 7\n"
    )
    installed(site, "my-shop", "1.0", "my_shop.pth")
    (site / "my_shop-1.0.dist-info" / "top_level.txt").write_text("my_shop\n")
    code = f"import sys; sys.path[:0] = [{str(source)!r}, {str(site)!r}]; import thampi, my_shop.model, json\n"
    code += "saved = thampi.save(my_shop.model.Model(), 'model', example=1)\n"
    code += "print(json.load(open(saved / 'thampi.json'))['distributions'].keys())"
    assert "my-shop" not in python("-c", code, cwd=tmp_path)
    assert python("-c", "import thampi; print(thampi.load('model').predict(1, None))", cwd=tmp_path) == "7\n"
