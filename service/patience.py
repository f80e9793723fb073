"""How long a loop waits with a job that failed: longer each time; no other job waits with it."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

FIRST_WAIT_S: Final = 1.0
LONGEST_WAIT_S: Final = 60.0


@dataclass
class _Trouble:
    num_failures: int = 0
    num_refusals: int = 0
    not_before: float = 0.0


class Patience:
    """What failed of each job, by its number, in this process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._troubles: dict[int, _Trouble] = {}

    def keep_only(self, job_nums: Collection[int]) -> None:
        """Forget all jobs but these."""
        self._troubles = {num: self._troubles[num] for num in job_nums if num in self._troubles}

    def is_due(self, job_num: int) -> bool:
        """Tell whether a job may be tried now."""
        trouble = self._troubles.get(job_num)
        return trouble is None or self._clock() >= trouble.not_before

    def failed(self, job_num: int, *, is_refusal: bool = False) -> float:
        """Count a failure; return after how many seconds the job is tried again."""
        trouble = self._troubles.setdefault(job_num, _Trouble())
        wait_s = min(FIRST_WAIT_S * 2.0 ** min(trouble.num_failures, 30), LONGEST_WAIT_S)
        trouble.num_failures += 1
        trouble.num_refusals = trouble.num_refusals + 1 if is_refusal else 0
        trouble.not_before = self._clock() + wait_s
        return wait_s

    def num_refusals(self, job_num: int) -> int:
        """Return how often, one after another, a job was refused."""
        trouble = self._troubles.get(job_num)
        return 0 if trouble is None else trouble.num_refusals
