"""Whose turn it is: the jobs that have work for a pool, in the order in which it is handed out.

The highest priority goes first. Within one priority the owner that has the fewest pieces of work
leased goes first, and of an owner's jobs the oldest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import String, and_, bindparam, exists, func, literal, or_, select

from service import leasing
from service.database import database_now
from service.statements import Prepared, Session
from service.tables import IS_LEASABLE, IS_LEASED, IS_OPEN, jobs, shards
from synthforge.job_status import JobState

_WAS_GIVEN_BACK: Final = exists().where(
    shards.c.job_num == jobs.c.num,
    IS_OPEN,
    shards.c.open_at <= database_now(),
)
SUMMARY_IS_DUE: Final = and_(
    jobs.c.state == JobState.FINALIZING.value, jobs.c.next_position == jobs.c.num_shards
)
_WITH_WORK: Final = (
    select(jobs.c.num, jobs.c.priority)
    .where(IS_LEASABLE)
    .where(
        bindparam("generators", type_=String).like(literal("%,") + jobs.c.generator + literal(",%"))
    )
    .where(
        or_(
            jobs.c.fingerprint.is_(None),
            jobs.c.fingerprint == "",
            jobs.c.fingerprint == bindparam("fingerprint"),
        )
    )
    .where(or_(jobs.c.next_position < jobs.c.num_shards, SUMMARY_IS_DUE, _WAS_GIVEN_BACK))
    .limit(bindparam("limit"))
)
# In the order of the index, so that few jobs are read of ten thousand: left to itself SQLite,
# which keeps no statistics, finds them all by their state, and sorts them.
_JOBS_WITH_WORK: Final = Prepared(
    _WITH_WORK.order_by(jobs.c.priority.desc(), jobs.c.num).with_hint(
        jobs, "INDEXED BY ix_jobs_leasable", "sqlite"
    )
)
_OWNERS_JOBS: Final = Prepared(
    _WITH_WORK.where(jobs.c.priority == bindparam("priority"), jobs.c.owner == bindparam("owner"))
    .order_by(jobs.c.num)
    .with_hint(jobs, "INDEXED BY ix_jobs_fair", "sqlite")
)

_AT_PRIORITY: Final = (IS_LEASABLE, jobs.c.priority == bindparam("priority"))
# From one owner to the next by the index, however many jobs each has.
_FIRST: Final = (
    select(func.min(jobs.c.owner).label("owner")).where(*_AT_PRIORITY).cte("owners", recursive=True)
)
_FOLLOWING: Final = (
    select(func.min(jobs.c.owner)).where(*_AT_PRIORITY, jobs.c.owner > _FIRST.c.owner)
)  # fmt: skip
_ALL_OWNERS: Final = _FIRST.union_all(
    select(_FOLLOWING.correlate(_FIRST).scalar_subquery()).where(_FIRST.c.owner.is_not(None))
)
_OWNERS: Final = Prepared(select(_ALL_OWNERS.c.owner).where(_ALL_OWNERS.c.owner.is_not(None)))
_NUM_LEASED: Final = Prepared(
    select(jobs.c.owner, func.count())
    .select_from(shards)
    .join(jobs, jobs.c.num == shards.c.job_num)
    .where(IS_LEASED)
    .group_by(jobs.c.owner)
)


@dataclass(frozen=True)
class Turn:
    """What is to be leased next.

    Attributes:
        shares: jobs of one owner, in order, and how many pieces of them at most.
        is_last: nothing else waits: when these have given all they have, there is no more.
    """

    shares: tuple[tuple[tuple[int, ...], int], ...] = ()
    is_last: bool = True


def next_turn(session: Session, wanted: Mapping[str, Any], limit: int) -> Turn:
    """Return which jobs to lease from.

    Args:
        session: to read by.
        wanted: `generators` (between commas) and `fingerprint` of the pool.
        limit: pieces of work that it may have.
    """
    rows = session.rows(_JOBS_WITH_WORK, {**wanted, "limit": limit})
    if not rows:
        return Turn()
    highest = rows[0][1]
    owners = [str(owner) for (owner,) in session.rows(_OWNERS, {"priority": highest})]
    if len(owners) > 1:
        asked = {**wanted, "priority": highest, "limit": limit}
        return Turn(_fair_shares(session, asked, owners, limit), is_last=False)
    # Each of these jobs has at least one piece, so they are enough or all that there are.
    nums = tuple(num for num, priority in rows if priority == highest)
    return Turn(((nums, limit),), is_last=len(nums) == len(rows))


def _fair_shares(
    session: Session, asked: dict[str, Any], owners: list[str], limit: int
) -> tuple[tuple[tuple[int, ...], int], ...]:
    """Share `limit` pieces among the owners that have work for the pool."""
    held = {str(owner): int(count) for owner, count in session.rows(_NUM_LEASED, {})}
    leased = {owner: held.get(owner, 0) for owner in owners}
    nums: dict[str, tuple[int, ...]] = {}
    while True:
        shares = leasing.fair_shares(leased, limit)
        unknown = [owner for owner in shares if owner not in nums]
        if not unknown:
            return tuple((nums[owner], share) for owner, share in shares.items())
        for owner in unknown:
            rows = session.rows(_OWNERS_JOBS, {**asked, "owner": owner})
            nums[owner] = tuple(num for num, _priority in rows)
            if not nums[owner]:
                del leased[owner]
