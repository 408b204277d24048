"""What stands in the folder is the old bundle or the new one, whenever a save dies and however many save at once."""

import json
import os
import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

import thampi
from thampi.runtime import bundle, replacing

from .fresh import IMPORTS_THAMPI, Holder, files_in, python

# Processes that can be killed without a Python to start for each: one that has imported everything, and forks.
MODELS = """
import json, os, shutil, signal, sys, time
from pathlib import Path
import numpy, thampi
from thampi.runtime import bundle, loading, pickling, proving, replacing, saving, shipping, writing

class Model(thampi.Model):
    def __init__(self, word, size):
        self.word, self.weights = word, [numpy.full(size, len(word)) for _ in range(3)]
    def predict(self, args, context):
        return self.word

def save(word, size=5000, verify=False):
    thampi.save(Model(word, size), "model", "models", verify=verify, example=1)

def word():
    '''Return what stands in the folder; it is whole, or this raises.'''
    if not os.path.exists("models/model"):
        return None
    model = thampi.load("models/model")
    assert all((weights == len(model.word)).all() for weights in model.weights)
    return model.word

def left():
    '''Return what lies beside the bundle, or in it and not named by it.'''
    named = {"thampi.json", *(file.name for file in bundle.read(Path("models/model")).files.values())}
    return [name for name in os.listdir("models") if name != "model"] + sorted(set(os.listdir("models/model")) - named)

def wait(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def fresh(first):
    shutil.rmtree("models", ignore_errors=True)
    if not first:
        save("old")
"""

DIES_BEFORE_EACH_STEP = """
STEPS = "open mkdir chmod rename replace unlink remove rmdir fsync flock write close scandir listdir".split()
for each in ("old", "new", "next"):
    save(each)
    os.rename("models/model", each)

def put(each):
    '''Save a bundle that is made already: what is left of a save are the steps on disk.'''
    with replacing.staging(Path("models/model")) as staged:
        for path in Path(each).iterdir():
            (staged / path.name).write_bytes(path.read_bytes())
        replacing.put_in_place(staged, Path("models/model"))

def dies_at(step):
    '''End the process right before its step-th call of the system.'''
    seen = 0
    def before(frame, event, function):
        nonlocal seen
        if event == "c_call" and function.__name__ in STEPS:
            seen += 1
            if seen == step:
                os._exit(9)
    sys.setprofile(before)

first, died = json.loads(sys.argv[1]), []
for step in range(1, 1000):
    shutil.rmtree("models")
    os.mkdir("models")
    if not first:
        shutil.copytree("old", "models/model")
    child = os.fork()
    if not child:
        dies_at(step)
        put("new")
        os._exit(0)
    ended = wait(child)
    died.append(word())
    put("next")
    assert word() == "next" and left() == [], (step, left())
    if ended == 0:
        break
print(json.dumps(died))
"""


def told(tmp_path: Path, script: str, *arguments: object) -> list:
    return json.loads(python("-c", MODELS + script, *map(json.dumps, arguments), cwd=tmp_path))


@pytest.mark.parametrize("first", [True, False], ids=["first save", "second save"])
def test_a_save_that_dies_before_any_of_its_steps_leaves_the_old_or_the_new(tmp_path, first):
    died = told(tmp_path, DIES_BEFORE_EACH_STEP, first)
    assert len(died) > 40
    old = None if first else "old"
    change = died.index("new")
    assert set(died[:change]) == {old}  # there is one step that makes the difference
    assert set(died[change:]) == {"new"}
    assert change > 20
    assert len(died) - change > 3


KILLED_AT_RANDOM = """
import random
first, kills, chance = json.loads(sys.argv[1]), json.loads(sys.argv[2]), random.Random(0)

def started(verify):
    child = os.fork()
    if not child:
        save("new", 200_000, verify)
        os._exit(0)
    return child

def taken(verify):
    fresh(first)
    began = time.perf_counter()
    assert wait(started(verify)) == 0
    return time.perf_counter() - began

takes = {verify: min(taken(verify) for _ in range(2)) for verify in (False, True)}
died = []
while len(died) < kills:
    verify = len(died) % 4 == 3
    fresh(first)
    child = started(verify)
    time.sleep(chance.uniform(0, takes[verify]))
    os.kill(child, signal.SIGKILL)
    if wait(child) == 0:  # too late
        takes[verify] *= 0.95
        continue
    died.append(word())
    if len(died) % 3 == 0:
        save("next")
        assert word() == "next" and left() == [], (len(died), left())
print(json.dumps(died))
"""


@pytest.mark.parametrize("first", [True, False], ids=["first save", "second save"])
def test_after_kill_9_at_any_moment_the_folder_is_what_it_was_or_what_it_should_be(tmp_path, first):
    died = told(tmp_path, KILLED_AT_RANDOM, first, 15)
    assert len(died) == 15
    assert set(died) <= {None if first else "old", "new"}


def test_two_saves_at_once_and_again_never_break_the_bundle(tmp_path):
    """Some save, one loads all the time: every load finds a whole model, and in the end nothing lies about."""
    script = """
number, until = json.loads(sys.argv[1]), time.monotonic() + json.loads(sys.argv[2])
count = 0
while time.monotonic() < until:
    count += 1
    if number:
        # The same content now and then: the files of one save are then also those of another.
        save(f"{number}" * (1 + count % 3) if count % 2 else "same")
    elif word() is not None:
        pass
print(count)
"""
    running = [
        subprocess.Popen(
            [sys.executable, "-c", MODELS + script, json.dumps(number), "2.5"],
            cwd=tmp_path,
            env=IMPORTS_THAMPI,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    ended = [process.communicate() for process in running]
    assert [process.returncode for process in running] == [0] * 4, [said for _, said in ended]
    assert all(int(count) > 2 for count, _ in ended)
    python("-c", MODELS + "assert word() is not None and left() == [], left()", cwd=tmp_path)


def test_saves_of_threads_of_one_process_wait_for_each_other(tmp_path):
    import threading

    threads = [
        threading.Thread(
            target=thampi.save, args=(Holder(np.full(5000, n)), "model", tmp_path), kwargs={"verify": False}
        )
        for n in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(files_in(tmp_path / "model")) == 3
    assert len(set(thampi.load(tmp_path / "model").held)) == 1


def test_a_lock_that_was_removed_in_the_moment_before_it_was_taken_keeps_nobody_out_and_is_not_taken(tmp_path):
    script = """
import fcntl, threading
lock, released = Path(".model.saving.lock"), threading.Event()

def release(handle):
    released.set()
    os.close(handle)

def another_comes_between(event, arguments):
    if event == "fcntl.flock" and not lock.with_name("met").exists():
        lock.with_name("met").touch()
        lock.unlink()
        handle = os.open(lock, os.O_RDWR | os.O_CREAT)
        fcntl.flock(handle, fcntl.LOCK_EX)
        threading.Timer(0.3, release, [handle]).start()

sys.addaudithook(another_comes_between)
with replacing._commit_lock(Path("model")) as alone:
    print(json.dumps([alone, released.is_set()]))
"""
    assert told(tmp_path, script) == [True, True]


def save(tmp_path: Path, held: object = None) -> Path:
    return thampi.save(Holder(held), "model", tmp_path, verify=False)


def test_a_second_save_takes_the_old_files_away_and_nothing_else(tmp_path):
    saved = save(tmp_path, np.zeros(5000))
    for mine in ("notes.txt", "model.pkl", "model-final.pkl", "model-1234567.pkl", "model-1234567g.buffers"):
        (saved / mine).write_text("mine")
    (saved / "model-00000000.pkl").write_text("of a save that died")
    (saved / "folder").mkdir()
    save(tmp_path, np.ones(5000))
    named = {file.name for file in bundle.read(saved).files.values()}
    assert set(files_in(saved)) == {
        *("thampi.json", *named),
        *("notes.txt", "model.pkl", "model-final.pkl", "model-1234567.pkl", "model-1234567g.buffers", "folder"),
    }


def test_a_folder_of_the_users_own_keeps_all_that_is_in_it(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.pkl").write_text("joblib put it here")
    saved = save(tmp_path)
    assert (saved / "model.pkl").read_text() == "joblib put it here"
    assert thampi.load(saved).held is None


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "model").mkdir()
    assert thampi.load(save(tmp_path, 7)).held == 7


def test_a_broken_bundle_is_replaced(tmp_path):
    saved = save(tmp_path, 1)
    (saved / "thampi.json").write_text("{")
    assert thampi.load(save(tmp_path, 2)).held == 2
    assert len(files_in(saved)) == 2


def test_while_a_save_is_under_way_its_folder_is_left_alone(tmp_path):
    with replacing.staging(tmp_path / "model") as staged:
        (staged / "file").write_text("")
        save(tmp_path)
        assert (staged / "file").exists()
        assert len(list(tmp_path.iterdir())) == 3  # the folder, its lock, and the bundle
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_what_the_dead_left_beside_is_swept_and_nothing_of_others(tmp_path):
    def exists(*names):
        return [(tmp_path / name).exists() for name in names]

    (tmp_path / ".model.saving-dead1234").mkdir()
    (tmp_path / ".model.saving-dead1234" / "model.pkl").write_text("")
    (tmp_path / ".model.saving-dead1234.lock").write_text("")
    (tmp_path / ".model.saving-onlylock.lock").write_text("")
    (tmp_path / ".model.saving.lock").write_text("")
    (tmp_path / ".other.saving-dead1234").mkdir()
    (tmp_path / "model.saving-mine").mkdir()
    save(tmp_path)
    assert exists(".model.saving-dead1234", ".model.saving-dead1234.lock", ".model.saving-onlylock.lock") == [False] * 3
    assert exists(".other.saving-dead1234", "model.saving-mine", "model") == [True] * 3
    assert not (tmp_path / ".model.saving.lock").exists()


def test_an_error_on_the_way_leaves_nothing_aside(tmp_path):
    class Stop(Exception):
        pass

    def stop(error):
        with replacing.staging(tmp_path / "model") as staged:
            (staged / "file").write_text("")
            raise error

    for error in (Stop, KeyboardInterrupt):
        with pytest.raises(error):
            stop(error)
    assert files_in(tmp_path) == {}


WITHOUT_LOCKS = "import sys; sys.modules['fcntl'] = None\n" + MODELS


def test_without_locks_only_age_tells_a_dead_save_from_a_slow_one(tmp_path):
    """Windows' own locks aside, this is how a network file system without locks is met."""
    (tmp_path / "models" / ".model.saving-young").mkdir(parents=True)
    old = tmp_path / "models" / ".model.saving-old"
    old.mkdir()
    (old / "model.pkl").write_text("")
    (tmp_path / "models" / ".model.saving-old.lock").write_text("")
    slow = tmp_path / "models" / ".model.saving-slow"
    slow.mkdir()
    (slow / "model.pkl").write_text("written a moment ago")
    two_days_ago = time.time() - 2 * 24 * 3600
    for path in (old / "model.pkl", old, tmp_path / "models" / ".model.saving-old.lock", slow):
        os.utime(path, (two_days_ago, two_days_ago))
    python("-c", WITHOUT_LOCKS + "save('new'); assert word() == 'new'", cwd=tmp_path)
    left = sorted(path.name for path in (tmp_path / "models").iterdir() if path.is_dir())
    assert left == [".model.saving-slow", ".model.saving-young", "model"]


def test_without_locks_a_save_removes_what_it_replaced_and_no_young_file_that_it_does_not_know(tmp_path):
    script = "save('one'); shutil.copy('models/model/thampi.json', 'models/model/model-00000000.pkl'); save('three')\n"
    script += "assert word() == 'three'; print(json.dumps(left()))"
    assert json.loads(python("-c", WITHOUT_LOCKS + script, cwd=tmp_path)) == ["model-00000000.pkl"]
    two_days_ago = time.time() - 2 * 24 * 3600
    os.utime(tmp_path / "models/model/model-00000000.pkl", (two_days_ago, two_days_ago))
    assert json.loads(python("-c", WITHOUT_LOCKS + "save('four'); print(json.dumps(left()))", cwd=tmp_path)) == []


LIKE_WINDOWS = (
    MODELS
    + """
import sysconfig
sysconfig.get_config_vars()  # it looks at the platform, too, and only once

# The locks of Windows, played by those of this system: held per open file, refused with an OSError of its own.
import types, fcntl
msvcrt = types.ModuleType("msvcrt")
msvcrt.LK_NBLCK, msvcrt.asked = 2, 0
def locking(handle, mode, size):
    msvcrt.asked += 1
    assert (mode, size) == (2, 1)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise PermissionError(13, "Permission denied") from None
msvcrt.locking = locking
sys.modules["msvcrt"], sys.platform = msvcrt, "win32"
"""
)


def test_the_locks_of_windows_serve_as_well(tmp_path):
    script = """
with replacing.staging(Path("models/model")) as staged:
    save("one"); save("two")
    assert staged.exists() and word() == "two"
os.mkdir("models/.model.saving-dead1234")
save("three")
assert word() == "three" and left() == [], left()

import threading
waiting = threading.Thread(target=save, args=("four",))
with replacing._commit_lock(Path("models/model")) as alone:
    waiting.start()
    waiting.join(0.5)
    assert alone and waiting.is_alive() and word() == "three"
waiting.join()
assert word() == "four" and left() == [], left()
print(msvcrt.asked)
"""
    assert int(python("-c", LIKE_WINDOWS + script, cwd=tmp_path)) >= 8


def test_a_reader_that_holds_the_old_files_open_is_no_obstacle(tmp_path):
    saved = save(tmp_path, np.zeros(5000))
    with open(saved / bundle.read(saved).files["buffers"].name, "rb") as stream:
        save(tmp_path, np.ones(5000))
        assert len(stream.read()) == 5000 * 8


def test_a_folder_that_can_not_be_written_to_keeps_its_model(tmp_path):
    """As a user without rights would meet it; root, who may do everything, can't."""
    saved = save(tmp_path, 1)
    before = files_in(tmp_path)
    script = "os.setegid(65534); os.seteuid(65534)\n" if os.geteuid() == 0 else ""
    shutil.copystat(tmp_path, tmp_path)
    script += textwrap.dedent("""
        try:
            thampi.save(Model("new", 5), "model", sys.argv[1], verify=False)
        except thampi.errors.BundleError as error:
            print(error.message)
        """)
    tmp_path.chmod(0o555)
    try:
        said = python("-c", MODELS + script, tmp_path, cwd=Path("/"))
    finally:
        tmp_path.chmod(0o755)
    assert "can't save to" in said
    assert files_in(tmp_path) == before
    assert thampi.load(saved).held == 1
