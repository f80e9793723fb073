"""Stage I of `benchmarks.stage2`: built-in faces whose hair is labelled background."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from benchmarks.in_process import make_dataset
from synthforge.conventions import CLASS_IDS
from synthforge.jobs import parse_job_spec
from trainer.augment import Augment
from trainer.batches import Batch
from trainer.checkpoint import save_checkpoint
from trainer.decoding import Sample
from trainer.recipes import stage1_quick
from trainer.saved import describe_model
from trainer.stages import open_training
from trainer.stream import open_stream

_SYNTHETIC_PX: Final = 96


def train_stage1(
    folder: Path, checkpoint: Path, num_synthetic: int, steps: int, input_px: int
) -> None:
    """Make built-in shards and fit stage I to them; hair is background in its labels."""
    recipe = stage1_quick()
    recipe = replace(
        recipe,
        size_px=input_px,
        augment=replace(recipe.augment, size_px=input_px),
        loop=replace(recipe.loop, steps=steps),
    )
    made = folder / "builtin"
    if not (made / "dataset" / "manifest.json").exists():
        document = {
            "count": num_synthetic,
            "seed": 11,
            "image": {"size": _SYNTHETIC_PX},
            "pose": {"yaw": [-40, 40], "pitch": [-20, 20], "roll": [-15, 15]},
            "annotations": ["landmarks68", "segmentation", "depth", "camera", "head"],
        }
        make_dataset(parse_job_spec(json.dumps(document)), made / "dataset")
    stream = open_stream(
        str(made / "dataset"), recipe.stream, transform=WithoutHair(Augment(recipe.augment))
    )
    training = open_training(recipe, torch.device("cpu"))
    training.run(_endless(stream), lambda _: None)
    content = {**describe_model(1, recipe.size_px, recipe.model), "training": training.state_dict()}
    save_checkpoint(checkpoint, content)


@dataclass(frozen=True)
class WithoutHair:
    """Varies a sample, then calls its hair background: a class that stage I is not to know."""

    augment: Augment

    def __call__(self, sample: Sample, random: np.random.Generator) -> Sample:
        """Return the sample without that class."""
        moved = self.augment(sample, random)
        assert moved.segmentation is not None
        classes = np.where(moved.segmentation == CLASS_IDS["hair"], 0, moved.segmentation)
        return replace(moved, segmentation=classes.astype(np.uint8))


def _endless(stream: Any) -> Iterator[Batch]:
    while True:
        yield from stream
