"""Batches read by place: what each loader worker runs, in processes or threads alike."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import cast, overload

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from synthforge.samples import SampleMeta
from trainer.batch_memory import Allocate, shared
from trainer.batches import Batch, collate
from trainer.decoding import Sample, decode_sample
from trainer.index import META_SUFFIX, DatasetIndex
from trainer.keyed_random import keyed_generator
from trainer.order import Course, Places, rank_part
from trainer.shard_store import OpenShard, ShardError, ShardStore
from trainer.tar_index import Row

Transform = Callable[[Sample, np.random.Generator], Sample]
Span = tuple[int, int, int]  # epoch, first position, position after the last
_FETCHING_THREADS = 3  # a store answers several requests as fast as one
_LOADER_PREFETCH = 2  # batches that each loader process keeps ready


@dataclass(frozen=True)
class Spans(Sequence[Span]):
    """The global batches of an epoch, or every n-th of them; no list of them is held.

    Attributes:
        epoch: that they belong to.
        starts: first position of each.
        size: of a batch.
        end: samples of the epoch: the last batch may be short.
    """

    epoch: int
    starts: range
    size: int
    end: int

    def __len__(self) -> int:
        return len(self.starts)

    @overload
    def __getitem__(self, number: int) -> Span: ...
    @overload
    def __getitem__(self, number: slice) -> Spans: ...
    def __getitem__(self, number: int | slice) -> Span | Spans:
        if isinstance(number, slice):
            return replace(self, starts=self.starts[number])
        start = self.starts[number]
        return self.epoch, start, min(start + self.size, self.end)


class KeptSamples:
    """Decoded samples of a small dataset, kept up to a size; those kept first stay."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = self._free_bytes = limit_bytes
        self._samples: dict[tuple[int, int, int], Sample] = {}

    def __reduce__(self) -> tuple[type[KeptSamples], tuple[int]]:
        return KeptSamples, (self._limit_bytes,)  # an empty one travels to a loader process

    def get(self, place: tuple[int, int, int]) -> Sample | None:
        """Return the sample at (dataset, shard, row), or None."""
        return self._samples.get(place)

    def put(self, place: tuple[int, int, int], sample: Sample) -> None:
        """Keep a sample if there is room; one that two threads bring counts twice."""
        size = sum(value.nbytes for value in vars(sample).values() if hasattr(value, "nbytes"))
        if size <= self._free_bytes:
            self._free_bytes -= size
            self._samples[place] = sample


@dataclass(frozen=True)
class BatchReader:
    """Reads any global batch's part of one rank; travels to loader processes.

    Attributes:
        stores: of the datasets, in the order of the course.
        indexes: of the datasets.
        course: the order of samples.
        suffixes: members to decode.
        seed: that augmentation is keyed by.
        transform: of a decoded sample, or None.
        rank: which part of each batch.
        num_ranks: parts that a batch is cut into.
        threads: that decode in one process.
        batches_ahead: decoded before they are asked for, a process.
        shards_ahead: batches by which fetching shards runs ahead of decoding.
        kept: decoded samples that stay in memory.
        allocate: gives the batches' memory.
        fetches_from: share of a batch's shards that are fetched after the others: processes that
            begin at different ones do not wait for each other.
    """

    stores: tuple[ShardStore, ...]
    indexes: tuple[DatasetIndex, ...]
    course: Course
    suffixes: frozenset[str]
    seed: int
    transform: Transform | None
    rank: int
    num_ranks: int
    threads: int
    batches_ahead: int
    shards_ahead: int
    kept: KeptSamples
    allocate: Allocate
    fetches_from: float = 0.0

    def read_batch(self, span: Span) -> Batch:
        """Return this rank's part of a global batch, filled up with weight 0 to the largest."""
        whole = self.course.places(*span)
        own = whole.take(rank_part(whole, self.rank, self.num_ranks))
        filler = own if len(own) else whole
        num_fillers = -(-len(whole) // self.num_ranks) - len(own)
        samples = (self.read_sample(own, i) for i in range(len(own)))
        fillers = (self.read_sample(filler, 0) for _ in range(num_fillers))
        weights = [1.0] * len(own) + [0.0] * num_fillers
        return collate(chain(samples, fillers), weights, self.allocate)

    def read_sample(self, places: Places, i: int) -> Sample:
        """Decode and augment the sample at one place."""
        place = (int(places.dataset[i]), int(places.shard[i]), int(places.row[i]))
        sample = self.kept.get(place)
        if sample is None:
            shard, row = self._open_row(*place)
            wanted = [suffix for suffix in row.members if suffix in self.suffixes]
            sample = decode_sample(row.key, wanted, lambda suffix: shard.read(row, suffix))
            self.kept.put(place, sample)
        if self.transform is None:
            return sample
        epoch = int(places.epoch[i])
        return self.transform(sample, keyed_generator("augment", self.seed, epoch, sample.key))

    def read_meta(self, places: Places, i: int) -> SampleMeta:
        """Return the JSON of the sample at one place."""
        shard, row = self._open_row(
            int(places.dataset[i]), int(places.shard[i]), int(places.row[i])
        )
        return SampleMeta.model_validate_json(shard.read(row, META_SUFFIX))

    def _open_row(self, dataset: int, shard_number: int, kept_row: int) -> tuple[OpenShard, Row]:
        index = self.indexes[dataset]
        record = index.shards[shard_number]
        shard = self.stores[dataset].open(record)
        number = index.row_in_shard(shard_number, kept_row)
        row, key = shard.rows[number], index.key(shard_number, number)
        if row.key != key:
            raise ShardError(f"shard {record.name}: row {number} is {row.key}, not {key}")
        return shard, row

    def shards_of(self, span: Span) -> list[tuple[int, int]]:
        """Return (dataset, shard) of all that a batch's part reads, in this process's own order."""
        whole = self.course.places(*span)
        own = whole.take(rank_part(whole, self.rank, self.num_ranks))
        shards = list(dict.fromkeys(zip(own.dataset.tolist(), own.shard.tolist(), strict=True)))
        first = int(self.fetches_from * len(shards))
        return shards[first:] + shards[:first]

    def fetch(self, dataset: int, shard: int) -> None:
        """Have a shard ready; an error shows when a sample of it is read."""
        with suppress(ShardError):
            self.stores[dataset].open(self.indexes[dataset].shards[shard])

    def read_in_threads(self, spans: Spans) -> Iterator[Batch]:
        """Yield the batches in order, some decoded ahead, their shards fetched further ahead."""
        decoder = ThreadPoolExecutor(self.threads, thread_name_prefix="decode")
        fetcher = ThreadPoolExecutor(_FETCHING_THREADS, thread_name_prefix="fetch")
        upcoming, far = iter(spans), iter(spans)
        waiting: deque[Future[Batch]] = deque()
        asked: set[tuple[int, int]] = set()

        def look_ahead(num_batches: int) -> None:
            for span in islice(far, num_batches):
                for place in self.shards_of(span):
                    if place not in asked:
                        asked.add(place)
                        fetcher.submit(self.fetch, *place)

        try:
            look_ahead(self.shards_ahead)
            while True:
                for span in islice(upcoming, self.batches_ahead + 1 - len(waiting)):
                    waiting.append(decoder.submit(self.read_batch, span))
                look_ahead(1)
                if not waiting:
                    return
                yield waiting.popleft().result()
        finally:
            fetcher.shutdown(wait=True, cancel_futures=True)
            decoder.shutdown(wait=True, cancel_futures=True)


class _WorkerShare(IterableDataset[Batch]):
    """Every n-th batch, for one of n loader processes: PyTorch takes from them in turn.

    It holds a copy of the reader that no thread has used: locks that a thread of ours holds when a
    process is forked, and open connections, must not be shared with a child.
    """

    def __init__(self, reader: BatchReader, spans: Spans) -> None:
        self._reader = deepcopy(replace(reader, transform=None))
        self._transform, self._spans = reader.transform, spans

    def __iter__(self) -> Iterator[Batch]:
        info = get_worker_info()
        if info is None:
            raise RuntimeError("read_in_threads is the way without loader processes")
        share = info.id / info.num_workers
        reader = replace(
            self._reader, transform=self._transform, fetches_from=share, allocate=shared
        )
        yield from reader.read_in_threads(self._spans[info.id :: info.num_workers])


def read_in_processes(
    reader: BatchReader, spans: Spans, workers: int, *, pin_memory: bool
) -> Iterator[Batch]:
    """Yield the batches of `spans` in order, decoded by PyTorch's loader processes."""
    # OpenCV's threads do not survive a fork: a child that used them would hang or crash.
    cv2.setNumThreads(1)
    loader = DataLoader(
        _WorkerShare(reader, spans),
        batch_size=None,
        num_workers=workers,
        prefetch_factor=_LOADER_PREFETCH,
        pin_memory=pin_memory,
        # Its own: the loader draws a seed, and the model's random numbers must not move with it.
        generator=torch.Generator(),
    )
    batches = cast(_MultiProcessingDataLoaderIter, iter(loader))
    try:
        yield from batches
    finally:
        # An error's traceback keeps the iterator in a reference cycle; collected there, it would
        # wait 5 s for processes that its queues, finalised before it, no longer reach.
        batches._shutdown_workers()
