"""How fast stage I trains: `python -m benchmarks.training [--recipe NAME ...] [--data URL]`.

Pictures a second of whole optimiser steps in bf16, for the compact model of the recipe `full` and
for the published one, at the recipe's size. Without `--data` one batch of noise lies ready on the
device: the model's own speed. With it, batches come through `open_stream` with the recipe's
augmentation, and the time that a step waits for them is printed too.

On a GPU the share of time in which a kernel runs is taken from the profiler over `--steps` steps:
the union of all kernels' intervals over the wall clock.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch.profiler import ProfilerActivity, profile

from synthforge.conventions import NUM_LANDMARKS
from trainer.augment import Augment
from trainer.batches import Batch
from trainer.devices import pick_device
from trainer.loop import StepReport, Training
from trainer.model.network import CANONICAL_FOCAL
from trainer.recipes import Stage1Recipe, stage1_published, stage1_quick, stage1_synthetic
from trainer.stages import open_training
from trainer.stream import open_stream

RECIPES = {"quick": stage1_quick, "full": stage1_synthetic, "published": stage1_published}


def main() -> None:
    """Measure and print."""
    arguments = _parse()
    device = pick_device(arguments.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    print(f"{name}, torch {torch.__version__}, {torch.get_num_threads()} CPU threads")
    print(
        f"{'recipe':<12}{'px':>5}{'batch':>7}{'images/s':>11}{'step ms':>10}{'wait ms':>10}  busy"
    )
    for recipe_name in arguments.recipe:
        recipe = _adapted(RECIPES[recipe_name](), arguments)
        batches = _batches(recipe, device, arguments.data)
        training = open_training(recipe, device)
        steps: list[StepReport] = []
        training.run(batches, steps.append, stop_at=arguments.warm_up)
        steps.clear()
        busy = _run_profiled(training, batches, steps, device, arguments)
        seconds = statistics.median(step.step_s for step in steps)
        waits = statistics.median(step.wait_s for step in steps)
        print(
            f"{recipe_name:<12}{recipe.size_px:>5}{recipe.stream.batch_size:>7}"
            f"{recipe.stream.batch_size / seconds:>11.1f}{seconds * 1e3:>10.1f}{waits * 1e3:>10.1f}"
            f"  {busy}"
        )


def _adapted(recipe: Stage1Recipe, arguments: argparse.Namespace) -> Stage1Recipe:
    size = arguments.batch_size or recipe.stream.batch_size
    workers = recipe.stream.workers if arguments.workers is None else arguments.workers
    return replace(
        recipe,
        stream=replace(recipe.stream, batch_size=size, workers=workers),
        loop=replace(recipe.loop, bf16=True, steps=10**9),
    )


def _batches(recipe: Stage1Recipe, device: torch.device, data: str | None) -> Iterator[Batch]:
    if data is None:
        return itertools.repeat(_noise(recipe).to(device))
    config = replace(recipe.stream, pin_memory=device.type == "cuda")
    stream = open_stream(data, config, transform=Augment(recipe.augment))
    epochs = itertools.chain.from_iterable(itertools.repeat(stream))
    return (batch.to(device) for batch in epochs)


def _noise(recipe: Stage1Recipe) -> Batch:
    count, side = recipe.stream.batch_size, recipe.size_px
    random = torch.Generator().manual_seed(0)
    return Batch(
        keys=tuple(map(str, range(count))),
        weight=torch.ones(count),
        image=torch.randint(0, 256, (count, 3, side, side), generator=random, dtype=torch.uint8),
        segmentation=torch.randint(0, 20, (count, side, side), generator=random, dtype=torch.uint8),
        depth=torch.randint(9000, 12000, (count, side, side), generator=random).to(torch.uint16),
        landmarks_px=torch.rand(count, NUM_LANDMARKS, 2, generator=random) * side,
        focal_px=torch.full((count,), CANONICAL_FOCAL * side),
    )


def _run_profiled(
    training: Training[Batch],
    batches: Iterator[Batch],
    steps: list[StepReport],
    device: torch.device,
    arguments: argparse.Namespace,
) -> str:
    """Take steps untouched for the times, then as many under the profiler for the busy share."""
    training.run(batches, steps.append, stop_at=arguments.warm_up + arguments.steps)
    if device.type != "cuda":
        return "no GPU here"
    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        torch.cuda.synchronize(device)
        begun = time.perf_counter()
        training.run(batches, lambda _: None, stop_at=arguments.warm_up + 2 * arguments.steps)
        torch.cuda.synchronize(device)
        wall_us = (time.perf_counter() - begun) * 1e6
    intervals = [
        (event.time_range.start, event.time_range.end)
        for event in seen.events() or []
        if event.device_type.name == "CUDA"
    ]
    return f"{100 * covered(intervals) / wall_us:.0f} %"


def covered(intervals: list[tuple[float, float]]) -> float:
    """Return the length of the union of intervals."""
    total, reach = 0.0, float("-inf")
    for start, end in sorted(intervals):
        total += max(end - max(start, reach), 0.0)
        reach = max(reach, end)
    return total


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", nargs="+", choices=RECIPES, default=["full", "published"])
    parser.add_argument("--data", help="URL of a dataset; noise on the device without it")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--workers", type=int, help="loader processes, instead of the recipe's")
    parser.add_argument("--warm-up", type=int, default=10, help="steps that are not measured")
    parser.add_argument("--steps", type=int, default=30)
    return parser.parse_args()


if __name__ == "__main__":
    main()
