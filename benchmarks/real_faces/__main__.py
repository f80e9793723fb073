"""python -m benchmarks.real_faces --faces DIR: trained on built-in heads, tried on photographs.

DIR holds `landmarks/` (labels.json and pictures) and `parsing/` (images, labels). The photographs
are measured on, never trained or tuned on. By default a small model and 4,000 samples: some
minutes a seed on two cores. The figures are printed beside trivial answers, and kept as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.real_faces.families import WITHOUT
from benchmarks.real_faces.fitting import SIZE_PX, Scale, fit_seeds, make_samples, read_model
from benchmarks.real_faces.measuring import (
    find_points,
    mean_shape_points,
    parse,
    parse_with_means,
    placed_shape_points,
)
from benchmarks.real_faces.photographs import Float64Array, read_landmarked, read_parsed
from benchmarks.real_faces.points import errors, near_frontal, offset_errors
from benchmarks.real_faces.table import (
    overlap_figures,
    overlap_lines,
    plain,
    point_figures,
    point_lines,
)
from benchmarks.real_faces.worst import write_worst
from synthforge.samples import SampleMeta
from trainer.stream import StreamConfig, open_stream

_BOX_MARGIN = 1.3  # of the photographs' boxes: side over the larger extent of the points
_MOST_SHAPES = 2000


def main() -> int:
    """Make, fit, measure, print."""
    options = _parser().parse_args()
    scale = Scale(
        options.samples,
        options.steps,
        json.loads(options.generator),
        options.without,
        options.model,
    )
    options.out.mkdir(parents=True, exist_ok=True)
    dataset = make_samples(scale, options.out, options.processes)
    checkpoints = fit_seeds(
        scale,
        dataset,
        options.seeds,
        options.out,
        options.device,
        options.loaders,
        options.at_once,
    )
    models = [read_model(scale, each, options.device) for each in checkpoints]
    faces, parsed = read_landmarked(options.faces), read_parsed(options.faces)
    truth = np.array([face.landmarks_px for face in faces])
    found = np.array([find_points(model, faces, SIZE_PX) for model in models])
    frontal = near_frontal(faces)
    subsets = {"near-frontal": frontal, "all": np.ones(len(faces), bool)}
    shape = boxed_mean_shape(open_stream(dataset, StreamConfig(fields=("image",))).metas)
    means = mean_shape_points(shape, faces, SIZE_PX)
    placed = placed_shape_points(shape, faces)

    points = {
        "model": np.mean([errors(each, truth).mean(1) for each in found], 0),
        "model, constant offset": _offset_means(found, truth, frontal),
        "mean shape in the box": errors(means, truth).mean(1),
        "mean shape, best similarity": errors(placed, truth).mean(1),
    }
    masks = {
        "model": sum(parse(model, parsed, SIZE_PX) for model in models),
        "mean mask": parse_with_means(parsed),
    }
    figures: dict[str, Any] = {
        "points": {name: point_figures(each, subsets) for name, each in points.items()},
        "masks": {name: overlap_figures(np.asarray(each)) for name, each in masks.items()},
    }
    _print(scale, options.seeds, len(faces), int(frontal.sum()), len(parsed), figures)
    name = f"{Path(dataset).name}-{options.without or 'whole'}-{_fit_name(scale)}.json"
    (options.out / name).write_text(json.dumps(plain(figures), indent=1) + "\n")
    write_worst(options.out / "worst.png", faces, found.mean(0)[:, 0], points["model"])
    print(f"figures {options.out / name}, worst cases {options.out / 'worst.png'}")
    return 0


def _fit_name(scale: Scale) -> str:
    return f"{scale.num_steps}" if scale.model == "small" else f"{scale.model}-{scale.num_steps}"


def boxed_mean_shape(metas: Any) -> Float64Array:
    """Return the samples' mean shape (68, 2) in shares of a box made as the photographs' are."""
    shapes = []
    meta: SampleMeta
    for meta in metas(_MOST_SHAPES):
        if meta.landmarks68 is not None:
            points = np.array(meta.landmarks68.xy_px)
            low, high = points.min(0), points.max(0)
            shapes.append((points - (low + high) / 2) / (_BOX_MARGIN * (high - low).max()) + 0.5)
    return np.asarray(np.mean(shapes, 0))


def _offset_means(
    found: Float64Array, truth: Float64Array, frontal: np.ndarray[Any, np.dtype[np.bool_]]
) -> Float64Array:
    """Mean over seeds and crops of errors after the offset; near-frontal faces have their own."""
    whole = np.mean([offset_errors(each, truth).mean(1) for each in found], 0)
    ahead = [offset_errors(each[frontal], truth[frontal]).mean(1) for each in found]
    whole[frontal] = np.mean(ahead, 0)
    return np.asarray(whole)


def _print(
    scale: Scale, seeds: int, num_faces: int, num_frontal: int, num_parsed: int, figures: Any
) -> None:
    print(
        f"{scale.num_samples} samples of {json.dumps(scale.generator)}"
        f"{', without ' + scale.without if scale.without else ''}, {scale.num_steps} steps, "
        f"{seeds} seeds; NME over the outer eye corners, mean [95 % by bootstrap over faces]"
    )
    print(f"{num_faces} faces with points, {num_frontal} near-frontal; {num_parsed} with masks")
    for name, each in figures["points"].items():
        print("\n".join(point_lines(name, each)))
    for name, each in figures["masks"].items():
        print("\n".join(overlap_lines(name, each)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.real_faces", description=__doc__)
    parser.add_argument("--faces", type=Path, required=True, help="folder of the photographs")
    parser.add_argument("--samples", type=int, default=4000, help="of the built-in head")
    parser.add_argument(
        "--steps", type=int, default=1500, help="of the optimiser, 32 pictures each"
    )
    parser.add_argument("--seeds", type=int, default=3, help="models, each from another start")
    parser.add_argument("--at-once", type=int, default=1, help="models fitted side by side")
    parser.add_argument("--generator", default='{"kind": "builtin"}', help="as a job names it")
    parser.add_argument(
        "--without", choices=sorted(WITHOUT), default="", help="a family taken away"
    )
    parser.add_argument("--device", default="auto", help="cpu, cuda or auto")
    parser.add_argument(
        "--model", choices=("small", "full"), default="small", help="full: that of a GPU"
    )
    parser.add_argument(
        "--processes", type=int, default=os.cpu_count() or 1, help="that make samples"
    )
    parser.add_argument(
        "--loaders", type=int, default=0, help="processes that vary pictures; 0: in threads"
    )
    parser.add_argument("--out", type=Path, default=Path("out/real_faces"))
    return parser


if __name__ == "__main__":
    sys.exit(main())
