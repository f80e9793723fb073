"""Lines about jobs are kept, told in batches, told again after a failure, and never without end."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from synthforge.job_logs import MAX_LINES_TOLD, LogBatch, LogLine
from synthforge.json_logs import bound
from synthforge.refusals import ApiError, InvalidRequestError, UnavailableError
from workers import job_log
from workers.job_log import JobLog, listening
from workers.log_courier import TELL_AGAIN_S, TELL_EVERY_S, LogCourier

LOG = logging.getLogger("workers.tried")
SECRET = secrets.token_urlsafe(24)


def line(message: str, job_id: str = "job-1") -> LogLine:
    return LogLine(job_id=job_id, at=1.0, level="info", message=message)


def messages(lines: tuple[LogLine, ...]) -> list[str]:
    return [each.message for each in lines]


class Service:
    """Takes batches, or answers with the errors that it is given."""

    def __init__(self) -> None:
        self.told: list[LogBatch] = []
        self.errors: list[ApiError] = []
        self.now_s = 0.0

    def tell_logs(self, batch: LogBatch) -> int:
        if self.errors:
            raise self.errors.pop(0)
        self.told.append(batch)
        return len(batch.lines)

    def ask(self, question: Any) -> Future[Any]:
        answer: Future[Any] = Future()
        try:
            answer.set_result(question())
        except ApiError as error:
            answer.set_exception(error)
        return answer

    def tell(self, call: Any, _for_s: float) -> None:
        call()

    def clock(self) -> float:
        return self.now_s


@pytest.fixture
def kept() -> Iterator[JobLog]:
    made = JobLog()
    with listening(made):
        yield made


@pytest.fixture
def service() -> Service:
    return Service()


def courier_of(service: Service, kept: JobLog) -> LogCourier:
    fake: Any = service
    return LogCourier("pool-a", fake, fake, kept, service.clock)


def test_a_line_about_a_job_is_kept_with_what_it_is_about(kept: JobLog) -> None:
    LOG.info("about nothing")
    logging.getLogger("elsewhere").info("not ours", extra={"job_id": "job-1"})
    with bound(job_id="job-1", shard="train-000003", token="abcdefgh"):
        LOG.info("begins")
        LOG.debug("in detail")
    LOG.warning("looked back", extra={"job_id": "job-2"})
    first, second = kept.take()
    assert (first.message, first.level, first.shard) == ("begins", "info", "train-000003")
    assert (first.job_id, first.token) == ("job-1", "abcdefgh")
    assert (second.job_id, second.level, second.shard) == ("job-2", "warning", None)
    assert kept.take() == ()


def test_a_failure_is_told_with_the_last_line_of_its_traceback(kept: JobLog) -> None:
    with bound(job_id="job-1"):
        try:
            raise ValueError("no such head\nat all")
        except ValueError:
            LOG.exception("a worker failed")
    (told,) = kept.take()
    assert told.level == "error"
    assert told.message == "a worker failed: ValueError: no such head at all"


def test_no_secret_is_kept_whatever_line_it_stands_in(monkeypatch: pytest.MonkeyPatch) -> None:
    of_store = secrets.token_urlsafe(24)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", of_store)
    made = JobLog([SECRET])
    with listening(made), bound(job_id="job-1"):
        LOG.warning("%s of the pool, %s of the store, %s", SECRET, of_store, "x" * 5000)
    (told,) = made.take()
    assert told.message.startswith("*** of the pool, *** of the store, xxx")
    assert len(told.message) == 2000


def test_each_pool_of_a_process_keeps_its_own_lines() -> None:
    ours, others = JobLog(pool="ours"), JobLog(pool="others")
    with listening(ours), listening(others), bound(job_id="job-1"):
        with bound(pool="ours"):
            LOG.info("mine")
        LOG.info("nobody's")
    assert messages(ours.take()) == ["mine"]
    assert others.take() == ()


def test_too_many_lines_drop_the_oldest_and_say_so(
    kept: JobLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_log, "MAX_KEPT", 3)
    kept.put(line(str(number)) for number in range(5))
    gap, *rest = kept.take()
    assert gap.message.startswith("2 lines were dropped here")
    assert (gap.level, messages(tuple(rest))) == ("warning", ["2", "3", "4"])


def test_no_more_is_taken_at_once_than_may_be_told(kept: JobLog) -> None:
    kept.put(line("x" * 2000) for _ in range(300))
    sizes = []
    while taken := kept.take():
        LogBatch(pool="p", lines=taken)
        sizes.append(len(taken))
    assert sum(sizes) == 300
    assert max(sizes) == 50  # a hundred thousand characters
    kept.put(line("") for _ in range(300))
    assert len(kept.take()) == MAX_LINES_TOLD


def test_lines_are_told_once_a_second(service: Service, kept: JobLog) -> None:
    courier = courier_of(service, kept)
    for number in range(3):
        kept.put([line(str(number))])
        courier.tend()
    assert [messages(batch.lines) for batch in service.told] == [["0"]]
    service.now_s += TELL_EVERY_S
    courier.tend()
    assert [messages(batch.lines) for batch in service.told] == [["0"], ["1", "2"]]
    assert service.told[0].pool == "pool-a"


def test_lines_wait_for_a_service_that_is_away(service: Service, kept: JobLog) -> None:
    courier = courier_of(service, kept)
    service.errors = [UnavailableError(0, "about:blank", "away")]
    kept.put([line("first")])
    courier.tend()
    kept.put([line("second")])
    courier.tend()
    assert service.told == []
    service.now_s += TELL_AGAIN_S
    courier.tend()
    assert [messages(batch.lines) for batch in service.told] == [["first", "second"]]


def test_lines_that_are_refused_are_not_told_again(service: Service, kept: JobLog) -> None:
    courier = courier_of(service, kept)
    service.errors = [InvalidRequestError(422, "about:blank", "no")]
    kept.put([line("first")])
    courier.tend()
    service.now_s += TELL_AGAIN_S
    courier.tend()
    kept.put([line("second")])
    service.now_s += TELL_AGAIN_S
    courier.tend()
    assert [messages(batch.lines) for batch in service.told] == [["second"]]


def test_what_is_left_at_the_end_is_told(service: Service, kept: JobLog) -> None:
    kept.put(line(str(number)) for number in range(MAX_LINES_TOLD + 1))
    courier_of(service, kept).close(1)
    assert [len(batch.lines) for batch in service.told] == [MAX_LINES_TOLD, 1]
