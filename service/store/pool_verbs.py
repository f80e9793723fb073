"""The verbs of pools: who asks for work, and what they hold."""

from __future__ import annotations

from typing import Final

from sqlalchemy import bindparam, delete, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from service.database import Database, Transaction, database_now
from service.statements import Prepared, Session
from service.store.rows import PoolRow
from service.tables import IS_LEASED, pools, shards
from synthforge.leases import LeaseRequest

NOTED_EVERY_S: Final = 5.0  # an idle pool asks every second; not every time is written down
FORGOTTEN_AFTER_S: Final = 86_400.0

_IS_NOTED: Final = Prepared(
    select(pools.c.name).where(
        pools.c.name == bindparam("pool"),
        pools.c.generators == bindparam("generators"),
        or_(pools.c.fingerprint == bindparam("fingerprint"), bindparam("fingerprint") == ""),
        pools.c.seen_at > database_now() - NOTED_EVERY_S,
    )
)
_NOTE: Final = Prepared(update(pools).where(pools.c.name == bindparam("pool")))
_FIRST_NOTE: Final = Prepared(insert(pools))


class PoolVerbs:
    """What the service asks of its database about the pools."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> list[PoolRow]:
        """Read the pools seen within a day, by name."""
        held = (
            select(shards.c.pool, func.count().label("num_leased"))
            .where(IS_LEASED)
            .group_by(shards.c.pool)
            .subquery()
        )
        query = (
            select(pools, func.coalesce(held.c.num_leased, 0).label("num_leased"))
            .outerjoin(held, held.c.pool == pools.c.name)
            .order_by(pools.c.name)
        )
        with self._database.read() as connection:
            return [
                PoolRow(
                    name=row.name,
                    generators=tuple(row.generators.split(",")),
                    fingerprint=row.fingerprint,
                    seen_at=row.seen_at,
                    num_leased=row.num_leased,
                )
                for row in connection.execute(query)
            ]

    def forget(self) -> int:
        """Forget the pools that asked for nothing in a day; return how many."""
        old = pools.c.seen_at < database_now() - FORGOTTEN_AFTER_S
        with self._database.read() as connection:
            if not connection.scalar(select(func.count()).select_from(pools).where(old)):
                return 0
        with self._database.write() as tx:
            return tx.connection.execute(delete(pools).where(old)).rowcount


def pool_is_noted(session: Session, request: LeaseRequest) -> bool:
    """Tell whether it was written down just now that this pool asks, and what it can do."""
    return session.row(_IS_NOTED, _described(request)) is not None


def note_pool(database: Database, request: LeaseRequest) -> None:
    """Write down that a pool asked for work, and what it can do."""
    try:
        with database.write() as tx:
            _write(tx, _described(request))
    except IntegrityError:  # PostgreSQL: its first two requests came at once
        return


def fingerprint_id(request: LeaseRequest) -> str:
    """Return the id of a pool's fingerprint; '' while it has no actor."""
    return "" if request.fingerprint is None else request.fingerprint.id


def _described(request: LeaseRequest) -> dict[str, str]:
    return {
        "pool": request.pool,
        "generators": ",".join(request.generators),
        "fingerprint": fingerprint_id(request),
    }


def _write(tx: Transaction, described: dict[str, str]) -> None:
    """Keep the fingerprint that a pool had, while it has no actor."""
    seen = {"generators": described["generators"], "seen_at": tx.now}
    fingerprint = {"fingerprint": described["fingerprint"]}
    changed = seen | (fingerprint if described["fingerprint"] else {})
    name = described["pool"]
    if not tx.session.change(_NOTE, changed | {"pool": name}):
        tx.session.change(_FIRST_NOTE, seen | fingerprint | {"name": name})
