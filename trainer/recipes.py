"""Whole named configurations."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from synthforge.conventions import NUM_LANDMARKS
from trainer import consistency
from trainer.augment import AugmentConfig
from trainer.loop import LoopConfig
from trainer.losses import LossConfig
from trainer.model.backbone import BackboneConfig
from trainer.model.network import ModelConfig
from trainer.model.pretrained import pretrained_config
from trainer.model.published import UNetConfig
from trainer.order import OrderConfig
from trainer.real_batches import LoadConfig
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
        backbone_weights: local folder of a `transformers` model, whose weights the encoder begins
            with.
    """

    size_px: int
    model: ModelConfig
    stream: StreamConfig
    augment: AugmentConfig
    loss: LossConfig = field(default_factory=LossConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)
    checkpoint_steps: int = 100
    backbone_weights: Path | None = None

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


def stage1_published(seed: int = 0) -> Stage1Recipe:
    """Return the published arrangement: three UNets, two hourglasses, self-supervised features.

    The published losses have weight 1 each: landmarks are a sum over 68 points of distances in
    [-1, 1], which is 2 x 68 of our mean in shares of the side. Depth is a distance of logs of
    metres, where the published data had 8 bits of each picture's own range; the self-supervised
    term is a mean. The encoder learns at a tenth of the heads' rate.
    """
    return Stage1Recipe(
        size_px=256,
        model=ModelConfig(UNetConfig(), heads="published"),
        stream=StreamConfig(batch_size=64, order=OrderConfig(seed=seed), workers=8, threads=1),
        augment=AugmentConfig(
            size_px=256, shift=0.05, rotation_deg=18.0, occlusion=0.4, blur=0.3, grey=0.2
        ),
        loss=LossConfig(
            weights={
                "segmentation": 1.0,
                "landmarks": 2.0 * NUM_LANDMARKS,
                "doubt": 0.05,
                "depth_metric": 1.0,
                "consistency_features": 1.0,
            }
        ),
        loop=LoopConfig(
            steps=31_250,  # 20 epochs of 100,000 pictures
            learning_rate=1e-3,
            backbone_rate_share=0.1,
            final_share=0.001,
            second_beta=0.999,
            weight_decay=0.01,
            bf16=True,
        ),
    )


def with_backbone(recipe: Stage1Recipe, source: str) -> Stage1Recipe:
    """Return a recipe on a backbone of `transformers`, which learns at a tenth of the heads' rate.

    Args:
        recipe: of a model with compact heads.
        source: local folder of a model, whose weights are used; or the name of an architecture,
            whose weights are drawn at random. Nothing is downloaded.

    Raises:
        ValueError: there is no such backbone.
    """
    backbone = pretrained_config(source)
    is_folder = Path(source).is_dir()
    return replace(
        recipe,
        model=replace(recipe.model, backbone=backbone),
        loop=replace(recipe.loop, backbone_rate_share=0.1 if is_folder else 1.0),
        backbone_weights=Path(source) if is_folder else None,
    )


def with_consistency(recipe: Stage1Recipe, weight: float = 0.5) -> Stage1Recipe:
    """Return a recipe with both self-supervised terms; each step then sees its pictures twice."""
    weights = {**recipe.loss.weights, **dict.fromkeys(consistency.TERMS, weight)}
    return replace(recipe, loss=replace(recipe.loss, weights=weights))


def with_learnt_weights(recipe: Stage1Recipe) -> Stage1Recipe:
    """Return a recipe whose terms are weighed by uncertainties that the model learns."""
    model = replace(recipe.model, learnt_weights=tuple(recipe.loss.weights))
    return replace(recipe, model=model)


@dataclass(frozen=True)
class Stage2Recipe:
    """All that stage II is made of; the pictures' size is that of stage I.

    Attributes:
        augment: of the training pictures; its `size_px` gives way to the model's.
        load: batches, their order and threads.
        loss: weights of the terms; those that set or model lack are left out.
        loop: of the fit.
        use_features: whether the adaptation networks see f_s.
        adapter_width: channels inside them.
        adapt_rank: of what adaptation changes in the frozen backbone, see `AdapterConfig`.
        checkpoint_steps: steps between two checkpoints.
    """

    augment: AugmentConfig
    load: LoadConfig = field(default_factory=LoadConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)
    use_features: bool = True
    adapter_width: int = 48
    adapt_rank: int = 32
    checkpoint_steps: int = 100


def stage2_quick(seed: int = 0) -> Stage2Recipe:
    """Return what adapts a small model to a few hundred pictures in a minute of CPU."""
    return Stage2Recipe(
        augment=replace(stage1_quick().augment, shift=0.03, rotation_deg=8.0, scale=0.08),
        load=LoadConfig(batch_size=16, seed=seed),
        loop=LoopConfig(
            steps=300,
            learning_rate=8e-3,
            warmup_steps=20,
            second_beta=0.98,
            ema_decay=0.98,
            bf16=True,
        ),
    )


def stage2_real(seed: int = 0) -> Stage2Recipe:
    """Return the recipe for a real set of thousands of pictures, on a GPU."""
    return Stage2Recipe(
        augment=AugmentConfig(size_px=256, perspective=0.02),
        load=LoadConfig(batch_size=32, seed=seed, threads=12, keep_bytes=8 << 30),
        loop=LoopConfig(steps=12_000, learning_rate=1e-3, warmup_steps=300, bf16=True),
        adapter_width=96,
    )
