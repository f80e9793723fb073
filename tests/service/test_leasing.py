"""The rules of leases, as functions of the time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from service import leasing, planning
from service.leasing import Deaths, Progress, Terms
from synthforge.jobs import JobSpec
from synthforge.leases import LeaseReturn
from tests.service import driver

TERMS = Terms(lease_s=30, heartbeat_s=5, stall_s=100)
NO_DEATHS = Deaths(0, 0)


def test_silence_lets_a_lease_lapse() -> None:
    assert leasing.lapses_at(TERMS, progress_at=1000, now=1000) == 1030


def test_work_that_stands_still_lets_a_lease_lapse_though_its_pool_speaks() -> None:
    assert leasing.lapses_at(TERMS, progress_at=1000, now=1090) == 1100


@pytest.mark.parametrize(
    ("beat", "expected"),
    [
        ((8, 2), Progress(8, 2, 50)),
        ((7, 3), Progress(7, 3, 50)),  # a refused sample is work too
        ((7, 2), Progress(7, 2, 10)),
        ((3, 1), Progress(7, 2, 10)),  # came late: takes nothing back
    ],
)
def test_progress_only_rises(beat: tuple[int, int], expected: Progress) -> None:
    assert leasing.advanced(Progress(7, 2, 10), *beat, now=50) == expected


def _lost(num_samples: int) -> LeaseReturn:
    return LeaseReturn(reason="lost", num_samples=num_samples, message="SIGSEGV")


def test_three_deaths_at_one_sample_count_set_a_shard_aside() -> None:
    first = leasing.judge_return(_lost(12), NO_DEATHS, 1, "shard train-000003", 0)
    second = leasing.judge_return(_lost(12), first.deaths, 2, "shard train-000003", 0)
    third = leasing.judge_return(_lost(12), second.deaths, 3, "shard train-000003", 0)
    assert [first.outcome, second.outcome, third.outcome] == ["open", "open", "set_aside"]
    assert third.reason == (
        "shard train-000003 was set aside: its worker died 3 times after 12 samples: SIGSEGV"
    )


def test_deaths_elsewhere_start_the_count_anew() -> None:
    verdict = leasing.judge_return(_lost(13), Deaths(2, 12), 3, "shard", 0)
    assert (verdict.outcome, verdict.deaths) == ("open", Deaths(1, 13))


@pytest.mark.parametrize("reason", ["stopping", "cancelled", "store"])
def test_what_is_not_the_shards_fault_counts_as_no_death(reason: str) -> None:
    returned = LeaseReturn.model_validate({"reason": reason, "num_samples": 12})
    verdict = leasing.judge_return(returned, Deaths(2, 12), 9, "shard", 0)
    assert (verdict.outcome, verdict.deaths) == ("open", Deaths(2, 12))


@pytest.mark.parametrize(("executions", "wait_s"), [(1, 1), (3, 4), (7, 60), (4000, 60)])
def test_a_store_that_fails_is_tried_later_and_later(executions: int, wait_s: float) -> None:
    returned = LeaseReturn(reason="store")
    assert leasing.judge_return(returned, NO_DEATHS, executions, "shard", 5).open_at == 5 + wait_s


def test_what_cannot_be_done_fails_with_the_pools_words() -> None:
    returned = LeaseReturn(reason="failed", message="no such\n\x00asset ")
    verdict = leasing.judge_return(returned, NO_DEATHS, 1, "the summary", 0)
    assert (verdict.outcome, verdict.reason) == ("set_aside", "the summary failed: no such asset")


@pytest.mark.parametrize(
    ("fingerprint", "allowed"),
    [
        (None, True),
        ("", True),
        (driver.FINGERPRINT.id, True),
        (driver.OTHER_FINGERPRINT.id, False),
    ],
)
def test_an_exact_job_keeps_to_its_fingerprint(fingerprint: str | None, allowed: bool) -> None:
    assert leasing.may_work_on("builtin", fingerprint, driver.request()) is allowed
    assert not leasing.may_work_on("next3d", fingerprint, driver.request())


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"split": "val"}, "record.split"),
        ({"number": 4}, "record.number"),
        ({"bounds": ((31, 41),)}, "record.indices"),
        ({"bounds": ((30, 39),)}, "record.num_samples"),
    ],
)
def test_a_record_of_another_plan_is_told_apart(change: dict[str, Any], field: str) -> None:
    spec = JobSpec.model_validate(
        {"count": 40, "output": {"samples_per_shard": 10, "splits": {"train": 1.0}}}
    )
    planned = planning.planned_shard(spec, "train", 3)
    record = driver.shard_report(planning.shard_plan(spec, "train", 3)).record
    assert leasing.mismatch(record, planned) is None
    found = leasing.mismatch(record, replace(planned, **change))
    assert found is not None
    assert found[0] == field
