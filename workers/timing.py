"""Where a worker's time goes, by stage: its threads', and the GPU's where it has one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock

from workers.gpu_clock import GpuClock, GpuEvent


class Stages:
    """Adds up the seconds of named stages; safe to use from several threads.

    A stage inside another is not counted twice: the outer one stands still meanwhile.
    """

    def __init__(self, whole: Stages | None = None, gpu: GpuClock | None = None) -> None:
        """Begin at nothing.

        Args:
            whole: of which these stages are a part; it adds them up too.
            gpu: times what runs on a GPU.
        """
        self._seconds: dict[str, float] = {}
        self._windows: dict[str, tuple[int, int]] = {}
        self._lock = Lock()
        self._whole = whole
        self._gpu = gpu
        self._open = threading.local()

    @contextmanager
    def timed(
        self,
        stage: str,
        clock: Callable[[], float] = time.thread_time,
        *,
        on_gpu: bool = False,
    ) -> Iterator[None]:
        """Add the time of the block to a stage.

        Args:
            stage: its name.
            clock: seconds; by default those of this thread's processor time.
            on_gpu: the block asks a GPU, where there is one; its time there is counted too.
        """
        stack: list[_Interval] = self._open.__dict__.setdefault("stack", [])
        outer = stack[-1] if stack else None
        if outer is not None:
            outer.stop()
        begun_ns = time.time_ns()
        own = _Interval(self, stage, clock, self._gpu if on_gpu else None)
        stack.append(own)
        own.start()
        try:
            yield
        finally:
            own.stop()
            stack.pop()
            self._note_window(stage, begun_ns, time.time_ns())
            if outer is not None:
                outer.start()

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

    @property
    def windows(self) -> dict[str, tuple[int, int]]:
        """Return when each stage first began and last ended, nanoseconds since 1970."""
        with self._lock:
            return dict(self._windows)

    def gpu_seconds(self) -> dict[str, float]:
        """Return the GPU's seconds of each stage so far; empty where none was asked.

        Waits for the GPU: call it when it has nothing left to do, on the thread that renders.
        """
        return {} if self._gpu is None else self._gpu.read()

    def _note_window(self, stage: str, begun_ns: int, ended_ns: int) -> None:
        with self._lock:
            first, last = self._windows.get(stage, (begun_ns, ended_ns))
            self._windows[stage] = (min(first, begun_ns), max(last, ended_ns))


class _Interval:
    """One block of a stage, which stands still while another stage runs inside it."""

    def __init__(
        self, stages: Stages, stage: str, clock: Callable[[], float], gpu: GpuClock | None
    ) -> None:
        self._stages = stages
        self._stage = stage
        self._clock = clock
        self._gpu = gpu
        self._begun = 0.0
        self._mark: GpuEvent | None = None

    def start(self) -> None:
        self._begun = self._clock()
        if self._gpu is not None:
            self._mark = self._gpu.mark()

    def stop(self) -> None:
        if self._gpu is not None and self._mark is not None:
            self._gpu.add(self._stage, self._mark)
        self._stages.add(self._stage, self._clock() - self._begun)
