"""Estimates rest on what was measured; what was not is said to be built in."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import update

from service import estimates
from service.loops import RateKeeper
from service.rates import MOST_SAMPLES, Rate, RateKey, rate_key
from service.store import Store
from service.tables import rates
from synthforge.jobs import JobSpec
from synthforge.storage import open_storage
from tests.service import driver
from tests.service.driver import TestClient
from tests.service.test_extensions import posted

SPEC = {"count": 2000, "image": {"size": 256}, "output": {"samples_per_shard": 100}}
KEY = rate_key(JobSpec.model_validate(SPEC))
RATE = Rate(num_samples=100, num_rejected=25, num_bytes=5_000_000, seconds=10.0)


def estimate(measured: dict[RateKey, Rate], workers: int = 4) -> estimates.Estimate:
    return estimates.estimate(JobSpec.model_validate(SPEC), measured, workers)


def test_what_nobody_measured_is_built_in() -> None:
    found = estimate({})
    assert (found.num_samples, found.num_shards) == (2000, 20)
    bases = [figure.basis for figure in (found.seconds, found.num_bytes, found.refusals)]
    assert bases == ["built-in"] * 3
    assert found.wall_s == pytest.approx(2000 * 0.0625 / 4 / 4)  # a quarter of 512 x 512


def test_measured_rates_of_such_jobs_are_taken_first() -> None:
    other = replace(KEY, ranges="0" * 16)
    found = estimate({KEY: RATE, other: replace(RATE, seconds=1000.0, num_samples=10_000)})
    assert found.seconds == estimates.Figure(0.1, "measured", 100)
    assert found.num_bytes == estimates.Figure(50_000.0, "measured", 100)
    assert found.refusals == estimates.Figure(0.25, "measured", 100)
    assert found.worker_seconds == pytest.approx(200)


def test_refusals_hang_on_the_ranges_and_not_on_the_picture() -> None:
    found = estimate({replace(KEY, image_size=512, members="depth.png"): RATE})
    assert found.refusals == estimates.Figure(0.25, "measured", 100)
    assert found.seconds == estimates.Figure(0.1 / 4, "scaled", 100)
    assert found.num_bytes.basis == "built-in"


def test_too_few_samples_are_no_measurement() -> None:
    assert estimate({KEY: replace(RATE, num_samples=3)}).seconds.basis == "built-in"


def test_no_more_workers_help_than_there_are_shards() -> None:
    assert estimate({KEY: RATE}, workers=1000).wall_s == estimate({KEY: RATE}, workers=20).wall_s


def test_what_was_measured_long_ago_at_last_is_forgotten(store: Store) -> None:
    old, lately = replace(KEY, ranges="old"), replace(KEY, ranges="lately")
    store.rates.add({old: RATE, lately: RATE})
    with store.database.write() as tx:
        tx.connection.execute(update(rates).values(noted_at=rates.c.noted_at - 1000))
    assert store.retention.num_old_rates(1001) == 0
    store.rates.add({lately: RATE})
    assert store.retention.num_old_rates(999) == 1
    store.retention.drop_rates(999)
    assert set(store.rates.of_generator("builtin")) == {lately}


def test_rates_are_summed_and_late_ones_count_most(store: Store) -> None:
    store.rates.add({KEY: RATE})
    store.rates.add({KEY: RATE, replace(KEY, image_size=512): RATE})
    held = store.rates.of_generator("builtin")
    assert held[KEY] == RATE + RATE
    assert len(held) == 2
    assert store.rates.of_generator("next3d") == {}
    store.rates.add({KEY: replace(RATE, num_samples=MOST_SAMPLES)})
    assert store.rates.of_generator("builtin")[KEY].num_samples == (MOST_SAMPLES + 200) // 2


def test_reports_are_measured_and_the_next_estimate_knows(http: TestClient) -> None:
    posted(http, "/v1/jobs", **SPEC)
    for lease in driver.lease(http, max_leases=2):
        driver.age(http.app.state.context.store, 4)
        driver.report(http, lease)
    assert RateKeeper(http.app.state.context).step() == 1
    answer = http.post("/v1/estimates?workers=2", json=SPEC).json()
    assert answer["seconds_per_sample"]["basis"] == "measured"
    assert answer["seconds_per_sample"]["num_samples"] == 200
    assert answer["worker_seconds"] == pytest.approx(2000 * (4 + 8) / 200, rel=0.2)
    assert answer["num_refusals"] == 20  # one in a hundred
    assert answer["gpu_seconds"] == 0
    assert http.get("/v1/jobs").json()["jobs"][0]["shards"]["done"] == 2


def test_what_a_worker_needs_to_begin_is_no_measure_of_samples(http: TestClient) -> None:
    posted(http, "/v1/jobs", **SPEC)
    (lease,) = driver.lease(http)
    made = driver.carry_out(lease, open_storage(lease.output_url))
    made = made.model_copy(update={"is_first": True})
    driver.post_json(http, f"/v1/leases/{lease.token}/report", made.model_dump_json())

    assert RateKeeper(http.app.state.context).step() == 0
    answer = http.post("/v1/estimates", json=SPEC).json()
    assert answer["seconds_per_sample"]["basis"] == "built-in"


def test_an_estimate_refuses_what_a_job_would(http: TestClient) -> None:
    refused = http.post("/v1/estimates", json={"count": 0})
    assert refused.status_code == 422
    assert "count" in refused.json()["detail"]
