"""What a core makes: `python -m benchmarks.pipeline [--samples N] [--long N] [--size PX]`.

The whole worker with all annotations, from the draw to the shard in the store: CPU time a sample by
stage, samples a second of one worker on one core (its encoder thread included) and of two on two,
and the peak of memory after 100 samples and after `--long`. Target: 20 samples/s a core at 512 px.

With `--generator next3d`, the untrained network at full size, on the GPU where there is one: as
many workers share it as keep it busy (`--workers 8 --cores 2`). Target: 150 samples/s a GPU.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import multiprocessing
import os
import platform
import shutil
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

from synthforge.jobs import ANNOTATIONS, JobSpec, parse_job_spec
from synthforge.leases import Lease
from synthforge.shards import IndexRange, ShardPlan
from workers.fingerprint import cpu_model
from workers.shard_worker import ShardWorker, WorkerSettings

STAGES = ("parameters", "head", "raster", "annotate", "observe", "shade", "encode", "write")
# Made before anything is measured, a whole shard: kernels are compiled, textures made, the queues
# before the encoder and the store have been full, and the allocator holds what that takes.
NUM_WARM = 100
NUM_EARLY = 100  # samples after which memory is first looked at
SHARD_SAMPLES = 100
TARGET_PER_S = {"builtin": 20.0, "next3d": 150.0}  # a core, and a GPU
TARGET_SIZE_PX = 512
MAX_GROWTH = 0.05
LIBRARIES = ("numpy", "torch", "numba", "opencv-python-headless", "simplejpeg")
START_TIMEOUT_S = 300


@dataclass(frozen=True)
class Memory:
    """Resident memory of this process: its peak since the warm-up, and now."""

    peak_bytes: int
    now_bytes: int


@dataclass(frozen=True)
class Run:
    """What one worker process did.

    Attributes:
        num_samples: made and stored.
        wall_s: from the first draw to the last byte stored.
        cpu_s: of all its threads.
        stage_s: CPU seconds of each stage.
        early: memory after `NUM_EARLY` samples, or all if fewer.
        late: memory after all of them.
    """

    num_samples: int
    wall_s: float
    cpu_s: float
    stage_s: dict[str, float]
    early: Memory
    late: Memory


class Session:
    """One worker that makes shard after shard into a folder, and stores each beside the next."""

    def __init__(self, spec: JobSpec, folder: Path) -> None:
        self._spec = spec
        self._output = folder / "output"
        self._output.mkdir(parents=True)
        self._url = f"file://{self._output.resolve()}"
        self.worker = ShardWorker(WorkerSettings((self._url,), folder / "scratch"))
        self._number = 0

    def make(self, num_samples: int) -> None:
        """Make that many samples, a shard of `SHARD_SAMPLES` at a time, and store them."""
        with ThreadPoolExecutor(1) as store:
            deliveries = []
            for start in range(0, num_samples, SHARD_SAMPLES):
                lease = self._lease(min(SHARD_SAMPLES, num_samples - start))
                self.worker.make(lease)
                deliveries.append(store.submit(self._deliver, lease.token))
            for delivery in deliveries:
                delivery.result()

    def _deliver(self, token: str) -> None:
        """Store a shard, then remove it: a long run would fill the disk."""
        record = self.worker.deliver(token).record
        (self._output / record.name).unlink()

    def _lease(self, num_samples: int) -> Lease:
        start, self._number = self._number * SHARD_SAMPLES, self._number + 1
        indices = (IndexRange(start=start, stop=start + num_samples),)
        return Lease(
            token=f"shard-{self._number}",
            kind="shard",
            job_id="pipeline",
            spec=self._spec,
            output_url=self._url,
            plan=ShardPlan(split="train", number=self._number, indices=indices),
            lease_s=600,
            heartbeat_s=60,
        )


def pipeline_spec(
    size_px: int, kind: str = "builtin", precision: str = "float32", views: int = 1
) -> JobSpec:
    """Return the default job of a generator with all annotations."""
    document: dict[str, Any] = {
        "count": 10**6,
        "image": {"size": size_px},
        "annotations": list(ANNOTATIONS),
    }
    if kind == "next3d":
        network = {"untrained": True, "network": "full", "precision": precision}
        document["generator"] = {"kind": kind, **network}
    if views > 1:
        document["identity"] = {"views": views}
    return parse_job_spec(json.dumps(document))


def measure(spec: JobSpec, num_samples: int, folder: Path, start: Barrier | None = None) -> Run:
    """Make samples in this process and measure it; several processes start at one barrier."""
    session = Session(spec, folder)
    session.make(NUM_WARM)
    forget_peak()
    before = session.worker.stages.seconds
    if start is not None:
        start.wait(START_TIMEOUT_S)
    wall, cpu = time.perf_counter(), time.process_time()
    session.make(min(NUM_EARLY, num_samples))
    early = memory()
    session.make(max(0, num_samples - NUM_EARLY))
    after = session.worker.stages.seconds
    stage_s = {stage: after.get(stage, 0.0) - before.get(stage, 0.0) for stage in STAGES}
    stage_s["annotate"] -= stage_s["observe"]  # timed inside it
    return Run(
        num_samples=num_samples,
        wall_s=time.perf_counter() - wall,
        cpu_s=time.process_time() - cpu,
        stage_s=stage_s,
        early=early,
        late=memory(),
    )


def memory() -> Memory:
    """Return what Linux counts of this process: VmHWM and VmRSS."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    peak, now = (1024 * int(status[name].split()[0]) for name in ("VmHWM", "VmRSS"))
    return Memory(peak, now)


def forget_peak() -> None:
    """Set the peak to what is resident now: loading and compiling may have needed more."""
    Path("/proc/self/clear_refs").write_text("5")  # man 5 proc_pid_clear_refs


def run_workers(
    num_workers: int, num_samples: int, spec: JobSpec, folder: Path, cores_each: int = 1
) -> list[Run]:
    """Run workers beside each other, each in a process pinned to cores of its own."""
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(num_workers)
    results = context.SimpleQueue()
    cores = sorted(os.sched_getaffinity(0))
    processes = [
        context.Process(
            target=_work,
            args=(
                cores[number * cores_each :][:cores_each],
                num_samples,
                spec,
                folder / str(number),
                start,
                results,
            ),
        )
        for number in range(num_workers)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        if process.exitcode != 0:
            raise RuntimeError(f"a worker process ended with exit code {process.exitcode}")
    return [results.get() for _ in processes]


def _work(
    cores: list[int], num_samples: int, spec: JobSpec, folder: Path, start: Barrier, results: Any
) -> None:
    os.sched_setaffinity(0, cores)
    results.put(measure(spec, num_samples, folder, start))


def report_machine() -> None:
    """Print what the numbers were measured on."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES)
    cores = len(os.sched_getaffinity(0))
    print(f"{cpu_model()}, {cores} cores, load {os.getloadavg()[0]:.1f}, {platform.platform()}")
    print(f"Python {platform.python_version()}, {versions}")


def report_stages(run: Run) -> None:
    """Print CPU milliseconds a sample by stage."""
    for stage in STAGES:
        print(f"  {stage:12}{1e3 * run.stage_s[stage] / run.num_samples:8.2f} ms a sample")
    rest = run.cpu_s - sum(run.stage_s.values())
    print(f"  {'other':12}{1e3 * rest / run.num_samples:8.2f} ms a sample (store, threads, JSON)")
    print(f"  {'all':12}{1e3 * run.cpu_s / run.num_samples:8.2f} ms a sample")


def report_speed(runs: list[Run], spec: JobSpec, cores_each: int) -> None:
    """Print samples a second end to end, by the clock and by the CPU time spent."""
    num_samples = sum(run.num_samples for run in runs)
    per_s = num_samples / max(run.wall_s for run in runs)
    by_cpu = sum(run.num_samples / run.cpu_s for run in runs)
    each = "a core" if cores_each == 1 else f"{cores_each} cores"
    workers = f"{len(runs)} worker{'s' if len(runs) > 1 else ''}, {each} each"
    line = f"{workers}: {per_s:.2f} samples/s, {by_cpu:.2f} had the cores been free"
    if spec.image.size == TARGET_SIZE_PX:
        shared = spec.generator.kind == "next3d"  # workers share the GPU
        target = TARGET_PER_S[spec.generator.kind] * (1 if shared else len(runs))
        line += f" (target {target:g}: {'reached' if per_s >= target else 'missed'})"
    print(line)


def report_memory(run: Run) -> None:
    """Print memory early and late."""
    for name, early, late in (
        ("peak", run.early.peak_bytes, run.late.peak_bytes),
        ("resident", run.early.now_bytes, run.late.now_bytes),
    ):
        growth = late / early - 1
        print(
            f"{name} memory: {early / 2**20:.0f} MiB after {NUM_EARLY} samples, "
            f"{late / 2**20:.0f} MiB after {run.num_samples}: {100 * growth:+.1f} % "
            f"(limit {100 * MAX_GROWTH:g} %: {'ok' if growth < MAX_GROWTH else 'NOT OK'})"
        )


def main(arguments: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pipeline", description=__doc__)
    parser.add_argument("--samples", type=int, default=200, help="of a run for speed, a worker")
    parser.add_argument("--long", type=int, default=5000, help="of the run for memory; 0 skips it")
    parser.add_argument("--size", type=int, default=TARGET_SIZE_PX, help="of the picture, pixels")
    parser.add_argument("--generator", choices=sorted(TARGET_PER_S), default="builtin")
    parser.add_argument("--precision", default="float32", help="of next3d")
    parser.add_argument("--views", type=int, default=1, help="an identity")
    parser.add_argument("--cores", type=int, default=1, help="a worker")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="beside each other")
    given = parser.parse_args(arguments)
    spec = pipeline_spec(given.size, given.generator, given.precision, given.views)
    report_machine()
    folder = Path(tempfile.mkdtemp(prefix="synthforge-pipeline-"))
    try:
        for num_workers in given.workers:
            if num_workers * given.cores > len(os.sched_getaffinity(0)):
                print(f"{num_workers} workers: left out, there are not as many cores")
                continue
            place = folder / str(num_workers)
            runs = run_workers(num_workers, given.samples, spec, place, given.cores)
            if num_workers == 1:
                report_stages(runs[0])
            report_speed(runs, spec, given.cores)
        if given.long:
            report_memory(run_workers(1, given.long, spec, folder / "long", given.cores)[0])
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
