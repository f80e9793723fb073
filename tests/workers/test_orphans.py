"""The watcher ends what a killed parent left behind, and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from workers.orphans import descendants, end, is_alive
from workers.scratch import scratch_folder

ROOT = Path(__file__).resolve().parents[2]
PARENT = """
import subprocess, sys, time
from workers.orphans import watch_over_children
watch_over_children()
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""
PATIENCE_S = 20

linux_only = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


def ends(pid: int) -> bool:
    """Wait for a process to end; a zombie has ended."""
    start = time.monotonic()
    while time.monotonic() - start < PATIENCE_S:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


@linux_only
def test_children_of_a_killed_parent_end_with_it() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        family = descendants(parent.pid)
        assert child in family
        parent.send_signal(signal.SIGKILL)
    assert all(ends(pid) for pid in family), "a descendant, or the watcher itself, is left"


@linux_only
def test_a_process_that_took_over_an_id_is_left_alone() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        end({child.pid: 1})  # another start time: not the one that was seen
        assert child.poll() is None
        end({child.pid: descendants(os.getpid())[child.pid]})
        assert child.wait(PATIENCE_S) == -signal.SIGKILL
    finally:
        child.kill()


def test_scratch_of_processes_that_are_gone_is_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left, kept = tmp_path / f"synthforge-{gone.pid}-x", tmp_path / f"synthforge-{os.getpid()}-x"
    left.mkdir()
    kept.mkdir()
    with scratch_folder() as scratch:
        assert scratch.is_dir()
        assert not left.exists()
        assert kept.exists()
    assert not scratch.exists()
    assert is_alive(os.getpid())
