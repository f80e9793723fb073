"""What of a key's limits is in use: counted on the key's row, in the transaction that changes it.

A job without an owner (no keys are asked for) counts nowhere. Rows are always locked in the order
job, key.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import bindparam, or_, select, update

from service.database import Transaction
from service.errors import QuotaExceededError
from service.statements import Prepared
from service.store.rows import JobRow, KeyRow, key_row
from service.tables import api_keys

_OWNER = api_keys.c.id == bindparam("owner")
_JOBS_AFTER = api_keys.c.num_jobs + 1
_SAMPLES_AFTER = api_keys.c.num_samples + bindparam("samples")

_TAKE: Final = Prepared(
    update(api_keys)
    .where(_OWNER)
    .where(or_(api_keys.c.max_jobs.is_(None), api_keys.c.max_jobs >= _JOBS_AFTER))
    .where(or_(api_keys.c.max_samples.is_(None), api_keys.c.max_samples >= _SAMPLES_AFTER))
    .where(or_(api_keys.c.max_bytes.is_(None), api_keys.c.num_bytes < api_keys.c.max_bytes))
    .values(num_jobs=_JOBS_AFTER, num_samples=_SAMPLES_AFTER)
)
_BY_ID: Final = Prepared(select(api_keys).where(_OWNER))
_LOCK: Final = Prepared(select(api_keys).where(_OWNER).with_for_update())
_NOTE: Final = Prepared(
    update(api_keys)
    .where(_OWNER)
    .values(num_jobs=api_keys.c.num_jobs + bindparam("jobs"), num_samples=_SAMPLES_AFTER)
)
_ADD_BYTES: Final = Prepared(
    update(api_keys)
    .where(_OWNER)
    .values(num_bytes=api_keys.c.num_bytes + bindparam("bytes"))
    .returning(api_keys.c.num_bytes, api_keys.c.max_bytes)
)


def take_place(tx: Transaction, owner: str, num_samples: int) -> None:
    """Count a new job against its owner's limits.

    Raises:
        QuotaExceededError: naming the limit, what is in use and what was asked.
    """
    if not owner:
        return
    asked = {"owner": owner, "samples": num_samples}
    if not tx.session.change(_TAKE, asked):
        row = tx.session.row(_BY_ID, {"owner": owner})
        if row is not None:  # None: an owner that is no key has no limits
            raise QuotaExceededError(_why_full(key_row(row), num_samples))


def check_place(tx: Transaction, owner: str, num_samples: int) -> None:
    """Check that a job that is taken up again has room; `note_ended` then counts it.

    The key's row stays locked until the commit.

    Raises:
        QuotaExceededError: as `take_place`.
    """
    row = tx.session.row(_LOCK, {"owner": owner}) if owner else None
    if row is None:
        return
    key = key_row(row)
    if (
        (key.max_jobs is not None and key.num_jobs >= key.max_jobs)
        or (key.max_samples is not None and key.num_samples + num_samples > key.max_samples)
        or (key.max_bytes is not None and key.num_bytes >= key.max_bytes)
    ):
        raise QuotaExceededError(_why_full(key, num_samples))


def note_ended(tx: Transaction, job: JobRow) -> None:
    """Count a job that ended, or one that was taken up again, as it is now."""
    if job.owner:
        sign = -1 if job.state.is_final else 1
        counted = {"owner": job.owner, "jobs": sign, "samples": sign * job.num_samples}
        tx.session.change(_NOTE, counted)


def add_bytes(tx: Transaction, owner: str, num_bytes: int) -> str | None:
    """Count bytes that came into the store, or (negative) left it.

    Returns:
        Why nothing more should come, where the owner's limit is passed.
    """
    if not owner:
        return None
    row = tx.session.row(_ADD_BYTES, {"owner": owner, "bytes": num_bytes})
    if row is None:
        return None
    kept, limit = row
    if limit is None or kept <= limit:
        return None
    return (
        f"its key keeps {kept} bytes in the store, and {limit} is its limit: "
        "delete datasets or raise the limit"
    )


def _why_full(key: KeyRow, num_samples: int) -> str:
    if key.max_jobs is not None and key.num_jobs >= key.max_jobs:
        return (
            f"the key {key.name} has {key.num_jobs} jobs that have not ended, and {key.max_jobs} "
            "is its limit: wait for one to end, or cancel one"
        )
    if key.max_samples is not None and key.num_samples + num_samples > key.max_samples:
        return (
            f"the key {key.name} has {key.num_samples} samples in jobs that have not ended; with "
            f"these {num_samples} it would pass its limit of {key.max_samples}: ask for fewer, "
            "or wait for a job to end"
        )
    return (
        f"the key {key.name} keeps {key.num_bytes} bytes in the store, and {key.max_bytes} is its "
        "limit: delete datasets first"
    )
