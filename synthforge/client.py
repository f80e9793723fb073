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
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Final, Self

import httpx
from pydantic import BaseModel

from synthforge.job_events import JobEvent
from synthforge.job_logs import LogAnswer, LogBatch, LogLevel, LogPage
from synthforge.job_status import JobState, JobStatus
from synthforge.jobs import JobSpec
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
from synthforge.refusals import UnavailableError
from synthforge.shards import Manifest, ShardRecord
from synthforge.wire import Wire

DEFAULT_TIMEOUT_S: Final = 30.0
DEFAULT_RETRY_FOR_S: Final = 20.0
_PREVIEW_TIMEOUT_S: Final = 150.0  # the service gives up before (SYNTHFORGE_PREVIEW_TIMEOUT_S)
_LOG_LOOK_EVERY_S: Final = 1.0
_LOG_ROUNDS_AFTER_END: Final = 3
_JSON: Final = {"Content-Type": "application/json"}


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
        on_wait: Callable[[UnavailableError], None] = lambda _error: None,
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
            on_wait: is told why, before each wait for another try.

        Raises:
            ValueError: the variables of the key lead to none.
        """
        held = key or find_key()
        http = httpx.Client(
            base_url=base_url,
            timeout=timeout_s,
            transport=transport,
            headers={"Authorization": f"Bearer {held}"} if held else None,
        )
        self._sleep = sleep
        self._wire = Wire(http, retry_for_s, sleep, clock, on_wait)

    @property
    def base_url(self) -> str:
        """Of the service, without a slash at its end."""
        return self._wire.base_url

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
        self._wire.close()

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
        answer = self._wire.call("POST", "/v1/jobs", content=_spec_json(spec), headers=headers)
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
        answer = self._wire.call(
            "POST", "/v1/estimates", content=content, params=query, headers=_JSON
        )
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
        answer = self._wire.call(
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
        return JobStatus.model_validate_json(self._wire.call("GET", f"/v1/jobs/{job_id}").content)

    def jobs(self, states: Iterable[JobState] = (), page_size: int = 100) -> Iterator[JobStatus]:
        """Yield jobs, the newest first; only those in `states`, where any are given."""
        query: dict[str, Any] = {"limit": page_size, "state": [state.value for state in states]}
        while True:
            page = json.loads(self._wire.call("GET", "/v1/jobs", params=query).content)
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
        answer = self._wire.call("DELETE", f"/v1/jobs/{job_id}/dataset")
        return JobStatus.model_validate_json(answer.content)

    def retry(self, job_id: str) -> JobStatus:
        """Take a failed or cancelled job up where it was."""
        return self._steer(job_id, "retry")

    def set_priority(self, job_id: str, priority: int) -> JobStatus:
        """Move a job before (higher) or behind (lower) others."""
        content = json.dumps({"priority": priority})
        answer = self._wire.call("PATCH", f"/v1/jobs/{job_id}", content=content, headers=_JSON)
        return JobStatus.model_validate_json(answer.content)

    def events(self, job_id: str, after: int = 0) -> Iterator[JobEvent]:
        """Yield what happens to a job until it ends; a lost stream is taken up where it broke.

        Args:
            job_id: of the job.
            after: id of the last event already seen.
        """
        return self._wire.events(job_id, after)

    def logs(
        self, job_id: str, level: LogLevel = "info", *, follows: bool = False
    ) -> Iterator[LogPage]:
        """Yield what workers logged about a job, the oldest first, a page at a time.

        Args:
            job_id: of the job.
            level: lines of this level and above.
            follows: wait for more until the job has ended; pools tell their lines within a second
                or two, so the last ones are waited for a little longer.
        """
        cursor, rounds_left = "0", _LOG_ROUNDS_AFTER_END
        while True:
            page = self._log_page(job_id, level, cursor)
            yield page
            cursor = page.next
            if page.lines:
                continue
            if not follows or not rounds_left:
                return
            rounds_left -= self.get(job_id).state.is_final
            self._sleep(_LOG_LOOK_EVERY_S)

    def _log_page(self, job_id: str, level: LogLevel, cursor: str) -> LogPage:
        query = {"level": level, "cursor": cursor}
        answer = self._wire.call("GET", f"/v1/jobs/{job_id}/logs", params=query)
        return LogPage.model_validate_json(answer.content)

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
        return self._wire.call("GET", f"/v1/jobs/{job_id}/manifest").content

    def manifest_with_links(self, job_id: str, expires_s: int | None = None) -> bytes:
        """Return the manifest with `links`: for each shard and file a URL to read it, keyless.

        Raises:
            InvalidRequestError: the dataset's store has no links.
        """
        query = {"links": "presigned"} | ({"expires": str(expires_s)} if expires_s else {})
        return self._wire.call("GET", f"/v1/jobs/{job_id}/manifest", params=query).content

    def pools(self) -> list[dict[str, Any]]:
        """Return the pools that asked for work within a day."""
        listed: list[dict[str, Any]] = json.loads(self._wire.call("GET", "/v1/pools").content)[
            "pools"
        ]
        return listed

    def is_ready(self) -> bool:
        """Tell, at once, whether the service is there and can work."""
        return self._wire.is_well("/readyz")

    # Keys

    def create_key(self, wanted: KeyRequest) -> CreatedKey:
        """Make a key; what is returned alone holds it. Asked once: no answer, no known key."""
        content = wanted.model_dump_json()
        answer = self._wire.call(
            "POST", "/v1/keys", content=content, headers=_JSON, may_repeat=False
        )
        return CreatedKey.model_validate_json(answer.content)

    def keys(self) -> list[KeyInfo]:
        """Return every key, the oldest first."""
        return KeyList.model_validate_json(self._wire.call("GET", "/v1/keys").content).keys

    def revoke_key(self, key_id: str) -> KeyInfo:
        """Let a key do nothing more."""
        return KeyInfo.model_validate_json(self._wire.call("DELETE", f"/v1/keys/{key_id}").content)

    # Leases

    def lease(self, request: LeaseRequest) -> LeaseGrant:
        """Ask for work. An answer lost on the way is not asked for again: its leases lapse."""
        answer = self._wire.call(
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

    def tell_logs(self, batch: LogBatch) -> int:
        """Tell what a pool and its actors logged about jobs; return how many lines were kept."""
        answer = self._wire.call(
            "POST", "/v1/logs", content=batch.model_dump_json(), headers=_JSON, may_repeat=False
        )
        return LogAnswer.model_validate_json(answer.content).kept

    def committed_shards(self, token: str) -> Iterator[ShardRecord]:
        """Yield the records of a job's shards, in the order of the manifest, to its summary."""
        after: str | None = "-1"
        while after is not None:
            answer = self._wire.call("GET", f"/v1/leases/{token}/shards", params={"after": after})
            page = ShardPage.model_validate_json(answer.content)
            yield from page.shards
            after = page.next

    # Previews

    def lease_previews(self, request: PreviewRequest) -> PreviewGrant:
        """Ask for previews to make. An answer lost on the way is not asked for again."""
        content = request.model_dump_json()
        path = "/v1/previews/leases"
        answer = self._wire.call("POST", path, content=content, headers=_JSON, may_repeat=False)
        return PreviewGrant.model_validate_json(answer.content)

    def report_preview(self, token: str, report: PreviewReport) -> None:
        """Say what became of a preview.

        Raises:
            StaleLeaseError: nobody waits for it any more.
        """
        path = f"/v1/previews/leases/{token}/report"
        self._wire.call("POST", path, content=report.model_dump_json(), headers=_JSON)

    # The wire

    def _steer(self, job_id: str, action: str, **options: Any) -> JobStatus:
        answer = self._wire.call("POST", f"/v1/jobs/{job_id}/{action}", **options)
        return JobStatus.model_validate_json(answer.content)

    def _act(self, token: str, action: str, message: BaseModel) -> httpx.Response:
        content = message.model_dump_json()
        return self._wire.call(
            "POST", f"/v1/leases/{token}/{action}", content=content, headers=_JSON
        )


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
