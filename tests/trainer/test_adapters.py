"""Label adaptation: where it begins, what it leaves alone, and the trivial adapter."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.trainer.small_models import CONFIG, tiny_model
from trainer.batches import Batch
from trainer.datasets.classes import LAPA_11, OURS
from trainer.datasets.points import IBUG_68, LAPA_106
from trainer.loop import LoopConfig
from trainer.losses import LossConfig
from trainer.model.adapters import (
    AdaptedModel,
    AdapterConfig,
    FrozenFeatures,
    LevelsDecoder,
    eye_axes,
)
from trainer.model.network import FaceModel
from trainer.recipes import stage1_quick, stage1_synthetic, stage2_quick, stage2_real
from trainer.stage2 import open_stage2
from trainer.trivial import best_relabelling, constant_offsets, linear_mix

EVERYTHING = AdapterConfig(num_classes=11, num_points=106, depth=True, width=16)


def adapted(config: AdapterConfig = EVERYTHING) -> AdaptedModel:
    torch.manual_seed(1)
    model = AdaptedModel(tiny_model(), config)
    assert model.segmentation is not None
    assert model.landmarks is not None
    table = LAPA_11.relabelling()[: OURS.num_classes]
    model.segmentation.names.copy_(torch.eye(11)[torch.from_numpy(table).long()].T)
    mix = constant_offsets(np.random.rand(3, 68, 2), np.random.rand(3, 106, 2), LAPA_106)
    model.landmarks.mix.copy_(torch.from_numpy(mix.mix))
    return model


def pictures(count: int = 3) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, 16, 16), dtype=torch.uint8)


def test_adaptation_begins_at_names_and_mixes() -> None:
    model, image = adapted().eval(), pictures()
    with torch.inference_mode():
        old, new = model.base(image), model(image)
    assert new.segmentation.shape == (3, 11, 8, 8)
    table = torch.from_numpy(LAPA_11.relabelling()).long()
    shares = old.segmentation.softmax(1)
    summed = torch.zeros(3, 11, 8, 8).index_add_(1, table[:20], shares)
    assert torch.equal(new.segmentation.argmax(1), summed.argmax(1))
    expected = model.landmarks.mix @ old.landmarks.xy  # type: ignore[union-attr]
    torch.testing.assert_close(new.landmarks.xy, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(new.log_depth, old.log_depth)


def test_a_constant_moves_with_the_eyes() -> None:
    model = adapted()
    assert model.landmarks is not None
    model.landmarks.shift.data.fill_(0.1)
    xy = torch.rand(1, 68, 2)
    angle = torch.tensor(0.7)
    turn = 1.5 * torch.tensor([[angle.cos(), -angle.sin()], [angle.sin(), angle.cos()]])
    moved = model.landmarks.guess(xy @ turn.T + 2.0)
    torch.testing.assert_close(moved, model.landmarks.guess(xy) @ turn.T + 2.0)
    axes = eye_axes(xy)
    assert axes[0, 0] @ axes[0, 1] == pytest.approx(0, abs=1e-6)


def some_batch() -> Batch:
    random = torch.Generator().manual_seed(3)
    return Batch(
        keys=("a", "b", "c"),
        weight=torch.ones(3),
        image=torch.randint(0, 256, (3, 3, 16, 16), dtype=torch.uint8, generator=random),
        segmentation=torch.randint(0, 11, (3, 16, 16), generator=random).to(torch.uint8),
        depth=torch.randint(9_000, 11_000, (3, 16, 16), generator=random).to(torch.uint16),
        landmarks_px=16 * torch.rand(3, 106, 2, generator=random),
        focal_px=torch.full((3,), 60.0),
    )


@pytest.mark.parametrize(
    "term", ["segmentation", "landmarks", "heatmaps", "doubt", "depth_metric", "depth_relative"]
)
def test_each_term_falls_when_only_it_is_trained(term: str) -> None:
    recipe = replace(
        stage2_quick(),
        loss=LossConfig({term: 1.0}),
        loop=LoopConfig(steps=25, learning_rate=5e-3, warmup_steps=2, channels_last=False),
    )
    training = open_stage2(adapted(), recipe)
    reports: list[Any] = []
    training.run(iter([some_batch()] * 25), reports.append)
    first, last = reports[0].terms[term], reports[-1].terms[term]
    assert last < first - 0.02 * abs(first), (first, last)


def test_what_is_frozen_stays_to_the_bit_also_running_statistics() -> None:
    class Counted(FaceModel):
        """A model with batch normalisation, as some backbones have."""

        def __init__(self) -> None:
            super().__init__(CONFIG)
            self.norm = nn.BatchNorm2d(8)

        def answers(self, features: torch.Tensor, coarse: torch.Tensor) -> Any:
            return super().answers(self.norm(features), coarse)

    torch.manual_seed(0)
    base = Counted()
    before = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    model = AdaptedModel(base, replace(EVERYTHING, depth=False))
    recipe = replace(
        stage2_quick(),
        loss=LossConfig({"segmentation": 1.0, "landmarks": 1.0}),
        loop=LoopConfig(steps=3, warmup_steps=1, channels_last=False),
    )
    training = open_stage2(model, recipe)
    training.run(iter([some_batch()] * 3), lambda _: None)
    assert training.model.training
    assert not base.training
    for name, tensor in base.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_points_leave_their_start_by_no_more_than_the_rate_however_many_they_are_mixed_of() -> None:
    model = adapted(replace(EVERYTHING, num_classes=11, depth=False))
    assert model.landmarks is not None
    mix, xy = model.landmarks.mix.clone(), torch.rand(3, 68, 2)
    start = model.landmarks.guess(xy)
    rate = 1e-2
    recipe = replace(
        stage2_quick(),
        loss=LossConfig({"coarse_landmarks": 1.0}),
        loop=LoopConfig(steps=1, learning_rate=rate, warmup_steps=1, channels_last=False),
    )
    open_stage2(model, recipe).run(iter([some_batch()]), lambda _: None)
    assert torch.equal(model.landmarks.mix, mix)
    moved = (model.landmarks.guess(xy) - start).norm(dim=-1)
    assert 0 < moved.max() <= 2.01 * rate * eye_axes(xy)[:, 0].norm(dim=-1).max()


@pytest.mark.parametrize("rank", [1, stage2_quick().adapt_rank])
def test_adapters_in_the_backbone_begin_at_the_frozen_model_and_learn(rank: int) -> None:
    torch.manual_seed(1)
    model = AdaptedModel(tiny_model(), replace(EVERYTHING, inside_rank=rank))
    image = pictures()
    (old, levels), (frozen, its_levels) = model.look(image), model.look_frozen(image)
    torch.testing.assert_close(levels.levels, its_levels.levels)
    torch.testing.assert_close(old.landmarks.xy, frozen.landmarks.xy)  # type: ignore[union-attr]
    before = {name: tensor.clone() for name, tensor in model.base.state_dict().items()}
    fit_points(model)
    moved, still = model.look(image)[1], model.look_frozen(image)[1]
    assert not torch.allclose(moved.fine, still.fine)
    for name, tensor in model.base.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def fit_points(model: AdaptedModel) -> None:
    recipe = replace(
        stage2_quick(),
        loss=LossConfig({"landmarks": 1.0}),
        loop=LoopConfig(steps=4, warmup_steps=1, channels_last=False),
    )
    open_stage2(model, recipe).run(iter([some_batch()] * 4), lambda _: None)


def test_a_folded_model_answers_as_before_and_has_nothing_beside_its_backbone() -> None:
    model = AdaptedModel(tiny_model(), replace(EVERYTHING, inside_rank=2))
    fit_points(model)
    image = pictures()
    before = model.eval()(image)
    unfolded = len(model.state_dict())
    after = model.fold()(image)
    assert torch.equal(after.landmarks.xy, before.landmarks.xy)
    assert torch.equal(after.segmentation, before.segmentation)
    assert not torch.equal(after.features, tiny_model()(image).features)
    assert len(model.state_dict()) < unfolded
    AdaptedModel(tiny_model(), model.config).load_state_dict(model.state_dict())


@pytest.mark.parametrize(
    ("recipes", "of_backbone", "of_model"),
    [((stage1_quick, stage2_quick), 0.25, 0.38), ((stage1_synthetic, stage2_real), 0.11, 0.17)],
)
def test_default_adaptation_learns_a_part_of_what_full_fine_tuning_does(
    recipes: tuple[Any, Any], of_backbone: float, of_model: float
) -> None:
    stage1, stage2 = (recipe() for recipe in recipes)
    with torch.device("meta"):
        base = FaceModel(stage1.model)
        config = AdapterConfig(
            num_classes=LAPA_11.num_classes,
            num_points=LAPA_106.num_points,
            width=stage2.adapter_width,
            inside_rank=stage2.adapt_rank,
        )
        whole, backbone = (learnt(part) for part in (base, base.backbone))
        model = AdaptedModel(base, config)
    assert model.inside is not None
    assert learnt(model.inside) / backbone == pytest.approx(of_backbone, abs=0.005)
    assert learnt(model) / whole == pytest.approx(of_model, abs=0.005)


def learnt(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def test_without_f_s_the_backbone_has_no_adapters() -> None:
    config = replace(EVERYTHING, inside_rank=4, use_features=False)
    assert AdaptedModel(tiny_model(), config).inside is None


def test_without_f_s_nothing_of_the_backbone_is_seen() -> None:
    model = adapted(replace(EVERYTHING, use_features=False)).eval()
    seeing = adapted().eval()
    for part in (model.segmentation, seeing.segmentation):
        assert part is not None
        nn.init.normal_(part.out.weight)
    with torch.inference_mode():
        old, features = model.look(pictures())
        other = FrozenFeatures(
            features.fine.roll(1, 0), tuple(level.roll(1, 0) for level in features.levels)
        )
        blind = model.adapted(old, None)
        seen, mistaken = seeing.adapted(old, features), seeing.adapted(old, other)
    assert torch.isfinite(blind.segmentation).all()  # type: ignore[arg-type]
    assert not torch.equal(seen.segmentation, mistaken.segmentation)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no classes, points or depth to adapt to"):
        AdapterConfig()


def test_the_trivial_adapter_finds_constants_and_the_mix_finds_mixes() -> None:
    random = np.random.default_rng(0)
    found = np.linspace(0, 1, 136).reshape(1, 68, 2)[:, random.permutation(68)]
    found = found + 0.1 * random.standard_normal((60, 68, 2))
    moved = constant_offsets(found, found + 0.05, IBUG_68)
    np.testing.assert_allclose(moved.mix, np.eye(68))
    true_mix = np.eye(68)
    true_mix[5] = 0.5 * (true_mix[6] + true_mix[7])
    truth = true_mix @ found
    fitted = linear_mix(found[:50], truth[:50], IBUG_68)
    np.testing.assert_allclose(fitted.mix.sum(1), 1, atol=1e-9)
    error = np.abs(fitted.apply(found[50:]) - truth[50:])[:, 5].mean()
    trivial = constant_offsets(found[:50], truth[:50], IBUG_68)
    assert error < 0.2 * np.abs(trivial.apply(found[50:]) - truth[50:])[:, 5].mean()
    few = linear_mix(found[:4], truth[:4], IBUG_68)
    np.testing.assert_array_equal(few.mix, np.eye(68))
    assert best_relabelling(np.array([[1, 5], [4, 2]])).tolist() == [1, 0]


def test_levels_of_the_encoder_count_alike_whatever_their_scale() -> None:
    torch.manual_seed(0)
    decoder = LevelsDecoder((8, 16), 8)
    fine, coarse = torch.randn(2, 8, 4, 4), torch.randn(2, 16, 2, 2)
    torch.testing.assert_close(
        decoder((fine, coarse)), decoder((30.0 * fine + 5.0, coarse)), rtol=1e-3, atol=1e-4
    )
