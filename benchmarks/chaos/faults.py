"""When to strike and what: at random moments of a job at work, as often as was asked."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final

from benchmarks.chaos.world import Part
from synthforge.job_status import JobStatus

# Of each 30 faults. An actor, and with it a pool or a node, is dear: it loads its kernels anew.
SHARES: Final = {"actor": 8, "service": 8, "pool": 2, "node": 3, "store": 9}
LONGEST_GAP_S: Final = 1.5
BURST_SHARE: Final = 0.25  # of the faults come right after the one before, while that still hurts
PATIENCE_S: Final = 8.0  # without a commit for so long, the next fault comes all the same


@dataclass(frozen=True)
class Strike:
    """A part that was killed: when, and how many shards were in the store then."""

    at_s: float
    part: str
    num_done: int
    state: str


@dataclass
class Striker:
    """Kills parts while a job is made."""

    parts: Sequence[Part]
    num_faults: int
    random: Random
    history: list[Strike] = field(default_factory=list)
    _deck: list[str] = field(default_factory=list)

    @property
    def counts(self) -> Counter[str]:
        """How often each part was killed."""
        return Counter(strike.part for strike in self.history)

    def run(self, look: Callable[[], JobStatus | None], started_s: float, limit_s: float) -> None:
        """Strike until enough was struck, or the job has ended.

        Most faults wait for a shard to be committed after the one before: they are to hit parts at
        work, not parts that are only coming back. As the job runs out of shards they come faster.

        Args:
            look: returns how the job stands; None while nobody can say.
            started_s: of the monotonic clock; the history counts from it.
            limit_s: how long it may take.
        """
        status = _seen(look, None)
        while status is None or not status.state.is_final:
            if len(self.history) >= self.num_faults:
                return
            self._wait_for_work(look, status, limit_s)
            status = _seen(look, status)
            if status is not None and status.state.is_final:
                return
            self._strike(status, started_s)

    def _wait_for_work(
        self, look: Callable[[], JobStatus | None], status: JobStatus | None, limit_s: float
    ) -> None:
        if self.history and self.random.random() < BURST_SHARE:
            time.sleep(self.random.uniform(0, 0.3))
            return
        num_before = status.shards.done if status is not None else 0
        num_left = status.shards.total - num_before if status is not None else 1
        haste = min(1.0, 2 * num_left / max(1, self.num_faults - len(self.history)))
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < min(end, limit_s):
            now = look()
            if now is not None and (now.shards.done > num_before or now.state.is_final):
                break
            time.sleep(0.05)
        time.sleep(self.random.uniform(0, LONGEST_GAP_S * haste))

    def _strike(self, status: JobStatus | None, started_s: float) -> None:
        part = self._struck()
        num_done = status.shards.done if status is not None else 0
        state = status.state.value if status is not None else "?"
        self.history.append(Strike(time.monotonic() - started_s, part.name, num_done, state))

    def _struck(self) -> Part:
        """Kill the next part of a shuffled deck that stands."""
        if not self._deck:
            self._deck = [kind for kind, share in SHARES.items() for _ in range(share)]
            self.random.shuffle(self._deck)
        while True:
            for kind in dict.fromkeys(self._deck):
                alike = [part for part in self.parts if part.name == kind]
                self.random.shuffle(alike)
                for part in alike:
                    if part.strike():
                        self._deck.remove(kind)
                        return part
            time.sleep(0.02)


def _seen(look: Callable[[], JobStatus | None], before: JobStatus | None) -> JobStatus | None:
    """Return how the job stands; where nobody can say, how it stood."""
    return look() or before
