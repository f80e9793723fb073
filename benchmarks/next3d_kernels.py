"""python -m benchmarks.next3d_kernels: operations a face that a GPU is sent, without one.

Faces are drawn in the form that a GPU takes, but on the processor, and every torch operation that
computes is counted (views and fresh memory are none; a library may start several kernels for one
operation). The small untrained network stands in: its layers are as many as the full one's. Each
face is a new identity with a new mesh, looked at twice, for its labels and for its picture.

Example: python -m benchmarks.next3d_kernels --faces 1 8
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any
from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from synthforge.jobs import JobSpec, parse_job_spec
from workers.assets.snapshot import AssetSnapshot
from workers.generators.next3d import forms
from workers.generators.next3d.generator import CHUNK_SIZE, Next3DGenerator
from workers.generators.next3d.opening import open_next3d
from workers.sampling import sample_face

SPEC = {
    "count": 100,
    "image": {"size": 512},
    "generator": {"kind": "next3d", "untrained": True, "network": "small"},
}
WAITS = ("_local_scalar_dense", "equal", "nonzero", "repeat_interleave")
"""Operations whose result the host must see before it goes on."""


class Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts what computes, by name."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Count one operation and run it."""
        del types
        name = func.overloadpacket.__name__
        if not (func.is_view or name.startswith(("empty", "new_empty", "_unsafe_view", "lift"))):
            self.counts[name] += 1
        return func(*args, **(kwargs or {}))


def counted(spec: JobSpec, num_faces: int) -> Counter[str]:
    """Draw one chunk of faces and count."""
    with mock.patch.dict(CHUNK_SIZE, cpu=num_faces):
        generator = open_next3d(spec.generator, AssetSnapshot.of(None))
    with mock.patch.object(forms, "is_on_processor", return_value=False):
        _draw(generator, spec, 0)  # what is brought to a device once is there
        with Operations() as operations:
            _draw(generator, spec, num_faces)
    counts: Counter[str] = operations.counts
    return counts


def _draw(generator: Next3DGenerator, spec: JobSpec, first: int) -> None:
    indices = range(first, first + generator.chunk_size)
    faces = [sample_face(spec, generator.rig, index, 0, "train") for index in indices]
    heads = generator.pose(faces)
    generator.observe(faces, heads)
    generator.render(faces, heads)


def main(arguments: list[str] | None = None) -> int:
    """Count and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--faces", type=int, nargs="+", default=[1, CHUNK_SIZE["cuda"]])
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    spec = parse_job_spec(json.dumps(SPEC))
    for num_faces in given.faces:
        counts = counted(spec, num_faces)
        total, waits = counts.total(), sum(counts[name] for name in WAITS)
        print(
            f"{num_faces:3} faces a chunk: {total} operations, {total / num_faces:.0f} a face; "
            f"the host waits {waits} times, {waits / num_faces:.1f} a face"
        )
        common = ", ".join(f"{name} {number}" for name, number in counts.most_common(12))
        print(f"    {common}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
