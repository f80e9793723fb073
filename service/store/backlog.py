"""How much work waits: what nobody had yet, and what was given back."""

from __future__ import annotations

from collections import Counter
from typing import Final

from sqlalchemy import Connection, case, func, select

from service.store.turns import SUMMARY_IS_DUE
from service.tables import IS_LEASABLE, IS_OPEN, jobs, shards

_NUM_FRESH: Final = (
    select(
        jobs.c.generator,
        func.sum(
            case(
                (SUMMARY_IS_DUE, 1),
                (
                    jobs.c.next_position < jobs.c.num_shards,
                    jobs.c.num_shards - jobs.c.next_position,
                ),
                else_=0,
            )
        ),
    )
    .where(IS_LEASABLE)
    .group_by(jobs.c.generator)
)
_NUM_OPEN: Final = (
    select(jobs.c.generator, func.count())
    .join(shards, shards.c.job_num == jobs.c.num)
    .where(IS_LEASABLE, IS_OPEN)
    .group_by(jobs.c.generator)
)


def count_waiting(connection: Connection) -> dict[str, int]:
    """Count the pieces of work that nobody holds, by generator; 0 of those with live jobs too."""
    counts: Counter[str] = Counter()
    for query in (_NUM_FRESH, _NUM_OPEN):
        for generator, number in connection.execute(query):
            counts[generator] += int(number)
    return dict(counts)
