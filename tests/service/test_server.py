"""The service as a process: a real server on the loopback, a real client, real signals."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from sqlalchemy import delete, func, select

from service.app import create_app
from service.database import Database
from service.server import serving
from service.settings import Settings
from service.tables import events, previews
from synthforge.client import Client
from synthforge.job_events import JobEvent
from synthforge.job_status import JobState
from synthforge.jobs import JobSpec
from synthforge.leases import Heartbeat, LeaseReturn
from synthforge.refusals import ConflictError, InvalidRequestError, NotFoundError, StaleLeaseError
from synthforge.storage import open_storage
from tests.service import driver

SPEC = {"count": 30, "output": {"samples_per_shard": 10}}


@pytest.fixture
def live_settings(settings: Settings) -> Settings:
    return replace(settings, port=0, reap_interval_s=0.02, events_poll_s=0.02)


@pytest.fixture
def client(live_settings: Settings) -> Iterator[Client]:
    with serving(live_settings) as url, Client(url, retry_for_s=0) as made:
        yield made


def work_until_empty(client: Client) -> None:
    """Carry out all the work there is."""
    while leases := client.lease(driver.request(max_leases=2)).leases:
        for lease in leases:
            client.heartbeat(lease.token, Heartbeat(num_samples=1))
            assert client.report(
                lease.token, driver.carry_out(lease, open_storage(lease.output_url))
            )


def test_a_client_orders_watches_and_reads_a_dataset(client: Client) -> None:
    job = client.submit(JobSpec.model_validate(SPEC))
    told: list[JobEvent] = []
    watcher = threading.Thread(target=lambda: told.extend(client.events(job.id)))
    watcher.start()
    work_until_empty(client)
    watcher.join(20)
    states = [event.state for event in told if event.kind == "state"]
    assert states == ["queued", "running", "finalizing", "succeeded"]
    assert [event.id for event in told] == list(range(1, len(told) + 1))
    assert told[-1].counts.completed == 30
    done = client.wait(job.id)
    assert client.manifest(job.id).digest == done.digest == told[-1].digest
    assert [event.id for event in client.events(job.id, after=2)] == list(range(3, len(told) + 1))


def test_a_client_lists_cancels_and_reorders(client: Client) -> None:
    made = [client.submit(SPEC).id for _ in range(3)]
    assert [job.id for job in client.jobs(page_size=2)] == made[::-1]
    assert client.set_priority(made[1], 4).priority == 4
    (lease,) = client.lease(driver.request()).leases
    assert lease.job_id == made[1]
    assert client.return_(lease.token, LeaseReturn(reason="stopping")) == "open"
    assert client.cancel(made[0]).state == "cancelled"
    assert [job.id for job in client.jobs([JobState.CANCELLED])] == [made[0]]
    assert [pool["name"] for pool in client.pools()] == ["pool-a"]
    assert client.is_ready()


def test_a_client_reads_the_records_for_a_summary(client: Client) -> None:
    client.submit(SPEC)
    for lease in client.lease(driver.request(max_leases=9)).leases:
        client.report(lease.token, driver.carry_out(lease, open_storage(lease.output_url)))
    (summary,) = client.lease(driver.request()).leases
    assert [record.number for record in client.committed_shards(summary.token)] == [0, 1, 2]


def test_a_refusal_reaches_the_client_by_kind(client: Client) -> None:
    with pytest.raises(InvalidRequestError, match="count") as refused:
        client.submit('{"count": 0}')
    assert (refused.value.status, refused.value.errors[0].field) == (422, "count")
    with pytest.raises(NotFoundError):
        client.get("job-0")
    with pytest.raises(NotFoundError):
        list(client.events("job-0"))
    job = client.submit(SPEC)
    with pytest.raises(ConflictError):
        client.manifest(job.id)
    with pytest.raises(StaleLeaseError):
        client.heartbeat("never", Heartbeat(num_samples=0))


def test_an_event_stream_resumes_after_the_last_event_seen(client: Client) -> None:
    job = client.submit(SPEC)
    client.cancel(job.id)
    headers = {"Last-Event-ID": "1"}
    path = f"/v1/jobs/{job.id}/events"
    answer = httpx.get(client.base_url + path, headers=headers)
    assert answer.headers["content-type"].startswith("text/event-stream")
    lines = answer.text.splitlines()
    assert lines[:2] == ["id: 2", "event: state"]
    assert json.loads(lines[2].removeprefix("data: "))["state"] == "cancelled"
    assert lines[3:] == [""]


def test_a_silent_stream_says_that_it_lives(live_settings: Settings) -> None:
    with serving(replace(live_settings, events_keepalive_s=0.02)) as url, Client(url) as client:
        job = client.submit(SPEC)
        with httpx.stream("GET", f"{url}/v1/jobs/{job.id}/events") as answer:
            assert ": still here" in answer.iter_lines()


def test_streams_end_when_the_server_stops(live_settings: Settings) -> None:
    connected, ended = threading.Event(), threading.Event()

    def watch(url: str, job_id: str) -> None:
        with httpx.stream("GET", f"{url}/v1/jobs/{job_id}/events", timeout=30) as answer:
            for _line in answer.iter_lines():
                connected.set()
        ended.set()

    with serving(live_settings) as url, Client(url) as client:
        watcher = threading.Thread(target=watch, args=(url, client.submit(SPEC).id))
        watcher.start()
        assert connected.wait(20)
    watcher.join(20)
    assert ended.is_set()  # at its end: one that is cut when the grace is over raises


def test_who_waits_for_a_preview_is_told_when_the_server_stops(live_settings: Settings) -> None:
    answers: list[httpx.Response] = []
    app = create_app(live_settings)
    with serving(live_settings, app) as url:
        asker = threading.Thread(
            target=lambda: answers.append(httpx.post(f"{url}/v1/previews", json=SPEC, timeout=30))
        )
        asker.start()
        with Database(live_settings.database_url).read() as connection:
            while not connection.scalar(select(func.count()).select_from(previews)):
                time.sleep(0.01)
    asker.join(20)
    (answer,) = answers
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["type"] == "urn:synthforge:problem:shutting-down"
    with Database(live_settings.database_url).read() as connection:  # no worker takes it up
        assert not connection.scalar(select(func.count()).select_from(previews))


def test_a_client_takes_a_broken_stream_up_where_it_broke(live_settings: Settings) -> None:
    app = create_app(live_settings)
    stopping = app.state.context.stopping
    seen: list[str] = []
    breaks: list[float] = []

    def between_two_streams(wait_s: float) -> None:
        breaks.append(wait_s)
        stopping.clear()
        client.cancel(job.id)

    with serving(live_settings, app) as url, Client(url, sleep=between_two_streams) as client:
        job = client.submit(SPEC)
        for event in client.events(job.id):
            seen.append(event.state)
            if len(seen) == 1:
                stopping.set()  # open streams end, though the server goes on
    assert seen == ["queued", "cancelled"]
    assert len(breaks) == 1


@pytest.mark.parametrize("keeps_first", [False, True])
def test_a_job_whose_events_were_forgotten_is_waited_for_no_longer(
    live_settings: Settings, keeps_first: bool
) -> None:
    app = create_app(live_settings)
    store = app.state.context.store
    with serving(live_settings, app) as url, Client(url, retry_for_s=0) as client:
        job = client.submit(SPEC)
        client.cancel(job.id)
        row = store.jobs.get(job.id)
        if keeps_first:
            with store.database.write() as tx:
                tx.connection.execute(delete(events).where(events.c.seq > 1))
        else:
            store.retention.drop_events(row.num)
        assert client.wait(job.id).state == "cancelled"
        assert [event.id for event in client.events(job.id)] == [1] * keeps_first


def test_a_body_torn_on_the_way_leaves_nothing_behind(client: Client) -> None:
    url = httpx.URL(client.base_url)
    head = "POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    with socket.create_connection((url.host, url.port or 0)) as connection:
        connection.sendall((head + 'Content-Length: 100\r\n\r\n{"count": 1').encode())
    while 'route="/v1/jobs",status="422"' not in (metrics := httpx.get(url.join("/metrics")).text):
        time.sleep(0.01)
    assert 'status="500"' not in metrics
    assert list(client.jobs()) == []


def test_sigterm_ends_the_service_cleanly(tmp_path: Path) -> None:
    code = "from service import server, settings; server.run(settings.Settings.from_env())"
    environment = {
        **os.environ,
        "SYNTHFORGE_DATABASE_URL": f"sqlite:///{tmp_path / 'service.db'}",
        "SYNTHFORGE_OUTPUT_PREFIXES": str(tmp_path / "datasets"),
        "SYNTHFORGE_PORT": "0",
        "SYNTHFORGE_AUTH": "off",
    }
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        try:
            _order_then_terminate(process)
        finally:
            process.kill()


def _order_then_terminate(process: subprocess.Popen[str]) -> None:
    assert process.stderr is not None
    lines = []
    for text in process.stderr:
        lines.append(json.loads(text))
        if lines[-1]["message"] == "listening":
            break
    url = lines[-1]["url"]
    with Client(url, retry_for_s=30) as client:
        job = client.submit(SPEC)
        with httpx.stream("GET", f"{url}/v1/jobs/{job.id}/events", timeout=30) as answer:
            stream = answer.iter_lines()
            assert next(stream) == "id: 1"
            process.send_signal(signal.SIGTERM)
            assert list(stream)[-1] == ""
    assert process.wait(20) == 0
    lines += [json.loads(text) for text in process.stderr]
    assert lines[-1]["message"] == "stopped"
    assert any(line.get("path") == "/v1/jobs" and line["status"] == 202 for line in lines)
