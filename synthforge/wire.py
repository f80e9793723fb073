"""Requests to the service: tried again where that is harmless, refusals raised by their kind."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

import httpx

from synthforge import telemetry
from synthforge.job_events import JobEvent, parse_events
from synthforge.job_status import JobStatus
from synthforge.json_logs import request_id
from synthforge.refusals import BLANK, UnavailableError, UnreachableError, refusal_of

_FIRST_WAIT_S: Final = 0.1
_LONGEST_WAIT_S: Final = 5.0
# An open event stream says that it lives every 15 s (SYNTHFORGE_EVENTS_KEEPALIVE_S).
_EVENTS_SILENCE_S: Final = 60.0
_ERRNO: Final = re.compile(r"^\[Errno -?\d+\] ")  # the words behind it say the same


class Wire:
    """A pool of connections to one service; safe to use from several threads."""

    def __init__(
        self,
        http: httpx.Client,
        retry_for_s: float,
        sleep: Callable[[float], None],
        clock: Callable[[], float],
        on_wait: Callable[[UnavailableError], None],
    ) -> None:
        """Take the connections over.

        Args:
            http: that leads to the service; closed with this.
            retry_for_s: how long a call goes on trying; 0 tries once.
            sleep: waits so many seconds.
            clock: seconds that only rise.
            on_wait: is told why, before each wait.
        """
        self._http = http
        self._retry_for_s = retry_for_s
        self._sleep = sleep
        self._clock = clock
        self._on_wait = on_wait

    @property
    def base_url(self) -> str:
        """Of the service, without a slash at its end."""
        return str(self._http.base_url).rstrip("/")

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def is_well(self, path: str) -> bool:
        """Tell, at once, whether a path answers 200."""
        try:
            return self._http.get(path).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def call(
        self, method: str, path: str, *, may_repeat: bool = True, **options: Any
    ) -> httpx.Response:
        """Send a request until it is answered.

        Args:
            method: of HTTP.
            path: from the service's root.
            may_repeat: an answer lost on the way may be asked for again.
            options: as of `httpx.Client.request`; the id of the request that the work at hand goes
                back to, and its trace, are sent along where there are such.

        Raises:
            ApiError: the service refused it.
            UnavailableError: no answer came in time.
        """
        waits = self._waits()
        options["headers"] = {**options.get("headers", {}), **_origin()}
        while True:
            try:
                answer = self._http.request(method, path, **options)
            except httpx.TransportError as error:
                failure: UnavailableError = self._unreachable(error)
                unsent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
                if not (may_repeat or unsent):
                    raise failure from error
            else:
                if answer.is_success:
                    return answer
                refusal = refusal_of(answer)
                if not isinstance(refusal, UnavailableError):
                    raise refusal
                failure = refusal
            self._wait_or_raise(waits, failure)

    def events(self, job_id: str, after: int = 0) -> Iterator[JobEvent]:
        """Yield what happens to a job until it ends; a lost stream is taken up where it broke.

        The service forgets an old job's events: then there may be no last one, or none.

        Args:
            job_id: of the job.
            after: id of the last event already seen.
        """
        waits = self._waits()
        has_ended = False
        while True:
            has_news = False
            try:
                for event in self._stream(job_id, after):
                    after, has_news = event.id, True
                    waits = self._waits()
                    yield event
                    if event.state.is_final:
                        return
            except httpx.TransportError as error:
                self._wait_or_raise(waits, self._unreachable(error))
            except UnavailableError as error:
                self._wait_or_raise(waits, error)
            else:
                if has_ended and not has_news:
                    return
                # Of an old job no last event may be kept; once it has ended, what is told is all.
                has_ended = self._has_ended(job_id)
                if not has_ended:
                    self._wait_or_raise(waits, UnavailableError(0, BLANK, "the stream ended"))

    def _has_ended(self, job_id: str) -> bool:
        answer = self.call("GET", f"/v1/jobs/{job_id}")
        return JobStatus.model_validate_json(answer.content).state.is_final

    def _waits(self) -> Iterator[float]:
        """Yield growing, jittered waits in seconds until the time for trying is over."""
        end = self._clock() + self._retry_for_s
        longest = _FIRST_WAIT_S
        while (left := end - self._clock()) > 0:
            wait_s = random.uniform(longest / 2, longest)  # noqa: S311 - it spreads clients, no more
            yield min(wait_s, left)
            longest = min(2 * longest, _LONGEST_WAIT_S)

    def _wait_or_raise(self, waits: Iterator[float], error: UnavailableError) -> None:
        wait_s = next(waits, None)
        if wait_s is None or error.retry_after_s > self._retry_for_s:
            raise error
        self._on_wait(error)
        self._sleep(max(wait_s, error.retry_after_s))

    def _unreachable(self, error: httpx.TransportError) -> UnreachableError:
        why = _ERRNO.sub("", str(error)) or type(error).__name__
        return UnreachableError(f"{self.base_url} cannot be reached: {why}")

    def _stream(self, job_id: str, after: int) -> Iterator[JobEvent]:
        timeout = httpx.Timeout(self._http.timeout.connect, read=_EVENTS_SILENCE_S)
        headers = {"Last-Event-ID": str(after), "Accept": "text/event-stream"}
        path = f"/v1/jobs/{job_id}/events"
        with self._http.stream("GET", path, headers=headers, timeout=timeout) as answer:
            if not answer.is_success:
                answer.read()
                raise refusal_of(answer)
            yield from parse_events(answer.iter_lines())


def _origin() -> dict[str, str]:
    found = request_id()
    own = {"X-Request-Id": found} if found else {}
    return own | telemetry.outgoing()
