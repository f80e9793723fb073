"""The leases that a worker has in the works: how far each is, and whether it is told to stop."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from workers.timing import Stages
from workers.trouble import Cancelled

# Tokens that were cancelled before they began, or after they ended: the last few are kept.
_MAX_CANCELLED_EARLY: Final = 64
_STEP_BYTES: Final = 1 << 20


@dataclass(frozen=True)
class Progress:
    """How far an execution is.

    Attributes:
        num_samples: made.
        num_rejected: draws that the gate refused.
        num_steps: work that ends no sample: MiB to the store and back, steps of a summary.
    """

    num_samples: int
    num_rejected: int
    num_steps: int = 0


@dataclass
class Execution:
    """One lease in the works: what the threads of a worker share of it.

    `waits_for_store`: what is left to do is done by the store's bytes, its own or those before it.
    """

    stages: Stages
    cancelled: threading.Event = field(default_factory=threading.Event)
    num_samples: int = 0
    num_rejected: int = 0
    num_steps: int = 0
    waits_for_store: bool = False

    def check(self) -> None:
        """Raise Cancelled if it is told to stop."""
        if self.cancelled.is_set():
            raise Cancelled

    def step(self) -> None:
        """Note work that ends no sample."""
        self.num_steps += 1


class Executions:
    """What a worker has in the works, by token; called by several threads."""

    def __init__(self) -> None:
        self._held: dict[str, Execution] = {}
        self._cancelled_early: deque[str] = deque(maxlen=_MAX_CANCELLED_EARLY)
        self._lock = threading.Lock()
        self._num_bytes = 0

    def begin(self, token: str, stages: Stages) -> Execution:
        """Take an execution in; one that was cancelled before stops at its first check."""
        execution = Execution(stages)
        with self._lock:
            if token in self._cancelled_early:
                execution.cancelled.set()
            self._held[token] = execution
        return execution

    def end(self, token: str) -> None:
        """Forget an execution; none there is fine."""
        self._held.pop(token, None)

    def cancel(self, token: str) -> None:
        """Tell an execution to stop, also one that has not begun."""
        with self._lock:
            execution = self._held.get(token)
            if execution is None:
                self._cancelled_early.append(token)
            else:
                execution.cancelled.set()

    def check(self, token: str) -> None:
        """Raise Cancelled if an execution is told to stop."""
        execution = self._held.get(token)
        if execution is not None:
            execution.check()

    def count_bytes(self, num_bytes: int) -> None:
        """Note what went to a store or came from it: two threads at once may lose a little."""
        self._num_bytes += num_bytes

    def progress(self) -> dict[str, Progress]:
        """Return how far each is. A shard that is made waits for the uploads before its own."""
        return {
            token: Progress(
                each.num_samples,
                each.num_rejected,
                each.num_steps + (self._num_bytes // _STEP_BYTES if each.waits_for_store else 0),
            )
            for token, each in list(self._held.items())
        }
