"""Changing a job: always under the lock of its row, always told to those who watch it."""

from __future__ import annotations

import json
from typing import Any, Final

from sqlalchemy import insert, select, update

from service.database import Transaction
from service.errors import StaleLeaseError
from service.store.rows import JobRow, ShardRow, job_row, shard_row
from service.tables import events, jobs, shards
from synthforge.jobs import JobState

EVENT_SPACING_S: Final = 1.0  # progress is told at most so often: a million shards, few events
_LOCK_JOB: Final = select(jobs).with_for_update()


def lock_job(tx: Transaction, num: int) -> JobRow:
    """Read a job and keep others from changing it, or any of its shards, until the commit."""
    row = tx.connection.execute(_LOCK_JOB.where(jobs.c.num == num)).mappings().one()
    return job_row(row)


def lock_held(tx: Transaction, token: str) -> tuple[JobRow, ShardRow]:
    """Read the piece that a token was last given for, and lock its job.

    Raises:
        StaleLeaseError: the piece was leased anew since, or the token never was.
    """
    by_token = select(shards).where(shards.c.token == token)
    num = tx.connection.scalar(by_token.with_only_columns(shards.c.job_num))
    if num is None:
        raise StaleLeaseError
    job = lock_job(tx, num)
    row = tx.connection.execute(by_token).mappings().first()  # as it is under the lock
    if row is None:
        raise StaleLeaseError
    return job, shard_row(row)


def change_shard(tx: Transaction, shard: ShardRow, **values: Any) -> None:
    """Write new values to a shard of a locked job."""
    tx.connection.execute(
        update(shards)
        .where(shards.c.job_num == shard.job_num, shards.c.position == shard.position)
        .values(**values)
    )


def change_job(tx: Transaction, job: JobRow, **values: Any) -> JobRow:
    """Write new values to a locked job; tell a changed state at once and progress now and then."""
    state = values.get("state", job.state)
    kind = "state" if state != job.state else "progress"
    tells = kind == "state" or tx.now - job.told_at >= EVENT_SPACING_S
    if state != job.state and JobState(state).is_final:
        values["finished_at"] = tx.now
    if tells:
        values |= {"num_events": job.num_events + 1, "told_at": tx.now}
    changed = job_row(
        tx.connection.execute(
            update(jobs).where(jobs.c.num == job.num).values(**values).returning(jobs)
        )
        .mappings()
        .one()
    )
    if tells:
        record_event(tx, changed, kind)
    return changed


def record_event(tx: Transaction, job: JobRow, kind: str) -> None:
    """Keep what a watcher is told: the job as it is now, under its latest sequence number."""
    tx.connection.execute(
        insert(events).values(
            job_num=job.num, seq=job.num_events, kind=kind, data=event_data(job, tx.now)
        )
    )


def event_data(job: JobRow, at: float) -> str:
    """Return an event's JSON: state, reason, counts, and the time in seconds since 1970."""
    data: dict[str, object] = {
        "job_id": job.id,
        "at": round(at, 3),
        "state": job.state.value,
        "reason": job.reason,
        "digest": job.digest,
    }
    return json.dumps(data | progress_counts(job), separators=(",", ":"))


def progress_counts(job: JobRow) -> dict[str, dict[str, int]]:
    """Return `counts` and `shards` as a `JobStatus` has them."""
    return {
        "counts": {
            "total": job.num_samples,
            "completed": job.num_completed,
            "rejected": job.num_rejected,
        },
        "shards": {
            "total": job.num_shards,
            "done": job.num_done,
            "leased": job.num_leased,
            "set_aside": job.num_set_aside,
        },
    }


def after_release(tx: Transaction, job: JobRow, **values: Any) -> JobRow:
    """Write values to a job whose shard is no longer leased; a cancelling one may end now."""
    if job.state is JobState.CANCELLING and values.get("num_leased", job.num_leased) == 0:
        values["state"] = JobState.CANCELLED.value
    return change_job(tx, job, **values)
