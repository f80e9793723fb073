"""Traces go from a request to its shards where a collector is named; else there are none."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from service.server import serving
from service.settings import Settings
from synthforge import telemetry
from synthforge.client import Client
from synthforge.job_status import JobStatus
from tests.service import driver
from tests.test_request_ids import SPEC, tend_until_told
from workers.hand_in import HandIn
from workers.messenger import Messenger
from workers.shard_worker import ShardWorker, WorkerSettings

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Spans(InMemorySpanExporter):
    """What was traced."""

    def named(self, name: str) -> ReadableSpan:
        (found,) = [each for each in self.get_finished_spans() if each.name == name]
        return found

    def of_trace(self, trace_id: int) -> set[str]:
        spans = self.get_finished_spans()
        return {each.name for each in spans if each.context.trace_id == trace_id}


@pytest.fixture
def spans() -> Iterator[Spans]:
    held = Spans()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(held))
    with telemetry.using(telemetry.Tracer(provider)):
        yield held


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        database_url=f"sqlite:///{tmp_path}/jobs.db",
        output_prefixes=(str(tmp_path / "datasets"),),
        auth="off",
        port=0,
        lease_s=3600,  # nobody sends heartbeats
        stall_s=3600,
    )


def make_one_shard(url: str, tmp_path: Path, headers: dict[str, str]) -> str | None:
    """Carry a job of one shard out, up to its report; return the lease's `traceparent`."""
    posted = httpx.post(f"{url}/v1/jobs", json=SPEC, headers=headers)
    JobStatus.model_validate_json(posted.content)
    prefix = f"file://{tmp_path}/datasets"
    worker, messenger = ShardWorker(WorkerSettings((prefix,), tmp_path / "scratch")), Messenger()
    with Client(url) as client:
        (lease,) = client.lease(driver.request()).leases
        worker.make(lease)
        HandIn(client, messenger).report(lease, worker.deliver(lease.token))
        tend_until_told(messenger)
    return lease.traceparent


def test_a_trace_goes_from_the_callers_span_to_the_shards_report(
    settings: Settings, spans: Spans, tmp_path: Path
) -> None:
    with serving(settings) as url:
        made_under = make_one_shard(url, tmp_path, {"traceparent": CALLER})
    post = spans.named("POST /v1/jobs")
    assert f"{post.context.trace_id:032x}" == CALLER[3:35]
    assert post.parent is not None
    assert f"{post.parent.span_id:016x}" == CALLER[36:52]
    assert post.attributes is not None
    assert post.attributes["synthforge.status"] == 202
    assert made_under == f"{CALLER[:35]}-{post.context.span_id:016x}-01"
    for name in ("lease", "render", "upload", "report"):
        found = spans.named(name)
        assert found.context.trace_id == post.context.trace_id, name
        assert found.parent is not None
        assert found.parent.span_id == post.context.span_id, name
    render = spans.named("render")
    assert render.attributes is not None
    assert render.attributes["synthforge.num_samples"] == 2
    for stage in ("parameters", "head", "raster", "annotate", "shade", "encode", "write"):
        found = spans.named(stage)
        assert found.parent is not None
        assert found.parent.span_id == render.context.span_id, stage
        assert found.start_time is not None
        assert render.start_time is not None
        assert render.start_time <= found.start_time
        assert found.attributes is not None
        assert float(str(found.attributes["synthforge.cpu_s"])) >= 0
    handed_in = spans.named("POST /v1/leases/{token}/report")
    assert handed_in.parent is not None
    assert handed_in.parent.span_id == spans.named("report").context.span_id
    asked = spans.named("POST /v1/leases")  # of the pool's own
    assert asked.context.trace_id != post.context.trace_id


def test_a_request_without_a_trace_begins_one_and_a_wrong_header_is_none(
    settings: Settings, spans: Spans
) -> None:
    with serving(settings) as url:
        for headers in ({}, {"traceparent": "00-zz-1"}):
            assert httpx.get(f"{url}/v1/jobs/none", headers=headers).status_code == 404
    first, second = spans.get_finished_spans()
    assert first.name == second.name == "GET /v1/jobs/{job_id}"
    assert first.parent is None
    assert second.parent is None
    assert first.context.trace_id != second.context.trace_id


def test_a_span_that_fails_says_so_and_no_more_than_the_kind_of_error(spans: Spans) -> None:
    def fail() -> None:
        with telemetry.span("upload"):
            raise ValueError("password=hunter2")

    with pytest.raises(ValueError, match="hunter2"):
        fail()
    failed = spans.named("upload")
    assert (failed.status.is_ok, failed.status.description) == (False, "ValueError")
    assert failed.events == ()
    assert telemetry.traceparent() is None


def test_without_a_collector_nothing_is_traced_kept_or_imported(
    settings: Settings, tmp_path: Path
) -> None:
    assert not telemetry.is_on()
    with serving(settings) as url:
        assert make_one_shard(url, tmp_path, {"traceparent": CALLER}) is None
    with telemetry.tracing("", "test"), telemetry.span("anything") as span:
        span.note(count=1)
        assert telemetry.outgoing() == {}
    names = "import service.app, synthforge.client, workers.shard_worker, sys; "
    # The API alone may be there: other packages bring it, and without an SDK it does nothing.
    told = "print([each for each in sys.modules if 'opentelemetry.sdk' in each or 'otlp' in each])"
    made = subprocess.run(
        [sys.executable, "-c", names + told], capture_output=True, text=True, check=True
    )
    assert made.stdout.strip() == "[]"


@pytest.mark.parametrize("url", ["collector:4318", "s3://traces", "/tmp"])
def test_a_collector_that_is_none_is_refused_at_the_start(url: str) -> None:
    with pytest.raises(ValueError, match=r"SYNTHFORGE_TRACES_URL is .*http"):
        Settings(traces_url=url)


def test_a_missing_extra_is_said_to_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "_is_installed", lambda _package: False)
    with pytest.raises(ValueError, match=r"pip install '\.\[telemetry\]'"):
        Settings(traces_url="http://127.0.0.1:4318/v1/traces")


class Collector(BaseHTTPRequestHandler):
    """Takes what an exporter sends."""

    taken: list[tuple[str, bytes]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.taken.append((self.path, body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_args: object) -> None:
        """Say nothing."""


def test_spans_reach_the_collector_that_is_named() -> None:
    taken: list[tuple[str, bytes]] = []
    handler = type("Handler", (Collector,), {"taken": taken})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/v1/traces"
        with telemetry.tracing(url, "synthforge-test"):
            with telemetry.tracing(url, "another"):  # one a process: the first stays
                pass
            with telemetry.span("render", attributes={"job_id": "job-1"}):
                pass
        server.shutdown()
        thread.join()
    assert not telemetry.is_on()
    ((path, body),) = taken
    assert path == "/v1/traces"
    for part in (b"render", b"synthforge.job_id", b"job-1", b"synthforge-test"):
        assert part in body
