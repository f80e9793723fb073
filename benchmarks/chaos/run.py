"""The experiment: one job undisturbed, the same job while everything is killed, both compared."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Final

from benchmarks.chaos.faults import Strike, Striker
from benchmarks.chaos.outcome import Outcome, judge
from benchmarks.chaos.proxy import Weather, proxy_before
from benchmarks.chaos.world import Actors, Part, Program, RayNode, Store, free_port
from benchmarks.ray_nodes import ray_cluster_alone
from synthforge.client import Client
from synthforge.job_status import JobStatus
from synthforge.jobs import JobSpec, parse_job_spec
from synthforge.refusals import ApiError
from synthforge.storage import open_storage
from tools.postgres_server import serve_postgres
from tools.s3_server import RestartableS3
from workers.orphans import watch_over_children

BUCKET: Final = "chaos"
NUM_NODES: Final = 2
FAULTY_SHARE: Final = 0.03  # of the requests to service and store
SERVICE: Final = {
    "SYNTHFORGE_AUTH": "off",
    "SYNTHFORGE_LEASE_S": "8",
    "SYNTHFORGE_HEARTBEAT_S": "1",
    "SYNTHFORGE_RETRY_AFTER_S": "0.2",
    "SYNTHFORGE_REAP_INTERVAL_S": "0.5",
}


@dataclass(frozen=True)
class Experiment:
    """What is to be done.

    Attributes:
        num_faults: SIGKILLs, besides what the proxies break.
        num_shards: of the job, two tiny samples each.
        limit_s: how long the disturbed job may take.
    """

    num_faults: int
    seed: int
    num_shards: int
    limit_s: float


@dataclass(frozen=True)
class Findings:
    """What came of it.

    Attributes:
        state: of the disturbed job.
        reason: why it failed, if it did.
        broken: answers that the proxies broke, by `server kind`.
    """

    state: str
    reason: str | None
    undisturbed: Outcome
    disturbed: Outcome | None
    history: tuple[Strike, ...]
    broken: dict[str, int]
    undisturbed_s: float
    disturbed_s: float

    @property
    def is_good(self) -> bool:
        """Whether the disturbed job lost, doubled and tore nothing, and has the same digest."""
        return (
            self.disturbed is not None
            and self.disturbed.is_whole
            and self.undisturbed.is_whole
            and self.disturbed.digest == self.undisturbed.digest
        )


def spec_of(experiment: Experiment, name: str) -> JobSpec:
    """Return a job of many tiny shards; its name and its output change no byte of a shard."""
    document = {
        "name": name,
        "count": 2 * experiment.num_shards,
        "seed": experiment.seed,
        "image": {"size": 64},
        "annotations": ["landmarks68", "segmentation", "camera"],
        "output": {"url": f"s3://{BUCKET}/{name}", "samples_per_shard": 2},
    }
    return parse_job_spec(json.dumps(document))


class World:
    """Servers, cluster and pool, with proxies between them."""

    def __init__(self, folder: Path, seed: int) -> None:
        """Start nothing yet."""
        self._folder = folder
        self._random = Random(seed)
        self.weathers = {"service": Weather(seed + 1), "store": Weather(seed + 2)}
        self.parts: list[Part] = []

    @contextmanager
    def running(self) -> Iterator[Client]:
        """Hold everything up; yields a client that reaches the service by no proxy."""
        with ExitStack() as stack:
            s3 = stack.enter_context(RestartableS3())
            server = s3.start()
            server.make_bucket(BUCKET)
            store_url = stack.enter_context(proxy_before(server.endpoint, self.weathers["store"]))
            # Inherited by the service, and by the nodes for their actors.
            os.environ |= server.environment() | {"AWS_ENDPOINT_URL": store_url}
            self.direct_store = server.endpoint
            database = stack.enter_context(serve_postgres())
            url = database.url(database.create_database())
            os.environ |= SERVICE | {"SYNTHFORGE_DATABASE_URL": url}
            os.environ["SYNTHFORGE_OUTPUT_PREFIXES"] = f"s3://{BUCKET}"
            client = stack.enter_context(self._service())
            proxied = stack.enter_context(
                proxy_before(f"http://127.0.0.1:{self._port}", self.weathers["service"])
            )
            cluster = stack.enter_context(ray_cluster_alone())
            nodes = [RayNode(cluster, self._random) for _ in range(NUM_NODES)]
            pool = stack.enter_context(self._pool(proxied, cluster.address, client))
            for node in nodes:
                stack.callback(node.settle)
            store = Store(s3, self._random)
            stack.callback(store.settle)
            self.parts = [Actors(self._random), self._service_part, pool, *nodes, store]
            yield client

    @contextmanager
    def _service(self) -> Iterator[Client]:
        self._port = free_port()
        with Client(f"http://127.0.0.1:{self._port}", timeout_s=5, retry_for_s=0) as client:
            self._service_part = Program(
                "service",
                ["serve", "--port", str(self._port)],
                self._folder / "service.log",
                self._random,
                client.is_ready,
            )
            with self._service_part:
                yield client

    def _pool(self, service_url: str, address: str, client: Client) -> Program:
        arguments = ["work", "--service", service_url, "--ray", address]
        return Program(
            "pool",
            [*arguments, "--workers", str(NUM_NODES), "--output", f"s3://{BUCKET}"],
            self._folder / "pool.log",
            self._random,
            lambda: bool(client.pools()),
        )


def experiment(asked: Experiment, say: Any) -> Findings:
    """Run the job twice, and compare.

    Args:
        asked: what is to be done.
        say: is given a line now and then.
    """
    watch_over_children()
    with tempfile.TemporaryDirectory(prefix="chaos-") as name:
        folder = Path(name)
        world = World(folder, asked.seed)
        try:
            with world.running() as client:
                return _compared(asked, world, client, say)
        except BaseException:
            for log in sorted(folder.glob("*.log")):
                say(f"-- {log.name}\n{log.read_text(errors='replace')[-6000:]}")
            raise


def _compared(asked: Experiment, world: World, client: Client, say: Any) -> Findings:
    start = time.monotonic()
    job = client.submit(spec_of(asked, "undisturbed"))
    _wait(client, job.id, start + asked.limit_s)
    undisturbed_s = time.monotonic() - start
    say(f"undisturbed: {asked.num_shards} shards in {undisturbed_s:.0f} s")
    for weather in world.weathers.values():
        weather.share = FAULTY_SHARE
    start = time.monotonic()
    job = client.submit(spec_of(asked, "disturbed"))
    striker = Striker(world.parts, asked.num_faults, Random(asked.seed))
    striker.run(lambda: _look(client, job.id), start, start + asked.limit_s)
    say(f"{len(striker.history)} faults in {time.monotonic() - start:.0f} s")
    ended = _wait(client, job.id, start + asked.limit_s)
    for weather in world.weathers.values():
        weather.share = 0.0
    for part in world.parts:
        part.settle()
    disturbed_s = time.monotonic() - start
    os.environ["AWS_ENDPOINT_URL"] = world.direct_store
    return Findings(
        state=ended.state.value,
        reason=ended.reason,
        undisturbed=judge(open_storage(f"s3://{BUCKET}/undisturbed")),
        disturbed=judge(open_storage(f"s3://{BUCKET}/disturbed")) if ended.digest else None,
        history=tuple(striker.history),
        broken={
            f"{server} {fault}": count
            for server, weather in world.weathers.items()
            for fault, count in sorted(weather.counts.items())
        },
        undisturbed_s=undisturbed_s,
        disturbed_s=disturbed_s,
    )


def _look(client: Client, job_id: str) -> JobStatus | None:
    try:
        return client.get(job_id)
    except ApiError:
        return None


def _wait(client: Client, job_id: str, until: float) -> JobStatus:
    while True:
        status = _look(client, job_id)
        if status is not None and status.state.is_final:
            return status
        if time.monotonic() > until:
            raise TimeoutError(f"the job does not end; it stands at {status}")
        time.sleep(0.1)
