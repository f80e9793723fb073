"""Where irises and pupils are, whether the picture shows them, and how far the lids are open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from synthforge.conventions import CLASS_IDS
from synthforge.samples import EyeMeta, EyesMeta
from synthforge.truths import FIRST_POINT_OF_EYE, lid_opening
from workers.annotate.landmarks import M_DECIMALS, PX_DECIMALS
from workers.camera import project
from workers.raster.visibility import HIDDEN, OUTSIDE, SEEN
from workers.types import (
    Camera,
    Described,
    Float32Array,
    Float64Array,
    Int32Array,
    Topology,
    UInt8Array,
)

JOINT_OF_EYE: Final = {"left": 3, "right": 4}


def eyeball_vertices(topology: Topology) -> dict[str, Int32Array]:
    """Return the vertices of each eyeball by side; empty where a head has none."""
    return {
        side: np.unique(topology.faces[topology.face_region == CLASS_IDS[f"{side}_eye"]])
        for side in JOINT_OF_EYE
    }


def locate_eyes(
    described: Described,
    eyeballs: Mapping[str, Int32Array],
    camera: Camera,
    *,
    vertices_cam: Float32Array,
    joint_transforms: Float32Array,
    landmarks_m: Float64Array,
    segmentation: UInt8Array,
) -> EyesMeta | None:
    """Measure both eyes; None where the head has no eyeballs.

    Args:
        described: how large its irises and pupils are.
        eyeballs: of `eyeball_vertices`.
        camera: of the picture.
        vertices_cam: (V, 3) camera axes, metres.
        joint_transforms: (5, 4, 4) rest pose to world; eyes look along their z axes.
        landmarks_m: (68, 3) camera axes, metres.
        segmentation: (H, W) class ids.
    """
    if not all(len(ball) for ball in eyeballs.values()):
        return None
    eyes = {}
    for side, joint in JOINT_OF_EYE.items():
        turn, shift = camera.world2cam[:3, :3], camera.world2cam[:3, 3]
        eye = joint_transforms[joint].astype(np.float64)
        centre, ahead = turn @ eye[:3, 3] + shift, turn @ eye[:3, 2]
        radius_m = float(np.median(np.linalg.norm(vertices_cam[eyeballs[side]] - centre, axis=1)))
        eyeball = _Eyeball(centre, ahead / np.linalg.norm(ahead), radius_m)
        fields: dict[str, object] = {}
        for name, share in (("iris", described.iris_radius), ("pupil", described.pupil_radius)):
            fields |= _disc(name, share, eyeball, camera, segmentation, CLASS_IDS[f"{side}_eye"])
        first = FIRST_POINT_OF_EYE[side]
        opening = lid_opening(landmarks_m[first : first + 6].tolist())
        eyes[side] = EyeMeta.model_validate(fields | {"opening": opening})
    return EyesMeta(**eyes)


@dataclass(frozen=True)
class _Eyeball:
    """Camera axes, metres; `ahead` is where it looks."""

    centre: Float64Array
    ahead: Float64Array
    radius_m: float


def _disc(
    name: str,
    share: float,
    ball: _Eyeball,
    camera: Camera,
    segmentation: UInt8Array,
    class_id: int,
) -> dict[str, object]:
    """Fields of the disc that a circle around the eyeball's pole bounds.

    Args:
        share: radius of the circle over that of the eyeball.
    """
    away = ball.radius_m * np.sqrt(1.0 - share**2) * ball.ahead
    middle = np.round(ball.centre + away, M_DECIMALS)
    at = np.round(project(middle, camera.intrinsics_px), PX_DECIMALS)
    shown = _class_at(at, segmentation) if middle[2] > 0 else None
    is_turned_here = float(middle @ ball.ahead) < 0
    return {
        f"{name}_xyz_m": tuple(middle.tolist()),
        f"{name}_xy_px": tuple(at.tolist()),
        f"{name}_radius_m": round(ball.radius_m * share, M_DECIMALS),
        f"{name}_visibility": _visibility(shown, class_id, is_turned_here),
    }


def _class_at(xy_px: Float64Array, segmentation: UInt8Array) -> int | None:
    """Class of the pixel that a point lies in; None outside the picture."""
    column, row = (int(np.floor(value)) for value in xy_px)
    height, width = segmentation.shape
    return int(segmentation[row, column]) if 0 <= row < height and 0 <= column < width else None


def _visibility(shown: int | None, class_id: int, is_turned_here: bool) -> int:
    if shown is None:
        return OUTSIDE
    return SEEN if shown == class_id and is_turned_here else HIDDEN
