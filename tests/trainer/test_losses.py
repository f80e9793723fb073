"""Each loss term teaches its own head, counts what it should, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from trainer.batches import Batch
from trainer.losses import LossConfig, compute_losses
from trainer.model.backbone import BackboneConfig
from trainer.model.heads import DenseHead, log_shares_of
from trainer.model.network import CANONICAL_FOCAL, FaceModel, ModelConfig
from trainer.targets import Targets, targets_of

SIDE, STRIDE = 32, 2
TERMS = sorted([*LossConfig().weights, "normals", "segmentation_overlap"])
CONFIG = ModelConfig(
    BackboneConfig(stem_stride=STRIDE, channels=(8, 16), blocks=(1, 1), features=16), normals=True
)


def made_batch(num: int = 4) -> Batch:
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (num, 3, SIDE, SIDE), dtype=np.uint8)
    segmentation = random.integers(0, 20, (num, SIDE, SIDE), dtype=np.uint8)
    segmentation[:, :4] = 255
    depth = random.integers(9000, 12000, (num, SIDE, SIDE)).astype(np.uint16)
    depth[:, :, :4] = 0
    return Batch(
        keys=tuple(map(str, range(num))),
        weight=torch.ones(num),
        image=torch.from_numpy(image),
        segmentation=torch.from_numpy(segmentation),
        depth=torch.from_numpy(depth),
        normal=torch.from_numpy(random.integers(1, 256, (num, SIDE, SIDE, 3), dtype=np.uint8)),
        landmarks_px=torch.from_numpy(random.uniform(4, 28, (num, 68, 2)).astype(np.float32)),
        focal_px=torch.full((num,), CANONICAL_FOCAL * SIDE),
    )


def losses_of(model: FaceModel, batch: Batch, weights: dict[str, float]) -> dict[str, float]:
    targets = targets_of(batch, STRIDE)
    found = compute_losses(model(batch.image), targets, LossConfig(weights), batch.weight.sum())
    return {name: float(value.detach()) for name, value in found.terms.items()}


@pytest.mark.parametrize("term", TERMS)
def test_each_term_falls_when_only_it_is_trained(term: str) -> None:
    torch.manual_seed(0)
    model, batch = FaceModel(CONFIG), made_batch()
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    targets, weights = targets_of(batch, STRIDE), LossConfig({term: 1.0})
    values = []
    for _ in range(25):
        loss = compute_losses(model(batch.image), targets, weights, batch.weight.sum()).total
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        values.append(float(loss.detach()))
    assert values[-1] < values[0] - 0.02 * abs(values[0])


@pytest.mark.parametrize("term", TERMS)
def test_a_term_s_gradient_reaches_its_head_and_the_backbone(term: str) -> None:
    torch.manual_seed(0)
    model, batch = FaceModel(CONFIG), made_batch()
    for head in (model.segmentation, model.depth, model.normals):
        assert head is not None
        torch.nn.init.normal_(head.out.weight, std=0.1)
    assert model.landmarks is not None
    torch.nn.init.normal_(model.landmarks.coarse.weight, std=0.1)
    found = compute_losses(
        model(batch.image), targets_of(batch, STRIDE), LossConfig({term: 1.0}), torch.tensor(4.0)
    )
    found.total.backward()  # type: ignore[no-untyped-call]
    owner = {
        "depth_metric": "depth",
        "depth_relative": "depth",
        "segmentation_overlap": "segmentation",
        "heatmaps": "landmarks.heatmaps",
        "coarse_landmarks": "landmarks.coarse",
        "landmarks": "landmarks.heatmaps",
        "doubt": "landmarks.doubt",
    }.get(term, term)
    reached = {n for n, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert any(name.startswith("backbone") for name in reached)
    heads = {name for name in reached if not name.startswith("backbone")}
    assert heads
    assert all(name.startswith(owner) for name in heads)


def test_parts_of_a_batch_sum_to_the_whole() -> None:
    torch.manual_seed(0)
    model, batch = FaceModel(CONFIG).eval(), made_batch(3)
    total = torch.tensor(3.0)
    whole = compute_losses(model(batch.image), targets_of(batch, STRIDE), LossConfig(), total)
    parts = []
    for i, weight in ((0, 1.0), (1, 1.0), (2, 1.0), (0, 0.0)):
        one = Batch(
            keys=("0",),
            weight=torch.tensor([weight]),
            **{
                name: getattr(batch, name)[[i]]
                for name in ("image", "segmentation", "depth", "landmarks_px", "focal_px")
            },
        )
        found = compute_losses(model(one.image), targets_of(one, STRIDE), LossConfig(), total)
        parts.append(float(found.total.detach()))
    assert sum(parts) == pytest.approx(float(whole.total.detach()), rel=1e-5)
    assert parts[3] == 0.0


def test_what_is_ignored_or_absent_changes_no_loss() -> None:
    torch.manual_seed(0)
    model, batch = FaceModel(CONFIG).eval(), made_batch()
    weights = dict.fromkeys(("segmentation", "segmentation_overlap", "depth_metric"), 1.0)
    before = losses_of(model, batch, weights)
    with torch.no_grad():
        out = model(batch.image)
        assert out.segmentation is not None
        assert out.log_depth is not None
        out.segmentation[:, :, :2] += 100 * torch.randn(4, 20, 2, SIDE // STRIDE)
        out.log_depth[:, :, :2] += 5
    found = compute_losses(
        out,
        targets_of(batch, STRIDE),
        LossConfig(weights),
        torch.tensor(4.0),
    )
    assert {name: float(value) for name, value in found.terms.items()} == pytest.approx(before)


def test_overlap_is_lost_by_classes_not_by_pixels() -> None:
    classes = torch.zeros(1, 8, 8, dtype=torch.int64)
    classes[0, 3, 4] = 4  # one pixel of an eye
    targets = replace(targets_of(made_batch(1), STRIDE), segmentation=classes)
    blind = torch.full((1, 20, 8, 8), -30.0)
    blind[:, 0] = 30.0
    out = replace(FaceModel(CONFIG).eval()(made_batch(1).image), segmentation=blind)
    found = compute_losses(out, targets, LossConfig({"segmentation_overlap": 1}), torch.tensor(1.0))
    background = 2 * 63 / (63 + 64)
    assert float(found.total) == pytest.approx(1.0 - background / 2, abs=1e-6)


def test_overlap_is_that_of_one_hot_maps_without_what_is_ignored() -> None:
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 20, 8, 8, generator=random)
    classes = torch.randint(0, 20, (2, 8, 8), generator=random)
    classes[:, :3] = 255
    model, batch = FaceModel(CONFIG).eval(), made_batch(2)
    targets = replace(targets_of(batch, STRIDE), segmentation=classes)
    out = replace(model(batch.image), segmentation=logits)
    found = compute_losses(out, targets, LossConfig({"segmentation_overlap": 1}), torch.tensor(2.0))
    lost = []
    for shares, truth in zip(logits.softmax(1)[:, :, 3:], classes[:, 3:], strict=True):
        dice = [
            2 * shares[k][truth == k].sum() / (shares[k].sum() + (truth == k).sum())
            for k in truth.unique()
        ]
        lost.append(1 - torch.stack(dice).mean())
    assert float(found.total) == pytest.approx(float(torch.stack(lost).mean()), rel=1e-5)


@pytest.mark.parametrize("num_pictures", [0, 2])
def test_maps_of_a_head_lie_contiguous_whatever_the_features_do(num_pictures: int) -> None:
    head = DenseHead(8, 20)
    for memory_format in (torch.contiguous_format, torch.channels_last):
        features = torch.randn(num_pictures, 8, 6, 10).to(memory_format=memory_format)
        found = head(features)
        assert (found.shape, found.is_contiguous()) == ((num_pictures, 20, 6, 10), True)


def test_relative_depth_knows_neither_scale_nor_shift() -> None:
    model, batch = FaceModel(CONFIG).eval(), made_batch()
    targets = targets_of(batch, STRIDE)
    out = model(batch.image)
    assert targets.log_depth is not None
    perfect = 3.0 * targets.log_depth.nan_to_num() + 7.0
    object.__setattr__(out, "log_depth", perfect)
    found = compute_losses(
        out, targets, LossConfig({"depth_relative": 1, "depth_metric": 1}), torch.tensor(4.0)
    )
    assert float(found.terms["depth_relative"]) < 1e-4
    assert float(found.terms["depth_metric"]) > 1


def test_a_perfect_heatmap_has_no_loss_and_the_right_point() -> None:
    model, batch = FaceModel(CONFIG).eval(), made_batch()
    targets = targets_of(batch, STRIDE)
    assert targets.landmarks is not None
    out = model(batch.image)
    assert out.landmarks is not None
    cells = (torch.arange(16) + 0.5)[None, None]
    x, y = targets.landmarks[..., 0, None] * 16, targets.landmarks[..., 1, None] * 16
    logits = -0.5 * ((cells - y).square()[..., :, None] + (cells - x).square()[..., None, :])
    object.__setattr__(out.landmarks, "log_shares", log_shares_of(logits))
    found = compute_losses(out, targets, LossConfig({"heatmaps": 1.0}), torch.tensor(4.0))
    assert abs(float(found.terms["heatmaps"])) < 1e-4


def test_points_outside_the_picture_do_not_count() -> None:
    batch = made_batch(1)
    assert batch.landmarks_px is not None
    batch.landmarks_px[0, :30] = -5.0
    targets = targets_of(batch, STRIDE)
    assert targets.landmark_weight is not None
    assert targets.landmark_weight[0].tolist() == [0.0] * 30 + [1.0] * 38


def test_targets_hold_the_canonical_depth_and_no_half_pixel() -> None:
    columns = torch.arange(SIDE).expand(1, SIDE, SIDE)
    batch = made_batch(1)
    moved = Batch(
        keys=batch.keys,
        weight=batch.weight,
        image=batch.image,
        depth=(10_000 + columns).to(torch.uint16),
        focal_px=torch.tensor([2 * CANONICAL_FOCAL * SIDE]),
    )
    targets = targets_of(moved, STRIDE)
    assert isinstance(targets, Targets)
    assert targets.log_depth is not None
    canonical = targets.log_depth.double().exp() * 2 * 1e4 - 10_000
    centres = torch.arange(SIDE // STRIDE) * STRIDE + STRIDE / 2 - 0.5
    assert abs(float((canonical[0, 0] - centres).mean())) < 0.02
    assert float((canonical[0, 0] - centres).abs().max()) < 0.52


def test_terms_without_head_or_label_are_refused_by_name() -> None:
    batch = made_batch(1)
    bare = FaceModel(ModelConfig(CONFIG.backbone, segmentation=False))
    with pytest.raises(ValueError, match="'segmentation': the model has no such head"):
        losses_of(bare, batch, {"segmentation": 1.0})
    unlabelled = Batch(keys=batch.keys, weight=batch.weight, image=batch.image)
    with pytest.raises(ValueError, match="'depth_metric': the data has no such label"):
        losses_of(FaceModel(CONFIG), unlabelled, {"depth_metric": 1.0})
    with pytest.raises(ValueError, match="loss term 'l1': one of segmentation"):
        LossConfig({"l1": 1.0})


def test_depth_beyond_the_signed_range_is_read_as_it_is() -> None:
    batch = made_batch(1)
    depth = torch.full((*batch.image.shape[:1], SIDE, SIDE), 40_000).to(torch.uint16)
    found = targets_of(replace(batch, depth=depth, focal_px=None), STRIDE).log_depth
    torch.testing.assert_close(found.exp(), torch.full_like(found, 4.0))
