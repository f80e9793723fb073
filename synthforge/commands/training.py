"""Commands that train on a dataset."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from synthforge.commands.inputs import JsonOption, absolute, show_help_alone
from synthforge.console import note, progress, say

if TYPE_CHECKING:
    from trainer.loop import StepReport
    from trainer.recipes import Stage1Recipe
    from trainer.stages import Stage1Result

_LINKS: Final = ("http://", "https://")
train = typer.Typer(
    help="Train on a dataset.",
    epilog="Example: synthforge train stage1 --data out/faces --out out/model",
    callback=show_help_alone,
    invoke_without_command=True,
    rich_markup_mode=None,
)
app = typer.Typer()
app.add_typer(train, name="train")


class RecipeName(StrEnum):
    """The named configurations of stage I: trainer/recipes.py."""

    QUICK = "quick"
    FULL = "full"
    PUBLISHED = "published"


@train.command("stage1", epilog="Example: synthforge train stage1 --data out/faces --out out/model")
def train_stage1(
    data: Annotated[str, typer.Option(help="URL or folder of a dataset, or a manifest's link.")],
    out: Annotated[Path, typer.Option(help="Folder for checkpoint, metrics and report.")],
    recipe: Annotated[
        RecipeName,
        typer.Option(
            help="quick: minutes on a CPU; full: many samples on a GPU; published: the paper's."
        ),
    ] = RecipeName.QUICK,
    backbone: Annotated[
        str | None,
        typer.Option(help="Folder of a transformers model, or an architecture; none is fetched."),
    ] = None,
    consistency: Annotated[
        bool, typer.Option("--consistency", help="Adds the self-supervised terms.")
    ] = False,
    uncertainty: Annotated[
        bool, typer.Option("--uncertainty", help="Weights of the loss terms are learnt.")
    ] = False,
    held_out: Annotated[str, typer.Option(help="Split to measure on.")] = "val",
    steps: Annotated[int | None, typer.Option(min=1, help="Instead of the recipe's.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Training processes a machine, by Ray Train.")
    ] = None,
    nodes: Annotated[int, typer.Option(min=1, help="Machines; above 1 with --ray.")] = 1,
    ray: Annotated[
        str | None, typer.Option("--ray", help="Address of a cluster; by default a local one.")
    ] = None,
    gpus: Annotated[bool, typer.Option("--gpus", help="Each process holds a GPU.")] = False,
    storage: Annotated[
        str | None, typer.Option(help="Where all machines keep checkpoints; default --out.")
    ] = None,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Writes scalars and pictures to --out.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the checkpoint in --out.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Train on a synthetic dataset; print metrics on its held-out split beside a baseline."""
    from trainer.stages import Stage1Options, run_stage1  # noqa: PLC0415

    chosen = _recipe(recipe, backbone, consistency=consistency, uncertainty=uncertainty)
    if steps is not None:
        chosen = replace(chosen, loop=replace(chosen.loop, steps=steps))
    options = Stage1Options(
        recipe=chosen, held_out_split=held_out, resume=resume, tensorboard=tensorboard
    )
    url = data if data.startswith(_LINKS) else absolute(data)
    with progress("train") as show:

        def tell(report: StepReport) -> None:
            show(report.step, report.num_steps)

        if workers is None and nodes == 1 and ray is None:
            result = run_stage1(url, out, options, tell)
        else:
            from trainer.ray_train import ClusterOptions, run_stage1_on_ray  # noqa: PLC0415

            cluster = ClusterOptions(workers or 1, nodes, gpus, ray, storage)
            result = run_stage1_on_ray(url, out, options, cluster, tell)
    _tell_result(result, as_json=as_json)


def _recipe(
    name: RecipeName, backbone: str | None, *, consistency: bool, uncertainty: bool
) -> Stage1Recipe:
    from trainer import recipes  # noqa: PLC0415

    named = {
        RecipeName.QUICK: recipes.stage1_quick,
        RecipeName.FULL: recipes.stage1_synthetic,
        RecipeName.PUBLISHED: recipes.stage1_published,
    }
    chosen = named[name]()
    if backbone is not None:
        chosen = recipes.with_backbone(chosen, backbone)
    if consistency:
        chosen = recipes.with_consistency(chosen)
    return recipes.with_learnt_weights(chosen) if uncertainty else chosen


def _tell_result(result: Stage1Result, *, as_json: bool) -> None:
    say(result.metrics.read_text().strip() if as_json else result.table)
    note(f"checkpoint {result.checkpoint}, metrics {result.metrics}, report {result.report}")
