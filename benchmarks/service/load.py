"""Bounded load over plain sockets: a client light enough to share two cores with the service."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

MAX_BODY_BYTES: Final = 64 << 20

Answer = tuple[int, bytes]
Exchange = Callable[["Connection"], Awaitable[int]]
"""Does one piece of work over a connection; returns how many units of it were done."""


class Connection:
    """One HTTP/1.1 connection that stays open, one request at a time."""

    def __init__(self, host: str, port: int, key: str) -> None:
        self._address = (host, port)
        self._head = f"Host: {host}\r\nAuthorization: Bearer {key}\r\n"

    async def open(self) -> None:
        """Connect."""
        self._reader, self._writer = await asyncio.open_connection(*self._address)

    def close(self) -> None:
        """Hang up."""
        self._writer.close()

    async def get(self, path: str) -> Answer:
        """Send a GET and return status and body."""
        return await self._ask(f"GET {path} HTTP/1.1\r\n{self._head}\r\n".encode())

    async def post(self, path: str, body: bytes, headers: str = "") -> Answer:
        """Post JSON and return status and body."""
        head = (
            f"POST {path} HTTP/1.1\r\n{self._head}Content-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n{headers}\r\n"
        )
        return await self._ask(head.encode() + body)

    async def _ask(self, request: bytes) -> Answer:
        self._writer.write(request)
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        _, _, after = head.partition(b"content-length:")
        length = int(after.split(b"\r\n", 1)[0])
        return int(head[9:12]), await self._reader.readexactly(length)


@dataclass
class Measured:
    """What a load found.

    Attributes:
        num_units: pieces of work done.
        took_s: from the first request to the last answer.
        latencies_s: of each exchange; from the moment it was due, where there was a rate.
    """

    num_units: int = 0
    took_s: float = 0.0
    latencies_s: list[float] = field(default_factory=list)

    @property
    def per_s(self) -> float:
        """Pieces of work a second."""
        return self.num_units / self.took_s

    def quantile_ms(self, share: float) -> float:
        """Return the latency that `share` of the exchanges stay under."""
        ordered = sorted(self.latencies_s)
        return 1000 * ordered[min(int(share * len(ordered)), len(ordered) - 1)]


async def run_load(
    connections: list[Connection], exchange: Exchange, for_s: float, rate_per_s: float | None = None
) -> Measured:
    """Repeat an exchange on every connection until the time is over.

    Args:
        connections: each carries one exchange at a time.
        exchange: what to do.
        for_s: how long.
        rate_per_s: exchanges due a second, all connections together, whether or not the service
            keeps up; None: as fast as it answers.
    """
    measured = Measured()
    start = time.perf_counter()
    due_times: Iterator[float] = (
        itertools.repeat(0.0)
        if rate_per_s is None
        else (start + number / rate_per_s for number in itertools.count())
    )

    async def repeat(connection: Connection) -> None:
        for due in due_times:
            now = time.perf_counter()
            if max(now, due) - start >= for_s:
                return
            if due > now:
                await asyncio.sleep(due - now)
            num_units = await exchange(connection)
            measured.num_units += num_units  # not in one: others add while this one waits
            measured.latencies_s.append(time.perf_counter() - (due or now))

    await asyncio.gather(*(repeat(connection) for connection in connections))
    measured.took_s = time.perf_counter() - start
    return measured
