"""Which processes are still at work."""

import os
import subprocess
import sys

from thampi import liveness


def test_we_are_alive_and_so_is_the_first_process():
    assert liveness.is_alive(os.getpid())
    assert liveness.is_alive(1)  # another user's, for most


def test_a_process_that_ended_is_not():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert not liveness.is_alive(process.pid)


def test_numbers_that_mean_groups_are_no_process():
    assert not liveness.is_alive(0)
    assert not liveness.is_alive(-1)


def test_the_machine_has_a_name():
    assert liveness.host()
