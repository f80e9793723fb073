"""What must stand in the environment before Ray is imported, and what `ray.init` must not keep.

Known of Ray 2.60: `ray.init` replaces the SIGTERM handler of its driver; a local cluster writes a
token file to the home directory, which switches authentication on for every later cluster of that
user; usage statistics go out unless told not to; and under `uv run` the whole working directory is
packed up for the workers. Each is set here on purpose.
"""

from __future__ import annotations

import logging
import os
import secrets
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_QUIET: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_DEDUP_LOGS": "0",
    # Ray would hide the GPUs of a driver that asks for none; the actors are given theirs.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


def prepare_environment(address: str | None) -> None:
    """Set what Ray reads when it is imported; a local cluster (None) gets a token of its own."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    if address is None:
        _hold_own_token()


def _hold_own_token() -> None:
    """Guard a local cluster with a token that lives in this process' environment alone."""
    if "RAY_AUTH_MODE" not in os.environ:
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


@contextmanager
def signals_kept() -> Iterator[None]:
    """Put the handlers back that `ray.init` replaces; only the main thread has any."""
    if threading.current_thread() is not threading.main_thread():
        with _not_told_of_signals():
            yield
        return
    held = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in held.items():
            signal.signal(number, handler)


@contextmanager
def _not_told_of_signals() -> Iterator[None]:
    """Silence Ray's warning that it takes no signals on this thread: the command's own does."""

    def is_news(record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith("SIGTERM handler is not set")

    log = logging.getLogger("ray._private.worker")
    log.addFilter(is_news)
    try:
        yield
    finally:
        log.removeFilter(is_news)
