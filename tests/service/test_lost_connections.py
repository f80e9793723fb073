"""A connection to PostgreSQL that is lost at any statement: all of a verb is done, or nothing."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from typing import Any, Final

import psycopg
import pytest
from sqlalchemy import event, select
from sqlalchemy.exc import OperationalError

from service import execution
from service.database import Database
from service.leasing import Terms
from service.rates import Rate, RateKey
from service.statements import Session
from service.store import Store
from service.store.claim_verbs import awaits_clearance, awaits_manifest
from service.store.log_verbs import NewLine
from service.store.preview_verbs import NewPreview
from service.store.rows import Granted
from service.tables import metadata, pools
from synthforge.leases import Heartbeat, LeaseReturn, SummaryReport
from tests.service import driver
from tests.service.test_store import submit

TERMS: Final = Terms(lease_s=30, heartbeat_s=5, stall_s=100)
MOST_STATEMENTS: Final = 40


class Cutter:
    """Ends the connection of a store before its n-th statement from now."""

    def __init__(self) -> None:
        self._left = 0
        self.num_cut = 0

    def cut_before(self, number: int) -> None:
        self._left = number

    def note(self, connection: psycopg.Connection[Any]) -> None:
        self._left -= 1
        if self._left == 0:
            with socket.socket(fileno=os.dup(connection.fileno())) as wire:
                wire.shutdown(socket.SHUT_RDWR)
            self.num_cut += 1


@pytest.fixture
def cutter(monkeypatch: pytest.MonkeyPatch) -> Cutter:
    made = Cutter()
    for name in ("control", "_run", "change_each"):
        monkeypatch.setattr(Session, name, _noted(getattr(Session, name), made))
    return made


def _noted(method: Callable[..., Any], cutter: Cutter) -> Callable[..., Any]:
    def noted(session: Session, *arguments: Any) -> Any:
        cutter.note(session._driver)
        return method(session, *arguments)

    return noted


@pytest.fixture
def store(postgres_url: str, cutter: Cutter) -> Iterator[Store]:
    database = Database(postgres_url)

    def noted(_connection: Any, cursor: Any, *_arguments: Any) -> None:
        cutter.note(cursor.connection)

    event.listen(database.engine, "before_cursor_execute", noted)
    yield Store(database)
    database.close()


@pytest.fixture
def unwatched(postgres_url: str) -> Iterator[Store]:
    """A store on the same database whose connections stay."""
    database = Database(postgres_url)
    yield Store(database)
    database.close()


def snapshot(store: Store) -> dict[str, list[Any]]:
    """Return every row there is, but of pools: that one asks is written down by itself."""
    with store.database.read() as connection:
        return {
            table.name: sorted(map(tuple, connection.execute(select(table))), key=repr)
            for table in metadata.sorted_tables
            if table is not pools
        }


def test_a_connection_lost_at_any_statement_leaves_all_or_nothing(
    store: Store, unwatched: Store, cutter: Cutter
) -> None:
    def survived(verb: Callable[[], Any]) -> Any:
        """Lose the connection before each of a verb's statements; return what it gives at last."""
        before = snapshot(unwatched)
        for number in range(1, MOST_STATEMENTS):
            cutter.cut_before(number)
            num_cut = cutter.num_cut
            try:
                result = verb()
            except OperationalError:
                assert cutter.num_cut == num_cut + 1
                assert snapshot(unwatched) == before, f"before statement {number}"
                continue
            assert cutter.num_cut == num_cut, f"the loss before statement {number} went unseen"
            assert number > 1
            cutter.cut_before(0)
            return result
        raise AssertionError("it has no end")

    def committed(lease: Granted) -> None:
        plan = driver.plan_of(lease.job, lease.position)
        survived(lambda: execution.report(store, lease.token, driver.shard_report(plan)))

    held = store
    num = survived(lambda: submit(held, "a", idempotency_key="k")).num
    survived(lambda: held.actions.pause("a"))
    survived(lambda: held.actions.resume("a"))
    first, second = survived(lambda: held.leases.lease(driver.request(max_leases=2), TERMS))
    survived(lambda: execution.heartbeat(held, first.token, Heartbeat(num_samples=1), TERMS))
    survived(lambda: held.logs.add(num, [NewLine(0.0, "info", "x", "pool-a")]))
    survived(lambda: execution.give_back(held, first.token, LeaseReturn(reason="stopping")))
    driver.age(unwatched, 31)
    assert survived(lambda: held.leases.lapse(TERMS)) == 1
    assert second.position == 1
    for lease in survived(lambda: held.leases.lease(driver.request(max_leases=9), TERMS)):
        committed(lease)
    (summary,) = survived(lambda: held.leases.lease(driver.request(), TERMS))
    survived(lambda: execution.report(held, summary.token, SummaryReport(files=())))
    assert survived(lambda: held.claims.take(num, awaits_manifest, "one", 60))
    assert survived(lambda: held.claims.keep(num, awaits_manifest, "one", 60))
    assert survived(lambda: held.datasets.succeed(num, "0" * 64))
    survived(lambda: held.claims.release(num, "one"))
    survived(lambda: held.actions.clear("a"))
    assert held.claims.take(num, awaits_clearance, "two", 60)
    assert survived(lambda: held.actions.cleared(num, "two"))
    survived(lambda: submit(held, "b"))
    survived(lambda: held.actions.cancel("b"))
    survived(lambda: held.actions.retry("b"))
    survived(lambda: held.rates.add({RateKey("builtin", 256, "jpg", "r"): Rate(1, 0, 1, 1.0)}))
    preview = NewPreview("p", "builtin", "{}", 1, "file:///x")
    survived(lambda: held.previews.ask(preview, 60, 9))
    assert survived(lambda: held.previews.lease(("builtin",), 1))
    assert survived(lambda: held.previews.report("p", "{}"))
    survived(lambda: held.retention.drop_events(num))
    survived(lambda: held.retention.forget(num))
    assert cutter.num_cut > 100
