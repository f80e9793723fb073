"""The loop, its checkpoints and stage I as a whole, on models that fit in a moment."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from trainer.augment import AugmentConfig
from trainer.baseline import mean_shape
from trainer.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from trainer.devices import pick_device
from trainer.evaluate import evaluate
from trainer.loop import LoopConfig, StepReport, Training, learning_rate
from trainer.losses import LossConfig, compute_losses
from trainer.metrics import confusion, f1_scores, nme
from trainer.model.backbone import BackboneConfig
from trainer.model.network import FaceModel, ModelConfig
from trainer.order import OrderConfig
from trainer.recipes import Stage1Recipe, stage1_quick, stage1_synthetic
from trainer.stages import Stage1Options, run_stage1
from trainer.stream import StreamConfig, open_stream
from trainer.targets import targets_of

TINY = Stage1Recipe(
    size_px=16,
    model=ModelConfig(BackboneConfig(stem_stride=2, channels=(8, 16), blocks=(1, 1), features=16)),
    stream=StreamConfig(batch_size=8, order=OrderConfig(seed=1), threads=1),
    augment=AugmentConfig(size_px=16),
    loop=LoopConfig(steps=8, warmup_steps=2),
    checkpoint_steps=5,
)


@dataclass
class Points:
    x: Tensor
    y: Tensor
    weight: Tensor


def line_loss(model: nn.Module, batch: Points, total: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    each = (model(batch.x) - batch.y).square().mean(1)
    loss = (each * batch.weight).sum() / total
    return loss, {"square": loss}


def line_batches(sizes: list[int]) -> Iterator[Points]:
    random = torch.Generator().manual_seed(0)
    x = torch.randn(sum(sizes), 3, generator=random)
    y = x @ torch.randn(3, 2, generator=random)
    start = 0
    for size in sizes:
        rows = slice(start, start + size)
        yield Points(x[rows], y[rows], torch.ones(size))
        start += size


def fitted(sizes: list[int], accumulate: int) -> nn.Module:
    torch.manual_seed(0)
    config = LoopConfig(
        steps=len(sizes) // accumulate, accumulate=accumulate, channels_last=False, warmup_steps=1
    )
    training = Training(nn.Linear(3, 2), line_loss, config)
    training.run(line_batches(sizes), lambda _: None)
    return training.model


def test_accumulated_parts_of_any_size_equal_the_whole_batch() -> None:
    whole = fitted([12, 12], 1)
    for sizes, parts in (([4, 4, 4] * 2, 3), ([10, 2] * 2, 2)):
        split = fitted(sizes, parts)
        for one, other in zip(whole.parameters(), split.parameters(), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_the_rate_rises_then_follows_a_cosine_to_its_share() -> None:
    config = LoopConfig(steps=110, warmup_steps=10, learning_rate=1.0, final_share=0.1)
    rates = [learning_rate(config, step) for step in range(111)]
    assert rates[:3] == [0.1, 0.2, pytest.approx(0.3)]
    assert rates[10] == 1.0
    assert rates[60] == pytest.approx(0.55)
    assert rates[110] == pytest.approx(0.1)
    assert sorted(rates[10:], reverse=True) == rates[10:]


def test_the_average_follows_the_model() -> None:
    training = Training(nn.Linear(3, 2), line_loss, LoopConfig(steps=3, channels_last=False))
    before = training.average.weight.clone()  # type: ignore[operator]
    training.run(line_batches([4, 4, 4]), lambda _: None)
    assert not torch.equal(training.average.weight, before)  # type: ignore[arg-type]
    assert not torch.equal(training.average.weight, training.model.weight)  # type: ignore[arg-type]


def test_data_that_ends_too_early_is_an_error() -> None:
    training = Training(nn.Linear(3, 2), line_loss, LoopConfig(steps=3, channels_last=False))
    with pytest.raises(RuntimeError, match="the data ended after 1 of 3 steps"):
        training.run(line_batches([4]), lambda _: None)
    with pytest.raises(ValueError, match="ema_decay is 1: 0 up to below 1"):
        LoopConfig(ema_decay=1)


def test_a_step_is_told_late_except_where_nothing_of_the_next_may_have_begun() -> None:
    training = Training(nn.Linear(3, 2), line_loss, LoopConfig(steps=7, channels_last=False))
    told: list[tuple[int, int]] = []
    training.run(
        line_batches([4] * 7), lambda r: told.append((r.step, training.step)), settle_every=3
    )
    assert told == [(1, 2), (2, 3), (3, 3), (4, 5), (5, 6), (6, 6), (7, 7)]


def test_a_step_told_late_is_told_alike() -> None:
    def reports(settle_every: int) -> list[StepReport]:
        torch.manual_seed(0)
        training = Training(nn.Linear(3, 2), line_loss, LoopConfig(steps=5, channels_last=False))
        found: list[StepReport] = []
        training.run(line_batches([4] * 5), found.append, settle_every=settle_every)
        return [replace(report, step_s=0.0, wait_s=0.0) for report in found]

    assert reports(settle_every=1) == reports(settle_every=4)


class Killed(Exception):  # noqa: N818 - what happened
    """Stands for a kill."""


def test_a_stopped_training_goes_on_to_the_bit(made: Any, tmp_path: Path) -> None:
    options = Stage1Options(recipe=TINY, resume=True)
    url = str(made.folder)
    whole = run_stage1(url, tmp_path / "whole", options)

    def stop(report: StepReport) -> None:
        if report.step == 7:
            raise Killed

    with pytest.raises(Killed):
        run_stage1(url, tmp_path / "stopped", options, stop)
    resumed = run_stage1(url, tmp_path / "stopped", options)
    assert resumed.figures == whole.figures
    contents = [load_checkpoint(result.checkpoint) for result in (whole, resumed)]
    assert contents[0]["stream"] == contents[1]["stream"]
    for part in ("model", "average"):
        for name, value in contents[0]["training"][part].items():
            assert torch.equal(value, contents[1]["training"][part][name]), name
    histories = [
        [
            {k: v for k, v in json.loads(line).items() if not k.endswith("_s")}
            for line in (result.checkpoint.parent / "history.jsonl").read_text().splitlines()
        ]
        for result in (whole, resumed)
    ]
    assert histories[0] == histories[1]
    assert [entry["step"] for entry in histories[0]] == list(range(1, 9))


def test_stage_1_leaves_figures_table_and_checkpoint(made: Any, tmp_path: Path) -> None:
    seen: list[StepReport] = []
    result = run_stage1(str(made.folder), tmp_path, Stage1Options(recipe=TINY), seen.append)
    assert [report.step for report in seen] == list(range(1, 9))
    assert all(np.isfinite(report.loss) and report.num_samples == 8 for report in seen)
    figures = json.loads(result.metrics.read_text())
    assert figures["num_images"] == 7
    assert figures["landmarks"]["nme"] == result.figures.landmarks.nme  # type: ignore[union-attr]
    assert result.table == (tmp_path / "metrics.txt").read_text()
    assert "NME of the mean shape" in result.table
    assert result.num_steps == 8
    options = Stage1Options(recipe=TINY, held_out_split="test")
    with pytest.raises(ValueError, match="split 'test' is not in the dataset"):
        run_stage1(str(made.folder), tmp_path / "other", options)
    kept = result.checkpoint.read_bytes(), (tmp_path / "history.jsonl").read_bytes()
    with pytest.raises(ValueError, match="holds a trained model: --resume goes on from it"):
        run_stage1(str(made.folder), tmp_path, Stage1Options(recipe=TINY))
    assert kept == (result.checkpoint.read_bytes(), (tmp_path / "history.jsonl").read_bytes())


def test_what_is_trained_on_is_not_held_out(made: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the held-out split is train, which is trained on"):
        run_stage1(str(made.folder), tmp_path, Stage1Options(recipe=TINY, held_out_split="train"))


def test_a_report_and_tensorboard_show_curves_and_faces(made: Any, tmp_path: Path) -> None:
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator",
        reason="the extra `tensorboard` is missing",
    )
    options = Stage1Options(recipe=TINY, tensorboard=True)
    result = run_stage1(str(made.folder), tmp_path, options)
    page = result.report.read_text()
    assert page.count("<polyline") == 2 + len(TINY.loss.weights)
    assert page.count("data:image/jpeg;base64,") == 4
    assert "NME, inter-ocular" in page
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert {"loss", "learning_rate", "terms/heatmaps", "time/wait_s"} <= set(
        events.Tags()["scalars"]
    )
    assert [event.step for event in events.Scalars("loss")] == list(range(1, 9))
    assert [event.step for event in events.Images("faces/0")] == [5, 8]


def test_eight_samples_are_learnt_by_heart(face_samples: Any) -> None:
    batch = face_samples
    config = ModelConfig(
        BackboneConfig(stem_stride=1, channels=(16, 24, 32), blocks=(1, 1, 1), features=16),
        depth=False,
    )
    torch.manual_seed(0)
    weights = LossConfig({"segmentation": 4.0, "landmarks": 20.0, "heatmaps": 1.0})
    targets = targets_of(batch, 1)

    def loss(model: nn.Module, part: Any, total: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        found = compute_losses(model(part.image), targets, weights, total)
        return found.total, found.terms

    training = Training(
        FaceModel(config), loss, LoopConfig(steps=180, learning_rate=1e-2, warmup_steps=10)
    )
    training.run(iter([batch] * 180), lambda _: None)
    with torch.inference_mode():
        out = training.model.eval()(batch.image)
    points = out.landmarks.xy.numpy() * batch.image.shape[-1]
    assert nme(points, batch.landmarks_px.numpy()).mean() < 0.01
    counts = confusion(out.segmentation.argmax(1).numpy(), batch.segmentation.numpy(), 20)
    f1 = f1_scores(counts)
    iou = f1[np.isfinite(f1)] / (2 - f1[np.isfinite(f1)])
    assert iou.mean() > 0.97


def test_evaluation_at_native_size_is_right_for_a_perfect_model(made: Any) -> None:
    stream = open_stream(str(made.folder), StreamConfig(split="val", batch_size=4))

    class Perfect(FaceModel):
        """Answers with the truth of the batch that it is shown."""

        def forward(self, image: Tensor) -> Any:
            out = super().forward(image)
            points = (batch.landmarks_px / 16).clone()
            assert out.landmarks is not None
            classes = torch.nn.functional.one_hot(batch.segmentation.long(), 20).float()
            depth = (
                batch.depth_m.clamp_min(1e-4) * 4.26 * 16 / batch.focal_px[:, None, None]
            ).log()
            marks = replace(out.landmarks, xy=points)
            logits = classes.permute(0, 3, 1, 2)
            return replace(out, landmarks=marks, segmentation=logits, log_depth=depth)

    model = Perfect(TINY.model)
    for batch in stream:
        shape = mean_shape(stream.metas())
        figures = evaluate(model, [batch], 16, shape)
        assert figures.landmarks is not None
        assert figures.landmarks.nme < 1e-6
        assert figures.segmentation is not None
        assert figures.segmentation.mean_f1 == 1.0
        assert figures.depth is not None
        assert figures.depth.metric.abs_rel < 1e-5


def test_a_checkpoint_runs_nothing_and_tells_what_is_wrong(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return Path.mkdir, (tmp_path / "run",)  # type: ignore[return-value]

    hostile = tmp_path / "hostile.pt"
    hostile.write_bytes(pickle.dumps({"format": Evil()}))
    torch.save({"format": Evil()}, tmp_path / "zip.pt")
    for path in (hostile, tmp_path / "zip.pt"):
        with pytest.raises(CheckpointError, match="is no checkpoint"):
            load_checkpoint(path)
    assert not (tmp_path / "run").exists()
    torch.save({"weights": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match="no checkpoint of this trainer"):
        load_checkpoint(tmp_path / "other.pt")
    save_checkpoint(tmp_path / "ours.pt", {"stage": 1, "version": 7})
    with pytest.raises(CheckpointError, match="has version 7; this release reads 1"):
        load_checkpoint(tmp_path / "ours.pt")
    with pytest.raises(FileNotFoundError):
        load_checkpoint(tmp_path / "none.pt")


def test_recipes_are_whole_and_checked() -> None:
    for recipe in (stage1_quick(), stage1_synthetic()):
        assert recipe.size_px % recipe.model.backbone.stride == 0
    with pytest.raises(ValueError, match="size_px 32 differs from augment's 16"):
        replace(TINY, size_px=32)
    assert pick_device("cpu").type == "cpu"
    assert pick_device("auto").type in {"cpu", "cuda"}


def test_bf16_and_workers_train_as_well(made: Any, tmp_path: Path) -> None:
    recipe = replace(
        TINY,
        stream=replace(TINY.stream, workers=1),
        loop=replace(TINY.loop, bf16=True, steps=3),
    )
    result = run_stage1(str(made.folder), tmp_path, Stage1Options(recipe=recipe))
    assert result.num_steps == 3
    assert result.figures.landmarks is not None


def test_a_dataset_that_is_not_there_is_told_and_leaves_no_folder(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no dataset, which exists once its job has"):
        run_stage1(str(tmp_path / "empty"), tmp_path / "out", Stage1Options())
    assert not (tmp_path / "out").exists()


def test_a_split_to_fit_that_is_not_there_is_told_and_leaves_no_folder(
    made: Any, tmp_path: Path
) -> None:
    options = Stage1Options(recipe=TINY, train_split="test", held_out_split="val")
    with pytest.raises(ValueError, match="split 'test' is not in the dataset"):
        run_stage1(str(made.folder), tmp_path / "out", options)
    assert not (tmp_path / "out").exists()
