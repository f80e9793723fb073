"""The triangulated left half of the skin: fixed points on feature curves, graded ones between."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import numba
import numpy as np
from numpy.typing import NDArray

from tools.build_head import anatomy
from tools.build_head.chart import Chart
from tools.build_head.loft import LAST_ROW, ROW_JAW_BORDER
from tools.build_head.sculpt import sculpt
from tools.build_head.spline import Floats, smooth_curve
from tools.build_head.triangulate import Ints, delaunay, flip_to_space, inside

FACE_EDGE_MM = 5.2
SKULL_EDGE_MM = 15.0
GRADING = 0.25
NUM_RELAXATIONS = 48


@dataclass
class HalfSkin:
    """The chart's mesh: plane coordinates, where on the loft, triangles and named vertex lists."""

    plane: Floats
    theta: Floats
    row: Floats
    triangles: Ints
    curves: dict[str, Ints]


@dataclass
class _Seeds:
    plane: list[Floats] = field(default_factory=list)
    curves: dict[str, Ints] = field(default_factory=dict)
    num: int = 0

    def add(self, name: str, plane: Floats) -> None:
        self.curves[name] = np.arange(self.num, self.num + len(plane), dtype=np.int32)
        self.plane.append(plane)
        self.num += len(plane)


class EdgeLength:
    """The wanted edge length (mm) at points of the loft: fine at features, coarse elsewhere."""

    def __init__(self, chart: Chart) -> None:
        sources = [
            (anatomy.lid_loop(), 2.0),
            (anatomy.lid_crease(), 2.4),
            (anatomy.lip_half_loop(anatomy.UPPER_LIP_BORDER, anatomy.LOWER_LIP_BORDER), 2.3),
            (anatomy.nostril_loop(), 1.6),
            (smooth_curve([(0.0, -5.0), (6.0, -6.0), (14.0, -4.0), (18.0, -9.0)], 9), 2.3),
            (smooth_curve([(0.0, 30.0), (0.0, 10.0), (5.0, -8.0)], 9), 3.0),
            (anatomy.brow_centre(), 3.6),
            (smooth_curve([(0.0, -60.0), (0.0, -70.0)], 4), 4.2),
        ]
        self._centres = np.concatenate([s for s, _ in sources])
        self._edges = np.concatenate([np.full(len(s), e) for s, e in sources])
        ear = chart.loft(*chart.locate_side(anatomy.ear_hole()))
        self._ear = ear

    def __call__(self, base: Floats) -> Floats:
        """(N,) mm at (N, 3) points of the loft."""
        gap = np.linalg.norm(base[:, None, :2] - self._centres[None], axis=2)
        near = (self._edges[None] + GRADING * gap).min(1)
        # How far behind the face: edges grow towards the back of the head and down the neck.
        behind = np.maximum(25.0 - base[:, 2], 0.0) + np.maximum(base[:, 1] - 75.0, 0.0)
        below = np.maximum(-78.0 - base[:, 1], 0.0)
        wide = FACE_EDGE_MM + 0.14 * behind + 0.12 * below
        edge = np.where(base[:, 2] > 20, np.minimum(near, wide), wide)
        to_ear = np.linalg.norm(base[:, None] - self._ear[None], axis=2).min(1)
        edge = np.minimum(edge, 4.5 + 0.3 * to_ear)
        out: Floats = np.clip(edge, 1.2, SKULL_EDGE_MM)
        return out


def _midline(chart: Chart, edge_length: EdgeLength, angle: float, rows: list[float]) -> Floats:
    """Graded points of a midline through the given rows, ends included: (N, 2) plane."""
    pieces: list[Floats] = []
    for first, last in itertools.pairwise(rows):
        fine = np.linspace(first, last, 200)
        points = chart.loft(np.full(200, angle), fine)
        shape = sculpt(points)
        step = np.linalg.norm(np.diff(shape, axis=0), axis=1)
        count = np.r_[0.0, np.cumsum(step / edge_length(0.5 * (points[1:] + points[:-1])))]
        num = max(1, round(float(count[-1])))
        at = np.interp(np.linspace(0.0, count[-1], num + 1), count, fine)
        pieces.append(at if not pieces else at[1:])
    row = np.concatenate(pieces)
    plane = chart.to_plane(np.full(len(row), angle), row)
    plane[:, 0] = 0.0
    return plane


def _front(chart: Chart, xy: Floats) -> Floats:
    theta, row = chart.locate_front(xy)
    plane = chart.to_plane(theta, row)
    plane[np.abs(xy[:, 0]) < 1e-9, 0] = 0.0
    return plane


def _seeds(chart: Chart, edge_length: EdgeLength) -> _Seeds:
    seeds = _Seeds()
    lips = anatomy.lip_half_loop(anatomy.UPPER_LIP_BORDER, anatomy.LOWER_LIP_BORDER)
    lips_plane = _front(chart, lips)
    outline = smooth_curve(anatomy.NOSE_OUTLINE, 26)
    nose = _front(chart, outline)
    rows = [
        float(chart.from_plane(q)[1]) for q in (nose[0], nose[-1], lips_plane[0], lips_plane[-1])
    ]
    seeds.add("lips", lips_plane)
    seeds.add("lids", _front(chart, anatomy.lid_loop()))
    seeds.add("lid_ring", _front(chart, anatomy.lid_ring(2.1)))
    seeds.add("lid_crease", _front(chart, anatomy.lid_crease()))
    seeds.add("nostril", _front(chart, anatomy.nostril_loop()))
    theta, row = chart.locate_side(anatomy.ear_hole())
    seeds.add("ear", chart.to_plane(theta, row))
    seeds.add("brow_centre", _front(chart, anatomy.brow_centre()))
    upper, lower = anatomy.brow_outline()
    seeds.add("brow_upper", _front(chart, upper[:-1]))
    seeds.add("brow_lower", _front(chart, lower[:-1]))
    seeds.add(
        "midline_top", _midline(chart, edge_length, 0.0, [0.0, rows[0], rows[1], rows[2]])[:-1]
    )
    chin = [rows[3], ROW_JAW_BORDER, LAST_ROW]
    seeds.add("midline_chin", _midline(chart, edge_length, 0.0, chin)[1:])
    back = _midline(chart, edge_length, np.pi, [0.0, ROW_JAW_BORDER - 0.8, LAST_ROW])[1:]
    seeds.add("midline_back", back)
    seeds.add("nose", nose[1:-1])
    jaw = _row_line(chart, edge_length, ROW_JAW_BORDER, ROW_JAW_BORDER - 0.8)
    seeds.add("jaw_border", jaw)
    seeds.add("bottom", _row_line(chart, edge_length, LAST_ROW, LAST_ROW))
    return seeds


def _row_line(chart: Chart, edge_length: EdgeLength, front_row: float, back_row: float) -> Floats:
    """Points inside the half from the front to the back midline along a (tilted) row."""
    theta = np.linspace(0.0, np.pi, 400)
    row = front_row + (back_row - front_row) * np.sin(theta / 2) ** 2
    points = chart.loft(theta, row)
    step = np.linalg.norm(np.diff(points, axis=0), axis=1)
    count = np.r_[0.0, np.cumsum(step / edge_length(0.5 * (points[1:] + points[:-1])))]
    num = round(float(count[-1]))
    at = np.interp(np.linspace(0.0, count[-1], num + 1)[1:-1], count, theta)
    return chart.to_plane(at, np.interp(at, theta, row))


@numba.njit(cache=True)
def _thin_out(points, edge, taken, factor):  # type: ignore[no-untyped-def]
    """Indices of candidates farther than `factor` edges from everything taken before them."""
    num = len(taken)
    kept = np.empty((num + len(points), 3))
    kept[:num] = taken
    chosen = []
    for i in range(len(points)):
        limit = (factor * edge[i]) ** 2
        is_free = True
        for j in range(num):
            dx = points[i, 0] - kept[j, 0]
            dy = points[i, 1] - kept[j, 1]
            dz = points[i, 2] - kept[j, 2]
            if dx * dx + dy * dy + dz * dz < limit:
                is_free = False
                break
        if is_free:
            kept[num] = points[i]
            num += 1
            chosen.append(i)
    return np.array(chosen)


def _holes(plane: Floats, curves: dict[str, Ints]) -> list[Floats]:
    return [plane[curves[name]] for name in ("lids", "nostril", "ear", "lips")]


def _is_outside(points: Floats, holes: list[Floats], radius: float) -> NDArray[np.bool_]:
    bad = (np.hypot(points[:, 0], points[:, 1]) > radius) | (points[:, 0] <= 0)
    for hole in holes:
        bad |= inside(points, hole)
    return bad


def _interior(chart: Chart, edge_length: EdgeLength, fixed: Floats, holes: list[Floats]) -> Floats:
    rng = np.random.default_rng(7)
    theta = rng.uniform(0.0, np.pi, 60000)
    row = rng.uniform(0.05, LAST_ROW - 0.1, 60000)
    plane = chart.to_plane(theta, row)
    radius = float(chart.radius(np.array(LAST_ROW)))
    keep = ~_is_outside(plane, holes, radius)
    base = chart.loft(theta[keep], row[keep])
    chosen = _thin_out(sculpt(base), edge_length(base), sculpt(chart.surface(fixed)), 0.72)
    out: Floats = plane[keep][chosen]
    return out


def _triangles(plane: Floats, holes: list[Floats]) -> Ints:
    triangles = delaunay(plane)
    middle = plane[triangles].mean(1)
    bad = np.zeros(len(triangles), bool)
    for hole in holes:
        bad |= inside(middle, hole)
    kept: Ints = triangles[~bad]
    return kept


def _edges(triangles: Ints) -> Ints:
    pairs = np.sort(
        np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    )
    return np.unique(pairs, axis=0)


def _relax(
    chart: Chart, edge_length: EdgeLength, plane: Floats, num_fixed: int, holes: list[Floats]
) -> Floats:
    """Springs that push along edges shorter than wanted, in space, until points lie evenly."""
    radius = float(chart.radius(np.array(LAST_ROW)))
    edges = _edges(_triangles(plane, holes))
    for step in range(NUM_RELAXATIONS):
        if step % 4 == 0:
            edges = _edges(_triangles(plane, holes))
        base = chart.surface(plane)
        space = sculpt(base)
        want = edge_length(base)
        along = space[edges[:, 0]] - space[edges[:, 1]]
        length = np.linalg.norm(along, axis=1)
        wanted = 1.12 * 0.5 * (want[edges[:, 0]] + want[edges[:, 1]])
        push = (np.maximum(wanted - length, 0.0) / length)[:, None] * along
        force = np.zeros_like(space)
        np.add.at(force, edges[:, 0], push)
        np.add.at(force, edges[:, 1], -push)
        moved = plane + 0.18 * _to_plane(chart, plane, space, force)
        # Rounding keeps the outcome free of the last bits in which processors differ.
        moved = np.round(moved, 7)
        is_bad = _is_outside(moved, holes, radius)
        is_bad[:num_fixed] = True
        plane = np.where(is_bad[:, None], plane, moved)
    return plane


def _to_plane(chart: Chart, plane: Floats, space: Floats, force: Floats) -> Floats:
    eps = 1e-5 * np.maximum(np.hypot(plane[:, 0], plane[:, 1]), 0.05)[:, None]
    u = (sculpt(chart.surface(plane + eps * [1, 0])) - space) / eps
    v = (sculpt(chart.surface(plane + eps * [0, 1])) - space) / eps
    a, b, c = (u * u).sum(1), (u * v).sum(1), (v * v).sum(1)
    fu, fv = (force * u).sum(1), (force * v).sum(1)
    det = a * c - b * b
    det = np.maximum(det, 1e-4 * a * c + 1e-12)
    return np.stack([(c * fu - b * fv) / det, (a * fv - b * fu) / det], 1)


def _kept_edges(curves: dict[str, Ints], num_chains: dict[str, bool]) -> set[tuple[int, int]]:
    kept = set()
    for name, is_closed in num_chains.items():
        chain = curves[name].tolist()
        pairs = zip(chain, chain[1:] + (chain[:1] if is_closed else []), strict=False)
        kept |= {(min(a, b), max(a, b)) for a, b in pairs}
    return kept


def lay_out(chart: Chart) -> HalfSkin:
    """Mesh the left half of the skin (holes at eye, nostril, mouth and ear)."""
    edge_length = EdgeLength(chart)
    seeds = _seeds(chart, edge_length)
    fixed = np.concatenate(seeds.plane)
    holes = _holes(fixed, seeds.curves)
    plane = np.concatenate([fixed, _interior(chart, edge_length, fixed, holes)])
    plane = _relax(chart, edge_length, plane, len(fixed), holes)
    curves = dict(seeds.curves)
    centre, tail = curves["brow_centre"], curves["brow_centre"][-1:]
    curves["brow_loop"] = np.concatenate(
        [centre[:1], curves["brow_upper"], tail, curves["brow_lower"][::-1]]
    )
    top, chin = curves["midline_top"], curves["midline_chin"]
    nose_ends = [
        _nearest(plane, top, q)
        for q in _front(chart, np.array([anatomy.NOSE_OUTLINE[0], anatomy.NOSE_OUTLINE[-1]]))
    ]
    curves["nose_loop"] = np.r_[nose_ends[0], curves["nose"], nose_ends[1]].astype(np.int32)
    jaw_front = _nearest(plane, chin, chart.to_plane(np.array(0.0), np.array(ROW_JAW_BORDER)))
    back = curves["midline_back"]
    jaw_back = _nearest(
        plane, back, chart.to_plane(np.array(np.pi), np.array(ROW_JAW_BORDER - 0.8))
    )
    curves["jaw_loop"] = np.r_[jaw_front, curves["jaw_border"], jaw_back].astype(np.int32)
    curves["bottom_loop"] = np.r_[chin[-1], curves["bottom"], back[-1]].astype(np.int32)
    closed = {"lids": True, "nostril": True, "ear": True, "brow_loop": True}
    chains = closed | {"lips": False, "nose_loop": False, "jaw_loop": False, "brow_centre": False}
    kept = _kept_edges(curves, chains)
    plane, triangles = _respect(plane, len(fixed), holes, kept)
    theta, row = chart.from_plane(plane)
    space = sculpt(chart.loft(theta, row))
    triangles = flip_to_space(triangles, plane, space, kept)
    return HalfSkin(plane, theta, row, triangles, curves)


def _respect(
    plane: Floats, num_fixed: int, holes: list[Floats], kept: set[tuple[int, int]]
) -> tuple[Floats, Ints]:
    """Triangulate so that the feature edges appear, dropping free points that lie in their way."""
    for _ in range(8):
        triangles = _triangles(plane, holes)
        missing = np.array(sorted(kept - {(int(a), int(b)) for a, b in _edges(triangles)}))
        if len(missing) == 0:
            return plane, triangles
        middle = plane[missing].mean(1)
        reach = 0.5 * np.linalg.norm(plane[missing[:, 0]] - plane[missing[:, 1]], axis=1)
        gap = np.linalg.norm(plane[None] - middle[:, None], axis=2)
        in_the_way = (gap < 1.02 * reach[:, None]).any(0)
        in_the_way[:num_fixed] = False
        plane = plane[~in_the_way]
    raise ValueError(f"feature edges {missing.tolist()} cannot be met: their points lie too close")


def _nearest(plane: Floats, among: Ints, q: Floats) -> int:
    return int(among[np.argmin(((plane[among] - q) ** 2).sum(1))])
