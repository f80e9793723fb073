"""A Ray cluster of several nodes on this machine, that no other program finds or may enter."""

from __future__ import annotations

import os
import secrets
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

OBJECT_STORE_BYTES: Final = 80 << 20
START_S: Final = 900.0
_TOKEN: Final = secrets.token_hex(32)  # Ray reads a process's token once, for all its clusters


@contextmanager
def ray_cluster_alone() -> Iterator[Any]:
    """Hold a cluster whose head has no CPUs; yields Ray's `Cluster`, to which nodes are added."""
    with tempfile.TemporaryDirectory(prefix="ray-") as folder:
        os.environ |= {
            "RAY_TMPDIR": folder,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": _TOKEN,
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        from ray.cluster_utils import Cluster  # noqa: PLC0415 - reads the environment then

        cluster = Cluster(
            initialize_head=True,
            shutdown_at_exit=False,  # its signal handlers are for the main thread alone
            head_node_args={
                "num_cpus": 0,
                "include_dashboard": False,
                "object_store_memory": OBJECT_STORE_BYTES,
            },
        )
        try:
            yield cluster
        finally:
            cluster.shutdown()


def add_node(cluster: Any) -> Any:
    """Add a node of one CPU; return it.

    Ray gives a node 30 s to start, which is little on a busy machine: it is tried again, for
    `START_S`. What then starts too late joins the cluster unasked, and ends with this process.
    """
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        with suppress(Exception):  # Ray raises nothing narrower
            return cluster.add_node(num_cpus=1, object_store_memory=OBJECT_STORE_BYTES)
    return cluster.add_node(num_cpus=1, object_store_memory=OBJECT_STORE_BYTES)


@contextmanager
def ray_nodes(count: int) -> Iterator[str]:
    """Hold a cluster of so many nodes of one CPU each; yields its address."""
    with ray_cluster_alone() as cluster:
        for _ in range(count):
            add_node(cluster)
        yield cluster.address
