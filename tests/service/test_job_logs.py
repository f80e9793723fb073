"""Logs of jobs: told by pools, bounded, read by cursor and level, gone with the job."""

from __future__ import annotations

from typing import Any

import pytest

from service import log_bounds
from service.app import create_app
from service.leasing import Terms
from service.settings import Settings
from service.store import Store
from synthforge.job_logs import LogBatch, LogEntry, LogLine, LogPage
from synthforge.leases import LeaseReturn
from tests.service import driver
from tests.service.driver import TestClient
from tests.service.test_job_life import SPEC, submitted


@pytest.fixture
def http(settings: Settings, store: Store) -> TestClient:
    """The real app on either database."""
    return TestClient(create_app(settings, store), raise_server_exceptions=False)


def line(job_id: str, message: str, **fields: Any) -> LogLine:
    return LogLine.model_validate(
        {"job_id": job_id, "at": 1_700_000_000.5, "level": "info", "message": message} | fields
    )


def tell(http: TestClient, *lines: LogLine) -> int:
    batch = LogBatch(pool="pool-a", lines=lines)
    answer = driver.post_json(http, "/v1/logs", batch.model_dump_json())
    assert answer.status_code == 200, answer.text
    return int(answer.json()["kept"])


def page(http: TestClient, job_id: str, **query: Any) -> LogPage:
    answer = http.get(f"/v1/jobs/{job_id}/logs", params=query)
    assert answer.status_code == 200, answer.text
    return LogPage.model_validate_json(answer.content)


def messages(lines: list[LogEntry]) -> list[str]:
    return [each.message for each in lines]


def test_lines_are_read_the_oldest_first_by_cursor_and_by_level(http: TestClient) -> None:
    job, other = submitted(http), submitted(http)
    told = [
        line(job.id, "begins", shard="train-000000", token="abcdefgh"),
        line(other.id, "another's"),
        line(job.id, "slow", level="warning"),
        line(job.id, "broken", level="error"),
    ]
    assert tell(http, *told) == 4
    assert tell(http, line(job.id, "done")) == 1
    first = page(http, job.id, limit=3)
    assert messages(first.lines) == ["begins", "slow", "broken"]
    begun = first.lines[0]
    assert (begun.shard, begun.token, begun.pool) == ("train-000000", "abcdefgh", "pool-a")
    assert begun.at.isoformat() == "2023-11-14T22:13:20.500000+00:00"
    rest = page(http, job.id, cursor=first.next)
    assert messages(rest.lines) == ["done"]
    assert page(http, job.id, cursor=rest.next) == LogPage(lines=[], dropped=0, next=rest.next)
    assert messages(page(http, job.id, level="warning").lines) == ["slow", "broken"]
    assert messages(page(http, job.id, level="error").lines) == ["broken"]
    assert messages(page(http, other.id).lines) == ["another's"]


def test_a_job_that_is_not_there_has_no_log_and_keeps_no_line(http: TestClient) -> None:
    assert http.get("/v1/jobs/job-none/logs").status_code == 404
    job = submitted(http)
    assert tell(http, line("job-none", "whose?"), line(job.id, "mine")) == 1
    assert messages(page(http, job.id).lines) == ["mine"]


@pytest.mark.parametrize(("most_lines", "most_bytes"), [(40, 1 << 20), (2000, 40 * 104)])
def test_the_oldest_lines_make_room_and_it_is_said_how_many_did(
    http: TestClient, monkeypatch: pytest.MonkeyPatch, most_lines: int, most_bytes: int
) -> None:
    monkeypatch.setattr(log_bounds, "MAX_LINES", most_lines)
    monkeypatch.setattr(log_bounds, "MAX_BYTES", most_bytes)
    job = submitted(http)
    tell(http, *(line(job.id, f"{number:04}") for number in range(1, 41)))
    assert page(http, job.id).dropped == 0
    tell(http, line(job.id, "0041"))
    kept = page(http, job.id)
    assert kept.dropped == 41 - 36  # nine tenths stay, so that not every line cuts
    assert messages(kept.lines) == [f"{number:04}" for number in range(6, 42)]
    tell(http, line(job.id, "0042"))
    after = page(http, job.id, cursor=kept.next)
    assert (after.dropped, messages(after.lines)) == (5, ["0042"])


def test_the_bounds_hold_for_one_line_that_is_too_long_for_them() -> None:
    assert log_bounds.num_kept([log_bounds.MAX_BYTES + 1, 5]) == 0
    assert not log_bounds.is_over(log_bounds.MAX_LINES, log_bounds.MAX_BYTES)


def test_a_message_is_one_printable_line_without_what_looks_like_a_secret(
    http: TestClient,
) -> None:
    job = submitted(http)
    tell(http, line(job.id, "first\n\x00second\tAuthorization: Bearer abcdef s3://u:pw@b/x"))
    (kept,) = page(http, job.id).lines
    assert kept.message == "first second Authorization: *** *** s3://***@b/x"


def test_a_lapse_stands_in_the_log_though_its_pool_cannot_tell(
    http: TestClient, store: Store
) -> None:
    job = submitted(http)
    driver.lease(http)
    driver.age(store, 60)
    assert store.leases.lapse(Terms(lease_s=30, heartbeat_s=5, stall_s=300)) == 1
    (told,) = page(http, job.id, level="warning").lines
    assert told.pool == "service"
    assert "the lease of shard 0 of the job lapsed after 0 samples: pool pool-a" in told.message


def test_the_log_goes_with_the_job_and_with_old_events(http: TestClient, store: Store) -> None:
    old, gone = submitted(http), submitted(http)
    for job in (old, gone):
        tell(http, line(job.id, "kept for a while"))
        http.post(f"/v1/jobs/{job.id}/cancel")
    assert [job.id for job in store.retention.with_old_events(-10)] == [old.id, gone.id]
    store.retention.drop_events(store.jobs.get(old.id).num)
    assert page(http, old.id).lines == []
    store.retention.forget(store.jobs.get(gone.id).num)
    assert http.get(f"/v1/jobs/{gone.id}/logs").status_code == 404


def test_lines_of_a_lease_that_is_given_back_are_kept_all_the_same(http: TestClient) -> None:
    job = submitted(http, SPEC)
    (lease,) = driver.lease(http)
    back = LeaseReturn(reason="lost", message="it died").model_dump_json()
    driver.post_json(http, f"/v1/leases/{lease.token}/return", back)
    driver.lease(http)
    assert tell(http, line(job.id, "it died", token=lease.token[:8], level="warning")) == 1
