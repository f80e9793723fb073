"""Where the 68 iBUG points lie on the mesh: 51 fixed ones, and 17 that follow the view."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tools.build_head import anatomy
from tools.build_head.chart import Chart
from tools.build_head.half_mesh import PART, WholeMesh
from tools.build_head.spline import Floats
from workers.flame.outline import PITCH_GRID_DEG, YAW_GRID_DEG, outermost

Ints = NDArray[np.int32]
# Position in 17..67 of each point's mirror twin: filled from the pairs below.
LEFT_TO_RIGHT = {
    22: 21, 23: 20, 24: 19, 25: 18, 26: 17, 34: 32, 35: 31, 42: 39, 43: 38, 44: 37, 45: 36,
    46: 41, 47: 40, 52: 50, 53: 49, 54: 48, 55: 59, 56: 58, 63: 61, 64: 60, 65: 67,
}  # fmt: skip
# Frontal (x, y), mm, of the points under the nose: nostril bases, subnasale.
NOSE_BASE = {33: (0.0, -17.6), 34: (7.4, -16.8), 35: (12.6, -15.6)}
# From the lids' edges outward: at the very edge a pixel beside the point would see the eyeball.
LID_SKIN_MM = 0.8
# x (mm) of the points of the upper and of the lower lip: at the vermilion border, where lips meet.
LIP_BORDER_X = ({51: 0.0, 52: 6.6, 53: 18.3}, {57: 0.0, 56: 9.5, 55: 17.9})
LIP_CONTACT_X = ({62: 0.0, 63: 8.8}, {66: 0.0, 65: 8.8})
BORDER_SHARE = 0.3  # of the way from the border to the first row of the lip's roll
CONTACT_SHARE = 0.25  # of the way from where the lips meet to their wet row
NOSE_RIDGE_Y = {27: 28.6, 28: 15.8, 29: 2.8, 30: -8.4}
BROW_LINE = 0.75  # of the way from the brow's centre to its upper edge


@dataclass(frozen=True)
class OnMesh:
    """A point of the mesh: a triangle and barycentric weights of its corners."""

    face: int
    bary: tuple[float, float, float]


class Locator:
    """Finds mesh points: by an edge, by a frontal position, by a place on the chart."""

    def __init__(self, mesh: WholeMesh, chart: Chart, plane: Floats) -> None:
        self.mesh = mesh
        self.chart = chart
        self._face_of_edge: dict[tuple[int, int], int] = {}
        self._face_of: dict[tuple[int, ...], int] = {}
        for i, t in enumerate(mesh.triangles.tolist()):
            self._face_of[tuple(sorted(t))] = i
            for k in range(3):
                self._face_of_edge.setdefault((t[k], t[(k + 1) % 3]), i)
        skin = mesh.sets["skin"]
        is_chart = np.isin(mesh.triangles, skin).all(1) & (mesh.parts == PART["skin"])
        self._chart_faces = np.nonzero(is_chart)[0]
        order = np.full(len(mesh.points), -1)
        order[skin] = np.arange(len(skin))
        self._chart_plane = plane[order[mesh.triangles[is_chart]]]  # (T, 3, 2)

    def on_edge(self, a: int, b: int, t: float) -> OnMesh:
        """The point at share t from vertex a to b of an edge."""
        face = self._face_of_edge.get((a, b), self._face_of_edge.get((b, a), -1))
        if face < 0:
            raise ValueError(f"vertices {a} and {b} share no edge")
        corners = self.mesh.triangles[face].tolist()
        bary = [0.0, 0.0, 0.0]
        bary[corners.index(a)] = 1.0 - t
        bary[corners.index(b)] += t
        return OnMesh(face, (bary[0], bary[1], bary[2]))

    def along(self, chain: Ints, share: float) -> OnMesh:
        """The point at a share of the arc length of a chain of vertices."""
        p = self.mesh.points[chain]
        length = np.r_[0.0, np.cumsum(np.linalg.norm(np.diff(p, axis=0), axis=1))]
        return self._at(chain, length / length[-1], share)

    def along_axis(self, chain: Ints, axis: int, value: float) -> OnMesh:
        """The first point of a chain whose coordinate has the value (mm)."""
        c = self.mesh.points[chain][:, axis]
        for i in range(len(chain) - 1):
            if (c[i] - value) * (c[i + 1] - value) <= 0 and c[i] != c[i + 1]:
                t = (value - c[i]) / (c[i + 1] - c[i])
                return self.on_edge(int(chain[i]), int(chain[i + 1]), float(t))
        raise ValueError(f"no point of the chain has {'xyz'[axis]} = {value} mm")

    def between(self, row: Ints, beside: Ints, x: float, share: float) -> OnMesh:
        """The point where a row of vertices has the x (mm), a share of the way to the row beside.

        Both rows have as many vertices; triangles join them.
        """
        at = self.mesh.points[row][:, 0]
        i = int(np.clip(np.searchsorted(at, x, side="right") - 1, 0, len(row) - 2))
        u, t = float((x - at[i]) / (at[i + 1] - at[i])), share
        a, b, c, d = (int(v) for v in (row[i], row[i + 1], beside[i], beside[i + 1]))
        if tuple(sorted((a, b, c))) in self._face_of:
            near = u + t <= 1
            weight = {a: 1 - u - t, b: u, c: t} if near else {b: 1 - t, d: u + t - 1, c: 1 - u}
        else:
            near = t <= u
            weight = {a: 1 - u, b: u - t, d: t} if near else {a: 1 - t, c: t - u, d: u}
        face = self._face_of[tuple(sorted(weight))]
        bary = [weight[v] for v in self.mesh.triangles[face].tolist()]
        return OnMesh(face, (bary[0], bary[1], bary[2]))

    def _at(self, chain: Ints, knots: Floats, value: float) -> OnMesh:
        i = int(np.clip(np.searchsorted(knots, value, side="right") - 1, 0, len(chain) - 2))
        t = float((value - knots[i]) / (knots[i + 1] - knots[i]))
        return self.on_edge(int(chain[i]), int(chain[i + 1]), t)

    def on_chart(self, q: Floats) -> OnMesh:
        """The point of the skin's left half above a place of the chart."""
        a, b, c = (self._chart_plane[:, i] for i in range(3))
        area = _cross(b - a, c - a)
        w = np.stack([_cross(b - q, c - q), _cross(c - q, a - q), _cross(a - q, b - q)], 1)
        w = w / area[:, None]
        best = int(np.argmax(w.min(1)))
        bary = np.clip(w[best], 0.0, None)
        bary /= bary.sum()
        return OnMesh(int(self._chart_faces[best]), (bary[0], bary[1], bary[2]))

    def in_front(self, xy: tuple[float, float]) -> OnMesh:
        """The point of the skin's left half that the frontal view shows at (x, y) mm."""
        theta, row = self.chart.locate_front(np.array([xy]))
        return self.on_chart(self.chart.to_plane(theta, row)[0])

    def mirrored(self, point: OnMesh) -> OnMesh:
        """The twin on the other side."""
        corners = self.mesh.triangles[point.face]
        twins = self.mesh.mirror[corners]
        face = self._face_of[tuple(sorted(twins.tolist()))]
        weight = dict(zip(twins.tolist(), point.bary, strict=True))
        bary = [weight[v] for v in self.mesh.triangles[face].tolist()]
        return OnMesh(face, (bary[0], bary[1], bary[2]))

    def position(self, point: OnMesh) -> Floats:
        """(3,) mm on the mean head."""
        out: Floats = np.asarray(point.bary) @ self.mesh.points[self.mesh.triangles[point.face]]
        return out


def _cross(u: Floats, v: Floats) -> Floats:
    out: Floats = u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]
    return out


def inner_landmarks(locator: Locator) -> list[OnMesh]:
    """iBUG points 17..67."""
    sets = locator.mesh.sets
    n = anatomy.NUM_LID_SEGMENTS
    brow = anatomy.brow_line(BROW_LINE)
    point: dict[int, OnMesh] = {}
    for i, share in zip(range(22, 27), (0.04, 0.26, 0.5, 0.75, 1.0), strict=True):
        point[i] = locator.in_front(_at_share(brow, share))
    for i, y in NOSE_RIDGE_Y.items():
        point[i] = locator.along_axis(sets["midline_top"], 1, y)
    for i, xy in NOSE_BASE.items():
        point[i] = locator.in_front(xy)
    ring = anatomy.lid_ring(LID_SKIN_MM)
    upper, lower = ring[: n + 1], np.concatenate([ring[n:], ring[:1]])
    for chain, shares in (
        (upper, {42: 0.0, 43: 0.33, 44: 0.67, 45: 1.0}), (lower, {46: 0.33, 47: 0.67}),
    ):  # fmt: skip
        for i, share in shares.items():
            point[i] = locator.in_front(_at_share(chain, share))
    point |= _lip_points(locator)
    for left, right in LEFT_TO_RIGHT.items():
        point[right] = locator.mirrored(point[left])
    return [point[i] for i in range(17, 68)]


def _lip_points(locator: Locator) -> dict[int, OnMesh]:
    """Midline and left points of both lips: a hair inside of their edges, on what is seen."""
    sets, m = locator.mesh.sets, anatomy.NUM_LIP_SEGMENTS
    point: dict[int, OnMesh] = {}
    for edge, inside, share, corner, upper, lower in (
        ("lips", "lip_edge", BORDER_SHARE, 54, LIP_BORDER_X[0], LIP_BORDER_X[1]),
        ("lip_contact", "lip_wet", CONTACT_SHARE, 64, LIP_CONTACT_X[0], LIP_CONTACT_X[1]),
    ):
        rows = sets[edge], sets[inside]
        top, bottom = [r[: m + 1] for r in rows], [r[m:][::-1] for r in rows]
        point[corner] = locator.along(top[0], 1.0)
        for (row, beside), places in ((top, upper), (bottom, lower)):
            for i, x in places.items():
                point[i] = locator.between(row, beside, x, share)
    return point


def _at_share(curve: Floats, share: float) -> tuple[float, float]:
    """The frontal place at a share of the arc length of a polyline (N, 2)."""
    length = np.r_[0.0, np.cumsum(np.linalg.norm(np.diff(curve, axis=0), axis=1))]
    at = share * length[-1]
    return float(np.interp(at, length, curve[:, 0])), float(np.interp(at, length, curve[:, 1]))


# The line on which each contour point (left side, 8 = chin to 16 = ear) slides as the view
# changes: from its place at the jaw or ear to the face's middle; (y, z) beside or (x, y) in front.
SLIDES: dict[int, tuple[tuple[str, float, float], tuple[str, float, float]]] = {
    16: (("side", 24.0, -7.0), ("front", 22.0, 20.0)),
    15: (("side", 4.0, -7.0), ("front", 20.0, 2.0)),
    14: (("side", -14.0, -7.0), ("front", 20.0, -14.0)),
    13: (("side", -31.0, -6.0), ("front", 24.0, -27.0)),
    12: (("side", -49.0, -1.0), ("front", 30.0, -40.0)),
    11: (("side", -62.5, 17.0), ("front", 24.0, -51.0)),
    10: (("side", -72.5, 41.0), ("front", 16.0, -56.0)),
    9: (("side", -80.5, 64.0), ("front", 8.0, -58.0)),
    8: (("front", 0.0, -80.0), ("front", 0.0, -56.0)),
}
NUM_SLIDE_POINTS = 28
CHIN_ROW = 15.35


def _slides(locator: Locator) -> dict[int, list[OnMesh]]:
    """The candidate points of every contour point, outermost first."""
    chart = locator.chart
    out = {}
    for index, ends in SLIDES.items():
        places = []
        for kind, a, b in ends:
            locate = chart.locate_side if kind == "side" else chart.locate_front
            theta, row = locate(np.array([[a, b]]))
            places.append(np.array([theta[0], row[0]]))
        if index == 8:
            places[0] = np.array([0.0, CHIN_ROW])
        t = np.linspace(0.0, 1.0, NUM_SLIDE_POINTS)[:, None]
        at = places[0] + (places[1] - places[0]) * t
        out[index] = [locator.on_chart(q) for q in chart.to_plane(at[:, 0], at[:, 1])]
    for index in range(9, 17):
        out[16 - index] = [locator.mirrored(p) for p in out[index]]
    return out


def contour_grid(locator: Locator) -> list[list[list[OnMesh]]]:
    """[yaw][pitch][17] points on the visible outline of the face.

    Of the candidates on each slide, the one that lies farthest outward in the image.
    """
    slides = _slides(locator)
    where = {k: np.stack([locator.position(p) for p in slide]) for k, slide in slides.items()}
    return [
        [
            [slides[k][best] for k, best in enumerate(outermost(where, float(yaw), float(pitch)))]
            for pitch in PITCH_GRID_DEG
        ]
        for yaw in YAW_GRID_DEG
    ]
