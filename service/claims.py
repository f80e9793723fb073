"""A replica's claim to the commit of a job: alive while it works, asked before what others see."""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from service.store import Store
from service.store.rows import JobRow

_LOG: Final = logging.getLogger(__name__)
CLAIM_S: Final = 15.0  # so long after a replica died, another goes on


class LostClaimError(Exception):
    """The job ended, or another replica is at its commit."""


@dataclass(frozen=True)
class Claim:
    """One replica's claim.

    Attributes:
        job: as it was when it was claimed.
        began_at: then, seconds since 1970 by the database's clock.
        holder: whose it is.
    """

    store: Store
    job: JobRow
    began_at: float
    holder: str

    def check(self) -> None:
        """Look again, before a step that others see.

        Raises:
            LostClaimError: the claim is this replica's no longer.
        """
        if not self.store.datasets.keep_commit(self.job.num, self.holder, CLAIM_S):
            raise LostClaimError(f"job {self.job.id} is another replica's to commit, or has ended")


@contextmanager
def claimed(store: Store, job_num: int) -> Iterator[Claim | None]:
    """Claim a job that awaits its manifest; None where another replica has it, or it has ended.

    A thread keeps the claim alive: of a million shards one listing takes minutes.
    """
    holder = secrets.token_hex(16)
    found = store.datasets.claim_commit(job_num, holder, CLAIM_S)
    if found is None:
        yield None
        return
    claim = Claim(store, *found, holder)
    done = threading.Event()
    keeper = threading.Thread(target=_keep, args=(claim, done), name="commit-claim", daemon=True)
    keeper.start()
    try:
        yield claim
    finally:
        done.set()
        keeper.join()
        store.datasets.release_commit(job_num, holder)


def _keep(claim: Claim, done: threading.Event) -> None:
    while not done.wait(CLAIM_S / 3):
        try:
            claim.check()
        except LostClaimError:
            return
        except Exception:
            _LOG.warning("a claim was not renewed", extra={"job_id": claim.job.id}, exc_info=True)
