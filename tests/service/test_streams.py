"""Event streams that wait hold no connection of the database: others go on beside any number."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
import sqlalchemy

from service import database
from service.app import create_app
from service.database import Database
from service.server import serving
from service.settings import Settings
from service.store import Store
from synthforge.client import Client
from synthforge.job_status import JobState
from synthforge.leases import LeaseReturn
from tests.service import driver

NUM_STREAMS = 5
SPEC = {"count": 4, "output": {"samples_per_shard": 2}}


@pytest.fixture
def one_connection(
    settings: Settings, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str, Database]]:
    """A service whose database lends one connection at a time; its URL, and that database."""

    def small(url: Any, **options: Any) -> sqlalchemy.Engine:
        bounds = {"pool_size": 1, "max_overflow": 0, "pool_timeout": 5}
        return sqlalchemy.create_engine(url, **options | bounds)

    monkeypatch.setattr(database, "create_engine", small)
    held = Database(database_url)
    own = replace(settings, database_url=database_url, port=0, events_poll_s=0.02)
    with serving(own, create_app(own, Store(held))) as url:
        yield url, held


class Watcher(threading.Thread):
    """Reads a stream of events on a thread, to its end."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)  # where the test fails, the stream ends with its server
        self._url = url
        self.has_told = threading.Event()
        self.status = 0
        self.data: list[str] = []

    def run(self) -> None:
        with httpx.stream("GET", self._url, timeout=60) as stream:
            self.status = stream.status_code
            for line in stream.iter_lines():
                if line.startswith("data: "):
                    self.data.append(line)
                    self.has_told.set()
        self.has_told.set()


def test_requests_go_on_while_streams_wait_though_there_is_one_connection(
    one_connection: tuple[str, Database],
) -> None:
    url, held = one_connection
    with Client(url, retry_for_s=0) as client:
        watched = client.submit(SPEC)
        watchers = [Watcher(f"{url}/v1/jobs/{watched.id}/events") for _ in range(NUM_STREAMS)]
        for watcher in watchers:
            watcher.start()
        for watcher in watchers:
            assert watcher.has_told.wait(60)
        # Every stream has told what there was, and waits for more.
        assert [watcher.status for watcher in watchers] == [200] * NUM_STREAMS
        other = client.submit(SPEC)
        for _ in range(20):
            assert client.get(other.id).state is JobState.QUEUED
        (lease,) = client.lease(driver.request()).leases
        assert lease.job_id == watched.id
        assert all(watcher.is_alive() for watcher in watchers)
        client.cancel(watched.id)
        client.return_(lease.token, LeaseReturn(reason="cancelled"))
        for watcher in watchers:
            watcher.join(60)
            assert '"state":"cancelled"' in watcher.data[-1]
    assert held.engine.pool.checkedout() <= 1  # type: ignore[attr-defined]
