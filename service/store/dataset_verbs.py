"""The verbs of a dataset that is being finished: its committed rows, and the last change."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import select

from service.database import Database
from service.store.changes import change_job, lock_job
from service.store.rows import JobRow, job_row
from service.tables import fingerprints, jobs, shards
from synthforge.job_status import JobState

_ROWS_AT_ONCE = 1000


class DatasetVerbs:
    """What the service asks of its database to write a manifest."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def awaiting_manifest(self) -> list[JobRow]:
        """Read the jobs whose shards and summary all lie in the store, the oldest first."""
        query = select(jobs).where(
            jobs.c.state == JobState.FINALIZING.value, jobs.c.files.is_not(None)
        )
        with self._database.read() as connection:
            return [job_row(row) for row in connection.execute(query.order_by(jobs.c.num))]

    def records(self, job_num: int) -> Iterator[tuple[int, str]]:
        """Yield position and record (JSON) of every committed shard, in order of position."""
        after = -1
        while page := self.records_page(job_num, after, _ROWS_AT_ONCE):
            yield from page
            after = page[-1][0]

    def records_page(self, job_num: int, after: int, limit: int) -> list[tuple[int, str]]:
        """Read position and record of committed shards behind a position."""
        query = (
            select(shards.c.position, shards.c.record)
            .where(shards.c.job_num == job_num, shards.c.kind == "shard", shards.c.state == "done")
            .where(shards.c.position > after)
            .order_by(shards.c.position)
            .limit(limit)
        )
        with self._database.read() as connection:
            return [(position, record) for position, record in connection.execute(query)]

    def fingerprints(self, job_num: int) -> list[tuple[str, str, str]]:
        """Read id, fingerprint and generator's info (both JSON), in order of id.

        Of committed shards alone: others may have been made, and lost or deleted since.
        """
        named = (
            select(shards.c.fingerprint)
            .where(shards.c.job_num == job_num, shards.c.kind == "shard", shards.c.state == "done")
            .distinct()
        )
        query = (
            select(fingerprints.c.id, fingerprints.c.fingerprint, fingerprints.c.generator)
            .where(fingerprints.c.job_num == job_num, fingerprints.c.id.in_(named))
            .order_by(fingerprints.c.id)
        )
        with self._database.read() as connection:
            return [(row.id, row.fingerprint, row.generator) for row in connection.execute(query)]

    def succeed(self, job_num: int, digest: str) -> bool:
        """Say that the manifest lies in the store; one replica of several is the first."""
        return self._end(job_num, {"state": JobState.SUCCEEDED.value, "digest": digest})

    def fail(self, job_num: int, reason: str) -> bool:
        """Say that the manifest cannot be written, and why."""
        return self._end(job_num, {"state": JobState.FAILED.value, "reason": reason})

    def _end(self, job_num: int, values: dict[str, str]) -> bool:
        with self._database.write() as tx:
            job = lock_job(tx, job_num)
            if job.state is not JobState.FINALIZING:
                return False
            change_job(tx, job, **values)
            return True
