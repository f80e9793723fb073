"""Commands that train on a dataset."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from synthforge.commands.inputs import JsonOption, absolute
from synthforge.console import note, progress, say

train = typer.Typer(help="Train on a dataset.", rich_markup_mode=None)
app = typer.Typer()
app.add_typer(train, name="train")


class RecipeName(StrEnum):
    """The named configurations of stage I: trainer/recipes.py."""

    QUICK = "quick"
    FULL = "full"


@train.callback()
def _train() -> None:
    """Train on a dataset."""


@train.command("stage1", epilog="Example: synthforge train stage1 --data out/faces --out out/model")
def train_stage1(
    data: Annotated[str, typer.Option(help="URL or folder of a dataset.")],
    out: Annotated[Path, typer.Option(help="Folder for checkpoint and metrics.")],
    recipe: Annotated[
        RecipeName, typer.Option(help="quick: minutes on a CPU; full: many samples on a GPU.")
    ] = RecipeName.QUICK,
    held_out: Annotated[str, typer.Option(help="Split to measure on.")] = "val",
    steps: Annotated[int | None, typer.Option(min=1, help="Instead of the recipe's.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the checkpoint in --out.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Train on a synthetic dataset; print metrics on its held-out split beside a baseline."""
    from trainer.recipes import stage1_quick, stage1_synthetic  # noqa: PLC0415
    from trainer.stages import Stage1Options, run_stage1  # noqa: PLC0415

    chosen = stage1_quick() if recipe is RecipeName.QUICK else stage1_synthetic()
    if steps is not None:
        chosen = replace(chosen, loop=replace(chosen.loop, steps=steps))
    options = Stage1Options(recipe=chosen, held_out_split=held_out, resume=resume)
    url = absolute(data)
    with progress("train") as show:
        result = run_stage1(url, out, options, lambda report: show(report.step, report.num_steps))
    say(result.metrics.read_text().strip() if as_json else result.table)
    note(f"checkpoint {result.checkpoint}, metrics {result.metrics}")
