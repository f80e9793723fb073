"""The gate: measurements of a face against the limits of its job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from synthforge.jobs import Quality
from workers.annotate.segmentation import face_mask
from workers.types import Float64Array, UInt8Array


@dataclass(frozen=True)
class Accepted:
    """The face stays; `measured` goes into `K.json`."""

    measured: Mapping[str, float]


@dataclass(frozen=True)
class Rejected:
    """The face is drawn again: `reason` is counted, `measured` lies beyond `limit`."""

    reason: str
    measured: float
    limit: float


def measure(landmarks_px: Float64Array, segmentation: UInt8Array) -> dict[str, float]:
    """Measure what the gate judges.

    Args:
        landmarks_px: (68, 2) in pixels.
        segmentation: (H, W) class ids.

    Returns:
        `landmarks_inside`, the share of landmarks inside the picture, and `face`, the share of
        the picture that the classes of the face cover.
    """
    height, width = segmentation.shape
    inside = np.all((landmarks_px >= 0) & (landmarks_px < [width, height]), axis=1)
    num_face_px = int(np.count_nonzero(face_mask(segmentation)))
    return {
        "face": round(num_face_px / segmentation.size, 6),
        "landmarks_inside": round(float(inside.mean()), 6),
    }


def judge(measured: Mapping[str, float], limits: Quality) -> Accepted | Rejected:
    """Compare measurements with limits; the first limit that is missed names the reason."""
    gates = (
        ("landmarks_outside", "landmarks_inside", limits.min_landmarks_inside),
        ("face_too_small", "face", limits.min_face),
    )
    for reason, name, limit in gates:
        if measured[name] < limit:
            return Rejected(reason, measured[name], limit)
    return Accepted(measured)


def judge_volume(measured: Mapping[str, float], limits: Quality) -> Accepted | Rejected:
    """Compare what `measure_volume` found with the limits that the job sets."""
    least_opacity, largest_residual = limits.min_opacity, limits.max_depth_residual
    if least_opacity is not None and measured["opacity"] < least_opacity:
        return Rejected("face_transparent", measured["opacity"], least_opacity)
    residual = measured.get("depth_residual", 0.0)
    if largest_residual is not None and residual > largest_residual:
        return Rejected("mesh_off_volume", residual, largest_residual)
    return Accepted(measured)
