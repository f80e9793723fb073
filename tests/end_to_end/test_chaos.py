"""A job is whole, and its digest the same, whatever was killed while it was made."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
NUM_FAULTS = 30


@pytest.mark.timeout(900)  # 130 s of CPU; on a busy machine it waits for much
def test_thirty_kills_lose_nothing_double_nothing_and_tear_nothing() -> None:
    size = f"--faults {NUM_FAULTS} --shards {2 * NUM_FAULTS} --seed 5"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.chaos", *size.split()],
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
    )
    told = done.stdout + done.stderr
    assert done.returncode == 0, told
    assert "0 samples lost, 0 duplicated, 0 objects torn" in told, told
