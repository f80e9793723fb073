"""Mesh labels where the picture shows more than the mesh: a volume of matter around it.

The mesh is believed where matter lies on it, or behind it. Where matter lies in front, or beyond
the mesh, the picture shows something the mesh knows nothing of: hair where it joins the scalp, and
otherwise a pixel that no label should teach (255). A network trained on portraits keeps their
background inside the volume, so that what lies beyond the mesh is never called background here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from synthforge.conventions import CLASS_IDS, IGNORE_CLASS
from workers.annotate.landmarks import FaceLandmarks
from workers.annotate.segmentation import face_mask
from workers.raster.protocol import Fragments
from workers.types import Float32Array, UInt8Array, VolumeView

HAIR_BAND_M: Final = 0.03
"""Beyond the mesh, hair lies no farther in front of or behind the visible scalp than this."""

_SEEN, _HIDDEN = 2, 1
_HAIR: Final = CLASS_IDS["hair"]

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Composite:
    """What a picture of matter shows, pixel by pixel.

    Attributes:
        segmentation: (H, W) class ids.
        fragments: of the mesh where it is what is seen; elsewhere no face, and the depth of the
            matter, or 0.
    """

    segmentation: UInt8Array
    fragments: Fragments


def compose(mesh: Fragments, classes: UInt8Array, view: VolumeView) -> Composite:
    """Lay the volume over the mesh.

    Args:
        mesh: fragments of one face, B = 1.
        classes: (H, W) of the same.
        view: of the matter.
    """
    device = mesh.z.device
    z_mesh = mesh.z[0].cpu().numpy()
    is_hit = mesh.face_id[0].cpu().numpy() >= 0
    z_matter = view.z_m if view.is_learnt else z_mesh
    in_front = is_hit & (z_matter > 0) & (z_matter < z_mesh - np.float32(view.margin_m))
    is_mesh = is_hit & (z_matter > 0) & ~in_front
    beside = ~is_hit & (z_matter > 0)
    is_hair = _hair(in_front, beside, is_mesh & (classes == _HAIR), z_mesh, z_matter)
    segmentation = np.where(is_mesh, classes, IGNORE_CLASS).astype(np.uint8)
    segmentation[is_hair] = _HAIR
    shown = torch.from_numpy(is_mesh).to(device)[None]
    depth = torch.from_numpy(np.where(is_mesh, z_mesh, z_matter)).to(device)[None]
    fragments = Fragments(
        face_id=torch.where(shown, mesh.face_id, -1).to(mesh.face_id.dtype),
        bary=torch.where(shown[..., None], mesh.bary, 0.0),
        z=depth,
    )
    return Composite(segmentation, fragments)


def _hair(
    in_front: Mask, beside: Mask, scalp: Mask, z_mesh: Float32Array, z_matter: Float32Array
) -> Mask:
    """Matter in front of the mesh, or beside it at the scalp's depth, that joins the scalp."""
    if not scalp.any():
        return scalp
    near, far = z_mesh[scalp].min() - HAIR_BAND_M, z_mesh[scalp].max() + HAIR_BAND_M
    level = beside & (z_matter >= near) & (z_matter <= far)
    whole = (in_front | level | scalp).astype(np.uint8)
    _, component = cv2.connectedComponents(whole, connectivity=4)
    joined = np.zeros(int(component.max()) + 1, bool)
    joined[np.unique(component[scalp])] = True
    joined[0] = False
    return np.asarray(joined[component] & ~scalp)


def measure_volume(mesh: Fragments, classes: UInt8Array, view: VolumeView) -> dict[str, float]:
    """Measure how well matter and mesh agree over the face.

    Returns:
        `opacity`, the share of the face's pixels with opaque matter behind them; and
        `depth_residual`, metres, the median distance along z between both, where there is matter.
    """
    face = face_mask(classes) & (mesh.face_id[0].cpu().numpy() >= 0)
    covered = face & (view.z_m > 0)
    measured = {"opacity": round(float(covered.sum()) / max(int(face.sum()), 1), 6)}
    if covered.any():
        apart = np.abs(mesh.z[0].cpu().numpy()[covered] - view.z_m[covered])
        measured["depth_residual"] = round(float(np.median(apart)), 6)
    return measured


def hide_behind(landmarks: FaceLandmarks, view: VolumeView) -> FaceLandmarks:
    """Mark landmarks as hidden that matter stands in front of, where the matter means anything."""
    if not view.is_learnt:
        return landmarks
    height, width = view.z_m.shape
    columns = np.clip(landmarks.xy_px[:, 0].astype(np.int64), 0, width - 1)
    rows = np.clip(landmarks.xy_px[:, 1].astype(np.int64), 0, height - 1)
    z_m = view.z_m[rows, columns]
    behind = (z_m > 0) & (z_m < landmarks.xyz_m[:, 2] - view.margin_m)
    visibility = np.where(behind & (landmarks.visibility == _SEEN), _HIDDEN, landmarks.visibility)
    return FaceLandmarks(
        landmarks.xy_px,
        landmarks.xyz_m,
        landmarks.jaw_fixed_xyz_m,
        visibility.astype(landmarks.visibility.dtype),
    )


def segment_by_map(
    fragments: Fragments, region_map: Tensor, uv_faces: Tensor, uv: Tensor
) -> UInt8Array:
    """Look up the class under each pixel's centre in a map over UV: hard edges, no mixing.

    Args:
        fragments: of a batch.
        region_map: (Mv, Mu) uint8 class ids, row 0 at v = 1.
        uv_faces: (F, 3) int64 corners in `uv`.
        uv: (T, 2) float32.

    Returns:
        (B, H, W) class ids; background where nothing is hit.
    """
    height, width = region_map.shape
    corners = uv[uv_faces[fragments.face_id.long().clamp_min(0)]]  # (B, H, W, 3, 2)
    bary = fragments.bary
    at = (bary[..., 0, None] * corners[..., 0, :] + bary[..., 1, None] * corners[..., 1, :]) + (
        bary[..., 2, None] * corners[..., 2, :]
    )
    columns = (at[..., 0] * width).floor().clamp(0, width - 1).long()
    rows = ((1 - at[..., 1]) * height).floor().clamp(0, height - 1).long()
    found = torch.where(
        fragments.face_id >= 0,
        region_map[rows, columns],
        torch.full_like(region_map[:1, :1], CLASS_IDS["background"]),
    )
    return np.asarray(found.cpu().numpy())
