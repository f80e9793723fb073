"""Where a worker's time goes, by stage."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock


class Stages:
    """Adds up the seconds of named stages; safe to use from several threads."""

    def __init__(self, whole: Stages | None = None) -> None:
        """Begin at nothing.

        Args:
            whole: of which these stages are a part; it adds them up too.
        """
        self._seconds: dict[str, float] = {}
        self._lock = Lock()
        self._whole = whole

    @contextmanager
    def timed(self, stage: str, clock: Callable[[], float] = time.thread_time) -> Iterator[None]:
        """Add the time of the block to a stage: the thread's CPU time, or that of another clock."""
        start = clock()
        try:
            yield
        finally:
            self.add(stage, clock() - start)

    def add(self, stage: str, elapsed_s: float) -> None:
        """Add seconds to a stage."""
        with self._lock:
            self._seconds[stage] = self._seconds.get(stage, 0.0) + elapsed_s
        if self._whole is not None:
            self._whole.add(stage, elapsed_s)

    @property
    def seconds(self) -> dict[str, float]:
        """Return the seconds of each stage so far."""
        with self._lock:
            return dict(self._seconds)
