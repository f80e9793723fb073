"""Runs a pool as a program, on a Ray of its own or on a cluster."""

from __future__ import annotations

import os
import socket
import tempfile
import threading
from pathlib import Path
from typing import Final

from synthforge.assets import registry_url
from synthforge.client import Client
from synthforge.telemetry import tracing
from workers.options import PoolOptions
from workers.pool_settings import PoolSettings
from workers.ray_runtime import ray_cluster
from workers.scaling import Bounds
from workers.scratch import scratch_folder
from workers.shard_worker import WorkerSettings

_ANSWER_S: Final = 10.0  # well below a lease, so that a lost heartbeat can be sent again


def run_pool(options: PoolOptions, stop: threading.Event) -> None:
    """Work until `stop` is set."""
    is_local = options.ray_address is None
    with (
        scratch_folder() as scratch,
        ray_cluster(options.ray_address, options.num_workers),
        tracing(options.traces_url, "synthforge-pool"),
        Client(options.service_url, key=options.key, timeout_s=_ANSWER_S, retry_for_s=0) as client,
    ):
        # Imports Ray, which reads its environment then: only now does it stand.
        from workers.pool import Pool  # noqa: PLC0415

        worker = WorkerSettings(
            output_prefixes=options.output_prefixes,
            # Nodes of a cluster have temporary files of their own, swept by their actors.
            scratch=scratch if is_local else Path(tempfile.gettempdir()),
            backend=options.backend,
            chunks_in_flight=options.chunks_in_flight,
            assets_url=registry_url(),  # the actors of a cluster have another environment
            logs_as_json=options.logs_as_json,
            traces_url=options.traces_url,
        )
        # A cluster is shared, and its autoscaler gives idle nodes back; this machine is ours.
        least = options.num_workers if is_local else 0
        settings = PoolSettings(
            name=f"{socket.gethostname()}-{os.getpid()}",
            worker=worker,
            bounds=Bounds(least=least, most=options.num_workers, idle_s=options.idle_s),
            cpus_per_worker=options.cpus_per_worker,
            gpus_per_worker=options.gpus_per_worker,
            secrets=() if options.key is None else (options.key,),
        )
        Pool(settings, client).run(stop)
