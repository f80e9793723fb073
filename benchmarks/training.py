"""How fast stage I trains: `python -m benchmarks.training [--recipe NAME ...] [--data URL ...]`.

Pictures a second of whole optimiser steps in bf16, for the compact model of the recipe `full` and
for the published one, at the recipe's size. Without `--data` one batch of noise lies ready on the
device: the model's own speed. With it, batches come through `open_stream` with the recipe's
augmentation, and the time that a step waits for them is printed too.

On a GPU the share of time in which a kernel runs is taken from the profiler over `--steps` steps:
the union of all kernels' intervals over the wall clock. `--kernels N` lists the N kernels that take
most of it.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

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
TITLE = (
    f"{'recipe':<12}{'px':>5}{'batch':>7}{'images/s':>11}{'step ms':>10}{'wait ms':>10}"
    f"{'busy %':>8}{'GiB':>7}"
)


@dataclass(frozen=True)
class Speed:
    """What was measured of one recipe.

    Attributes:
        images_per_s: of whole steps, by the wall clock over all of them.
        step_s: of one.
        wait_s: of it, waiting for data; the median.
        busy: share of the time in which a kernel runs; None without a GPU.
        peak_bytes: of the device's memory; 0 without a GPU.
        kernels: name -> seconds a step.
    """

    images_per_s: float
    step_s: float
    wait_s: float
    busy: float | None
    peak_bytes: int
    kernels: Counter[str]

    def row(self, name: str, recipe: Stage1Recipe) -> str:
        """Return one line of the table."""
        busy = "no GPU" if self.busy is None else f"{100 * self.busy:.1f}"
        return (
            f"{name:<12}{recipe.size_px:>5}{recipe.stream.batch_size:>7}{self.images_per_s:>11.1f}"
            f"{self.step_s * 1e3:>10.1f}{self.wait_s * 1e3:>10.1f}{busy:>8}"
            f"{self.peak_bytes / 2**30:>7.1f}"
        )


def main() -> None:
    """Measure and print."""
    arguments = _parse()
    device = pick_device(arguments.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    print(f"{name}, torch {torch.__version__}, {torch.get_num_threads()} CPU threads")
    print(TITLE)
    for recipe_name in arguments.recipe:
        recipe = _adapted(RECIPES[recipe_name](), arguments)
        speed = measured(recipe, device, arguments.data, arguments.warm_up, arguments.steps)
        print(speed.row(recipe_name, recipe), flush=True)
        for kernel, seconds in speed.kernels.most_common(arguments.kernels):
            print(f"{seconds * 1e3:>12.2f} ms  {kernel[:100]}")


def _adapted(recipe: Stage1Recipe, arguments: argparse.Namespace) -> Stage1Recipe:
    size = arguments.batch_size or recipe.stream.batch_size
    workers = recipe.stream.workers if arguments.workers is None else arguments.workers
    return replace(
        recipe,
        stream=replace(recipe.stream, batch_size=size, workers=workers, drop_last=True),
        loop=replace(recipe.loop, bf16=True, steps=10**9),
    )


def measured(
    recipe: Stage1Recipe,
    device: torch.device,
    data: Sequence[str] | None,
    warm_up: int,
    num_steps: int,
) -> Speed:
    """Take steps that are not measured, then steps for the times, then as many for the busy share.

    Args:
        recipe: with more steps than are taken here.
        device: to train on.
        data: URLs of datasets; noise on the device without them.
        warm_up: steps that are not measured.
        num_steps: that are.
    """
    batches = _batches(recipe, device, data)
    training = open_training(recipe, device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    steps: list[StepReport] = []
    _timed(training, batches, steps, warm_up, device)
    steps.clear()
    wall_s = _timed(training, batches, steps, num_steps, device)
    waited_s = statistics.median(step.wait_s for step in steps)
    busy, kernels = _profiled(training, batches, num_steps, device)
    return Speed(
        images_per_s=recipe.stream.batch_size * num_steps / wall_s,
        step_s=wall_s / num_steps,
        wait_s=waited_s,
        busy=busy,
        peak_bytes=torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0,
        kernels=kernels,
    )


def _timed(
    training: Training[Batch],
    batches: Iterator[Batch],
    steps: list[StepReport],
    count: int,
    device: torch.device,
) -> float:
    """Take steps; return the seconds until the device is done with them."""
    begun = time.perf_counter()
    # As in a training that is kept every so often: the device is not made to wait in between.
    training.run(batches, steps.append, training.step + count, settle_every=10**9)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - begun


def _batches(
    recipe: Stage1Recipe, device: torch.device, data: Sequence[str] | None
) -> Iterator[Batch]:
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


def _profiled(
    training: Training[Batch], batches: Iterator[Batch], count: int, device: torch.device
) -> tuple[float | None, Counter[str]]:
    """Take steps under the profiler; return the busy share and each kernel's seconds a step."""
    kernels: Counter[str] = Counter()
    if device.type != "cuda":
        return None, kernels
    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        wall_s = _timed(training, batches, [], count, device)
    intervals = []
    for event in seen.events() or []:
        if _is_kernel(event):
            intervals.append((event.time_range.start, event.time_range.end))
            kernels[event.name] += (event.time_range.end - event.time_range.start) * 1e-6 / count
    return covered(intervals) * 1e-6 / wall_s, kernels


def _is_kernel(event: Any) -> bool:
    """Tell what computes on the device: no span that only names others, no copy from the host."""
    if event.device_type.name != "CUDA" or getattr(event, "is_user_annotation", False):
        return False
    return not event.name.startswith(("Optimizer.", "Memcpy HtoD", "Memcpy DtoH"))


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
    parser.add_argument(
        "--data", nargs="+", help="URLs of datasets; noise on the device without them"
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--workers", type=int, help="loader processes, instead of the recipe's")
    parser.add_argument("--warm-up", type=int, default=10, help="steps that are not measured")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--kernels", type=int, default=0, help="list so many kernels")
    return parser.parse_args()


if __name__ == "__main__":
    main()
