"""Changing a job: always under the lock of its row, always told to those who watch it.

Statements are built once, at import: building one takes longer than SQLite takes to run it.
"""

from __future__ import annotations

import json
from typing import Any, Final

from sqlalchemy import bindparam, delete, insert, select, text, update

from service.database import Transaction
from service.errors import StaleLeaseError, UnknownJobError
from service.statements import Prepared
from service.store import usage
from service.store.rows import JobRow, ShardRow, job_row, shard_row
from service.tables import events, jobs, shards
from service.times import told_time
from synthforge.job_status import JobState

# A job that ends otherwise, or has ended, keeps its state when a piece of it cannot be done.
FAILS_FROM: Final = frozenset({JobState.RUNNING, JobState.PAUSED, JobState.FINALIZING})
EVENT_SPACING_S: Final = 1.0  # progress is told at most so often: a million shards, few events
# A job of a month tells 2.6 million times how far it is; whoever reads later needs the latest.
PROGRESS_KEPT: Final = 2000
_CUT_EVERY: Final = 100

_LOCK_JOB: Final = Prepared(select(jobs).where(jobs.c.num == bindparam("job")).with_for_update())
_LOCK_JOB_OF_TOKEN: Final = Prepared(
    select(jobs)
    .join(shards, shards.c.job_num == jobs.c.num)
    .where(shards.c.token == bindparam("token"))
    .with_for_update(of=jobs)
)
_NUM_OF_ID: Final = Prepared(select(jobs.c.num).where(jobs.c.id == bindparam("id")))
_SHARD_OF_TOKEN: Final = Prepared(select(shards).where(shards.c.token == bindparam("token")))
_CHANGE_JOB: Final = Prepared(update(jobs).where(jobs.c.num == bindparam("job")).returning(jobs))
_CHANGE_SHARD: Final = Prepared(
    update(shards).where(shards.c.job_num == bindparam("job"), shards.c.position == bindparam("at"))
)
_RECORD_EVENT: Final = Prepared(insert(events))
_CUT_PROGRESS: Final = Prepared(
    delete(events).where(
        events.c.job_num == bindparam("job"),
        events.c.seq <= bindparam("last"),
        events.c.kind == "progress",
    )
)
# For each webhook of the job's owner one delivery, in the transaction of the event: none is lost.
_DELIVER: Final = Prepared(
    text(
        "INSERT INTO deliveries "
        "(id, webhook_num, body, state, attempts, next_at, created_at) "
        "SELECT 'msg-' || CAST(:event AS VARCHAR(96)) || '-' || CAST(num AS VARCHAR(20)), num, "
        ":body, 'pending', 0, :now, :now FROM webhooks WHERE owner = :owner"
    )
)


def lock_job(tx: Transaction, num: int) -> JobRow:
    """Read a job and keep others from changing it, or any of its shards, until the commit."""
    return job_row(tx.session.one(_LOCK_JOB, {"job": num}))


def lock_job_by_id(tx: Transaction, job_id: str) -> JobRow:
    """Lock a job by its public id.

    Raises:
        UnknownJobError: there is none of that id.
    """
    found = tx.session.row(_NUM_OF_ID, {"id": job_id})
    if found is None:
        raise UnknownJobError(job_id)
    return lock_job(tx, found[0])


def lock_held(tx: Transaction, token: str) -> tuple[JobRow, ShardRow]:
    """Lock the job of a token, and then read the piece that the token was last given for.

    Raises:
        StaleLeaseError: the piece was leased anew since, or the token never was.
    """
    job = tx.session.row(_LOCK_JOB_OF_TOKEN, {"token": token})
    # Read anew: the piece may have changed while this waited for the lock.
    shard = None if job is None else tx.session.row(_SHARD_OF_TOKEN, {"token": token})
    if job is None or shard is None:
        raise StaleLeaseError
    return job_row(job), shard_row(shard)


def change_shard(tx: Transaction, shard: ShardRow, **values: Any) -> None:
    """Write new values to a shard of a locked job."""
    tx.session.change(_CHANGE_SHARD, values | {"job": shard.job_num, "at": shard.position})


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
    changed = job_row(tx.session.one(_CHANGE_JOB, values | {"job": job.num}))
    if changed.state.is_final != job.state.is_final:
        usage.note_ended(tx, changed)
    if tells:
        record_event(tx, changed, kind)
    return changed


def record_event(tx: Transaction, job: JobRow, kind: str) -> None:
    """Keep what a watcher is told: the job as it is now, under its latest sequence number."""
    data = event_data(job, tx.now)
    row = {"job_num": job.num, "seq": job.num_events, "kind": kind, "data": data}
    tx.session.change(_RECORD_EVENT, row)
    if job.num_events > PROGRESS_KEPT and job.num_events % _CUT_EVERY == 0:
        tx.session.change(_CUT_PROGRESS, {"job": job.num, "last": job.num_events - PROGRESS_KEPT})
    if kind == "state":
        body = f'{{"type":"job.{job.state.value}","seq":{job.num_events},"data":{data}}}'
        told = {"event": f"{job.id}-{job.num_events}", "owner": job.owner, "now": tx.now}
        tx.session.change(_DELIVER, told | {"body": body})


def event_data(job: JobRow, at: float) -> str:
    """Return an event's JSON: state, reason, counts, and the time."""
    data: dict[str, object] = {
        "job_id": job.id,
        "at": told_time(at),
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
