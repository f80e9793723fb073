"""How fast the control plane is: `python -m benchmarks.service [--seconds S] [--postgres]`.

The service runs as users run it, a process of its own, with keys, limits and metrics on; the load
comes over loopback from this process, on connections that stay open, and is bounded in time. A
latency at half a load is counted from the moment a request was due, so that waiting counts. Exit
code 1 where a target is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import secrets
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.service.load import Connection, Measured, run_load
from benchmarks.service.million import NUM_SHARDS, finish_and_read
from benchmarks.service.served import Served, served
from synthforge.jobs import JobSpec
from synthforge.leases import LeaseGrant, LeaseRequest, ShardReport
from synthforge.shards import Fingerprint, GeneratorInfo, ShardPlan, ShardRecord, shard_key
from tools.postgres_server import serve_postgres

NUM_CONNECTIONS: Final = 16
LEASES_AT_ONCE: Final = 4  # a pool of four actors
NUM_LISTED: Final = 10_000
PAGE: Final = 100
SUBMISSIONS_PER_S: Final = 300
READS_PER_S: Final = 1500
SHARDS_PER_S: Final = 300
P99_MS: Final = 50
PAGE_MS: Final = 20
MILLION_S: Final = 1.0
FINALIZE_MIB: Final = 64  # 17 of them hold names; the whole manifest would be 1,500

SPEC: Final = JobSpec.model_validate(
    {
        "count": 10_000_000,
        "pose": {"yaw": [-45, 45], "pitch": [-20, 20]},
        "annotations": ["landmarks68", "segmentation", "depth", "camera", "head"],
        "output": {"splits": {"train": 0.9, "val": 0.1}},
    }
)
BODY: Final = SPEC.model_dump_json(exclude_unset=True).encode()
FINGERPRINT: Final = Fingerprint(
    code="0.1.0", backend="none", device="none", libraries={}, assets={}
)
GENERATOR: Final = GeneratorInfo(kind="builtin", versions={}, assets={}, licences={})


@dataclass
class Table:
    """What was measured, beside its target."""

    missed: list[str] = field(default_factory=list)

    def row(self, what: str, value: float, unit: str, *, least: float = 0, most: float = 0) -> None:
        """Print a line; remember it where it misses its target."""
        ok = value >= least and (not most or value <= most)
        target = f">= {least:g}" if least else f"<= {most:g}" if most else ""
        verdict = "" if not target else "ok" if ok else "MISSED"
        print(f"{what:<52} {target:>8} {value:>10.1f} {unit:<9} {verdict}", flush=True)
        if not ok:
            self.missed.append(what)


class Jobs:
    """Submits jobs and reads them back."""

    def __init__(self) -> None:
        self.ids: list[str] = []

    async def submit(self, connection: Connection) -> int:
        """Post one job, as the client does: with an Idempotency-Key of its own."""
        key = f"Idempotency-Key: {secrets.token_urlsafe(18)}\r\n"
        status, body = await connection.post("/v1/jobs", BODY, key)
        assert status == 202, body
        self.ids.append(json.loads(body)["id"])
        return 1

    async def read(self, connection: Connection) -> int:
        """Read how a job stands."""
        status, body = await connection.get(f"/v1/jobs/{random.choice(self.ids)}")
        assert status == 200, body
        return 1


async def work(connection: Connection) -> int:
    """Lease as a pool does, and report at once: a worker that renders nothing."""
    request = LeaseRequest(
        pool=f"pool-{id(connection)}",
        generators=("builtin",),
        fingerprint=FINGERPRINT,
        max_leases=LEASES_AT_ONCE,
    )
    status, body = await connection.post("/v1/leases", request.model_dump_json().encode())
    assert status == 200, body
    leases = LeaseGrant.model_validate_json(body).leases
    for lease in leases:
        assert lease.plan is not None
        report = report_of(lease.plan).model_dump_json().encode()
        status, body = await connection.post(f"/v1/leases/{lease.token}/report", report)
        assert status == 200, body
    return len(leases)


def report_of(plan: ShardPlan) -> ShardReport:
    """Return the report of a shard that nobody made."""
    sha256 = secrets.token_hex(32)
    record = ShardRecord(
        name=shard_key(plan.split, plan.number, sha256),
        split=plan.split,
        number=plan.number,
        num_samples=plan.num_samples,
        num_bytes=1000,
        sha256=sha256,
        indices=plan.indices,
        rejected={"too_dark": 3},
        fingerprint=FINGERPRINT.id,
    )
    return ShardReport(record=record, fingerprint=FINGERPRINT, generator=GENERATOR)


def show_cpu(table: Table, used_s: float, measured: Measured) -> None:
    """Print what a unit cost the service: a busy machine changes this little."""
    table.row("  processor time of the service", 1000 * used_s / measured.num_units, "ms each")


def show_latency(table: Table, what: str, measured: Measured) -> None:
    """Print the quantiles of a load at a given rate."""
    table.row(f"  {what} at half of it: p50", measured.quantile_ms(0.5), "ms")
    table.row(f"  {what} at half of it: p99", measured.quantile_ms(0.99), "ms", most=P99_MS)


async def measure(service: Served, for_s: float, table: Table) -> None:
    """Load the service with one kind of request after another."""
    connections = [Connection(service.host, service.port, service.key)
                   for _ in range(NUM_CONNECTIONS)]  # fmt: skip
    for connection in connections:
        await connection.open()
    jobs = Jobs()
    await run_load(connections, jobs.submit, 1.0)  # warm
    used_s = service.cpu_s()
    submitted = await run_load(connections, jobs.submit, for_s)
    table.row("submissions", submitted.per_s, "jobs/s", least=SUBMISSIONS_PER_S)
    show_cpu(table, service.cpu_s() - used_s, submitted)
    half = await run_load(connections, jobs.submit, for_s, SUBMISSIONS_PER_S / 2)
    show_latency(table, "submissions", half)
    used_s = service.cpu_s()
    read = await run_load(connections, jobs.read, for_s)
    table.row("status reads", read.per_s, "reads/s", least=READS_PER_S)
    show_cpu(table, service.cpu_s() - used_s, read)
    half = await run_load(connections, jobs.read, for_s, READS_PER_S / 2)
    show_latency(table, "status reads", half)
    used_s = service.cpu_s()
    worked = await run_load(connections, work, for_s)
    table.row("shards leased and reported", worked.per_s, "shards/s", least=SHARDS_PER_S)
    show_cpu(table, service.cpu_s() - used_s, worked)
    await _list_all(connections, jobs, table)
    await _submit_million(connections[0], table)
    table.row("memory of the service", service.rss_mib(), "MiB")
    for connection in connections:
        connection.close()


async def _list_all(connections: list[Connection], jobs: Jobs, table: Table) -> None:
    """List every job by cursor, one page after another."""
    while len(jobs.ids) < NUM_LISTED:
        await run_load(connections, jobs.submit, 1.0)
    times_s: list[float] = []
    num_listed, cursor = 0, ""
    while True:
        start = time.perf_counter()
        status, body = await connections[0].get(f"/v1/jobs?limit={PAGE}{cursor}")
        times_s.append(time.perf_counter() - start)
        assert status == 200, body
        page = json.loads(body)
        num_listed += len(page["jobs"])
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert num_listed >= NUM_LISTED
    listed = Measured(latencies_s=times_s)
    table.row(f"pages of {PAGE} of {num_listed} jobs: p50", listed.quantile_ms(0.5), "ms")
    table.row(
        f"pages of {PAGE} of {num_listed} jobs: slowest", 1000 * max(times_s), "ms", most=PAGE_MS
    )


async def _submit_million(connection: Connection, table: Table) -> None:
    """Order a job of a million shards."""
    body = {"count": 10**6, "output": {"samples_per_shard": 1, "splits": {"train": 1.0}}}
    start = time.perf_counter()
    status, answer = await connection.post("/v1/jobs", json.dumps(body).encode())
    table.row(
        "a job of 1,000,000 shards is accepted", time.perf_counter() - start, "s", most=MILLION_S
    )
    assert status == 202, answer
    assert json.loads(answer)["shards"]["total"] == 10**6


def main() -> int:
    """Measure, print the table, and tell whether every target was met."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=8.0, help="of each load")
    parser.add_argument("--postgres", action="store_true", help="on PostgreSQL instead of SQLite")
    parser.add_argument(
        "--skip-million", action="store_true", help="do not finish a million shards"
    )
    arguments = parser.parse_args()
    table = Table()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="synthforge-load-")))
        url = f"sqlite:///{folder}/service.db"
        if arguments.postgres:
            server = stack.enter_context(serve_postgres())
            url = server.url(server.create_database())
        load = os.getloadavg()[0]
        kind = "PostgreSQL" if arguments.postgres else "SQLite"
        print(
            f"{kind}, {os.cpu_count()} cores, load {load:.1f}, Python {platform.python_version()}"
        )
        print(f"{'':<52} {'target':>8} {'measured':>10}")
        with served(folder, url) as service:
            asyncio.run(measure(service, arguments.seconds, table))
        if not arguments.skip_million:
            print(f"of {NUM_SHARDS:,} shards:")
            for step in finish_and_read(folder):
                table.row(step.what, step.took_s, "s")
                table.row("    memory that it took", step.grown_mib, "MiB", most=FINALIZE_MIB)
    print(f"missed: {', '.join(table.missed) or 'none'}")
    return 1 if table.missed else 0


if __name__ == "__main__":
    sys.exit(main())
