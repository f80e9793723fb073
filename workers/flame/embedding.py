"""The 68 landmarks of a FLAME-shaped head, in iBUG order: 17 jaw contour points, 51 fixed ones.

The contour is where the head ends in the image, so it moves over the mesh with the view: a grid
over the head's yaw and pitch as the camera sees it (signs of docs/conventions.md) holds 17 points
a cell. The nearest cell is taken and held beyond the grid's ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from workers.flame.arrays_file import Array, read_arrays
from workers.flame.rotations import axis_angle_to_matrix, matrix_product
from workers.types import Float64Array, Int32Array

NUM_CONTOUR = 17
NUM_STATIC = 51
NUM_LANDMARKS = NUM_CONTOUR + NUM_STATIC

_MAX_FLAME_BIN_DEG = 39
_LAST_FLAME_BIN = 78
_BARY_TOLERANCE = 1e-3


@dataclass(frozen=True)
class LandmarkEmbedding:
    """Where the landmarks lie on the mesh: a face and barycentrics in it for each.

    Attributes:
        landmark_face: (51,) int32, iBUG 17 to 67.
        landmark_bary: (51, 3) in the order of the face's corners.
        contour_yaw_deg: (Y,) ascending grid of the head's yaw relative to the camera.
        contour_pitch_deg: (P,) ascending grid of its pitch.
        contour_face: (Y, P, 17) int32, the visible jaw contour from there, iBUG 0 to 16.
        contour_bary: (Y, P, 17, 3).
        jaw_fixed_face: (17,) int32, jaw points that stay where they are: the frontal contour.
        jaw_fixed_bary: (17, 3).

    Raises:
        ValueError: shapes do not fit each other, a grid does not ascend, or barycentrics do not
            sum to 1.
    """

    landmark_face: Int32Array
    landmark_bary: Float64Array
    contour_yaw_deg: Float64Array
    contour_pitch_deg: Float64Array
    contour_face: Int32Array
    contour_bary: Float64Array
    jaw_fixed_face: Int32Array
    jaw_fixed_bary: Float64Array

    def __post_init__(self) -> None:
        grid = (len(self.contour_yaw_deg), len(self.contour_pitch_deg), NUM_CONTOUR)
        expected = {"landmark": (NUM_STATIC,), "contour": grid, "jaw_fixed": (NUM_CONTOUR,)}
        for name, shape in expected.items():
            face, bary = getattr(self, f"{name}_face"), getattr(self, f"{name}_bary")
            if face.shape != shape or bary.shape != (*shape, 3):
                raise ValueError(
                    f"{name}_face and {name}_bary have shapes {face.shape} and {bary.shape}, "
                    f"expected {shape} and {(*shape, 3)}"
                )
            if face.min() < 0 or not np.abs(bary.sum(axis=-1) - 1).max() <= _BARY_TOLERANCE:
                raise ValueError(f"{name}_face is negative or {name}_bary does not sum to 1")
        for name in ("contour_yaw_deg", "contour_pitch_deg"):
            axis = getattr(self, name)
            if axis.ndim != 1 or not len(axis) or not (np.diff(axis) > 0).all():
                raise ValueError(f"{name} does not ascend")

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> LandmarkEmbedding:
        """Build from arrays named as the fields, of any numeric dtype."""

        def whole(name: str) -> Int32Array:
            return np.ascontiguousarray(arrays[name], np.int32)

        def floats(name: str) -> Float64Array:
            return np.ascontiguousarray(arrays[name], np.float64)

        return cls(
            landmark_face=whole("landmark_face"),
            landmark_bary=floats("landmark_bary"),
            contour_yaw_deg=floats("contour_yaw_deg"),
            contour_pitch_deg=floats("contour_pitch_deg"),
            contour_face=whole("contour_face"),
            contour_bary=floats("contour_bary"),
            jaw_fixed_face=whole("jaw_fixed_face"),
            jaw_fixed_bary=floats("jaw_fixed_bary"),
        )

    def to_arrays(self) -> dict[str, Array]:
        """Name every array, in the order of the fields."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def cells(self, yaw_deg: ArrayLike, pitch_deg: ArrayLike) -> NDArray[np.int64]:
        """Choose the contour's cell for a head seen at these angles.

        Args:
            yaw_deg: (B,) the head's yaw relative to the camera; > 0, the nose points to the
                image's right.
            pitch_deg: (B,) its pitch; > 0, the nose points up.

        Returns:
            (B,) index into the grid's cells, row-major over (yaw, pitch). An angle half-way
            between two cells takes the lower one.

        Raises:
            ValueError: an angle is not finite.
        """
        row = _nearest("yaw_deg", self.contour_yaw_deg, yaw_deg)
        column = _nearest("pitch_deg", self.contour_pitch_deg, pitch_deg)
        return row * len(self.contour_pitch_deg) + column


class Landmarks:
    """Reads the landmarks off posed vertices. A row's bits do not depend on the rest of the batch.

    Args:
        embedding: where the points lie.
        faces: (F, 3) of the mesh.
        dtype: of the vertices.
        device: of the vertices.

    Raises:
        ValueError: the embedding names a face that the mesh lacks.
    """

    def __init__(
        self,
        embedding: LandmarkEmbedding,
        faces: Int32Array,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        def tensors(face: Int32Array, bary: Float64Array) -> tuple[Tensor, Tensor]:
            if face.max() >= len(faces):
                raise ValueError(f"landmark face {face.max()} is outside 0..{len(faces) - 1}")
            corners = torch.from_numpy(faces[face].astype(np.int64))
            return corners.to(device), torch.from_numpy(bary.copy()).to(device, dtype)

        cells = (-1, NUM_CONTOUR)
        self._static = tensors(embedding.landmark_face, embedding.landmark_bary)
        self._jaw_fixed = tensors(embedding.jaw_fixed_face, embedding.jaw_fixed_bary)
        self._contour = tensors(
            embedding.contour_face.reshape(cells), embedding.contour_bary.reshape(*cells, 3)
        )

    def points(self, vertices: Tensor, cells: NDArray[np.int64]) -> Tensor:
        """Read all 68 points, the contour from one cell a head.

        Args:
            vertices: (B, V, 3) posed, metres.
            cells: (B,) of `LandmarkEmbedding.cells`.

        Returns:
            (B, 68, 3) in the vertices' frame, iBUG order.
        """
        chosen = torch.as_tensor(cells, device=vertices.device)
        corners, bary = self._contour
        contour = _on_faces(vertices, corners[chosen], bary[chosen])
        corners, bary = self._static
        static = _on_faces(vertices, corners.expand(len(vertices), -1, -1), bary)
        return torch.cat([contour, static], dim=1)

    def jaw_fixed(self, vertices: Tensor) -> Tensor:
        """Read the 17 jaw points that stay on the mesh: (B, 17, 3) of (B, V, 3)."""
        corners, bary = self._jaw_fixed
        return _on_faces(vertices, corners.expand(len(vertices), -1, -1), bary)


def load_embedding_npz(path: Path, *, sha256: str | None = None) -> LandmarkEmbedding:
    """Load the landmarks of one head from the .npz that holds it (see `assets.load_npz`).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is torn or holds no landmarks, or the hash differs.
    """
    names = [field.name for field in fields(LandmarkEmbedding)]
    arrays = read_arrays(path, names, sha256=sha256)
    try:
        return LandmarkEmbedding.from_arrays(arrays)
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from None


def flame_contour_yaw_deg(global_orient: Tensor, neck_pose: Tensor) -> Tensor:
    """Measure the yaw that the published FLAME layer chooses its contour by.

    Args:
        global_orient: (B, 3) axis-angle, radians.
        neck_pose: (B, 3).

    Returns:
        (B,) degrees, float64. A positive turn about +y gives a negative yaw.

    Source: yaw = -atan2(-R[2,0], sqrt(R[0,0]^2 + R[1,0]^2)) of R = R_root R_neck.
    """
    pose = torch.stack([global_orient, neck_pose], dim=1).double()
    turns = axis_angle_to_matrix(pose)
    turn = matrix_product(turns[:, 0], turns[:, 1])
    across = (turn[:, 0, 0].square() + turn[:, 1, 0].square()).sqrt()
    return torch.rad2deg(-torch.atan2(-turn[:, 2, 0], across))


def flame_contour_bin(yaw_deg: Tensor) -> NDArray[np.int64]:
    """Choose the published layer's bin, 0 to 78, by its yaw in degrees.

    0 to 39 stand for that many degrees, 40 to 78 for -1 to -39; halves round to the even degree,
    and beyond the last bin the contour stays in it.
    """
    degrees = yaw_deg.clamp(max=_MAX_FLAME_BIN_DEG).round().to(torch.int64)
    negative = torch.where(
        degrees < -_MAX_FLAME_BIN_DEG, _LAST_FLAME_BIN, _MAX_FLAME_BIN_DEG - degrees
    )
    return torch.where(degrees < 0, negative, degrees).cpu().numpy()


def _on_faces(vertices: Tensor, corners: Tensor, bary: Tensor) -> Tensor:
    """Points of (B, V, 3) vertices on faces: corners (B, N, 3), bary (B, N, 3) or (N, 3)."""
    batch = torch.arange(len(vertices), device=vertices.device)[:, None, None]
    at = vertices[batch, corners]  # (B, N, 3 corners, 3 axes)
    first, second, third = (at[:, :, k] * bary[..., k, None] for k in range(3))
    return first + second + third


def _nearest(name: str, grid: Float64Array, angle_deg: ArrayLike) -> NDArray[np.int64]:
    angle = np.asarray(angle_deg, np.float64)
    if not np.isfinite(angle).all():
        raise ValueError(f"{name} is not finite")
    between = (grid[1:] + grid[:-1]) / 2
    return np.searchsorted(between, angle, side="left").astype(np.int64)
