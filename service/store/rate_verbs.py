"""The verbs of measured rates: what samples cost, in sums a kind of job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from sqlalchemy import bindparam, insert, select, update

from service.database import Database, database_now
from service.rates import Rate, RateKey
from service.tables import rates

_IS_KEY: Final = (
    (rates.c.generator == bindparam("generator_"))
    & (rates.c.image_size == bindparam("image_size_"))
    & (rates.c.members == bindparam("members_"))
    & (rates.c.ranges == bindparam("ranges_"))
)
_HELD: Final = select(rates).where(_IS_KEY).with_for_update()
_CHANGE: Final = update(rates).where(_IS_KEY)
_FIRST: Final = insert(rates)
_OF_GENERATOR: Final = select(rates).where(rates.c.generator == bindparam("generator"))


class RateVerbs:
    """What the service asks of its database about measured rates."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, noted: Mapping[RateKey, Rate]) -> None:
        """Add what was measured to the sums."""
        with self._database.write() as tx:
            noted_at = {"noted_at": tx.now}
            for key, rate in sorted(noted.items(), key=lambda item: str(item[0])):
                named = {f"{name}_": value for name, value in asdict(key).items()}
                row = tx.connection.execute(_HELD, named).first()
                if row is None:
                    tx.connection.execute(_FIRST, asdict(key) | asdict(rate) | noted_at)
                else:
                    total = (_rate(row) + rate).halved()
                    tx.connection.execute(_CHANGE, named | asdict(total) | noted_at)

    def of_generator(self, generator: str) -> dict[RateKey, Rate]:
        """Read all that was measured of a generator."""
        with self._database.read() as connection:
            rows = connection.execute(_OF_GENERATOR, {"generator": generator}).all()
        return {
            RateKey(row.generator, row.image_size, row.members, row.ranges): _rate(row)
            for row in rows
        }

    def now(self) -> float:
        """Return the database's time."""
        with self._database.read() as connection:
            return float(connection.scalar(select(database_now())) or 0.0)


def _rate(row: Any) -> Rate:
    return Rate(row.num_samples, row.num_rejected, row.num_bytes, row.seconds)
