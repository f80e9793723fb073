"""Which points the camera sees: an exact ray test, independent of any rasterised image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workers.raster.jit import compiled

FloatArray = NDArray[np.float32] | NDArray[np.float64]
Float64Array = NDArray[np.float64]
Int32Array = NDArray[np.int32]
IntArray = NDArray[np.int32] | NDArray[np.int64]

OUTSIDE, HIDDEN, SEEN = 0, 1, 2
SHORTENED_M = 0.003
"""The segment from the camera ends this far before the point: landmarks lie on the skin itself."""

BOX_MARGIN = 1e-9  # of x/z and y/z: far above rounding, far below a pixel


def visibility(
    points_cam: FloatArray,
    vertices_cam: FloatArray,
    faces: IntArray,
    intrinsics_px: Float64Array,
    *,
    height_px: int,
    width_px: int,
) -> Int32Array:
    """Tell of every point whether it is outside the image, hidden, or seen.

    Args:
        points_cam: (P, 3) camera axes (OpenCV), metres.
        vertices_cam: (V, 3) camera axes, metres; of all meshes that are in the way.
        faces: (F, 3) corner indices of the opaque triangles, two-sided.
        intrinsics_px: (3, 3), pixels, origin at the image's corner.
        height_px: rows.
        width_px: columns.

    Returns:
        (P,) int32: 0 not in front of the camera, or projected outside [0, width) x [0, height);
        1 hidden: the segment from the camera to the point, shortened by 3 mm at the point, meets a
        triangle, edges and corners included; 2 seen.

    Raises:
        ValueError: a shape differs from the above, or `faces` holds an index that is no vertex.

    Source: a ray from the origin along d crosses the triangle (a, b, c) where d.(b x c), d.(c x a)
        and d.(a x b) have one sign; it does so at the share a.(b x c) / (their sum) of d. Computed
        so, the value of a shared edge is the same for both its triangles and no ray slips between.
    """
    for name, array in (("points_cam", points_cam), ("vertices_cam", vertices_cam)):
        if array.ndim != 2 or array.shape[1] != 3:
            raise ValueError(f"{name} has shape {array.shape}; it must be (any, 3)")
    if faces.ndim != 2 or faces.shape[1] != 3:
        raise ValueError(f"faces has shape {faces.shape}; it must be (any, 3)")
    if faces.size and (faces.min() < 0 or faces.max() >= len(vertices_cam)):
        raise ValueError(
            f"faces holds indices {faces.min()} to {faces.max()}; "
            f"there are {len(vertices_cam)} vertices"
        )
    points = np.ascontiguousarray(points_cam, dtype=np.float64)
    inside = _is_inside(points, np.asarray(intrinsics_px, np.float64), height_px, width_px)
    result = np.full(len(points), OUTSIDE, np.int32)
    result[inside] = SEEN
    hidden = _hidden(
        np.ascontiguousarray(points[inside]),
        np.ascontiguousarray(vertices_cam, np.float64),
        np.ascontiguousarray(faces, np.int32),
        SHORTENED_M,
        BOX_MARGIN,
    )
    result[np.flatnonzero(inside)[hidden]] = HIDDEN
    return result


def _is_inside(
    points: Float64Array, K: Float64Array, height_px: int, width_px: int
) -> NDArray[np.bool_]:
    x, y, z = points.T
    in_front = z > 0
    z = np.where(in_front, z, 1.0)
    u = (K[0, 0] * x + K[0, 1] * y) / z + K[0, 2]
    v = K[1, 1] * y / z + K[1, 2]
    inside = in_front & (u >= 0) & (u < width_px) & (v >= 0) & (v < height_px)
    return np.asarray(inside, np.bool_)


@compiled
def _hidden(
    points: Float64Array, vertices: Float64Array, faces: Int32Array, shortened: float, margin: float
) -> NDArray[np.bool_]:
    """Whether each point's shortened segment meets a triangle; the points lie in front."""
    num_points = points.shape[0]
    hidden = np.zeros(num_points, np.bool_)
    right = points[:, 0] / points[:, 2]
    down = points[:, 1] / points[:, 2]
    across = np.empty((vertices.shape[0], 2), np.float64)
    for v in range(vertices.shape[0]):
        z = vertices[v, 2]
        across[v, 0] = vertices[v, 0] / z
        across[v, 1] = vertices[v, 1] / z
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        x_low, x_high, y_low, y_high = -np.inf, np.inf, -np.inf, np.inf
        nearest = min(vertices[a, 2], vertices[b, 2], vertices[c, 2])
        if nearest > 0:
            x_low = min(across[a, 0], across[b, 0], across[c, 0]) - margin
            x_high = max(across[a, 0], across[b, 0], across[c, 0]) + margin
            y_low = min(across[a, 1], across[b, 1], across[c, 1]) - margin
            y_high = max(across[a, 1], across[b, 1], across[c, 1]) + margin
        num_near = 0
        for p in range(num_points):
            num_near += (
                (right[p] >= x_low)
                & (right[p] <= x_high)
                & (down[p] >= y_low)
                & (down[p] <= y_high)
            )
        if num_near == 0:
            continue
        for p in range(num_points):
            if hidden[p] or nearest > points[p, 2]:
                continue
            if x_low <= right[p] <= x_high and y_low <= down[p] <= y_high:
                hidden[p] = _meets(points[p], vertices[a], vertices[b], vertices[c], shortened)
    return hidden


@compiled
def _meets(
    point: Float64Array, a: Float64Array, b: Float64Array, c: Float64Array, shortened: float
) -> bool:
    """Whether the segment from the origin to `point`, less its last metres, meets a triangle."""
    x, y, z = point[0], point[1], point[2]
    ax, ay, az = a[0], a[1], a[2]
    bx, by, bz = b[0], b[1], b[2]
    cx, cy, cz = c[0], c[1], c[2]
    nx, ny, nz = by * cz - bz * cy, bz * cx - bx * cz, bx * cy - by * cx
    weight_a = x * nx + y * ny + z * nz
    weight_b = x * (cy * az - cz * ay) + y * (cz * ax - cx * az) + z * (cx * ay - cy * ax)
    weight_c = x * (ay * bz - az * by) + y * (az * bx - ax * bz) + z * (ax * by - ay * bx)
    is_positive = weight_a >= 0 and weight_b >= 0 and weight_c >= 0
    is_negative = weight_a <= 0 and weight_b <= 0 and weight_c <= 0
    total = weight_a + weight_b + weight_c
    if not (is_positive or is_negative) or total == 0:
        return False
    share = (ax * nx + ay * ny + az * nz) / total
    length = np.sqrt(x * x + y * y + z * z)
    return bool(share >= 0 and share * length <= length - shortened)
