"""What each of the two stages reads, trains, freezes and minimises."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from trainer.augment import Augment
from trainer.baseline import mean_shape
from trainer.batches import Batch
from trainer.checkpoint import load_checkpoint, restore_random_states, save_checkpoint
from trainer.evaluate import Figures, evaluate
from trainer.history import HISTORY_NAME, forget_after
from trainer.loop import StepReport, Terms, Training
from trainer.losses import compute_losses
from trainer.model.network import FaceModel
from trainer.recipes import Stage1Recipe, stage1_quick
from trainer.report import figures_table
from trainer.saved import describe_model
from trainer.stream import Stream, StreamConfig, open_stream
from trainer.targets import targets_of

METRICS_NAME: Final = "metrics.json"
TABLE_NAME: Final = "metrics.txt"
CHECKPOINT_NAME: Final = "stage1.pt"
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
    """

    recipe: Stage1Recipe = field(default_factory=stage1_quick)
    train_split: str = "train"
    held_out_split: str = "val"
    device: str = "auto"
    resume: bool = False


@dataclass(frozen=True)
class Stage1Result:
    """What a run left behind.

    Attributes:
        figures: on the held-out split.
        table: the same as text.
        checkpoint: file of the model and all that resuming needs.
        metrics: JSON file of the figures.
        num_steps: taken in all.
    """

    figures: Figures
    table: str
    checkpoint: Path
    metrics: Path
    num_steps: int


def run_stage1(
    data_url: str,
    out_dir: Path,
    options: Stage1Options | None = None,
    on_progress: Callable[[StepReport], None] | None = None,
) -> Stage1Result:
    """Fit a model to a dataset of shards, and measure it on the split that it has not seen.

    Args:
        data_url: of the dataset, as `open_stream` takes it.
        out_dir: gets `stage1.pt`, `metrics.json`, `metrics.txt`, `history.jsonl`.
        options: recipe, splits, device.
        on_progress: called after every step.

    Raises:
        ValueError: the dataset lacks a split or a label that the recipe needs.
        ShardError: a shard is not as its manifest says.
    """
    options = options or Stage1Options()
    out_dir.mkdir(parents=True, exist_ok=True)
    device = pick_device(options.device)
    recipe = options.recipe
    stream = open_stream(
        data_url,
        replace(recipe.stream, split=options.train_split, pin_memory=device.type == "cuda"),
        transform=Augment(recipe.augment),
    )
    held_out = _held_out(data_url, options)
    training = _start(recipe, stream, device, out_dir / CHECKPOINT_NAME, resume=options.resume)
    _fit(training, stream, recipe, device, out_dir, on_progress)
    model = FaceModel(recipe.model)
    model.load_state_dict(training.average.state_dict())
    shape = mean_shape(stream.metas(_MOST_SHAPES))
    figures = evaluate(model, held_out, recipe.size_px, shape)
    title = f"stage I on {data_url}, split {options.held_out_split}"
    table = figures_table(title, figures)
    (out_dir / METRICS_NAME).write_text(figures.to_json())
    (out_dir / TABLE_NAME).write_text(table)
    return Stage1Result(
        figures, table, out_dir / CHECKPOINT_NAME, out_dir / METRICS_NAME, training.step
    )


def pick_device(name: str) -> torch.device:
    """Return the device of that name; `auto` is CUDA where there is one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


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


def _start(
    recipe: Stage1Recipe, stream: Stream, device: torch.device, checkpoint: Path, *, resume: bool
) -> Training[Batch]:
    """Return a fresh training, or the saved one where it stopped."""
    training = open_training(recipe, device)
    if resume and checkpoint.exists():
        content = load_checkpoint(checkpoint, device)
        training.load_state_dict(content["training"])
        stream.load_state_dict(content["stream"])
        restore_random_states(content)
    return training


def open_training(recipe: Stage1Recipe, device: torch.device) -> Training[Batch]:
    """Return the training of stage I before its first step, its weights drawn from the seed."""
    torch.manual_seed(recipe.stream.order.seed)
    stride = recipe.model.backbone.stem_stride

    def loss(model: nn.Module, batch: Batch, total_weight: Tensor) -> tuple[Tensor, Terms]:
        targets = targets_of(batch, stride)
        found = compute_losses(model(batch.image), targets, recipe.loss, total_weight)
        return found.total, found.terms

    return Training(FaceModel(recipe.model).to(device), loss, recipe.loop)


def _fit(
    training: Training[Batch],
    stream: Stream,
    recipe: Stage1Recipe,
    device: torch.device,
    out_dir: Path,
    on_progress: Callable[[StepReport], None] | None,
) -> None:
    """Take the steps that are left, keeping a history and checkpoints."""
    forget_after(out_dir / HISTORY_NAME, training.step)
    with (out_dir / HISTORY_NAME).open("a", buffering=1) as history:

        def on_step(report: StepReport) -> None:
            history.write(json.dumps(asdict(report)) + "\n")
            if report.step % recipe.checkpoint_steps == 0 or report.step == report.num_steps:
                save_checkpoint(
                    out_dir / CHECKPOINT_NAME,
                    {
                        **describe_model(1, recipe.size_px, recipe.model),
                        "training": training.state_dict(),
                        "stream": stream.state_dict(),
                    },
                )
            if on_progress is not None:
                on_progress(report)

        training.run(_endless(stream, device), on_step)


def _endless(stream: Stream, device: torch.device) -> Iterator[Batch]:
    """Yield batches epoch after epoch."""
    while True:
        for batch in stream:
            yield batch.to(device)
