"""python -m benchmarks.programs: how soon the programs are there, and how soon they are gone.

1. `synthforge up`: from its start until the service answers and an actor waits for work; aim 15 s.
2. `synthforge work` with shards in hand: from SIGTERM until it has ended, every lease given back;
   aim 10 s.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks.chaos.world import free_port
from service.server import serving
from service.settings import Settings
from synthforge.client import Client
from synthforge.jobs import parse_job_spec

NUM_WORKERS: Final = 2
READY_S: Final = 15.0
LEAVE_S: Final = 10.0
PATIENCE_S: Final = 120.0
LARGE: Final = {"count": 20_000, "image": {"size": 128}, "output": {"samples_per_shard": 5_000}}


@contextmanager
def program(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command of `synthforge` for the length of a block."""
    command = [sys.executable, "-m", "synthforge", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE_S)


def until(holds: Callable[[], bool], what: str) -> float:
    """Wait until something holds; returns the seconds that it took."""
    start = time.monotonic()
    while not holds():
        if time.monotonic() - start > PATIENCE_S:
            raise TimeoutError(what)
        time.sleep(0.02)
    return time.monotonic() - start


def is_awake(client: Client) -> bool:
    """Tell whether a pool is there and one of its actors waits for work."""
    return client.is_ready() and any(pool["fingerprint"] for pool in client.pools())


def ready_s(folder: Path) -> float:
    """Return how long `synthforge up` takes to be ready."""
    port = free_port()
    up = ("up", "--port", str(port), "--workers", str(NUM_WORKERS), "--output", str(folder / "out"))
    os.environ["SYNTHFORGE_DATABASE_URL"] = f"sqlite:///{folder}/up.db"
    client = Client(f"http://127.0.0.1:{port}", timeout_s=5, retry_for_s=0)
    with client, program(*up):
        return until(lambda: is_awake(client), "`synthforge up` is not ready")


def leave_s(folder: Path) -> tuple[float, int]:
    """Return how long a pool at work takes to leave, and how many leases it keeps."""
    settings = Settings(
        database_url=f"sqlite:///{folder}/work.db",
        output_prefixes=(str(folder / "out"),),
        port=0,
        auth="off",
    )
    with serving(settings) as url, Client(url) as client:
        job = client.submit(parse_job_spec(json.dumps(LARGE)))
        work = ("--workers", str(NUM_WORKERS), "--output", settings.output_prefixes[0])
        with program("work", "--service", url, *work) as process:
            until(lambda: client.get(job.id).shards.leased == NUM_WORKERS, "nothing is leased")
            time.sleep(2.0)  # the actors are in the middle of their shards
            process.send_signal(signal.SIGTERM)
            seconds = until(lambda: process.poll() is not None, "the pool does not leave")
        return seconds, client.get(job.id).shards.leased


def main() -> int:
    """Measure, print; exit code 1 where an aim is missed."""
    with tempfile.TemporaryDirectory(prefix="programs-") as name:
        ready = ready_s(Path(name))
        print(f"synthforge up: ready after {ready:.1f} s (aim {READY_S:g})", flush=True)
        leave, num_leased = leave_s(Path(name))
        print(
            f"synthforge work: gone {leave:.1f} s after SIGTERM (aim {LEAVE_S:g}), "
            f"{num_leased} leases kept (aim 0)"
        )
    return 0 if ready <= READY_S and leave <= LEAVE_S and not num_leased else 1


if __name__ == "__main__":
    sys.exit(main())
