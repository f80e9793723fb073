"""The skin: the chart's mesh in space, with lids, mouth, nostrils and ears grown into its holes."""

from __future__ import annotations

import itertools

import numpy as np

from tools.build_head import anatomy
from tools.build_head.chart import Chart
from tools.build_head.ear import ear_rings
from tools.build_head.half_mesh import (
    INNER_MOUTH,
    LEFT_BROW,
    LEFT_EAR,
    LOWER_LIP,
    NECK,
    NOSE,
    SKIN,
    UPPER_LIP,
    HalfMesh,
    Ints,
    fan,
    strip,
)
from tools.build_head.layout import HalfSkin
from tools.build_head.sculpt import sculpt
from tools.build_head.spline import Floats, smoothstep
from tools.build_head.triangulate import inside
from tools.build_head.uv import mouth_uv, skin_uv

LIP_ARCH_DROP_MM = 16.5  # how far the mouth's corners lie behind its middle
NUM_FAIRINGS = 2
LID_EDGE_MM = 1.3  # how far the lids' edges stand off the eyeballs
LID_SEAT_AWAY = 0.93  # share of the way to the eyeball's outline up to which they follow it
LID_SEAT_REACH_MM = 3.5  # how far around the lids' edges the skin follows them
NOSTRIL_END_MM = np.array([0.0, 8.5, -9.5])  # from the nostril's rim to the passage's end


def lip_arch(x: Floats) -> Floats:
    """How far behind the middle (mm) the lips lie at a distance x from the midline."""
    out: Floats = LIP_ARCH_DROP_MM * (np.abs(x) / 26.4) ** 2.1
    return out


def _lip_border() -> Floats:
    xy = anatomy.lip_half_loop(anatomy.UPPER_LIP_BORDER, anatomy.LOWER_LIP_BORDER)
    n = anatomy.NUM_LIP_SEGMENTS
    front = np.where(np.arange(len(xy)) <= n, 88.8, 85.4)
    toward_corner = np.clip(np.abs(xy[:, 0]) / 26.4, 0, 1) ** 2
    front = front + (87.4 - front) * toward_corner
    return np.concatenate([xy, (front - lip_arch(xy[:, 0]))[:, None]], 1)


def add_skin(half: HalfMesh, chart: Chart, layout: HalfSkin) -> None:
    """Add the skin, its rings and bags to the half mesh."""
    points = sculpt(chart.loft(layout.theta, layout.row))
    points = _fair(points, layout)
    points = _seat_lids(points, layout.curves["lids"])
    points = _meet_lips(points, layout.curves["lips"])
    points[np.abs(layout.plane[:, 0]) < 1e-12, 0] = 0.0
    ids = half.add_points("skin", points)
    for name, members in layout.curves.items():
        half.sets[name] = ids[members]
    uv = skin_uv(layout.theta, layout.row)
    corner = uv[layout.triangles]
    at_pole = layout.row[layout.triangles] < 1e-9
    others = (corner * ~at_pole[..., None]).sum(1) / np.maximum((~at_pole).sum(1), 1)[:, None]
    corner[..., 0] = np.where(at_pole, others[:, None, 0], corner[..., 0])
    half.add_triangles(ids[layout.triangles], corner, _regions(layout), "skin")
    _add_lids(half, layout, uv)
    _add_mouth(half, layout, uv)
    _add_nostril(half, layout, uv)
    _add_ear(half, layout, uv, points)
    bottom = layout.curves["bottom_loop"]
    plug = half.add_points("neck_plug", np.array([[0.0, points[bottom][:, 1].mean() - 2.0, -30.0]]))
    triangles = fan(ids[bottom], int(plug[0]), is_closed=False)[:, ::-1]
    flat = np.stack([uv[bottom[1:]], uv[bottom[:-1]], uv[bottom[:-1]] - [0.0, 0.01]], 1)
    flat = flat[:, [2, 0, 1]]
    half.add_triangles(triangles, flat, NECK, "skin")


def _fair(points: Floats, layout: HalfSkin) -> Floats:
    """The front's heights smoothed a little: steep slopes meet the mesh's edges in ripples.

    Taubin's pair of steps (one in, one out) takes ripples away and leaves the form.
    """
    held = np.zeros(len(points), bool)
    for name in ("lids", "lips", "nostril", "ear", "midline_back", "bottom"):
        held[layout.curves[name]] = True
    weight = np.where(held, 0.0, smoothstep(20.0, 45.0, points[:, 2]))
    a, b = layout.triangles.ravel(), layout.triangles[:, [1, 2, 0]].ravel()
    num = len(points)
    count = np.bincount(a, minlength=num) + np.bincount(b, minlength=num)
    out = points.copy()
    for step in (0.5, -0.52) * NUM_FAIRINGS:
        z = out[:, 2]
        near = np.bincount(a, z[b], num) + np.bincount(b, z[a], num)
        out[:, 2] = z + step * weight * (near / count - z)
    return out


def _seat_lids(points: Floats, loop: Ints) -> Floats:
    """Move the lids' edges back along z to lie on the eyeball, and let the skin around follow.

    Near and beyond the eyeball's outline, at the corners, they go no farther back.
    """
    offset = points[loop] - anatomy.EYE_CENTRE
    reach = anatomy.EYE_RADIUS + LID_EDGE_MM
    away = np.minimum(np.hypot(offset[:, 0], offset[:, 1]), LID_SEAT_AWAY * reach)
    residual = np.minimum(np.sqrt(reach**2 - away**2) - offset[:, 2], 0.0)
    gap = np.linalg.norm(points[:, None] - points[loop][None], axis=2)
    weight = np.exp(-0.5 * (gap / 2.0) ** 2) + 1e-12
    spread = (weight @ residual) / weight.sum(1)
    out = points.copy()
    out[:, 2] += spread * np.exp(-0.5 * (gap.min(1) / LID_SEAT_REACH_MM) ** 2)
    out[loop, 2] = points[loop, 2] + residual
    return out


def _meet_lips(points: Floats, loop: Ints) -> Floats:
    """Move the border of the lips to its place and let the skin around follow."""
    target = _lip_border()
    residual = target - points[loop]
    gap = np.linalg.norm(points[:, None] - points[loop][None], axis=2)
    weight = np.exp(-0.5 * (gap / 3.0) ** 2) + 1e-12
    spread = (weight @ residual) / weight.sum(1, keepdims=True)
    out: Floats = points + spread * np.exp(-0.5 * (gap.min(1) / 5.0) ** 2)[:, None]
    out[loop] = target
    return out


def _regions(layout: HalfSkin) -> Ints:
    middle = layout.plane[layout.triangles].mean(1)
    region = np.full(len(middle), SKIN, np.int32)
    nose = layout.plane[layout.curves["nose_loop"]]
    region[inside(middle, nose)] = NOSE
    region[inside(middle, layout.plane[layout.curves["brow_loop"]])] = LEFT_BROW
    # Everything farther from the crown than the jaw border (a star-shaped line) is neck.
    jaw = layout.plane[layout.curves["jaw_loop"]]
    region[~inside(middle, np.concatenate([jaw, [[0.0, jaw[-1, 1]]]]))] = NECK
    return region


def _ring_uv(corner_ids: Ints, uv_of: dict[int, Floats]) -> Floats:
    return np.array([[uv_of[int(v)] for v in t] for t in corner_ids])


def _shrunk(uv: Floats, centre: Floats, factor: float) -> Floats:
    out: Floats = centre + (uv - centre) * factor
    return out


def _add_lids(half: HalfMesh, layout: HalfSkin, uv: Floats) -> None:
    loop = half.sets["lids"]
    edge = half.position(loop)
    c = anatomy.EYE_CENTRE
    offset = edge - c
    away = np.hypot(offset[:, 0], offset[:, 1])
    ball = np.sqrt(np.maximum((anatomy.EYE_RADIUS + 0.15) ** 2 - (away * 0.985) ** 2, 0.0))
    depth = np.where(away < 11.6, np.minimum(ball, offset[:, 2] - 0.6), offset[:, 2] - 2.6)
    margin = np.stack([offset[:, 0] * 0.985, offset[:, 1] * 0.97, depth], 1)
    direction = offset / np.linalg.norm(offset, axis=1, keepdims=True)
    wide = np.stack([direction[:, 0], direction[:, 1] * 1.6, np.zeros(len(loop))], 1)
    wide /= np.linalg.norm(wide, axis=1, keepdims=True)
    bag = wide * (anatomy.EYE_RADIUS + 1.0) + [0.0, 0.0, -3.0]
    rings = [loop]
    for name, points in (("lid_margin", c + margin), ("lid_bag", c + bag)):
        rings.append(half.add_points(name, points))
    end = half.add_points("lid_bag_end", (c - [0.0, 0.0, anatomy.EYE_RADIUS + 2.5])[None])
    loop_uv = uv[layout.curves["lids"]]
    centre = loop_uv.mean(0)
    uv_of: dict[int, Floats] = {int(end[0]): centre}
    for ring, factor in zip(rings, (1.0, 0.88, 0.4), strict=True):
        uv_of |= dict(zip(ring.tolist(), _shrunk(loop_uv, centre, factor), strict=True))
    for outer, inner in itertools.pairwise(rings):
        triangles = strip(outer, inner, is_closed=True)
        half.add_triangles(triangles, _ring_uv(triangles, uv_of), SKIN, "skin")
    triangles = fan(rings[-1], int(end[0]), is_closed=True)
    half.add_triangles(triangles, _ring_uv(triangles, uv_of), SKIN, "skin")


def _lip_rings(border: Floats) -> list[tuple[str, Floats]]:
    """Rings from the vermilion border over the roll of the lips into the mouth, (25, 3) each."""
    n = anatomy.NUM_LIP_SEGMENTS
    contact_xy = anatomy.lip_half_loop(anatomy.LIP_CONTACT, anatomy.LIP_CONTACT)
    is_upper = np.arange(len(border)) < n
    is_lower = np.arange(len(border)) > n
    open_up = 1.0 - np.clip(np.abs(contact_xy[:, 0]) / 26.4, 0, 1) ** 4  # fades into the corner
    gap = 0.02 * (is_upper.astype(float) - is_lower) * open_up
    front = 87.8 - lip_arch(contact_xy[:, 0])
    contact = np.stack([contact_xy[:, 0] * 0.985, contact_xy[:, 1] + gap, front - 0.5], 1)
    roll = []
    for t, upper_bulge, lower_bulge in ((0.2, 1.2, 1.6), (0.46, 2.1, 2.8), (0.74, 2.0, 2.5)):
        ring = border + (contact - border) * t
        bulge = np.where(is_upper, upper_bulge, 0.0) + np.where(is_lower, lower_bulge, 0.0)
        ring[:, 2] += bulge * np.sqrt(np.clip(open_up, 0, 1))
        roll.append(ring)
    side = (is_upper.astype(float) - is_lower) * open_up
    inner = contact * [0.97, 1, 1] + np.stack([0 * side, 1.4 * side, -3.0 + 0 * side], 1)
    vestibule = inner * [0.95, 1, 1] + np.stack([0 * side, 11.0 * side, -5.5 + 0 * side], 1)
    deep = np.stack(
        [np.abs(contact_xy[:, 0]) * 0.98, -40.0 + 15.5 * side, np.full(len(side), 58.0)], 1
    )
    return [
        ("lip_edge", roll[0]),
        ("lip_roll", roll[1]),
        ("lip_wet", roll[2]),
        ("lip_contact", contact),
        ("mouth_inner", inner),
        ("mouth_vestibule", vestibule),
        ("mouth_deep", deep),
    ]


def _add_mouth(half: HalfMesh, layout: HalfSkin, uv: Floats) -> None:
    loop = half.sets["lips"]
    n = anatomy.NUM_LIP_SEGMENTS
    border = half.position(loop)
    rings = [loop]
    for name, points in _lip_rings(border):
        points[[0, -1], 0] = 0.0
        rings.append(half.add_points(name, points))
    end = half.add_points("mouth_end", np.array([[0.0, -40.0, 34.0]]))
    loop_uv = uv[layout.curves["lips"]]
    contact_uv = _contact_uv(loop_uv, n)
    uv_of: dict[int, Floats] = {}
    for ring, t in zip(rings[:5], (0.0, 0.2, 0.46, 0.74, 1.0), strict=True):
        uv_of |= dict(zip(ring.tolist(), loop_uv + (contact_uv - loop_uv) * t, strict=True))
    for outer, inner in itertools.pairwise(rings[:5]):
        triangles = strip(outer, inner, is_closed=False)
        is_upper = np.isin(triangles, np.concatenate([r[:n] for r in rings])).any(1)
        region = np.where(is_upper, UPPER_LIP, LOWER_LIP)
        half.add_triangles(triangles, _ring_uv(triangles, uv_of), region, "skin")
    inside_uv: dict[int, Floats] = {int(end[0]): mouth_uv(0.0, 0.0)}
    for ring, radius in zip(rings[4:], (1.0, 0.8, 0.6, 0.35), strict=True):
        angle = np.linspace(0.0, np.pi, len(ring))
        inside_uv |= {int(v): mouth_uv(radius, float(a)) for v, a in zip(ring, angle, strict=True)}
    for outer, inner in itertools.pairwise(rings[4:]):
        triangles = strip(outer, inner, is_closed=False)
        half.add_triangles(triangles, _ring_uv(triangles, inside_uv), INNER_MOUTH, "mouth")
    triangles = fan(rings[-1], int(end[0]), is_closed=False)
    half.add_triangles(triangles, _ring_uv(triangles, inside_uv), INNER_MOUTH, "mouth")


def _contact_uv(loop_uv: Floats, n: int) -> Floats:
    """Where the lips meet, in UV: half way between the borders, a hair apart."""
    upper, lower = loop_uv[: n + 1], loop_uv[n:][::-1]
    middle = 0.52 * upper + 0.48 * lower
    nudge = 0.02 * (upper - lower)
    out = np.concatenate([middle + nudge, (middle - nudge)[:-1][::-1]])
    out[n] = loop_uv[n]
    out[:, 0] = loop_uv[n, 0] + (out[:, 0] - loop_uv[n, 0]) * 0.985
    out[[0, -1], 0] = 0.5
    return out


def _add_nostril(half: HalfMesh, layout: HalfSkin, uv: Floats) -> None:
    loop = half.sets["nostril"]
    rim = half.position(loop)
    middle = rim.mean(0)
    loop_uv = uv[layout.curves["nostril"]]
    centre = loop_uv.mean(0)
    rings, factors = [loop], (1.0, 0.75, 0.45)
    # The floor runs back before the passage turns up: from the front one sees into the dark.
    for name, size, shift in (
        ("nostril_in", 0.85, (0.2, 1.0, -2.8)), ("nostril_deep", 0.75, (0.3, 5.5, -6.5)),
    ):  # fmt: skip
        points = middle + (rim - middle) * size + shift
        rings.append(half.add_points(name, points))
    end = half.add_points("nostril_end", (middle + NOSTRIL_END_MM)[None])
    uv_of: dict[int, Floats] = {int(end[0]): centre}
    for ring, factor in zip(rings, factors, strict=True):
        uv_of |= dict(zip(ring.tolist(), _shrunk(loop_uv, centre, factor), strict=True))
    pieces = [strip(a, b, is_closed=True) for a, b in itertools.pairwise(rings)]
    pieces.append(fan(rings[-1], int(end[0]), is_closed=True))
    triangles = np.concatenate(pieces)[:, ::-1]
    half.add_triangles(triangles, _ring_uv(triangles, uv_of), NOSE, "skin")


def _add_ear(half: HalfMesh, layout: HalfSkin, uv: Floats, points: Floats) -> None:
    loop = half.sets["ear"]
    loop_uv = uv[layout.curves["ear"]]
    centre = loop_uv.mean(0)
    rings = [loop]
    rows = ear_rings(points[layout.curves["ear"]])
    for i, row in enumerate(rows[:-1]):
        rings.append(half.add_points(f"ear_{i}", row))
    end = half.add_points("ear_end", rows[-1])
    uv_of: dict[int, Floats] = {int(end[0]): centre}
    factors = np.linspace(1.0, 0.12, len(rings))
    for ring, factor in zip(rings, factors, strict=True):
        uv_of |= dict(zip(ring.tolist(), _shrunk(loop_uv, centre, float(factor)), strict=True))
    pieces = [strip(a, b, is_closed=True) for a, b in itertools.pairwise(rings)]
    pieces.append(fan(rings[-1], int(end[0]), is_closed=True))
    triangles = np.concatenate(pieces)
    half.add_triangles(triangles, _ring_uv(triangles, uv_of), LEFT_EAR, "skin")
