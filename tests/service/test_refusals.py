"""What cannot be accepted: 4xx problem details that name field, value and what would do."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from service.app import create_app
from service.errors import PROBLEM_MEDIA_TYPE, PROBLEMS, ServiceError
from service.problems import Problem
from service.settings import Settings
from service.store import Store
from synthforge.assets import NEEDED, AssetEntry, AssetKind, Provenance, index_key
from synthforge.storage import Storage, StorageUnavailable, open_storage
from tests.service import driver
from tests.service.driver import TestClient

JSON = {"Content-Type": "application/json"}


def refusal(answer: Any, status: int, name: str | None = "invalid-request") -> Problem:
    """Check that an answer is a problem of that kind, and return it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == PROBLEM_MEDIA_TYPE
    problem = Problem.model_validate_json(answer.content)
    assert problem.status == status
    assert problem.type == (f"urn:synthforge:problem:{name}" if name else "about:blank")
    assert "\n" not in problem.detail
    return problem


@pytest.mark.parametrize(
    ("spec", "field", "message"),
    [
        ({"count": 0}, "count", "greater than or equal to 1"),
        ({"count": 10**12}, "count", "less than or equal to 100000000"),
        ({"count": "many"}, "count", "valid integer"),
        ({"count": 1.5}, "count", "valid integer"),
        ({}, "count", "required"),
        ({"count": 1, "colour": 3}, "colour", "no such field"),
        ({"count": 1, "pose": {"yaw": [-120, 0]}}, "pose.yaw", "-120 is outside [-89, 89] degrees"),
        ({"count": 1, "pose": {"yaw": [3, 2]}}, "pose.yaw", "low 3 is above high 2"),
        (
            {"count": 1, "generator": "next3d"},
            "generator.kind",
            "no registry: set SYNTHFORGE_ASSETS",
        ),
        ({"count": 1, "generator": "magic"}, "generator.kind", "'builtin' or 'next3d'"),
        ({"count": 1, "output": {"splits": {"a": 0.5}}}, "output.splits", "sum to 1"),
        ({"count": 1, "output": {"url": "s3://other/x"}}, "output.url", "a URL under one of"),
        ({"count": 1, "output": {"url": "http://evil/x"}}, "output.url", "s3:// or file:///"),
        ({"count": 1, "output": {"url": "relative"}}, "output.url", "not absolute"),
        ([], "(body)", "object"),
        ("faces", "(body)", "object"),
    ],
)
def test_an_impossible_job_is_refused_by_field(
    http: TestClient, spec: Any, field: str, message: str
) -> None:
    problem = refusal(http.post("/v1/jobs", json=spec), 422)
    assert problem.errors[0].field == field
    assert message in problem.errors[0].message
    assert field in problem.detail
    assert http.get("/v1/jobs").json()["jobs"] == []  # it left nothing behind


@pytest.fixture
def next3d_http(settings: Settings, sqlite_store: Store, tmp_path: Path) -> TestClient:
    """A service whose pools run next3d, with a registry of assets in a folder."""
    changed = replace(settings, generators=("builtin", "next3d"), assets=str(tmp_path / "registry"))
    return TestClient(create_app(changed, sqlite_store))


def test_a_job_whose_assets_are_missing_is_refused_and_names_them(
    next3d_http: TestClient, tmp_path: Path
) -> None:
    spec = {"count": 1, "generator": "next3d"}
    registry = open_storage(str(tmp_path / "registry"))
    needed = list(NEEDED["next3d"])
    while needed:
        problem = refusal(next3d_http.post("/v1/jobs", json=spec), 422)
        assert problem.errors[0].field == "generator.kind"
        assert f"its assets {', '.join(needed)} are missing" in problem.detail
        assert "synthforge assets import FILE" in problem.detail
        _describe(registry, needed.pop(0))
    assert next3d_http.post("/v1/jobs", json=spec).status_code == 202


def test_a_job_for_a_head_that_was_not_imported_is_refused_and_says_how_to_import_it(
    next3d_http: TestClient, tmp_path: Path
) -> None:
    spec = {"count": 1, "generator": {"kind": "builtin", "head": "ict"}}
    problem = refusal(next3d_http.post("/v1/jobs", json=spec), 422)
    assert problem.errors[0].field == "generator.head"
    assert "its assets ict_head are missing" in problem.detail
    assert "synthforge assets import ict-facekit DIR" in problem.detail
    _describe(open_storage(str(tmp_path / "registry")), "ict_head")
    assert next3d_http.post("/v1/jobs", json=spec).status_code == 202


def test_an_untrained_generator_needs_no_assets(next3d_http: TestClient) -> None:
    spec = {"count": 1, "generator": {"kind": "next3d", "untrained": True}}
    assert next3d_http.post("/v1/jobs", json=spec).status_code == 202


def test_without_a_registry_the_setting_is_named(settings: Settings, sqlite_store: Store) -> None:
    http = TestClient(create_app(settings, sqlite_store))
    problem = refusal(http.post("/v1/jobs", json={"count": 1, "generator": "next3d"}), 422)
    assert "no registry: set SYNTHFORGE_ASSETS" in problem.detail


def test_a_generator_that_no_pool_runs_is_refused(settings: Settings, sqlite_store: Store) -> None:
    http = TestClient(create_app(replace(settings, generators=("builtin",)), sqlite_store))
    problem = refusal(http.post("/v1/jobs", json={"count": 1, "generator": "next3d"}), 422)
    assert "SYNTHFORGE_GENERATORS of the service does not list it" in problem.detail


def test_a_registry_that_cannot_be_read_is_no_fault_of_the_job(
    next3d_http: TestClient, tmp_path: Path
) -> None:
    registry = open_storage(str(tmp_path / "registry"))
    registry.put_bytes(index_key("flame_model"), b"{}")
    answer = next3d_http.post("/v1/jobs", json={"count": 1, "generator": "next3d"})
    problem = refusal(answer, 503, "storage-unavailable")
    assert "index/flame_model.json" in problem.detail


def _describe(registry: Storage, kind: AssetKind) -> None:
    entry = AssetEntry(
        kind=kind,
        name="made-up",
        file="files/made-up.npz",
        sha256="0" * 64,
        num_bytes=1,
        licence="none",
        source="none",
        wiring="front-plane" if kind == "next3d_checkpoint" else None,
        provenance=Provenance(
            imported_at="2026-11-25T00:00:00+00:00",
            file="made-up.pkl",
            sha256="0" * 64,
            num_bytes=1,
            tool="test",
        ),
    )
    registry.put_bytes(index_key(kind), entry.to_json())


@pytest.mark.parametrize(
    "url", ["{0}/../outside", "{0}-beside", "{0}/%2e%2e/outside", "{0}/a/../../x", "file:///"]
)
def test_no_url_leads_out_of_the_allowed_prefixes(
    http: TestClient, settings: Settings, url: str
) -> None:
    spec = {"count": 1, "output": {"url": url.format(settings.output_prefixes[0])}}
    problem = refusal(http.post("/v1/jobs", json=spec), 422)
    assert problem.errors[0].field == "output.url"


@pytest.mark.parametrize(
    "body", [b"", b'{"count": 1', b'{"count": 1}}', b"\xff", b'{"count": NaN}', b"[" * 100_000]
)
def test_a_torn_body_is_refused(http: TestClient, body: bytes) -> None:
    refusal(http.post("/v1/jobs", content=body, headers=JSON), 422)
    refusal(http.post("/v1/leases", content=body, headers=JSON), 422)


@pytest.mark.parametrize(
    "kind", [None, "text/plain", "application/json; charset=latin-1", "application/jsonx", "é"]
)
def test_a_body_that_is_not_json_is_refused(http: TestClient, kind: str | None) -> None:
    headers = {} if kind is None else {"Content-Type": kind.encode()}
    problem = refusal(
        http.post("/v1/jobs", content=b'{"count": 1}', headers=headers),
        415,
        "unsupported-media-type",
    )
    assert "application/json" in problem.detail


def test_a_charset_of_utf_8_is_taken(http: TestClient) -> None:
    headers = {"Content-Type": 'Application/JSON; charset="UTF-8"'}
    assert http.post("/v1/jobs", content=b'{"count": 1}', headers=headers).status_code == 202


def test_a_body_that_is_too_large_is_refused(http: TestClient, settings: Settings) -> None:
    body = json.dumps({"count": 1, "name": "x" * settings.body_limit_bytes})
    refusal(http.post("/v1/jobs", content=body, headers=JSON), 413, "body-too-large")


@pytest.mark.parametrize("key", ["", "x" * 256, "tab\there"])
def test_an_idempotency_key_has_a_form(http: TestClient, key: str) -> None:
    answer = http.post("/v1/jobs", json={"count": 1}, headers={"Idempotency-Key": key})
    assert "dempotency-" in refusal(answer, 422).errors[0].field


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/jobs/job-0"),
        ("GET", "/v1/jobs/job-0/events"),
        ("GET", "/v1/jobs/job-0/manifest"),
        ("POST", "/v1/jobs/job-0/cancel"),
        ("PATCH", "/v1/jobs/job-0"),
    ],
)
def test_an_unknown_job_is_404(http: TestClient, method: str, path: str) -> None:
    answer = http.request(method, path, json={"priority": 1} if method == "PATCH" else None)
    assert "'job-0'" in refusal(answer, 404, "unknown-job").detail


def test_what_is_not_served_is_a_problem_too(http: TestClient) -> None:
    refusal(http.get("/v2/jobs"), 404, None)
    answer = http.delete("/v1/jobs")
    refusal(answer, 405, None)
    assert answer.headers["allow"]


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=501", "limit=x", "cursor=-1", "cursor=9e99", "state=lost"]
)
def test_a_page_out_of_range_is_refused(http: TestClient, query: str) -> None:
    problem = refusal(http.get(f"/v1/jobs?{query}"), 422)
    assert problem.errors[0].field.startswith(query.partition("=")[0])


@pytest.mark.parametrize("last", ["x", "-1", "1" * 10])
def test_a_last_event_id_is_a_number(http: TestClient, last: str) -> None:
    job_id = http.post("/v1/jobs", json={"count": 1}).json()["id"]
    answer = http.get(f"/v1/jobs/{job_id}/events", headers={"Last-Event-ID": last})
    assert refusal(answer, 422).errors[0].field == "Last-Event-ID"


@pytest.mark.parametrize("action", ["heartbeat", "report", "return"])
def test_a_token_that_never_was_is_stale(http: TestClient, action: str) -> None:
    bodies = {
        "heartbeat": {"num_samples": 1},
        "return": {"reason": "lost"},
        "report": {"kind": "summary", "files": []},
    }
    answer = http.post(f"/v1/leases/never/{action}", json=bodies[action])
    refusal(answer, 409, "stale-lease")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"pool": "a b"}, "pool"),
        ({"max_leases": 257}, "max_leases"),
        ({"generators": []}, "generators"),
        ({"extra": 1}, "extra"),
    ],
)
def test_a_wrong_lease_request_is_refused_by_field(
    http: TestClient, change: dict[str, Any], field: str
) -> None:
    body = driver.request().model_dump(mode="json") | change
    assert refusal(http.post("/v1/leases", json=body), 422).errors[0].field == field


def test_a_count_beyond_all_numbers_is_refused(http: TestClient) -> None:
    answer = http.post("/v1/leases/t/heartbeat", json={"num_samples": 10**30})
    assert refusal(answer, 422).errors[0].field == "num_samples"


def test_a_prefix_in_use_is_409(http: TestClient, settings: Settings) -> None:
    prefix = settings.output_prefixes[1]
    assert http.post("/v1/jobs", json={"count": 1, "output": {"url": f"{prefix}/a"}}).is_success
    spec = {"count": 1, "output": {"url": f"{prefix}/./a/b/"}}
    problem = refusal(http.post("/v1/jobs", json=spec), 409, "output-taken")
    assert problem.errors[0].field == "output.url"


def test_a_prefix_that_holds_a_dataset_is_409(http: TestClient, settings: Settings) -> None:
    url = f"{settings.output_prefixes[0]}/old"
    open_storage(url).put_bytes("manifest.json", b"{}")
    spec = {"count": 1, "output": {"url": url}}
    problem = refusal(http.post("/v1/jobs", json=spec), 409, "output-taken")
    assert "a dataset lies there" in problem.detail


def _unavailable(_url: str) -> Storage:
    raise StorageUnavailable("connection refused")


def test_a_store_that_does_not_answer_is_503(settings: Settings, sqlite_store: Store) -> None:
    http = TestClient(create_app(settings, sqlite_store, _unavailable))
    spec = {"count": 1, "output": {"url": f"{settings.output_prefixes[0]}/a"}}
    answer = http.post("/v1/jobs", json=spec)
    refusal(answer, 503, "storage-unavailable")
    assert answer.headers["retry-after"] == "1"


def test_a_database_that_is_gone_is_503(http: TestClient) -> None:
    http.app.state.context.store.database.migrate("base")
    refusal(http.get("/v1/jobs"), 503, "database-unavailable")


def test_a_bug_is_500_and_keeps_its_words_to_the_log(
    http: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_args: object) -> Callable[[], None]:
        raise RuntimeError("secret words")

    monkeypatch.setattr(http.app.state.context.store.jobs, "get", broken)
    answer = http.get("/v1/jobs/x")
    refusal(answer, 500, None)
    assert "secret" not in answer.text
    assert "secret words" in caplog.text


def test_every_error_of_the_service_is_in_the_table() -> None:
    assert set(PROBLEMS) == set(ServiceError.__subclasses__())
