"""What is computed at every vertex of a posed head: normals, ambient light, the key's shadow."""

from __future__ import annotations

import numpy as np
import torch

from workers.generators.builtin.colours import LUMINANCE
from workers.generators.builtin.lighting import Lighting
from workers.generators.builtin.occlusion import view_along
from workers.raster.jit import compiled
from workers.raster.protocol import Rasteriser
from workers.types import Float32Array, Float64Array, Int32Array

SHADOW_PX = 192
SHADOW_DISTANCE_M = 8.0  # far enough that rays are nearly parallel
SHADOW_BIAS_M = 0.004
SHADOW_NORMAL_OFFSET_M = 0.002
SHADOW_TAPS = 2  # a square of 2 * taps + 1 texels is averaged

# Columns of the vertex attributes that are interpolated at every pixel.
NORMAL, AMBIENT, SHADOW, OCCLUSION, ALBEDO = 0, 3, 6, 7, 8
OIL, STUBBLE, BROW, WRINKLE, LIPS, FRECKLES, REST = 11, 12, 13, 14, 15, 16, 17
# Padded: a loop over four whole vectors of eight runs in vectors, one over 20 columns does not.
NUM_ATTRIBUTES = 32


def light_vertices(
    vertices_cam: Float64Array,
    faces: Int32Array,
    occlusion: Float32Array,
    lighting: Lighting,
    rasteriser: Rasteriser,
    attributes: Float32Array,
) -> float:
    """Fill the columns NORMAL, AMBIENT, SHADOW and OCCLUSION; return the face's mean illumination.

    Args:
        vertices_cam: (V, 3) metres, camera axes.
        faces: (F, 3).
        occlusion: (V,) share of the sky that is open above each vertex.
        lighting: of this sample.
        rasteriser: draws the depth map seen from the key light.
        attributes: (V, NUM_ATTRIBUTES), written.

    Returns:
        Mean irradiance (luminance) of the skin that is turned to the camera.
    """
    axes = view_along(lighting.key_direction)
    seen = np.empty_like(vertices_cam)
    reach = _look_from_light(vertices_cam, axes, SHADOW_DISTANCE_M, seen) + 0.005
    focal = 0.5 * SHADOW_PX * SHADOW_DISTANCE_M / reach * 0.96
    half = SHADOW_PX / 2
    intrinsics = torch.tensor([[[focal, 0.0, half], [0.0, focal, half], [0.0, 0.0, 1.0]]])
    fragments = rasteriser.rasterise(
        torch.from_numpy(seen)[None],
        torch.from_numpy(faces),
        intrinsics.double(),
        SHADOW_PX,
        SHADOW_PX,
    )
    return _light(
        vertices_cam,
        faces,
        occlusion,
        lighting.ambient,
        lighting.key_direction,
        float(lighting.key_rgb @ LUMINANCE),
        seen,
        axes,
        focal,
        fragments.z[0].numpy(),
        attributes,
    )


def ray_matrices(vertices_cam: Float64Array, faces: Int32Array) -> Float32Array:
    """Return (F, 12): row-major M with M . (x/z, y/z, 1) proportional to a hit's barycentrics.

    1/z of the hit is their sum; the last three numbers are the sums of M's columns. A face without
    area, or seen edge-on, has zeros.
    """
    out = np.empty((len(faces), 12), np.float32)
    _invert_faces(vertices_cam, faces, out)
    return out


@compiled
def _invert_faces(vertices: Float64Array, faces: Int32Array, out: Float32Array) -> None:
    """The inverse of the matrix whose columns are a face's corners."""
    for f in range(faces.shape[0]):
        i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
        ax, ay, az = vertices[i, 0], vertices[i, 1], vertices[i, 2]
        bx, by, bz = vertices[j, 0], vertices[j, 1], vertices[j, 2]
        cx, cy, cz = vertices[k, 0], vertices[k, 1], vertices[k, 2]
        px, py, pz = by * cz - bz * cy, bz * cx - bx * cz, bx * cy - by * cx
        determinant = ax * px + ay * py + az * pz
        scale = 1.0 / determinant if determinant != 0.0 else 0.0
        out[f, 0], out[f, 1], out[f, 2] = px * scale, py * scale, pz * scale
        out[f, 3] = (cy * az - cz * ay) * scale
        out[f, 4] = (cz * ax - cx * az) * scale
        out[f, 5] = (cx * ay - cy * ax) * scale
        out[f, 6] = (ay * bz - az * by) * scale
        out[f, 7] = (az * bx - ax * bz) * scale
        out[f, 8] = (ax * by - ay * bx) * scale
        for axis in range(3):
            out[f, 9 + axis] = out[f, axis] + out[f, 3 + axis] + out[f, 6 + axis]


@compiled
def _look_from_light(
    vertices: Float64Array, axes: Float64Array, distance: float, out: Float64Array
) -> float:
    """Turn vertices to the axes of a light that far from their middle; return their reach.

    The reach is the farthest that one lies from the axis ahead, to the right or down.
    """
    middle = np.empty(3, np.float64)
    for k in range(3):
        low = high = vertices[0, k]
        for v in range(1, vertices.shape[0]):
            low, high = min(low, vertices[v, k]), max(high, vertices[v, k])
        middle[k] = 0.5 * (low + high)
    reach = 0.0
    for v in range(vertices.shape[0]):
        x, y = vertices[v, 0] - middle[0], vertices[v, 1] - middle[1]
        z = vertices[v, 2] - middle[2]
        right = axes[0, 0] * x + axes[0, 1] * y + axes[0, 2] * z
        down = axes[1, 0] * x + axes[1, 1] * y + axes[1, 2] * z
        out[v, 0], out[v, 1] = right, down
        out[v, 2] = axes[2, 0] * x + axes[2, 1] * y + axes[2, 2] * z + distance
        reach = max(reach, abs(right), abs(down))
    return reach


@compiled
def _light(
    vertices: Float64Array,
    faces: Int32Array,
    occlusion: Float32Array,
    ambient: Float64Array,
    key: Float64Array,
    key_luminance: float,
    seen: Float64Array,
    axes: Float64Array,
    focal: float,
    depth: Float32Array,
    out: Float32Array,
) -> float:
    received = weight = 0.0
    normals = np.zeros(vertices.shape, np.float64)
    for f in range(faces.shape[0]):
        i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
        ux, uy, uz = (
            vertices[j, 0] - vertices[i, 0],
            vertices[j, 1] - vertices[i, 1],
            vertices[j, 2] - vertices[i, 2],
        )
        vx, vy, vz = (
            vertices[k, 0] - vertices[i, 0],
            vertices[k, 1] - vertices[i, 1],
            vertices[k, 2] - vertices[i, 2],
        )
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for v in (i, j, k):
            normals[v, 0] += nx
            normals[v, 1] += ny
            normals[v, 2] += nz
    for v in range(vertices.shape[0]):
        nx, ny, nz = normals[v, 0], normals[v, 1], normals[v, 2]
        length = np.sqrt(nx * nx + ny * ny + nz * nz)
        scale = 1.0 / length if length > 0.0 else 0.0
        nx, ny, nz = nx * scale, ny * scale, nz * scale
        out[v, 0], out[v, 1], out[v, 2] = nx, ny, nz
        open_sky = np.float64(occlusion[v])
        out[v, 7] = open_sky
        for c in range(3):
            form = ambient[c]
            light = form[3, 3]
            light += nx * (form[0, 0] * nx + 2.0 * (form[0, 1] * ny + form[0, 2] * nz + form[0, 3]))
            light += ny * (form[1, 1] * ny + 2.0 * (form[1, 2] * nz + form[1, 3]))
            light += nz * (form[2, 2] * nz + 2.0 * form[2, 3])
            out[v, 3 + c] = max(light, 0.0) * open_sky
        facing = nx * key[0] + ny * key[1] + nz * key[2]
        # Moved off its own surface along the normal, seen from the light.
        x = seen[v, 0] + SHADOW_NORMAL_OFFSET_M * (
            axes[0, 0] * nx + axes[0, 1] * ny + axes[0, 2] * nz
        )
        y = seen[v, 1] + SHADOW_NORMAL_OFFSET_M * (
            axes[1, 0] * nx + axes[1, 1] * ny + axes[1, 2] * nz
        )
        z = seen[v, 2] + SHADOW_NORMAL_OFFSET_M * (
            axes[2, 0] * nx + axes[2, 1] * ny + axes[2, 2] * nz
        )
        lit = _open_to_key(x, y, z, focal, depth)
        # Where the surface turns away, the wrapped cosine darkens it: no shadow on top of that.
        turned = min(max(0.15 - 5.0 * facing, 0.0), 1.0)
        lit += (1.0 - lit) * turned
        out[v, 6] = lit
        if out[v, 11] > 0.03:  # the front of the face
            share = max(-nz, 0.0)
            ambient_light = 0.2126 * out[v, 3] + 0.7152 * out[v, 4] + 0.0722 * out[v, 5]
            received += share * (ambient_light + key_luminance * lit * max(facing, 0.0))
            weight += share
    return received / max(weight, 1e-9)


@compiled
def _open_to_key(x: float, y: float, z: float, focal: float, depth: Float32Array) -> float:
    """The share of a square of depth texels that does not lie before the point."""
    size = depth.shape[0]
    column = int(focal * x / z + 0.5 * size)
    row = int(focal * y / z + 0.5 * size)
    num_open = 0
    for di in range(-SHADOW_TAPS, SHADOW_TAPS + 1):
        for dj in range(-SHADOW_TAPS, SHADOW_TAPS + 1):
            i = min(max(row + di, 0), size - 1)
            j = min(max(column + dj, 0), size - 1)
            there = np.float64(depth[i, j])
            if there == 0.0 or z < there + SHADOW_BIAS_M:
                num_open += 1
    return num_open / (2 * SHADOW_TAPS + 1) ** 2
