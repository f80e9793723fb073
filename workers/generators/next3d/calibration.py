"""Fits the affine map between a checkpoint's matter and the head model's mesh.

SynthForge learns such a map from a detector's landmarks on generated pictures and from chamfer
distances (its alignment network has no activation and is affine). Here the mesh is laid on the
volume's own surface: point to plane (Chen and Medioni 1992), with Huber's weights against hair and
glasses, over many faces and views. What a surface cannot tell, how far the mesh slides along it, is
held by a prior: x and y of the way into the volume are the network's own (`placement.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from workers.camera import project, to_camera
from workers.flame.arrays_file import read_arrays, write_arrays
from workers.generators.next3d.placement import Placement, volume_alignment
from workers.generators.next3d.published import AffineMap
from workers.raster.numba_cpu import NumbaRasteriser
from workers.types import Camera, Float64Array, Int32Array, VolumeView

ITERATIONS: Final = 12
FIRST_REACH_M: Final = 0.06
LAST_REACH_M: Final = 0.012
"""Matter farther from the mesh than this, at first and at last, is not what the mesh shows."""

HIDDEN_M: Final = 0.002
"""A vertex that lies farther than this behind its own mesh is hidden."""

HUBER_M: Final = 0.002
PRIOR_SHARE: Final = 0.002
"""Weight of the nominal way beside the surface: it decides what a surface leaves open."""

LEAST_FACING: Final = 0.4
"""Cosine between view and normal below which a point's depth says little."""

LEAST_POINTS: Final = 500
LEAST_SHARE: Final = 0.4
LEAST_MARGIN_M: Final = 0.008
MOST_MARGIN_M: Final = 0.03
HELD_OUT: Final = 4  # every fourth face measures the fit and takes no part in it


@dataclass(frozen=True)
class Observation:
    """One face: the mesh, placed the nominal way, and the matter that its picture shows.

    Attributes:
        points_m: (P, 3) vertices of the face that the camera sees, world.
        normals: (P, 3) of the mesh there, unit, outward.
        camera: of the picture.
        view: of the matter.
    """

    points_m: Float64Array
    normals: Float64Array
    camera: Camera
    view: VolumeView


def observe_face(
    vertices: Float64Array,
    faces: Int32Array,
    of_face: NDArray[np.int64],
    camera: Camera,
    view: VolumeView,
) -> Observation:
    """Keep of a mesh what its face shows the camera.

    Args:
        vertices: (V, 3) placed the nominal way, world metres.
        faces: (F, 3).
        of_face: vertices that belong to the face.
        camera: of the picture.
        view: of the matter.
    """
    at = to_camera(vertices, camera.world2cam)
    seen = NumbaRasteriser().rasterise(
        torch.from_numpy(at)[None],
        torch.from_numpy(faces),
        torch.from_numpy(camera.intrinsics_px)[None],
        camera.height_px,
        camera.width_px,
    )
    columns, rows, inside = _pixels(at, camera)
    first = np.where(inside, seen.z[0].numpy()[rows, columns], 0)
    visible = np.zeros(len(vertices), bool)
    visible[of_face] = (first > 0)[of_face] & (at[:, 2] < first + HIDDEN_M)[of_face]
    return Observation(vertices[visible], vertex_normals(vertices, faces)[visible], camera, view)


@dataclass(frozen=True)
class Fit:
    """A fitted map and what it is worth.

    Attributes:
        alignment: volume units, after the nominal way.
        before_m: root mean square distance from mesh to matter of the faces held out, unaligned.
        after_m: the same, aligned.
        num_faces: that the map was fitted to.
    """

    alignment: AffineMap
    before_m: float
    after_m: float
    num_faces: int

    @property
    def margin_m(self) -> float:
        """Matter in front of the mesh by more than this is not the mesh."""
        return float(np.clip(3 * self.after_m, LEAST_MARGIN_M, MOST_MARGIN_M))


@dataclass(frozen=True)
class _Pairs:
    """Points of the mesh, and planes of the matter that they should lie on; world metres."""

    points_m: Float64Array
    on_plane: Float64Array
    normals: Float64Array


def fit_alignment(faces: Sequence[Observation]) -> Fit:
    """Fit the map.

    Raises:
        ValueError: too few points of the meshes have matter near them.
    """
    fitted = [face for index, face in enumerate(faces) if index % HELD_OUT]
    held_out = list(faces[::HELD_OUT])
    if not fitted or not held_out:
        raise ValueError(f"{len(faces)} faces; at least 2 would do, 64 would do well")
    moved = AffineMap(np.eye(3), np.zeros(3))
    for reach_m in np.geomspace(FIRST_REACH_M, LAST_REACH_M, ITERATIONS):
        moved = _step(moved, _paired(fitted, moved, float(reach_m)))
    return Fit(
        alignment=volume_alignment(moved),
        before_m=_distance_m(held_out, AffineMap(np.eye(3), np.zeros(3))),
        after_m=_distance_m(held_out, moved),
        num_faces=len(fitted),
    )


def _paired(faces: Sequence[Observation], moved: AffineMap, reach_m: float) -> _Pairs:
    parts = [_pairs_of(face, moved, reach_m) for face in faces]
    joined = _Pairs(
        np.concatenate([part.points_m for part in parts]),
        np.concatenate([part.on_plane for part in parts]),
        np.concatenate([part.normals for part in parts]),
    )
    num_points, num_near = sum(len(face.points_m) for face in faces), len(joined.points_m)
    if num_near < max(LEAST_POINTS, LEAST_SHARE * num_points):
        raise ValueError(
            f"{num_near} of {num_points} points of {len(faces)} meshes have matter within "
            f"{reach_m * 1000:.0f} mm, {LEAST_SHARE:.0%} are needed: is the checkpoint trained?"
        )
    return joined


def _pairs_of(face: Observation, moved: AffineMap, reach_m: float) -> _Pairs:
    """What lies behind the pixel that each moved point falls on."""
    camera, rotation = face.camera, face.camera.world2cam[:3, :3]
    at = to_camera(moved(face.points_m), camera.world2cam)
    surface, normals, is_surface = _surface(face.view, camera)
    columns, rows, inside = _pixels(at, camera)
    on_plane, normal = surface[rows, columns], normals[rows, columns]
    towards = -at / np.linalg.norm(at, axis=1, keepdims=True)
    facing = ((face.normals @ rotation.T) * towards).sum(axis=1) > LEAST_FACING
    lies_flat = (normal * towards).sum(axis=1) > LEAST_FACING
    near = np.abs(at[:, 2] - on_plane[:, 2]) < reach_m
    kept = inside & is_surface[rows, columns] & facing & lies_flat & near
    translation = camera.world2cam[:3, 3]
    return _Pairs(
        face.points_m[kept], (on_plane[kept] - translation) @ rotation, normal[kept] @ rotation
    )


def _pixels(
    at: Float64Array, camera: Camera
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Columns and rows that (P, 3) points in camera axes fall on, and whether inside."""
    pixels = np.floor(project(at, camera.intrinsics_px)).astype(np.int64)
    size = np.array([camera.width_px, camera.height_px])
    inside = np.asarray(((pixels >= 0) & (pixels < size)).all(axis=1))
    held = np.clip(pixels, 0, size - 1)
    return held[:, 0], held[:, 1], inside


def _surface(
    view: VolumeView, camera: Camera
) -> tuple[Float64Array, Float64Array, NDArray[np.bool_]]:
    """Points (H, W, 3) behind the pixels, their normals towards the camera, and where both are."""
    height, width = view.z_m.shape
    z = view.z_m.astype(np.float64)
    k = camera.intrinsics_px
    x = (np.arange(width) + 0.5 - k[0, 2]) / k[0, 0]
    y = (np.arange(height) + 0.5 - k[1, 2]) / k[1, 1]
    points = np.stack([x[None] * z, y[:, None] * z, z], axis=-1)
    across, down = np.gradient(points, axis=1), np.gradient(points, axis=0)
    normals = np.cross(down, across)  # towards the camera: x right, y down, z forward
    length = np.linalg.norm(normals, axis=-1, keepdims=True)
    normals = normals / np.maximum(length, np.finfo(np.float64).tiny)
    there = z > 0
    whole = there.copy()
    whole[1:] &= there[:-1]
    whole[:-1] &= there[1:]
    whole[:, 1:] &= there[:, :-1]
    whole[:, :-1] &= there[:, 1:]
    return points, normals, whole


def _step(moved: AffineMap, pairs: _Pairs) -> AffineMap:
    """One weighted least-squares step of the twelve numbers."""
    held = np.concatenate([pairs.points_m, np.ones((len(pairs.points_m), 1))], axis=1)  # (P, 4)
    rows = (pairs.normals[:, :, None] * held[:, None, :]).reshape(len(held), 12)
    wanted = (pairs.normals * pairs.on_plane).sum(axis=1)
    current = np.concatenate([moved.matrix, moved.offset[:, None]], axis=1).ravel()
    weights = np.minimum(1.0, HUBER_M / np.maximum(np.abs(rows @ current - wanted), 1e-12))
    # As if each point were also, at that share of its weight, where the nominal way puts it.
    prior = np.kron(np.eye(3), PRIOR_SHARE * held.T @ held)
    nominal = np.concatenate([np.eye(3), np.zeros((3, 1))], axis=1).ravel()
    normal_matrix = (rows * weights[:, None]).T @ rows + prior
    solved = np.linalg.solve(normal_matrix, (rows * weights[:, None]).T @ wanted + prior @ nominal)
    whole = solved.reshape(3, 4)
    return AffineMap(whole[:, :3], whole[:, 3])


def _distance_m(faces: Sequence[Observation], moved: AffineMap) -> float:
    pairs = _paired(faces, moved, FIRST_REACH_M)
    apart = ((moved(pairs.points_m) - pairs.on_plane) * pairs.normals).sum(axis=1)
    return float(np.sqrt(np.mean(np.square(apart))))


def vertex_normals(vertices: Float64Array, faces: Int32Array) -> Float64Array:
    """(V, 3) unit normals, weighted by area; 0 at a vertex of no face."""
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    of_faces = np.cross(b - a, c - a)
    total = np.zeros_like(vertices)
    for corner in range(3):
        np.add.at(total, faces[:, corner], of_faces)
    return np.asarray(total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-20))


def write_calibration(path: Path, fit: Fit, checkpoint_sha256: str) -> str:
    """Write a fitted map, bound to its checkpoint; returns the file's sha256."""
    return write_arrays(
        path,
        {
            "matrix": np.asarray(fit.alignment.matrix, np.float64),
            "offset": np.asarray(fit.alignment.offset, np.float64),
            "margin_m": np.array(fit.margin_m),
            "before_m": np.array(fit.before_m),
            "after_m": np.array(fit.after_m),
            "checkpoint_sha256": np.array(checkpoint_sha256),
        },
    )


def read_calibration(path: Path, checkpoint_sha256: str) -> Placement:
    """Read a fitted map.

    Raises:
        ValueError: the file is torn, or was fitted to another checkpoint.
    """
    arrays = read_arrays(path, ("matrix", "offset", "margin_m", "checkpoint_sha256"))
    fitted_to = str(arrays["checkpoint_sha256"].item())
    if fitted_to != checkpoint_sha256:
        raise ValueError(
            f"calibration was fitted to next3d_checkpoint {fitted_to[:12]}, the registry has "
            f"{checkpoint_sha256[:12]}: run 'synthforge assets calibrate' again"
        )
    alignment = AffineMap(arrays["matrix"].astype(np.float64), arrays["offset"].astype(np.float64))
    return Placement(alignment, float(arrays["margin_m"].item()))
