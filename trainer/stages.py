"""What each of the two stages reads, trains, freezes and minimises."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Final, Self, cast

import torch
from torch import Tensor, nn

from trainer import tensorboard_log
from trainer.augment import Augment
from trainer.baseline import mean_shape
from trainer.batches import Batch
from trainer.checkpoint import go_on, refuse_to_replace, save_checkpoint
from trainer.consistency import draw_moves, move_picture
from trainer.devices import pick_device, sent
from trainer.evaluate import Figures, evaluate
from trainer.faces_shown import compared_faces
from trainer.history import HISTORY_NAME, History
from trainer.html_report import write_report
from trainer.loop import StepReport, Terms, Training
from trainer.losses import LossConfig, compute_losses
from trainer.model.network import FaceModel, Predictions
from trainer.model.pretrained import PretrainedBackbone, load_weights
from trainer.ranks import ONE_RANK, Ranks
from trainer.recipes import Stage1Recipe, stage1_quick
from trainer.report import figure_rows, figures_table
from trainer.saved import describe_model
from trainer.stream import Stream, StreamConfig, open_stream
from trainer.targets import Targets, targets_of
from trainer.tensorboard_log import TensorboardLog

METRICS_NAME: Final = "metrics.json"
TABLE_NAME: Final = "metrics.txt"
REPORT_NAME: Final = "report.html"
CHECKPOINT_NAME: Final = "stage1.pt"
_FACES_CAPTION: Final = "picture, labels, answer (true green, found red), true and found depth"
_MOST_SHAPES: Final = 2000  # samples whose mean shape is the baseline


@dataclass(frozen=True)
class Stage1Options:
    """What a user may set of a run.

    Attributes:
        recipe: the whole configuration.
        train_split: to fit.
        held_out_split: to measure on; no identity is in both.
        device: `cpu`, `cuda`, or `auto`: CUDA where there is one.
        resume: go on from the checkpoint in the output folder, if there is one.
        tensorboard: write scalars of each step, and faces at each checkpoint.
    """

    recipe: Stage1Recipe = field(default_factory=stage1_quick)
    train_split: str = "train"
    held_out_split: str = "val"
    device: str = "auto"
    resume: bool = False
    tensorboard: bool = False


@dataclass(frozen=True)
class Stage1Result:
    """What a run left behind.

    Attributes:
        figures: on the held-out split.
        table: the same as text.
        checkpoint: file of the model and all that resuming needs.
        metrics: JSON file of the figures.
        report: HTML file of figures, curves and faces.
        num_steps: taken in all.
    """

    figures: Figures
    table: str
    checkpoint: Path
    metrics: Path
    report: Path
    num_steps: int


@dataclass(frozen=True)
class Fitted:
    """A fit at its end.

    Attributes:
        training: with the model and its average.
        stream: that it read.
    """

    training: Training[Batch]
    stream: Stream


def run_stage1(
    data_url: str,
    out_dir: Path,
    options: Stage1Options | None = None,
    on_progress: Callable[[StepReport], None] | None = None,
) -> Stage1Result:
    """Fit a model to a dataset of shards, and measure it on the split that it has not seen.

    Args:
        data_url: of the dataset, as `open_stream` takes it.
        out_dir: gets `stage1.pt`, `metrics.json`, `metrics.txt`, `report.html`, `history.jsonl`.
        options: recipe, splits, device.
        on_progress: called after every step.

    Raises:
        ValueError: the dataset lacks a split or a label that the recipe needs.
        ShardError: a shard is not as its manifest says.
    """
    options = options or Stage1Options()
    fitted = fit_stage1(data_url, out_dir, options, on_progress)
    return measure_stage1(data_url, out_dir, options, fitted)


def fit_stage1(
    data_url: str,
    out_dir: Path,
    options: Stage1Options,
    on_progress: Callable[[StepReport], None] | None = None,
    on_checkpoint: Callable[[StepReport], None] | None = None,
    ranks: Ranks = ONE_RANK,
) -> Fitted:
    """Fit a model, on one rank of those that take each step together.

    Args:
        data_url: of the dataset.
        out_dir: gets checkpoint and history from rank 0; read on every rank to resume.
        options: recipe, splits, device.
        on_progress: called after every step.
        on_checkpoint: called on every rank after each checkpoint.
        ranks: this process among the others.
    """
    if options.held_out_split == options.train_split:
        raise ValueError(
            f"the held-out split is {options.held_out_split}, which is trained on: a dataset made "
            'with output.splits {"train": 0.9, "val": 0.1} has a val split to measure on'
        )
    refuse_to_replace(out_dir / CHECKPOINT_NAME, resume=options.resume)
    device = pick_device(options.device)
    recipe = options.recipe
    _held_out(data_url, options)  # a split that is not there is told before the fit
    stream = open_stream(
        data_url,
        replace(recipe.stream, split=options.train_split, pin_memory=device.type == "cuda"),
        transform=Augment(recipe.augment),
        rank=ranks.rank,
        num_ranks=ranks.num_ranks,
    )
    training = open_training(recipe, device, ranks)
    if options.resume and (out_dir / CHECKPOINT_NAME).exists():
        content = go_on(training, out_dir / CHECKPOINT_NAME, device)
        stream.load_state_dict(content["stream"])

    out_dir.mkdir(parents=True, exist_ok=True)
    with _Records(data_url, out_dir, options, training, stream, ranks) as records:

        def on_step(report: StepReport) -> None:
            records.add_step(report)
            if report.step % recipe.checkpoint_steps == 0 or report.step == report.num_steps:
                records.add_checkpoint(report)
                if on_checkpoint is not None:
                    on_checkpoint(report)
            if on_progress is not None:
                on_progress(report)

        training.run(_endless(stream, device), on_step, settle_every=recipe.checkpoint_steps)
    return Fitted(training, stream)


def measure_stage1(
    data_url: str, out_dir: Path, options: Stage1Options, fitted: Fitted
) -> Stage1Result:
    """Measure the averaged model on the held-out split, and write what it shows to `out_dir`."""
    recipe = options.recipe
    model = FaceModel(recipe.model)
    model.load_state_dict(fitted.training.average.state_dict())
    shape = mean_shape(fitted.stream.metas(_MOST_SHAPES))
    held_out = _held_out(data_url, options)
    device = pick_device(options.device)
    model.to(device)
    figures = evaluate(model, held_out, recipe.size_px, shape, device)
    title = f"stage I on {data_url}, split {options.held_out_split}"
    table = figures_table(title, figures)
    (out_dir / METRICS_NAME).write_text(figures.to_json())
    (out_dir / TABLE_NAME).write_text(table)
    faces = compared_faces(model, next(iter(held_out)), recipe.size_px, device)
    write_report(
        out_dir / REPORT_NAME,
        title,
        figure_rows(figures),
        out_dir / HISTORY_NAME,
        {f"{_FACES_CAPTION} ({number})": face for number, face in enumerate(faces, start=1)},
        asdict(recipe),
    )
    return Stage1Result(
        figures=figures,
        table=table,
        checkpoint=out_dir / CHECKPOINT_NAME,
        metrics=out_dir / METRICS_NAME,
        report=out_dir / REPORT_NAME,
        num_steps=fitted.training.step,
    )


class _Records:
    """What rank 0 keeps of a fit: history, checkpoints, TensorBoard; other ranks keep nothing."""

    def __init__(
        self,
        data_url: str,
        out_dir: Path,
        options: Stage1Options,
        training: Training[Batch],
        stream: Stream,
        ranks: Ranks,
    ) -> None:
        self._out_dir, self._recipe = out_dir, options.recipe
        self._training, self._stream = training, stream
        self._stack = ExitStack()
        self._logs: list[History | TensorboardLog] = []
        self._tensorboard: TensorboardLog | None = None
        self._is_kept = ranks.rank == 0
        if self._is_kept:
            history = History(out_dir / HISTORY_NAME, training.step)
            self._logs.append(self._stack.enter_context(history))
        if self._is_kept and options.tensorboard:
            log = TensorboardLog(out_dir / tensorboard_log.FOLDER_NAME, training.step)
            self._tensorboard = self._stack.enter_context(log)
            self._logs.append(log)
            self._faces = next(iter(_held_out(data_url, options)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._stack.close()

    def add_step(self, report: StepReport) -> None:
        """Write what a step did."""
        for log in self._logs:
            log.add_step(report)

    def add_checkpoint(self, report: StepReport) -> None:
        """Save the training where it is, and show what its average makes of a few faces."""
        if not self._is_kept:
            return
        _save(self._out_dir / CHECKPOINT_NAME, self._recipe, self._training, self._stream)
        if self._tensorboard is not None:
            average = cast(FaceModel, self._training.average)
            device = next(average.parameters()).device
            faces = compared_faces(average, self._faces, self._recipe.size_px, device)
            self._tensorboard.add_pictures(report.step, faces)


def _held_out(data_url: str, options: Stage1Options) -> Stream:
    config = options.recipe.stream
    return open_stream(
        data_url,
        StreamConfig(
            batch_size=16, split=options.held_out_split, fields=config.fields, cache=config.cache
        ),
        rank=0,
        num_ranks=1,
    )


def open_training(
    recipe: Stage1Recipe, device: torch.device, ranks: Ranks = ONE_RANK
) -> Training[Batch]:
    """Return the training of stage I before its first step, its weights drawn from the seed."""
    seed = recipe.stream.order.seed
    torch.manual_seed(seed)
    stride = recipe.model.backbone.stem_stride

    def loss(model: nn.Module, batch: Batch, total_weight: Tensor) -> tuple[Tensor, Terms]:
        targets = targets_of(batch, stride)
        if recipe.loss.needs_moved:
            drawn = draw_moves(recipe.loss.consistency, seed, training.step, batch.keys)
            found, targets = _found_twice(model, batch.image, drawn, recipe.loss, targets)
        else:
            found = model(batch.image)
        losses = compute_losses(
            found, targets, recipe.loss, total_weight, recipe.model.learnt_weights
        )
        return losses.total, losses.terms

    model = FaceModel(recipe.model)
    if recipe.backbone_weights is not None and isinstance(model.backbone, PretrainedBackbone):
        load_weights(model.backbone, recipe.backbone_weights)
    training = Training(model.to(device), loss, recipe.loop, ranks)
    return training


def _found_twice(
    model: nn.Module, images: Tensor, drawn: Tensor, config: LossConfig, targets: Targets
) -> tuple[Predictions, Targets]:
    """Return the answers for pictures, and targets that hold those for the moved ones.

    Both come of one pass: a wrapped model must not be called twice before a backward pass. Where
    no term asks for more of the moved pictures than their features, the heads do not see them.
    """
    count, moves = len(images), sent(drawn, images.device)
    num_answered = None if config.needs_moved_answers else count
    found = model(torch.cat([images, move_picture(images, moves)]), num_answered)
    of_moved = slice(count, None)
    if num_answered is None:
        moved = found.rows(of_moved)
    else:
        moved = Predictions(found.features[of_moved], None, None, None, None)
    return found.rows(slice(count)), replace(targets, moves=moves, moved=moved)


def _save(path: Path, recipe: Stage1Recipe, training: Training[Batch], stream: Stream) -> None:
    save_checkpoint(
        path,
        {
            **describe_model(1, recipe.size_px, recipe.model),
            "training": training.state_dict(),
            "stream": stream.state_dict(),
        },
    )


def _endless(stream: Stream, device: torch.device) -> Iterator[Batch]:
    """Yield batches epoch after epoch."""
    while True:
        for batch in stream:
            yield batch.to(device)
