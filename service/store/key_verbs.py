"""The verbs of keys: make, find by hash, list, revoke. The key itself never comes here."""

from __future__ import annotations

import secrets
from typing import Final

from sqlalchemy import bindparam, insert, select, update

from service.database import Database, Transaction
from service.errors import UnknownKeyError
from service.statements import Prepared
from service.store.rows import KeyRow, key_row
from service.tables import api_keys
from synthforge.keys import KeyRequest

_ID_BYTES: Final = 6

_INSERT: Final = insert(api_keys).returning(api_keys)
_BY_HASH: Final = Prepared(select(api_keys).where(api_keys.c.hash == bindparam("hash")))
_BY_ID: Final = select(api_keys).where(api_keys.c.id == bindparam("id"))
_REVOKE: Final = update(api_keys).where(
    api_keys.c.id == bindparam("key"), api_keys.c.revoked_at.is_(None)
)


class KeyVerbs:
    """What the service asks of its database about keys."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, wanted: KeyRequest, key_hash: str) -> KeyRow:
        """Keep a new key by its hash; the same hash again is the same key, as it was made."""
        with self._database.write() as tx:
            held = _by_hash(tx, key_hash)
            if held is not None:
                return held
            row = {
                "id": f"key-{secrets.token_hex(_ID_BYTES)}",
                "name": wanted.name,
                "hash": key_hash,
                "scopes": ",".join(sorted(set(wanted.scopes))),
                "max_jobs": wanted.max_jobs,
                "max_samples": wanted.max_samples,
                "max_bytes": wanted.max_bytes,
                "num_jobs": 0,
                "num_samples": 0,
                "num_bytes": 0,
                "created_at": tx.now,
            }
            return key_row(tx.connection.execute(_INSERT, row).one())

    def by_hash(self, key_hash: str) -> KeyRow | None:
        """Find a key, revoked or not."""
        with self._database.session() as session:
            row = session.row(_BY_HASH, {"hash": key_hash})
        return None if row is None else key_row(row)

    def all(self) -> list[KeyRow]:
        """Read every key, the oldest first."""
        with self._database.read() as connection:
            rows = connection.execute(select(api_keys).order_by(api_keys.c.num))
            return [key_row(row) for row in rows]

    def revoke(self, key_id: str) -> KeyRow:
        """Let a key do nothing more; its jobs go on. One that was revoked before stays so.

        Raises:
            UnknownKeyError: there is none of that id.
        """
        with self._database.write() as tx:
            tx.connection.execute(_REVOKE, {"key": key_id, "revoked_at": tx.now})
            row = tx.connection.execute(_BY_ID, {"id": key_id}).first()
        if row is None:
            raise UnknownKeyError(key_id)
        return key_row(row)


def _by_hash(tx: Transaction, key_hash: str) -> KeyRow | None:
    row = tx.session.row(_BY_HASH, {"hash": key_hash})
    return None if row is None else key_row(row)
