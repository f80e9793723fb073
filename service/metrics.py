"""What Prometheus reads: a registry per app, and gauges asked of the database when read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from service.store import Store
from service.store.rows import Granted
from synthforge.job_status import JobState
from synthforge.leases import Report, ShardReport

METRICS_MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_REQUEST_BUCKETS_S: Final = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
_UPLOAD_BUCKETS_S: Final = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_NAME: Final = re.compile(r"[a-z0-9_]{1,64}")


def _label(name: str) -> str:
    """Return what a worker calls a thing if it is a name; free text would make series no end."""
    return name if _NAME.fullmatch(name) else "other"


class _StoreGauges(Collector):
    """Jobs and shards as the database has them, counted at each reading."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Name nothing: the registry need not read the database when this is registered."""
        return iter(())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Count jobs by state, and the shards of live jobs."""
        held = self._store.jobs.count_by_state()
        jobs = GaugeMetricFamily("synthforge_jobs", "Jobs by state", labels=["state"])
        for state in JobState:
            jobs.add_metric([state.value], held.get(state.value, 0))
        yield jobs
        waiting, leased = self._store.jobs.count_shards()
        yield GaugeMetricFamily(
            "synthforge_shards_waiting",
            "Shards of live jobs that are not in the store yet",
            value=waiting,
        )
        yield GaugeMetricFamily(
            "synthforge_shards_leased",
            "Shards that a pool holds now",
            value=leased,
        )


class Metrics:
    """The service's counters."""

    def __init__(self, store: Store) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        self.registry.register(_StoreGauges(store))
        self.requests = Histogram(
            "synthforge_http_request_seconds",
            "Time from a request to its answer",
            ["method", "route", "status"],
            buckets=_REQUEST_BUCKETS_S,
            registry=self.registry,
        )
        self.requests_refused = self._counter(
            "requests_refused", "Requests that were not done, by problem type", "reason"
        )
        self.jobs_submitted = self._counter("jobs_submitted", "Jobs accepted")
        self.leases_granted = self._counter("leases_granted", "Leases handed out", "kind")
        self.leases_lapsed = self._counter("leases_lapsed", "Leases whose time was over")
        self.leases_returned = self._counter("leases_returned", "Leases given back", "reason")
        self.shards_committed = self._counter("shards_committed", "Shards accepted")
        self.samples_committed = self._counter("samples_committed", "Samples accepted")
        self.samples_rejected = self._counter(
            "samples_rejected", "Samples that the quality gate refused", "reason"
        )
        self.bytes_committed = self._counter("shard_bytes_committed", "Bytes of accepted shards")
        self.stage_seconds = self._counter(
            "worker_stage_seconds", "Time of workers in accepted shards", "generator", "stage"
        )
        self.gpu_seconds = self._counter(
            "worker_gpu_seconds", "Time of GPUs in accepted shards", "generator", "stage"
        )
        self.uploads = Histogram(
            "synthforge_shard_upload_seconds",
            "Time to upload a shard and read it back",
            buckets=_UPLOAD_BUCKETS_S,
            registry=self.registry,
        )
        self.manifests_written = self._counter("manifests_written", "Datasets finished")
        self.loop_failures = self._counter("loop_failures", "Failed steps of a loop", "loop")

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(f"synthforge_{name}", what, labels, registry=self.registry)

    def count_granted(self, granted: Sequence[Granted]) -> None:
        """Count leases that were handed out."""
        for lease in granted:
            self.leases_granted.labels(lease.kind).inc()

    def count_report(self, report: Report) -> None:
        """Count what an accepted report holds."""
        if isinstance(report, ShardReport):
            self.shards_committed.inc()
            self.samples_committed.inc(report.record.num_samples)
            self.bytes_committed.inc(report.record.num_bytes)
            for reason, count in report.record.rejected.items():
                self.samples_rejected.labels(_label(reason)).inc(count)
            kind = _label(report.generator.kind)
            for stage, seconds in report.seconds.items():
                self.stage_seconds.labels(kind, _label(stage)).inc(seconds)
            for stage, seconds in report.gpu_seconds.items():
                self.gpu_seconds.labels(kind, _label(stage)).inc(seconds)
            if "upload" in report.seconds:
                self.uploads.observe(report.seconds["upload"])

    def count_refusal(self, problem: str) -> None:
        """Count a request that was not done."""
        self.requests_refused.labels(problem).inc()

    def count_failed_step(self, loop: str) -> None:
        """Count a step of a loop that failed."""
        self.loop_failures.labels(loop).inc()

    def exposition(self) -> bytes:
        """Return every metric in Prometheus' text format."""
        return generate_latest(self.registry)
