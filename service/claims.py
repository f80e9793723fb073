"""A replica's claim to the end of a job: alive while it works, asked before what others see."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from service.store import Store
from service.store.claim_verbs import Awaits
from service.store.rows import JobRow

_LOG: Final = logging.getLogger(__name__)
CLAIM_S: Final = 15.0  # so long after a replica died, another goes on
_RENEWED_EVERY_S: Final = CLAIM_S / 3


class LostClaimError(Exception):
    """The work is done, or another replica is at it."""


class Claim:
    """One replica's claim.

    Attributes:
        job: as it was when it was claimed.
        began_at: then, seconds since 1970 by the database's clock.
        holder: whose it is.
    """

    def __init__(
        self, store: Store, job: JobRow, awaits: Awaits, began_at: float, holder: str
    ) -> None:
        self.job: Final = job
        self.began_at: Final = began_at
        self.holder: Final = holder
        self._store = store
        self._awaits = awaits
        self._renewed_at = time.monotonic()

    def check(self) -> None:
        """Look again, before a step that others see.

        Raises:
            LostClaimError: the claim is this replica's no longer.
        """
        now = time.monotonic()
        if not self._store.claims.keep(self.job.num, self._awaits, self.holder, CLAIM_S):
            raise LostClaimError(f"job {self.job.id} is another replica's by now, or has ended")
        self._renewed_at = now

    def check_now_and_then(self) -> None:
        """Look again where the last look is long ago: before each of very many steps.

        Raises: as `check`.
        """
        if time.monotonic() - self._renewed_at > 2 * _RENEWED_EVERY_S:  # the keeper is late
            self.check()


@contextmanager
def claimed(store: Store, job_num: int, awaits: Awaits) -> Iterator[Claim | None]:
    """Claim a job; None where another replica has it, or it awaits nothing.

    A thread keeps the claim alive: of a million shards one listing takes minutes.
    """
    holder = secrets.token_hex(16)
    found = store.claims.take(job_num, awaits, holder, CLAIM_S)
    if found is None:
        yield None
        return
    job, began_at = found
    claim = Claim(store, job, awaits, began_at, holder)
    done = threading.Event()
    keeper = threading.Thread(target=_keep, args=(claim, done), name="claim", daemon=True)
    keeper.start()
    try:
        yield claim
    finally:
        done.set()
        keeper.join()
        store.claims.release(job_num, holder)


def _keep(claim: Claim, done: threading.Event) -> None:
    while not done.wait(_RENEWED_EVERY_S):
        try:
            claim.check()
        except LostClaimError:
            return
        except Exception:
            _LOG.warning("a claim was not renewed", extra={"job_id": claim.job.id}, exc_info=True)
