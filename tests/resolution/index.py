"""Wheels and a simple index (PEP 503) of the tests' own."""

import contextlib
import hashlib
import io
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def wheel(name, version="1.0", requires=(), tag="py3-none-any", size=0, when=(2020, 1, 1, 0, 0, 0), order=1):
    """A wheel's file name and bytes; `size` more of them, which nothing can compress."""
    plain = name.replace("-", "_")
    info = f"{plain}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {line}\n" for line in requires)
    files = {
        f"{plain}.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    record = [f"{path},," for path in (*files, f"{info}/RECORD")][::order]
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for path, text in [*{**files, f"{info}/RECORD": "\n".join(record) + "\n"}.items()][::order]:
            archive.writestr(zipfile.ZipInfo(path, when), text)
        if size:
            archive.writestr(f"{plain}.bin", bytes(size))
    return f"{plain}-{version}-{tag}.whl", made.getvalue()


def make_project(folder):
    """Make a project that is built by a backend of its own: nothing has to be fetched for it."""
    (folder / "src/mine").mkdir(parents=True)
    (folder / "src/mine/__init__.py").write_text("ONE = 1\n")
    (folder / "pyproject.toml").write_text(
        '[project]\nname = "mine"\nversion = "1.2"\ndependencies = ["lib"]\nrequires-python = ">=3.11"\n'
        '[project.optional-dependencies]\nextra = ["more"]\n'
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    (folder / "backend.py").write_text(_BACKEND)
    return folder


_BACKEND = """
import pathlib, time, zipfile
def build_wheel(where, config_settings=None, metadata_directory=None):
    text = pathlib.Path("src/mine/__init__.py").read_text()
    pathlib.Path("src/left-behind").touch()
    files = {
        "mine/__init__.py": text,
        "mine-1.2.dist-info/METADATA": "Metadata-Version: 2.1\\nName: mine\\nVersion: 1.2\\nRequires-Dist: lib\\n"
            "Provides-Extra: extra\\nRequires-Dist: more; extra == 'extra'\\n",
        "mine-1.2.dist-info/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
        "mine-1.2.dist-info/RECORD": "mine/__init__.py,,\\n",
    }
    with zipfile.ZipFile(pathlib.Path(where, "mine-1.2-py3-none-any.whl"), "w") as wheel:
        for name, content in files.items():
            wheel.writestr(zipfile.ZipInfo(name, time.localtime()[:6]), content)
    return "mine-1.2-py3-none-any.whl"
"""


class Index(ThreadingHTTPServer):
    """Serves wheels by their folder in the URL: `/NAME/simple` is one index, `/OTHER/simple` another."""

    daemon_threads = True

    def __init__(self, indexes, status=200):
        super().__init__(("127.0.0.1", 0), _Answer)
        self.indexes, self.status, self.asked = indexes, status, []

    def url(self, name):
        return f"http://127.0.0.1:{self.server_address[1]}/{name}/simple"


class _Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        _, index, _, folder, file = (self.path.split("/") + [""] * 3)[:5]
        self.server.asked.append((self.command, self.path))
        wheels = self.server.indexes.get(index, {})
        there = {name: content for name, content in wheels.items() if self._name(name) == folder}
        content = there.get(file.replace("%2B", "+")) if file else self._page(there)
        status = self.server.status if self.server.status != 200 else 404 if content is None or not there else 200
        content = content if status == 200 else b""
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if not file else "application/octet-stream")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    do_HEAD = do_GET

    def _name(self, file):
        return file.partition("-")[0].replace("_", "-")

    def _page(self, there):
        links = [
            f'<a href="{name.replace("+", "%2B")}#sha256={hashlib.sha256(content).hexdigest()}">{name}</a>'
            for name, content in there.items()
        ]
        return f"<!DOCTYPE html>{''.join(links)}".encode()

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def serving(indexes, **more):
    """Serve indexes, each a mapping of file names and contents, for the time of the block."""
    with Index(indexes, **more) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
