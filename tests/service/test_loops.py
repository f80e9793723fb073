"""The service's own threads: they go on whatever a step does, and stop when told."""

from __future__ import annotations

import logging
import threading

import pytest

from service.app import create_app
from service.leasing import Terms
from service.loops import Loop, Reaper
from service.settings import Settings
from service.store import Store
from tests.service import driver
from tests.service.test_store import submit


def test_a_step_that_fails_is_counted_and_the_next_comes(caplog: pytest.LogCaptureFixture) -> None:
    enough = threading.Event()
    failed: list[str] = []

    def step() -> None:
        if len(failed) == 2:
            enough.set()
            return
        raise RuntimeError("a bug")

    loop = Loop("reaper", step, 0.001, failed.append)
    with caplog.at_level(logging.CRITICAL):
        loop.start()
        assert enough.wait(10)
        loop.stop()
    assert failed == ["reaper", "reaper"]


def test_a_loop_is_woken_before_its_time() -> None:
    stepped = threading.Semaphore(0)
    woken = threading.Event()
    loop = Loop("committer", stepped.release, 3600, lambda _name: None, woken)
    loop.start()
    assert stepped.acquire(timeout=10)
    woken.set()
    assert stepped.acquire(timeout=10)
    loop.stop()


def test_the_reaper_takes_lapsed_leases_back(settings: Settings, sqlite_store: Store) -> None:
    context = create_app(settings, sqlite_store).state.context
    submit(sqlite_store, "a")
    sqlite_store.leases.lease(driver.request(max_leases=2), Terms(30, 5, 100))
    assert Reaper(context).step() == 0
    driver.age(sqlite_store, 31)
    assert Reaper(context).step() == 2
    assert b"synthforge_leases_lapsed_total 2.0" in context.metrics.exposition()
    assert sqlite_store.jobs.get("a").num_leased == 0
