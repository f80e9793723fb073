"""Whole named configurations."""

from __future__ import annotations

from dataclasses import dataclass, field

from trainer.augment import AugmentConfig
from trainer.loop import LoopConfig
from trainer.losses import LossConfig
from trainer.model.backbone import BackboneConfig
from trainer.model.network import ModelConfig
from trainer.order import OrderConfig
from trainer.stream import StreamConfig


@dataclass(frozen=True)
class Stage1Recipe:
    """All that stage I is made of.

    Attributes:
        size_px: side of the pictures that the model sees.
        model: its shape.
        stream: batches of the training split.
        augment: of the training samples.
        loss: weights of the terms.
        loop: of the fit.
        checkpoint_steps: steps between two checkpoints.
    """

    size_px: int
    model: ModelConfig
    stream: StreamConfig
    augment: AugmentConfig
    loss: LossConfig = field(default_factory=LossConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)
    checkpoint_steps: int = 500

    def __post_init__(self) -> None:
        if self.size_px != self.augment.size_px:
            raise ValueError(
                f"size_px {self.size_px} differs from augment's {self.augment.size_px}"
            )
        if self.size_px % self.model.backbone.stride:
            raise ValueError(
                f"size_px {self.size_px}: a multiple of {self.model.backbone.stride} would do"
            )


def stage1_quick(seed: int = 0) -> Stage1Recipe:
    """Return what learns most from a few hundred pictures in two minutes of two CPU cores.

    At this length a model is far from knowing its pictures by heart: they vary little.
    """
    return Stage1Recipe(
        size_px=96,
        model=ModelConfig(
            BackboneConfig(
                stem_stride=4, channels=(24, 48, 96, 192), blocks=(1, 1, 2, 3), features=24
            )
        ),
        stream=StreamConfig(
            batch_size=16,
            order=OrderConfig(seed=seed),
            drop_last=True,
            keep_decoded_bytes=1 << 30,
        ),
        augment=AugmentConfig(
            size_px=96,
            shift=0.02,
            rotation_deg=6.0,
            scale=0.06,
            occlusion=0.0,
            blur=0.0,
            low_resolution=0.0,
            colour=0.1,
            gamma=0.1,
            noise=0.0,
            grey=0.05,
            jpeg=0.0,
        ),
        loop=LoopConfig(
            steps=700,
            learning_rate=4e-3,
            warmup_steps=30,
            second_beta=0.98,
            ema_decay=0.98,
            bf16=True,
        ),
    )


def stage1_synthetic(seed: int = 0) -> Stage1Recipe:
    """Return the recipe for a data set of many thousand pictures, on a GPU."""
    return Stage1Recipe(
        size_px=256,
        model=ModelConfig(
            BackboneConfig(
                stem_stride=2,
                channels=(64, 128, 256, 384, 512),
                blocks=(2, 2, 3, 3, 2),
                features=96,
            )
        ),
        stream=StreamConfig(batch_size=64, order=OrderConfig(seed=seed), workers=8, threads=1),
        augment=AugmentConfig(size_px=256, perspective=0.02),
        loop=LoopConfig(steps=60_000, learning_rate=1e-3, warmup_steps=450, bf16=True),
        checkpoint_steps=450,
    )
