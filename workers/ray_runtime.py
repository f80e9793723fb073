"""Starts or joins a Ray cluster, and takes back what `ray.init` takes.

Known of Ray 2.60: `ray.init` replaces the SIGTERM handler of its driver; a local cluster writes a
token file to the home directory, which switches authentication on for every later cluster of that
user; usage statistics go out unless told not to; and under `uv run` the whole working directory is
packed up for the workers. Each is set here on purpose, before Ray is imported.
"""

from __future__ import annotations

import os
import secrets
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

OBJECT_STORE_BYTES: Final = 128 * 1024 * 1024  # leases and records travel through it, no pictures
_QUIET: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_DEDUP_LOGS": "0",
    # Ray would hide the GPUs of a driver that asks for none; the actors are given theirs.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


@contextmanager
def ray_cluster(address: str | None, num_cpus: int) -> Iterator[None]:
    """Hold a connection to a cluster for the length of the block.

    Args:
        address: of a running cluster, as `ray.init` takes it; None starts one on this machine
            that nobody else can use and that ends with the block, or with this process.
        num_cpus: of the cluster that is started.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    if address is None:
        _hold_own_token()
    import ray  # noqa: PLC0415 - reads the environment when it is imported

    with _signals_kept():
        if address is None:
            ray.init(
                address="local",  # not a cluster that happens to run on this machine
                num_cpus=num_cpus,
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


def _hold_own_token() -> None:
    """Guard a local cluster with a token that lives in this process' environment alone."""
    if "RAY_AUTH_MODE" not in os.environ:
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Put the handlers back that `ray.init` replaces; only the main thread has any."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in held.items():
            signal.signal(number, handler)
