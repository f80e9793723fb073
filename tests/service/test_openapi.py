"""The OpenAPI document is true: whatever is sent by it gets an answer that it names."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from service import previews
from service.app import create_app
from service.context import Context
from service.keys import issue
from service.loops import Committer
from service.settings import Settings
from service.store import Store
from synthforge.jobs import GENERATOR_KINDS, JobSpec
from synthforge.keys import KeyRequest
from synthforge.previews import PREVIEW_FILE, PreviewReport, PreviewRequest
from synthforge.storage import open_storage
from tests.service import driver
from tests.service.driver import TestClient

EXAMPLES = 25
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
    allow_header_conformance,
]
OPERATIONS = [
    "submit_job",
    "list_jobs",
    "get_job",
    "change_job",
    "pause_job",
    "resume_job",
    "cancel_job",
    "retry_job",
    "extend_job",
    "estimate_job",
    "preview",
    "create_webhook",
    "list_webhooks",
    "delete_webhook",
    "list_deliveries",
    "lease_previews",
    "report_preview",
    "delete_dataset",
    "get_manifest",
    "watch_job",
    "get_job_logs",
    "tell_logs",
    "lease",
    "heartbeat",
    "report",
    "return_lease",
    "list_committed_shards",
    "list_pools",
    "create_key",
    "list_keys",
    "revoke_key",
    "healthz",
    "readyz",
    "metrics",
]


@dataclass(frozen=True)
class Seeded:
    """A service that has seen some life.

    Attributes:
        ended: ids of jobs that have ended.
        live: ids of jobs that have not.
        tokens: of leases, held and not.
        keys: ids of keys, none of them the one that asks.
        headers: with an admin's key.
    """

    http: TestClient
    schema: Any
    ended: list[str]
    live: list[str]
    tokens: list[str]
    keys: list[str]
    headers: dict[str, str]


@contextmanager
def previews_made(context: Context) -> Iterator[None]:
    """Put a file for each preview that is asked for: whoever asks is not left waiting."""
    ended = threading.Event()
    request = PreviewRequest(pool="warm", generators=GENERATOR_KINDS, max_previews=16)

    def make_them() -> None:
        while not ended.wait(0.01):
            for task in previews.lease(context, request).previews:
                file = open_storage(task.output_url).put_bytes(PREVIEW_FILE, b"a tar")
                made = PreviewReport(file=file, num_samples=task.plan.num_samples)
                context.store.previews.report(task.token, made.model_dump_json())

    maker = threading.Thread(target=make_them)
    maker.start()
    yield
    ended.set()
    maker.join()


@pytest.fixture
def seeded(settings: Settings, sqlite_store: Store) -> Iterator[Seeded]:
    app = create_app(replace(settings, auth="keys"), sqlite_store)
    _, key = issue(sqlite_store, KeyRequest(name="admin", scopes=("admin",)))
    other, _ = issue(sqlite_store, KeyRequest(name="other", scopes=("read",)))
    headers = {"Authorization": f"Bearer {key}"}
    http = TestClient(app, headers=headers)
    spec = {"count": 4, "output": {"samples_per_shard": 2}}
    done = http.post("/v1/jobs", json=spec).json()["id"]
    driver.work_until_empty(http)
    Committer(app.state.context).step()
    live = [http.post("/v1/jobs", json=spec).json()["id"] for _ in range(3)]
    tokens = [lease.token for lease in driver.lease(http, max_leases=3)]
    schema = schemathesis.openapi.from_dict(app.openapi())
    schema.app = app
    with previews_made(app.state.context):
        yield Seeded(http, schema, [done], live, [*tokens, "never"], [other.id], headers)


def _with_real_ids(case: Case, seeded: Seeded, pick: int) -> None:
    """Put ids that exist in place of most generated ones."""
    if pick % 3 == 0 or not case.path_parameters:
        return
    if "job_id" in case.path_parameters:
        watches = case.operation.definition.raw["operationId"] == "watch_job"
        known = seeded.ended if watches else seeded.ended + seeded.live
        case.path_parameters["job_id"] = known[pick % len(known)]
    if "token" in case.path_parameters:
        case.path_parameters["token"] = seeded.tokens[pick % len(seeded.tokens)]
    if "key_id" in case.path_parameters:
        case.path_parameters["key_id"] = seeded.keys[pick % len(seeded.keys)]


@pytest.mark.parametrize("operation_id", OPERATIONS)
def test_no_request_makes_a_5xx_or_an_answer_that_is_not_documented(
    seeded: Seeded, operation_id: str
) -> None:
    operation = seeded.schema.find_operation_by_id(operation_id)
    strategy = st.one_of(
        operation.as_strategy(generation_mode=GenerationMode.POSITIVE),
        operation.as_strategy(generation_mode=GenerationMode.NEGATIVE),
    )

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=strategy, pick=st.integers(0, 30))
    def check(case: Case, pick: int) -> None:
        _with_real_ids(case, seeded, pick)
        case.call_and_validate(checks=CHECKS, headers=seeded.headers)

    check()


def test_every_operation_is_tried(seeded: Seeded) -> None:
    document = seeded.http.get("/openapi.json").json()
    named = [
        operation["operationId"]
        for operations in document["paths"].values()
        for operation in operations.values()
    ]
    assert sorted(named) == sorted(OPERATIONS)


def test_the_document_holds_the_whole_contract_of_a_job(seeded: Seeded) -> None:
    document = seeded.http.get("/openapi.json").json()
    schemas = document["components"]["schemas"]
    assert set(schemas["JobSpec"]["properties"]) == set(JobSpec.model_fields)
    body = document["paths"]["/v1/jobs"]["post"]["requestBody"]["content"]["application/json"]
    assert body["schema"] == {"$ref": "#/components/schemas/JobSpec"}
