"""The very service that users run, as a process of its own, with keys and limits on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from service.database import Database
from service.keys import issue
from service.store import Store
from synthforge.keys import KeyRequest

NOT_REACHED: Final = 10**12  # limits that are counted, and not hit
_STOP_S: Final = 20.0


@dataclass(frozen=True)
class Served:
    """A running service.

    Attributes:
        host, port: where it listens.
        key: that may do everything, within limits.
        process_id: of the service.
        database_url: of its database.
    """

    host: str
    port: int
    key: str
    process_id: int
    database_url: str

    def cpu_s(self) -> float:
        """Return how much processor time the service has used."""
        fields = Path(f"/proc/{self.process_id}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # utime, stime

    def rss_mib(self) -> float:
        """Return how much memory the service holds now."""
        for line in Path(f"/proc/{self.process_id}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise RuntimeError("the service has ended")


@contextmanager
def served(folder: Path, database_url: str) -> Iterator[Served]:
    """Run `synthforge serve` for as long as the block runs."""
    database = Database(database_url)
    database.migrate()
    wanted = KeyRequest(
        name="load",
        scopes=("submit", "read", "worker"),
        max_jobs=NOT_REACHED,
        max_samples=NOT_REACHED,
        max_bytes=NOT_REACHED,
    )
    _, key = issue(Store(database), wanted)
    database.close()
    environment = {
        **os.environ,
        "SYNTHFORGE_DATABASE_URL": database_url,
        "SYNTHFORGE_OUTPUT_PREFIXES": str(folder / "datasets"),
        "SYNTHFORGE_PORT": "0",
        "SYNTHFORGE_RATE_LIMIT_PER_S": "100000",
    }
    command = [sys.executable, "-m", "synthforge", "serve"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        host, port = _listening(process)
        yield Served(host, port, key, process.pid, database_url)
    finally:
        process.terminate()
        process.wait(_STOP_S)


def _listening(process: subprocess.Popen[str]) -> tuple[str, int]:
    """Wait for the log's line with the URL, and throw the rest of the log away."""
    assert process.stderr is not None
    for text in process.stderr:
        line = json.loads(text)
        if line["message"] == "listening":
            threading.Thread(target=process.stderr.read, daemon=True).start()
            host, _, port = line["url"].removeprefix("http://").rpartition(":")
            return host, int(port)
    raise RuntimeError("the service did not start")
