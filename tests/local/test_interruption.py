"""Ctrl-C, SIGTERM and a closed terminal."""

import os
import signal
import threading
import time

import pytest

from thampi.local import interruption

ALL = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@interruption.once()
def get(*numbers):
    """Get these signals while at work, and all of them while clearing away."""
    try:
        for number in numbers:
            os.kill(os.getpid(), number)
            time.sleep(0.05)
    finally:
        for number in ALL:
            os.kill(os.getpid(), number)
        time.sleep(0.05)
        CLEARED.append(numbers)


CLEARED = []


@pytest.mark.parametrize("number", ALL)
def test_each_of_them_interrupts_and_then_the_clearing_away_is_left_in_peace(number):
    with pytest.raises(KeyboardInterrupt):
        get(number)
    assert CLEARED[-1] == (number,)


def test_what_must_not_be_cut_off_is_finished_first():
    steps = []
    with pytest.raises(KeyboardInterrupt):
        get_while_held(steps)
    assert steps == ["finished"]


def get_while_held(steps):
    """Get two signals in the middle of what must not be cut off."""
    with interruption.once() as interrupted:
        with interrupted.held():
            for number in (signal.SIGTERM, signal.SIGINT):
                os.kill(os.getpid(), number)
                time.sleep(0.05)
            steps.append("finished")
        steps.append("and on")


def test_what_is_held_in_vain_changes_nothing():
    with interruption.once() as interrupted, interrupted.held():
        pass


def test_afterwards_all_is_as_it_was():
    before = [signal.getsignal(number) for number in ALL]
    with pytest.raises(KeyboardInterrupt):
        get(signal.SIGTERM)
    assert [signal.getsignal(number) for number in ALL] == before


def test_nohup_stays_nohup():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruption.once():
            os.kill(os.getpid(), signal.SIGHUP)
            time.sleep(0.05)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_in_another_thread_it_does_nothing():
    found = []

    def work():
        with interruption.once():
            found.append(signal.getsignal(signal.SIGTERM))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [before]
