"""Runs a pool as a program: Ray, scratch space, signals, and nothing left behind."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from synthforge.assets import registry_url
from synthforge.client import Client
from workers.orphans import is_alive
from workers.raster.select import Backend
from workers.ray_runtime import ray_cluster
from workers.shard_worker import WorkerSettings

_SCRATCH_PREFIX: Final = "synthforge-"
_ANSWER_S: Final = 10.0  # well below a lease, so that a lost heartbeat can be sent again


@dataclass(frozen=True)
class PoolOptions:
    """What a person chooses of a pool.

    Attributes:
        service_url: of the control plane.
        output_prefixes: URLs under which these workers write, and nowhere else.
        num_workers: actors.
        key: of the service; it stays with the pool, no actor and no job record sees it.
        ray_address: of a running cluster; None starts one here.
        gpus_per_worker: Ray's count, fractions allowed.
        backend: of the rasteriser.
        chunks_in_flight: rendered chunks that may wait for the encoder.
    """

    service_url: str
    output_prefixes: tuple[str, ...]
    num_workers: int
    key: str | None = field(default=None, repr=False)
    ray_address: str | None = None
    gpus_per_worker: float = 0.0
    backend: Backend = "numba"
    chunks_in_flight: int = 2


def run_pool(options: PoolOptions, stop: threading.Event) -> None:
    """Work until `stop` is set."""
    with (
        scratch_folder() as scratch,
        ray_cluster(options.ray_address, options.num_workers),
        Client(options.service_url, key=options.key, timeout_s=_ANSWER_S, retry_for_s=0) as client,
    ):
        worker = WorkerSettings(
            output_prefixes=options.output_prefixes,
            scratch=scratch,
            backend=options.backend,
            chunks_in_flight=options.chunks_in_flight,
            assets_url=registry_url(),  # the actors of a cluster have another environment
        )
        # Imports Ray, which reads its environment then: only now does it stand.
        from workers.pool import Pool, PoolSettings  # noqa: PLC0415

        settings = PoolSettings(
            name=f"{socket.gethostname()}-{os.getpid()}",
            num_workers=options.num_workers,
            worker=worker,
            gpus_per_worker=options.gpus_per_worker,
        )
        Pool(settings, client).run(stop)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Hold a local folder for shards on their way; sweep those of processes that are gone."""
    base = Path(tempfile.gettempdir())
    for left in base.glob(f"{_SCRATCH_PREFIX}*-*"):
        owner = left.name.removeprefix(_SCRATCH_PREFIX).partition("-")[0]
        if owner.isdigit() and not is_alive(int(owner)):
            shutil.rmtree(left, ignore_errors=True)
    path = Path(tempfile.mkdtemp(prefix=f"{_SCRATCH_PREFIX}{os.getpid()}-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
