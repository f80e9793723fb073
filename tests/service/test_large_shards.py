"""Shards of scattered samples: their plans and reports are megabytes, and are taken so."""

from __future__ import annotations

from service.settings import Settings
from service.sized_cache import SizedCache
from tests.service import driver
from tests.service.driver import TestClient
from tests.service.test_extensions import posted

# Every other sample is of each split: no range holds two.
SPEC = {
    "count": 200_000,
    "output": {"samples_per_shard": 100_000, "splits": {"train": 0.5, "val": 0.5}},
}


def test_a_report_of_the_most_samples_is_taken(http: TestClient, settings: Settings) -> None:
    posted(http, "/v1/jobs", **SPEC)
    (lease,) = driver.lease(http)
    assert lease.plan is not None
    body = driver.shard_report(lease.plan).model_dump_json()
    assert len(body) > settings.body_limit_bytes
    answer = driver.post_json(http, f"/v1/leases/{lease.token}/report", body)
    assert answer.status_code == 200, answer.text


def test_workers_alone_may_send_so_much_and_they_have_a_limit_too(
    http: TestClient, settings: Settings
) -> None:
    padding = " " * settings.body_limit_bytes
    assert driver.post_json(http, "/v1/jobs", '{"count": 1}' + padding).status_code == 413
    returned = '{"reason": "stopping"}' + padding
    assert driver.post_json(http, "/v1/leases/t/return", returned).status_code == 409
    beyond = " " * settings.worker_body_limit_bytes + returned
    assert driver.post_json(http, "/v1/leases/t/return", beyond).status_code == 413


def test_a_cache_of_plans_is_bounded_by_their_bytes() -> None:
    made: list[str] = []

    def asked(key: str, size: int) -> str:
        def make() -> str:
            made.append(key)
            return key * size

        return cache.get(key, make)

    cache: SizedCache[str, str] = SizedCache(10, len)
    assert asked("a", 4) == "aaaa"
    asked("b", 4)
    asked("a", 4)  # it is younger than b now
    asked("c", 4)
    assert (made, cache.num_bytes) == (["a", "b", "c"], 8)
    asked("a", 4)
    asked("b", 4)
    assert made == ["a", "b", "c", "b"]
    for _ in range(2):
        asked("d", 11)  # more than there is room for
    assert made[-2:] == ["d", "d"]
    assert cache.num_bytes == 8
