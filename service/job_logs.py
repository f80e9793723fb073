"""Logs of jobs: pools tell what they and their actors logged; whoever may read a job reads it."""

from __future__ import annotations

from service.store import Store
from service.store.log_verbs import NewLine
from synthforge.job_logs import LogBatch, one_line
from synthforge.redaction import redacted


def keep(store: Store, batch: LogBatch) -> int:
    """Keep the lines of the jobs that there are; return how many.

    What a pool should have struck out is struck out here too. A transaction a job: none locks two.
    """
    by_job: dict[str, list[NewLine]] = {}
    for line in batch.lines:
        by_job.setdefault(line.job_id, []).append(
            NewLine(
                at=line.at,
                level=line.level,
                message=redacted(one_line(line.message)),
                pool=batch.pool,
                shard=line.shard,
                token=line.token,
            )
        )
    nums = store.logs.nums_of(list(by_job))
    for job_id, num in nums.items():
        store.logs.add(num, by_job[job_id])
    return sum(len(by_job[job_id]) for job_id in nums)
