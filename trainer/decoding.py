"""Tar members to `Sample`, by the table that wrote them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthforge.codecs import decode_member
from synthforge.conventions import DEPTH_UNIT_M
from synthforge.samples import MEMBERS, LandmarksMeta, SampleMeta, member_of_suffix

FIELDS = tuple(dict.fromkeys(member.name for member in MEMBERS))


@dataclass(frozen=True)
class Sample:
    """One picture with its labels; a label that was not asked for is None.

    Left and right are the subject's; pixels as in DESIGN section 4: the image's corner is (0, 0).

    Attributes:
        key: of the sample in its dataset.
        image: (H, W, 3) uint8 RGB.
        segmentation: (H, W) uint8 class ids; 255 = ignore.
        depth: (H, W) uint16, z in units of 0.1 mm; 0 = nothing there.
        normal: (H, W, 3) uint8, round((n + 1) / 2 * 255), camera axes; 0, 0, 0 = nothing there.
        u: (H, W) uint16, 1 + round(u * 65534); 0 = none. So too v.
        v: (H, W) uint16.
        dense: (V, 3) float32 mesh vertices, metres, camera axes.
        landmarks_px: (68, 2) float32, iBUG order.
        visibility: (68,) uint8: 0 outside the image, 1 hidden, 2 seen.
        focal_px: focal length in pixels of this very picture, also after a zoom.
        meta: everything else that `K.json` holds, as written: before any augmentation.
    """

    key: str
    image: NDArray[np.uint8]
    segmentation: NDArray[np.uint8] | None = None
    depth: NDArray[np.uint16] | None = None
    normal: NDArray[np.uint8] | None = None
    u: NDArray[np.uint16] | None = None
    v: NDArray[np.uint16] | None = None
    dense: NDArray[np.float32] | None = None
    landmarks_px: NDArray[np.float32] | None = None
    visibility: NDArray[np.uint8] | None = None
    focal_px: float | None = None
    meta: SampleMeta | None = None

    @property
    def depth_m(self) -> NDArray[np.float32] | None:
        """Depth in metres, (H, W) float32; 0 = nothing there."""
        return None if self.depth is None else self.depth * np.float32(DEPTH_UNIT_M)


def wanted_suffixes(fields: Iterable[str]) -> frozenset[str]:
    """Return the suffixes of the members that hold the named fields.

    Raises:
        ValueError: no member of the table is called so.
    """
    fields = tuple(fields)
    unknown = sorted(set(fields) - set(FIELDS))
    if unknown:
        raise ValueError(f"field {unknown[0]!r}: one of {', '.join(FIELDS)} would do")
    return frozenset(member.suffix for member in MEMBERS if member.name in fields)


def decode_sample(key: str, suffixes: Iterable[str], read: Callable[[str], bytes]) -> Sample:
    """Decode the members of one sample.

    Args:
        key: of the sample.
        suffixes: of the members to decode; `jpg` or `png` is among them.
        read: returns a member's bytes by its suffix.

    Raises:
        ValueError: a member's bytes are not what the table says, naming it.
    """
    arrays: dict[str, Any] = {}
    for suffix in suffixes:
        member = member_of_suffix(suffix)
        try:
            arrays[member.name] = decode_member(member, read(suffix))
        except ValueError as error:
            raise ValueError(f"{key}.{suffix}: {error}") from error
    meta = arrays.get("meta")
    if meta is not None:
        arrays |= landmark_arrays(meta.landmarks68)
        if meta.camera is not None:
            arrays["focal_px"] = meta.camera.intrinsics_px[0][0]
    return Sample(key=key, **arrays)


def landmark_arrays(landmarks: LandmarksMeta | None) -> dict[str, NDArray[Any]]:
    """Return the fields of `Sample` that the landmarks of `K.json` fill."""
    if landmarks is None:
        return {}
    return {
        "landmarks_px": np.array(landmarks.xy_px, np.float32),
        "visibility": np.array(landmarks.visibility, np.uint8),
    }
