"""A conda environment, from `thampi build` to an answer: a channel of this machine, with a Python that runs."""

import ast
import functools
import http.server
import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests import conda_channel, sharing
from tests.e2e.conftest import LIKE_LAMBDA, unique
from thampi import recipe

pytestmark = pytest.mark.docker

MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"
TRAIN = """
import flowers, numpy
import thampi

class Florist(thampi.Model):
    def __init__(self, kinds):
        self.kinds = kinds

    def predict(self, args, context):
        return {"kind": self.kinds.of(float(numpy.mean(args["lengths"])))}

kinds = flowers.Kinds(["setosa", "versicolor", "virginica"], [2.5, 4.9])
thampi.save(Florist(kinds), "florist", "./models", example={"lengths": [1.4]}, verify=False)
"""
# What a Python looks like in conda is taken from the image that ours stands on: it runs there for sure.
PACK = """
import os, sys, sysconfig, tarfile
left_out = {"__pycache__", "test", "tests", "idlelib", "tkinter", "turtledemo", "site-packages", "dist-packages"}
def keep(member):
    is_left_out = left_out & set(member.name.split("/")) or "/config-" in member.name or "sitecustomize" in member.name
    return None if is_left_out else member
minor = f"{sys.version_info.major}.{sys.version_info.minor}"
with tarfile.open(fileobj=sys.stdout.buffer, mode="w|", dereference=True) as tar:
    tar.add(os.path.realpath(sys.executable), f"bin/python{minor}")
    tar.add(sysconfig.get_path("stdlib"), f"lib/python{minor}", filter=keep)
"""


@pytest.fixture(scope="module")
def channel(tmp_path_factory, client):
    """The folder of a channel whose Python runs in an image."""
    place = sharing.folder(tmp_path_factory)

    def make():
        packed, folder = place / "python.tar", place / "channel"
        image = recipe.python_image(MINOR)
        words = [client.path, "run", "--rm", "--network=none", "--entrypoint=python3", image, "-c", PACK]
        with packed.open("wb") as out:
            subprocess.run(words, stdout=out, check=True)
        conda_channel.make(folder, MINOR, packed)
        return str(folder)

    with sharing.once(place, "channel", make) as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def project(tmp_path_factory, command):
    """Make a project whose model needs what conda brings (`flowers`) and what pip brings (numpy)."""

    def make(folder, channel, *more):
        folder.mkdir(exist_ok=True)
        site = folder / "site"
        (site / "Flower_Kit-1.2.0.dist-info").mkdir(parents=True)
        (site / "flowers.py").write_text(conda_channel.FLOWERS)
        (site / "Flower_Kit-1.2.0.dist-info/METADATA").write_text(
            "Metadata-Version: 2.1\nName: Flower_Kit\nVersion: 1.2.0\n"
        )
        (site / "Flower_Kit-1.2.0.dist-info/RECORD").write_text("flowers.py,,\n")
        (folder / "train.py").write_text(TRAIN)
        done = command("train.py", cwd=folder, PYTHONPATH=f"{site}:{Path(__file__).resolve().parents[2]}")
        assert done.returncode == 0, done.stderr
        recorded = json.loads((folder / "models/florist/thampi.json").read_text())["distributions"]
        (folder / "environment.yml").write_text(
            f"name: florist\nchannels: [{channel}]\n"
            f"dependencies: [{', '.join(['flowers', 'thampi=0.1.0', *more])}, "
            f"{{pip: [numpy=={recorded['numpy']}]}}]\n"
        )
        name = f'name = "{unique("florist")}"'
        (folder / "thampi.toml").write_text(
            f'{name}\nmodel_dir = "models/florist"\n[build]\ndependency_file = "environment.yml"\n'
        )
        return folder

    return make


@pytest.fixture(scope="module")
def florist(tmp_path_factory, channel, project, command, client):
    """The folder of the project, its image, and what `thampi build` said."""
    place = sharing.folder(tmp_path_factory)

    def make():
        folder = project(place / "florist", channel)
        done = command("thampi", "build", cwd=folder)
        assert done.returncode == 0, done.stderr
        return [str(folder), done.stdout.splitlines()[-1], done.stderr]

    def remove(made):
        client.run("rmi", "--force", made[1])

    with sharing.once(place, "florist", make, remove) as (folder, image, said):
        yield Path(folder), image, said


@pytest.fixture(scope="module")
def asked(client):
    """Ask a container that has no network, from inside."""

    def ask(image, bundle, data):
        words = ("run", "-d", "--network=none", f"-v={bundle}:/opt/model:ro", *LIKE_LAMBDA, image)
        container = client.run(*words).stdout.strip()
        told = (
            "import json, sys, time, urllib.request as r\n"
            "for left in range(100):\n"
            "    try: print(r.urlopen('http://localhost:8080/2015-03-31/functions/function/invocations', "
            "sys.argv[1].encode()).read().decode()); break\n"
            "    except OSError: time.sleep(0.1)\n"
        )
        try:
            done = client.run("exec", container, "python3", "-c", told, json.dumps({"data": data}))
            assert done.stdout, done.stderr + client.run("logs", container).stderr
            return json.loads(done.stdout)
        finally:
            client.run("rm", "--force", "--volumes", container)

    return ask


def test_a_model_of_a_conda_environment_answers_read_only_unprivileged_and_without_network(florist, asked):
    folder, image, _ = florist
    answer = asked(image, folder / "models/florist", {"lengths": [4.0, 4.4]})
    assert answer["result"] == {"kind": "versicolor"}


def test_what_was_left_out_and_what_was_added_is_said(florist):
    _, _, said = florist
    assert "environment.yml line 3 left out: the image has its own thampi" in said
    assert re.search(r"cloudpickle==\S+ added unless conda brings it", said)
    assert "flower-kit" not in said  # it is there, under another name than conda's


def test_the_images_python_is_condas_and_the_handlers_libraries_are_found_behind_its_own(florist, inside):
    _, image, _ = florist
    told = (
        "import sys, flowers, numpy, orjson, awslambdaric, thampi_handler\n"
        "for each in (flowers, numpy, orjson, awslambdaric, thampi_handler): print(each.__file__)\n"
        "print(sys.prefix, *sys.version_info[:2], sep='.')"
    )
    files = inside(image, "-c", told)[0].splitlines()
    site = f"/opt/env/lib/python{MINOR}/site-packages/"
    lies = [file.startswith(site) for file in files[:2]] + [file.startswith("/opt/thampi/") for file in files[2:5]]
    assert lies == [True] * 5, files
    assert files[5] == f"/opt/env.{MINOR}"


def test_packages_are_installed_as_conda_does(florist, inside):
    """Programs, the place in text and in binary, a script after linking, what activation sets."""
    _, image, _ = florist
    told = (
        "import os, pathlib, subprocess as s; r = lambda *w: s.run(w, capture_output=True, text=True).stdout.strip()\n"
        "etc = pathlib.Path('/opt/env/etc')\n"
        "print(r('garden'), r('flowers'), *[(etc / f'garden.{n}').read_text().strip() for n in ('conf', 'linked')], "
        "os.environ['GARDEN'], os.environ['GARDEN_SEASON'], sep='|')\n"
        "print(open('/opt/env/lib/garden.bin', 'rb').read())"
    )
    said, binary = inside(image, "-c", told)[0].splitlines()
    assert said == "garden of /opt/env|flowers of /opt/env/etc|root=/opt/env|linked|a 'b' 2|summer"
    replaced = ast.literal_eval(binary)
    assert replaced.startswith(b"\0\1/opt/env/share\0")
    assert len(replaced) == len(conda_channel.GARDEN)


LOOK = """
import importlib.util, json, os, pathlib
root = pathlib.Path("/opt/env")
found = {"closed": [], "uncompiled": [], "dated": [], "timed": []}
for path in [root, *root.rglob("*")]:
    about = path.lstat()
    if not path.is_symlink():
        wanted = 0o005 if path.is_dir() else 0o004
        found["closed"] += [str(path)] * (about.st_mode & wanted != wanted or bool(about.st_mode & 0o002))
    found["timed"] += [str(path)] * (about.st_mtime != 0 and path != root)  # the root is made by the layer itself
    if path.suffix == ".py" and not {"tests", "lib2to3"} & set(path.parts):
        compiled = pathlib.Path(importlib.util.cache_from_source(path))
        if not compiled.exists():
            found["uncompiled"].append(str(path))
        elif int.from_bytes(compiled.read_bytes()[4:8], "little") != 1:
            found["dated"].append(str(path))
print(json.dumps(found))
"""


def test_all_files_can_be_read_are_compiled_and_have_no_time_of_their_own(florist, inside):
    _, image, _ = florist
    found = json.loads(inside(image, "-c", LOOK)[0])
    assert found == {"closed": [], "uncompiled": [], "dated": [], "timed": []}


def test_neither_a_package_manager_nor_dead_weight_is_in_the_image(florist, inside):
    _, image, _ = florist
    told = (
        "import glob, shutil, importlib.util as u\n"
        "print([shutil.which(n) for n in ('conda', 'mamba', 'uv')], u.find_spec('rattler'), "
        "glob.glob('/opt/env/include/*') + glob.glob('/opt/env/share/man/*') + glob.glob('/opt/env*unpacked'))\n"
        "print(*sorted(p.split('/')[-1] for p in glob.glob('/opt/env/conda-meta/*')))"
    )
    nothing, packages = inside(image, "-c", told)[0].splitlines()
    assert nothing == "[None, None, None] None []"
    assert packages == f"flowers-1.2.0-0.json garden-1.0-0.json python-{MINOR}.2-0.json"


def test_the_lock_names_each_package_by_its_sha256_and_another_build_is_the_same_image(florist, command):
    folder, image, _ = florist
    lock = (folder / "thampi.lock").read_text()
    assert re.search(r'"flowers-1\.2\.0-0\.conda#[0-9a-f]{64}"', lock)
    assert str(folder) not in lock
    done = command("thampi", "build", cwd=folder)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, image), done.stderr
    assert "nothing to build" in done.stderr
    assert "solving" not in done.stderr


class Channel(http.server.SimpleHTTPRequestHandler):
    """A channel's server as the public ones are: it gives parts of files, too."""

    def do_GET(self):
        asked, spoilt = self.headers.get("Range"), self.server.spoilt.get(self.path)
        self.server.requests.append((self.path, asked))
        # What is spoilt is so only for builds: the solver has read the index before.
        if spoilt is not None and "Python" in self.headers.get("User-Agent", ""):
            self.send_response(200 if spoilt else 404)
            self.send_header("Content-Length", str(len(spoilt)))
            self.end_headers()
            self.wfile.write(spoilt)
        elif asked and os.path.isfile(self.translate_path(self.path)):
            content = Path(self.translate_path(self.path)).read_bytes()
            first, last = asked.removeprefix("bytes=").split("-")
            start = int(first) if first else max(0, len(content) - int(last))
            end = min(int(last), len(content) - 1) if first and last else len(content) - 1
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{end}/{len(content)}")
            self.send_header("Content-Length", str(end - start + 1))
            self.end_headers()
            self.wfile.write(content[start : end + 1])
        else:
            super().do_GET()

    def log_message(self, *told):
        """Say nothing."""


@pytest.fixture
def served(channel, bridge):
    """The channel behind HTTP, where builds can reach it: its URL, and the server."""
    handler = functools.partial(Channel, directory=str(channel))
    with http.server.ThreadingHTTPServer(("0.0.0.0", 0), handler) as server:
        server.requests, server.spoilt = [], {}
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{bridge}:{server.server_port}", server
        server.shutdown()


def test_a_channel_of_the_network_is_fetched_inside_the_build(tmp_path, project, served, command, client, asked):
    url, server = served
    folder = project(tmp_path, url, "six")
    done = command("thampi", "build", cwd=folder)
    assert done.returncode == 0, done.stderr
    image = done.stdout.splitlines()[-1]
    try:
        assert asked(image, folder / "models/florist", {"lengths": [6]})["result"] == {"kind": "virginica"}
    finally:
        client.run("rmi", "--force", image)
    assert "flower-kit" not in done.stderr  # the solver has looked into the package, and found its name in Python
    lock = (folder / "thampi.lock").read_text()
    assert re.search(rf'"{url}/noarch/six-1\.99\.0-0\.conda#[0-9a-f]{{64}}"', lock)
    whole = [path for path, part in server.requests if part is None and path.endswith((".conda", ".bz2"))]
    assert whole.count("/noarch/six-1.99.0-0.conda") == 1


@pytest.mark.parametrize(
    ("spoilt", "said", "cure"),
    [
        (b"another", "Hash mismatch for six-1.99.0-0.conda", "thampi build --refresh"),
        (b"", "six-1.99.0-0.conda: HTTP Error 404", "check the network"),
    ],
)
def test_a_channel_that_has_another_file_now_or_none_is_one_clear_error(
    tmp_path, project, channel, served, command, spoilt, said, cure
):
    url, server = served
    lab = tmp_path / "lab"  # of its own, so that nobody's cache has its package
    conda_channel.make(lab, MINOR)
    server.RequestHandlerClass = functools.partial(Channel, directory=str(lab))
    server.spoilt["/noarch/six-1.99.0-0.conda"] = spoilt
    done = command("thampi", "build", cwd=project(tmp_path, url, "six"))
    assert (done.returncode, done.stdout) == (4, ""), done.stderr
    assert "error: conda's packages can't be installed (linux/amd64)" in done.stderr
    assert said in done.stderr
    assert cure in done.stderr.partition("hint: ")[2]
