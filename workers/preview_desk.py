"""A pool's previews: looked for apart from leases, made by an actor beside what it is at.

Called from the pool's loop; it never waits, neither for the service nor for Ray.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final

from synthforge.client import Client
from synthforge.jobs import GeneratorKind
from synthforge.leases import MAX_MESSAGE
from synthforge.previews import (
    MAX_PREVIEWS_PER_REQUEST,
    PreviewGrant,
    PreviewReport,
    PreviewRequest,
    PreviewTask,
)
from synthforge.refusals import ApiError
from workers.messenger import Messenger

log = logging.getLogger(__name__)

AGAIN_AFTER_FAILURE_S: Final = 5.0


@dataclass(frozen=True)
class Seat:
    """An actor that can make previews of one kind of generator."""

    kind: GeneratorKind
    actor: Any
    is_busy: bool


class PreviewDesk:
    """Takes previews from the service to actors, and back what became of them.

    Args:
        pool: name of the pool.
        client, messenger: to talk to the service by.
        begin: has an actor make a preview; returns what stands for its answer.
        result_of: returns the answer, None where it is not there yet; raises what the actor did.
    """

    def __init__(
        self,
        pool: str,
        client: Client,
        messenger: Messenger,
        begin: Callable[[Any, PreviewTask], Any],
        result_of: Callable[[Any], PreviewReport | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pool = pool
        self._client = client
        self._messenger = messenger
        self._begin = begin
        self._result_of = result_of
        self._clock = clock
        self._asked: Future[PreviewGrant] | None = None
        self._ask_again_at = 0.0
        self._making: list[tuple[PreviewTask, Any, Any]] = []  # task, actor, answer to come

    def tend(self, seats: Sequence[Seat]) -> None:
        """Do what can be done at once; to be called often."""
        self._take_results()
        if self._asked is not None and self._asked.done():
            answer, self._asked = self._asked, None
            self._take_grant(answer, seats)
        if self._asked is None and seats and self._clock() >= self._ask_again_at:
            self._ask(seats)

    def _ask(self, seats: Sequence[Seat]) -> None:
        request = PreviewRequest(
            pool=self._pool,
            generators=tuple(sorted({seat.kind for seat in seats})),
            max_previews=min(len(seats), MAX_PREVIEWS_PER_REQUEST),
        )
        self._asked = self._messenger.ask(lambda: self._client.lease_previews(request))

    def _take_grant(self, answer: Future[PreviewGrant], seats: Sequence[Seat]) -> None:
        try:
            grant = answer.result()
        except ApiError as error:
            log.warning("no previews from the service: %s", error)
            self._ask_again_at = self._clock() + AGAIN_AFTER_FAILURE_S
            return
        self._ask_again_at = self._clock() + grant.retry_after_s
        for task in grant.previews:
            seat = self._seat_for(task, seats)
            if seat is None:
                self._tell(task, PreviewReport(error="the pool's worker is gone: ask again"))
            else:
                self._making.append((task, seat.actor, self._begin(seat.actor, task)))

    def _seat_for(self, task: PreviewTask, seats: Sequence[Seat]) -> Seat | None:
        """Return the actor of that generator that has the least to do."""
        making = [actor for _, actor, _ in self._making]
        fitting = [seat for seat in seats if seat.kind == task.spec.generator.kind]
        return min(fitting, key=lambda seat: (making.count(seat.actor), seat.is_busy), default=None)

    def _take_results(self) -> None:
        for piece in list(self._making):
            task, _, awaited = piece
            try:
                report = self._result_of(awaited)
            except Exception as error:
                first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
                log.warning("a preview failed: %s", first_line)
                report = PreviewReport(error=f"the worker failed: {first_line}"[:MAX_MESSAGE])
            if report is not None:
                self._making.remove(piece)
                self._tell(task, report)

    def _tell(self, task: PreviewTask, report: PreviewReport) -> None:
        self._messenger.tell(
            lambda: self._client.report_preview(task.token, report), task.patience_s
        )
