"""What a pool tells the service arrives, or is given up in time; no answer holds up another."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from synthforge.refusals import (
    ApiError,
    InvalidRequestError,
    NotFoundError,
    StaleLeaseError,
    UnavailableError,
)
from workers.messenger import TELL_AGAIN_S, Messenger


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Service:
    """Answers with one error after another, then takes what it is told."""

    def __init__(self, *errors: ApiError) -> None:
        self.errors = list(errors)
        self.calls = 0

    def __call__(self) -> None:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)


def away() -> ApiError:
    return UnavailableError(0, "about:blank", "cannot be reached")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def messenger(clock: Clock) -> Iterator[Messenger]:
    messenger = Messenger(clock)
    yield messenger
    messenger.close(0)


def tend(messenger: Messenger, clock: Clock, seconds: float) -> None:
    """Let time pass, answers come and calls be made, until all is quiet."""
    for _ in range(100):
        for untold in messenger._untold:
            untold.answer.exception()  # waits for it
        messenger.tend()
    clock.now_s += seconds


@pytest.mark.parametrize("error", [away(), ApiError(500, "about:blank", "broken inside")])
def test_a_result_is_told_again_until_the_service_is_back(
    messenger: Messenger, clock: Clock, error: ApiError
) -> None:
    service = Service(error, error)
    messenger.tell(service, for_s=30)
    for calls in (1, 2, 3):
        tend(messenger, clock, TELL_AGAIN_S)
        assert service.calls == calls
    assert not messenger.is_telling


def test_a_result_is_given_up_when_its_lease_is_over(messenger: Messenger, clock: Clock) -> None:
    service = Service(away(), away(), away())
    messenger.tell(service, for_s=TELL_AGAIN_S * 1.5)
    for _ in range(4):
        tend(messenger, clock, TELL_AGAIN_S)
    assert not messenger.is_telling
    assert service.calls == 3


@pytest.mark.parametrize("kind", [StaleLeaseError, NotFoundError])
def test_a_result_of_a_lease_that_is_gone_is_dropped(
    messenger: Messenger, clock: Clock, kind: type[ApiError]
) -> None:
    refused: list[ApiError] = []
    messenger.tell(Service(kind(409, "about:blank", "gone")), 30, refused.append)
    tend(messenger, clock, 0)
    assert not messenger.is_telling
    assert refused == []


def test_a_result_that_the_service_never_takes_is_handed_back(
    messenger: Messenger, clock: Clock
) -> None:
    refused: list[ApiError] = []
    service = Service(InvalidRequestError(422, "about:blank", "record.split: not the plan's"))
    messenger.tell(service, 30, refused.append)
    tend(messenger, clock, 0)
    assert not messenger.is_telling
    assert [error.status for error in refused] == [422]


def test_a_slow_answer_holds_up_no_other(messenger: Messenger) -> None:
    released = threading.Event()
    slow = messenger.ask(released.wait)
    assert messenger.ask(lambda: "beat").result(timeout=10) == "beat"
    assert not slow.done()
    released.set()
    assert slow.result(timeout=10)


def test_a_pool_that_leaves_waits_no_longer_than_its_patience(clock: Clock) -> None:
    class Ticking(Clock):
        def __call__(self) -> float:
            self.now_s += 0.1
            return self.now_s

    messenger = Messenger(Ticking())
    messenger.tell(Service(*(away() for _ in range(1000))), for_s=1000)
    messenger.close(patience_s=5)
    assert messenger.is_telling
