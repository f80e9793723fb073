"""The verbs of jobs: submit, read, list, watch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import bindparam, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from service.database import Database, Transaction
from service.errors import KeyReusedError, UnknownJobError
from service.statements import Prepared
from service.store import usage
from service.store.changes import record_event
from service.store.prefixes import check_prefix_is_free
from service.store.rows import EventRow, JobRow, job_row
from service.tables import IS_LEASED, LIVE_STATES, events, jobs, shards
from synthforge.job_status import JobState

_INSERT: Final = Prepared(insert(jobs).returning(jobs))
_BY_ID: Final = Prepared(select(jobs).where(jobs.c.id == bindparam("id")))
_OWNER_OF_ID: Final = Prepared(select(jobs.c.owner).where(jobs.c.id == bindparam("id")))
_BY_KEY: Final = Prepared(
    select(jobs).where(
        jobs.c.owner == bindparam("owner"), jobs.c.idempotency_key == bindparam("key")
    )
)
_FORGET_KEY: Final = update(jobs).where(jobs.c.num == bindparam("job")).values(idempotency_key=None)
_HAS_LEFT: Final = (
    select(jobs.c.num)
    .where(jobs.c.output_url == bindparam("url"))
    .where((jobs.c.next_position > 0) | jobs.c.cleared_at.is_not(None))
    .limit(1)
)
_NUM_BY_STATE: Final = select(jobs.c.state, func.count()).group_by(jobs.c.state)
_NUM_WAITING: Final = select(
    func.sum(jobs.c.num_shards - jobs.c.num_done - jobs.c.num_set_aside)
).where(jobs.c.state.in_(LIVE_STATES))
_NUM_LEASED: Final = (
    select(func.count()).select_from(shards).where(IS_LEASED, shards.c.kind == "shard")
)
_EVENTS: Final = Prepared(
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
        is_exact: the job keeps to the fingerprint of its first lease.
        owner: id of the key that orders it; '' without keys.
        fingerprint: that an exact job keeps to; by default that of its first lease.
        base: JSON of the dataset that it adds to.
        request_id: of the request that made it.
        traceparent: of that request's span.
    """

    id: str
    spec: str
    generator: str
    output_url: str
    num_samples: int
    num_shards: int
    is_exact: bool = False
    idempotency_key: str | None = None
    owner: str = ""
    priority: int = 0
    fingerprint: str | None = None
    base: str | None = None
    request_id: str | None = None
    traceparent: str | None = None


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
            QuotaExceededError: a limit of the owner's is used up.
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
            check_prefix_is_free(tx, new.output_url)
            usage.take_place(tx, new.owner, new.num_samples)
            return insert_job(tx, new), True

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
        with self._database.session() as session:
            row = session.row(_BY_ID, {"id": job_id})
        if row is None:
            raise UnknownJobError(job_id)
        return job_row(row)

    def owner_of(self, job_id: str) -> str | None:
        """Read whose a job is; None where there is none of that id."""
        with self._database.session() as session:
            row = session.row(_OWNER_OF_ID, {"id": job_id})
        return None if row is None else str(row[0])

    def has_left(self, url: str) -> bool:
        """Tell whether a job wrote to a prefix.

        Though it was deleted since: an upload that was under way may have come after that.
        """
        with self._database.read() as connection:
            return connection.scalar(_HAS_LEFT, {"url": url}) is not None

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

    def events(self, job_num: int, after: int, limit: int) -> list[EventRow]:
        """Read what happened to a job after a sequence number."""
        with self._database.session() as session:
            rows = session.rows(_EVENTS, {"job": job_num, "after": after, "limit": limit})
        return [EventRow(*row) for row in rows]

    def count_by_state(self) -> dict[str, int]:
        """Count the jobs in each state, by the index alone: in a year there are many."""
        with self._database.read() as connection:
            return {str(state): int(num) for state, num in connection.execute(_NUM_BY_STATE)}

    def count_shards(self) -> tuple[int, int]:
        """Count the shards of live jobs that are not in the store, and those that are leased."""
        with self._database.read() as connection:
            waiting, leased = (connection.scalar(query) for query in (_NUM_WAITING, _NUM_LEASED))
        return int(waiting or 0), int(leased or 0)


def insert_job(tx: Transaction, new: NewJob) -> JobRow:
    """Keep a new job whose prefix is free, and tell that it is there."""
    job = job_row(tx.session.one(_INSERT, _first_values(new, tx.now)))
    record_event(tx, job, "state")
    return job


def _earlier(tx: Transaction, new: NewJob, kept_s: float) -> JobRow | None:
    """Find the job that the same key made; a key that is too old is free again."""
    if new.idempotency_key is None:
        return None
    found = {"owner": new.owner, "key": new.idempotency_key}
    row = tx.session.row(_BY_KEY, found)
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
        "fingerprint": (new.fingerprint or "") if new.is_exact else None,
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
        "num_bytes": 0,
        "base": new.base,
        "request_id": new.request_id,
        "traceparent": new.traceparent,
    }
