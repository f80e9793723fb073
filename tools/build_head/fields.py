"""The smooth displacement fields that directions are made of, over all vertices at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tools.build_head import anatomy
from tools.build_head.half_mesh import PART, WholeMesh
from tools.build_head.sculpt import LID_RADII
from tools.build_head.spline import Floats, smoothstep

Ints = NDArray[np.int32]
Vector = tuple[float, float, float]

MOUTH_Y = -38.6
LID_GAP_MM = (6.0, 2.0)  # off the eyeball: skin that is free of it, skin that follows it
MOUTH_HALF_WIDTH = 26.4
LIP_RINGS = (
    "lip_edge",
    "lip_roll",
    "lip_wet",
    "lip_contact",
    "mouth_inner",
    "mouth_vestibule",
    "mouth_deep",
)


class Fields:
    """Weights and displacements (mm) at every vertex of the mean head.

    Attributes:
        at: (V, 3) where each vertex is attached to the head; eyeballs count as their centres, so
            that they move rigidly.
        side: (V,) sign of x: +1 on the subject's left.
        is_upper: (V,) 1 above the mouth's slit, 0 below, between at the corners.
    """

    def __init__(self, mesh: WholeMesh) -> None:
        self.mesh = mesh
        self.at = mesh.rooted.copy()
        for ids, sign in ((mesh.sets["eyeball"], 1.0), (mesh.right("eyeball"), -1.0)):
            self.at[ids] = anatomy.EYE_CENTRE * [sign, 1.0, 1.0]
        self.side = np.sign(mesh.points[:, 0])
        self.fold = np.abs(self.at[:, 0])
        self.is_skin = self.of_parts("skin", "mouth")
        self.is_upper = self._upper()

    def of_parts(self, *names: str) -> NDArray[np.bool_]:
        """(V,) which vertices belong to the named parts."""
        out = np.zeros(len(self.mesh.points), bool)
        wanted = np.isin(self.mesh.parts, [PART[n] for n in names])
        out[np.unique(self.mesh.triangles[wanted])] = True
        return out

    def members(self, name: str) -> Ints:
        """Both sides' vertices of a named set."""
        return np.unique(np.concatenate([self.mesh.sets[name], self.mesh.right(name)]))

    def _upper(self) -> Floats:
        y = self.at[:, 1] - MOUTH_Y
        softness = 0.8 + np.maximum(self.fold - 21.0, 0.0) * 0.7
        upper = smoothstep(-1.0, 1.0, y / softness)
        n = anatomy.NUM_LIP_SEGMENTS
        index = np.arange(2 * n + 1)
        corner = np.clip((n - index) / 2.0, -1.0, 1.0)
        ramp = 0.5 + 0.5 * np.sin(0.5 * np.pi * corner)
        for name in LIP_RINGS:
            upper[self.mesh.sets[name]] = ramp
            upper[self.mesh.right(name)] = ramp
        upper[self.members("upper_teeth")] = 1.0
        upper[self.members("lower_teeth")] = 0.0
        upper[self.members("tongue")] = 0.0
        return upper

    def blob(self, centre: Vector, sigma: Vector, *, is_both: bool = True) -> Floats:
        """(V,) Gaussian around a point of the left half and, if asked, its mirror image."""
        x = self.fold if is_both else self.at[:, 0]
        d = np.stack([x, self.at[:, 1], self.at[:, 2]], 1) - centre
        out: Floats = np.exp(-0.5 * ((d / sigma) ** 2).sum(1))
        return out

    def push(self, weight: Floats, vector: Vector) -> Floats:
        """(V, 3): a weight times a vector given for the left half, mirrored on the right."""
        v = np.asarray(vector) * np.ones((len(weight), 1))
        v[:, 0] *= self.side
        return weight[:, None] * v

    def bump(self, centre: Vector, sigma: Vector, vector: Vector) -> Floats:
        """(V, 3): a Gaussian push of both halves."""
        return self.push(self.blob(centre, sigma), vector)

    def left_half(self, displacement: Floats, width_mm: float = 6.0) -> Floats:
        """The share of a two-sided displacement that belongs to the subject's left side."""
        share = smoothstep(-width_mm, width_mm, self.mesh.points[:, 0])
        return share[:, None] * displacement

    def lips(self, reach_mm: float = 9.0) -> Floats:
        """(V,) 1 on the lips, fading over the skin around the mouth; 0 on teeth."""
        dx = np.maximum(self.fold - MOUTH_HALF_WIDTH * 0.9, 0.0)
        dy = self.at[:, 1] - MOUTH_Y
        dy = np.sign(dy) * np.maximum(np.abs(dy) - 7.0, 0.0)
        near = np.exp(-0.5 * (dx * dx + dy * dy) / reach_mm**2)
        near *= smoothstep(30.0, 62.0, self.at[:, 2])
        out: Floats = np.where(self.is_skin, near, 0.0)
        return out

    def on_eyeballs(self, displacement: Floats) -> Floats:
        """A displacement (V, 3) with the lids kept as far off the moved eyeballs as they were.

        The lids' share of motion along the eyeball's radius becomes that of the eyeball itself.
        """
        out = displacement.copy()
        for ball, sign in (
            (self.mesh.sets["eyeball"], 1.0), (self.mesh.right("eyeball"), -1.0),
        ):  # fmt: skip
            centre = anatomy.EYE_CENTRE * [sign, 1.0, 1.0]
            offset = self.mesh.points[ball] - centre
            around = offset - offset.mean(0)
            growth = (around * displacement[ball]).sum() / (around**2).sum()
            shift = displacement[ball].mean(0) - growth * offset.mean(0)
            radial = self.mesh.points - centre
            away = np.linalg.norm(radial, axis=1)
            radial /= away[:, None]
            gap = away - anatomy.EYE_RADIUS
            held = self.is_skin * smoothstep(*LID_GAP_MM, gap)
            short = growth * anatomy.EYE_RADIUS - ((displacement - shift) * radial).sum(1)
            out += (held * short)[:, None] * radial
        return out

    def lid_gap(self) -> tuple[Floats, Floats, Floats]:
        """How far (mm) each skin vertex lies above the upper and below the lower lid's edge, and
        where between inner (0) and outer corner (1)."""
        upper, lower = anatomy.upper_lid(), anatomy.lower_lid()
        x = np.clip(self.fold, upper[0, 0], upper[-1, 0])
        above = self.at[:, 1] - np.interp(x, upper[:, 0], upper[:, 1])
        below = np.interp(x, lower[:, 0], lower[:, 1]) - self.at[:, 1]
        along = (self.fold - upper[0, 0]) / (upper[-1, 0] - upper[0, 0])
        return above, below, along


def lid_dome(at: Floats) -> Floats:
    """(N,) z of the lids' outer surface over the eyeball at folded (N, 3) points."""
    c = anatomy.EYE_CENTRE
    u, v = (np.abs(at[:, 0]) - c[0]) / LID_RADII[0], (at[:, 1] - c[1]) / LID_RADII[1]
    inside = np.maximum(1.0 - u * u - v * v, 0.0)
    out: Floats = c[2] + LID_RADII[2] * np.sqrt(inside)
    return out
