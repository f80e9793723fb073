"""Two replicas of the service on one PostgreSQL: a job may come and go by either."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from service.server import serving
from service.settings import Settings
from synthforge.client import Client
from synthforge.job_events import JobEvent
from synthforge.leases import Heartbeat
from synthforge.refusals import ConflictError
from synthforge.storage import open_storage
from tests.service import driver

SPEC = {"count": 60, "output": {"samples_per_shard": 5}}
NUM_JOBS = 4


@pytest.fixture
def replicas(settings: Settings, postgres_url: str) -> Iterator[tuple[Client, Client]]:
    own = replace(
        settings, database_url=postgres_url, port=0, reap_interval_s=0.02, events_poll_s=0.02
    )
    with (
        serving(own) as first_url,
        serving(own) as second_url,
        Client(first_url, retry_for_s=0) as first,
        Client(second_url, retry_for_s=0) as second,
    ):
        # FastAPI makes its routes at the first request, under `warnings.catch_warnings`, which two
        # threads of one process must not enter at once.
        assert first.is_ready()
        assert second.is_ready()
        yield first, second


def work(asks: Client, tells: Client, name: str) -> int:
    """Lease by one replica and report by the other until there is nothing to do."""
    num_done = 0
    while leases := asks.lease(driver.request(name, max_leases=3)).leases:
        for lease in leases:
            tells.heartbeat(lease.token, Heartbeat(num_samples=1))
            num_done += tells.report(
                lease.token, driver.carry_out(lease, open_storage(lease.output_url))
            )
    return num_done


def test_shards_leased_by_one_replica_are_reported_to_the_other(
    replicas: tuple[Client, Client],
) -> None:
    first, second = replicas
    with ThreadPoolExecutor() as threads:
        submitted = list(threads.map(lambda i: replicas[i % 2].submit(SPEC).id, range(NUM_JOBS)))
        pools = [
            threads.submit(work, *(replicas if i % 2 else replicas[::-1]), f"pool-{i}")
            for i in range(4)
        ]
        num_done = sum(pool.result() for pool in pools)
    num_done += work(first, second, "last")  # summaries that came due after a pool had left
    assert num_done == NUM_JOBS * (12 + 1)
    for job_id in submitted:
        done = second.wait(job_id)
        assert (done.state, done.counts.completed) == ("succeeded", 60)
        manifest = first.manifest_bytes(job_id)
        assert manifest == second.manifest_bytes(job_id)
        assert manifest == open_storage(done.output_url).get_bytes("manifest.json")


def test_one_key_sent_to_both_replicas_at_once_makes_one_job(
    replicas: tuple[Client, Client],
) -> None:
    barrier = threading.Barrier(8)

    def submit(number: int) -> str:
        barrier.wait()
        return replicas[number % 2].submit(SPEC, idempotency_key="k").id

    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(submit, range(8)))) == 1


def test_one_prefix_asked_of_both_replicas_at_once_goes_to_one(
    replicas: tuple[Client, Client], settings: Settings
) -> None:
    spec = SPEC | {"output": {"url": f"{settings.output_prefixes[0]}/faces"}}
    barrier = threading.Barrier(6)

    def submit(number: int) -> bool:
        barrier.wait()
        try:
            replicas[number % 2].submit(spec)
        except ConflictError:
            return False
        return True

    with ThreadPoolExecutor(6) as threads:
        assert sum(threads.map(submit, range(6))) == 1


def test_a_watcher_of_one_replica_hears_what_the_other_did(
    replicas: tuple[Client, Client],
) -> None:
    first, second = replicas
    job = first.submit(SPEC)
    heard: list[JobEvent] = []
    watcher = threading.Thread(target=lambda: heard.extend(first.events(job.id)))
    watcher.start()
    second.cancel(job.id)
    watcher.join(20)
    assert [event.state for event in heard] == ["queued", "cancelled"]
