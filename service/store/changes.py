"""Changing a job: always under the lock of its row, always told to those who watch it.

Statements are built once, at import: building one takes longer than SQLite takes to run it.
"""

from __future__ import annotations

import json
from typing import Any, Final

from sqlalchemy import bindparam, insert, select, text, update

from service.database import Transaction
from service.errors import StaleLeaseError, UnknownJobError
from service.store import usage
from service.store.rows import JobRow, ShardRow, job_row, shard_row
from service.tables import events, jobs, shards
from synthforge.job_status import JobState

EVENT_SPACING_S: Final = 1.0  # progress is told at most so often: a million shards, few events

_LOCK_JOB: Final = select(jobs).where(jobs.c.num == bindparam("job")).with_for_update()
_NUM_OF_ID: Final = select(jobs.c.num).where(jobs.c.id == bindparam("id"))
_SHARD_OF_TOKEN: Final = select(shards).where(shards.c.token == bindparam("token"))
_CHANGE_JOB: Final = update(jobs).where(jobs.c.num == bindparam("job")).returning(jobs)
_CHANGE_SHARD: Final = update(shards).where(
    shards.c.job_num == bindparam("job"), shards.c.position == bindparam("at")
)
_RECORD_EVENT: Final = insert(events)
# For each webhook of the job's owner one delivery, in the transaction of the event: none is lost.
_DELIVER: Final = text(
    "INSERT INTO deliveries "
    "(id, webhook_num, body, state, attempts, next_at, created_at) "
    "SELECT 'msg-' || CAST(:event AS VARCHAR(96)) || '-' || CAST(num AS VARCHAR(20)), num, :body, "
    "'pending', 0, :now, :now FROM webhooks WHERE owner = :owner"
)


def lock_job(tx: Transaction, num: int) -> JobRow:
    """Read a job and keep others from changing it, or any of its shards, until the commit."""
    return job_row(tx.connection.execute(_LOCK_JOB, {"job": num}).one())


def lock_job_by_id(tx: Transaction, job_id: str) -> JobRow:
    """Lock a job by its public id.

    Raises:
        UnknownJobError: there is none of that id.
    """
    num = tx.connection.scalar(_NUM_OF_ID, {"id": job_id})
    if num is None:
        raise UnknownJobError(job_id)
    return lock_job(tx, num)


def lock_held(tx: Transaction, job_num: int, token: str) -> tuple[JobRow, ShardRow]:
    """Lock a job, and read its piece that a token was last given for.

    Raises:
        StaleLeaseError: the piece was leased anew since.
    """
    job = lock_job(tx, job_num)
    row = tx.connection.execute(_SHARD_OF_TOKEN, {"token": token}).first()
    if row is None:
        raise StaleLeaseError
    return job, shard_row(row)


def change_shard(tx: Transaction, shard: ShardRow, **values: Any) -> None:
    """Write new values to a shard of a locked job."""
    tx.connection.execute(_CHANGE_SHARD, values | {"job": shard.job_num, "at": shard.position})


def change_job(tx: Transaction, job: JobRow, **values: Any) -> JobRow:
    """Write new values to a locked job; tell a changed state at once and progress now and then."""
    state = values.get("state", job.state)
    kind = "state" if state != job.state else "progress"
    tells = kind == "state" or tx.now - job.told_at >= EVENT_SPACING_S
    if state != job.state and JobState(state).is_final:
        values["finished_at"] = tx.now
    if tells:
        values |= {"num_events": job.num_events + 1, "told_at": tx.now}
    if not values:
        return job
    changed = job_row(tx.connection.execute(_CHANGE_JOB, values | {"job": job.num}).one())
    if changed.state.is_final != job.state.is_final:
        usage.note_ended(tx, changed)
    if tells:
        record_event(tx, changed, kind)
    return changed


def record_event(tx: Transaction, job: JobRow, kind: str) -> None:
    """Keep what a watcher is told: the job as it is now, under its latest sequence number."""
    data = event_data(job, tx.now)
    row = {"job_num": job.num, "seq": job.num_events, "kind": kind, "data": data}
    tx.connection.execute(_RECORD_EVENT, row)
    if kind == "state":
        body = f'{{"type":"job.{job.state.value}","seq":{job.num_events},"data":{data}}}'
        told = {"event": f"{job.id}-{job.num_events}", "owner": job.owner, "now": tx.now}
        tx.connection.execute(_DELIVER, told | {"body": body})


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
    is_over = values.get("num_leased", job.num_leased) == 0 and job.clearing is None
    if job.state is JobState.CANCELLING and is_over:
        values["state"] = JobState.CANCELLED.value
    return change_job(tx, job, **values)
