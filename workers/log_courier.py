"""Tells the service what a pool and its actors logged about jobs: in batches, once a second.

They travel apart from heartbeats and reports, which stay as short as they are; a line is told
though its lease is gone. Where an answer is lost a batch is told again: a line may stand twice.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final

from synthforge.client import Client
from synthforge.job_logs import LogBatch, LogLine
from synthforge.refusals import ApiError
from workers.job_log import JobLog
from workers.messenger import Messenger, is_passing

log = logging.getLogger(__name__)

TELL_EVERY_S: Final = 1.0
TELL_AGAIN_S: Final = 5.0


class LogCourier:
    """Takes lines from a log to the service; never waits."""

    def __init__(
        self,
        pool: str,
        client: Client,
        messenger: Messenger,
        kept: JobLog,
        clock: Callable[[], float],
    ) -> None:
        """Tell nothing yet; `clock` gives seconds that only rise."""
        self._pool = pool
        self._client = client
        self._messenger = messenger
        self._kept = kept
        self._clock = clock
        self._telling: tuple[Future[int], tuple[LogLine, ...]] | None = None
        self._not_before = 0.0

    def tend(self) -> None:
        """Take in an answer, and tell what there is to tell."""
        if self._telling is not None and self._telling[0].done():
            answer, lines = self._telling
            self._telling = None
            self._take_in(answer, lines)
        if self._telling is None and self._clock() >= self._not_before:
            lines = self._kept.take()
            if lines:
                self._not_before = self._clock() + TELL_EVERY_S
                self._telling = (self._messenger.ask(lambda: self._tell(lines)), lines)

    def close(self, for_s: float) -> None:
        """Tell what is left, for so long; the messenger sees to it."""
        while lines := self._kept.take():
            self._messenger.tell(lambda lines=lines: self._tell(lines), for_s)  # type: ignore[misc]

    def _tell(self, lines: tuple[LogLine, ...]) -> int:
        return self._client.tell_logs(LogBatch(pool=self._pool, lines=lines))

    def _take_in(self, answer: Future[int], lines: tuple[LogLine, ...]) -> None:
        try:
            answer.result()
        except ApiError as error:
            self._not_before = self._clock() + TELL_AGAIN_S
            if is_passing(error):
                self._kept.put_back(lines)
            else:
                log.warning("the service refuses %d log lines: %s", len(lines), error)
