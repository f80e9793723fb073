"""The service's own threads: they go on whatever a step does, and stop when told."""

from __future__ import annotations

import logging
import threading

import pytest

from service.app import create_app
from service.leasing import Terms
from service.loops import MOST_REFUSALS, Clearer, Committer, Loop, Reaper, stop_all
from service.patience import LONGEST_WAIT_S
from service.settings import Settings
from service.store import Store
from synthforge.storage import Storage, StorageRefused, open_storage
from synthforge.urls import UrlError
from tests.service import driver
from tests.service.driver import TestClient
from tests.service.test_extensions import SPEC, finished, posted
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
        stop_all([loop])
    assert failed == ["reaper", "reaper"]


def test_steps_that_fail_all_night_are_logged_ever_less_and_their_end_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    enough = threading.Event()
    failed: list[str] = []

    def step() -> None:
        if len(failed) < 100:
            raise RuntimeError("no database")
        enough.set()

    loop = Loop("reaper", step, 0.0001, failed.append)
    with caplog.at_level(logging.INFO):
        loop.start()
        assert enough.wait(10)
        stop_all([loop])
        loop.join(10)
    told = [(record.getMessage(), vars(record)["times"]) for record in caplog.records]
    assert told == [
        *[("a step failed", 2**power) for power in range(7)],
        ("steps succeed again", 100),
    ]


def test_a_loop_is_woken_before_its_time() -> None:
    stepped = threading.Semaphore(0)
    woken = threading.Event()
    loop = Loop("committer", stepped.release, 3600, lambda _name: None, woken)
    loop.start()
    assert stepped.acquire(timeout=10)
    woken.set()
    assert stepped.acquire(timeout=10)
    stop_all([loop])


def test_steps_on_their_way_share_one_time_to_end() -> None:
    waited: list[float] = []

    class Stuck(Loop):
        def join(self, timeout_s: float) -> None:
            assert all(loop._stopped for loop in loops), "one was waited for before all were told"
            waited.append(timeout_s)
            now[0] += timeout_s

    loops = [Stuck(name, lambda: None, 3600, lambda _name: None) for name in ("a", "b", "c")]
    now = [100.0]
    stop_all(loops, lambda: now[0])
    assert waited == [5.0, 0.0, 0.0]


def test_the_reaper_takes_lapsed_leases_back(settings: Settings, sqlite_store: Store) -> None:
    context = create_app(settings, sqlite_store).state.context
    submit(sqlite_store, "a")
    sqlite_store.leases.lease(driver.request(max_leases=2), Terms(30, 5, 100))
    assert Reaper(context).step() == 0
    driver.age(sqlite_store, 31)
    assert Reaper(context).step() == 2
    assert b"synthforge_leases_lapsed_total 2.0" in context.metrics.exposition()
    assert sqlite_store.jobs.get("a").num_leased == 0


class Clock:
    """Seconds that rise when they are told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def finalizing_jobs(settings: Settings, store: Store, count: int) -> list[str]:
    """Return the URLs of jobs that await their manifests."""
    http = TestClient(create_app(settings, store))
    jobs = [posted(http, "/v1/jobs", **SPEC) for _ in range(count)]
    driver.work_until_empty(http)
    return [job.output_url for job in jobs]


@pytest.mark.parametrize("error", [RuntimeError("a bug"), UrlError("key 'a (1).tar'")])
def test_one_jobs_error_holds_up_no_others_manifest(
    settings: Settings, sqlite_store: Store, error: Exception
) -> None:
    first, _second = finalizing_jobs(settings, sqlite_store, 2)
    asked: list[str] = []

    def failing(url: str) -> Storage:
        asked.append(url)
        if url == first:
            raise error
        return open_storage(url)

    clock = Clock()
    committer = Committer(create_app(settings, sqlite_store, failing).state.context, clock)
    assert committer.step() == 1
    assert committer.step() == 0
    assert asked.count(first) == 1  # it is not asked again at once
    clock.now += LONGEST_WAIT_S
    committer.step()
    assert asked.count(first) == 2


def test_one_jobs_error_holds_up_no_others_deletion(
    settings: Settings, sqlite_store: Store
) -> None:
    first, second = finalizing_jobs(settings, sqlite_store, 2)
    context = create_app(settings, sqlite_store).state.context
    assert Committer(context).step() == 2
    for job in sqlite_store.jobs.page(9):
        sqlite_store.actions.clear(job.id)

    def failing(url: str) -> Storage:
        if url == first:
            raise RuntimeError("a bug")
        return open_storage(url)

    clock = Clock()
    clearer = Clearer(create_app(settings, sqlite_store, failing).state.context, clock)
    assert clearer.step() == 1
    assert [job.output_url for job in sqlite_store.actions.awaiting_clearance()] == [first]
    assert list(open_storage(second).list_objects()) == []


def test_a_store_that_goes_on_refusing_fails_the_job_with_its_words(
    settings: Settings, sqlite_store: Store
) -> None:
    finalizing_jobs(settings, sqlite_store, 1)

    def refusing(_url: str) -> Storage:
        raise StorageRefused("the store refuses: 403 AccessDenied")

    clock = Clock()
    committer = Committer(create_app(settings, sqlite_store, refusing).state.context, clock)
    ended = 0
    for _ in range(MOST_REFUSALS):
        assert ended == 0
        ended += committer.step()
        clock.now += LONGEST_WAIT_S
    (job,) = sqlite_store.jobs.page(9)
    assert (ended, job.state) == (1, "failed")
    assert "403 AccessDenied" in (job.reason or "")
    http = TestClient(create_app(settings, sqlite_store))
    assert finished(http, posted(http, f"/v1/jobs/{job.id}/retry", 200)).num_samples == 26
