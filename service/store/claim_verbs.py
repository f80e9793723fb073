"""The verbs of claims: which replica works on the end of a job, and until when no other does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sqlalchemy import bindparam, delete, insert, select

from service.database import Database, Transaction
from service.store.changes import lock_job
from service.store.rows import JobRow
from service.tables import commits
from synthforge.job_status import JobState

Awaits = Callable[[JobRow], bool]

_HOLDER: Final = select(commits).where(commits.c.job_num == bindparam("job"))
_FREE: Final = delete(commits).where(commits.c.job_num == bindparam("job"))
_RELEASE: Final = _FREE.where(commits.c.holder == bindparam("mine"))


def awaits_manifest(job: JobRow) -> bool:
    """Tell whether a job's shards and summary lie in the store, and its manifest does not."""
    return job.state is JobState.FINALIZING and job.files is not None


def awaits_clearance(job: JobRow) -> bool:
    """Tell whether what a job left is to be deleted, and nobody writes more of it."""
    return job.clearing is not None and job.num_leased == 0


class ClaimVerbs:
    """What the service asks of its database so that one replica of several is at work."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def take(
        self, job_num: int, awaits: Awaits, holder: str, claim_s: float
    ) -> tuple[JobRow, float] | None:
        """Claim a job for one replica.

        Args:
            job_num: of the job.
            awaits: tells whether the work is still to be done.
            holder: names the claim.
            claim_s: it lapses after so long, seconds.

        Returns:
            The job as it is now, and the time; None where another has it, or it awaits nothing.
        """
        with self._database.write() as tx:
            job = lock_job(tx, job_num)
            held = tx.connection.execute(_HOLDER, {"job": job_num}).first()
            if not awaits(job) or (held is not None and held.expires_at > tx.now):
                return None
            _hold(tx, job_num, holder, claim_s)
            return job, tx.now

    def keep(self, job_num: int, awaits: Awaits, holder: str, claim_s: float) -> bool:
        """Renew a claim; tell whether it still is the holder's, and the job still awaits it."""
        with self._database.write() as tx:
            job = lock_job(tx, job_num)
            if not is_holder(tx, job_num, holder) or not awaits(job):
                return False
            _hold(tx, job_num, holder, claim_s)
            return True

    def release(self, job_num: int, holder: str) -> None:
        """Give a claim back, if it still is the holder's."""
        with self._database.write() as tx:
            tx.connection.execute(_RELEASE, {"job": job_num, "mine": holder})


def is_holder(tx: Transaction, job_num: int, holder: str) -> bool:
    """Tell whether nobody else has claimed a locked job since."""
    held = tx.connection.execute(_HOLDER, {"job": job_num}).first()
    return held is not None and held.holder == holder


def _hold(tx: Transaction, job_num: int, holder: str, claim_s: float) -> None:
    """Write a claim; the job's lock keeps others away."""
    tx.connection.execute(_FREE, {"job": job_num})
    row = {"job_num": job_num, "holder": holder, "expires_at": tx.now + claim_s}
    tx.connection.execute(insert(commits), row)
