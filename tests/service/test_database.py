"""The schema and its history, the clock, and how two processes share a database."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import delete, event, inspect, make_url, select, text

from service import execution
from service.app import open_store
from service.database import Database, database_now
from service.leasing import Terms
from service.settings import Settings
from service.store import Store
from service.tables import jobs, metadata
from synthforge.leases import Heartbeat, LeaseReturn, SummaryReport
from tests.service import driver
from tests.service.test_store import submit
from tools.postgres_server import PostgresServer

# Walked in the order in which work is handed out, up to the first job that has some.
_MAY_BE_SCANNED = ("USING INDEX ix_jobs_leasable",)
TERMS = Terms(lease_s=30, heartbeat_s=5, stall_s=100)


def test_the_migrations_make_the_tables_that_the_code_uses(store: Store) -> None:
    with store.database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_the_schema_goes_down_and_up_again(store: Store) -> None:
    database = store.database
    assert database.is_ready()
    database.migrate("base")
    assert inspect(database.engine).get_table_names() == ["alembic_version"]
    assert not database.is_ready()
    database.migrate()
    database.migrate()  # there already: changes nothing
    assert database.is_ready()


def test_what_was_measured_before_an_upgrade_is_kept_by_gc(store: Store) -> None:
    store.database.migrate("base")
    store.database.migrate("0010")
    with store.database.write() as tx:
        tx.connection.execute(
            text("INSERT INTO rates VALUES ('builtin', 256, 'jpg', 'r', 1, 0, 1, 1.0)")
        )
    store.database.migrate()
    assert store.retention.num_old_rates(60) == 0
    assert len(store.rates.of_generator("builtin")) == 1


def test_the_clock_is_the_databases(store: Store) -> None:
    with store.database.read() as connection:
        now = connection.scalar(select(database_now()))
    assert now == pytest.approx(time.time(), abs=5)


def test_replicas_that_start_at_once_migrate_once(store: Store) -> None:
    store.database.migrate("base")
    replicas = [Database(store.database.url) for _ in range(4)]
    with ThreadPoolExecutor() as threads:
        list(threads.map(Database.migrate, replicas))
    for replica in replicas:
        assert replica.is_ready()
        replica.close()


def test_sqlite_keeps_a_log_ahead_and_its_foreign_keys(sqlite_store: Store) -> None:
    with sqlite_store.database.read() as connection:
        assert connection.scalar(text("PRAGMA journal_mode")) == "wal"
        assert connection.scalar(text("PRAGMA foreign_keys")) == 1
        assert connection.scalar(text("PRAGMA synchronous")) == 1


def test_a_power_cut_can_be_paid_for(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'x.db'}", sqlite_synchronous="full")
    with database.read() as connection:
        assert connection.scalar(text("PRAGMA synchronous")) == 2
    database.close()


def test_what_fails_half_way_is_not_kept(store: Store) -> None:
    submit(store, "a")

    def fail() -> None:
        with store.database.write() as tx:
            tx.connection.execute(delete(jobs))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert store.jobs.get("a").id == "a"


def test_two_processes_share_one_database(store: Store) -> None:
    other = Store(Database(store.database.url))
    submit(store, "a")
    submit(other, "b")
    assert [job.id for job in store.jobs.page(9)] == ["b", "a"]
    other.database.close()


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///:memory:", "mysql://host/name", "jobs.db", ""]
)
def test_a_database_that_would_not_do_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="database_url"):
        Database(url)


def test_no_secret_of_a_url_is_in_its_refusal() -> None:
    with pytest.raises(ValueError, match="mysql") as refused:
        Database("mysql://user:secret@host/name")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "place", "why"),
    [
        ("sqlite:////no/such/folder/x.db", "/no/such/folder/x.db", "unable to open database file"),
        ("postgresql://me:secret@127.0.0.1:9/x", "postgresql://me:***@127.0.0.1:9/x", "refused"),
    ],
)
def test_a_database_that_cannot_be_opened_says_where_and_why(
    url: str, place: str, why: str
) -> None:
    with pytest.raises(OSError, match="cannot be opened") as refused:
        open_store(Settings(database_url=url))
    assert f"the database {place} cannot be opened: " in str(refused.value)
    assert why in str(refused.value)
    assert "secret" not in str(refused.value)


def test_an_idempotency_key_is_known_after_a_restart(database_url: str) -> None:
    made = []
    for name in ("a", "b"):
        store = Store(Database(database_url))
        made.append(submit(store, name, idempotency_key="k").id)
        store.database.close()
    assert made == ["a", "a"]


def test_a_connection_that_died_while_nobody_asked_is_replaced(
    postgres_url: str, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.database._TRUSTED_S", 0.0)
    store = Store(Database(postgres_url))
    submit(store, "a")
    with postgres_server.connect() as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = %s",
            [make_url(postgres_url).database],
        )
    assert [job.id for job in store.jobs.page(9)] == ["a"]
    store.database.close()


def _live_a_little(store: Store) -> None:
    """Use every verb that a busy service uses."""
    submit(store, "a", idempotency_key="k")
    leases = store.leases.lease(driver.request(max_leases=2), TERMS)
    execution.heartbeat(store, leases[0].token, Heartbeat(num_samples=1), TERMS)
    execution.give_back(store, leases[0].token, LeaseReturn(reason="stopping"))
    clock = Store(Database(store.database.url))  # it moves time unseen
    driver.age(clock, 31)
    clock.database.close()
    store.leases.lapse(TERMS)
    for lease in store.leases.lease(driver.request(max_leases=9), TERMS):
        plan = driver.plan_of(lease.job, lease.position)
        execution.report(store, lease.token, driver.shard_report(plan))
    (summary,) = store.leases.lease(driver.request(), TERMS)
    execution.summary_records(store, summary.token, -1)
    execution.report(store, summary.token, SummaryReport(files=()))
    (job,) = store.datasets.awaiting_manifest()
    list(store.datasets.records(job.num))
    store.datasets.succeed(job.num, "0" * 64)
    store.jobs.events(job.num, 0, 10)
    store.jobs.get("a")


def test_no_verb_reads_a_whole_table_or_sorts_one(sqlite_store: Store) -> None:
    ran: list[str] = []
    watched = Store(Database(sqlite_store.database.url))

    def watch(connection: Any, _record: Any) -> None:
        connection.set_trace_callback(ran.append)

    event.listen(watched.database.engine, "connect", watch)
    _live_a_little(watched)
    watched.database.close()
    with sqlite_store.database.read() as connection:
        for statement in ran:
            if not statement.startswith(("SELECT", "UPDATE")):
                continue
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}")
            steps = [str(row[-1]) for row in plan]
            scans = [
                step
                for step in steps
                if (step.startswith("SCAN") or "ORDER BY" in step)
                and not step.endswith(("CONSTANT ROW", *_MAY_BE_SCANNED))
            ]
            assert scans == [], (statement, steps)
    assert len(ran) > 30
