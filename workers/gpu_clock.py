"""How long a GPU was at each stage, by events on its stream: the host never waits for them.

Two events stand around the work of a stage and are read once the GPU has passed them, at the
latest at a shard's end, when its pictures are on the host and nothing is left to wait for. What
lies between them is the stream's own time: kernels, copies, and the gaps that the host leaves.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

import torch

_LOOK_FROM: Final = 256  # so many intervals wait until it is looked which can be read


class GpuEvent(Protocol):
    """A mark on a stream of the GPU, as `torch.cuda.Event` is."""

    def record(self) -> None:
        """Put the mark behind what was asked of the GPU so far."""

    def query(self) -> bool:
        """Tell, at once, whether the GPU has passed it."""

    def synchronize(self) -> None:
        """Wait until the GPU has passed it."""

    def elapsed_time(self, end_event: Any) -> float:
        """Return the milliseconds from this mark to a later one; the GPU has passed both."""


class GpuClock:
    """Adds up the seconds of a GPU by stage; for the one thread that renders."""

    def __init__(self, make_event: Callable[[], GpuEvent]) -> None:
        self._make_event = make_event
        self._spare: list[GpuEvent] = []
        self._waiting: deque[tuple[str, GpuEvent, GpuEvent]] = deque()
        self._seconds: dict[str, float] = {}

    @classmethod
    def of(cls, device: torch.device) -> GpuClock | None:
        """Return the clock of a device; None where it is no GPU."""
        if device.type != "cuda":
            return None
        make: Callable[..., GpuEvent] = torch.cuda.Event
        return cls(lambda: make(enable_timing=True))

    def mark(self) -> GpuEvent:
        """Put a mark on the stream."""
        event = self._spare.pop() if self._spare else self._make_event()
        event.record()
        return event

    def add(self, stage: str, begin: GpuEvent) -> None:
        """Count what was asked of the GPU since a mark as a stage's; nothing is waited for."""
        self._waiting.append((stage, begin, self.mark()))
        if len(self._waiting) >= _LOOK_FROM:
            self._read_passed()

    def read(self) -> dict[str, float]:
        """Return the seconds of each stage so far; waits for the last of them."""
        if self._waiting:
            self._waiting[-1][2].synchronize()
        self._read_passed()
        return dict(self._seconds)

    def _read_passed(self) -> None:
        while self._waiting and self._waiting[0][2].query():
            stage, begin, end = self._waiting.popleft()
            elapsed_s = begin.elapsed_time(end) / 1000.0
            self._seconds[stage] = self._seconds.get(stage, 0.0) + elapsed_s
            self._spare += [begin, end]
