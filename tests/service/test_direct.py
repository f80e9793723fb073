"""Routes in constant use: answered directly, as they are declared and documented."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from service.app import create_app
from service.direct import DIRECT, DirectRoute
from service.settings import Settings
from service.store import Store
from tests.service import driver


@pytest.fixture
def keyed(settings: Settings, sqlite_store: Store) -> TestClient:
    app = create_app(replace(settings, auth="keys"), sqlite_store)
    return TestClient(app, raise_server_exceptions=False)


def test_each_of_them_is_found_before_fastapi_looks(http: TestClient) -> None:
    assert isinstance(http.app, FastAPI)
    routes = http.app.router.routes
    assert all(isinstance(route, DirectRoute) for route in routes[: len(DIRECT)])
    assert not any(isinstance(route, DirectRoute) for route in routes[len(DIRECT) :])


def test_a_refusal_comes_before_the_body_is_read(keyed: TestClient) -> None:
    assert keyed.post("/v1/leases", content=b"x" * (2 << 20)).status_code == 401


def test_a_body_that_will_not_do_is_told(http: TestClient) -> None:
    assert http.post("/v1/leases", content="x").status_code == 415


@pytest.mark.parametrize("job_id", ["a b", "x" * 65, "%C3%A9"])
def test_a_path_that_is_not_as_documented_is_refused_by_name(http: TestClient, job_id: str) -> None:
    answer = http.get(f"/v1/jobs/{job_id}")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "job_id"


def test_they_are_counted_under_their_route(http: TestClient) -> None:
    http.get("/v1/jobs/unknown")
    http.post("/v1/leases", content=driver.request().model_dump_json(),
              headers={"content-type": "application/json"})  # fmt: skip
    metrics = http.get("/metrics").text
    assert 'route="/v1/jobs/{job_id}",status="404"' in metrics
    assert 'route="/v1/leases",status="200"' in metrics
