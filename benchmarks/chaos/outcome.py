"""What a job has left in the store, held against its plan: lost, duplicated, torn."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from service import planning
from synthforge.shards import MANIFEST_NAME, Manifest
from synthforge.storage import Storage
from synthforge.verification import verify_dataset


@dataclass(frozen=True)
class Outcome:
    """A dataset, counted.

    Attributes:
        num_shards: that the manifest names.
        lost: planned samples and shards that it lacks.
        duplicated: samples and shards that it has more than once, or that were not planned.
        torn: findings of `verify`: objects whose bytes are not what the manifest says.
        unnamed: objects under the prefix that nothing names; harmless, swept by `gc`.
    """

    digest: str
    num_shards: int
    lost: int
    duplicated: int
    torn: tuple[str, ...]
    unnamed: tuple[str, ...]

    @property
    def is_whole(self) -> bool:
        """Whether nothing is lost, duplicated or torn."""
        return not (self.lost or self.duplicated or self.torn)


def judge(storage: Storage) -> Outcome:
    """Read a dataset back, every byte."""
    manifest = Manifest.model_validate_json(storage.get_bytes(MANIFEST_NAME))
    job = manifest.job
    plans = (
        planning.shard_plan(job, *planning.nth_shard(job, position))
        for position in range(planning.total_shards(job))
    )
    planned = Counter(
        (plan.split, plan.number, index) for plan in plans for index in plan.sample_indices()
    )
    found = Counter(
        (shard.split, shard.number, index)
        for shard in manifest.shards
        for piece in shard.indices
        for index in range(piece.start, piece.stop)
    )
    named = {MANIFEST_NAME, f"manifests/{manifest.digest}.json"}
    named |= {shard.name for shard in manifest.shards} | {file.name for file in manifest.files}
    return Outcome(
        digest=manifest.digest,
        num_shards=len(manifest.shards),
        lost=(planned - found).total(),
        duplicated=(found - planned).total(),
        torn=tuple(map(str, verify_dataset(storage))),
        unnamed=tuple(item.key for item in storage.list_objects() if item.key not in named),
    )
