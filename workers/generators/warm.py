"""Generators that are kept open between jobs, as many as memory has room for."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Final, Generic, TypeVar

import torch

ROOM: Final = 0.25  # of the memory: another generator is opened once so much of it is free

T = TypeVar("T")


class Warm(Generic[T]):
    """Holds what was opened; the longest unused goes first when memory runs short."""

    def __init__(self, free_share: Callable[[], float], room: float = ROOM) -> None:
        """Hold nothing yet.

        Args:
            free_share: how much of the memory is free, in [0, 1].
            room: what has to be free before another is opened.
        """
        self._free_share = free_share
        self._room = room
        self._held: dict[Hashable, T] = {}  # the longest unused first
        self._lock = threading.Lock()

    def get(self, key: Hashable, open_: Callable[[], T]) -> T:
        """Return what is held under a key, or open it; two threads do not open it twice."""
        with self._lock:
            if key in self._held:
                self._held[key] = self._held.pop(key)
                return self._held[key]
            while self._held and self._free_share() < self._room:
                del self._held[next(iter(self._held))]
                _give_back_memory()
            self._held[key] = open_()
            return self._held[key]

    def clear(self) -> None:
        """Let go of all."""
        with self._lock:
            self._held.clear()
            _give_back_memory()


def free_memory_share(root: Path = Path("/")) -> float:
    """Return how much is free, in [0, 1], of this machine's memory, its container's or its GPU's.

    The scarcest counts. Where Linux does not tell, as much as is asked for is taken to be free.
    """
    shares = [_machine_share(root), _container_share(root)]
    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        shares.append(free / total)
    return min(shares)


def _machine_share(root: Path) -> float:
    """proc(5): MemAvailable counts what the kernel can free without swapping."""
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
    except OSError:
        return 1.0
    fields = {
        name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)
    }
    return fields["MemAvailable"] / fields["MemTotal"]


def _container_share(root: Path) -> float:
    """Control groups, version 2: files that were read and are not in use can be let go of."""
    folder = root / "sys/fs/cgroup"
    try:
        limit = int((folder / "memory.max").read_text())
        used = int((folder / "memory.current").read_text())
        stat = (folder / "memory.stat").read_text().split()
    except (OSError, ValueError):  # no container, or one without a limit: "max"
        return 1.0
    evictable = int(stat[stat.index("inactive_file") + 1])
    return max(0.0, 1 - (used - evictable) / limit)


def _give_back_memory() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
