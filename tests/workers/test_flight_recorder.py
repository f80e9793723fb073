"""What a worker was doing outlives it, to the sample."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path

from workers.flight_recorder import FlightRecorder, LastWords, read_last_words


def _record_and_die(folder: Path) -> None:
    recorder = FlightRecorder(folder)
    recorder.begin("first-token-that-is-longer")
    recorder.at(7)
    recorder.begin("second")
    recorder.at(3)
    recorder.at(41)
    os.kill(os.getpid(), signal.SIGKILL)


def test_the_last_position_is_read_after_a_sigkill(tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=_record_and_die, args=(tmp_path,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert read_last_words(tmp_path) == LastWords("second", 41, was_told_to_leave=False)


def test_a_new_execution_begins_at_no_sample(tmp_path: Path) -> None:
    recorder = FlightRecorder(tmp_path)
    recorder.begin("first")
    recorder.at(7)
    recorder.begin("second")
    assert read_last_words(tmp_path) == LastWords("second", 0, was_told_to_leave=False)


def test_a_sigterm_is_noted_beside_the_position(tmp_path: Path) -> None:
    recorder = FlightRecorder(tmp_path)
    recorder.begin("token")
    recorder.told_to_leave()
    recorder.at(2)
    assert read_last_words(tmp_path) == LastWords("token", 2, was_told_to_leave=True)


def test_a_worker_that_left_nothing_has_no_last_words(tmp_path: Path) -> None:
    assert read_last_words(tmp_path) is None
    (tmp_path / "flight-recorder").write_bytes(b"torn")
    assert read_last_words(tmp_path) is None
