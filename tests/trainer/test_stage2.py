"""Stage II as a whole on small sets in real forms: fit, resume, measure, export, commands."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from synthforge.cli import app
from tests.trainer import real_forms
from tests.trainer.small_models import tiny_checkpoint, tiny_model
from trainer.augment import Augment
from trainer.checkpoint import CheckpointError, load_checkpoint
from trainer.datasets.frames import Framing, train_framing
from trainer.datasets.lapa import open_lapa
from trainer.datasets.points import LAPA_106
from trainer.datasets.real_set import DatasetError
from trainer.datasets.w300 import open_300w
from trainer.evaluation.run import evaluate_sets, task_of
from trainer.export import export_model
from trainer.loop import LoopConfig, StepReport
from trainer.model.adapters import AdaptedModel
from trainer.model.network import FaceModel
from trainer.real_batches import LoadConfig, RealBatches
from trainer.recipes import Stage2Recipe, stage2_quick, stage2_real
from trainer.saved import load_model
from trainer.stage2 import Stage2Options, chosen_keys, run_stage2

QUICK: Stage2Recipe = replace(
    stage2_quick(),
    load=LoadConfig(batch_size=3, threads=1),
    loop=LoopConfig(steps=4, warmup_steps=1),
    adapter_width=8,
    checkpoint_steps=2,
)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return tiny_checkpoint(tmp_path / "stage1.pt")


class Killed(Exception):  # noqa: N818 - what happened
    """Stands for a kill."""


def test_a_stopped_fit_goes_on_to_the_bit(checkpoint: Path, tmp_path: Path) -> None:
    real = open_lapa(real_forms.write_lapa(tmp_path / "lapa"))
    options = Stage2Options(recipe=QUICK, resume=True)

    def stop(report: StepReport) -> None:
        if report.step == 3:
            raise Killed

    whole = run_stage2(checkpoint, real, tmp_path / "whole", options)
    with pytest.raises(Killed):
        run_stage2(checkpoint, real, tmp_path / "cut", options, stop)
    resumed = run_stage2(checkpoint, real, tmp_path / "cut", options)
    one, other = (load_model(result.checkpoint) for result in (whole, resumed))
    for (name, value), again in zip(
        one.model.state_dict().items(), other.model.state_dict().values(), strict=True
    ):
        assert torch.equal(value, again), name
    assert one.trained_on == "lapa"
    assert one.points is real.points
    assert one.classes is not None
    assert one.classes.name == "lapa11"
    assert isinstance(one.model, AdaptedModel)
    kept = load_checkpoint(whole.checkpoint)["training"]["average"]
    for name, value in tiny_model().state_dict().items():
        assert torch.equal(kept[f"base.{name}"], value), name
    history = (tmp_path / "cut/history.jsonl").read_text()
    steps = [json.loads(row)["step"] for row in history.splitlines()]
    assert steps == [1, 2, 3, 4]


@pytest.mark.parametrize("method", ["finetune", "scratch"])
def test_a_whole_model_is_fitted_under_new_heads(
    checkpoint: Path, tmp_path: Path, method: Any
) -> None:
    real = open_lapa(real_forms.write_lapa(tmp_path / "lapa"))
    result = run_stage2(
        checkpoint, real, tmp_path / "out", Stage2Options(recipe=QUICK, method=method, limit=2)
    )
    saved = load_model(result.checkpoint)
    assert isinstance(saved.model, FaceModel)
    assert saved.model.config.num_points == 106
    assert saved.model.config.num_classes == 11
    assert result.num_pictures == 2
    assert "lapa train, 2 pictures, the whole picture" in result.protocol


def test_a_set_with_points_alone_keeps_our_classes(checkpoint: Path, tmp_path: Path) -> None:
    real = open_300w(real_forms.write_300w(tmp_path / "300w"))
    result = run_stage2(checkpoint, real, tmp_path / "out", Stage2Options(recipe=QUICK))
    saved = load_model(result.checkpoint)
    assert saved.classes is not None
    assert saved.classes.name == "synthforge"
    assert "in training alone" in result.protocol
    with pytest.raises(DatasetError, match=r"stage2\.pt is of stage 2"):
        run_stage2(result.checkpoint, real, tmp_path / "again", Stage2Options(recipe=QUICK))
    (tmp_path / "junk.pt").write_bytes(b"junk")
    with pytest.raises(CheckpointError, match=r"junk\.pt is no checkpoint"):
        load_model(tmp_path / "junk.pt")
    with pytest.raises(IsADirectoryError, match=r"300w"):
        load_model(tmp_path / "300w")


@pytest.mark.parametrize(
    "other", [Stage2Options(replace(QUICK, adapt_rank=2)), Stage2Options(QUICK, "finetune")]
)
def test_a_fit_goes_on_as_what_it_began(
    checkpoint: Path, tmp_path: Path, other: Stage2Options
) -> None:
    real = open_300w(real_forms.write_300w(tmp_path / "300w"))
    run_stage2(checkpoint, real, tmp_path / "out", Stage2Options(QUICK))
    with pytest.raises(CheckpointError, match=r"^\S+stage2\.pt holds another model .* anew$"):
        run_stage2(checkpoint, real, tmp_path / "out", replace(other, resume=True))


def test_batches_depend_on_seed_and_step_alone(tmp_path: Path) -> None:
    real = open_lapa(real_forms.write_lapa(tmp_path, 5))
    framing = train_framing(real)
    augment = Augment(replace(QUICK.augment, size_px=16))
    keys = real.keys("train")
    one = RealBatches(real, keys, framing, augment, LoadConfig(3, threads=1)).from_step(0)
    other = RealBatches(real, keys, framing, augment, LoadConfig(3, threads=3, keep_bytes=0))
    first = [next(one) for _ in range(5)]
    late = next(other.from_step(4))
    assert torch.equal(first[4].image, late.image)
    assert torch.equal(first[4].landmarks_px, late.landmarks_px)  # type: ignore[arg-type]
    seen = [key for batch in first for key in batch.keys]
    assert sorted(seen[:5]) == sorted(keys)
    assert sorted(seen[5:10]) == sorted(keys)
    assert set(chosen_keys(real, "train", 2, 0)) < set(chosen_keys(real, "train", 4, 0))


def test_a_flipped_sample_has_its_own_twins(tmp_path: Path) -> None:
    real = open_lapa(real_forms.write_lapa(tmp_path))
    still = replace(
        QUICK.augment,
        **dict.fromkeys(("shift", "rotation_deg", "scale", "colour", "gamma", "grey"), 0.0),
    )
    keys = real.keys("train")[:1]
    batches = [
        next(
            RealBatches(
                real,
                keys,
                train_framing(real),
                Augment(replace(still, size_px=32, flip=flip)),
                LoadConfig(1, threads=1),
            ).from_step(0)
        )
        for flip in (0.0, 1.0)
    ]
    plain, flipped = batches
    assert plain.landmarks_px is not None
    mirrored = plain.landmarks_px[:, list(LAPA_106.mirror)] * torch.tensor([-1.0, 1.0])
    torch.testing.assert_close(flipped.landmarks_px, mirrored + torch.tensor([32.0, 0.0]))
    # The label is its own mirror image: eyes have changed sides and their names.
    assert torch.equal(flipped.segmentation, plain.segmentation)  # type: ignore[arg-type]


def test_evaluation_prints_what_it_measured_and_draws_the_worst(
    checkpoint: Path, tmp_path: Path
) -> None:
    w300 = open_300w(real_forms.write_300w(tmp_path / "300w"))
    boxes = tmp_path / "boxes.csv"
    boxes.write_text("name,x0,y0,x1,y1\nibug/i0.jpg,4,4,28,28\nlfpw/testset/c0.jpg,4,4,28,28\n")
    lapa = open_lapa(real_forms.write_lapa(tmp_path / "lapa"))
    saved = load_model(checkpoint)
    seen: list[tuple[int, int]] = []
    evaluated = evaluate_sets(
        saved,
        [task_of(w300, boxes), task_of(lapa)],
        tmp_path / "out",
        lambda done, total: seen.append((done, total)),
    )
    assert seen == [(2, 4), (4, 4)]
    assert [s.subset for s in evaluated.sets[0].subsets] == ["common", "challenging", "full"]
    full = evaluated.sets[0].subsets[2].points
    assert full is not None
    halves = [each.points.nme for each in evaluated.sets[0].subsets[:2]]  # type: ignore[union-attr]
    assert full.nme == pytest.approx(np.mean(halves))
    assert full.interval[0] <= full.nme <= full.interval[1]
    for text in ("crop by the boxes of boxes.csv", "NME challenging", "FR above 10 % full"):
        assert text in evaluated.text
    assert "published: STAR: NME common 2.52, NME challenging 4.32" in evaluated.text
    assert "classes renamed by their names, synthforge to lapa11" in evaluated.text
    assert "NME over the 68 points of lapa106" in evaluated.text
    assert "F1 mean of 10" in evaluated.text
    assert "| FaRL-B |" in evaluated.markdown
    document = json.loads((tmp_path / "out/evaluation.json").read_text())
    assert [each["name"] for each in document["sets"]] == ["300w", "lapa"]
    assert document["published"]["300w"][0]["values"]["NME full"] == 6.44
    drawn = sorted((tmp_path / "out/worst/300w").glob("*.jpg"))
    assert len(drawn) == 2
    assert cv2.imread(str(drawn[0])).shape[1] == 2 * 320


def test_the_labels_own_answer_scores_perfectly(tmp_path: Path, checkpoint: Path) -> None:
    class Perfect(FaceModel):
        """Answers with the truth of the picture, found by its pixels."""

        def forward(self, image: torch.Tensor) -> Any:
            out = super().forward(image)
            assert out.landmarks is not None
            row = int(np.argmin([(image[0] != other).sum() for other in known]))
            marks = replace(out.landmarks, xy=points[row][None])
            return replace(out, landmarks=marks, segmentation=None)

    real = open_300w(real_forms.write_300w(tmp_path))
    framing = Framing("whole", "whole")
    samples = [real.read(key).sample for key in real.keys("full")]
    known = [torch.from_numpy(s.image).permute(2, 0, 1) for s in samples]
    points = [torch.from_numpy(s.landmarks_px / 32) for s in samples]  # type: ignore[operator]
    saved = load_model(checkpoint)
    model = Perfect(saved.model.config).eval()  # type: ignore[arg-type]
    from trainer.evaluation.records import measure  # noqa: PLC0415

    saved = replace(saved, model=model, size_px=32)
    records = measure(saved, real, real.keys("full"), framing, batch_size=1)
    assert max(record.nme for record in records) < 1e-6


def test_a_crop_s_answer_is_brought_back_to_the_picture(checkpoint: Path) -> None:
    from trainer.predicting import predict_pictures  # noqa: PLC0415

    model = load_model(checkpoint).model
    picture = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    framing = Framing("boxes", "", boxes={"a": (30.0, 15.0, 40.0, 25.0)})
    from trainer.decoding import Sample  # noqa: PLC0415

    warp = framing.warp(Sample("a", picture), 16)
    found = predict_pictures(model, [picture], [None], 16, warps=[warp])[0]
    assert found.segmentation is not None
    assert found.depth_m is not None
    assert found.segmentation.shape == (40, 60)
    rows, columns = np.nonzero(found.depth_m)
    # 1.7 boxes wide, centred on x = 35: that is all that the model saw.
    assert (columns.min(), columns.max()) == (27, 42) or columns.min() in {26, 27}
    assert rows.max() - rows.min() == pytest.approx(16, abs=1)
    assert found.landmarks_px is not None
    inside = (found.landmarks_px[:, 0] > 20) & (found.landmarks_px[:, 0] < 50)
    assert inside.all()


def test_an_exported_model_answers_alike_everywhere(checkpoint: Path, tmp_path: Path) -> None:
    real = open_lapa(real_forms.write_lapa(tmp_path / "lapa"))
    fitted = run_stage2(checkpoint, real, tmp_path / "fit", Stage2Options(recipe=QUICK))
    exported = export_model(fitted.checkpoint, tmp_path / "out")
    assert {path.name for path in exported.files} == {
        "model.safetensors",
        "config.json",
        "model.onnx",
    }
    assert set(exported.parity) == {"landmarks_px", "spread_px", "segmentation", "log_depth"}
    assert max(exported.parity.values()) < 1e-3
    weights = load_file(tmp_path / "out/model.safetensors")
    modes = {path.name: path.stat().st_mode for path in exported.files}
    assert len(set(modes.values())) == 1, "who may read one may read all"
    state = load_model(fitted.checkpoint).model.state_dict()
    assert all(torch.equal(weights[name], tensor) for name, tensor in state.items())
    config = json.loads((tmp_path / "out/config.json").read_text())
    assert config["points"] == "lapa106"
    assert config["adapter"]["inside_rank"] == 0, "the backbone's changes are in its weights"
    assert not [name for name in weights if name.startswith("inside.")]
    assert config["classes"][10] == "hair"
    assert config["outputs"] == ["landmarks_px", "spread_px", "segmentation", "log_depth"]


def test_commands_fit_measure_and_draw(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = CliRunner()
    monkeypatch.chdir(tmp_path)
    folder = real_forms.write_lapa(tmp_path / "lapa")

    def run(*words: object) -> Any:
        return runner.invoke(app, [str(word) for word in words], catch_exceptions=False)

    out = tmp_path / "fit"
    fit = ("train", "stage2", "--checkpoint", checkpoint, "--on", f"lapa={folder}", "--out", out)
    done = run(*fit, "--steps", 1)
    assert done.exit_code == 0
    assert "fitted to lapa train, 3 pictures" in done.output
    measured = run("evaluate", out / "stage2.pt", "--on", f"lapa={folder}", "--device", "cpu")
    assert "F1 mean of 10" in measured.output
    picture = folder / "test" / "images" / "p0.jpg"
    drawn = run("predict", picture, "--checkpoint", out / "stage2.pt", "--json")
    document = json.loads(drawn.stdout)
    assert document["points"] == "lapa106"
    assert len(document["landmarks_px"]) == 106
    shown = cv2.imread(document["picture"])
    assert shown.shape == (320, 4 * 320, 3)
    assert (tmp_path / "p0.predicted.jpg").exists(), "the set's own folder stays as it was"
    for words, message in (
        (("predict", picture, "--checkpoint", checkpoint, "--box", "1,2"), "X0,Y0,X1,Y1"),
        (("evaluate", checkpoint, "--on", f"lapa={folder}", "--boxes", "300w=x"), "no set of"),
    ):
        failed = runner.invoke(app, [str(word) for word in words])
        assert failed.exit_code != 0
        assert message in str(failed.exception)


def test_recipes_of_stage_2_are_whole() -> None:
    assert stage2_quick(3).load.seed == 3
    assert stage2_real().loop.bf16
    with pytest.raises(ValueError, match="method 'more': one of adapt, finetune, scratch"):
        Stage2Options(method="more")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="batch_size is 0"):
        LoadConfig(0)
