"""Secrets stay where they are: a service is run with marked ones, all that it made searched."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import secrets
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

import httpx
import pytest
from sqlalchemy import create_engine, text

from service.database import Database
from service.keys import issue
from service.server import serving
from service.settings import Settings
from service.store import Store
from synthforge.cli import main
from synthforge.client import Client
from synthforge.job_logs import LogBatch, LogLine
from synthforge.json_logs import JsonFormatter, bound
from synthforge.keys import KeyRequest
from synthforge.storage import open_storage
from tests.service import driver
from tools.s3_server import S3Server
from workers.job_log import JobLog, listening

SPEC: Final = {"count": 4, "output": {"samples_per_shard": 4, "splits": {"train": 1.0}}}
IN_A_URL: Final = "inUrl-" + secrets.token_hex(12)
WRONG_KEY: Final = "wrongKey-" + secrets.token_hex(12)
WITH_SECRET: Final = json.dumps({"count": IN_A_URL}).encode()
OF_DATABASE: Final = "ofDatabase-" + secrets.token_hex(12)
OF_RAY: Final = "ofRay-" + secrets.token_hex(12)


class RayHead(BaseHTTPRequestHandler):
    """Takes jobs as Ray's dashboard does, and keeps what it was sent."""

    records: list[str]

    def do_GET(self) -> None:
        self._answer(200 if self.path == "/api/jobs/" else 404, [])

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.records.append(body.decode())
        self._answer(200, {"submission_id": json.loads(body)["submission_id"]})

    def _answer(self, status: int, content: object) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_args: object) -> None:
        """Say nothing."""


@contextmanager
def ray_head() -> Iterator[tuple[str, list[str]]]:
    """Run a head; yield its URL and the records that it keeps."""
    records: list[str] = []
    handler = type("Handler", (RayHead,), {"records": records})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", records
        finally:
            server.shutdown()
            thread.join()


def with_password(database_url: str) -> str:
    """Put a password into a database's URL; the test's server lets anyone in."""
    return re.sub(r"//(\w+)@", rf"//\1:{OF_DATABASE}@", database_url)


@pytest.fixture
def log(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """All that is logged, as the service writes it that was given its secrets."""
    monkeypatch.setenv("RAY_AUTH_TOKEN", OF_RAY)
    held = io.StringIO()
    handler = logging.StreamHandler(held)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield held
    root.removeHandler(handler)
    root.setLevel(level)


def use_everything(http: httpx.Client, url: str, key: str, job_id: str) -> list[str]:
    """Send well-formed, refused and failing requests to every operation; return the answers."""
    document = http.get(f"{url}/openapi.json").json()
    told = []
    for path, methods in document["paths"].items():
        for method in methods:
            target = url + re.sub(r"[{}]", "", path.replace("{job_id}", job_id))
            for bearer, body in ((key, b"{"), (key, WITH_SECRET), (WRONG_KEY, b"")):
                headers = {"Authorization": f"Bearer {bearer}", "Content-Type": "application/json"}
                answer = http.request(method, target, content=body, headers=headers)
                told.append(f"{answer.status_code} {answer.headers} {answer.text}")
    return told


def tell_a_careless_log(client: Client, job_id: str) -> None:
    """Log secrets about a job as a worker might, and tell them as its pool does."""
    kept = JobLog()
    store_key = os.environ["AWS_SECRET_ACCESS_KEY"]
    with listening(kept), bound(job_id=job_id, shard="train-000000"):
        log = logging.getLogger("workers.careless")
        log.warning("refused: Authorization: Bearer %s, ours is kept", WRONG_KEY)
        log.warning("no answer of s3://user:%s@bucket with %s", IN_A_URL, store_key)
        log.warning("postgresql://user:%s@host/name and %s", OF_DATABASE, OF_RAY)
    lines = kept.take()
    assert len(lines) == 3
    careless = LogLine(job_id=job_id, at=1, level="info", message=f"password={WRONG_KEY}")
    client.tell_logs(LogBatch(pool="careless", lines=(*lines, careless)))


def everything_in(database_url: str) -> str:
    """Return every value of every row of every table."""
    engine = create_engine(database_url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as connection:
        tables = connection.scalars(
            text("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
        ).all()
        rows = [connection.execute(text(f'SELECT * FROM "{name}"')).all() for name in tables]
    engine.dispose()
    return str(rows)


def test_no_secret_is_in_a_log_an_answer_a_metric_a_row_or_a_ray_job(
    settings: Settings,
    postgres_url: str,
    s3_url: str,
    s3_server: S3Server,
    log: io.StringIO,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = Store(Database(postgres_url))
    wanted = KeyRequest(name="all", scopes=("admin", "submit", "read", "worker"))
    _, key = issue(store, wanted)
    store.database.close()
    told: list[str] = []
    with ray_head() as (head, records):
        marked = replace(
            settings,
            database_url=with_password(postgres_url),
            output_prefixes=(s3_url,),
            ray_jobs_url=head,
            auth="keys",
            port=0,
            preview_timeout_s=0.05,
        )
        with (
            serving(marked) as url,
            Client(url, key=key) as client,
            httpx.Client() as http,
        ):
            job = client.submit(SPEC)
            for _ in range(2):  # the shard, then the summary
                (lease,) = client.lease(driver.request()).leases
                client.report(lease.token, driver.carry_out(lease, open_storage(lease.output_url)))
            client.wait(job.id)
            tell_a_careless_log(client, job.id)
            told += [page.model_dump_json() for page in client.logs(job.id)]
            told.append(client.get(job.id).model_dump_json())
            links = f"{url}/v1/jobs/{job.id}/manifest?links=presigned"
            told.append(http.get(links, headers={"Authorization": f"Bearer {key}"}).text)
            for outside in (f"s3://user:{IN_A_URL}@bucket/x", f"{s3_url}/x?secret={IN_A_URL}"):
                refused = http.post(
                    f"{url}/v1/jobs",
                    json={"count": 1, "output": {"url": outside}},
                    headers={"Authorization": f"Bearer {key}"},
                )
                assert refused.status_code == 422
                if "@" in outside:
                    told.append(refused.text)
            told += use_everything(http, url, key, job.id)
    assert any("X-Amz-Signature" in answer for answer in told)
    assert max(answer.count("***") for answer in told) >= 6  # the careless log
    assert len(records) == 1
    places = {
        "the log": log.getvalue(),
        "an answer or a metric": "".join(told),
        "a row": everything_in(postgres_url),
        "a Ray job": "".join(records),
    }
    assert "synthforge_requests_refused_total" in places["an answer or a metric"]
    for where, content in places.items():
        assert len(content) > 100, where
        for secret in (key, WRONG_KEY, OF_DATABASE, OF_RAY, s3_server.secret_key):
            assert secret not in content, where
    assert IN_A_URL not in places["the log"] + places["a row"]
    assert f"user:{IN_A_URL}" not in places["an answer or a metric"]


@pytest.fixture
def own_log() -> Iterator[None]:
    """A service in this process sends the root logger's records to a stream that is closed soon."""
    root = logging.getLogger()
    level = root.level
    yield
    root.handlers[:] = [
        each for each in root.handlers if not isinstance(each.formatter, JsonFormatter)
    ]
    root.setLevel(level)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("DATABASE_URL", f"postgresql://user:{OF_DATABASE}@127.0.0.1:1/name"),
        ("OUTPUT_PREFIXES", f"s3://user:{IN_A_URL}@bucket"),
    ],
    ids=["database", "prefix"],
)
@pytest.mark.usefixtures("own_log")
def test_a_service_that_cannot_start_tells_no_secret(
    variable: str,
    value: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("SYNTHFORGE_DATABASE_URL", f"sqlite:///{tmp_path}/service.db")
    monkeypatch.setenv("SYNTHFORGE_PORT", "0")
    monkeypatch.setenv("SYNTHFORGE_KEY", WRONG_KEY)
    monkeypatch.setenv("RAY_AUTH_TOKEN", OF_RAY)
    monkeypatch.setenv(f"SYNTHFORGE_{variable}", value)
    monkeypatch.setattr(sys, "argv", ["synthforge", "serve"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code not in {0, None}
    told = "".join(capsys.readouterr())
    assert "synthforge: " in told
    for secret in (WRONG_KEY, OF_DATABASE, OF_RAY, IN_A_URL):
        assert secret not in told
