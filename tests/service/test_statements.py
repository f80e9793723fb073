"""Prepared statements: the driver runs what Core built, and fails as SQLAlchemy does."""

from __future__ import annotations

import pytest
from sqlalchemy import bindparam, insert, literal_column, select, update
from sqlalchemy.exc import IntegrityError, OperationalError

from service.statements import Prepared
from service.store import Store
from service.tables import api_keys, pools

_ADD = Prepared(insert(pools))
_ALL = Prepared(select(pools.c.name, pools.c.seen_at).order_by(pools.c.name).limit(9))
_CHANGE = Prepared(update(pools).where(pools.c.name == bindparam("pool")))


def pool(name: str) -> dict[str, object]:
    return {"name": name, "generators": "builtin", "fingerprint": "", "seen_at": 1.5}


def test_a_statement_writes_the_columns_that_it_is_given(store: Store) -> None:
    with store.database.write() as tx:
        tx.session.change_each(_ADD, [pool("b"), pool("a")])
        assert tx.session.change(_CHANGE, {"pool": "a", "seen_at": 2.5}) == 1
        assert tx.session.change(_CHANGE, {"pool": "a", "seen_at": 3.5, "generators": "x"}) == 1
        assert tx.session.change(_CHANGE, {"pool": "c", "seen_at": 2.5}) == 0
    with store.database.session() as session:
        assert session.rows(_ALL, {}) == [("a", 3.5), ("b", 1.5)]


def test_what_the_driver_refuses_comes_out_as_sqlalchemys_and_nothing_is_kept(
    store: Store,
) -> None:
    def add_twice() -> None:
        with store.database.write() as tx:
            tx.session.change(_ADD, pool("a"))
            tx.session.change(_ADD, pool("a"))

    with pytest.raises(IntegrityError):
        add_twice()
    with store.database.session() as session:
        assert session.rows(_ALL, {}) == []


def test_no_value_of_a_failed_statement_is_in_its_error(sqlite_store: Store) -> None:
    broken = Prepared(select(literal_column("nowhere")).where(api_keys.c.hash == bindparam("hash")))
    with pytest.raises(OperationalError) as failed, sqlite_store.database.session() as session:
        session.rows(broken, {"hash": "secret-value"})
    assert "secret-value" not in str(failed.value)
