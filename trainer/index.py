"""The samples of one dataset that a stream reads: split and filters applied, nothing else read."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from synthforge.samples import SampleMeta
from synthforge.shards import Manifest, ShardRecord, sample_key
from trainer.filters import Filter, keeps_all
from trainer.order import Int64Array
from trainer.shard_store import ShardStore

META_SUFFIX = "json"


@dataclass(frozen=True)
class DatasetIndex:
    """What the order permutes.

    Attributes:
        digest: of the dataset.
        shards: of the split, in the manifest's order.
        kept: for each shard None where all of its rows stay, else the rows that do.
    """

    digest: str
    shards: tuple[ShardRecord, ...]
    kept: tuple[Int64Array | None, ...]

    @property
    def counts(self) -> Int64Array:
        """(S,) kept samples of each shard."""
        pairs = zip(self.shards, self.kept, strict=True)
        return np.array([r.num_samples if k is None else len(k) for r, k in pairs], np.int64)

    def row_in_shard(self, shard: int, kept_row: int) -> int:
        """Return the row in the tar of a kept row."""
        kept = self.kept[shard]
        return kept_row if kept is None else int(kept[kept_row])

    def key(self, shard: int, row: int) -> str:
        """Return the key of a shard's row, from the manifest alone."""
        pieces = self.shards[shard].indices
        ends = list(accumulate(piece.stop - piece.start for piece in pieces))
        piece = bisect_right(ends, row)
        before = ends[piece - 1] if piece else 0
        return sample_key(pieces[piece].start + row - before)


def build_index(
    manifest: Manifest, split: str | None, filters: Sequence[Filter], store: ShardStore
) -> DatasetIndex:
    """Apply split and filters; filters read the JSON of every sample of the split.

    Raises:
        ValueError: the manifest has no such split.
    """
    if split is not None and split not in manifest.splits:
        known = ", ".join(manifest.splits)
        raise ValueError(
            f"split {split!r} is not in the dataset, which has {known}: training and measuring "
            "take a split each; a job with output.splits makes them, as train 0.9 and val 0.1"
        )
    shards = tuple(r for r in manifest.shards if split is None or r.split == split)
    kept = tuple(_kept_rows(record, filters, store) for record in shards)
    return DatasetIndex(manifest.digest, shards, kept)


def _kept_rows(
    record: ShardRecord, filters: Sequence[Filter], store: ShardStore
) -> Int64Array | None:
    if not filters:
        return None
    shard = store.open(record)
    metas = (SampleMeta.model_validate_json(shard.read(row, META_SUFFIX)) for row in shard.rows)
    return np.array([i for i, meta in enumerate(metas) if keeps_all(filters, meta)], np.int64)
