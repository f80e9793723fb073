"""A small head with FLAME's structure, made of an ellipsoid and random directions."""

from __future__ import annotations

import numpy as np
import pytest

from workers.flame.assets import PARENTS, FlameAssets

RADII_M = np.array([0.07, 0.11, 0.09])  # half the width, height and depth of a head
NUM_RINGS, NUM_SPOKES = 24, 36
NUM_SHAPE, NUM_EXPRESSION = 6, 4


def _ellipsoid() -> tuple[np.ndarray, np.ndarray]:
    """(V, 3) rings from pole to pole, (F, 3) counter-clockwise seen from outside."""
    polar = np.linspace(0.02, np.pi - 0.02, NUM_RINGS)
    around = np.linspace(0, 2 * np.pi, NUM_SPOKES, endpoint=False)
    p, a = np.meshgrid(polar, around, indexing="ij")
    points = np.stack([np.sin(p) * np.sin(a), np.cos(p), np.sin(p) * np.cos(a)], axis=-1)
    faces = []
    for i in range(NUM_RINGS - 1):
        for j in range(NUM_SPOKES):
            k = (j + 1) % NUM_SPOKES
            up, down = i * NUM_SPOKES, (i + 1) * NUM_SPOKES
            faces += [[up + j, down + j, down + k], [up + j, down + k, up + k]]
    return (points * RADII_M).reshape(-1, 3), np.array(faces)


@pytest.fixture(scope="session")
def tiny_head() -> FlameAssets:
    """The head, float64."""
    rng = np.random.default_rng(7)
    vertices, faces = _ellipsoid()
    count = len(vertices)
    regressor = rng.random((5, count)) ** 20
    weights = rng.random((count, 5)) ** 8
    return FlameAssets.from_arrays(
        {
            "v_template": vertices,
            "faces": faces,
            "shapedirs": rng.normal(0, 0.002, (count, 3, NUM_SHAPE)),
            "expressiondirs": rng.normal(0, 0.002, (count, 3, NUM_EXPRESSION)),
            "posedirs": rng.normal(0, 0.001, (count, 3, 36)),
            "joint_regressor": regressor / regressor.sum(axis=1, keepdims=True),
            "parents": np.array(PARENTS),
            "weights": weights / weights.sum(axis=1, keepdims=True),
        }
    )
