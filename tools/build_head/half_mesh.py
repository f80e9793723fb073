"""A mesh under construction: only the left half is built; the right one is its mirror image."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tools.build_head.spline import Floats

Ints = NDArray[np.int32]

SKIN, LEFT_BROW, RIGHT_BROW, LEFT_EYE, RIGHT_EYE, NOSE = 1, 2, 3, 4, 5, 6
UPPER_LIP, INNER_MOUTH, LOWER_LIP, HAIR, LEFT_EAR, RIGHT_EAR = 7, 8, 9, 10, 11, 12
NECK, CLOTHING = 13, 14
GLASSES, HEADWEAR, FACIAL_HAIR = 15, 16, 17
MIRRORED_REGION = {2: 3, 3: 2, 4: 5, 5: 4, 11: 12, 12: 11}

PART_NAMES = (
    "skin", "left_eye", "right_eye", "mouth", "teeth", "hair", "clothing", "beard", "headwear",
    "glasses", "tongue",
)  # fmt: skip
PART = {name: i for i, name in enumerate(PART_NAMES)}
MIRRORED_PART = {PART["left_eye"]: PART["right_eye"]}

MIDLINE_MM = 1e-6


@dataclass
class HalfMesh:
    """Vertices (mm) with x >= 0, triangles with a region, a part and a UV corner each."""

    points: list[Floats] = field(default_factory=list)
    rooted: list[Floats] = field(default_factory=list)
    triangles: list[Ints] = field(default_factory=list)
    corner_uv: list[Floats] = field(default_factory=list)
    regions: list[Ints] = field(default_factory=list)
    parts: list[Ints] = field(default_factory=list)
    sets: dict[str, Ints] = field(default_factory=dict)
    num_points: int = 0

    def add_points(self, name: str, points: Floats, rooted: Floats | None = None) -> Ints:
        """Append (N, 3) points, remember them under `name`, return their indices.

        `rooted` is where on the head each point is attached, if elsewhere (hair: on the scalp).
        """
        ids = np.arange(self.num_points, self.num_points + len(points), dtype=np.int32)
        self.points.append(np.asarray(points, dtype=np.float64))
        self.rooted.append(self.points[-1] if rooted is None else np.asarray(rooted, np.float64))
        self.num_points += len(points)
        self.sets[name] = ids
        return ids

    def add_triangles(self, triangles: Ints, uv: Floats, region: Ints | int, part: str) -> None:
        """Append (T, 3) triangles with UV corners (T, 3, 2)."""
        num = len(triangles)
        self.triangles.append(np.asarray(triangles, np.int32))
        self.corner_uv.append(np.asarray(uv, np.float64))
        self.regions.append(np.broadcast_to(np.asarray(region, np.int32), (num,)))
        self.parts.append(np.full(num, PART[part], np.int32))

    def position(self, ids: Ints) -> Floats:
        """(N, 3) points of given indices."""
        out: Floats = np.concatenate(self.points)[ids]
        return out


@dataclass(frozen=True)
class WholeMesh:
    """Both halves: the left half's vertices come first, then the mirrored ones off the midline."""

    points: Floats  # (V, 3) mm
    rooted: Floats  # (V, 3) mm, where each vertex is attached to the head
    triangles: Ints  # (F, 3)
    uv: Floats  # (T, 2)
    uv_triangles: Ints  # (F, 3)
    regions: Ints  # (F,)
    parts: Ints  # (F,)
    mirror: Ints  # (V,)
    sets: dict[str, Ints]  # of the left half

    def right(self, name: str) -> Ints:
        """The mirror twins of a named set."""
        return self.mirror[self.sets[name]]


def mirror(half: HalfMesh) -> WholeMesh:
    """Close the mesh by its mirror image; midline vertices are shared."""
    left = np.concatenate(half.points)
    rooted = np.concatenate(half.rooted)
    is_mid = np.abs(left[:, 0]) < MIDLINE_MM
    left[is_mid, 0] = 0.0
    num_left = len(left)
    twin = np.arange(num_left, dtype=np.int32)
    twin[~is_mid] = num_left + np.arange(int((~is_mid).sum()), dtype=np.int32)
    points = np.concatenate([left, left[~is_mid] * [-1.0, 1.0, 1.0]])
    back = np.concatenate([twin, np.nonzero(~is_mid)[0].astype(np.int32)])
    triangles = np.concatenate(half.triangles)
    corner = np.concatenate(half.corner_uv)
    regions, parts = np.concatenate(half.regions), np.concatenate(half.parts)
    twin_region = np.array([MIRRORED_REGION.get(int(r), int(r)) for r in regions])
    twin_part = np.array([MIRRORED_PART.get(int(p), int(p)) for p in parts])
    all_corner = np.concatenate([corner, (corner * [-1.0, 1.0] + [1.0, 0.0])[:, ::-1]])
    flat = np.round(all_corner.reshape(-1, 2), 6)
    uv, uv_index = np.unique(flat, axis=0, return_inverse=True)
    return WholeMesh(
        points=points,
        rooted=np.concatenate([rooted, rooted[~is_mid] * [-1.0, 1.0, 1.0]]),
        triangles=np.concatenate([triangles, twin[triangles][:, ::-1]]).astype(np.int32),
        uv=uv,
        uv_triangles=uv_index.reshape(-1, 3).astype(np.int32),
        regions=np.concatenate([regions, twin_region]).astype(np.int32),
        parts=np.concatenate([parts, twin_part]).astype(np.int32),
        mirror=back.astype(np.int32),
        sets=dict(half.sets),
    )


def strip(outer: Ints, inner: Ints, *, is_closed: bool) -> Ints:
    """Triangles between two rows of equal length, winding outer -> next outer -> inner."""
    a, b = outer, inner
    if is_closed:
        a, b = np.r_[a, a[:1]], np.r_[b, b[:1]]
    first = np.stack([a[:-1], a[1:], b[:-1]], 1)
    second = np.stack([a[1:], b[1:], b[:-1]], 1)
    out: Ints = np.stack([first, second], 1).reshape(-1, 3).astype(np.int32)
    return out


def fan(ring: Ints, centre: int, *, is_closed: bool) -> Ints:
    """Triangles from a row to one point."""
    a = np.r_[ring, ring[:1]] if is_closed else ring
    out: Ints = np.stack([a[:-1], a[1:], np.full(len(a) - 1, centre)], 1).astype(np.int32)
    return out
