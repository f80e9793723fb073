"""Starts or joins a Ray cluster, and takes back what `ray.init` takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from synthforge.ray_environment import prepare_environment, signals_kept

OBJECT_STORE_BYTES: Final = 128 * 1024 * 1024  # leases and records travel through it, no pictures


@contextmanager
def ray_cluster(address: str | None, num_cpus: int, num_gpus: int | None = None) -> Iterator[None]:
    """Hold a connection to a cluster for the length of the block.

    Args:
        address: of a running cluster, as `ray.init` takes it; None starts one on this machine
            that nobody else can use and that ends with the block, or with this process.
        num_cpus: of the cluster that is started.
        num_gpus: of the cluster that is started; None takes those that Ray finds.
    """
    prepare_environment(address)
    import ray  # noqa: PLC0415 - reads the environment when it is imported

    with signals_kept():
        if address is None:
            ray.init(
                address="local",  # not a cluster that happens to run on this machine
                num_cpus=num_cpus,
                num_gpus=num_gpus,
                include_dashboard=False,
                object_store_memory=OBJECT_STORE_BYTES,
                log_to_driver=True,
                logging_level="WARNING",
                _node_ip_address="127.0.0.1",
            )
        else:
            ray.init(address=address, log_to_driver=True, logging_level="WARNING")
    try:
        yield
    finally:
        ray.shutdown()
