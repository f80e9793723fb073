"""Batches of a real set: cropped, varied, in an order that depends on seed and step alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np

from trainer.augment import Augment
from trainer.batches import Batch, collate
from trainer.datasets.frames import Framing
from trainer.datasets.real_set import RealSet
from trainer.decoding import Sample
from trainer.keyed_random import keyed_generator, keyed_permutation
from trainer.warp import OUR_SIDES, Sides

_BATCHES_AHEAD: Final = 2


@dataclass(frozen=True)
class LoadConfig:
    """How pictures are fed.

    Attributes:
        batch_size: of a step.
        seed: of order and variation.
        threads: that read and vary pictures.
        keep_bytes: decoded pictures kept in memory up to this.
    """

    batch_size: int = 16
    seed: int = 0
    threads: int = 2
    keep_bytes: int = 1 << 30

    def __post_init__(self) -> None:
        for name in ("batch_size", "threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: at least 1 would do")


def sides_of(real: RealSet) -> Sides:
    """Return what changes its name in a flipped picture of a set."""
    points = OUR_SIDES.point_twin if real.points is None else np.array(real.points.mirror)
    classes = OUR_SIDES.class_twin if real.classes is None else real.classes.mirror()
    return Sides(points, classes)


class RealBatches:
    """Endless training batches of some pictures of a set.

    Args:
        real: the set.
        keys: of the pictures.
        framing: where their crops come from.
        augment: how they vary.
        config: how they are fed.
    """

    def __init__(
        self,
        real: RealSet,
        keys: Sequence[str],
        framing: Framing,
        augment: Augment,
        config: LoadConfig,
    ) -> None:
        self._real, self._keys, self._framing = real, tuple(keys), framing
        self._augment, self._config = augment, config
        self._sides = sides_of(real)
        self._kept: dict[str, Sample] = {}
        self._kept_bytes = 0

    def read(self, key: str) -> Sample:
        """Return one picture with its labels, uncropped."""
        if key in self._kept:
            return self._kept[key]
        sample = self._real.read(key).sample
        num_bytes = sample.image.nbytes
        if sample.segmentation is not None:
            num_bytes += sample.segmentation.nbytes
        if self._kept_bytes + num_bytes <= self._config.keep_bytes:
            self._kept[key] = sample
            self._kept_bytes += num_bytes
        return sample

    def from_step(self, step: int) -> Iterator[Batch]:
        """Yield the batches of `step` and all later ones."""
        with ThreadPoolExecutor(self._config.threads) as pool:
            ahead: list[list[Future[Sample]]] = []
            while True:
                while len(ahead) <= _BATCHES_AHEAD:
                    turns = self._turns(step + len(ahead))
                    ahead.append([pool.submit(partial(self._varied, *turn)) for turn in turns])
                samples = [future.result() for future in ahead.pop(0)]
                step += 1
                yield collate(samples, [1.0] * len(samples))

    def _turns(self, step: int) -> list[tuple[int, str]]:
        """Return (epoch, key) of each sample of a step; an epoch may end within it."""
        count, size = len(self._keys), self._config.batch_size
        found = []
        for turn in range(step * size, (step + 1) * size):
            epoch, place = divmod(turn, count)
            order = keyed_permutation(count, self._config.seed, "real", epoch)
            found.append((epoch, self._keys[int(order[place])]))
        return found

    def _varied(self, epoch: int, key: str) -> Sample:
        sample = self.read(key)
        random = keyed_generator(self._config.seed, epoch, key)
        base = self._framing.warp(sample, self._augment.config.size_px)
        return self._augment.around(base, sample, random, self._sides)
