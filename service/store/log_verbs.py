"""The verbs of jobs' logs: lines are added under the job's lock, and the oldest make room."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import bindparam, delete, func, insert, select

from service import log_bounds
from service.database import Database, Transaction
from service.errors import UnknownJobError
from service.store.changes import lock_job
from service.store.rows import LogRow
from service.tables import job_logs, jobs
from synthforge.job_logs import LogLevel, levels_from

SERVICE: Final = "service"  # in place of a pool's name
_ROW_BYTES: Final = 100  # of a line beside its message, about

_NUMS_OF_IDS: Final = select(jobs.c.id, jobs.c.num).where(
    jobs.c.id.in_(bindparam("ids", expanding=True))
)
_OF_JOB: Final = job_logs.c.job_num == bindparam("job")
_SIZE: Final = select(
    func.coalesce(func.max(job_logs.c.seq), 0),
    func.count(),
    func.coalesce(func.sum(job_logs.c.num_bytes), 0),
).where(_OF_JOB)
_SIZES: Final = (
    select(job_logs.c.seq, job_logs.c.num_bytes).where(_OF_JOB).order_by(job_logs.c.seq.desc())
)
_CUT: Final = delete(job_logs).where(_OF_JOB, job_logs.c.seq <= bindparam("last"))
_INSERT: Final = insert(job_logs)
_PAGE: Final = (
    select(job_logs)
    .where(
        _OF_JOB,
        job_logs.c.seq > bindparam("after"),
        job_logs.c.level.in_(bindparam("levels", expanding=True)),
    )
    .order_by(job_logs.c.seq)
    .limit(bindparam("limit"))
)
_NUM_AND_FIRST: Final = (
    select(jobs.c.num, func.min(job_logs.c.seq))
    .outerjoin(job_logs, job_logs.c.job_num == jobs.c.num)
    .where(jobs.c.id == bindparam("id"))
    .group_by(jobs.c.num)
)


@dataclass(frozen=True)
class NewLine:
    """A line to be kept; no secret is in it."""

    at: float
    level: LogLevel
    message: str
    pool: str
    shard: str | None = None
    token: str | None = None


class LogVerbs:
    """What the service asks of its database about jobs' logs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def nums_of(self, job_ids: Sequence[str]) -> dict[str, int]:
        """Return the numbers of the jobs that there are, by id."""
        with self._database.read() as connection:
            rows = connection.execute(_NUMS_OF_IDS, {"ids": sorted(set(job_ids))})
            return {str(job_id): int(num) for job_id, num in rows}

    def add(self, job_num: int, lines: Sequence[NewLine]) -> None:
        """Keep lines of a job; the oldest go where there are too many."""
        with self._database.write() as tx:
            lock_job(tx, job_num)
            add_lines(tx, job_num, lines)

    def page(
        self, job_id: str, after: int, least: LogLevel, limit: int
    ) -> tuple[list[LogRow], int]:
        """Read lines of a job, the oldest first, and how many were dropped before them all.

        Raises:
            UnknownJobError: there is no such job.
        """
        with self._database.read() as connection:
            found = connection.execute(_NUM_AND_FIRST, {"id": job_id}).first()
            if found is None:
                raise UnknownJobError(job_id)
            num, first = found
            wanted = {"job": num, "after": after, "levels": levels_from(least), "limit": limit}
            rows = [LogRow(*row) for row in connection.execute(_PAGE, wanted)]
        return rows, 0 if first is None else first - 1


def add_lines(tx: Transaction, job_num: int, lines: Sequence[NewLine]) -> None:
    """Keep lines of a job that is locked."""
    last, num_lines, num_bytes = tx.connection.execute(_SIZE, {"job": job_num}).one()
    rows = [
        vars(line)
        | {"job_num": job_num, "seq": seq, "num_bytes": _ROW_BYTES + len(line.message.encode())}
        for seq, line in enumerate(lines, start=last + 1)
    ]
    tx.connection.execute(_INSERT, rows)
    if log_bounds.is_over(num_lines + len(rows), num_bytes + sum(row["num_bytes"] for row in rows)):
        sizes = tx.connection.execute(_SIZES, {"job": job_num}).all()
        dropped = sizes[log_bounds.num_kept(row.num_bytes for row in sizes) :]
        tx.connection.execute(_CUT, {"job": job_num, "last": dropped[0].seq})
