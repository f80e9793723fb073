"""The verbs of work that ends: committed once, or given back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import bindparam, exists, insert, select

from service import leasing
from service.database import Database, Transaction
from service.errors import ReportConflictError, StaleLeaseError
from service.leasing import Deaths, Verdict
from service.statements import Prepared
from service.store import usage
from service.store.changes import FAILS_FROM, after_release, change_job, change_shard, lock_held
from service.store.rows import JobRow, ShardRow
from service.tables import fingerprints
from synthforge.job_status import JobState
from synthforge.leases import LeaseReturn

_IS_KEPT: Final = exists().where(
    fingerprints.c.job_num == bindparam("job"), fingerprints.c.id == bindparam("id")
)
_KEEP_FINGERPRINT: Final = Prepared(
    insert(fingerprints).from_select(
        ["job_num", "id", "fingerprint", "generator"],
        select(
            bindparam("job", type_=fingerprints.c.job_num.type),
            bindparam("id", type_=fingerprints.c.id.type),
            bindparam("fingerprint", type_=fingerprints.c.fingerprint.type),
            bindparam("generator", type_=fingerprints.c.generator.type),
        ).where(~_IS_KEPT),
    )
)


@dataclass(frozen=True)
class CommittedShard:
    """A shard that lies in the store; texts are JSON.

    Attributes:
        record: canonical JSON of its `ShardRecord`.
        num_bytes: of its tar.
        num_rejected: samples that the quality gate refused on the way.
        fingerprint_id: of the `Fingerprint` that follows.
        generator: of the `GeneratorInfo`, without fingerprints.
    """

    record: str
    num_samples: int
    num_bytes: int
    num_rejected: int
    fingerprint_id: str
    fingerprint: str
    generator: str


Check = Callable[[JobRow, ShardRow], None]


class ReportVerbs:
    """What the service asks of its database about work that has ended."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def commit_shard(
        self, token: str, made: CommittedShard, check: Check
    ) -> tuple[bool, JobRow, ShardRow]:
        """Accept a shard: the first accepted report decides which object the manifest names.

        Args:
            token: of the lease.
            made: what its worker made.
            check: raises where that does not fit; nothing has changed then.

        Returns:
            Whether anything changed: a report that comes twice is accepted once. Then job and
            shard as they were before.

        Raises:
            StaleLeaseError: the token does not hold its shard any more.
            ReportConflictError: the token was reported with another record.
        """
        with self._database.write() as tx:
            job, shard = lock_held(tx, token)
            check(job, shard)
            if _is_repeated(shard, made.record):
                return False, job, shard
            _keep_fingerprint(tx, job.num, made)
            change_shard(
                tx,
                shard,
                state="done",
                record=made.record,
                num_samples=made.num_samples,
                num_rejected=made.num_rejected,
                fingerprint=made.fingerprint_id,
            )
            values: dict[str, Any] = {
                "num_done": job.num_done + 1,
                "num_leased": job.num_leased - 1,
                "num_completed": job.num_completed + made.num_samples,
                "num_rejected": job.num_rejected + made.num_rejected,
                "num_bytes": job.num_bytes + made.num_bytes,
            }
            excess = usage.add_bytes(tx, job.owner, made.num_bytes)
            if job.state is JobState.RUNNING and job.num_done + 1 == job.num_shards:
                values["state"] = JobState.FINALIZING.value
            elif job.state is JobState.RUNNING and excess is not None:
                values |= {"state": JobState.FAILED.value, "reason": excess}
            after_release(tx, job, **values)
            return True, job, shard

    def commit_summary(self, token: str, files: str, check: Check) -> bool:
        """Accept the files beside the shards (JSON); the manifest can be written now.

        Returns whether anything changed; raises as `commit_shard` does.
        """
        with self._database.write() as tx:
            job, shard = lock_held(tx, token)
            check(job, shard)
            if _is_repeated(shard, files):
                return False
            change_shard(tx, shard, state="done", record=files)
            change_job(tx, job, files=files)
            return True

    def give_back(
        self, token: str, returned: LeaseReturn, name_of: Callable[[JobRow, ShardRow], str]
    ) -> Verdict | None:
        """Take work back undone, and decide whether it is tried again.

        Args:
            token: of the lease.
            returned: why it comes back.
            name_of: gives the piece's name in a reason, as `shard train-000012`.

        Returns:
            What becomes of it; None where it was given back before.

        Raises:
            StaleLeaseError: the token does not hold its work any more.
        """
        with self._database.write() as tx:
            job, shard = lock_held(tx, token)
            if shard.state in {"open", "set_aside"}:
                return None
            if shard.state == "done":
                raise StaleLeaseError
            what = name_of(job, shard)
            deaths = Deaths(shard.deaths, shard.deaths_at_samples)
            verdict = leasing.judge_return(returned, deaths, shard.executions, what, tx.now)
            change_shard(
                tx,
                shard,
                state=verdict.outcome,
                deaths=verdict.deaths.count,
                deaths_at_samples=verdict.deaths.num_samples,
                open_at=verdict.open_at,
            )
            after_release(tx, job, **_released(job, shard, verdict))
            return verdict


def _is_repeated(shard: ShardRow, record: str) -> bool:
    if shard.state == "leased":
        return False
    if shard.state == "done" and shard.record == record:
        return True
    if shard.state == "done":
        raise ReportConflictError(
            "the lease was reported before, with another record: that one stands"
        )
    raise StaleLeaseError


def _released(job: JobRow, shard: ShardRow, verdict: Verdict) -> dict[str, Any]:
    """Return what changes on the job's row when a piece of it comes back."""
    values: dict[str, Any] = {}
    if shard.kind == "shard":
        values["num_leased"] = job.num_leased - 1
        values["num_set_aside"] = job.num_set_aside + (verdict.outcome == "set_aside")
    if verdict.reason and job.state in FAILS_FROM:
        values |= {"state": JobState.FAILED.value, "reason": verdict.reason}
    return values


def _keep_fingerprint(tx: Transaction, job_num: int, made: CommittedShard) -> None:
    """Keep what a fingerprint stands for, once a job; the job's lock keeps others away."""
    tx.session.change(
        _KEEP_FINGERPRINT,
        {
            "job": job_num,
            "id": made.fingerprint_id,
            "fingerprint": made.fingerprint,
            "generator": made.generator,
        },
    )
