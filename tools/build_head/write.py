"""From the assembled mesh to the arrays of head.npz."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tools.build_head.assemble import assemble
from tools.build_head.expression_directions import expression_directions
from tools.build_head.fields import Fields
from tools.build_head.follow import follow_skin
from tools.build_head.half_mesh import PART_NAMES
from tools.build_head.landmarks import (
    Locator,
    OnMesh,
    contour_grid,
    inner_landmarks,
)
from tools.build_head.shape_directions import shape_directions
from tools.build_head.skinning import PARENTS, joint_regressor, skinning_weights
from tools.build_head.spline import Floats
from workers.flame.outline import PITCH_GRID_DEG, YAW_GRID_DEG

METRES_PER_MM = 1e-3
Arrays = dict[str, NDArray[np.generic]]


def build_arrays() -> Arrays:
    """Every array of head.npz, as workers/generators/builtin/head.py reads them."""
    mesh, chart, plane = assemble()
    fields = Fields(mesh)
    shape = shape_directions(fields)
    expression = expression_directions(fields)
    locator = Locator(mesh, chart, plane)
    inner = inner_landmarks(locator)
    grid = contour_grid(locator)
    frontal = grid[int(np.argmin(np.abs(YAW_GRID_DEG)))][int(np.argmin(np.abs(PITCH_GRID_DEG)))]
    return {
        "v_template": (mesh.points * METRES_PER_MM).astype(np.float32),
        "faces": mesh.triangles,
        "uv": mesh.uv.astype(np.float32),
        "uv_faces": mesh.uv_triangles,
        "shapedirs": follow_skin(mesh, _stack(shape)),
        "shape_names": np.array(list(shape)),
        "expressiondirs": follow_skin(mesh, _stack(expression)),
        "expression_names": np.array(list(expression)),
        "posedirs": np.zeros((len(mesh.points), 3, 36), np.float16),
        "joint_regressor": joint_regressor(fields).astype(np.float32),
        "parents": PARENTS,
        "weights": follow_skin(mesh, skinning_weights(fields).astype(np.float32)),
        "face_region": mesh.regions.astype(np.uint8),
        "face_part": mesh.parts.astype(np.uint8),
        "part_names": np.array(PART_NAMES),
        "mirror": mesh.mirror,
        "landmark_face": _faces(inner),
        "landmark_bary": _barys(inner),
        "contour_yaw_deg": YAW_GRID_DEG.astype(np.float32),
        "contour_pitch_deg": PITCH_GRID_DEG.astype(np.float32),
        "contour_face": np.stack([np.stack([_faces(row) for row in line]) for line in grid]),
        "contour_bary": np.stack([np.stack([_barys(row) for row in line]) for line in grid]),
        "jaw_fixed_face": _faces(frontal),
        "jaw_fixed_bary": _barys(frontal),
    }


def write(path: Path) -> None:
    """Build the head and write it; the same sources give the same bytes."""
    np.savez_compressed(path, allow_pickle=False, **build_arrays())


def _stack(directions: dict[str, Floats]) -> NDArray[np.float16]:
    stacked = np.stack(list(directions.values()), -1) * METRES_PER_MM
    # Less than a thousandth of a millimetre is nothing, and zeros compress.
    return np.where(np.abs(stacked) < 1e-6, 0.0, stacked).astype(np.float16)


def _faces(points: list[OnMesh]) -> NDArray[np.int32]:
    return np.array([p.face for p in points], np.int32)


def _barys(points: list[OnMesh]) -> NDArray[np.float32]:
    return np.array([p.bary for p in points], np.float32)
