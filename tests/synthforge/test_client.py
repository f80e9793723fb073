"""The client on a wire that breaks: what is tried again, what is not, and how errors read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from synthforge.client import Client
from synthforge.job_events import parse_events
from synthforge.jobs import JobSpec
from synthforge.keys import take_key
from synthforge.leases import Heartbeat, LeaseRequest
from synthforge.refusals import (
    ApiError,
    ConflictError,
    ForbiddenError,
    InvalidRequestError,
    NotFoundError,
    StaleLeaseError,
    UnauthorizedError,
    UnavailableError,
    UnreachableError,
)
from synthforge.shards import Fingerprint
from workers.program import PoolOptions

REQUEST = LeaseRequest(
    pool="p",
    generators=("builtin",),
    fingerprint=Fingerprint(code="1", backend="b", device="d", libraries={}, assets={}),
)
STATUS = {
    "id": "job-1",
    "state": "queued",
    "spec": {"count": 1},
    "counts": {"total": 1, "completed": 0, "rejected": 0},
    "shards": {"total": 1, "done": 0, "leased": 0, "set_aside": 0},
    "created_at": "2026-01-01T00:00:00+00:00",
    "output_url": "s3://bucket/job-1",
}

Answer = httpx.Response | Exception


class Wire:
    """Answers requests from a list, remembers them, and lets time pass only when waited for."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []
        self.now = 0.0

    def client(self, **options: Any) -> Client:
        return Client(
            "http://service",
            transport=httpx.MockTransport(self._answer),
            sleep=self._sleep,
            clock=lambda: self.now,
            **options,
        )

    def _answer(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _sleep(self, seconds: float) -> None:
        self.now += seconds


def ok(body: Any = STATUS) -> httpx.Response:
    return httpx.Response(200, json=body)


def problem(status: int, name: str = "x", **fields: Any) -> httpx.Response:
    body = {"type": f"urn:synthforge:problem:{name}", "title": "t", "status": status}
    return httpx.Response(status, json=body | {"detail": "what and why", "errors": []} | fields)


def test_a_lost_answer_is_asked_for_again_with_the_same_key() -> None:
    wire = Wire(httpx.ReadError("cut"), httpx.ConnectError("down"), problem(503), ok())
    assert wire.client().submit({"count": 1}).id == "job-1"
    keys = {request.headers["Idempotency-Key"] for request in wire.requests}
    assert len(wire.requests) == 4
    assert len(keys) == 1
    assert 0.1 < wire.now < 1


def test_the_client_gives_up_when_the_time_is_over() -> None:
    wire, told = Wire(httpx.ConnectError("[Errno 111] connection refused")), []
    with pytest.raises(UnreachableError, match=r"http://service cannot be reached: connection"):
        wire.client(retry_for_s=60, on_wait=told.append).get("job-1")
    assert wire.now == pytest.approx(60)
    assert len(told) == len(wire.requests) - 1
    assert len(wire.requests) < 30  # it waits longer and longer


def test_a_client_that_does_not_retry_tries_once() -> None:
    wire = Wire(problem(503))
    with pytest.raises(UnavailableError) as refused:
        wire.client(retry_for_s=0).get("job-1")
    assert (refused.value.status, len(wire.requests)) == (503, 1)


def test_a_lease_whose_answer_was_lost_is_not_asked_for_again() -> None:
    wire = Wire(httpx.ReadError("cut"), ok({"leases": []}))
    with pytest.raises(UnavailableError, match="cut"):
        wire.client().lease(REQUEST)
    assert len(wire.requests) == 1


def test_a_lease_that_was_never_asked_for_is_asked_for_again() -> None:
    wire = Wire(httpx.ConnectError("down"), problem(503), ok({"leases": []}))
    assert wire.client().lease(REQUEST).leases == ()


@pytest.mark.parametrize(
    ("status", "name", "kind"),
    [
        (404, "unknown-job", NotFoundError),
        (409, "state-conflict", ConflictError),
        (409, "stale-lease", StaleLeaseError),
        (413, "body-too-large", InvalidRequestError),
        (422, "invalid-request", InvalidRequestError),
        (500, "bug", ApiError),
    ],
)
def test_a_refusal_is_raised_by_kind_and_not_repeated(
    status: int, name: str, kind: type[ApiError]
) -> None:
    wire = Wire(problem(status, name, errors=[{"field": "count", "message": "m", "value": "0"}]))
    with pytest.raises(kind) as refused:
        wire.client().heartbeat("token", Heartbeat(num_samples=1))
    assert type(refused.value) is kind
    assert str(refused.value) == "what and why"
    assert refused.value.errors[0].field == "count"
    assert len(wire.requests) == 1


def test_a_proxys_error_page_is_told_by_its_status() -> None:
    wire = Wire(httpx.Response(403, text="<html>no</html>"))
    with pytest.raises(ApiError, match="403 Forbidden"):
        wire.client().get("job-1")


@pytest.mark.parametrize(
    "form",
    [lambda spec: spec, lambda spec: json.loads(spec.canonical_json()), JobSpec.canonical_json],
)
def test_a_spec_may_be_given_in_any_form(form: Callable[[JobSpec], Any]) -> None:
    wire = Wire(ok())
    spec = JobSpec(count=3)
    wire.client().submit(form(spec), idempotency_key="mine")
    assert JobSpec.model_validate_json(wire.requests[0].content) == spec
    assert wire.requests[0].headers["Idempotency-Key"] == "mine"


def _event(number: int, state: str) -> str:
    data = {
        "job_id": "job-1",
        "at": "2026-11-26T10:53:43.164021Z",
        "state": state,
        "counts": STATUS["counts"],
        "shards": STATUS["shards"],
    }
    return f"id: {number}\nevent: state\ndata: {json.dumps(data)}\n\n"


def test_a_broken_event_stream_is_taken_up_where_it_broke() -> None:
    wire = Wire(
        httpx.Response(200, text=_event(1, "queued") + ": still here\n\n" + _event(2, "running")),
        ok(),  # asked whether the job has ended: it has not
        httpx.ReadError("cut"),
        problem(503),
        httpx.Response(200, text=_event(3, "succeeded")),
    )
    events = list(wire.client().events("job-1"))
    assert [(event.id, event.state) for event in events] == [
        (1, "queued"),
        (2, "running"),
        (3, "succeeded"),
    ]
    seen = [request.headers.get("Last-Event-ID") for request in wire.requests]
    assert seen == ["0", None, "2", "2", "2"]


def test_an_event_that_was_kept_by_an_older_service_tells_the_same_time() -> None:
    new = _event(1, "succeeded")
    old = new.replace('"2026-11-26T10:53:43.164021Z"', "1795690423.164021")
    assert old != new
    (first,), (second,) = (parse_events(text.splitlines()) for text in (new, old))
    assert first == second


def test_an_event_stream_that_never_comes_back_is_given_up() -> None:
    wire = Wire(httpx.Response(200, text=_event(1, "queued")), httpx.ConnectError("down"))
    with pytest.raises(UnavailableError):
        list(wire.client(retry_for_s=5).events("job-1"))
    assert wire.now >= 5


def test_a_client_that_is_told_to_wait_waits_as_long() -> None:
    slow = problem(429, "rate-limited")
    slow.headers["Retry-After"] = "7"
    wire = Wire(slow, ok())
    assert wire.client().get("job-1").id == "job-1"
    assert wire.now == 7


def test_a_client_does_not_wait_longer_than_it_would_try() -> None:
    full = problem(429, "quota-exceeded")
    full.headers["Retry-After"] = "60"
    wire = Wire(full)
    with pytest.raises(UnavailableError) as refused:
        wire.client().get("job-1")
    assert (refused.value.retry_after_s, wire.now) == (60, 0)


@pytest.mark.parametrize(("status", "kind"), [(401, UnauthorizedError), (403, ForbiddenError)])
def test_a_key_that_may_not_is_an_error_of_its_own(status: int, kind: type[ApiError]) -> None:
    with pytest.raises(kind):
        Wire(problem(status)).client().get("job-1")


def test_a_client_sends_its_key_or_that_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sent(**options: Any) -> str | None:
        wire = Wire(ok())
        wire.client(**options).get("job-1")
        return wire.requests[0].headers.get("Authorization")

    assert sent() is None
    monkeypatch.setenv("SYNTHFORGE_KEY", "e" * 32)
    assert sent() == "Bearer " + "e" * 32
    (tmp_path / "key").write_text("f" * 32 + "\n")
    monkeypatch.setenv("SYNTHFORGE_KEY_FILE", str(tmp_path / "key"))
    assert sent() == "Bearer " + "f" * 32
    assert sent(key="g" * 32) == "Bearer " + "g" * 32
    monkeypatch.setenv("SYNTHFORGE_KEY_FILE", str(tmp_path / "absent"))
    with pytest.raises(ValueError, match="absent cannot be read"):
        sent()


def test_a_pools_key_does_not_reach_the_processes_that_it_starts() -> None:
    environment = {"SYNTHFORGE_KEY": "e" * 32, "PATH": "/bin"}
    assert take_key(environment) == "e" * 32
    assert environment == {"PATH": "/bin"}
    assert "e" * 32 not in repr(PoolOptions("http://x", (), 1, key="e" * 32))
