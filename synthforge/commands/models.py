"""Commands on models: fine-tuning to a real set, figures on real sets, prediction, export."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from synthforge.commands.inputs import USAGE, CommandError, JsonOption
from synthforge.commands.training import RecipeName, train
from synthforge.console import note, progress, say

if TYPE_CHECKING:
    from trainer.evaluation.run import Task

app = typer.Typer()
CheckpointArgument = Annotated[
    Path, typer.Argument(metavar="CHECKPOINT", help="stage1.pt or stage2.pt.")
]
BoxesOption = Annotated[
    list[str] | None,
    typer.Option(help="Face boxes of a set, NAME=FILE.csv with name,x0,y0,x1,y1; repeatable."),
]
DetectorOption = Annotated[
    str | None, typer.Option(help="MODULE:FUNCTION that finds faces: picture to boxes.")
]


class MethodName(StrEnum):
    """What stage II trains: trainer/stage2.py."""

    ADAPT = "adapt"
    FINETUNE = "finetune"
    SCRATCH = "scratch"


@train.command(
    "stage2",
    epilog="Example: synthforge train stage2 --checkpoint out/model/stage1.pt --on lapa=LaPa "
    "--out out/lapa",
)
def train_stage2(
    checkpoint: Annotated[Path, typer.Option(help="stage1.pt.")],
    on: Annotated[str, typer.Option(metavar="NAME=DIR", help="A real set, as in evaluate.")],
    out: Annotated[Path, typer.Option(help="Folder for the checkpoint.")],
    recipe: Annotated[
        RecipeName, typer.Option(help="quick: minutes on a CPU; full: thousands of pictures, GPU.")
    ] = RecipeName.QUICK,
    method: Annotated[
        MethodName,
        typer.Option(help="adapt: small networks over the frozen model; or all of it."),
    ] = MethodName.ADAPT,
    features: Annotated[
        bool, typer.Option(help="Whether the networks see the features f_s.")
    ] = True,
    subset: Annotated[str, typer.Option(help="Of the set, to fit.")] = "train",
    limit: Annotated[int, typer.Option(min=0, help="Use so many pictures; 0: all.")] = 0,
    steps: Annotated[int | None, typer.Option(min=1, help="Instead of the recipe's.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of weights, order and variation.")] = 0,
    boxes: BoxesOption = None,
    detector: DetectorOption = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the checkpoint in --out.")
    ] = False,
    device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "auto",
) -> None:
    """Fit a model of stage I to the labels of a real set."""
    from trainer.datasets.registry import open_real_set, parse_named  # noqa: PLC0415
    from trainer.recipes import stage2_quick, stage2_real  # noqa: PLC0415
    from trainer.stage2 import Stage2Options, run_stage2  # noqa: PLC0415

    chosen = stage2_quick(seed) if recipe is RecipeName.QUICK else stage2_real(seed)
    loop = chosen.loop if steps is None else replace(chosen.loop, steps=steps)
    name, folder = parse_named(on)
    options = Stage2Options(
        recipe=replace(chosen, loop=loop, use_features=features),
        method=method.value,
        subset=subset,
        limit=limit,
        boxes=_boxes_of([name], boxes).get(name),
        detector=detector,
        resume=resume,
        device=device,
    )
    real = open_real_set(name, Path(folder))
    with progress("train") as show:
        result = run_stage2(
            checkpoint, real, out, options, lambda report: show(report.step, report.num_steps)
        )
    say(f"fitted to {result.protocol}")
    note(f"checkpoint {result.checkpoint}; synthforge evaluate {result.checkpoint} --on {on}")


@app.command(
    "evaluate",
    epilog="Example: synthforge evaluate out/lapa/stage2.pt --on lapa=LaPa --out out/figures",
)
def evaluate_model(
    checkpoint: CheckpointArgument,
    on: Annotated[
        list[str],
        typer.Option(
            metavar="NAME=DIR",
            help="A real set in its own form: 300w, lapa, celebamask, aflw2000, facesynthetics "
            "or wflw; repeatable.",
        ),
    ],
    boxes: BoxesOption = None,
    detector: DetectorOption = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for JSON, Markdown and the worst cases.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "auto",
    as_json: JsonOption = False,
) -> None:
    """Measure a model on real sets, published figures beside. No crop uses the labels."""
    from trainer.devices import pick_device  # noqa: PLC0415
    from trainer.evaluation.run import evaluate_sets  # noqa: PLC0415
    from trainer.saved import load_model  # noqa: PLC0415

    saved = load_model(checkpoint)
    tasks = _tasks(on, boxes, detector)
    with progress("evaluate") as show:
        evaluated = evaluate_sets(saved, tasks, out, show, pick_device(device))
    say(evaluated.to_json().strip() if as_json else evaluated.text)


@app.command(
    "predict", epilog="Example: synthforge predict face.jpg --checkpoint out/model/stage1.pt"
)
def predict_picture(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="A picture of one face.")],
    checkpoint: Annotated[Path, typer.Option(help="stage1.pt or stage2.pt.")],
    out: Annotated[
        Path | None,
        typer.Option(help="Picture to write; NAME.predicted.jpg in this folder by default."),
    ] = None,
    box: Annotated[
        str | None, typer.Option(metavar="X0,Y0,X1,Y1", help="Of the face, brows to chin; pixels.")
    ] = None,
    detector: DetectorOption = None,
    as_json: JsonOption = False,
) -> None:
    """Draw landmarks, classes and depth over a picture."""
    import cv2  # noqa: PLC0415

    from trainer.datasets.frames import Framing, load_detector  # noqa: PLC0415
    from trainer.datasets.real_set import read_picture  # noqa: PLC0415
    from trainer.decoding import Sample  # noqa: PLC0415
    from trainer.overlay import draw_prediction  # noqa: PLC0415
    from trainer.predicting import predict_pictures  # noqa: PLC0415
    from trainer.saved import load_model  # noqa: PLC0415

    saved = load_model(checkpoint)
    sample = Sample(key=image.name, image=read_picture(image))
    framing = Framing("whole", "")
    if box is not None:
        framing = Framing("boxes", "", boxes={image.name: _box(box)})
    elif detector is not None:
        framing = Framing("detector", "", detector=load_detector(detector))
    warps = [framing.warp(sample, saved.size_px)]
    found = predict_pictures(saved.model, [sample.image], [None], saved.size_px, warps=warps)[0]
    # Not beside the picture: that may be a folder of a set, whose every picture has its label.
    path = out or Path(f"{image.stem}.predicted.jpg")
    if not cv2.imwrite(str(path), draw_prediction(sample.image, found)[..., ::-1]):
        raise CommandError(f"{path}: cannot be written")
    if as_json:
        points = [] if found.landmarks_px is None else found.landmarks_px.round(2).tolist()
        order = None if saved.points is None else saved.points.name
        say(json.dumps({"picture": str(path), "points": order, "landmarks_px": points}))
    else:
        say(str(path))


@app.command("export", epilog="Example: synthforge export out/lapa/stage2.pt --out out/exported")
def export(
    checkpoint: CheckpointArgument,
    out: Annotated[Path, typer.Option(help="Folder for weights, config and ONNX file.")],
    onnx: Annotated[bool, typer.Option(help="Whether to write and check an ONNX file.")] = True,
) -> None:
    """Write a model as safetensors with its config, and as ONNX that was checked."""
    from trainer.export import export_model  # noqa: PLC0415

    exported = export_model(checkpoint, out, onnx=onnx)
    for path in exported.files:
        say(str(path))
    for name, difference in exported.parity.items():
        note(f"ONNX against the model: {name} within {difference:.2g}")


def _tasks(on: Sequence[str], boxes: list[str] | None, detector: str | None) -> list[Task]:
    from trainer.datasets.registry import open_real_set, parse_named  # noqa: PLC0415
    from trainer.evaluation.run import task_of  # noqa: PLC0415

    named = dict(parse_named(each) for each in on)
    if len(named) < len(on):
        raise CommandError("--on names a set twice", USAGE)
    files = _boxes_of(list(named), boxes)
    return [
        task_of(open_real_set(name, Path(folder)), files.get(name), detector)
        for name, folder in named.items()
    ]


def _boxes_of(names: list[str], boxes: list[str] | None) -> dict[str, Path]:
    from trainer.datasets.registry import parse_named  # noqa: PLC0415

    files = dict(parse_named(each) for each in boxes or [])
    for name in files:
        if name not in names:
            raise CommandError(f"--boxes {name}: no set of that name in --on", USAGE)
    return {name: Path(file) for name, file in files.items()}


def _box(text: str) -> Any:
    try:
        x0, y0, x1, y1 = (float(part) for part in text.split(","))
    except ValueError:
        raise CommandError(f"--box {text}: X0,Y0,X1,Y1 would do", USAGE) from None
    if not (x1 > x0 and y1 > y0):
        raise CommandError(f"--box {text}: is empty", USAGE)
    return x0, y0, x1, y1
