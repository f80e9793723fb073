"""The verbs of retention: what is old enough to go, and letting it go."""

from __future__ import annotations

from typing import Final

from sqlalchemy import ColumnElement, Select, delete, exists, func, or_, select, update

from service.database import Database, database_now
from service.store.rows import JobRow, job_row
from service.tables import deliveries, events, job_logs, jobs, rates, shards
from synthforge.job_status import JobState

_FINAL: Final = [state.value for state in JobState if state.is_final]
_HAS_ENDED: Final = jobs.c.state.in_(_FINAL)
_HAS_DATASET: Final = (jobs.c.state == JobState.SUCCEEDED.value) & jobs.c.deleted_at.is_(None)
_HAS_NOTHING: Final = jobs.c.clearing.is_(None) & or_(
    (jobs.c.state != JobState.SUCCEEDED.value) & (jobs.c.next_position == 0),
    jobs.c.deleted_at.is_not(None),
)


class RetentionVerbs:
    """What `synthforge gc` asks of the database; all ages in seconds since a job's end.

    A job may be retried since it was read: what runs again keeps all that it has.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def with_old_events(self, kept_s: float) -> list[JobRow]:
        """Read the jobs that ended so long ago and still have events, or a log."""
        has_events = exists().where(events.c.job_num == jobs.c.num)
        has_log = exists().where(job_logs.c.job_num == jobs.c.num)
        return self._ended(kept_s, or_(has_events, has_log))

    def drop_events(self, job_num: int) -> None:
        """Forget what happened to a job, and its log; its latest sequence number stays."""
        ended = select(jobs.c.num).where(jobs.c.num == job_num, _HAS_ENDED).with_for_update()
        with self._database.write() as tx:
            for num in tx.connection.scalars(ended).all():
                tx.connection.execute(delete(events).where(events.c.job_num == num))
                tx.connection.execute(delete(job_logs).where(job_logs.c.job_num == num))

    def num_old_deliveries(self, kept_s: float) -> int:
        """Count the webhook deliveries that were taken or given up so long ago."""
        query = select(func.count()).select_from(deliveries).where(*_old_deliveries(kept_s))
        with self._database.read() as connection:
            return connection.scalar(query) or 0

    def drop_deliveries(self, kept_s: float) -> None:
        """Forget them."""
        with self._database.write() as tx:
            tx.connection.execute(delete(deliveries).where(*_old_deliveries(kept_s)))

    def num_old_rates(self, kept_s: float) -> int:
        """Count the kinds of samples that were made so long ago at last."""
        query = select(func.count()).select_from(rates).where(_old_rates(kept_s))
        with self._database.read() as connection:
            return connection.scalar(query) or 0

    def drop_rates(self, kept_s: float) -> None:
        """Forget what they cost."""
        with self._database.write() as tx:
            tx.connection.execute(delete(rates).where(_old_rates(kept_s)))

    def unfinished(self, kept_s: float) -> list[JobRow]:
        """Read the failed and cancelled jobs that left something in the store so long ago."""
        failed = jobs.c.state.in_([JobState.FAILED.value, JobState.CANCELLED.value])
        return self._ended(kept_s, failed & (jobs.c.next_position > 0) & jobs.c.clearing.is_(None))

    def settled_datasets(self, settled_s: float) -> list[JobRow]:
        """Read, of each prefix where nobody works, the last job that made its dataset.

        Left out are those beside which nothing was found, unless a job there ended so lately that
        an upload of its may have come since.
        """
        other = jobs.alias()
        is_outdone = exists().where(
            other.c.output_url == jobs.c.output_url,
            other.c.num != jobs.c.num,
            or_(
                other.c.state.not_in(_FINAL),
                other.c.clearing.is_not(None),
                (other.c.state == JobState.SUCCEEDED.value) & (other.c.num > jobs.c.num),
            ),
        )
        has_news = exists().where(
            other.c.output_url == jobs.c.output_url, other.c.told_at > jobs.c.swept_at - settled_s
        )
        is_due = jobs.c.swept_at.is_(None) | has_news
        is_free = jobs.c.clearing.is_(None) & ~is_outdone
        return self._ended(settled_s, _HAS_DATASET & is_free & is_due)

    def note_swept(self, job_num: int) -> None:
        """Say that nothing was found beside a dataset."""
        with self._database.write() as tx:
            swept = update(jobs).where(jobs.c.num == job_num).values(swept_at=tx.now)
            tx.connection.execute(swept)

    def cleared_prefixes(self, settled_s: float) -> list[str]:
        """Read the prefixes whose jobs' objects were deleted so long ago, and no job has since."""
        with self._database.read() as connection:
            return list(connection.scalars(_cleared(settled_s)))

    def is_cleared(self, url: str, settled_s: float) -> bool:
        """Tell whether a prefix is one of them still."""
        with self._database.read() as connection:
            found = connection.scalars(_cleared(settled_s).where(jobs.c.output_url == url))
            return found.first() is not None

    def with_old_shards(self, kept_s: float) -> list[JobRow]:
        """Read the jobs whose dataset stands so long: its manifest has what the rows have."""
        has_shards = exists().where(shards.c.job_num == jobs.c.num)
        return self._ended(kept_s, _HAS_DATASET & has_shards)

    def drop_shards(self, job_num: int) -> None:
        """Forget the rows of a job's shards."""
        with self._database.write() as tx:
            tx.connection.execute(delete(shards).where(shards.c.job_num == job_num))

    def forgettable(self, kept_s: float) -> list[JobRow]:
        """Read the jobs that ended so long ago and have nothing in the store."""
        return self._ended(kept_s, _HAS_NOTHING)

    def forget(self, job_num: int) -> None:
        """Forget a job, and all that is known of it."""
        with self._database.write() as tx:
            mine = (jobs.c.num == job_num, _HAS_ENDED, _HAS_NOTHING)
            tx.connection.execute(delete(jobs).where(*mine))

    def _ended(self, age_s: float, *conditions: ColumnElement[bool]) -> list[JobRow]:
        query = (
            select(jobs)
            .where(_HAS_ENDED, jobs.c.finished_at < database_now() - age_s)
            .where(*conditions)
            .order_by(jobs.c.num)
        )
        with self._database.read() as connection:
            return [job_row(row) for row in connection.execute(query)]


def _cleared(settled_s: float) -> Select[tuple[str]]:
    other = jobs.alias()
    has_something = or_(
        other.c.state.not_in(_FINAL),
        other.c.clearing.is_not(None),
        (other.c.next_position > 0) & other.c.deleted_at.is_(None),
    )
    before = database_now() - settled_s
    return (
        select(jobs.c.output_url)
        .where((jobs.c.cleared_at < before) | (jobs.c.deleted_at < before))
        .where(~exists().where(other.c.output_url == jobs.c.output_url, has_something))
        .distinct()
        .order_by(jobs.c.output_url)
    )


def _old_rates(kept_s: float) -> ColumnElement[bool]:
    return rates.c.noted_at < database_now() - kept_s


def _old_deliveries(kept_s: float) -> tuple[ColumnElement[bool], ...]:
    return (
        deliveries.c.state.in_(["taken", "dead"]),
        deliveries.c.created_at < database_now() - kept_s,
    )
