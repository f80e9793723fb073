"""One id goes from a request to the shards of its job, through every log on the way."""

from __future__ import annotations

import io
import json
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.server import serving
from service.settings import Settings
from synthforge.client import Client
from synthforge.job_status import JobStatus
from synthforge.json_logs import JsonFormatter, bound, log_as_json, log_for_people
from synthforge.leases import Lease, LeaseReturn
from tests.service import driver
from workers.hand_in import HandIn
from workers.messenger import Messenger
from workers.shard_worker import ShardWorker, WorkerSettings

SPEC = {
    "count": 2,
    "image": {"size": 64},
    "annotations": ["landmarks68"],
    "output": {"splits": {"train": 1.0}},
}


class Lines(io.StringIO):
    """What is logged, a JSON object a line."""

    def all(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.getvalue().splitlines()]

    def about(self, **fields: str) -> list[str]:
        """Return the messages of the lines that say all of this."""
        return [each["message"] for each in self.all() if fields.items() <= each.items()]


@pytest.fixture
def lines() -> Iterator[Lines]:
    held = Lines()
    handler = logging.StreamHandler(held)
    handler.setFormatter(JsonFormatter())
    handler.addFilter(lambda record: not record.name.startswith(("httpx", "uvicorn")))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield held
    root.removeHandler(handler)
    root.setLevel(level)


@pytest.fixture(params=["sqlite", "postgres"])
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A service on either database; its URL."""
    url = f"sqlite:///{tmp_path}/jobs.db"
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_url")
    settings = Settings(
        database_url=url,
        output_prefixes=(str(tmp_path / "datasets"),),
        auth="off",
        port=0,
        lease_s=3600,  # nobody sends heartbeats
        stall_s=3600,
    )
    with serving(settings) as served:
        yield served


def tend_until_told(messenger: Messenger) -> None:
    while messenger.is_telling:
        messenger.tend()
        threading.Event().wait(0.01)
    messenger.close(1)


def test_the_id_of_a_post_stands_in_every_line_about_a_shard_of_its_job(
    service: str, tmp_path: Path, lines: Lines
) -> None:
    posted = httpx.post(f"{service}/v1/jobs", json=SPEC, headers={"X-Request-Id": "asked-for-1"})
    assert posted.headers["x-request-id"] == "asked-for-1"
    job = JobStatus.model_validate_json(posted.content)
    assert job.request_id == "asked-for-1"
    prefix = f"file://{tmp_path}/datasets"
    worker, messenger = ShardWorker(WorkerSettings((prefix,), tmp_path / "scratch")), Messenger()
    with Client(service) as client:
        (lease,) = client.lease(driver.request()).leases
        assert lease.request_id == "asked-for-1"
        worker.make(lease)
        report = worker.deliver(lease.token)
        HandIn(client, messenger).report(lease, report)
        tend_until_told(messenger)
    said = {"request_id": "asked-for-1", "job_id": job.id, "shard": "train-000000"}
    about = lines.about(**said, token=lease.token[:8])
    assert about == [
        about[0],
        f"{report.record.name} is in the store: {report.record.num_bytes} bytes",
        "train-000000 is committed",
    ]
    assert "2 samples are made" in about[0]
    served = [each["path"] for each in lines.all() if each.get("request_id") == "asked-for-1"
              and each["logger"] == "service.access"]  # fmt: skip
    assert served == ["/v1/jobs", f"/v1/leases/{lease.token[:8]}.../report"]
    assert lease.token not in lines.getvalue()


def test_a_job_whose_request_named_no_id_has_the_one_that_was_answered(service: str) -> None:
    posted = httpx.post(f"{service}/v1/jobs", json=SPEC, headers={"X-Request-Id": "no id"})
    assert posted.json()["request_id"] == posted.headers["x-request-id"] != "no id"


def test_work_that_comes_back_says_whose_it_was_also_when_it_is_told_again(lines: Lines) -> None:
    seen: list[str] = []

    class Refusing:
        def return_(self, _token: str, _returned: object) -> None:
            seen.append(threading.current_thread().name)
            logging.getLogger("told").info("sent")
            raise ConnectionError("gone")

    lease = Lease.model_construct(
        token="0123456789", kind="summary", job_id="job-1", plan=None, lease_s=30, request_id="r-1"
    )
    messenger = Messenger()
    client: Any = Refusing()
    HandIn(client, messenger).give_back(lease, LeaseReturn(reason="lost", message="it died"))
    with pytest.raises(ConnectionError):
        tend_until_told(messenger)
    said = {"job_id": "job-1", "shard": "summary", "token": "01234567", "request_id": "r-1"}
    assert lines.about(**said) == ["summary comes back undone, lost: it died", "sent"]
    assert seen[0] != threading.current_thread().name


def test_what_lines_are_about_ends_with_its_block_and_lies_over_what_was(lines: Lines) -> None:
    log = logging.getLogger("tried")
    with bound(request_id="r", job_id="one"):
        with bound(job_id="two", shard=None):
            log.info("inner")
        log.info("outer")
    log.info("outside")
    inner, outer, outside = lines.all()
    assert (inner["job_id"], inner["request_id"]) == ("two", "r")
    assert "shard" not in inner
    assert outer["job_id"] == "one"
    assert "request_id" not in outside


@pytest.mark.parametrize(
    ("choose", "shown"),
    [
        (log_as_json, ["good", "bad"]),
        (log_for_people, ["bad"]),
    ],
    ids=["json", "people"],
)
def test_a_program_logs_all_and_people_see_what_goes_wrong(
    choose: Any, shown: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    root.setLevel(logging.INFO)
    root.handlers[:] = []
    try:
        choose()
        logging.getLogger("ours").info("good")
        logging.getLogger("ours").warning("bad")
        told = capsys.readouterr().err.splitlines()
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    assert [next(word for word in ("good", "bad") if word in line) for line in told] == shown
