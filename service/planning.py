"""Which samples each shard of a job holds: pure, on demand, nothing kept a shard.

Identities are dealt to splits in order, each to the split with the largest deficit, in exact
integers. After `SPLIT_UNIT / gcd(shares)` identities every deficit is 0 again: a deficit never
falls to -1 identity, there they are whole, and they sum to 0. So one period's table answers for
any identity of a job of any size, and a larger `count` changes no earlier deal.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from synthforge.jobs import SPLIT_UNIT, JobSpec
from synthforge.shards import ShardPlan

_CACHED_TABLES = 16  # one is at most 12 MB: splits with shares that need all six decimals


class _Runs:
    """The identities of one period that a split gets: runs of neighbours, ascending."""

    def __init__(self) -> None:
        self.count = 0
        self._starts = array("I")
        self._stops = array("I")
        self._before = array("I")  # identities in the runs before

    def append(self, start: int, stop: int) -> None:
        """Take in a run above all others."""
        self._starts.append(start)
        self._stops.append(stop)
        self._before.append(self.count)
        self.count += stop - start

    def num_below(self, place: int) -> int:
        """Count the identities below a place of the period."""
        run = bisect_left(self._starts, place) - 1
        if run < 0:
            return 0
        return self._before[run] + min(place, self._stops[run]) - self._starts[run]

    def pieces(self, first: int, stop: int, period: int) -> Iterator[tuple[int, int]]:
        """Yield first and end of each run of the split's identities number `first` to `stop`."""
        periods, place = divmod(first, self.count)
        run = bisect_right(self._before, place) - 1
        skipped = place - self._before[run]
        left = stop - first
        while left > 0:
            start = periods * period + self._starts[run] + skipped
            length = min(self._stops[run] - self._starts[run] - skipped, left)
            yield start, start + length
            left -= length
            skipped = 0
            run += 1
            if run == len(self._starts):
                run, periods = 0, periods + 1


@dataclass(frozen=True)
class _Deal:
    """One period of the deal: for each split the identities it gets."""

    period: int
    identities: tuple[_Runs, ...]


@dataclass(frozen=True)
class Base:
    """The dataset that a job adds to; empty for a job that begins one.

    Attributes:
        count: samples of it, whole identities.
        shards: how many shards each split has; the job's own are numbered from there on.
    """

    count: int = 0
    shards: Mapping[str, int] = field(default_factory=dict)


NOTHING: Final = Base()


def num_identities(spec: JobSpec) -> int:
    """Return how many identities a job shows; the last may have fewer views than the others."""
    return -(-spec.count // spec.identity.views)


def split_of(spec: JobSpec, identity: int) -> str:
    """Return the split that an identity belongs to."""
    deal = _deal_of(spec)
    place = identity % deal.period
    for name, held in zip(spec.output.splits, deal.identities, strict=True):
        if held.num_below(place) < held.num_below(place + 1):
            return name
    raise AssertionError(f"identity {identity} is in no split")


def deal_period(spec: JobSpec) -> int:
    """Return after how many identities the deal to splits repeats: what planning takes."""
    return SPLIT_UNIT // math.gcd(*spec.output.split_units().values())


def num_split_identities(spec: JobSpec, split: str) -> int:
    """Return how many identities of a job are in a split."""
    deal = _deal_of(spec)
    held = deal.identities[_split_position(spec, split)]
    periods, rest = divmod(num_identities(spec), deal.period)
    return periods * held.count + held.num_below(rest)


def num_split_samples(spec: JobSpec, split: str) -> int:
    """Return how many samples of a job are in a split."""
    views = spec.identity.views
    samples = num_split_identities(spec, split) * views
    missing = num_identities(spec) * views - spec.count
    return samples - missing if missing and split == _last_split(spec) else samples


def num_shards(spec: JobSpec, split: str, base: Base = NOTHING) -> int:
    """Return how many shards a job cuts a split into; 0 where it deals it no identity."""
    per_shard = spec.output.identities_per_shard(spec.identity.views)
    new = num_split_identities(spec, split) - _num_base_identities(spec, split, base)
    return -(-new // per_shard)


def total_shards(spec: JobSpec, base: Base = NOTHING) -> int:
    """Return how many shards a job makes."""
    return sum(num_shards(spec, split, base) for split in spec.output.splits)


@dataclass(frozen=True)
class PlannedShard:
    """A `ShardPlan` as the service keeps it: a hundred ranges are one text, not a hundred objects.

    Attributes:
        split, number: of the shard.
        bounds: first sample and end of each run of indices.
        json: of the `ShardPlan`.
    """

    split: str
    number: int
    bounds: tuple[tuple[int, int], ...]
    json: str

    @property
    def num_samples(self) -> int:
        """Samples in the shard."""
        return sum(stop - start for start, stop in self.bounds)


def shard_plan(spec: JobSpec, split: str, number: int, base: Base = NOTHING) -> ShardPlan:
    """Return which samples a shard holds, as `planned_shard` does, checked by the contract."""
    return ShardPlan.model_validate_json(planned_shard(spec, split, number, base).json)


def planned_shard(spec: JobSpec, split: str, number: int, base: Base = NOTHING) -> PlannedShard:
    """Return which samples a shard holds: whole identities of its split, in order.

    A job that adds to a dataset begins new shards with the first identity that is not in it, so
    that the dataset's last shard of a split stays as it is, full or not.

    Raises:
        ValueError: the job makes no shard of that number.
    """
    begin = base.shards.get(split, 0)
    shards = num_shards(spec, split, base)
    if not begin <= number < begin + shards:
        raise ValueError(
            f"number {number}: the job makes {shards} shards of split {split!r}, from {begin}"
        )
    deal = _deal_of(spec)
    held = deal.identities[_split_position(spec, split)]
    per_shard = spec.output.identities_per_shard(spec.identity.views)
    first = _num_base_identities(spec, split, base) + (number - begin) * per_shard
    stop = min(first + per_shard, num_split_identities(spec, split))
    pieces: list[list[int]] = []
    for start_of, stop_of in held.pieces(first, stop, deal.period):
        if pieces and pieces[-1][1] == start_of:  # on from the last of a period
            pieces[-1][1] = stop_of
        else:
            pieces.append([start_of, stop_of])
    views = spec.identity.views
    bounds = tuple([(start * views, min(stop * views, spec.count)) for start, stop in pieces])
    ranges = ",".join([f'{{"start":{start},"stop":{stop}}}' for start, stop in bounds])
    json = f'{{"split":"{split}","number":{number},"indices":[{ranges}]}}'  # names need no escape
    return PlannedShard(split, number, bounds, json)


def nth_shard(spec: JobSpec, position: int, base: Base = NOTHING) -> tuple[str, int]:
    """Return split and number of a job's n-th shard, in order of (split as in the spec, number).

    Raises:
        ValueError: the job has no shard at that position.
    """
    left = position
    for split in spec.output.splits if position >= 0 else ():
        shards = num_shards(spec, split, base)
        if left < shards:
            return split, base.shards.get(split, 0) + left
        left -= shards
    raise ValueError(f"position {position}: the job has {total_shards(spec, base)} shards, from 0")


def _num_base_identities(spec: JobSpec, split: str, base: Base) -> int:
    """Return how many identities of a split lie in the dataset that is added to."""
    if not base.count:
        return 0
    return num_split_identities(spec.model_copy(update={"count": base.count}), split)


def _split_position(spec: JobSpec, split: str) -> int:
    try:
        return tuple(spec.output.splits).index(split)
    except ValueError:
        known = ", ".join(spec.output.splits)
        raise ValueError(f"split {split!r} is not in the job: one of {known} would do") from None


def _last_split(spec: JobSpec) -> str:
    return split_of(spec, num_identities(spec) - 1)


def _deal_of(spec: JobSpec) -> _Deal:
    return _deal(tuple(spec.output.split_units().values()))


@lru_cache(maxsize=_CACHED_TABLES)
def _deal(units: tuple[int, ...]) -> _Deal:
    """Deal one period; `units` are the shares in millionths, and sum to `SPLIT_UNIT`."""
    common = math.gcd(*units)
    period = SPLIT_UNIT // common
    shares = [unit // common for unit in units]
    deficits = [0] * len(shares)  # in units of 1 / period of an identity
    identities = tuple(_Runs() for _ in shares)
    start, holder = 0, 0
    for identity in range(period):
        deficits = [deficit + share for deficit, share in zip(deficits, shares, strict=True)]
        chosen = deficits.index(max(deficits))  # ties: the first in the order of the spec
        deficits[chosen] -= period
        if chosen != holder:
            if identity > start:
                identities[holder].append(start, identity)
            start, holder = identity, chosen
    identities[holder].append(start, period)
    return _Deal(period, identities)
