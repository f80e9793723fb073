"""The verbs by which users steer a job: pause, resume, cancel, retry, extend, clear, reorder.

Each locks the job's row first, and asks `service.actions` whether the state allows it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from sqlalchemy import bindparam, delete, select, update

from service import actions
from service.actions import Action
from service.database import Database, Transaction
from service.errors import BeingClearedError, DatasetDeletedError, OutputTakenError
from service.store import usage
from service.store.changes import change_job, lock_job, lock_job_by_id
from service.store.claim_verbs import awaits_clearance, is_holder
from service.store.job_verbs import NewJob, insert_job
from service.store.prefixes import check_prefix_is_free, successor
from service.store.rows import JobRow, job_row
from service.tables import IS_CLEARING, fingerprints, jobs, shards
from synthforge.job_status import JobState

_POSITIONS_AT_ONCE: Final = 500

_AWAITING_CLEARANCE: Final = (
    select(jobs).where(IS_CLEARING, jobs.c.num_leased == 0).order_by(jobs.c.num)
)
_DROP_SHARDS: Final = delete(shards).where(shards.c.job_num == bindparam("job"))
_DROP_FINGERPRINTS: Final = delete(fingerprints).where(fingerprints.c.job_num == bindparam("job"))
# Of all the jobs that made the dataset.
_DELETED: Final = (
    update(jobs)
    .where(
        jobs.c.output_url == bindparam("url"),
        jobs.c.state == JobState.SUCCEEDED.value,
        jobs.c.deleted_at.is_(None),
    )
    .values(clearing=None, deleted_at=bindparam("now"))
    .returning(jobs.c.owner, jobs.c.num_bytes)
)
_DROP_SUMMARY: Final = delete(shards).where(
    shards.c.job_num == bindparam("job"), shards.c.kind == "summary"
)
_TRY_SET_ASIDE_AGAIN: Final = (
    update(shards)
    .where(shards.c.job_num == bindparam("job"), shards.c.state == "set_aside")
    .values(state="open", deaths=0, deaths_at_samples=0, open_at=bindparam("now"))
)
_LOST: Final = (
    shards.c.job_num == bindparam("job"),
    shards.c.position.in_(bindparam("positions", expanding=True)),
    shards.c.kind == "shard",
    shards.c.state == "done",
)
_FIND_LOST: Final = select(shards.c.record, shards.c.num_samples, shards.c.num_rejected).where(
    *_LOST
)
_MAKE_LOST_AGAIN: Final = (
    update(shards)
    .where(*_LOST)
    .values(state="open", record=None, deaths=0, deaths_at_samples=0, open_at=bindparam("now"))
)


class ActionVerbs:
    """What the service asks of its database when a user steers a job.

    Every verb returns the job as it is then, and raises UnknownJobError where there is none of
    that id, StateConflictError where its state does not allow it.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def set_priority(self, job_id: str, priority: int) -> JobRow:
        """Move a job before or behind others."""
        with self._database.write() as tx:
            job = lock_job_by_id(tx, job_id)
            if job.priority == priority:
                return job
            actions.REORDER.changes(job.id, job.state)
            return change_job(tx, job, priority=priority)

    def pause(self, job_id: str) -> JobRow:
        """Lease no more of a job; what runs of it goes on to its end."""
        with self._database.write() as tx:
            job, changes = _asked(tx, job_id, actions.PAUSE)
            return change_job(tx, job, state=JobState.PAUSED.value) if changes else job

    def resume(self, job_id: str) -> JobRow:
        """Go on with a paused job."""
        with self._database.write() as tx:
            job, changes = _asked(tx, job_id, actions.RESUME)
            return change_job(tx, job, state=_at_work(job).value) if changes else job

    def cancel(self, job_id: str, *, deletes: bool = False) -> JobRow:
        """Lease no more of a job; it is cancelled once nothing of it is leased.

        Args:
            job_id: of the job.
            deletes: what is done of it is deleted too, before it counts as cancelled.

        Raises:
            OutputTakenError: it was cancelled before, and its prefix is another job's by now.
        """
        with self._database.write() as tx:
            if deletes:
                self._database.serialize_submissions(tx)
            job, changes = _asked(tx, job_id, actions.CANCEL)
            if deletes and job.clearing is None and _may_have_left_something(job):
                if job.state is JobState.CANCELLED:  # it does not hold its prefix any more
                    check_prefix_is_free(tx, job.output_url, job)
                begun = {"clearing": "objects", "finished_at": None}
                return change_job(tx, job, state=JobState.CANCELLING.value, **begun)
            if not changes:
                return job
            state = JobState.CANCELLING if job.num_leased else JobState.CANCELLED
            return change_job(tx, job, state=state.value)

    def retry(self, job_id: str, lost: Collection[int] = ()) -> JobRow:
        """Take a failed or cancelled job up where it was; shards set aside are tried again.

        Args:
            job_id: of the job.
            lost: positions of committed shards whose objects are gone: they are made again.

        Raises:
            OutputTakenError: another job has the prefix by now.
            QuotaExceededError: a limit of its owner's is used up.
        """
        with self._database.write() as tx:
            self._database.serialize_submissions(tx)
            job, changes = _asked(tx, job_id, actions.RETRY)
            if not changes:
                return job
            if job.clearing:
                raise BeingClearedError(job.id)
            check_prefix_is_free(tx, job.output_url, job)
            changed = _begun_again(tx, job, lost)
            usage.check_place(tx, job.owner, job.num_samples)
            return change_job(tx, job, **changed)

    def extend(self, parent_id: str, child: NewJob) -> tuple[JobRow, bool]:
        """Keep a job that adds to another's dataset; the last of a line alone is added to.

        Returns:
            The child, and whether it is new.

        Raises:
            StateConflictError: the parent has no dataset.
            OutputTakenError: it was extended otherwise.
        """
        with self._database.write() as tx:
            self._database.serialize_submissions(tx)
            parent, _ = _asked(tx, parent_id, actions.EXTEND)
            _check_has_dataset(parent)
            later = successor(tx, parent)
            if later is None:
                usage.take_place(tx, child.owner, child.num_samples)
                return insert_job(tx, child), True
            if later.spec != child.spec:
                raise OutputTakenError(
                    f"job {later.id} ({later.state}) extends the dataset of job {parent.id}: "
                    "extend that job's, once it succeeded"
                )
            return later, False

    def clear(self, job_id: str) -> JobRow:
        """Have the dataset of a job deleted, or what a job that failed or was cancelled left.

        Raises:
            StateConflictError: the job has not ended.
            OutputTakenError: its prefix is another job's by now, or its dataset was extended.
        """
        with self._database.write() as tx:
            self._database.serialize_submissions(tx)
            job, _ = _asked(tx, job_id, actions.CLEAR)
            if job.clearing or job.deleted_at is not None:
                return job
            if job.state is not JobState.SUCCEEDED:
                check_prefix_is_free(tx, job.output_url, job)
                return change_job(tx, job, clearing="objects")
            later = successor(tx, job)
            if later is not None:
                raise OutputTakenError(
                    f"job {later.id} ({later.state}) extends the dataset of job {job.id}: "
                    "delete that job's, or cancel it"
                )
            return change_job(tx, job, clearing="dataset")

    def awaiting_clearance(self) -> list[JobRow]:
        """Read the jobs whose objects are to be deleted, the oldest first."""
        with self._database.read() as connection:
            return [job_row(row) for row in connection.execute(_AWAITING_CLEARANCE)]

    def cleared(self, job_num: int, holder: str) -> bool:
        """Say that a job's objects are deleted; `holder`'s claim to do so must still stand."""
        with self._database.write() as tx:
            job = lock_job(tx, job_num)
            if not awaits_clearance(job) or not is_holder(tx, job_num, holder):
                return False
            if job.clearing == "dataset":
                gone = {"url": job.output_url, "now": tx.now}
                for row in tx.connection.execute(_DELETED, gone).all():
                    usage.add_bytes(tx, row.owner, -row.num_bytes)
            else:
                tx.connection.execute(_DROP_SHARDS, {"job": job.num})
                tx.connection.execute(_DROP_FINGERPRINTS, {"job": job.num})
                usage.add_bytes(tx, job.owner, -job.num_bytes)
                change_job(tx, job, cleared_at=tx.now, **_emptied(job))
            return True


def _asked(tx: Transaction, job_id: str, action: Action) -> tuple[JobRow, bool]:
    job = lock_job_by_id(tx, job_id)
    return job, action.changes(job.id, job.state)


def _at_work(job: JobRow) -> JobState:
    return actions.state_at_work(
        job.num_shards, job.num_done, has_started=job.started_at is not None
    )


def _may_have_left_something(job: JobRow) -> bool:
    return job.next_position > 0


def _check_has_dataset(job: JobRow) -> None:
    if job.clearing or job.deleted_at is not None:
        raise DatasetDeletedError(job.id)


def _emptied(job: JobRow) -> dict[str, Any]:
    """Return what changes on the row of a job of which nothing is left in the store."""
    values: dict[str, Any] = dict.fromkeys(
        (
            "num_done", "num_completed", "num_rejected", "num_bytes", "num_set_aside",
            "next_position",
        ),
        0,
    )  # fmt: skip
    if job.state is JobState.CANCELLING:
        values["state"] = JobState.CANCELLED.value
    return values | {"clearing": None, "files": None, "started_at": None}


def _begun_again(tx: Transaction, job: JobRow, lost: Collection[int]) -> dict[str, Any]:
    """Open a locked job's shards again; return what changes on its row."""
    tx.connection.execute(_DROP_SUMMARY, {"job": job.num})
    tx.connection.execute(_TRY_SET_ASIDE_AGAIN, {"job": job.num, "now": tx.now})
    lost_work = _open_lost(tx, job.num, lost)
    usage.add_bytes(tx, job.owner, -lost_work.num_bytes)
    num_done = job.num_done - lost_work.num_shards
    state = actions.state_at_work(job.num_shards, num_done, has_started=job.started_at is not None)
    return {
        "state": state.value,
        "reason": None,
        "finished_at": None,
        "files": None,
        "num_set_aside": 0,
        "num_done": num_done,
        "num_completed": job.num_completed - lost_work.num_samples,
        "num_rejected": job.num_rejected - lost_work.num_rejected,
        "num_bytes": job.num_bytes - lost_work.num_bytes,
        "next_position": min(job.next_position, job.num_shards),
    }


@dataclass
class _LostWork:
    """What a job's row counts of shards that are gone."""

    num_shards: int = 0
    num_samples: int = 0
    num_rejected: int = 0
    num_bytes: int = 0


def _open_lost(tx: Transaction, job_num: int, lost: Iterable[int]) -> _LostWork:
    """Open committed shards again; return what they were counted for."""
    total = _LostWork()
    for positions in _batches(lost):
        wanted = {"job": job_num, "positions": positions}
        for record, num_samples, num_rejected in tx.connection.execute(_FIND_LOST, wanted).all():
            total.num_shards += 1
            total.num_samples += num_samples
            total.num_rejected += num_rejected
            total.num_bytes += json.loads(record)["num_bytes"]
        tx.connection.execute(_MAKE_LOST_AGAIN, wanted | {"now": tx.now})
    return total


def _batches(positions: Iterable[int]) -> Iterator[list[int]]:
    source = iter(positions)
    while batch := list(islice(source, _POSITIONS_AT_ONCE)):
        yield batch
