"""The head that a job's faces have: model, landmarks, UV layout and classes, out of assets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch

from workers.assets.layouts import read_semantic_map
from workers.flame.arrays_file import Array
from workers.flame.assets import JOINT_NAMES, FlameAssets
from workers.flame.embedding import LandmarkEmbedding
from workers.generators.next3d import semantics
from workers.types import Float32Array, Int32Array, Topology, UInt8Array

PARTS: Final = ("head", "left_eye", "right_eye")
UV_MASK_SIDE: Final = 256
_ATLAS_MARGIN: Final = 0.02
_MIRROR_ROWS: Final = 512  # compared with all others at a time


@dataclass(frozen=True)
class UvLayout:
    """Where each corner of each face lies on the UV map.

    Attributes:
        uv: (T, 2) float32 in [0, 1], v up.
        faces: (F, 3) int32, corners in `uv`.
    """

    uv: Float32Array
    faces: Int32Array

    @classmethod
    def from_corners(cls, corners: Float32Array) -> UvLayout:
        """Join equal corners of a checkpoint's `face_uvcoords`, (F, 3, 3): (2u - 1, 1 - 2v, 1)."""
        flat = np.stack([(corners[..., 0] + 1) / 2, (1 - corners[..., 1]) / 2], -1).reshape(-1, 2)
        uv, at = np.unique(flat, axis=0, return_inverse=True)
        return cls(np.clip(uv, 0, 1).astype(np.float32), at.reshape(-1, 3).astype(np.int32))

    def to_corners(self) -> Float32Array:
        """(F, 3, 3) float32 as a checkpoint stores it."""
        u, v = np.moveaxis(self.uv[self.faces], -1, 0)
        return np.stack([2 * u - 1, 1 - 2 * v, np.ones_like(u)], -1).astype(np.float32)


def network_topology(topology: Topology) -> dict[str, Array]:
    """The mesh as an untrained network takes it: every face is drawn."""
    layout = UvLayout(topology.uv, topology.uv_faces)
    return {
        "faces": topology.faces[None].astype(np.int64),
        "face_uvcoords": layout.to_corners()[None],
        "uv_face_mask": np.ones((1, 1, UV_MASK_SIDE, UV_MASK_SIDE), np.float32),
    }


def checkpoint_layout(tensors: Mapping[str, Array], assets: FlameAssets) -> UvLayout:
    """Take the UV layout out of a checkpoint.

    Raises:
        ValueError: the checkpoint was trained with another mesh than the model's.
    """
    faces, corners = tensors["faces"][0].astype(np.int64), tensors["face_uvcoords"][0]
    ours = assets.faces
    if faces.shape != ours.shape or (np.sort(faces, axis=1) != np.sort(ours, axis=1)).any():
        raise ValueError(
            f"flame_model has {len(ours)} faces and next3d_checkpoint {len(faces)}, or in another "
            "order: import the FLAME model that the checkpoint was trained with"
        )
    # Which corner comes first is free.
    same = (faces[:, None, :] == ours[:, :, None]).argmax(axis=2)
    placed = np.take_along_axis(corners, same[:, :, None], axis=1)
    return UvLayout.from_corners(placed.astype(np.float32))


def given_layout(arrays: Mapping[str, Array]) -> UvLayout:
    """Take FLAME's own layout: `vt` (T, 2) and `ft` (F, 3)."""
    return UvLayout(np.array(arrays["vt"], np.float32), np.array(arrays["ft"], np.int32))


def projected_layout(assets: FlameAssets) -> UvLayout:
    """Lay a head out as a cylinder around it: for models that come without a layout.

    Good enough for random weights, whose texture means nothing.
    """
    middle = assets.v_template.mean(axis=0)
    x, y, z = np.moveaxis(assets.v_template - middle, -1, 0)
    around = np.arctan2(x, z) / (2 * np.pi) + 0.5
    up = (y - y.min()) / np.ptp(y)
    uv = np.stack([around, up], -1) * (1 - 2 * _ATLAS_MARGIN) + _ATLAS_MARGIN
    return UvLayout(uv.astype(np.float32), assets.faces)


def flame_topology(
    assets: FlameAssets,
    landmarks: LandmarkEmbedding,
    layout: UvLayout,
    *,
    own_map: UInt8Array | None,
) -> Topology:
    """Describe a FLAME model's mesh.

    Classes come from the user's map or ours where it fits the layout, else from the joints.

    Args:
        assets: the model.
        landmarks: of it.
        layout: of its faces.
        own_map: the user's semantic map, if there is one.

    Raises:
        ValueError: the user's map is drawn for another layout.
    """
    plain = Topology(
        faces=assets.faces,
        uv=layout.uv,
        uv_faces=layout.faces,
        face_region=semantics.joint_regions(assets),
        face_part=_parts(assets),
        part_names=PARTS,
        mirror=_mirror(assets),
        landmarks=landmarks,
    )
    region_map = _fitting_map(plain, own_map)
    if region_map is None:
        return plain
    regions = semantics.face_regions(region_map, layout.uv, layout.faces)
    return replace(plain, face_region=regions, region_map=region_map)


def _fitting_map(topology: Topology, own_map: UInt8Array | None) -> UInt8Array | None:
    if own_map is not None:
        if (fit := semantics.map_fit(own_map, topology)) < semantics.LEAST_FIT:
            raise ValueError(
                f"semantic_map shows {fit:.0%} of brow, nose and lip landmarks on their features: "
                "draw it in the UV layout of the checkpoint's mesh"
            )
        return own_map
    if len(topology.faces) != semantics.FLAME_FACES:
        return None
    region_map = read_semantic_map(semantics.OWN_MAP_PATH)
    return region_map if semantics.map_fit(region_map, topology) >= semantics.LEAST_FIT else None


def _parts(assets: FlameAssets) -> UInt8Array:
    """Eyes are what hangs on their joints."""
    nearest = assets.weights[assets.faces].sum(axis=1).argmax(axis=1)
    parts = np.zeros(len(assets.faces), np.uint8)
    for part in ("left_eye", "right_eye"):
        parts[nearest == JOINT_NAMES.index(part)] = PARTS.index(part)
    return parts


def _mirror(assets: FlameAssets) -> Int32Array:
    """Each vertex' nearest on the other side of the mean head."""
    points = torch.from_numpy(np.asarray(assets.v_template, np.float32))
    flipped = points * torch.tensor([-1.0, 1.0, 1.0])
    exact = "donot_use_mm_for_euclid_dist"
    nearest = [
        torch.cdist(rows, points, compute_mode=exact).argmin(1)
        for rows in torch.split(flipped, _MIRROR_ROWS)
    ]
    return torch.cat(nearest).numpy().astype(np.int32)


def in_single(held: FlameAssets) -> FlameAssets:
    """A model in float32, as workers compute, in arrays of our own to write."""
    arrays = {
        name: np.array(array, np.float32 if array.dtype.kind == "f" else array.dtype)
        for name, array in held.to_arrays().items()
    }
    return FlameAssets.from_arrays(arrays)
