"""Runs the service: uvicorn, JSON logs, and an end that loses nothing."""

from __future__ import annotations

import errno
import logging
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

import uvicorn
from fastapi import FastAPI

from service.app import create_app
from service.database import place_of
from service.objects import warn_of_unlistable
from service.settings import Settings
from synthforge.json_logs import log_as_json

_LOG: Final = logging.getLogger(__name__)
_BACKLOG: Final = 2048
_POLL_S: Final = 0.01
_START_S: Final = 30.0


class ServiceServer(uvicorn.Server):
    """uvicorn that tells the app at once when it is asked to stop, so that event streams end."""

    def __init__(self, app: FastAPI, settings: Settings) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=max(1, round(settings.shutdown_grace_s)),
            )
        )
        self._stopping: threading.Event = app.state.context.stopping

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's
        """Take a signal: end gracefully; a second SIGINT ends at once."""
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.stop()

    def stop(self) -> None:
        """Accept nothing more, end what is open, then return from `run`."""
        self._stopping.set()
        self.should_exit = True


def listen(settings: Settings) -> socket.socket:
    """Bind the address of the settings; port 0 takes a free one.

    Raises:
        OSError: the address is in use or not this machine's.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise OSError(f"port {settings.port} is taken: --port 0 takes a free one") from None
        where = f"SYNTHFORGE_HOST {settings.host}, port {settings.port}"
        raise OSError(f"{where} cannot be listened on: {error.strerror}") from None
    listener.setblocking(False)
    return listener


def url_of(listener: socket.socket) -> str:
    """Return the URL at which a bound socket is reached."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then end what is open and return."""
    log_as_json()
    with listen(settings) as listener:
        server = ServiceServer(create_app(settings), settings)
        warn_of_unlistable(settings.output_prefixes, _LOG.warning)
        where = {"url": url_of(listener), "database": place_of(settings.database_url)}
        _LOG.info("listening", extra=where)
        server.run(sockets=[listener])
    _LOG.info("stopped")


@contextmanager
def serving(settings: Settings, app: FastAPI | None = None) -> Iterator[str]:
    """Serve in a thread for as long as the block runs; yield the URL.

    Raises:
        RuntimeError: the service did not start; the log says why.
    """
    with listen(settings) as listener:
        server = ServiceServer(app or create_app(settings), settings)
        thread = threading.Thread(target=server.run, args=([listener],), name="service")
        thread.start()
        try:
            start = time.monotonic()
            while not server.started:
                if not thread.is_alive() or time.monotonic() - start > _START_S:
                    raise RuntimeError("the service did not start: the log says why")
                time.sleep(_POLL_S)
            yield url_of(listener)
        finally:
            server.stop()
            thread.join()
