"""Work comes back with the reason that is true of it."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path

import pytest

from synthforge.storage import StorageRefused, StorageUnavailable
from tests.workers.test_shard_worker import lease_of, spec_of
from workers import undone
from workers.executions import Progress
from workers.face_stream import PlanError
from workers.flight_recorder import LastWords
from workers.slots import Dead, Work
from workers.trouble import AssetsChanged, Cancelled, MachineTrouble, UnforeseenError


def work(tmp_path: Path) -> Work:
    lease = lease_of(spec_of(), tmp_path)
    return Work(lease, answered_at=0, beat_at=0, progress=Progress(2, 0))


@pytest.mark.parametrize(
    ("error", "reason", "num_samples"),
    [
        (Cancelled(), "cancelled", 2),
        (StorageUnavailable("busy"), "store", 2),
        (StorageRefused("no such bucket"), "failed", 2),
        (PlanError("too narrow"), "failed", 2),
        (MachineTrouble("no room", 3), "store", 3),
        (OSError("no room"), "store", 2),
        (UnforeseenError("a bug", 3), "lost", 3),
        (RuntimeError("a bug"), "lost", 2),
        (AssetsChanged("the registry's ict_head changed"), "interrupted", 0),
    ],
)
def test_an_error_says_whether_to_try_again(
    error: Exception, reason: str, num_samples: int
) -> None:
    returned = undone.of_error(error, 2)
    assert (returned.reason, returned.num_samples) == (reason, num_samples)


def dead(tmp_path: Path, making: str) -> Dead:
    return Dead("gone", {"token": work(tmp_path)}, making, words=Future(), until=0)


def judged(tmp_path: Path, making: str, words: LastWords | None) -> tuple[str, int]:
    returned = undone.of_death(dead(tmp_path, making), work(tmp_path), words)
    return returned.reason, returned.num_samples


def test_a_death_over_a_shard_counts_at_the_sample_that_was_at_work(tmp_path: Path) -> None:
    words = LastWords("token", 4, was_told_to_leave=False)
    assert judged(tmp_path, "token", words) == ("lost", 4)


@pytest.mark.parametrize(
    ("making", "words"),
    [
        ("token", None),
        ("token", LastWords("token", 4, was_told_to_leave=True)),
        ("token", LastWords("before", 4, was_told_to_leave=False)),
        ("another", LastWords("another", 4, was_told_to_leave=False)),
    ],
    ids=[
        "its node was lost",
        "it got SIGTERM",
        "it had not begun",
        "another shard was being made",
    ],
)
def test_a_death_for_another_reason_does_not_count(
    tmp_path: Path, making: str, words: LastWords | None
) -> None:
    assert judged(tmp_path, making, words)[0] == "interrupted"


def test_a_death_on_the_way_to_the_store_counts_behind_the_last_sample(tmp_path: Path) -> None:
    words = LastWords("token", 0, was_told_to_leave=False)
    assert judged(tmp_path, "", words) == ("lost", 2)
