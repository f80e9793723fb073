"""The models that a recipe may choose: published, pretrained; and what they are trained by."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer.augment import AugmentConfig
from trainer.batches import Batch
from trainer.checkpoint import load_checkpoint
from trainer.consistency import (
    FEATURES,
    OUTPUTS,
    ConsistencyConfig,
    Moved,
    draw_moves,
    features_apart,
    move_picture,
    move_predictions,
    outputs_apart,
)
from trainer.consistency import TERMS as CONSISTENCY_TERMS
from trainer.loop import LoopConfig, StepReport, Training
from trainer.losses import LossConfig, compute_losses
from trainer.model.backbone import BackboneConfig
from trainer.model.heads import LandmarkHead, LandmarkPrediction
from trainer.model.network import FaceModel, ModelConfig, Predictions
from trainer.model.pretrained import PretrainedBackbone, load_weights, pretrained_config
from trainer.model.published import UNetConfig
from trainer.order import OrderConfig
from trainer.recipes import (
    Stage1Recipe,
    stage1_published,
    stage1_quick,
    with_backbone,
    with_consistency,
    with_learnt_weights,
)
from trainer.stages import Stage1Options, open_training, run_stage1
from trainer.stream import StreamConfig
from trainer.targets import Targets, targets_of

TINY = ModelConfig(
    BackboneConfig(stem_stride=2, channels=(8, 16), blocks=(1, 1), features=16), normals=True
)


def millions(module: nn.Module | None) -> float:
    assert module is not None
    return sum(parameter.numel() for parameter in module.parameters()) / 1e6


def test_the_published_model_has_the_published_size() -> None:
    with torch.device("meta"):
        model = FaceModel(stage1_published().model)
    assert millions(model.backbone) == pytest.approx(17.27, abs=0.005)
    assert millions(model.segmentation) == pytest.approx(17.30, abs=0.005)
    assert millions(model.depth) == pytest.approx(17.30, abs=0.005)
    assert millions(model.landmarks) == pytest.approx(0.89, rel=0.15)


def test_the_published_model_predicts_at_the_published_sizes() -> None:
    torch.manual_seed(0)
    out = FaceModel(ModelConfig(UNetConfig(), heads="published")).eval()(
        torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    )
    assert out.features.shape == (1, 64, 64, 64)
    assert out.segmentation.shape == (1, 20, 64, 64)
    assert out.log_depth.shape == (1, 64, 64)
    assert out.landmarks.log_shares.shape == (1, 68, 16, 16)
    assert ((out.landmarks.xy > 0) & (out.landmarks.xy < 1)).all()


@pytest.fixture(scope="module")
def small_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny ConvNeXt in a folder, as its library saves one."""
    transformers = pytest.importorskip("transformers", reason="the extra `backbones` is missing")
    folder: Path = tmp_path_factory.mktemp("convnext")
    config = transformers.ConvNextConfig(hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1])
    transformers.ConvNextModel(config).save_pretrained(folder)
    return folder


def test_a_pretrained_backbone_begins_with_its_weights(small_encoder: Path) -> None:
    config = pretrained_config(str(small_encoder), features=16)
    assert (config.stem_stride, config.stride, config.coarse_features) == (4, 32, 32)
    backbone = PretrainedBackbone(config)
    held = torch.nn.Module.state_dict(backbone.encoder)
    name = next(name for name in held if name.endswith("dwconv.weight"))
    before = held[name].clone()
    load_weights(backbone, small_encoder)
    assert not torch.equal(before, backbone.encoder.state_dict()[name])
    again = PretrainedBackbone(config)
    load_weights(again, small_encoder)
    assert torch.equal(again.encoder.state_dict()[name], backbone.encoder.state_dict()[name])
    out = FaceModel(ModelConfig(config)).eval()(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))
    assert out.features.shape == (1, 16, 16, 16)


def test_no_backbone_is_downloaded(small_encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing is downloaded"):
        pretrained_config("facebook/convnext-tiny-224")
    with pytest.raises(ValueError, match=r"the folder holds no config.json"):
        pretrained_config(str(tmp_path))
    (tmp_path / "config.json").write_text((small_encoder / "config.json").read_text())
    with pytest.raises(ValueError, match="backbone weights of"):
        load_weights(PretrainedBackbone(pretrained_config(str(tmp_path))), tmp_path)


def test_a_config_survives_its_file(small_encoder: Path) -> None:
    pretrained = ModelConfig(pretrained_config(str(small_encoder)), learnt_weights=("heatmaps",))
    for config in (ModelConfig(), TINY, stage1_published().model, pretrained):
        assert ModelConfig.from_json(config.to_json()) == config
    old = json.loads(TINY.to_json())
    del old["backbone"]["kind"]
    assert ModelConfig.from_json(json.dumps(old)) == TINY


def recipe_of(model: ModelConfig, loss: LossConfig, size_px: int = 32) -> Stage1Recipe:
    return Stage1Recipe(
        size_px=size_px,
        model=model,
        stream=StreamConfig(batch_size=8, order=OrderConfig(seed=1), threads=1),
        augment=AugmentConfig(size_px=size_px),
        loss=loss,
        loop=LoopConfig(steps=2, warmup_steps=1),
    )


def test_stage_1_runs_on_a_pretrained_backbone(
    made: Any, small_encoder: Path, tmp_path: Path
) -> None:
    recipe = with_backbone(recipe_of(ModelConfig(), LossConfig()), str(small_encoder))
    result = run_stage1(str(made.folder), tmp_path, Stage1Options(recipe=recipe))
    content = load_checkpoint(result.checkpoint)
    assert ModelConfig.from_json(content["model_config"]) == recipe.model
    shares = {group["rate_share"] for group in content["training"]["optimiser"]["param_groups"]}
    assert shares == {0.1, 1.0}


def test_stage_1_runs_with_learnt_weights_and_consistency(made: Any, tmp_path: Path) -> None:
    recipe = recipe_of(replace(TINY, normals=False), LossConfig())
    recipe = with_learnt_weights(with_consistency(recipe))
    result = run_stage1(str(made.folder), tmp_path, Stage1Options(recipe=recipe))
    state = load_checkpoint(result.checkpoint)["training"]["model"]
    assert len(state["log_variances"]) == len(LossConfig().weights) + 2
    assert (state["log_variances"] != 0).all(), "they are learnt"


def test_uncertain_terms_weigh_less() -> None:
    predictions = FaceModel(replace(TINY, learnt_weights=("depth_metric",)))(
        torch.zeros(2, 3, 16, 16, dtype=torch.uint8)
    )
    predictions = replace(predictions, log_variances=torch.tensor([2.0], requires_grad=True))
    targets = Targets(torch.ones(2), None, torch.full((2, 8, 8), 3.0), None, None, None)
    found = compute_losses(
        predictions,
        targets,
        LossConfig({"depth_metric": 1.0}),
        torch.tensor(4.0),
        ("depth_metric",),
    )
    term = found.terms["depth_metric"]
    assert found.total.item() == pytest.approx(term.item() * np.exp(-2.0) + 2.0 * 2 / 4, rel=1e-5)


def smooth_predictions(side: int) -> Predictions:
    """Maps that are linear in x and y: bilinear sampling moves them without error."""
    rows, columns = torch.meshgrid(*[(torch.arange(side) + 0.5) / side] * 2, indexing="ij")
    maps = torch.stack([columns, rows, columns + rows])[None]
    xy = torch.tensor([[[0.4, 0.5], [0.6, 0.3]]])
    marks = LandmarkPrediction(xy, torch.zeros(1, 2), torch.zeros(1, 2, 4, 4), xy)
    return Predictions(maps, maps.clone(), maps[:, 0], marks, None)


def test_a_model_that_moves_with_its_picture_has_no_consistency_loss() -> None:
    found = smooth_predictions(32)
    moves = draw_moves(ConsistencyConfig(), 0, 3, ["a"])
    wanted, is_valid = move_predictions(found, moves)
    assert 0.3 < float(is_valid.mean()) < 1.0, "what comes from beyond does not count"
    assert float(outputs_apart(Moved(wanted, wanted, is_valid))) < 1e-6
    shifted = replace(wanted, features=wanted.features + (1 - is_valid[:, None]) * 9)
    assert float(features_apart(Moved(shifted, wanted, is_valid))) < 1e-6
    elsewhere = replace(wanted, features=wanted.features + 0.1)
    assert float(features_apart(Moved(elsewhere, wanted, is_valid))) > 0.1


def test_pictures_maps_and_points_move_alike() -> None:
    side = 64
    image = torch.zeros(1, 3, side, side, dtype=torch.uint8)
    image[..., 18:22, 38:42] = 255  # a square around (40, 20)
    moves = draw_moves(ConsistencyConfig(rotation_deg=25, shift=0.1), 0, 0, ["k"])
    xy = torch.tensor([[[40 / side, 20 / side]]])
    marks = LandmarkPrediction(xy, torch.zeros(1, 1), torch.zeros(1, 1, 4, 4), xy)
    features = image[:, :1].float()
    found = Predictions(features, None, None, marks, None)
    wanted, _ = move_predictions(found, moves)
    assert wanted.landmarks is not None
    for maps in (move_picture(image, moves)[:, :1].float(), wanted.features):
        light = maps[0, 0].double()
        cells = (torch.arange(side) + 0.5) / side
        x = float((light.sum(0) * cells).sum() / light.sum())
        y = float((light.sum(1) * cells).sum() / light.sum())
        assert wanted.landmarks.xy[0, 0].tolist() == pytest.approx([x, y], abs=0.01)
    assert torch.equal(moves, draw_moves(ConsistencyConfig(25, 0.1), 0, 0, ["k"]))


def test_a_backbone_learns_at_its_own_rate() -> None:
    recipe = recipe_of(TINY, LossConfig())
    recipe = replace(recipe, loop=replace(recipe.loop, backbone_rate_share=0.1))
    groups = open_training(recipe, torch.device("cpu")).optimiser.param_groups
    assert {group["rate_share"] for group in groups} == {0.1, 1.0}
    one = open_training(replace(stage1_quick()), torch.device("cpu")).optimiser.param_groups
    assert {group["rate_share"] for group in one} == {1.0}


def test_consistency_terms_need_moved_pictures(face_samples: Any) -> None:
    model = FaceModel(replace(TINY, normals=False))
    targets = targets_of(face_samples, 2)
    weights = LossConfig({"consistency_outputs": 1.0})
    assert weights.needs_moved
    with pytest.raises(ValueError, match="the batch was not moved"):
        compute_losses(model(face_samples.image), targets, weights, torch.tensor(8.0))


@pytest.mark.parametrize("term", CONSISTENCY_TERMS)
def test_each_consistency_term_falls_when_only_it_is_trained(term: str, face_samples: Any) -> None:
    recipe = recipe_of(replace(TINY, normals=False), LossConfig({term: 1.0}))
    recipe = replace(recipe, loop=LoopConfig(steps=60, learning_rate=3e-3, warmup_steps=2))

    def opened(weights: dict[str, Any]) -> Training[Batch]:
        training = open_training(recipe, torch.device("cpu"))
        training.model.load_state_dict(weights)
        return training

    def first_value(weights: dict[str, Any]) -> float:
        """The term under the moves of step 0."""
        reports: list[StepReport] = []
        opened(weights).run(iter([face_samples]), reports.append, stop_at=1)
        return reports[0].terms[term]

    weights = open_training(recipe, torch.device("cpu")).model.state_dict()
    for values in weights.values():  # heads begin at zero, where all pictures are alike
        if not values.any():
            torch.nn.init.normal_(values, std=0.1)
    trained = opened(weights)
    trained.run(iter([face_samples] * 60), lambda _: None)
    assert first_value(trained.model.state_dict()) < 0.9 * first_value(weights)


def test_heads_see_moved_pictures_only_where_a_term_asks_for_their_answers(
    face_samples: Any,
) -> None:
    def pictures_seen(*terms: str) -> dict[str, int]:
        recipe = recipe_of(replace(TINY, normals=False), LossConfig(dict.fromkeys(terms, 1.0)))
        training = open_training(recipe, torch.device("cpu"))
        counts: dict[str, int] = {}

        def count(name: str) -> None:
            part = training.model.get_submodule(name)
            part.register_forward_pre_hook(lambda _, given: counts.update({name: len(given[0])}))

        count("backbone")
        count("segmentation")
        training.run(iter([face_samples]), lambda _: None, stop_at=1)
        return counts

    assert pictures_seen(FEATURES) == {"backbone": 16, "segmentation": 8}
    assert pictures_seen(FEATURES, OUTPUTS) == {"backbone": 16, "segmentation": 16}


@pytest.mark.parametrize(
    "config", [TINY, ModelConfig(UNetConfig(), heads="published")], ids=["compact", "published"]
)
def test_points_keep_their_precision_where_the_model_computes_in_bf16(config: ModelConfig) -> None:
    torch.manual_seed(0)
    model = FaceModel(config)
    for weights in model.parameters():  # heads begin at one place for all
        weights.data.add_(0.05 * torch.randn_like(weights))
    with torch.autocast("cpu", torch.bfloat16):
        found = model(torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)).landmarks
    for points in (found.xy, found.coarse_xy):
        assert points.dtype == torch.float32
        assert not torch.equal(points, points.bfloat16().float())


@pytest.mark.parametrize(("bf16", "within"), [(False, 1e-6), (True, 3e-3)])
def test_the_landmark_head_is_its_formula(bf16: bool, within: float) -> None:
    torch.manual_seed(0)
    head = LandmarkHead(8, 6, num_points=5)
    nn.init.normal_(head.coarse.weight, std=0.3)  # guesses away from the middle
    features, coarse = torch.randn(2, 8, 6, 10), torch.randn(2, 6, 3, 5)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        found = head(features, coarse)
    xy, log_spread, guess = by_the_formula(head, features.double(), coarse.double())
    assert (guess - 0.5).abs().max() > 0.1, "else the guess would go unseen"
    assert found.xy.dtype == found.log_spread.dtype == torch.float32
    assert torch.allclose(found.log_shares.exp().sum((2, 3)), torch.ones(2, 5), atol=1e-5)
    assert (found.xy - xy).abs().max() < within
    assert (found.coarse_xy - guess).abs().max() < 1e-6, "a guess keeps every bit"
    assert (found.log_spread - log_spread).abs().max() < 10 * within


def by_the_formula(head: LandmarkHead, features: Tensor, coarse: Tensor) -> tuple[Tensor, ...]:
    """Return points, log of spread and guess in double precision, every map made."""
    columns, rows = cell_centres(coarse)
    moments = [coarse, coarse * (columns - 0.5), coarse * (rows - 0.5)]
    flat = torch.cat([part.mean((2, 3)) for part in moments], 1)
    guess = functional.linear(flat, head.coarse.weight.double(), head.coarse.bias.double())
    guess = guess.unflatten(1, (-1, 2))
    columns, rows = cell_centres(features)
    maps = functional.conv2d(features, head.heatmaps.weight.double(), head.heatmaps.bias.double())
    gap = (columns - guess[..., :1, None]) ** 2 + (rows - guess[..., 1:, None]) ** 2
    shares = (maps - gap / (2 * 0.15**2)).flatten(2).softmax(-1).view_as(maps)
    xy = torch.stack([(shares * columns).sum((2, 3)), (shares * rows).sum((2, 3))], -1)
    doubt = functional.conv2d(features, head.doubt.weight.double(), head.doubt.bias.double())
    return xy, (shares * doubt).sum((2, 3)) - 3.0, guess


def cell_centres(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Return the centres of columns (w,) and rows (h, 1), in shares of the side."""
    height, width = maps.shape[-2:]
    return (torch.arange(width) + 0.5) / width, ((torch.arange(height) + 0.5) / height)[:, None]
