"""python -m benchmarks.pool: what the engine itself costs, with work that takes a stated time.

Each shard is made for real, of one tiny face, and then held until its time is over, so that a shard
takes as long as asked and hardly any CPU. Service, leases, Ray, upload and reports are all real.

1. Two actors on shards of 10 s each: the share of the time that they are at work (aim: 95 %).
2. The same work on two Ray nodes of one CPU each against one node: how much faster (aim: 1.9).
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.ray_nodes import ray_nodes
from service.server import serving
from service.settings import Settings
from synthforge.client import Client
from synthforge.jobs import JobSpec, parse_job_spec
from synthforge.leases import Lease

_FOLDER: Final = "SYNTHFORGE_BENCHMARK_FOLDER"
_SHARD_S: Final = "SYNTHFORGE_BENCHMARK_SHARD_S"


@dataclass(frozen=True)
class Run:
    """Shards made by a pool.

    Attributes:
        spans: start and end of each `make` by actor, seconds of the monotonic clock.
    """

    spans: dict[str, list[tuple[float, float]]]

    @property
    def wall_s(self) -> float:
        """From the first actor's first shard to the end of the last."""
        times = [time for spans in self.spans.values() for span in spans for time in span]
        return max(times) - min(times)

    @property
    def busy_share(self) -> float:
        """How much of the time the actors were making shards."""
        busy_s = sum(end - start for spans in self.spans.values() for start, end in spans)
        return busy_s / (len(self.spans) * self.wall_s)


def spec_of(num_shards: int, url: str) -> JobSpec:
    """Return a job of shards of one tiny face each."""
    document = {
        "count": num_shards,
        "image": {"size": 64},
        "annotations": ["landmarks68"],
        "output": {"url": url, "samples_per_shard": 1},
    }
    return parse_job_spec(json.dumps(document))


def measure(num_nodes: int, num_shards: int, shard_s: float) -> Run:
    """Make shards of `shard_s` seconds each on nodes of one CPU each."""
    with tempfile.TemporaryDirectory(prefix="pool-") as name:
        os.environ |= {_FOLDER: name, _SHARD_S: str(shard_s)}
        settings = Settings(
            database_url=f"sqlite:///{name}/jobs.db",
            output_prefixes=(f"{name}/out",),
            port=0,
            auth="off",
        )
        with (
            ray_nodes(num_nodes) as address,
            serving(settings) as url,
            Client(url) as client,
            _pool(url, address, settings, num_nodes, Path(name)),
        ):
            job = client.submit(spec_of(num_shards, f"file://{name}/out/job"))
            while client.get(job.id).shards.done < num_shards:
                time.sleep(0.2)
        return Run(_spans(Path(name)))


@contextmanager
def _pool(
    url: str, address: str, settings: Settings, num_actors: int, folder: Path
) -> Iterator[None]:
    from workers import (  # noqa: PLC0415
        actors,
        executions,
        pool,
        pool_settings,
        ray_runtime,
        scaling,
        shard_worker,
    )

    class Slow(actors.Actor):
        """Makes a shard, and holds it until its time is over."""

        def make(self, lease: Lease) -> executions.Progress:
            start = time.monotonic()
            made = super().make(lease)
            time.sleep(max(0.0, start + float(os.environ[_SHARD_S]) - time.monotonic()))
            with Path(os.environ[_FOLDER], f"{os.getpid()}.spans").open("a") as file:
                file.write(f"{start} {time.monotonic()}\n")
            return made

    worker = shard_worker.WorkerSettings(settings.output_prefixes, folder / "scratch")
    bounds = scaling.Bounds(least=num_actors, most=num_actors, idle_s=60)
    stop = threading.Event()
    with ray_runtime.ray_cluster(address, num_actors), Client(url, retry_for_s=0) as client:
        work = pool.Pool(pool_settings.PoolSettings("benchmark", worker, bounds), client, Slow)
        thread = threading.Thread(target=work.run, args=(stop,))
        thread.start()
        try:
            while client.pools() == [] or client.pools()[0]["fingerprint"] is None:
                time.sleep(0.1)
            time.sleep(1.0)  # the other actors wake too
            yield
        finally:
            stop.set()
            thread.join()


def _spans(folder: Path) -> dict[str, list[tuple[float, float]]]:
    return {
        path.stem: [
            (float(start), float(end))
            for start, end in (line.split() for line in path.read_text().splitlines())
        ]
        for path in folder.glob("*.spans")
    }


def main() -> int:
    """Measure, print; exit code 1 where an aim is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pool", description=__doc__)
    parser.add_argument("--shards", type=int, default=12, help="of 10 s each; default 12")
    parser.add_argument("--light", type=int, default=16, help="shards of 2 s each; default 16")
    given = parser.parse_args()
    two = measure(2, given.shards, 10.0)
    print(f"{given.shards} shards of 10 s, 2 actors: busy {100 * two.busy_share:.1f} % (aim 95)")
    one_node = measure(1, given.light, 2.0)
    two_nodes = measure(2, given.light, 2.0)
    ratio = one_node.wall_s / two_nodes.wall_s
    print(
        f"{given.light} shards of 2 s: one node {one_node.wall_s:.1f} s, two nodes "
        f"{two_nodes.wall_s:.1f} s: {ratio:.2f} times as fast (aim 1.9)"
    )
    return 0 if two.busy_share >= 0.95 and ratio >= 1.9 else 1


if __name__ == "__main__":
    raise SystemExit(main())
