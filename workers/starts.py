"""When a pool may start actors, and on which nodes it had rather not: pure, but for its clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

FIRST_BACK_OFF_S: Final = 1.0
LONGEST_BACK_OFF_S: Final = 60.0
SHUNNED_S: Final = 600.0  # a disk may be cleared, a neighbour's memory given back


class Starts:
    """Remembers which starts went well: one bad node ends no pool, and is not asked in a loop."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Know nothing yet; `clock` gives seconds that only rise."""
        self._clock = clock
        self._num_failed = 0
        self._not_before = 0.0
        self._trouble_at: dict[str, float] = {}
        self.any_went_well = False

    @property
    def is_due(self) -> bool:
        """Whether another actor may be started; none while the first ones are not known to work."""
        if self._num_failed and not self.any_went_well:
            return False
        return self._clock() >= self._not_before

    def went_well(self) -> None:
        """Note that an actor is warm."""
        self.any_went_well = True
        self._num_failed, self._not_before = 0, 0.0

    def failed(self) -> None:
        """Note that an actor could not start."""
        wait_s = min(FIRST_BACK_OFF_S * 2.0 ** min(self._num_failed, 30), LONGEST_BACK_OFF_S)
        self._num_failed += 1
        self._not_before = self._clock() + wait_s

    def shun(self, node: str) -> None:
        """Note that a node lacks something."""
        self._trouble_at[node] = self._clock()

    def shunned(self) -> tuple[str, ...]:
        """Return the nodes that had trouble a short while ago."""
        end = self._clock() - SHUNNED_S
        self._trouble_at = {node: at for node, at in self._trouble_at.items() if at > end}
        return tuple(sorted(self._trouble_at))
