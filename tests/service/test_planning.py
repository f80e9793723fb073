"""Every sample in exactly one shard, whole identities, and a prefix that never moves."""

from __future__ import annotations

import sys
from collections.abc import Callable
from fractions import Fraction
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service import planning
from synthforge.jobs import SPLIT_UNIT, JobSpec

_SHARES = st.sampled_from(
    [
        {"train": 1.0},
        {"train": 0.9, "val": 0.1},
        {"a": 0.5, "b": 0.25, "c": 0.25},
        {"a": 0.7, "b": 0.2, "c": 0.1},
        {"test": 0.125, "train": 0.875},
        {"a": 0.34, "b": 0.33, "c": 0.33},
        {"x": 0.01, "y": 0.98, "z": 0.01},
    ]
)


def _spec(count: int, views: int, per_shard: int, splits: dict[str, float]) -> JobSpec:
    return JobSpec.model_validate(
        {
            "count": count,
            "identity": {"views": views},
            "output": {"samples_per_shard": per_shard, "splits": splits},
        }
    )


_SPECS = st.builds(_spec, st.integers(1, 700), st.integers(1, 9), st.integers(1, 40), _SHARES)


@given(_SPECS)
@settings(max_examples=150)
def test_every_sample_is_in_exactly_one_shard(spec: JobSpec) -> None:
    plans = [
        planning.shard_plan(spec, *planning.nth_shard(spec, position))
        for position in range(planning.total_shards(spec))
    ]
    indices = [index for plan in plans for index in plan.sample_indices()]
    assert sorted(indices) == list(range(spec.count))
    assert all(plan.num_samples <= max(spec.output.samples_per_shard, spec.identity.views)
               for plan in plans)  # fmt: skip


@given(_SPECS)
@settings(max_examples=150)
def test_a_shard_holds_whole_identities_of_one_split(spec: JobSpec) -> None:
    homes: dict[int, tuple[str, int]] = {}
    for position in range(planning.total_shards(spec)):
        plan = planning.shard_plan(spec, *planning.nth_shard(spec, position))
        for index in plan.sample_indices():
            identity = index // spec.identity.views
            assert homes.setdefault(identity, (plan.split, plan.number)) == (
                plan.split,
                plan.number,
            )
            assert planning.split_of(spec, identity) == plan.split


@given(_SPECS)
@settings(max_examples=100)
def test_the_counts_agree_with_the_plans(spec: JobSpec) -> None:
    for split in spec.output.splits:
        plans = [
            planning.shard_plan(spec, split, number)
            for number in range(planning.num_shards(spec, split))
        ]
        held = sum(plan.num_samples for plan in plans)
        assert held == planning.num_split_samples(spec, split)


@given(_SPECS, st.integers(1, 500))
@settings(max_examples=100)
def test_a_larger_count_moves_no_earlier_sample(spec: JobSpec, more: int) -> None:
    data = spec.model_dump(mode="json", exclude_none=True)
    larger = JobSpec.model_validate(data | {"count": spec.count + more})
    for split in spec.output.splits:
        for number in range(planning.num_shards(spec, split)):
            before = list(planning.shard_plan(spec, split, number).sample_indices())
            after = list(planning.shard_plan(larger, split, number).sample_indices())
            assert after[: len(before)] == before


def _dealt_naively(shares: list[int], count: int) -> list[int]:
    """The rule itself, in exact fractions and without a period."""
    dealt = [0] * len(shares)
    owners = []
    for identity in range(count):
        deficits = [
            Fraction(share * (identity + 1), SPLIT_UNIT) - held
            for share, held in zip(shares, dealt, strict=True)
        ]
        owner = deficits.index(max(deficits))
        dealt[owner] += 1
        owners.append(owner)
    return owners


@given(st.lists(st.integers(1, 20), min_size=1, max_size=6), st.integers(1, 300))
@settings(max_examples=60)
def test_identities_go_to_the_largest_deficit_over_many_periods(
    weights: list[int], count: int
) -> None:
    unit = SPLIT_UNIT // 200
    rest = 200 - sum(weights)
    shares = [weight * unit for weight in weights] + ([rest * unit] if rest else [])
    names = [f"s{position}" for position in range(len(shares))]
    splits = {name: share / SPLIT_UNIT for name, share in zip(names, shares, strict=True)}
    spec = _spec(count * 3, 3, 10, splits)
    owners = [names.index(planning.split_of(spec, identity)) for identity in range(count)]
    assert owners == _dealt_naively(shares, count)


def test_splits_of_six_decimals_are_dealt_exactly() -> None:
    spec = _spec(2_500_000, 1, 1000, {"a": 0.333333, "b": 0.666667})
    assert planning.num_split_samples(spec, "a") == 833_333  # 2.5 million * 0.333333, rounded
    first = planning.shard_plan(spec, "a", 0)
    assert [piece.start for piece in first.indices[:4]] == [1, 4, 7, 10]


def test_the_last_identity_may_have_fewer_views() -> None:
    spec = _spec(10, 4, 4, {"train": 1.0})
    assert planning.num_identities(spec) == 3
    assert list(planning.shard_plan(spec, "train", 2).sample_indices()) == [8, 9]


def test_a_job_of_10_to_the_8_samples_is_planned_on_demand() -> None:
    spec = _spec(10**8, 3, 200, {"train": 0.9, "val": 0.1})
    assert planning.total_shards(spec) == 505_052
    planning.nth_shard(spec, 1)  # the table of one period is made here

    def plan_some() -> None:
        for position in (0, 1, 454_545, 505_051):
            planning.shard_plan(spec, *planning.nth_shard(spec, position))

    # A walk over the shards, let alone the samples, would be of more lines than this.
    assert num_lines_run(plan_some) < 100_000


def num_lines_run(work: Callable[[], None]) -> int:
    """Count the lines of Python that are run, a loop's each time."""
    lines, before = 0, sys.gettrace()

    def trace(_frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal lines
        lines += event == "line"
        return trace

    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return lines


def test_a_small_job_deals_a_small_split_nothing() -> None:
    spec = _spec(3, 1, 10, {"train": 0.9, "val": 0.1})
    assert planning.num_shards(spec, "val") == 0
    assert planning.total_shards(spec) == 1


@pytest.mark.parametrize(
    ("split", "number", "message"),
    [
        ("train", 1, "1 shards of"),
        ("train", -1, "1 shards of"),
        ("test", 0, "not in the job"),
    ],
)
def test_a_shard_that_is_not_there_is_refused(split: str, number: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        planning.shard_plan(_spec(3, 1, 10, {"train": 1.0}), split, number)


@pytest.mark.parametrize("position", [-1, 1])
def test_a_position_beyond_the_job_is_refused(position: int) -> None:
    with pytest.raises(ValueError, match="the job has 1 shards"):
        planning.nth_shard(_spec(3, 1, 10, {"train": 1.0}), position)
