"""What a pool's and an actor's log lines are about, and those about jobs kept until they are told.

A line that is logged inside `about(lease)` is about its job. `JobLog` keeps such lines, the newest
so many; actors' lines come to their pool's, and from there they go to the service.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from threading import Lock
from typing import Final

from synthforge.job_logs import MAX_LINES_TOLD, LogLevel, LogLine, one_line
from synthforge.json_logs import TOKEN_SHOWN, bound, fields_of
from synthforge.leases import Lease
from synthforge.redaction import redacted, secrets_held

MAX_KEPT: Final = 2000
_MAX_CHARS_READ: Final = 10_000  # of one message, before it is cut
_MAX_GAPS_TOLD: Final = 20
_MAX_CHARS_TOLD: Final = 100_000  # at once: well below what a service reads of a body
_LOGGERS: Final = ("workers", "synthforge")


def of_trace(lease: Lease) -> dict[str, str]:
    """Return a lease as attributes of a span."""
    return {"job_id": lease.job_id, "shard": lease.what, "request_id": lease.request_id or ""}


def about(lease: Lease) -> AbstractContextManager[None]:
    """Say of every line that is logged inside which work it is about, and who asked for it."""
    return bound(
        job_id=lease.job_id,
        shard=lease.what,
        token=lease.token[:TOKEN_SHOWN],
        request_id=lease.request_id,
    )


class JobLog(logging.Handler):
    """Keeps the lines about jobs until they are taken; safe to use from several threads."""

    def __init__(self, secrets: Iterable[str] = (), pool: str | None = None) -> None:
        """Keep nothing yet.

        Args:
            secrets: struck out of every line, beside those that the environment holds.
            pool: only lines that are bound to this pool are kept; None keeps those of all.
        """
        super().__init__(logging.INFO)
        self._secrets = (*secrets, *secrets_held())
        self._pool = pool
        self._lines: deque[LogLine] = deque()
        self._dropped: Counter[str] = Counter()
        self._guard = Lock()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record that is about a job."""
        fields = fields_of(record)
        job_id = fields.get("job_id")
        if job_id is None or (self._pool is not None and fields.get("pool") != self._pool):
            return
        shard, token = fields.get("shard"), fields.get("token")
        line = LogLine(
            job_id=str(job_id),
            at=record.created,
            level=_level_of(record),
            message=one_line(redacted(_told(record)[:_MAX_CHARS_READ], self._secrets)),
            shard=None if shard is None else str(shard),
            token=None if token is None else str(token),
        )
        self.put([line])

    def put(self, lines: Iterable[LogLine]) -> None:
        """Keep lines that were logged elsewhere; the oldest go where there are too many."""
        with self._guard:
            self._lines.extend(lines)
            while len(self._lines) > MAX_KEPT:
                self._dropped[self._lines.popleft().job_id] += 1

    def put_back(self, lines: Iterable[LogLine]) -> None:
        """Keep lines that were taken and could not be told."""
        with self._guard:
            self._lines.extendleft(reversed(tuple(lines)))
        self.put(())

    def take(self) -> tuple[LogLine, ...]:
        """Return the oldest lines, as many as may be told at once, and keep them no longer."""
        with self._guard:
            dropped = self._dropped.most_common(_MAX_GAPS_TOLD)
            self._dropped.clear()
            taken = [_gap(job_id, count, self._lines) for job_id, count in dropped]
            num_chars = 0
            while self._lines and len(taken) < MAX_LINES_TOLD and num_chars < _MAX_CHARS_TOLD:
                taken.append(self._lines.popleft())
                num_chars += len(taken[-1].message)
        return tuple(taken)


@contextmanager
def listening(kept: JobLog) -> Iterator[None]:
    """Have lines about jobs kept for as long as the block runs."""
    listen(kept)
    try:
        yield
    finally:
        for name in _LOGGERS:
            logging.getLogger(name).removeHandler(kept)


def listen(kept: JobLog) -> None:
    """Have this process' lines about jobs kept."""
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        logger.addHandler(kept)
        logger.setLevel(min(logger.getEffectiveLevel(), logging.INFO))


def _told(record: logging.LogRecord) -> str:
    """Return a record's message, with the last line of its traceback."""
    message = record.getMessage()
    error = record.exc_info[1] if record.exc_info else None
    return message if error is None else f"{message}: {type(error).__name__}: {error}"


def _level_of(record: logging.LogRecord) -> LogLevel:
    if record.levelno >= logging.ERROR:
        return "error"
    return "warning" if record.levelno >= logging.WARNING else "info"


def _gap(job_id: str, count: int, kept: Iterable[LogLine]) -> LogLine:
    """Return the line that stands where others were dropped."""
    at = next((line.at for line in kept), 0.0)
    message = f"{count} lines were dropped here: workers logged more than was told in time"
    return LogLine(job_id=job_id, at=at, level="warning", message=message)
