"""Whether what a synthetic face says of itself agrees with its points and its pixels."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

import numpy as np

from synthforge.codecs import Array
from synthforge.conventions import CLASS_IDS
from synthforge.samples import EyeMeta, EyesMeta, LandmarksMeta, OcclusionMeta, SampleMeta
from synthforge.truths import FIRST_POINT_OF_EYE, hidden_share, lid_opening, word_faults

_SEEN: Final = 2
_SHARE_TOLERANCE: Final = 1.5e-4  # one step of the last decimal, rounding included
_PROJECTION_TOLERANCE_PX: Final = 0.002
# Written from unrounded points: a micrometre on each of six, over an eye of some 28 mm.
_OPENING_TOLERANCE: Final = 3e-4


def truth_faults(meta: SampleMeta, segmentation: Array | None) -> Iterator[str]:
    """Yield what is wrong.

    Args:
        meta: of the sample.
        segmentation: (H, W) class ids, where the job asks for them.
    """
    if meta.attributes is not None:
        yield from (f"meta: attributes.{fault}" for fault in word_faults(meta.attributes))
    if meta.eyes is not None:
        yield from _eyes_faults(meta, meta.eyes, segmentation)
    if meta.occlusion is not None and segmentation is not None:
        yield from _occlusion_faults(meta.occlusion, segmentation)


def _eyes_faults(meta: SampleMeta, eyes: EyesMeta, segmentation: Array | None) -> Iterator[str]:
    for side in ("left", "right"):
        eye: EyeMeta = getattr(eyes, side)
        where = f"meta: eyes.{side}"
        if meta.landmarks68 is not None:
            due = lid_opening(_eye_points(meta.landmarks68, side))
            if abs(eye.opening - due) > _OPENING_TOLERANCE:
                yield f"{where}.opening is {eye.opening}; its landmarks say {due}"
        if not eye.pupil_radius_m < eye.iris_radius_m:
            yield f"{where}: the pupil is not smaller than the iris"
        for name in ("iris", "pupil"):
            yield from _centre_faults(meta, eye, name, f"{where}.{name}")
            seen = getattr(eye, f"{name}_visibility") == _SEEN
            if seen and segmentation is not None:
                shown = _class_at(getattr(eye, f"{name}_xy_px"), segmentation)
                if shown != CLASS_IDS[f"{side}_eye"]:
                    yield f"{where}.{name} is seen, but the pixel there is of class {shown}"


def _centre_faults(meta: SampleMeta, eye: EyeMeta, name: str, where: str) -> Iterator[str]:
    if meta.camera is None:
        return
    x, y, z = getattr(eye, f"{name}_xyz_m")
    if z <= 0:
        return
    (fx, skew, cx), (_, fy, cy), _ = meta.camera.intrinsics_px
    due = ((fx * x + skew * y) / z + cx, fy * y / z + cy)
    if math.dist(due, getattr(eye, f"{name}_xy_px")) > _PROJECTION_TOLERANCE_PX:
        yield f"{where}_xy_px is not where {name}_xyz_m lies in the picture"


def _eye_points(landmarks: LandmarksMeta, side: str) -> tuple[tuple[float, ...], ...]:
    first = FIRST_POINT_OF_EYE[side]
    return landmarks.xyz_m[first : first + 6]


def _class_at(xy_px: tuple[float, float], segmentation: Array) -> int | None:
    column, row = math.floor(xy_px[0]), math.floor(xy_px[1])
    height, width = segmentation.shape
    return int(segmentation[row, column]) if 0 <= row < height and 0 <= column < width else None


def _occlusion_faults(held: OcclusionMeta, segmentation: Array) -> Iterator[str]:
    if set(held.whole_px) != set(held.hidden):
        yield "meta: occlusion.whole_px and occlusion.hidden name different classes"
        return
    seen = np.bincount(segmentation.ravel(), minlength=256)
    for name, whole_px in held.whole_px.items():
        if name not in CLASS_IDS:
            yield f"meta: occlusion names {name!r}, which is no class"
            continue
        due = hidden_share(whole_px, int(seen[CLASS_IDS[name]]))
        if abs(held.hidden[name] - due) > _SHARE_TOLERANCE:
            yield f"meta: occlusion.hidden.{name} is {held.hidden[name]}; the pixels say {due}"
