"""The order of a stream: a pure function of seed, epoch and index. No clock, no files, no ranks.

One epoch is a permutation pi(seed, epoch) of the samples. Shards are shuffled and dealt to a fixed
number of canonical streams; in each, samples are shuffled within a window of a few shards that
slides over it; the streams, begun one after another, are then interleaved one by one. Global batch
b is pi[bG : (b + 1)G], and a rank takes those of its samples that come from its own canonical
streams as far as an equal part allows: so any number of ranks sees the same batches, and none reads
every shard.

The window slides and the streams begin apart so that the first batch needs a shard or two, and
every later shard is asked for at an even pace: shards are fetched whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from trainer.keyed_random import keyed_permutation

Int64Array = NDArray[np.int64]
_MIX_BLOCK = 1024  # positions over which the weights of a mixture are kept exactly


@dataclass(frozen=True)
class OrderConfig:
    """How far samples are shuffled.

    Attributes:
        seed: of every permutation.
        window_shards: W: a sample comes anywhere among those of the W shards of its canonical
            stream that begin with its own.
        num_streams: C, canonical streams; at least the number of ranks keeps ranks off each
            other's shards.
    """

    seed: int = 0
    window_shards: int = 4
    num_streams: int = 8

    def __post_init__(self) -> None:
        for name in ("window_shards", "num_streams"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: at least 1 would do")


@dataclass(frozen=True)
class Places:
    """Where samples lie, in the order in which they come; all arrays are (N,) int64.

    Attributes:
        dataset: number of the dataset in the mixture.
        shard: number of the shard in its dataset's index.
        row: among the shard's kept samples.
        stream: canonical stream, unique over the mixture.
        epoch: of the dataset, which augmentation is keyed by.
    """

    dataset: Int64Array
    shard: Int64Array
    row: Int64Array
    stream: Int64Array
    epoch: Int64Array

    def __len__(self) -> int:
        return len(self.shard)

    def take(self, chosen: Int64Array) -> Places:
        """Return the chosen of them, in the order of `chosen`."""
        arrays = (self.dataset, self.shard, self.row, self.stream, self.epoch)
        return Places(*(array[chosen] for array in arrays))


class EpochOrder:
    """The permutation pi(seed, epoch) over one dataset, read at any position, never unrolled.

    Args:
        counts: (S,) kept samples of each shard; a shard that holds none is never read.
        config: seed and reach of the shuffle.
        epoch: which permutation.
        name: of the dataset, part of the key: two datasets of one form get two orders.
    """

    def __init__(self, counts: Int64Array, config: OrderConfig, epoch: int, name: str) -> None:
        self.num_samples = int(counts.sum())
        self._counts = counts
        self._key = (config.seed, epoch, name)
        self._window_shards = config.window_shards
        self._streams = self._deal_shards(config.num_streams)
        self._cell_starts = [self._starts_of_cells(shards) for shards in self._streams]
        self._plan_interleaving()
        self._cell = lru_cache(maxsize=4 * config.num_streams)(self._shuffled_cell)

    def places(self, start: int, stop: int) -> tuple[Int64Array, Int64Array, Int64Array]:
        """Return (shard, row, stream) of the positions from `start` up to `stop`."""
        position = np.arange(start, stop, dtype=np.int64)
        segment = np.searchsorted(self._segment_starts, position, side="right") - 1
        rest = position - self._segment_starts[segment]
        num_live = self._num_live[segment]
        stream = self._live_streams[segment, rest % num_live]
        offset = self._segment_rounds[segment] + rest // num_live - self._begins[stream]
        shard, row = np.empty_like(position), np.empty_like(position)
        for number in np.unique(stream):
            here = np.flatnonzero(stream == number)
            shard[here], row[here] = self._read_stream(int(number), offset[here])
        return shard, row, stream

    def _deal_shards(self, num_streams: int) -> list[Int64Array]:
        """Deal the shuffled shards, each to the stream that holds fewest samples so far."""
        held = np.flatnonzero(self._counts)
        shuffled = held[keyed_permutation(len(held), "shards", *self._key)]
        dealt: list[list[int]] = [[] for _ in range(min(num_streams, len(held)))]
        sizes = np.zeros(len(dealt), np.int64)
        for shard in shuffled:
            stream = int(np.argmin(sizes))
            dealt[stream].append(int(shard))
            sizes[stream] += self._counts[shard]
        return [np.array(shards, np.int64) for shards in dealt]

    def _starts_of_cells(self, shards: Int64Array) -> Int64Array:
        """Return the stream's position at which each cell begins, and its length at the end.

        A shard is cut into W parts; cell j holds part q of the stream's shard j - q, for each q.
        """
        counts, width = self._counts[shards], self._window_shards
        sizes = np.zeros(len(shards) + width - 1, np.int64)
        for part in range(width):
            ends, begins = (_part_start(counts, part + more, width) for more in (1, 0))
            sizes[part : part + len(shards)] += ends - begins
        return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)

    def _plan_interleaving(self) -> None:
        """Cut the rounds, in which each live stream gives one sample, where streams begin or end.

        Each begins a C-th of a shard after the one before: no two need a new shard at once.
        """
        lengths = np.array([starts[-1] for starts in self._cell_starts], np.int64)
        num_shards = sum(map(len, self._streams))
        apart = self.num_samples // (num_shards * len(lengths))
        self._begins = apart * np.arange(len(lengths), dtype=np.int64)
        ends = self._begins + lengths
        edges = np.unique(np.concatenate([self._begins, ends]))
        live = (self._begins <= edges[:-1, None]) & (edges[:-1, None] < ends)  # (segments, streams)
        some = live.any(1)
        live = live[some]
        self._segment_rounds = edges[:-1][some]
        self._num_live = live.sum(1)
        self._live_streams = np.argsort(~live, axis=1, kind="stable")
        sizes = np.diff(edges)[some] * self._num_live
        self._segment_starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)

    def _read_stream(self, stream: int, offset: Int64Array) -> tuple[Int64Array, Int64Array]:
        starts = self._cell_starts[stream]
        cell = np.searchsorted(starts, offset, side="right") - 1
        shard, row = np.empty_like(offset), np.empty_like(offset)
        for number in np.unique(cell):
            here = np.flatnonzero(cell == number)
            shards, rows = self._cell(stream, int(number))
            inside = offset[here] - starts[number]
            shard[here], row[here] = shards[inside], rows[inside]
        return shard, row

    def _shuffled_cell(self, stream: int, cell: int) -> tuple[Int64Array, Int64Array]:
        held, width = self._streams[stream], self._window_shards
        shards, rows = [], []
        for part in range(max(0, cell - len(held) + 1), min(width, cell + 1)):
            shard = int(held[cell - part])
            rows.append(self._rows_of_part(shard, part))
            shards.append(np.full(len(rows[-1]), shard, np.int64))
        shuffled = keyed_permutation(sum(map(len, rows)), "cell", *self._key, stream, cell)
        return np.concatenate(shards)[shuffled], np.concatenate(rows)[shuffled]

    def _rows_of_part(self, shard: int, part: int) -> Int64Array:
        """Return the rows of one of the W parts that a shard is cut into at random."""
        count, width = self._counts[shard], self._window_shards
        rows = keyed_permutation(int(count), "rows", *self._key, shard)
        return rows[_part_start(count, part, width) : _part_start(count, part + 1, width)]


def _part_start(count: Int64Array, part: int, num_parts: int) -> Int64Array:
    """Return where one of the parts of `count` samples begins; parts differ by one sample."""
    return part * (count // num_parts) + np.minimum(part, count % num_parts)


class Course:
    """The endless sequence of samples that a stream walks, cut into epochs.

    One dataset: an epoch is its permutation. Several: an epoch is as many samples as they hold
    together, dealt by weight; each dataset runs through epochs of its own, so that none of its
    samples comes a second time before all came once.

    Args:
        counts: for each dataset, (S,) kept samples of each shard.
        names: of the datasets.
        weights: shares of the mixture; they are scaled to sum 1.
        config: of the order.
    """

    def __init__(
        self,
        counts: Sequence[Int64Array],
        names: Sequence[str],
        weights: Sequence[float],
        config: OrderConfig,
    ) -> None:
        if not all(array.sum() for array in counts):
            empty = [name for name, array in zip(names, counts, strict=True) if not array.sum()]
            raise ValueError(f"dataset {empty[0]}: no sample is left; widen split or filters")
        if len(weights) != len(counts) or min(weights) <= 0:
            raise ValueError(f"weights {tuple(weights)}: one positive weight a dataset would do")
        self._counts, self._names, self._config = list(counts), list(names), config
        self._weights = list(weights)
        self._sizes = [int(array.sum()) for array in counts]
        self._edges = np.concatenate([[0.0], np.cumsum(weights) / np.sum(weights)])
        self.epoch_size = sum(self._sizes)
        self._order = lru_cache(maxsize=2 * len(counts) + 2)(self._epoch_order)

    def __reduce__(self) -> tuple[type[Course], tuple[object, ...]]:
        return Course, (self._counts, self._names, self._weights, self._config)

    def places(self, epoch: int, start: int, stop: int) -> Places:
        """Return where the samples of one epoch from `start` up to `stop` lie."""
        stop = min(stop, self.epoch_size)
        if len(self._counts) == 1:
            number = np.zeros(max(stop - start, 0), np.int64)
            shard, row, stream = self._order(0, epoch).places(start, stop)
            return Places(number, shard, row, stream, np.full_like(number, epoch))
        base = epoch * self.epoch_size
        dataset, turn = self._dealt(base + start, base + stop)
        return self._look_up(dataset, turn)

    def _epoch_order(self, dataset: int, epoch: int) -> EpochOrder:
        return EpochOrder(self._counts[dataset], self._config, epoch, self._names[dataset])

    def _dealt(self, start: int, stop: int) -> tuple[Int64Array, Int64Array]:
        """Return for absolute positions the dataset, and which of that dataset's samples it is."""
        datasets, turns = [], []
        for block in range(start // _MIX_BLOCK, -(-stop // _MIX_BLOCK)):
            before, after = self._dealt_before(block), self._dealt_before(block + 1)
            dataset = np.repeat(np.arange(len(before)), after - before)
            dataset = dataset[keyed_permutation(len(dataset), "mix", self._config.seed, block)]
            turn = np.empty_like(dataset)
            for number, first in enumerate(before):
                here = np.flatnonzero(dataset == number)
                turn[here] = first + np.arange(len(here))
            first = block * _MIX_BLOCK
            cut = slice(max(start - first, 0), stop - first)
            datasets.append(dataset[cut])
            turns.append(turn[cut])
        return np.concatenate(datasets), np.concatenate(turns)

    def _dealt_before(self, block: int) -> Int64Array:
        """Return how many samples of each dataset the first `block` blocks hold."""
        edges = np.floor(self._edges * (block * _MIX_BLOCK) + 1e-6).astype(np.int64)
        return np.diff(edges)

    def _look_up(self, dataset: Int64Array, turn: Int64Array) -> Places:
        size = np.array(self._sizes)[dataset]
        epoch, position = turn // size, turn % size
        shard, row, stream = (np.empty_like(turn) for _ in range(3))
        for number, own_epoch in {(int(d), int(e)) for d, e in zip(dataset, epoch, strict=True)}:
            here = np.flatnonzero((dataset == number) & (epoch == own_epoch))
            first = int(position[here[0]])
            found = self._order(number, own_epoch).places(first, first + len(here))
            shard[here], row[here], stream[here] = found
        return Places(dataset, shard, row, stream + dataset * self._config.num_streams, epoch)


def rank_part(places: Places, rank: int, num_ranks: int) -> Int64Array:
    """Return which samples of a global batch a rank takes, as their positions in the batch.

    Parts differ by at most one sample. Samples of one canonical stream go to one rank as far as
    equal parts allow, so that a rank reads few shards.
    """
    by_stream = np.argsort(places.stream, kind="stable").astype(np.int64)
    return np.array_split(by_stream, num_ranks)[rank]
