"""Keys: how they are kept and revoked, whose a job is, and how much a key may have."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from service.access import Gate, hash_key
from service.app import create_app
from service.errors import RateLimitedError, UnauthorizedError
from service.keys import issue
from service.limits import RateLimit
from service.settings import Settings
from service.store import Store
from synthforge.keys import KeyInfo, KeyRequest, Scope
from tests.service import driver
from tests.service.driver import TestClient
from tests.service.test_refusals import refusal


@pytest.fixture
def keyed(settings: Settings, store: Store) -> TestClient:
    """The service on either database, asking for keys."""
    app = create_app(replace(settings, auth="keys"), store)
    return TestClient(app, raise_server_exceptions=False)


@pytest.fixture
def sqlite_keyed(settings: Settings, sqlite_store: Store) -> TestClient:
    """As `keyed`, on SQLite: for what does not touch the database's own ways."""
    app = create_app(replace(settings, auth="keys"), sqlite_store)
    return TestClient(app, raise_server_exceptions=False)


def key_with(store: Store, *scopes: Scope, **limits: int) -> tuple[str, dict[str, str]]:
    """Make a key; return its id, and the header that holds it."""
    name = "-".join(scopes)
    row, key = issue(store, KeyRequest(name=name, scopes=scopes, **limits))
    return row.id, {"Authorization": f"Bearer {key}"}


def test_a_refusal_comes_before_the_body_is_read(keyed: TestClient) -> None:
    refusal(keyed.post("/v1/jobs", content=b"x" * (2 << 20)), 401, "unauthorized")


def test_what_is_open_answers_without_a_key(keyed: TestClient) -> None:
    for path in ("/healthz", "/readyz", "/openapi.json", "/docs"):
        assert keyed.get(path).status_code == 200


def test_whoever_has_no_key_is_told_where_one_comes_from(sqlite_keyed: TestClient) -> None:
    told = sqlite_keyed.get("/v1/jobs").json()["detail"]
    assert "set SYNTHFORGE_KEY" in told
    assert "`synthforge keys bootstrap`" in told


def test_a_revoked_key_is_refused_at_once_and_its_jobs_go_on(
    keyed: TestClient, store: Store
) -> None:
    _, admin = key_with(store, "admin")
    key_id, ann = key_with(store, "submit", "read")
    job_id = keyed.post("/v1/jobs", json={"count": 1}, headers=ann).json()["id"]
    revoked = keyed.delete(f"/v1/keys/{key_id}", headers=admin)
    assert KeyInfo.model_validate_json(revoked.content).revoked_at is not None
    again = keyed.delete(f"/v1/keys/{key_id}", headers=admin)
    assert again.json() == revoked.json()
    refusal(keyed.get("/v1/jobs", headers=ann), 401, "unauthorized")
    assert keyed.get(f"/v1/jobs/{job_id}", headers=admin).json()["state"] == "queued"
    refusal(keyed.delete("/v1/keys/key-0", headers=admin), 404, "unknown-key")


def test_a_key_that_one_replica_revoked_is_refused_by_the_other_at_once(
    settings: Settings, keyed: TestClient, store: Store
) -> None:
    other = TestClient(create_app(replace(settings, auth="keys"), store))
    _, admin = key_with(store, "admin")
    key_id, ann = key_with(store, "read")
    assert other.get("/v1/jobs", headers=ann).status_code == 200
    assert keyed.delete(f"/v1/keys/{key_id}", headers=admin).status_code == 200
    refusal(other.get("/v1/jobs", headers=ann), 401, "unauthorized")


def test_an_address_that_tries_many_keys_is_told_to_wait(
    settings: Settings, sqlite_store: Store
) -> None:
    gate = Gate(replace(settings, auth="keys"), sqlite_store, clock=lambda: 0.0)
    _, good = key_with(sqlite_store, "read")

    def tries(number: int) -> type[Exception]:
        with pytest.raises((UnauthorizedError, RateLimitedError)) as refused:
            gate.admit(f"Bearer {number:040}", "read", "peer")
        return refused.type

    assert [tries(number) for number in range(30)][-1] is RateLimitedError
    gate.admit(good["Authorization"], "read", "peer")  # who has a key is not held up


def test_a_key_is_told_once_and_kept_as_a_hash(keyed: TestClient, store: Store) -> None:
    _, admin = key_with(store, "admin")
    wanted = {"name": "ci", "scopes": ["submit"], "max_jobs": 2}
    answer = keyed.post("/v1/keys", json=wanted, headers=admin)
    assert answer.status_code == 201
    key = answer.json()["key"]
    assert re.fullmatch(r"sf_[A-Za-z0-9_-]{43}", key)
    listed = keyed.get("/v1/keys", headers=admin)
    assert key not in listed.text
    assert [(held["name"], held["scopes"]) for held in listed.json()["keys"]] == [
        ("admin", ["admin"]),
        ("ci", ["submit"]),
    ]
    assert store.keys.all()[1].hash == hash_key(key)
    submitted = keyed.post(
        "/v1/jobs", json={"count": 1}, headers={"Authorization": f"bearer {key}"}
    )
    assert submitted.status_code == 202


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": "a b"}, "name"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["root"]}, "scopes.0"),
        ({"max_jobs": 0}, "max_jobs"),
        ({"max_bytes": 2**60}, "max_bytes"),
        ({"extra": 1}, "extra"),
    ],
)
def test_a_key_that_cannot_be_is_refused_by_field(
    sqlite_keyed: TestClient, sqlite_store: Store, change: dict[str, Any], field: str
) -> None:
    _, admin = key_with(sqlite_store, "admin")
    body = {"name": "ci", "scopes": ["read"]} | change
    answer = sqlite_keyed.post("/v1/keys", json=body, headers=admin)
    assert refusal(answer, 422).errors[0].field == field


def test_a_job_is_changed_by_its_owner_or_an_admin(keyed: TestClient, store: Store) -> None:
    _, ann = key_with(store, "submit", "read")
    _, bob = key_with(store, "submit", "read")
    _, admin = key_with(store, "admin")
    job_id = keyed.post("/v1/jobs", json={"count": 1}, headers=ann).json()["id"]
    for method, path, body in [
        ("PATCH", "", {"priority": 9}),
        ("POST", "/pause", None),
        ("POST", "/cancel", None),
    ]:
        answer = keyed.request(method, f"/v1/jobs/{job_id}{path}", json=body, headers=bob)
        assert "another key" in refusal(answer, 403, "forbidden").detail
    assert keyed.get(f"/v1/jobs/{job_id}", headers=bob).json()["state"] == "queued"
    assert keyed.post(f"/v1/jobs/{job_id}/pause", headers=ann).json()["state"] == "paused"
    assert keyed.post(f"/v1/jobs/{job_id}/cancel", headers=admin).json()["state"] == "cancelled"
    refusal(keyed.post("/v1/jobs/job-0/cancel", headers=bob), 404, "unknown-job")


def test_an_idempotency_key_is_its_keys_own(keyed: TestClient, store: Store) -> None:
    _, ann = key_with(store, "submit")
    _, bob = key_with(store, "submit")
    made = [
        keyed.post("/v1/jobs", json={"count": count}, headers=who | {"Idempotency-Key": "k"})
        for who, count in ((ann, 1), (bob, 2), (ann, 1))
    ]
    first, second, again = (answer.json()["id"] for answer in made)
    assert first == again != second


def test_limits_on_jobs_and_samples_hold_until_jobs_end(keyed: TestClient, store: Store) -> None:
    key_id, ann = key_with(store, "submit", max_jobs=2, max_samples=100)

    def post(count: int, key: str = "") -> Any:
        headers = ann | ({"Idempotency-Key": key} if key else {})
        return keyed.post("/v1/jobs", json={"count": count}, headers=headers)

    too_many = post(101)
    assert "limit of 100" in refusal(too_many, 429, "quota-exceeded").detail
    assert int(too_many.headers["retry-after"]) >= 1
    first, second = post(60, "k").json()["id"], post(40).json()["id"]
    assert "2 jobs" in refusal(post(1), 429, "quota-exceeded").detail
    assert post(60, "k").json()["id"] == first  # a replay takes no place
    keyed.post(f"/v1/jobs/{first}/cancel", headers=ann)
    refusal(post(61), 429, "quota-exceeded")
    assert post(60).status_code == 202
    keyed.post(f"/v1/jobs/{second}/cancel", headers=ann)
    keyed.post(f"/v1/jobs/{second}/retry", headers=ann)
    held = next(key for key in store.keys.all() if key.id == key_id)
    assert (held.num_jobs, held.num_samples) == (2, 100)


def test_a_key_over_its_bytes_keeps_what_it_has_and_gets_no_more(
    keyed: TestClient, store: Store
) -> None:
    _, ann = key_with(store, "submit", "read", max_bytes=100)
    _, pool = key_with(store, "worker")
    spec = {"count": 60, "output": {"samples_per_shard": 20}}
    job_id = keyed.post("/v1/jobs", json=spec, headers=ann).json()["id"]
    keyed.headers.update(pool)
    for lease in driver.lease(keyed, max_leases=2):
        assert driver.report(keyed, lease).status_code == 200
    job = keyed.get(f"/v1/jobs/{job_id}", headers=ann).json()
    assert (job["state"], job["shards"]["done"]) == ("failed", 2)
    assert "100 is its limit" in job["reason"]
    again = keyed.post("/v1/jobs", json=spec, headers=ann)
    assert "bytes" in refusal(again, 429, "quota-exceeded").detail


def test_a_key_that_asks_too_often_is_told_to_wait(settings: Settings, sqlite_store: Store) -> None:
    keyed = TestClient(create_app(replace(settings, auth="keys", rate_limit_per_s=2), sqlite_store))
    _, ann = key_with(sqlite_store, "read")
    _, bob = key_with(sqlite_store, "read")
    answers = [keyed.get("/v1/jobs", headers=ann) for _ in range(7)]
    assert [answer.status_code for answer in answers[:4]] == [200] * 4
    slow = next(answer for answer in answers if answer.status_code == 429)
    refusal(slow, 429, "rate-limited")
    assert slow.headers["retry-after"] == "1"
    assert keyed.get("/v1/jobs", headers=bob).status_code == 200
    assert keyed.get("/healthz").status_code == 200


def test_a_bucket_fills_at_its_rate() -> None:
    limit = RateLimit(rate_per_s=10)
    assert [limit.take("a", 0.0) for _ in range(20)] == [0.0] * 20
    assert limit.take("a", 0.0) == pytest.approx(0.1)
    assert limit.take("b", 0.0) == 0.0
    assert limit.take("a", 0.1) == 0.0
    assert limit.take("a", 0.1) > 0.0
    assert [limit.take("a", 1e9) for _ in range(21)][-1] > 0.0  # it holds no more than its burst
