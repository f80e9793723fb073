"""Work beside a command ends with it, and a command ends with its work."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from synthforge.beside import Beside, stop_on_signals


def test_the_work_is_told_to_end_with_the_block() -> None:
    ended = []

    def work(stop: threading.Event) -> None:
        stop.wait()
        ended.append(True)

    with Beside(work, threading.Event()):
        assert not ended
    assert ended


def test_work_that_fails_stops_the_command_and_says_why() -> None:
    def work(stop: threading.Event) -> None:
        raise RuntimeError("no cores")

    with Beside(work, threading.Event()) as beside:
        beside.stop.wait()
    assert str(beside.error) == "no cores"


def test_a_first_signal_asks_and_a_second_one_ends() -> None:
    held = signal.getsignal(signal.SIGTERM)
    with stop_on_signals() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.wait(10)
        with pytest.raises(SystemExit) as end:
            os.kill(os.getpid(), signal.SIGTERM)
        assert end.value.code == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) == held
