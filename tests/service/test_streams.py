"""Event streams that wait hold no connection of the database: others go on beside any number."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
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


def test_requests_go_on_while_streams_wait_though_there_is_one_connection(
    one_connection: tuple[str, Database],
) -> None:
    url, held = one_connection
    waiting = threading.Semaphore(0)

    def watch(job_id: str) -> list[str]:
        with httpx.stream("GET", f"{url}/v1/jobs/{job_id}/events", timeout=60) as stream:
            seen = []
            for line in stream.iter_lines():
                seen.append(line)
                if line == "event: state" and len(seen) < 4:
                    waiting.release()
        return [line for line in seen if line.startswith("data: ")]

    with Client(url, retry_for_s=0) as client, ThreadPoolExecutor(NUM_STREAMS) as threads:
        watched = client.submit(SPEC)
        streams = [threads.submit(watch, watched.id) for _ in range(NUM_STREAMS)]
        for _ in streams:
            assert waiting.acquire(timeout=60)
        # Every stream has told what there was, and waits for more.
        other = client.submit(SPEC)
        for _ in range(20):
            assert client.get(other.id).state is JobState.QUEUED
        (lease,) = client.lease(driver.request()).leases
        assert lease.job_id == watched.id
        assert not any(stream.done() for stream in streams)
        client.cancel(watched.id)
        client.return_(lease.token, LeaseReturn(reason="cancelled"))
        for stream in streams:
            assert '"state":"cancelled"' in stream.result(60)[-1]
    assert held.engine.pool.checkedout() <= 1  # type: ignore[attr-defined]
