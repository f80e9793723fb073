"""A face drawn by Next3D has the same bits at every place of a chunk, whoever fills the rest.

That is what fixed shapes are to give, and what a library that schedules its sums by place would
break: it has to be seen on every new device.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np

from benchmarks.parity.check import Check, count_unequal
from synthforge.jobs import parse_job_spec
from workers.assets.snapshot import AssetSnapshot
from workers.generators.next3d.opening import open_next3d
from workers.sampling import sample_face

WATCHED = 5
"""Index of the face that is looked at; the others are drawn once before it and once after."""


def checks(network: str = "full") -> Iterator[Check]:
    """Draw one face alone, first and last of a chunk, each time by a fresh generator."""
    spec = parse_job_spec(
        json.dumps(
            {
                "count": 1000,
                "image": {"size": 512 if network == "full" else 64},
                "generator": {"kind": "next3d", "untrained": True, "network": network},
            }
        )
    )
    first: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
    for name in ("alone", "first", "last"):
        generator = open_next3d(spec.generator, AssetSnapshot.of(None))
        others = range(100, 100 + generator.chunk_size - 1)
        indices = {
            "alone": [WATCHED] * generator.chunk_size,
            "first": [WATCHED, *others],
            "last": [*others, WATCHED],
        }[name]
        faces = [sample_face(spec, generator.rig, index, 0, "train") for index in indices]
        heads = generator.pose(faces)
        view = generator.observe(faces, heads)[indices.index(WATCHED)]
        image = generator.render(faces, heads)[indices.index(WATCHED)].cpu().numpy()
        found = image, view.z_m, view.opacity
        if first is None:
            first = found
            continue
        for quantity, ours, alone in zip(("image", "depth", "opacity"), found, first, strict=True):
            what = f"{quantity} {name} of {len(faces)} faces (entries unequal to it alone)"
            yield count_unequal("untrained", what, ours, alone)
