"""Features sculpted onto the loft: bumps and hollows, eye sockets, lids, nose.

The front of the face is a height field: every field moves points along z, so that frontal curves
(lids, lips, brows) stay where anatomy.py puts them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tools.build_head import anatomy
from tools.build_head.spline import Floats, resample, smoothstep


@dataclass(frozen=True)
class Bump:
    """A Gaussian push along z of both halves of the face (millimetres, turn in degrees)."""

    name: str
    x: float
    y: float
    sigma_x: float
    sigma_y: float
    push_mm: float
    turn_deg: float = 0.0

    def height(self, points: Floats) -> Floats:
        """(N,) push at (N, 3) points of either side."""
        dx, dy = np.abs(points[:, 0]) - self.x, points[:, 1] - self.y
        c, s = np.cos(np.deg2rad(self.turn_deg)), np.sin(np.deg2rad(self.turn_deg))
        u, v = (c * dx + s * dy) / self.sigma_x, (-s * dx + c * dy) / self.sigma_y
        out: Floats = self.push_mm * np.exp(-0.5 * (u * u + v * v))
        return out


BUMPS = (
    Bump("brow ridge", 27.0, 46.5, 17.0, 6.0, 2.4, -4.0),
    Bump("glabella", 0.0, 49.0, 9.0, 7.0, 1.2),
    Bump("frontal eminence", 28.0, 88.0, 16.0, 14.0, 1.6),
    Bump("socket", 33.0, 31.0, 11.5, 9.0, -7.4),
    Bump("inner socket", 17.0, 29.5, 5.5, 8.0, -8.5),
    Bump("under the brow", 30.0, 40.5, 13.0, 4.0, -1.4),
    Bump("nasal side", 18.0, 10.0, 6.0, 10.0, -2.2),
    Bump("tear trough", 21.0, 17.5, 7.0, 3.5, -1.6, -28.0),
    Bump("lid bag", 31.0, 17.0, 12.0, 4.5, 0.8),
    Bump("cheekbone", 45.0, 4.0, 12.0, 10.0, 4.2, -25.0),
    Bump("apple", 33.0, -4.0, 10.0, 9.0, 2.6),
    Bump("cheek hollow", 50.0, -28.0, 9.0, 12.0, -1.4, 20.0),
    Bump("nasolabial groove", 25.0, -21.0, 2.6, 11.0, -1.5, 24.0),
    Bump("jowl side of the mouth", 36.0, -33.0, 7.0, 9.0, 1.5),
    Bump("mouth corner", 29.0, -40.0, 4.5, 4.5, -1.6),
    Bump("upper lip skin", 0.0, -28.0, 16.0, 8.0, 3.6),
    Bump("philtrum", 0.0, -23.0, 1.9, 5.5, -0.9),
    Bump("philtral column", 4.4, -23.0, 1.7, 5.0, 0.7, 12.0),
    Bump("lower lip skin", 0.0, -47.0, 15.0, 5.0, 2.4),
    Bump("mentolabial groove", 0.0, -55.5, 14.0, 3.6, -3.0),
    Bump("chin", 0.0, -69.0, 12.0, 8.5, 3.6),
    Bump("chin side", 20.0, -66.0, 7.0, 9.0, -1.2),
)

ALAR_GROOVE = [(11.0, -1.5), (15.0, -1.2), (18.3, -4.5), (19.3, -9.0), (18.3, -13.5), (16.5, -16.0)]
NOSE_BLEND_MM = 5.5
LID_BLEND_MM = 2.2
LID_RADII = np.array([15.2, 13.5, 13.4])


@dataclass(frozen=True)
class RoundCone:
    """A stretched ball: spheres of two radii and everything between them."""

    start: tuple[float, float, float]
    end: tuple[float, float, float]
    start_radius: float
    end_radius: float

    def distance(self, p: Floats) -> Floats:
        """(N,) approximate signed distance."""
        a, b = np.asarray(self.start), np.asarray(self.end)
        axis = b - a
        t = np.clip((p - a) @ axis / (axis @ axis), 0.0, 1.0)
        radius = self.start_radius + (self.end_radius - self.start_radius) * t
        out: Floats = np.linalg.norm(p - a - t[:, None] * axis, axis=1) - radius
        return out


@dataclass(frozen=True)
class Ellipsoid:
    """An ellipsoid, in both halves of the face."""

    centre: tuple[float, float, float]
    radii: tuple[float, float, float]

    def distance(self, p: Floats) -> Floats:
        """(N,) approximate signed distance."""
        r = np.asarray(self.radii)
        q = np.abs(p) * [1, 0, 0] + p * [0, 1, 1] - self.centre
        k0 = np.linalg.norm(q / r, axis=1)
        k1 = np.maximum(np.linalg.norm(q / (r * r), axis=1), 1e-9)
        out: Floats = k0 * (k0 - 1.0) / k1
        return out


NOSE = (
    (RoundCone((0.0, 38.0, 70.5), (0.0, 16.0, 80.0), 8.6, 8.6), 0.0),
    (RoundCone((0.0, 16.0, 80.0), (0.0, -3.0, 92.0), 8.6, 9.6), 5.0),
    (RoundCone((0.0, 30.0, 60.0), (0.0, -8.0, 77.0), 11.5, 15.5), 5.0),  # the broad base
    (Ellipsoid((0.0, -5.8, 94.8), (9.2, 8.6, 9.8)), 4.0),
    (Ellipsoid((4.2, -6.4, 96.3), (6.0, 6.4, 7.2)), 3.5),
    (RoundCone((0.0, -8.4, 95.0), (0.0, -11.8, 80.0), 3.9, 4.0), 3.0),
    (Ellipsoid((11.9, -8.8, 84.5), (5.6, 6.4, 9.6)), 4.5),
)


def smooth_min(a: Floats, b: Floats, width: float) -> Floats:
    """The smaller of two fields with a fillet of the given width."""
    h = np.clip(0.5 + 0.5 * (b - a) / width, 0.0, 1.0)
    out: Floats = b + (a - b) * h - width * h * (1.0 - h)
    return out


def _nose_distance(p: Floats) -> Floats:
    field = NOSE[0][0].distance(p)
    for shape, blend in NOSE[1:]:
        field = smooth_min(field, shape.distance(p), blend)
    return field


def add_nose(points: Floats) -> Floats:
    """The face's points moved along z onto its smooth union with the nose: (N, 3)."""
    out = points.copy()
    near = (np.abs(points[:, 0]) < 34) & (points[:, 1] > -40) & (points[:, 1] < 62)
    near &= points[:, 2] > 40
    p = points[near].copy()
    floor = p[:, 2].copy()
    p[:, 2] = 125.0
    for _ in range(70):
        gap = smooth_min(_nose_distance(p), 0.8 * (p[:, 2] - floor), NOSE_BLEND_MM)
        p[:, 2] -= 0.75 * gap
    out[near] = p
    return out


def add_lids(points: Floats) -> Floats:
    """The sockets' floor raised to the lids, which follow the eyeballs: (N, 3)."""
    c = anatomy.EYE_CENTRE
    u = (np.abs(points[:, 0]) - c[0]) / LID_RADII[0]
    v = (points[:, 1] - c[1]) / LID_RADII[1]
    inside = 1.0 - u * u - v * v
    # Below the rim the ellipsoid is continued by a steep slope: the fillet needs a value there.
    dome = np.where(
        inside > 0.05, np.sqrt(np.maximum(inside, 0.05)), 0.2236 + 2.236 * (inside - 0.05)
    )
    lid = c[2] + LID_RADII[2] * dome
    out = points.copy()
    raised = -smooth_min(-points[:, 2], -lid, LID_BLEND_MM)
    is_near = (inside > -1.2) & (points[:, 2] > 30)
    out[:, 2] = np.where(is_near, raised, points[:, 2])
    return out


def crease(points: Floats, curve: Floats, sigma_mm: float, depth_mm: float) -> Floats:
    """A groove (or, with negative depth, a fold) along a frontal curve, fading at its ends."""
    out = points.copy()
    low, high = curve.min(0) - 4 * sigma_mm, curve.max(0) + 4 * sigma_mm
    folded = np.stack([np.abs(points[:, 0]), points[:, 1]], 1)
    near = ((folded > low) & (folded < high)).all(1)
    fine = resample(curve, 160)
    gap = np.linalg.norm(folded[near][:, None] - fine[None], axis=2)  # (N, K)
    along = gap.argmin(1) / (len(fine) - 1)
    fade = smoothstep(0.0, 0.2, along) * smoothstep(0.0, 0.2, 1.0 - along)
    push = -depth_mm * fade * np.exp(-0.5 * (gap.min(1) / sigma_mm) ** 2)
    out[near, 2] += push * (points[near, 2] > 30)
    return out


def sculpt(base: Floats) -> Floats:
    """The loft's points (N, 3) with every feature of the face and neck added."""
    p = base.copy()
    is_front = smoothstep(0.0, 30.0, base[:, 2])
    for bump in BUMPS:
        p[:, 2] += bump.height(base) * is_front
    p = _sculpt_sides(p)
    p = add_lids(p)
    p = crease(p, anatomy.lid_crease(), 1.5, 1.2)
    p = crease(p, anatomy.lid_crease() + np.array([0.3, 2.9]), 2.0, -1.0)
    p = crease(p, anatomy.lower_lid() + np.array([0.0, -6.0]), 1.6, 0.5)
    p = add_nose(p)
    return crease(p, np.array(ALAR_GROOVE), 1.5, 1.5)


@dataclass(frozen=True)
class Push:
    """A round push (millimetres) of both sides around a point of the left one."""

    name: str
    centre: tuple[float, float, float]
    sigma_mm: float
    push: tuple[float, float, float]


PUSHES = (
    Push("temple", (70.0, 50.0, 30.0), 16.0, (-3.2, 0.0, -0.5)),
    Push("zygomatic arch", (66.0, 14.0, 22.0), 13.0, (1.6, 0.0, 0.0)),
    Push("jaw angle", (57.0, -50.0, 4.0), 15.0, (2.2, -1.0, 0.0)),
    Push("behind the jaw", (56.0, -52.0, -28.0), 13.0, (-4.5, 0.0, 2.0)),
    Push("under the ear", (62.0, -20.0, -30.0), 11.0, (-2.0, 0.0, 0.0)),
    Push("larynx", (0.0, -112.0, 24.0), 8.0, (0.0, 0.0, 2.4)),
    Push("neck muscle", (34.0, -122.0, 12.0), 11.0, (1.0, 0.0, 2.6)),
    Push("neck groove", (14.0, -132.0, 18.0), 9.0, (0.0, 0.0, -1.6)),
    Push("nape", (0.0, -62.0, -72.0), 16.0, (0.0, 0.0, 2.0)),
)


def _sculpt_sides(points: Floats) -> Floats:
    out = points.copy()
    side = np.sign(points[:, 0])
    folded = np.stack([np.abs(points[:, 0]), points[:, 1], points[:, 2]], 1)
    for push in PUSHES:
        gap2 = ((folded - push.centre) ** 2).sum(1)
        weight = np.exp(-0.5 * gap2 / push.sigma_mm**2)
        out += weight[:, None] * np.asarray(push.push)
        out[:, 0] += weight * push.push[0] * (side - 1.0)
    return out
