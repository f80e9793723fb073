"""What a job adds to: the dataset of another job, as the database keeps it."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Final

from pydantic import BaseModel, Field

from service import planning
from service.planning import Base
from synthforge.distributions import STRICT
from synthforge.jobs import JobSpec, SplitName
from synthforge.shards import Count, Sha256

_CACHED_BASES: Final = 256


class BaseDataset(BaseModel):
    """A finished dataset, and how far it goes.

    Attributes:
        job_num: of the job that finished it.
        digest: of its manifest.
        count: its samples.
        shards: how many each split has.
    """

    model_config = STRICT
    job_num: Count
    digest: Sha256
    count: Annotated[int, Field(ge=1)]
    shards: dict[SplitName, Count]

    @property
    def plan(self) -> Base:
        """What planning has to know of it."""
        return Base(self.count, self.shards)


@lru_cache(maxsize=_CACHED_BASES)
def base_dataset(text: str | None) -> BaseDataset | None:
    """Return the base that the database holds as JSON; None for a job that has none."""
    return None if text is None else BaseDataset.model_validate_json(text)


def plan_base(text: str | None) -> Base:
    """Return what planning has to know of a job's base."""
    found = base_dataset(text)
    return planning.NOTHING if found is None else found.plan


def num_shards_of_splits(spec: JobSpec, base: Base) -> dict[str, int]:
    """Return how many shards each split of a job's dataset has, those of its base included."""
    return {
        split: base.shards.get(split, 0) + planning.num_shards(spec, split, base)
        for split in spec.output.splits
    }
