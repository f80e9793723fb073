"""Draws the head from several sides into PNG files, to be looked at while sculpting."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from tools.build_head.spline import Floats

Ints = NDArray[np.int32]


@numba.njit(cache=True)
def _raster(uvz, faces, size):  # type: ignore[no-untyped-def]
    ids = np.full((size, size), -1, np.int32)
    depth = np.full((size, size), 1e9)
    bary = np.zeros((size, size, 3))
    for f in range(len(faces)):
        a, b, c = uvz[faces[f, 0]], uvz[faces[f, 1]], uvz[faces[f, 2]]
        area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
        if abs(area) < 1e-9:
            continue
        x0 = max(int(min(a[0], b[0], c[0])), 0)
        x1 = min(int(max(a[0], b[0], c[0])) + 1, size - 1)
        y0 = max(int(min(a[1], b[1], c[1])), 0)
        y1 = min(int(max(a[1], b[1], c[1])) + 1, size - 1)
        for y in range(y0, y1 + 1):
            for x in range(x0, x1 + 1):
                px, py = x + 0.5, y + 0.5
                w0 = ((b[0] - px) * (c[1] - py) - (b[1] - py) * (c[0] - px)) / area
                w1 = ((c[0] - px) * (a[1] - py) - (c[1] - py) * (a[0] - px)) / area
                w2 = 1.0 - w0 - w1
                if w0 < 0 or w1 < 0 or w2 < 0:
                    continue
                z = w0 * a[2] + w1 * b[2] + w2 * c[2]
                if z < depth[y, x]:
                    depth[y, x] = z
                    ids[y, x] = f
                    bary[y, x, 0], bary[y, x, 1], bary[y, x, 2] = w0, w1, w2
    return ids, bary, depth


def vertex_normals(vertices: Floats, faces: Ints) -> Floats:
    """Area-weighted unit normals (V, 3)."""
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    n = np.cross(b - a, c - a)
    out = np.zeros_like(vertices)
    for i in range(3):
        np.add.at(out, faces[:, i], n)
    out /= np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-12)
    return out


COLOURS = np.array(
    [[0, 0, 0], [225, 180, 155], [90, 60, 45], [90, 60, 45], [240, 240, 240], [240, 240, 240],
     [228, 178, 152], [190, 100, 95], [110, 45, 45], [200, 110, 105], [60, 45, 38], [222, 172, 148],
     [222, 172, 148], [215, 170, 145], [70, 90, 130], [40, 40, 40], [90, 90, 40], [50, 40, 35]],
    dtype=np.float64,
)  # fmt: skip


def view(
    vertices: Floats, faces: Ints, regions: NDArray[np.uint8], yaw_deg: float, pitch_deg: float,
    size: int = 384, centre: tuple[float, float, float] = (0.0, 20.0, 0.0), width_mm: float = 330.0,
    is_clay: bool = False, iris: Floats | None = None, marks: Floats | None = None,
) -> NDArray[np.uint8]:  # fmt: skip
    """A shaded picture (size, size, 3) RGB of millimetre vertices, camera 0.8 m away."""
    yaw, pitch = np.deg2rad(yaw_deg), np.deg2rad(pitch_deg)
    cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    turn = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]]) @ np.array(
        [[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]]
    )
    away = 900.0
    focal = size / width_mm * away

    def project(p: Floats) -> Floats:
        q = (p - centre) @ turn.T
        z = away - q[:, 2]
        return np.stack([size / 2 + focal * q[:, 0] / z, size / 2 - focal * q[:, 1] / z, z], 1)

    ids, bary, _ = _raster(project(vertices), faces, size)
    normals = vertex_normals(vertices, faces) @ turn.T
    hit = ids >= 0
    corner = faces[ids]
    n = (normals[corner] * bary[..., None]).sum(2)
    n /= np.maximum(np.linalg.norm(n, axis=2, keepdims=True), 1e-9)
    lights = (((0.4, 0.6, 0.7), 0.75), ((-0.7, 0.2, 0.5), 0.25))
    shade = np.full(n.shape[:2], 0.18)
    for direction, power in lights:
        d = np.asarray(direction) / np.linalg.norm(direction)
        shade += power * np.maximum(n @ d, 0)
    colour = COLOURS[regions][ids] if not is_clay else np.full((*ids.shape, 3), 205.0)
    if iris is not None:
        shown = (iris[corner][..., 0] * bary).sum(2)
        colour[(shown > 0.5) & hit] = [80, 60, 40]
        colour[(shown > 1.55) & hit] = [15, 12, 12]
    image = np.where(hit[..., None], np.clip(colour * shade[..., None], 0, 255), 245)
    image = image.astype(np.uint8)
    if marks is not None:
        for x, y, _ in project(marks):
            image[max(int(y) - 1, 0) : int(y) + 1, max(int(x) - 1, 0) : int(x) + 1] = [0, 220, 0]
    return image
