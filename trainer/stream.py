"""Manifest to batches: over any number of ranks and loader workers, in one order, resumable.

for batch in open_stream("s3://bucket/faces", StreamConfig(batch_size=64)):
    loss = train_on(batch.image, batch.landmarks_px)
"""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch.distributed

from synthforge.caches import default_cache_folder
from synthforge.samples import SampleMeta
from trainer.batch_memory import Recycled
from trainer.batches import Batch
from trainer.decoding import wanted_suffixes
from trainer.filters import Filter
from trainer.index import DatasetIndex, build_index
from trainer.order import Course, OrderConfig
from trainer.reading import BatchReader, KeptSamples, Spans, Transform, read_in_processes
from trainer.shard_store import CacheConfig, ShardStore
from trainer.sources import open_source

DEFAULT_FIELDS: Final = ("image", "segmentation", "depth", "meta")
_STATE_VERSION: Final = 2  # 1: windows of shards one after another


@dataclass(frozen=True)
class StreamConfig:
    """What a stream gives, and how it is read.

    Attributes:
        batch_size: of the global batch, all ranks together.
        split: of the dataset; None reads all of them.
        fields: members of the table to decode (`image`, `segmentation`, `depth`, `normal`, `u`,
            `v`, `dense`, `meta`; landmarks are part of `meta`).
        filters: all must keep a sample.
        order: seed and reach of the shuffle.
        drop_last: leave out an epoch's last batch where it is short.
        workers: loader processes; 0 decodes in threads of this process.
        threads: decoding threads a process.
        batches_ahead: batches decoded before they are asked for, a process.
        shards_ahead: batches by which fetching shards runs ahead of decoding.
        cache: of fetched shards; datasets on this machine are read where they are.
        pin_memory: of the batches, for a CUDA device.
        keep_decoded_bytes: decoded samples to keep in memory, before any transform; for a dataset
            that fits, read again and again without loader processes.
    """

    batch_size: int = 32
    split: str | None = "train"
    fields: tuple[str, ...] = DEFAULT_FIELDS
    filters: tuple[Filter, ...] = ()
    order: OrderConfig = field(default_factory=OrderConfig)
    drop_last: bool = False
    workers: int = 0
    threads: int = 2
    batches_ahead: int = 2
    shards_ahead: int = 16
    cache: CacheConfig | None = None
    pin_memory: bool = False
    keep_decoded_bytes: int = 0

    def __post_init__(self) -> None:
        least = {"batch_size": 1, "workers": 0, "threads": 1, "batches_ahead": 0, "shards_ahead": 1}
        for name, low in least.items():
            if getattr(self, name) < low:
                raise ValueError(f"{name} is {getattr(self, name)}: at least {low} would do")
        if "image" not in self.fields:
            raise ValueError(f"fields {self.fields}: 'image' must be among them")


class Stream:
    """Batches of one rank. Iterating gives the rest of the current epoch; the next time, the next.

    Any number of ranks and workers sees the same global batches. One iterator at a time.
    """

    def __init__(
        self,
        urls: Sequence[str],
        config: StreamConfig,
        *,
        weights: Sequence[float] | None = None,
        transform: Transform | None = None,
        rank: int = 0,
        num_ranks: int = 1,
    ) -> None:
        if not 0 <= rank < num_ranks:
            raise ValueError(f"rank is {rank}: 0 to {num_ranks - 1} would do")
        self._config = config
        stores, indexes = self._open_datasets(urls, config)
        self._digests = [index.digest for index in indexes]
        self._weights = [float(weight) for weight in weights or [i.counts.sum() for i in indexes]]
        self._course = Course(
            [index.counts for index in indexes], self._digests, self._weights, config.order
        )
        self._reader = BatchReader(
            stores=stores,
            indexes=indexes,
            course=self._course,
            suffixes=wanted_suffixes(config.fields),
            seed=config.order.seed,
            transform=transform,
            rank=rank,
            num_ranks=num_ranks,
            threads=config.threads,
            batches_ahead=config.batches_ahead,
            shards_ahead=config.shards_ahead,
            kept=KeptSamples(config.keep_decoded_bytes),
            allocate=Recycled(),
        )
        self.epoch = 0
        self._position = 0

    @property
    def num_samples(self) -> int:
        """Samples of one epoch, all ranks together."""
        return self._course.epoch_size

    def __len__(self) -> int:
        """Batches of a whole epoch: the same on every rank."""
        return len(self._spans(0, 0))

    def __iter__(self) -> Iterator[Batch]:
        spans = self._spans(self.epoch, self._position)
        if not len(spans):
            self._end_empty_epoch()
            return
        for span, batch in zip(spans, self._batches(spans), strict=True):
            # Counted before it is handed out: a state taken in the loop's body holds this batch.
            self._position = span[2]
            if span == spans[-1]:
                self.epoch, self._position = self.epoch + 1, 0
            yield batch

    def _end_empty_epoch(self) -> None:
        """Go on to the next epoch where what is left of this one makes no batch."""
        if self._position == 0:
            raise ValueError(
                f"batch_size is {self._config.batch_size} and drop_last is set, but an epoch has "
                f"{self.num_samples} samples: a smaller batch, or drop_last=False, would do"
            )
        self.epoch, self._position = self.epoch + 1, 0

    def metas(self, limit: int | None = None) -> Iterator[SampleMeta]:
        """Yield what `K.json` says of the samples in the order of epoch 0, reading nothing else."""
        places = self._course.places(0, 0, min(limit or self.num_samples, self.num_samples))
        for i in range(len(places)):
            yield self._reader.read_meta(places, i)

    def state_dict(self) -> dict[str, Any]:
        """Return the place after the last batch handed out; the same on every rank."""
        return {
            "version": _STATE_VERSION,
            "epoch": self.epoch,
            "position": self._position,
            "made_of": self._made_of(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on at that place, on any number of ranks and with any batch size.

        Raises:
            ValueError: the state is of another dataset, split, filter, seed or order.
        """
        made_of = self._made_of()
        if state.get("version") != _STATE_VERSION:
            raise ValueError(f"stream state has version {state.get('version')}: {_STATE_VERSION}")
        for name, own in made_of.items():
            if state["made_of"][name] != own:
                raise ValueError(
                    f"stream state has {name} {state['made_of'][name]}, this stream {own}: "
                    "open it as the one that was saved"
                )
        self.epoch, self._position = int(state["epoch"]), int(state["position"])

    def _made_of(self) -> dict[str, Any]:
        """All that the order of samples depends on, in plain types."""
        order = self._config.order
        return {
            "digests": list(self._digests),
            "weights": list(self._weights),
            "split": self._config.split,
            "filters": [[each.field, each.low, each.high] for each in self._config.filters],
            "order": [order.seed, order.window_shards, order.num_streams],
        }

    def _spans(self, epoch: int, position: int) -> Spans:
        end, size = self.num_samples, self._config.batch_size
        starts = range(position, end, size)
        if self._config.drop_last and (end - position) % size:
            starts = starts[:-1]
        return Spans(epoch, starts, size, end)

    def _batches(self, spans: Spans) -> Iterator[Batch]:
        config = self._config
        if config.workers:
            return read_in_processes(
                self._reader, spans, config.workers, pin_memory=config.pin_memory
            )
        batches = self._reader.read_in_threads(spans)
        return (batch.pin_memory() for batch in batches) if config.pin_memory else batches

    def _open_datasets(
        self, urls: Sequence[str], config: StreamConfig
    ) -> tuple[tuple[ShardStore, ...], tuple[DatasetIndex, ...]]:
        stamps = Path(tempfile.mkdtemp(prefix="synthforge-stream-"))
        weakref.finalize(self, _remove_own, stamps, os.getpid())
        cache = config.cache or CacheConfig(default_cache_folder() / "shards")
        stores, indexes = [], []
        for url in urls:
            source = open_source(url)
            manifest = source.manifest()
            stores.append(ShardStore(source, cache, stamps))
            indexes.append(build_index(manifest, config.split, config.filters, stores[-1]))
        return tuple(stores), tuple(indexes)


def open_stream(
    url: str | Sequence[str],
    config: StreamConfig | None = None,
    *,
    weights: Sequence[float] | None = None,
    transform: Transform | None = None,
    rank: int | None = None,
    num_ranks: int | None = None,
) -> Stream:
    """Open one dataset, or a mixture of several, for a training loop.

    Args:
        url: `s3://bucket/prefix`, a folder, or the https URL of a manifest; or several of them.
        config: batch size, labels, filters, order, workers, cache.
        weights: shares of several datasets; by default their sizes.
        transform: of each decoded sample; its random numbers depend on (seed, epoch, key) alone.
        rank: of this process; by default that of `torch.distributed` where it is in use, else 0.
        num_ranks: processes that share each global batch.

    Raises:
        ValueError: split, field, filter or weights do not fit the dataset.
        ShardError: a shard is not as its manifest says; raised when it is read.
    """
    if rank is None or num_ranks is None:
        rank, num_ranks = _own_rank()
    urls = [url] if isinstance(url, str) else list(url)
    return Stream(
        urls,
        config or StreamConfig(),
        weights=weights,
        transform=transform,
        rank=rank,
        num_ranks=num_ranks,
    )


def _own_rank() -> tuple[int, int]:
    distributed = torch.distributed
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def _remove_own(folder: Path, process: int) -> None:
    if os.getpid() == process:  # a forked loader process holds a copy of the stream
        shutil.rmtree(folder, ignore_errors=True)
