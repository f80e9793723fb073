"""Stage II: a model of stage I fitted to a real set's own labels."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from trainer.augment import Augment
from trainer.batches import Batch
from trainer.checkpoint import go_on, refuse_to_replace, save_checkpoint
from trainer.datasets.frames import Framing, train_framing
from trainer.datasets.points import PointScheme
from trainer.datasets.real_set import DatasetError, RealSet
from trainer.devices import pick_device
from trainer.history import HISTORY_NAME, forget_after
from trainer.keyed_random import keyed_permutation
from trainer.loop import StepReport, Terms, Training
from trainer.losses import LossConfig, compute_losses
from trainer.model.adapters import AdaptedModel, AdapterConfig
from trainer.model.network import FaceModel
from trainer.predicting import predict_pictures
from trainer.real_batches import RealBatches
from trainer.recipes import Stage2Recipe, stage2_quick
from trainer.saved import METHODS, Method, SavedModel, describe_model, load_model
from trainer.targets import targets_of
from trainer.trivial import PointMix, linear_mix

CHECKPOINT_NAME: Final = "stage2.pt"
_MOST_LOOKED_AT: Final = 500  # pictures from which the start of the points is fitted
_TASK_OF_TERM: Final = {
    "segmentation": "classes",
    "depth_metric": "metric depth",
    "depth_relative": "depth",
    "normals": "normals",
}


@dataclass(frozen=True)
class Stage2Options:
    """What a user may set of a run.

    Attributes:
        recipe: the whole configuration.
        method: `adapt`: the model of stage I is frozen, small networks learn; `finetune`: all of
            it goes on learning, under new last layers where labels differ; `scratch`: the same
            from random weights.
        subset: of the set, to fit.
        limit: use so many of its pictures, drawn by the recipe's seed; 0 for all.
        boxes: file of face boxes, for a set that needs them.
        detector: `MODULE:FUNCTION` that finds faces, instead.
        resume: go on from the checkpoint in the output folder, if there is one.
        device: `cpu`, `cuda` or `auto`.
    """

    recipe: Stage2Recipe = field(default_factory=stage2_quick)
    method: Method = "adapt"
    subset: str = "train"
    limit: int = 0
    boxes: Path | None = None
    detector: str | None = None
    resume: bool = False
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"method {self.method!r}: one of {', '.join(METHODS)} would do")


@dataclass(frozen=True)
class Stage2Result:
    """What a run left behind.

    Attributes:
        checkpoint: file of the model and all that resuming needs.
        num_pictures: that were fitted to.
        protocol: one line: set, subset, crop.
    """

    checkpoint: Path
    num_pictures: int
    protocol: str


def run_stage2(
    checkpoint: Path,
    real: RealSet,
    out_dir: Path,
    options: Stage2Options | None = None,
    on_progress: Callable[[StepReport], None] | None = None,
) -> Stage2Result:
    """Fit a model of stage I to a real set's labels.

    Args:
        checkpoint: of stage I.
        real: the set.
        out_dir: gets `stage2.pt` and `history.jsonl`.
        options: recipe, method, subset.
        on_progress: called after every step.

    Raises:
        CheckpointError: the checkpoint is none of stage I.
        DatasetError: the set is not as its form says, or lacks what is asked for.
    """
    options = options or Stage2Options()
    saved = load_model(checkpoint)
    if saved.stage != 1 or not isinstance(saved.model, FaceModel):
        raise DatasetError(f"{checkpoint.name} is of stage {saved.stage}: stage II starts from I")
    path = out_dir / CHECKPOINT_NAME
    refuse_to_replace(path, resume=options.resume)
    device = pick_device(options.device)
    recipe = replace(
        options.recipe,
        augment=replace(options.recipe.augment, size_px=saved.size_px),
        loss=_terms_for(options.recipe.loss, real, saved),
    )
    keys = chosen_keys(real, options.subset, options.limit, recipe.load.seed)
    framing = train_framing(real, options.boxes, options.detector)
    batches = RealBatches(real, keys, framing, Augment(recipe.augment), recipe.load)
    training = _start(saved, real, batches, keys, framing, recipe, options, device)
    if options.resume and path.exists():
        go_on(training, path, device)
    described = _description(training.model, real, saved)
    out_dir.mkdir(parents=True, exist_ok=True)
    _fit(training, batches, described, out_dir, recipe, device, on_progress)
    protocol = f"{real.name} {options.subset}, {len(keys)} pictures, {framing.told}"
    return Stage2Result(path, len(keys), protocol)


def chosen_keys(real: RealSet, subset: str, limit: int, seed: int) -> tuple[str, ...]:
    """Return the keys of a subset, or `limit` of them drawn by a seed.

    A larger limit keeps those of a smaller one.
    """
    keys = real.keys(subset)
    if not limit or limit >= len(keys):
        return keys
    order = keyed_permutation(len(keys), seed, "limit")[:limit]
    return tuple(keys[int(i)] for i in np.sort(order))


def _terms_for(loss: LossConfig, real: RealSet, saved: SavedModel) -> LossConfig:
    """Keep the terms for which set and model have both sides."""
    first = next(keys[0] for keys in real.subsets.values() if keys)
    sample = real.read(first).sample
    has = {
        "classes": real.classes is not None and saved.classes is not None,
        "points": real.points is not None and saved.points is not None,
        "depth": sample.depth is not None and saved.has_depth,
        "metric depth": sample.depth is not None and sample.focal_px is not None,
        "normals": False,
    }
    kept = {t: w for t, w in loss.weights.items() if has[_TASK_OF_TERM.get(t, "points")]}
    if not kept:
        raise DatasetError(f"{real.name}: none of its labels has a head in the model to adapt")
    return LossConfig(kept)


def _start(
    saved: SavedModel,
    real: RealSet,
    batches: RealBatches,
    keys: tuple[str, ...],
    framing: Framing,
    recipe: Stage2Recipe,
    options: Stage2Options,
    device: torch.device,
) -> Training[Batch]:
    torch.manual_seed(recipe.load.seed)
    base = saved.model
    if not isinstance(base, FaceModel):
        raise TypeError(f"stage II starts from no {type(base).__name__}")
    if options.method == "adapt":
        mix = None
        if real.points is not None and saved.points is not None:
            mix = _starting_points(saved, real.points, batches, keys, framing)
        model: nn.Module = adapted_model(base, real, recipe, mix)
    else:
        model = relabelled_model(base, real, keep=options.method == "finetune")
    return open_stage2(model.to(device), recipe)


def open_stage2(model: nn.Module, recipe: Stage2Recipe) -> Training[Batch]:
    """Return the training of stage II before its first step."""

    def loss(model: nn.Module, batch: Batch, total_weight: Tensor) -> tuple[Tensor, Terms]:
        predictions = model(batch.image)
        stride = batch.image.shape[-1] // predictions.features.shape[-1]
        found = compute_losses(predictions, targets_of(batch, stride), recipe.loss, total_weight)
        return found.total, found.terms

    return Training(model, loss, recipe.loop)


def adapted_model(
    base: FaceModel, real: RealSet, recipe: Stage2Recipe, mix: PointMix | None
) -> AdaptedModel:
    """Return the frozen model under adaptation networks that begin at names and mixes."""
    terms = recipe.loss.weights
    config = AdapterConfig(
        num_classes=real.classes.num_classes if real.classes and "segmentation" in terms else 0,
        num_points=real.points.num_points if real.points and "landmarks" in terms else 0,
        depth="depth_relative" in terms,
        use_features=recipe.use_features,
        width=recipe.adapter_width,
        inside_rank=recipe.adapt_rank,
    )
    model = AdaptedModel(base, config)
    if model.segmentation is not None and real.classes is not None:
        table = real.classes.relabelling()[: model.segmentation.names.shape[1]]
        names = np.eye(config.num_classes, dtype=np.float32)[table].T
        model.segmentation.names.copy_(torch.from_numpy(names.copy()))
    if model.landmarks is not None and mix is not None:
        model.landmarks.mix.copy_(torch.from_numpy(mix.mix))
        model.landmarks.shift.data.copy_(torch.from_numpy(mix.shift))
    return model


def relabelled_model(base: FaceModel, real: RealSet, *, keep: bool) -> FaceModel:
    """Return a model of the same shape with heads for the set's labels.

    Args:
        base: of stage I.
        real: the set.
        keep: take over every weight of `base` whose shape is the same and, with it, whose meaning.
    """
    num_classes = real.classes.num_classes if real.classes else base.config.num_classes
    num_points = real.points.num_points if real.points else base.config.num_points
    config = replace(base.config, num_classes=num_classes, num_points=num_points)
    model = FaceModel(config)
    if keep:
        own = model.state_dict()
        fits = {k: v for k, v in base.state_dict().items() if own[k].shape == v.shape}
        model.load_state_dict(own | fits)
    return model


def _starting_points(
    saved: SavedModel,
    scheme: PointScheme,
    batches: RealBatches,
    keys: tuple[str, ...],
    framing: Framing,
) -> PointMix:
    """Fit the mix of points from the frozen model's answers to some of the training pictures."""
    found, truth = [], []
    for key in keys[:_MOST_LOOKED_AT]:
        sample = batches.read(key)
        warp = framing.warp(sample, saved.size_px)
        answer = predict_pictures(saved.model, [sample.image], [None], saved.size_px, warps=[warp])
        points = answer[0].landmarks_px
        if points is None or sample.landmarks_px is None:
            raise DatasetError(f"{key}: no landmarks in the label, or none of the model")
        found.append(points)
        truth.append(sample.landmarks_px)
    return linear_mix(np.stack(found), np.stack(truth).astype(np.float64), scheme)


def _description(model: nn.Module, real: RealSet, saved: SavedModel) -> dict[str, object]:
    adapter = model.config if isinstance(model, AdaptedModel) else None
    base = model.base if isinstance(model, AdaptedModel) else model
    if not isinstance(base, FaceModel):
        raise TypeError(f"stage II trains no {type(base).__name__}")
    points = real.points if adapter is None or adapter.num_points else saved.points
    classes = real.classes if adapter is None or adapter.num_classes else saved.classes
    return describe_model(
        2,
        saved.size_px,
        base.config,
        trained_on=real.name,
        adapter=adapter,
        **({"points": points.name} if points else {}),
        **({"classes": classes.name} if classes else {}),
    )


def _fit(
    training: Training[Batch],
    batches: RealBatches,
    description: dict[str, object],
    out_dir: Path,
    recipe: Stage2Recipe,
    device: torch.device,
    on_progress: Callable[[StepReport], None] | None,
) -> None:
    history_path = out_dir / HISTORY_NAME
    forget_after(history_path, training.step)
    with history_path.open("a", buffering=1) as history:

        def on_step(report: StepReport) -> None:
            history.write(json.dumps(asdict(report)) + "\n")
            if report.step % recipe.checkpoint_steps == 0 or report.step == report.num_steps:
                content = {**description, "training": training.state_dict()}
                save_checkpoint(out_dir / CHECKPOINT_NAME, content)
            if on_progress is not None:
                on_progress(report)

        varied = batches.from_step(training.step)
        training.run(
            (batch.to(device) for batch in varied),
            on_step,
            settle_every=recipe.checkpoint_steps,
        )
