"""The HTTP client: for those who order datasets, and for the pools that make them.

    with Client("http://127.0.0.1:8000") as client:
        job = client.submit({"count": 1000})
        for event in client.events(job.id):
            print(event.state, event.counts.completed)
        manifest = client.manifest(job.id)

Calls that may be repeated without harm are: on a lost connection, and while the service says 503.
"""

from __future__ import annotations

import json
import random
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Final, Self

import httpx
from pydantic import BaseModel, ValidationError

from synthforge.distributions import STRICT
from synthforge.jobs import FieldError, JobSpec, JobState, JobStatus, SampleCounts, ShardCounts
from synthforge.keys import CreatedKey, KeyInfo, KeyList, KeyRequest, find_key
from synthforge.leases import (
    Heartbeat,
    HeartbeatAnswer,
    LeaseGrant,
    LeaseRequest,
    LeaseReturn,
    Report,
    ShardPage,
)
from synthforge.previews import PreviewGrant, PreviewReport, PreviewRequest
from synthforge.shards import Manifest, ShardRecord

DEFAULT_TIMEOUT_S: Final = 30.0
DEFAULT_RETRY_FOR_S: Final = 20.0
_FIRST_WAIT_S: Final = 0.1
_LONGEST_WAIT_S: Final = 5.0
# An open event stream says that it lives every 15 s (SYNTHFORGE_EVENTS_KEEPALIVE_S).
_EVENTS_SILENCE_S: Final = 60.0
_PREVIEW_TIMEOUT_S: Final = 150.0  # the service gives up before (SYNTHFORGE_PREVIEW_TIMEOUT_S)
_BLANK: Final = "about:blank"  # RFC 9457: no more is known than the status
_STALE_LEASE: Final = "urn:synthforge:problem:stale-lease"
_JSON: Final = {"Content-Type": "application/json"}


class ApiError(Exception):
    """The service refused a request; its problem details (RFC 9457) say why.

    Attributes:
        status: of HTTP.
        type: URN of the kind of problem.
        detail: what is wrong and what would do, in one line.
        errors: each field at fault.
        retry_after_s: wait so long before the same call, if the service said so.
    """

    def __init__(
        self, status: int, type_: str, detail: str, errors: Iterable[FieldError] = ()
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.type = type_
        self.detail = detail
        self.errors = tuple(errors)
        self.retry_after_s = 0.0


class InvalidRequestError(ApiError):
    """A field holds what cannot be (413, 415, 422)."""


class UnauthorizedError(ApiError):
    """No key, or one that is not known or revoked (401)."""


class ForbiddenError(ApiError):
    """The key has not the scope, or the job is of another key (403)."""


class NotFoundError(ApiError):
    """There is no such job or key (404)."""


class ConflictError(ApiError):
    """The state of the job does not allow it (409)."""


class StaleLeaseError(ConflictError):
    """The token does not hold its work any more: throw the work away and lease anew."""


class UnavailableError(ApiError):
    """The service cannot be reached, or says that it cannot work now (0, 429, 502 to 504)."""


class JobEvent(BaseModel):
    """Something that happened to a job, and how it stood then; `at` in seconds since 1970."""

    model_config = STRICT
    id: int
    kind: str
    job_id: str
    at: float
    state: JobState
    reason: str | None = None
    digest: str | None = None
    counts: SampleCounts
    shards: ShardCounts


class Client:
    """A connection to the service; safe to use from several threads."""

    def __init__(
        self,
        base_url: str,
        *,
        key: str | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        retry_for_s: float = DEFAULT_RETRY_FOR_S,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Connect to nothing yet.

        Args:
            base_url: of the service, as `http://127.0.0.1:8000`.
            key: that the service asks for; by default the one that SYNTHFORGE_KEY_FILE or
                SYNTHFORGE_KEY holds, if any.
            timeout_s: how long one answer may take.
            retry_for_s: how long a call goes on trying; 0 tries once.
            transport: another way to send requests; for tests.
            sleep: waits so many seconds; for tests.
            clock: seconds that only rise; for tests.

        Raises:
            ValueError: the variables of the key lead to none.
        """
        held = key or find_key()
        self._http = httpx.Client(
            base_url=base_url,
            timeout=timeout_s,
            transport=transport,
            headers={"Authorization": f"Bearer {held}"} if held else None,
        )
        self._retry_for_s = retry_for_s
        self._sleep = sleep
        self._clock = clock

    @property
    def base_url(self) -> str:
        """Of the service, without a slash at its end."""
        return str(self._http.base_url).rstrip("/")

    def __enter__(self) -> Self:
        """Return the client; it is closed when the block ends."""
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Close the connections."""
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    # Jobs

    def submit(
        self, spec: JobSpec | Mapping[str, Any] | str | bytes, idempotency_key: str | None = None
    ) -> JobStatus:
        """Order a dataset; sent again after a lost answer, it is still ordered once.

        Args:
            spec: a JobSpec, or its JSON as an object or text.
            idempotency_key: the same key and spec give the same job; a fresh one by default.

        Raises:
            InvalidRequestError: naming each field at fault.
            ConflictError: another job has the output prefix.
        """
        headers = _JSON | {"Idempotency-Key": idempotency_key or secrets.token_urlsafe(18)}
        answer = self._call("POST", "/v1/jobs", content=_spec_json(spec), headers=headers)
        return JobStatus.model_validate_json(answer.content)

    def estimate(
        self, spec: JobSpec | Mapping[str, Any] | str | bytes, workers: int | None = None
    ) -> dict[str, Any]:
        """Return what a job would cost: the service's `EstimateAnswer`, as an object.

        Args:
            spec: as of `submit`.
            workers: that make it; by default as many as work now.
        """
        query = {} if workers is None else {"workers": workers}
        content = _spec_json(spec)
        answer = self._call("POST", "/v1/estimates", content=content, params=query, headers=_JSON)
        found: dict[str, Any] = json.loads(answer.content)
        return found

    def preview(self, spec: JobSpec | Mapping[str, Any] | str | bytes, samples: int = 16) -> bytes:
        """Return the first samples of a job to be: a tar with a contact sheet (`preview.jpg`).

        Args:
            spec: as of `submit`.
            samples: at most 64.

        Raises:
            InvalidRequestError: the spec cannot be, or its ranges let no sample through.
            UnavailableError: no worker made it in time.
        """
        answer = self._call(
            "POST",
            "/v1/previews",
            content=_spec_json(spec),
            params={"samples": samples},
            headers=_JSON,
            timeout=_PREVIEW_TIMEOUT_S,
        )
        return answer.content

    def get(self, job_id: str) -> JobStatus:
        """Return how a job stands."""
        return JobStatus.model_validate_json(self._call("GET", f"/v1/jobs/{job_id}").content)

    def jobs(self, states: Iterable[JobState] = (), page_size: int = 100) -> Iterator[JobStatus]:
        """Yield jobs, the newest first; only those in `states`, where any are given."""
        query: dict[str, Any] = {"limit": page_size, "state": [state.value for state in states]}
        while True:
            page = json.loads(self._call("GET", "/v1/jobs", params=query).content)
            for job in page["jobs"]:
                yield JobStatus.model_validate_json(json.dumps(job))
            if page["next"] is None:
                return
            query["cursor"] = page["next"]

    def pause(self, job_id: str) -> JobStatus:
        """Lease no more of a job; what runs of it goes on to its end."""
        return self._steer(job_id, "pause")

    def resume(self, job_id: str) -> JobStatus:
        """Go on with a paused job."""
        return self._steer(job_id, "resume")

    def cancel(self, job_id: str, *, deletes: bool = False) -> JobStatus:
        """Stop a job; one that is being cancelled, or was, stays so.

        Args:
            job_id: of the job.
            deletes: what is done of it is deleted too.
        """
        return self._steer(job_id, "cancel", params={"data": "delete" if deletes else "keep"})

    def extend(self, job_id: str, count: int) -> JobStatus:
        """Add samples to the dataset of a job that succeeded; return the job that adds them.

        Args:
            job_id: of the job.
            count: samples that the dataset is to have then.
        """
        return self._steer(job_id, "extend", content=json.dumps({"count": count}), headers=_JSON)

    def delete_dataset(self, job_id: str) -> JobStatus:
        """Delete a job's dataset: its manifest at once, the rest soon after."""
        answer = self._call("DELETE", f"/v1/jobs/{job_id}/dataset")
        return JobStatus.model_validate_json(answer.content)

    def retry(self, job_id: str) -> JobStatus:
        """Take a failed or cancelled job up where it was."""
        return self._steer(job_id, "retry")

    def set_priority(self, job_id: str, priority: int) -> JobStatus:
        """Move a job before (higher) or behind (lower) others."""
        content = json.dumps({"priority": priority})
        answer = self._call("PATCH", f"/v1/jobs/{job_id}", content=content, headers=_JSON)
        return JobStatus.model_validate_json(answer.content)

    def events(self, job_id: str, after: int = 0) -> Iterator[JobEvent]:
        """Yield what happens to a job until it ends; a lost stream is taken up where it broke.

        Args:
            job_id: of the job.
            after: id of the last event already seen.
        """
        waits = self._waits()
        while True:
            try:
                for event in self._stream(job_id, after):
                    after = event.id
                    waits = self._waits()
                    yield event
                    if event.state.is_final:
                        return
            except httpx.TransportError as error:
                self._wait_or_raise(waits, self._unreachable(error))
            except UnavailableError as error:
                self._wait_or_raise(waits, error)
            else:
                self._wait_or_raise(waits, UnavailableError(0, _BLANK, "the stream ended"))

    def wait(self, job_id: str) -> JobStatus:
        """Return the job once it has ended."""
        for event in self.events(job_id):
            if event.state.is_final:
                break
        return self.get(job_id)

    def manifest(self, job_id: str) -> Manifest:
        """Return the manifest of a job that succeeded."""
        return Manifest.model_validate_json(self.manifest_bytes(job_id))

    def manifest_bytes(self, job_id: str) -> bytes:
        """Return the manifest as it lies in the store."""
        return self._call("GET", f"/v1/jobs/{job_id}/manifest").content

    def manifest_with_links(self, job_id: str, expires_s: int | None = None) -> bytes:
        """Return the manifest with `links`: for each shard and file a URL to read it, keyless.

        Raises:
            InvalidRequestError: the dataset's store has no links.
        """
        query = {"links": "presigned"} | ({"expires": str(expires_s)} if expires_s else {})
        return self._call("GET", f"/v1/jobs/{job_id}/manifest", params=query).content

    def pools(self) -> list[dict[str, Any]]:
        """Return the pools that asked for work within a day."""
        listed: list[dict[str, Any]] = json.loads(self._call("GET", "/v1/pools").content)["pools"]
        return listed

    def is_ready(self) -> bool:
        """Tell, at once, whether the service is there and can work."""
        try:
            return self._http.get("/readyz").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    # Keys

    def create_key(self, wanted: KeyRequest) -> CreatedKey:
        """Make a key; what is returned alone holds it. Asked once: no answer, no known key."""
        content = wanted.model_dump_json()
        answer = self._call("POST", "/v1/keys", content=content, headers=_JSON, may_repeat=False)
        return CreatedKey.model_validate_json(answer.content)

    def keys(self) -> list[KeyInfo]:
        """Return every key, the oldest first."""
        return KeyList.model_validate_json(self._call("GET", "/v1/keys").content).keys

    def revoke_key(self, key_id: str) -> KeyInfo:
        """Let a key do nothing more."""
        return KeyInfo.model_validate_json(self._call("DELETE", f"/v1/keys/{key_id}").content)

    # Leases

    def lease(self, request: LeaseRequest) -> LeaseGrant:
        """Ask for work. An answer lost on the way is not asked for again: its leases lapse."""
        answer = self._call(
            "POST",
            "/v1/leases",
            content=request.model_dump_json(),
            headers=_JSON,
            may_repeat=False,
        )
        return LeaseGrant.model_validate_json(answer.content)

    def heartbeat(self, token: str, beat: Heartbeat) -> HeartbeatAnswer:
        """Say how far an execution is.

        Raises:
            StaleLeaseError: the lease is not held any more.
        """
        answer = self._act(token, "heartbeat", beat)
        return HeartbeatAnswer.model_validate_json(answer.content)

    def report(self, token: str, report: Report) -> bool:
        """Hand finished work in; return whether it is news, and not a report come twice.

        Raises:
            StaleLeaseError: the lease is not held any more.
        """
        return not json.loads(self._act(token, "report", report).content)["repeated"]

    def return_(self, token: str, returned: LeaseReturn) -> str:
        """Give work back undone; return what became of it: open, set_aside, returned_before.

        Raises:
            StaleLeaseError: the lease is not held any more.
        """
        return str(json.loads(self._act(token, "return", returned).content)["outcome"])

    def committed_shards(self, token: str) -> Iterator[ShardRecord]:
        """Yield the records of a job's shards, in the order of the manifest, to its summary."""
        after: str | None = "-1"
        while after is not None:
            answer = self._call("GET", f"/v1/leases/{token}/shards", params={"after": after})
            page = ShardPage.model_validate_json(answer.content)
            yield from page.shards
            after = page.next

    # Previews

    def lease_previews(self, request: PreviewRequest) -> PreviewGrant:
        """Ask for previews to make. An answer lost on the way is not asked for again."""
        content = request.model_dump_json()
        path = "/v1/previews/leases"
        answer = self._call("POST", path, content=content, headers=_JSON, may_repeat=False)
        return PreviewGrant.model_validate_json(answer.content)

    def report_preview(self, token: str, report: PreviewReport) -> None:
        """Say what became of a preview.

        Raises:
            StaleLeaseError: nobody waits for it any more.
        """
        path = f"/v1/previews/leases/{token}/report"
        self._call("POST", path, content=report.model_dump_json(), headers=_JSON)

    # The wire

    def _steer(self, job_id: str, action: str, **options: Any) -> JobStatus:
        answer = self._call("POST", f"/v1/jobs/{job_id}/{action}", **options)
        return JobStatus.model_validate_json(answer.content)

    def _act(self, token: str, action: str, message: BaseModel) -> httpx.Response:
        content = message.model_dump_json()
        return self._call("POST", f"/v1/leases/{token}/{action}", content=content, headers=_JSON)

    def _call(
        self, method: str, path: str, *, may_repeat: bool = True, **options: Any
    ) -> httpx.Response:
        waits = self._waits()
        while True:
            try:
                answer = self._http.request(method, path, **options)
            except httpx.TransportError as error:
                failure = self._unreachable(error)
                unsent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
                if not (may_repeat or unsent):
                    raise failure from error
            else:
                if answer.is_success:
                    return answer
                refusal = _refusal(answer)
                if not isinstance(refusal, UnavailableError):
                    raise refusal
                failure = refusal
            self._wait_or_raise(waits, failure)

    def _waits(self) -> Iterator[float]:
        """Yield growing, jittered waits in seconds until the time for trying is over."""
        start = self._clock()
        longest = _FIRST_WAIT_S
        while self._clock() - start < self._retry_for_s:
            yield random.uniform(longest / 2, longest)  # noqa: S311 - it spreads clients, no more
            longest = min(2 * longest, _LONGEST_WAIT_S)

    def _wait_or_raise(self, waits: Iterator[float], error: UnavailableError) -> None:
        wait_s = next(waits, None)
        if wait_s is None or error.retry_after_s > self._retry_for_s:
            raise error
        self._sleep(max(wait_s, error.retry_after_s))

    def _unreachable(self, error: httpx.TransportError) -> UnavailableError:
        why = str(error) or type(error).__name__
        return UnavailableError(0, _BLANK, f"{self._http.base_url} cannot be reached: {why}")

    def _stream(self, job_id: str, after: int) -> Iterator[JobEvent]:
        timeout = httpx.Timeout(self._http.timeout.connect, read=_EVENTS_SILENCE_S)
        headers = {"Last-Event-ID": str(after), "Accept": "text/event-stream"}
        path = f"/v1/jobs/{job_id}/events"
        with self._http.stream("GET", path, headers=headers, timeout=timeout) as answer:
            if not answer.is_success:
                answer.read()
                raise _refusal(answer)
            yield from _events(answer.iter_lines())


def _events(lines: Iterable[str]) -> Iterator[JobEvent]:
    """Parse `text/event-stream`, as far as the service writes it."""
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
        elif "data" in fields:
            data = json.loads(fields["data"])
            event = data | {"id": int(fields["id"]), "kind": fields["event"]}
            yield JobEvent.model_validate_json(json.dumps(event))
            fields = {}


def _spec_json(spec: JobSpec | Mapping[str, Any] | str | bytes) -> bytes:
    match spec:
        case JobSpec():
            return spec.canonical_json()
        case str():
            return spec.encode()
        case bytes():
            return spec
        case _:
            return json.dumps(spec).encode()


def _refusal(answer: httpx.Response) -> ApiError:
    """Turn an answer of 4xx or 5xx to the error that says so."""
    type_, detail, errors = _BLANK, f"{answer.status_code} {answer.reason_phrase}", []
    try:
        problem = answer.json()
        type_, detail = str(problem["type"]), str(problem["detail"])
        errors = [FieldError.model_validate(error) for error in problem.get("errors", [])]
    except (ValueError, KeyError, TypeError, ValidationError):
        pass  # a proxy's page, not the service's word: the status has to do
    match answer.status_code:
        case 401:
            kind: type[ApiError] = UnauthorizedError
        case 403:
            kind = ForbiddenError
        case 409 if type_ == _STALE_LEASE:
            kind = StaleLeaseError
        case 409:
            kind = ConflictError
        case 404:
            kind = NotFoundError
        case 413 | 415 | 422:
            kind = InvalidRequestError
        case 429 | 502 | 503 | 504:
            kind = UnavailableError
        case _:
            kind = ApiError
    refusal = kind(answer.status_code, type_, detail, errors)
    told = answer.headers.get("Retry-After", "")
    refusal.retry_after_s = float(told) if told.isdigit() else 0.0
    return refusal
