"""What a picture of the built-in head costs: `python -m benchmarks.shading [--size PX]`.

Milliseconds a face by part, process time of one thread, over faces drawn from the default spec.
The least of the repeats is what the code costs; the machine's other work adds to the rest.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch

from synthforge.jobs import JobSpec
from workers.generators.builtin import generator as generator_module
from workers.generators.builtin import picture as picture_module
from workers.generators.builtin.generator import BuiltinGenerator
from workers.sampling import sample_face

PARTS: tuple[tuple[ModuleType, str], ...] = (
    (generator_module, "vertex_attributes"),
    (generator_module, "light_vertices"),
    (generator_module, "ray_matrices"),
    (generator_module, "identity_look"),
    (generator_module, "draw_background"),
    (picture_module, "gather"),
    (picture_module, "shade_skin"),
    (picture_module, "shade_eyes"),
    (picture_module, "shade_hair"),
    (picture_module, "shade_plain"),
    (picture_module, "compose"),
    (generator_module, "expose"),
)


@contextmanager
def _clocked(spent: dict[str, float]) -> Iterator[None]:
    """Add up the process time of every part while the block runs."""
    originals = [(module, name, getattr(module, name)) for module, name in PARTS]

    def wrapped(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            start = time.process_time()
            result = work(*args, **kwargs)
            spent[name] += time.process_time() - start
            return result

        return timed

    for module, name, work in originals:
        setattr(module, name, wrapped(name, work))
    try:
        yield
    finally:
        for module, name, work in originals:
            setattr(module, name, work)


def main() -> None:
    """Print the least milliseconds a face of every part, of `pose` and of `render`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faces", type=int, default=32)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    generator = BuiltinGenerator()
    spec = JobSpec.model_validate(
        {"count": arguments.faces, "generator": "builtin", "image": {"size": arguments.size}}
    )
    size = generator.chunk_size
    faces = [
        sample_face(spec, generator.rig, i, 0, "train")
        for i in range(size * -(-arguments.faces // size))
    ]
    chunks = [faces[k : k + size] for k in range(0, len(faces), size)]
    least: dict[str, float] = defaultdict(lambda: float("inf"))
    for repeat in range(arguments.repeats + 1):
        spent: dict[str, float] = defaultdict(float)
        with _clocked(spent):
            for chunk in chunks:
                start = time.process_time()
                heads = generator.pose(chunk)
                middle = time.process_time()
                generator.render(chunk, heads)
                spent["pose, whole"] += middle - start
                spent["render, whole"] += time.process_time() - middle
        if repeat:  # the first one compiles
            least.update({name: min(least[name], seconds) for name, seconds in spent.items()})
    for name, seconds in sorted(least.items(), key=lambda item: item[1]):
        print(f"{name:20s} {1e3 * seconds / len(faces):7.2f} ms")


if __name__ == "__main__":
    main()
