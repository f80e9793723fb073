"""Everything that a job needs, in processes that can be SIGKILLed and that come back by themselves.

Each part is killed by its own process id and started again after a while, on a thread of its own,
so that one part may die while another comes back.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any, Final

from benchmarks.ray_nodes import add_node
from tools.s3_server import RestartableS3
from workers.orphans import descendants

LONGEST_ABSENCE_S: Final = 1.0
_START_S: Final = 300.0  # a busy machine is slow to load Ray


class Part:
    """Something that runs, is killed, and comes back."""

    def __init__(self, name: str, random: Random) -> None:
        self.name = name
        self._random = random
        self._returning: threading.Thread | None = None
        self.failure: BaseException | None = None

    @property
    def is_up(self) -> bool:
        """Whether it stands, and can be killed."""
        return self._returning is None or not self._returning.is_alive()

    def strike(self) -> bool:
        """Kill it and have it come back; False if there is nothing to kill now.

        Raises:
            RuntimeError: it did not come back from the last time.
        """
        if not self.is_up:
            return False
        if self.failure is not None:
            raise RuntimeError(f"the {self.name} did not come back") from self.failure
        absence_s = self._random.uniform(0, LONGEST_ABSENCE_S)
        if not self._kill():
            return False
        self._returning = threading.Thread(target=self._return, args=(absence_s,), name=self.name)
        self._returning.start()
        return True

    def settle(self) -> None:
        """Wait until it is back."""
        if self._returning is not None:
            self._returning.join()

    def _return(self, absence_s: float) -> None:
        time.sleep(absence_s)
        try:
            self._start()
        except BaseException as error:  # kept for the thread that strikes
            self.failure = error

    def _kill(self) -> bool:
        raise NotImplementedError

    def _start(self) -> None:
        raise NotImplementedError


class Store(Part):
    """The S3 server."""

    def __init__(self, server: RestartableS3, random: Random) -> None:
        super().__init__("store", random)
        self._server = server

    def _kill(self) -> bool:
        self._server.kill()
        return True

    def _start(self) -> None:
        self._server.start()


class Program(Part):
    """A command of ours in a process of its own."""

    def __init__(
        self,
        name: str,
        arguments: list[str],
        log: Path,
        random: Random,
        is_ready: Callable[[], bool],
    ) -> None:
        """Start nothing yet.

        Args:
            name: of the part.
            arguments: of `synthforge`.
            log: file that its words are added to.
            random: decides how long it stays away.
            is_ready: whether it answers; not waited for when it comes back.
        """
        super().__init__(name, random)
        self._arguments = arguments
        self._log = log
        self._is_ready = is_ready
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Program:
        """Start it and wait until it answers."""
        self._start()
        end = time.monotonic() + _START_S
        while not self._is_ready():
            if time.monotonic() > end or (self._process and self._process.poll() is not None):
                raise RuntimeError(f"{self.name} did not start: see {self._log}")
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        """Ask it to leave, and wait."""
        self.settle()
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(15)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def _kill(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(f"{self.name} ended by itself: see {self._log}")
        self._process.kill()
        self._process.wait()
        return True

    def _start(self) -> None:
        command = [sys.executable, "-m", "synthforge", *self._arguments]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self._log.parent)


class RayNode(Part):
    """One of a cluster's nodes; a new one takes the place of a lost one, as on spot machines."""

    def __init__(self, cluster: Any, random: Random) -> None:
        super().__init__("node", random)
        self._cluster = cluster
        self._node = add_node(cluster)

    def _kill(self) -> bool:
        (raylet,) = self._node.all_processes["raylet"]
        os.kill(raylet.process.pid, signal.SIGKILL)
        return True

    def _start(self) -> None:
        # Bury the lost one's other processes first.
        self._cluster.remove_node(self._node, allow_graceful=False)
        self._node = add_node(self._cluster)


class Actors(Part):
    """The shard workers that Ray runs at the moment; the pool brings them back."""

    def __init__(self, random: Random) -> None:
        super().__init__("actor", random)

    def strike(self) -> bool:
        """Kill one of them; False if there is none."""
        return self._kill()

    def _kill(self) -> bool:
        living = sorted(pid for pid in descendants(os.getpid()) if _is_actor(pid))
        if not living:
            return False
        with suppress(ProcessLookupError):
            os.kill(self._random.choice(living), signal.SIGKILL)
            return True
        return False


def _is_actor(pid: int) -> bool:
    try:
        title = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return title.startswith(b"ray::Actor")


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens on."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port: int = held.getsockname()[1]
        return port
