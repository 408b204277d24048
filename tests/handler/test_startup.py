import errno
import hashlib
import logging
import os
import sys
import threading
import traceback
import types
from pathlib import Path

import orjson
import pytest

import thampi
from handler import settings
from handler.startup import InitializeError, Startup, StillLoadingError
from tests.handler.inprocess import Echo, sample, serve
from thampi import Model
from thampi.errors import BundleError
from thampi.runtime import loading


class Initialized(Model):
    """Remembers each call of `initialize`."""

    def __init__(self):
        self.calls = []

    def initialize(self, context):
        self.calls.append(
            {
                "request_id": context.request_id,
                "headers": dict(context.headers),
                "name": context.name,
                "stage": context.stage,
                "properties": dict(context.properties),
                "remaining_ms": context.remaining_ms(),
            }
        )

    def predict(self, args, context):
        return len(self.calls)


class Trailing(Model):
    """Leaves a letter in a file for each thing that happens to it, and raises as it was told."""

    def __init__(self, trail, unpickled=None, initialized=None, times=100):
        self.trail, self.unpickled, self.initialized, self.times = str(trail), unpickled, initialized, times

    def __setstate__(self, state):
        self.__dict__.update(state)
        self.happens("u", self.unpickled)

    def initialize(self, context):
        self.happens("i", self.initialized)

    def happens(self, letter, error):
        with open(self.trail, "a") as trail:
            trail.write(letter)
        with open(self.trail) as trail:
            if error is not None and trail.read().count(letter) <= self.times:
                raise error

    def predict(self, args, context):
        return "fine"


def started(folder, **environ):
    environ = {"THAMPI_MODEL": str(folder), "THAMPI_NAME": "iris", "THAMPI_SERVED_TIME_UTC": "then"} | environ
    startup = Startup(settings.read(environ))
    startup.begin()
    return startup


def served(startup):
    return serve(startup=startup, THAMPI_NAME="iris")


@pytest.fixture
def save(tmp_path):
    def saved(model, **about):
        return thampi.save(model, "iris", tmp_path / "models", verify=False, **about)

    return saved


@pytest.fixture
def trail(tmp_path):
    path = tmp_path / "trail"
    path.write_text("")
    return path


def test_the_model_is_there_after_the_start(save):
    startup = started(save(Echo()))
    assert startup.failure is None
    assert startup.model().predict("x", None) == "x"


def test_initialize_is_called_once_and_told_what_is_served(save):
    startup = started(save(Initialized(), instance_id="the-id", tags={"a": 1}, trained_time_utc="2026-09-06T22:03:04Z"))
    for _ in range(3):
        assert served(startup).http(sample("function-url")).json["result"] == 1
    assert startup.model().calls == [
        {
            "request_id": None,
            "headers": {},
            "name": "iris",
            "stage": "local",
            "properties": {
                "instance_id": "the-id",
                "served_time_utc": "then",
                "tags": {"a": 1},
                "thampi_data_version": "0.1",
                "trained_time_utc": "2026-09-06T22:03:04.000000Z",
            },
            "remaining_ms": 900_000,
        }
    ]


# --- what may pass


def test_a_folder_that_appears_later_is_served_from_then_on(tmp_path, save):
    startup = started(tmp_path / "models" / "iris")
    application = served(startup)
    reply = application.http(sample("function-url"))
    assert reply.status == 503
    assert "thampi.json" in reply.error["message"]
    save(Echo())
    assert application.http(sample("function-url")).status == 200
    assert startup.failure is None


def test_a_ping_finds_the_model_that_appeared_too(tmp_path, save):
    application = served(started(tmp_path / "models" / "iris"))
    save(Echo())
    assert application.http(sample("alb-health-check")).status == 200


def loop(path):
    path.symlink_to(path)


@pytest.mark.parametrize("obstacle", [Path.mkdir, loop])
def test_a_manifest_that_cant_be_read_now_is_read_when_it_can(save, obstacle):
    folder = save(Echo())
    manifest = folder / "thampi.json"
    manifest.rename(folder / "aside")
    obstacle(manifest)
    startup = started(folder)
    with pytest.raises(BundleError, match="can't read"):
        startup.model()
    manifest.rmdir() if manifest.is_dir() else manifest.unlink()
    (folder / "aside").rename(manifest)
    assert startup.model()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_whose_permissions_are_mended_is_served(save):
    folder = save(Echo())
    (folder / "thampi.json").chmod(0)
    startup = started(folder)
    with pytest.raises(BundleError, match="ermission"):
        startup.model()
    (folder / "thampi.json").chmod(0o644)
    assert startup.model()


def test_a_data_file_that_appears_later_is_read_and_the_manifest_as_it_is_then(save):
    folder = save(Echo(), instance_id="first")
    for path in folder.glob("*.pkl"):
        path.unlink()
    startup = started(folder)
    with pytest.raises(BundleError, match="missing"):
        startup.model()
    save(Initialized(), instance_id="second")
    assert startup.model().calls
    assert startup.about().instance_id == "second"


def test_an_initialize_that_failed_is_tried_again_without_loading_again(save, trail, caplog):
    startup = started(save(Trailing(trail, initialized=ConnectionError("no database"), times=3)))
    assert isinstance(startup.failure, InitializeError)
    for _ in range(2):
        with pytest.raises(BundleError, match="no database"):
            startup.model()
    assert trail.read_text() == "uiii"
    assert [record.exc_info[0] for record in caplog.records] == [ConnectionError]
    assert startup.model().predict(1, None) == "fine"
    assert startup.model() is startup.model()
    assert trail.read_text() == "uiiii"


@pytest.mark.parametrize("kind", [ValueError, ConnectionError])
def test_what_initialize_said_is_for_the_log_and_not_for_callers(save, trail, kind, caplog):
    startup = started(save(Trailing(trail, initialized=kind("password=hunter2"))))
    reply = served(startup).http(sample("function-url"))
    assert reply.status == 503
    assert "hunter2" not in reply.body
    assert "hunter2" in caplog.text


# --- what won't


@pytest.mark.parametrize(
    "error",
    [
        ModuleNotFoundError("No module named 'sklearn'", name="sklearn"),
        ImportError("cannot import name"),
        ValueError("node array"),
        OSError("libgomp.so.1: cannot open shared object file: No such file or directory"),
        FileNotFoundError(errno.ENOENT, "No such file or directory", "/opt/vocabulary.txt"),
        SystemExit(1),
        MemoryError(),
    ],
)
def test_what_will_fail_again_is_not_tried_again(save, trail, error, caplog):
    startup = started(save(Trailing(trail, unpickled=error)))
    for _ in range(3):
        with pytest.raises(BundleError):
            startup.model()
        assert served(startup).http(sample("function-url")).status == 503
    assert trail.read_text() == "u"
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info[0] is type(error)
    assert "Traceback" in caplog.text


def test_a_missing_library_is_named_in_the_log_and_in_the_answer(save, trail, caplog):
    startup = started(save(Trailing(trail, unpickled=ModuleNotFoundError("No module named 'sklearn'", name="sklearn"))))
    assert "needs `sklearn`" in caplog.text
    assert "`sklearn`" in served(startup).http(sample("rest-v1")).error["message"]


def test_ctrl_c_ends_the_start(save, trail):
    with pytest.raises(KeyboardInterrupt):
        started(save(Trailing(trail, initialized=KeyboardInterrupt())))


def test_an_initialize_that_exits_is_a_failure_like_another(save, trail):
    startup = started(save(Trailing(trail, initialized=SystemExit(3))))
    assert isinstance(startup.failure, InitializeError)
    assert "SystemExit" in startup.failure.message


def test_a_reason_is_logged_once_and_another_reason_again(tmp_path, save, caplog):
    startup = started(tmp_path / "models" / "iris")
    for _ in range(3):
        with pytest.raises(BundleError):
            startup.model()
    assert len(caplog.records) == 1
    folder = save(Echo())
    for path in folder.glob("*.pkl"):
        path.unlink()
    for _ in range(3):
        with pytest.raises(BundleError):
            startup.model()
    assert len(caplog.records) == 2


def test_a_failure_that_is_raised_again_and_again_does_not_grow(save):
    startup = started(save(Echo()), THAMPI_MANIFEST_SHA256="another")

    def depth():
        with pytest.raises(BundleError) as caught:
            startup.model()
        return len(traceback.extract_tb(caught.value.__traceback__))

    assert [depth() for _ in range(3)] == [depth()] * 3


# --- what vouches for it


def test_a_manifest_that_was_released_is_served(save):
    folder = save(Echo())
    digest = hashlib.sha256((folder / "thampi.json").read_bytes()).hexdigest()
    assert started(folder, THAMPI_MANIFEST_SHA256=digest).model()


def test_another_manifest_than_the_released_one_is_refused_before_anything_is_unpickled(save, trail):
    folder = save(Trailing(trail))
    startup = started(folder, THAMPI_MANIFEST_SHA256=hashlib.sha256(b"another").hexdigest())
    with pytest.raises(BundleError, match="not the one that was released"):
        startup.model()
    reply = served(startup).http(sample("function-url"))
    assert reply.status == 503
    assert trail.read_text() == ""


def test_data_that_is_not_as_saved_is_refused_before_it_is_unpickled(save, trail):
    folder = save(Trailing(trail))
    (data,) = folder.glob("*.pkl")
    damaged = bytearray(data.read_bytes())
    damaged[-2] ^= 1
    data.write_bytes(damaged)
    with pytest.raises(BundleError, match="damaged"):
        started(folder).model()
    assert trail.read_text() == ""


def test_a_bundle_in_s3_is_refused_by_its_address():
    with pytest.raises(BundleError, match="s3://store/iris"):
        started("s3://store/iris").model()


def test_a_model_of_another_python_is_described_though_it_cant_be_served(save):
    folder = save(Echo(), example={"input": 1})
    manifest = folder / "thampi.json"
    manifest.write_bytes(orjson.dumps(orjson.loads(manifest.read_bytes()) | {"python": "3.8.1"}))
    application = served(started(folder))
    reply = application.http(sample("function-url"))
    assert reply.status == 503
    assert "3.8" in reply.error["message"]
    about = sample("function-url") | {"rawPath": "/iris"}
    about["requestContext"]["http"]["method"] = "GET"
    described = application.http(about)
    assert (described.status, described.json["python"], described.json["example"]) == (200, "3.8.1", {"input": 1})


def test_a_manifest_that_is_no_json_is_a_503(save):
    folder = save(Echo())
    (folder / "thampi.json").write_text("{")
    assert served(started(folder)).http(sample("function-url")).status == 503


# --- the order, and what is told of it


def startup_for(folder, lines=None, **environ):
    environ = {"THAMPI_MODEL": str(folder), "THAMPI_NAME": "iris"} | environ
    return Startup(settings.read(environ), 2.0, write=(lines if lines is not None else []).append)


def remade(folder, **changes):
    """Write other facts into a manifest."""
    manifest = folder / "thampi.json"
    manifest.write_bytes(orjson.dumps(orjson.loads(manifest.read_bytes()) | changes))
    return folder


def test_what_was_fetched_ahead_is_what_is_loaded_and_a_second_load_fetches_anew(save, trail, monkeypatch):
    begun = []
    begin = loading.begin
    monkeypatch.setattr(loading, "begin", lambda *args, **more: begun.append(args) or begin(*args, **more))
    startup = startup_for(save(Trailing(trail, unpickled=FileNotFoundError(errno.ENOENT, "gone"), times=1)))
    startup.fetch()
    assert len(begun) == 1
    startup.begin()
    assert (len(begun), startup.failure is None) == (1, False)
    assert startup.model()
    assert len(begun) == 2


def test_fetching_ahead_fails_when_the_model_is_asked_for_and_not_before(tmp_path):
    for where in ("s3://store/iris", str(tmp_path / "nothing")):
        startup = startup_for(where)
        startup.fetch()
        assert startup.failure is None
        with pytest.raises(BundleError):
            startup.model()


def test_files_and_hash_of_the_release_are_what_is_fetched_by(monkeypatch):
    told = []
    monkeypatch.setattr(loading, "begin", lambda source, **more: told.append((source, more)))
    release = {"THAMPI_MANIFEST_SHA256": "ab", "THAMPI_FILES": "model-1a2b3c4d.pkl=8121"}
    startup_for("s3://store/iris", **release).fetch()
    assert told == [("s3://store/iris", {"sha256": "ab", "files": {"model-1a2b3c4d.pkl": 8121}})]


def test_recorded_modules_are_imported_in_their_order_before_anything_is_unpickled(save, trail, tmp_path, monkeypatch):
    for name in ("second_first", "first_second"):
        (tmp_path / f"{name}.py").write_text(
            f"with open({str(trail)!r}, 'a') as trail:\n    trail.write({name[0]!r})\n"
        )
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    startup = startup_for(remade(save(Trailing(trail)), modules=["second_first", "first_second"]))
    startup.begin()
    assert trail.read_text() == "sfui"


@pytest.mark.parametrize(
    ("modules", "said"), [(["not_here_at_all"], "needs `not_here_at_all`"), (["broken_here"], "ZeroDivisionError")]
)
def test_a_library_that_can_not_be_imported_keeps_the_model_from_being_read(
    save, trail, tmp_path, monkeypatch, modules, said
):
    (tmp_path / "broken_here.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    startup = startup_for(remade(save(Trailing(trail)), modules=modules))
    startup.begin()
    assert said in startup.failure.message
    assert trail.read_text() == ""


def test_a_cold_start_is_told_once_when_the_model_is_there_and_not_before(save, trail):
    lines = []
    startup = startup_for(
        save(Trailing(trail, initialized=ConnectionError("no database"), times=1)),
        lines,
        AWS_LAMBDA_FUNCTION_MEMORY_SIZE="512",
    )
    startup.begin()
    assert lines == []
    for _ in range(2):
        startup.model()
    (told,) = map(orjson.loads, lines)
    assert told["memory_mb"] == 512
    assert told["total_ms"] > told["python_ms"] >= 2000, "it counts from the process's start"
    assert told["fetch_mb"] >= 0


def test_a_log_that_is_gone_costs_no_model(save):
    def gone(line):
        raise BrokenPipeError("nobody reads")

    startup = Startup(settings.read({"THAMPI_MODEL": str(save(Echo()))}), write=gone)
    startup.begin()
    assert startup.model()


def test_who_asks_while_another_thread_loads_hears_that_and_what_would_help(save, tmp_path, monkeypatch):
    place = types.ModuleType("meeting_place")
    place.barrier = threading.Barrier(2)
    monkeypatch.setitem(sys.modules, "meeting_place", place)
    (tmp_path / "takes_long.py").write_text("import meeting_place\n" + "meeting_place.barrier.wait(10)\n" * 2)
    monkeypatch.syspath_prepend(tmp_path)
    startup = startup_for(remade(save(Echo(), instance_id="the-id"), modules=["takes_long"]))
    thread = threading.Thread(target=startup.begin)
    thread.start()
    place.barrier.wait(10)
    with pytest.raises(StillLoadingError, match=r"since 2 s.*\n.*timeout_s"):
        startup.model()
    assert startup.about().instance_id == "the-id"
    reply = served(startup).http(sample("function-url"))
    assert (reply.status, reply.error["type"], reply.headers["retry-after"]) == (503, "model_loading", "5")
    place.barrier.wait(10)
    thread.join()
    assert startup.model().predict("x", None) == "x"
