"""Fine marks painted on the front of the face at rest: wrinkles and the hairs of the brows.

Both maps lie in the plane of the resting head's x and y. A vertex carries its resting position, so
a look-up follows the skin however the face is shaped or moved.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from workers.generators.builtin.noise import blurred
from workers.streams import bit_generator
from workers.types import Float32Array, Float64Array, UInt8Array

WRINKLE_TEXEL_M = 0.0006
BROW_TEXEL_M = 0.00025
BROW_MARGIN_M = 0.006
NUM_BROW_HAIRS = 420
NUM_BROW_LEVELS = 4  # level k suits pixels of 2^k texels

Curve = list[tuple[float, float]]

# Curves in millimetres about a landmark (iBUG number), on the subject's left side; depth relative,
# width of the fold in mm. A `both` curve is mirrored.
_FOLDS: tuple[tuple[int, Curve, float, float, bool], ...] = (
    (27, [(-34, 36), (-16, 40), (0, 38), (16, 40), (34, 36)], 0.8, 0.9, False),
    (27, [(-38, 46), (-18, 49), (0, 47.5), (18, 49), (38, 46)], 1.0, 1.0, False),
    (27, [(-36, 56), (-14, 59), (0, 58), (14, 59), (36, 56)], 0.8, 1.0, False),
    (27, [(5.5, 10), (6.5, 16), (5.5, 23)], 1.1, 0.9, True),
    (45, [(3, 1), (10, 4), (18, 9)], 0.7, 0.7, True),
    (45, [(4, -1), (12, -1.5), (20, -1)], 0.8, 0.7, True),
    (45, [(3, -4), (10, -7), (17, -11)], 0.7, 0.7, True),
    (42, [(0, -5), (7, -10), (17, -12), (26, -10)], 0.9, 1.3, True),
    (42, [(3, -9), (9, -15), (18, -18)], 0.5, 1.2, True),
    (35, [(5, 6), (11, 0), (17, -10), (20, -21)], 1.9, 1.9, True),
    (54, [(2, -3), (4, -10), (4, -18)], 0.9, 1.4, True),
    (57, [(-10, -9), (0, -7.5), (10, -9)], 1.0, 1.8, False),
)
_FOLD_DEPTH_M = 0.00055
_SMOOTH = 1e-4  # a slope or depth that shows in no byte: the tails of the folds are cut off


@dataclass(frozen=True)
class FrontMap:
    """A map over the resting head's x and y.

    Attributes:
        origin_m: (x, y) of the first texel's centre; rows grow with y.
        texel_m: spacing.
        texels: (H, W, C), or (L, H, W) for levels, float32.
    """

    origin_m: tuple[float, float]
    texel_m: float
    texels: Float32Array


@dataclass(frozen=True)
class BrowMaps:
    """The hairs of both brows, right first.

    Attributes:
        origins_m: (x, y) of each map's first texel's centre.
        texel_m: spacing.
        texels: (L, 2, H, W) float32 cover, levels for coarser pixels; 0 beyond a map's border.
    """

    origins_m: tuple[tuple[float, float], tuple[float, float]]
    texel_m: float
    texels: Float32Array


def join_brows(right: FrontMap, left: FrontMap) -> BrowMaps:
    """Lay two maps into one array."""
    rows = max(right.texels.shape[1], left.texels.shape[1])
    columns = max(right.texels.shape[2], left.texels.shape[2])
    texels = np.zeros((NUM_BROW_LEVELS, 2, rows, columns), np.float32)
    for side, brow in enumerate((right, left)):
        texels[:, side, : brow.texels.shape[1], : brow.texels.shape[2]] = brow.texels
    return BrowMaps((right.origin_m, left.origin_m), right.texel_m, texels)


def wrinkle_map(landmarks: Float64Array) -> FrontMap:
    """Return slope in x, slope in y and depth (0 to 1) of the skin's folds.

    Args:
        landmarks: (51, 3) iBUG points 17 to 67 of the head at rest, metres.
    """
    low = landmarks[:, :2].min(0) - np.array([0.035, 0.035])
    high = landmarks[:, :2].max(0) + np.array([0.035, 0.060])
    size = np.ceil((high - low) / WRINKLE_TEXEL_M).astype(int)
    x = low[0] + WRINKLE_TEXEL_M * np.arange(size[0])
    y = low[1] + WRINKLE_TEXEL_M * np.arange(size[1])
    depth = np.zeros((size[1], size[0]))
    for number, curve, strength, width_mm, is_mirrored in _FOLDS:
        for side in (1.0, -1.0) if is_mirrored else (1.0,):
            anchor = landmarks[number - 17] * np.array([1.0, 1.0, 1.0])
            points = np.array(curve) * 1e-3
            line = np.stack([anchor[0] + points[:, 0], anchor[1] + points[:, 1]], 1)
            line[:, 0] *= side
            depth = np.maximum(depth, strength * _groove(x, y, line, 1e-3 * width_mm))
    height = -_FOLD_DEPTH_M * depth
    slope_y, slope_x = np.gradient(height, WRINKLE_TEXEL_M)
    texels = np.stack([slope_x, slope_y, depth], -1).astype(np.float32)
    texels[np.abs(texels) < _SMOOTH] = 0.0
    return FrontMap((float(low[0]), float(low[1])), WRINKLE_TEXEL_M, texels)


def folded_cells(texels: Float32Array) -> UInt8Array:
    """Return (H, W): 1 where one of a cell's four texels, from (row, column) on, is not 0.

    Args:
        texels: (H, W, C); the last row and column, which begin no cell, are 0.
    """
    is_folded = (texels != 0).any(-1)
    out = np.zeros(is_folded.shape, np.uint8)
    out[:-1, :-1] = (
        is_folded[:-1, :-1] | is_folded[1:, :-1] | is_folded[:-1, 1:] | is_folded[1:, 1:]
    )
    return out


def brow_map(outline: Float64Array, inner_end: Float64Array, outer_end: Float64Array) -> FrontMap:
    """Return the cover (0 to 1) of the hairs of one brow, in levels for coarser pixels.

    Args:
        outline: (N, 2) resting x and y of the brow's vertices, metres.
        inner_end: (2,) where the brow starts beside the nose.
        outer_end: (2,) its tail.
    """
    low, high = outline.min(0) - BROW_MARGIN_M, outline.max(0) + BROW_MARGIN_M
    size = np.ceil((high - low) / BROW_TEXEL_M).astype(int)
    cover = np.zeros((size[1], size[0]))
    stream = np.random.Generator(bit_generator(0, "builtin.texture.brow", 0))
    span = outer_end - inner_end
    outward = np.sign(span[0])
    for along, across, bend, weight in stream.random((NUM_BROW_HAIRS, 4)):
        root = _brow_root(outline, inner_end, span, float(along), float(across))
        # Hairs stand up at the inner end and lie along the brow at its tail.
        rise = np.deg2rad(np.interp(along, [0.0, 0.25, 0.6, 1.0], [72.0, 38.0, 12.0, -14.0]))
        rise += np.deg2rad(24.0) * (bend - 0.5) - np.deg2rad(30.0) * (across - 0.5) * along
        length = (0.0055 + 0.003 * weight) * (1.0 - 0.3 * along)
        _draw_hair(cover, (root - low) / BROW_TEXEL_M, rise, outward, length, 0.5 + 0.5 * weight)
    levels = [cover] + [blurred(cover, 0.45 * 2.0**k) for k in range(1, NUM_BROW_LEVELS)]
    texels = np.clip(np.stack(levels), 0.0, 1.0).astype(np.float32)
    return FrontMap((float(low[0]), float(low[1])), BROW_TEXEL_M, texels)


def _groove(x: Float64Array, y: Float64Array, line: Float64Array, width: float) -> Float64Array:
    """Depth 0 to 1 of a groove along a polyline, fading towards its ends: (len(y), len(x))."""
    length = np.r_[0.0, np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))]
    at = np.linspace(0.0, length[-1], max(12, int(length[-1] / 0.0008)))
    points = np.stack([np.interp(at, length, line[:, d]) for d in range(2)], 1)
    points = np.stack([_smooth(points[:, d]) for d in range(2)], 1)
    fade = np.sin(np.pi * np.linspace(0.04, 0.96, len(points))) ** 0.7
    out = np.zeros((len(y), len(x)))
    for (px, py), strength in zip(points, fade, strict=True):
        dx, dy = (x - px) / width, (y - py) / width
        out = np.maximum(out, strength * np.exp(-0.5 * dy * dy)[:, None] * np.exp(-0.5 * dx * dx))
    return out


def _smooth(values: Float64Array) -> Float64Array:
    padded = np.pad(values, 6, mode="reflect", reflect_type="odd")
    kernel = np.hanning(13)
    return np.asarray(np.convolve(padded, kernel / kernel.sum(), mode="valid"))


def _brow_root(
    outline: Float64Array, inner_end: Float64Array, span: Float64Array, along: float, across: float
) -> Float64Array:
    """A point of the brow: `along` from inner end to tail, `across` from lower to upper edge."""
    reach = (outline - inner_end) @ span / (span @ span)
    near = np.argsort(np.abs(reach - (0.02 + 0.96 * along)))[:6]
    low, high = outline[near, 1].min(), outline[near, 1].max()
    x = inner_end[0] + span[0] * (0.02 + 0.96 * along)
    return np.array([x, low + (high - low) * (0.05 + 0.9 * across)])


def _draw_hair(
    cover: Float64Array,
    root_px: Float64Array,
    rise: float,
    outward: float,
    length_m: float,
    weight: float,
) -> None:
    steps = int(length_m / BROW_TEXEL_M * 1.5)
    for k in range(steps):
        t = k / steps
        angle = rise - 0.35 * t
        reach = t * length_m / BROW_TEXEL_M
        x = root_px[0] + outward * reach * np.cos(angle)
        y = root_px[1] + reach * np.sin(angle)
        column, row = int(x), int(y)
        if not (0 <= row < cover.shape[0] - 1 and 0 <= column < cover.shape[1] - 1):
            continue
        fx, fy = x - column, y - row
        strength = weight * (1.0 - t**2) * 0.8
        spread = np.array([[(1 - fx) * (1 - fy), fx * (1 - fy)], [(1 - fx) * fy, fx * fy]])
        patch = cover[row : row + 2, column : column + 2]
        np.maximum(patch, np.minimum(strength * spread * 1.8, 1.0), out=patch)
