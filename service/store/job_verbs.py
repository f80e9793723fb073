"""The verbs of jobs: submit, read, list, cancel, reorder, watch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import bindparam, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from service.database import Database, Transaction
from service.errors import (
    KeyReusedError,
    OutputTakenError,
    StateConflictError,
    UnknownJobError,
    field_error,
)
from service.store.changes import change_job, lock_job, record_event
from service.store.rows import EventRow, JobRow, job_row
from service.tables import events, jobs
from synthforge.jobs import JobState

# A job in these states holds its prefix: it writes there, or its dataset lies there.
_HOLDS_PREFIX: Final = tuple(
    state.value for state in JobState if state not in {JobState.FAILED, JobState.CANCELLED}
)

_INSERT: Final = insert(jobs).returning(jobs)
_BY_ID: Final = select(jobs).where(jobs.c.id == bindparam("id"))
_NUM_OF_ID: Final = select(jobs.c.num).where(jobs.c.id == bindparam("id"))
_BY_KEY: Final = select(jobs).where(
    jobs.c.owner == bindparam("owner"), jobs.c.idempotency_key == bindparam("key")
)
_FORGET_KEY: Final = update(jobs).where(jobs.c.num == bindparam("job")).values(idempotency_key=None)
# '0' follows '/': between the two lies all that is under the prefix, and nothing else.
_UNDER: Final = (jobs.c.output_url > bindparam("first")) & (jobs.c.output_url < bindparam("stop"))
_TAKEN: Final = (
    select(jobs.c.id, jobs.c.state, jobs.c.output_url)
    .where(or_(jobs.c.output_url.in_(bindparam("urls", expanding=True)), _UNDER))
    .where(jobs.c.state.in_(_HOLDS_PREFIX))
    .limit(1)
)
_EVENTS: Final = (
    select(events.c.seq, events.c.kind, events.c.data)
    .where(events.c.job_num == bindparam("job"), events.c.seq > bindparam("after"))
    .order_by(events.c.seq)
    .limit(bindparam("limit"))
)


@dataclass(frozen=True)
class NewJob:
    """A job to be: its spec is accepted and planned.

    Attributes:
        id: unique, made by the caller.
        spec: canonical JSON.
        enclosing_urls: every prefix that `output_url` lies under.
        is_exact: the job keeps to the fingerprint of its first lease.
        owner: whose Idempotency-Key it is.
    """

    id: str
    spec: str
    generator: str
    output_url: str
    enclosing_urls: tuple[str, ...]
    num_samples: int
    num_shards: int
    is_exact: bool = False
    idempotency_key: str | None = None
    owner: str = ""
    priority: int = 0


class JobVerbs:
    """What the service asks of its database about jobs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def submit(self, new: NewJob, idempotency_kept_s: float) -> tuple[JobRow, bool]:
        """Keep a new job, or find the one that this Idempotency-Key made before.

        Returns:
            The job, and whether it is new.

        Raises:
            KeyReusedError: the key came with another spec before.
            OutputTakenError: a job has the prefix, or one that encloses it or lies under it.
        """
        try:
            return self._submit(new, idempotency_kept_s)
        except IntegrityError:
            # PostgreSQL: another replica committed the same key in between; now it is found.
            return self._submit(new, idempotency_kept_s)

    def _submit(self, new: NewJob, idempotency_kept_s: float) -> tuple[JobRow, bool]:
        with self._database.write() as tx:
            self._database.serialize_submissions(tx)
            earlier = _earlier(tx, new, idempotency_kept_s)
            if earlier is not None:
                return earlier, False
            _check_prefix_is_free(tx, new)
            first = _first_values(new, tx.now)
            job = job_row(tx.connection.execute(_INSERT, first).one())
            record_event(tx, job, "state")
            return job, True

    def earlier(self, new: NewJob, idempotency_kept_s: float) -> JobRow | None:
        """Find the job that the same Idempotency-Key made before, if it is still remembered.

        Raises:
            KeyReusedError: the key came with another spec before.
        """
        if new.idempotency_key is None:
            return None
        with self._database.write() as tx:
            return _earlier(tx, new, idempotency_kept_s)

    def get(self, job_id: str) -> JobRow:
        """Read a job.

        Raises:
            UnknownJobError: there is none of that id.
        """
        with self._database.read() as connection:
            row = connection.execute(_BY_ID, {"id": job_id}).first()
        if row is None:
            raise UnknownJobError(job_id)
        return job_row(row)

    def page(
        self, limit: int, before: int | None = None, states: Sequence[JobState] = ()
    ) -> list[JobRow]:
        """Read jobs, the newest first, of those made before the job numbered `before`."""
        query = select(jobs).order_by(jobs.c.num.desc()).limit(limit)
        if before is not None:
            query = query.where(jobs.c.num < before)
        if states:
            query = query.where(jobs.c.state.in_([state.value for state in states]))
        with self._database.read() as connection:
            return [job_row(row) for row in connection.execute(query)]

    def set_priority(self, job_id: str, priority: int) -> JobRow:
        """Move a job before or behind others.

        Raises:
            UnknownJobError: there is none of that id.
            StateConflictError: the job has ended.
        """
        with self._database.write() as tx:
            job = _lock_by_id(tx, job_id)
            if job.priority == priority:
                return job
            if job.state.is_final:
                raise StateConflictError(job.id, job.state, "reordered")
            return change_job(tx, job, priority=priority)

    def cancel(self, job_id: str) -> JobRow:
        """Lease no more of a job; it is cancelled once nothing of it is leased.

        Raises:
            UnknownJobError: there is none of that id.
            StateConflictError: the job has ended otherwise, or its dataset is being finished.
        """
        with self._database.write() as tx:
            job = _lock_by_id(tx, job_id)
            if job.state in {JobState.CANCELLING, JobState.CANCELLED}:
                return job
            if job.state is JobState.FINALIZING or job.state.is_final:
                raise StateConflictError(job.id, job.state, "cancelled")
            state = JobState.CANCELLING if job.num_leased else JobState.CANCELLED
            return change_job(tx, job, state=state.value)

    def events(self, job_num: int, after: int, limit: int) -> list[EventRow]:
        """Read what happened to a job after a sequence number."""
        with self._database.read() as connection:
            rows = connection.execute(_EVENTS, {"job": job_num, "after": after, "limit": limit})
            return [EventRow(*row) for row in rows]

    def count_by_state(self) -> dict[str, tuple[int, int, int]]:
        """Count per state the jobs, their shards not yet done, and their leased shards."""
        waiting = jobs.c.num_shards - jobs.c.num_done - jobs.c.num_set_aside
        query = select(
            jobs.c.state, func.count(), func.sum(waiting), func.sum(jobs.c.num_leased)
        ).group_by(jobs.c.state)
        with self._database.read() as connection:
            return {
                str(state): (int(count), int(shards), int(leased))
                for state, count, shards, leased in connection.execute(query)
            }


def _lock_by_id(tx: Transaction, job_id: str) -> JobRow:
    num = tx.connection.scalar(_NUM_OF_ID, {"id": job_id})
    if num is None:
        raise UnknownJobError(job_id)
    return lock_job(tx, num)


def _earlier(tx: Transaction, new: NewJob, kept_s: float) -> JobRow | None:
    """Find the job that the same key made; a key that is too old is free again."""
    if new.idempotency_key is None:
        return None
    found = {"owner": new.owner, "key": new.idempotency_key}
    row = tx.connection.execute(_BY_KEY, found).first()
    if row is None:
        return None
    job = job_row(row)
    if tx.now - job.created_at > kept_s:
        tx.connection.execute(_FORGET_KEY, {"job": job.num})
        return None
    if job.spec != new.spec:
        raise KeyReusedError(
            f"Idempotency-Key {new.idempotency_key!r} made job {job.id} from another spec: "
            "send that spec again, or another key"
        )
    return job


def _check_prefix_is_free(tx: Transaction, new: NewJob) -> None:
    url = new.output_url
    parameters = {"urls": (url, *new.enclosing_urls), "first": f"{url}/", "stop": f"{url}0"}
    taken = tx.connection.execute(_TAKEN, parameters).first()
    if taken is not None:
        message = f"job {taken.id} ({taken.state}) has {taken.output_url}: a prefix apart would do"
        raise OutputTakenError(
            f"output.url is {new.output_url!r}: {message}",
            [field_error("output.url", new.output_url, message)],
        )


def _first_values(new: NewJob, now: float) -> dict[str, object]:
    return {
        "id": new.id,
        "owner": new.owner,
        "idempotency_key": new.idempotency_key,
        "state": JobState.QUEUED.value,
        "spec": new.spec,
        "generator": new.generator,
        "output_url": new.output_url,
        "priority": new.priority,
        "fingerprint": "" if new.is_exact else None,
        "num_samples": new.num_samples,
        "num_completed": 0,
        "num_rejected": 0,
        "num_shards": new.num_shards,
        "num_done": 0,
        "num_leased": 0,
        "num_set_aside": 0,
        "next_position": 0,
        "num_events": 1,
        "created_at": now,
        "told_at": now,
    }
