"""A proxy that stands before a server and breaks what it is asked to: the network's own faults."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import Any, Final, Literal
from urllib.parse import urlsplit

UPSTREAM_S: Final = 30.0
SLOWEST_S: Final = 1.5
_HOP_BY_HOP: Final = {"connection", "keep-alive", "transfer-encoding", "content-length"}

Fault = Literal["error", "slow", "truncated", "lost"]
FAULTS: Final[tuple[Fault, ...]] = ("error", "slow", "truncated", "lost")


@dataclass
class Weather:
    """How often answers go wrong, and how many have.

    Attributes:
        share: of the requests that meet a fault; 0 lets all through.
        counts: faults by kind, so far.
    """

    seed: int
    share: float = 0.0
    counts: Counter[Fault] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._random = Random(self.seed)

    def next_fault(self) -> tuple[Fault | None, float]:
        """Return what befalls the next request, and a number in [0, 1) to do it by."""
        with self._lock:
            if self._random.random() >= self.share:
                return None, 0.0
            fault = self._random.choice(FAULTS)
            self.counts[fault] += 1
            return fault, self._random.random()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, upstream: str, weather: Weather) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = urlsplit(upstream).netloc
        self.weather = weather

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a connection that breaks is what this server is for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: object) -> None:
        """Log nothing."""

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault, dice = self.server.weather.next_fault()
        if fault == "error":
            self._refuse(503 if dice < 0.5 else 500)
            return
        if fault == "slow":
            time.sleep(dice * SLOWEST_S)
        connection = HTTPConnection(self.server.upstream, timeout=UPSTREAM_S)
        try:
            # The headers go on as they came: the signature of S3 covers the name of this host.
            connection.putrequest(
                self.command, self.path, skip_host=True, skip_accept_encoding=True
            )
            for name, value in self.headers.items():
                if name.lower() not in {"connection", "expect"}:
                    connection.putheader(name, value)
            connection.endheaders(body or None)
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, HTTPException):
            self.close_connection = True  # nobody is there: the client sees the line go dead
            return
        finally:
            connection.close()
        if fault == "lost":
            self.close_connection = True
            return
        self._answer(answer, content, cut=dice if fault == "truncated" else None)

    def _answer(self, answer: HTTPResponse, content: bytes, cut: float | None) -> None:
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in _HOP_BY_HOP:
                self.send_header(name, value)
        length = len(content)
        if self.command == "HEAD":
            length = int(answer.getheader("Content-Length") or 0)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        if cut is not None:
            content = content[: int(cut * len(content))]
            self.close_connection = True
        self.wfile.write(content)

    def _refuse(self, status: int) -> None:
        self.send_response_only(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_PATCH = _pass_on  # noqa: N815


@contextmanager
def proxy_before(upstream: str, weather: Weather) -> Iterator[str]:
    """Run a proxy before a server for the length of a block; yields its own URL."""
    server = _Server(upstream, weather)
    thread = threading.Thread(target=server.serve_forever, name="proxy", daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
