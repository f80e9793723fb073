"""Talks to the service on threads of its own, so that a pool's loop never waits for an answer.

A slow answer to one question then holds up no heartbeat of another lease.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextvars import Context, copy_context
from dataclasses import dataclass
from typing import Final, TypeVar

from synthforge.refusals import ApiError, NotFoundError, StaleLeaseError, UnavailableError

log = logging.getLogger(__name__)

NUM_THREADS: Final = 8
TELL_AGAIN_S: Final = 0.5
_GONE: Final = (StaleLeaseError, NotFoundError)

T = TypeVar("T")


def is_gone(error: ApiError) -> bool:
    """Tell whether a lease is another's by now, or was never there."""
    return isinstance(error, _GONE)


def is_passing(error: ApiError) -> bool:
    """Tell whether the same call may succeed later: the service is away, or broken inside."""
    return isinstance(error, UnavailableError) or error.status >= 500


@dataclass
class _Untold:
    """A result that the service has not taken yet."""

    call: Callable[[], object]
    on_refusal: Callable[[ApiError], None]
    until: float
    answer: Future[object]
    context: Context  # of whoever told it: what log lines are about
    again_at: float = 0.0


class Messenger:
    """Asks and tells; `tend` is to be called often, from the thread that owns this."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Start no thread yet; `clock` gives seconds that only rise."""
        self._clock = clock
        self._threads = ThreadPoolExecutor(NUM_THREADS, thread_name_prefix="service")
        self._untold: list[_Untold] = []

    @property
    def is_telling(self) -> bool:
        """Whether a result is still to be taken by the service."""
        return bool(self._untold)

    def ask(self, question: Callable[[], T]) -> Future[T]:
        """Call on a thread; the future holds the answer or the error.

        What log lines are about (`synthforge.json_logs.bound`) goes with the call.
        """
        return self._threads.submit(copy_context().run, question)

    def tell(
        self,
        call: Callable[[], object],
        for_s: float,
        on_refusal: Callable[[ApiError], None] | None = None,
    ) -> None:
        """Send a result, again and again for `for_s` seconds while the service is away.

        Args:
            call: sends it.
            for_s: until the lease is over.
            on_refusal: is given the error when the service will never take it; logs by default.
        """
        until = self._clock() + for_s
        told = _Untold(call, on_refusal or _log_refusal, until, self.ask(call), copy_context())
        self._untold.append(told)

    def tend(self) -> None:
        """Look what became of the results that were told; send again what must be."""
        held, self._untold = self._untold, []
        kept = [untold for untold in held if untold.context.run(self._is_kept, untold)]
        self._untold = kept + self._untold

    def close(self, patience_s: float) -> None:
        """Give what is untold a last chance of `patience_s` seconds, then let go of the threads."""
        end = self._clock() + patience_s
        while self._untold and self._clock() < end:
            wait([untold.answer for untold in self._untold], timeout=TELL_AGAIN_S / 5)
            self.tend()
        if self._untold:
            log.warning("%d results were not taken, their leases lapse", len(self._untold))
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _is_kept(self, untold: _Untold) -> bool:
        """Take in an answer; tell whether the result is still to be told."""
        if not untold.answer.done():
            return True
        now = self._clock()
        if untold.again_at:
            if now >= untold.again_at:
                untold.again_at, untold.answer = 0.0, self.ask(untold.call)
            return True
        try:
            untold.answer.result()
        except ApiError as error:
            if is_passing(error) and now < untold.until:
                untold.again_at = now + TELL_AGAIN_S
                return True
            if is_gone(error):
                log.info("the lease was no longer ours: %s", error)
            elif is_passing(error):
                log.warning("the service did not take a result, its lease lapses: %s", error)
            else:
                untold.on_refusal(error)
        return False


def _log_refusal(error: ApiError) -> None:
    log.error("the service refuses what it was told: %s", error)
