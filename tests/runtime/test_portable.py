"""save and load use nothing that only Linux, or only Unix, has."""

from pathlib import Path

from .fresh import REPO, python

HERE = Path(__file__).parent

# What Windows and macOS lack, taken away before anything of ours is imported.
ELSEWHERE = """
import mmap, os, sys
sys.modules["fcntl"] = sys.modules["resource"] = None
for module, names in {
    mmap: ("MAP_PRIVATE", "MAP_SHARED", "MAP_ANONYMOUS", "MAP_ANON", "MADV_HUGEPAGE"),
    os: ("fdatasync", "posix_fadvise", "posix_fallocate", "sendfile", "copy_file_range", "sched_getaffinity",
         "memfd_create", "preadv", "pwritev", "pread", "pwrite", "sync", "mkfifo", "lockf", "fork", "chown", "splice"),
}.items():
    for name in names:
        if hasattr(module, name):
            delattr(module, name)
import pytest
sys.exit(pytest.main(sys.argv[1:]))
"""

SAVING = "thampi_json or instance_id_is or time_of_training_is_now or file_in_the_place or same_model or loaded_model"


def test_the_same_holds_without_what_only_unix_has():
    chosen = [
        HERE / "test_saving.py",
        f"{HERE / 'test_pickling.py'}::test_many_scattered_arrays_keep_their_order_among_others",
        f"{HERE / 'test_fetch.py'}::test_memory_is_zeroed_writable_and_exactly_as_large_as_asked",
        f"{HERE / 'test_fetch.py'}::test_each_buffer_is_writable_memory_of_its_own",
        f"{HERE / 'test_replacing.py'}::test_an_error_on_the_way_leaves_nothing_aside",
        f"{HERE / 'test_replacing.py'}::test_an_empty_folder_is_filled",
        f"{HERE / 'test_proving.py'}::test_the_example_is_answered_after_initialize_as_where_the_model_is_served",
    ]
    named = " or ".join(str(each).partition("::")[2] for each in chosen[1:])
    options = ["-q", "-p", "no:xdist", "-p", "no:cacheprovider", "-k", f"{SAVING} or {named}"]
    said = python("-W", "default", "-c", ELSEWHERE, *options, *chosen, cwd=REPO)
    assert int(said.rpartition(" passed")[0].split()[-1]) >= 16
