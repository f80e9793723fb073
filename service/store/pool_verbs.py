"""The verbs of pools: who asks for work, and what they hold."""

from __future__ import annotations

from typing import Final

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from service.database import Database, Transaction, database_now
from service.store.rows import PoolRow
from service.tables import pools, shards
from synthforge.leases import LeaseRequest

NOTED_EVERY_S: Final = 5.0  # an idle pool asks every second; not every time is written down
FORGOTTEN_AFTER_S: Final = 86_400.0


class PoolVerbs:
    """What the service asks of its database about the pools."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def note(self, request: LeaseRequest) -> None:
        """Remember that a pool asked for work, and what it can do."""
        values = {
            "generators": ",".join(request.generators),
            "fingerprint": request.fingerprint.id,
        }
        with self._database.read() as connection:
            fresh = select(pools.c.name).where(
                pools.c.name == request.pool,
                pools.c.seen_at > database_now() - NOTED_EVERY_S,
                *(pools.c[name] == value for name, value in values.items()),
            )
            if connection.scalar(fresh) is not None:
                return
        try:
            with self._database.write() as tx:
                _write(tx, request.pool, values)
        except IntegrityError:  # PostgreSQL: its first two requests came at once
            return

    def all(self) -> list[PoolRow]:
        """Read the pools seen within a day, by name."""
        held = (
            select(shards.c.pool, func.count().label("num_leased"))
            .where(shards.c.state == "leased")
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


def _write(tx: Transaction, name: str, values: dict[str, str]) -> None:
    seen = values | {"seen_at": tx.now}
    known = tx.connection.execute(update(pools).where(pools.c.name == name).values(**seen))
    if known.rowcount == 0:
        tx.connection.execute(insert(pools).values(name=name, **seen))
