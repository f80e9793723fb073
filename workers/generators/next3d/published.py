"""The published SynthForge labelling, to be measured against: ours differs where it is wrong.

Its generator's cameras and rays are in `workers/generators/next3d/rays.py`, shared with the
network. Here is what was built around them: the mesh's way into the volume, the learnt alignment,
the camera of the masks (which is not the camera of the image), depth in 8 bits, the gate, and the
decoding of masks stored as colours.

Lengths are the volume's units (nominally 0.4 m) but where a name says metres; cameras are
OpenCV's; arithmetic is float64.

Source: the SynthForge paper (arXiv 2406.07840), and numbers recorded from its released code.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workers.generators.next3d.rays import PUBLISHED_SQRT_2
from workers.types import Float64Array, UInt8Array

FORWARD_SHIFT = math.sqrt(2) / 10
"""Added to z once the mesh is scaled, volume units: found by hand upstream."""

GATE_LIMIT_PX = 11.0
"""Of 512: an image whose landmarks a detector finds farther off, on average, is refused."""

COLOUR_MATCH = 2.3
"""CIELAB distance below which a mask's pixel is taken for a class: about one visible step."""


@dataclass(frozen=True)
class AffineMap:
    """p' = matrix p + offset. The published alignment network has no activation and is this.

    Attributes:
        matrix: (3, 3).
        offset: (3,), volume units.
    """

    matrix: Float64Array
    offset: Float64Array

    @classmethod
    def from_layers(
        cls, fc1_weight: ArrayLike, fc1_bias: ArrayLike, fc2_weight: ArrayLike, fc2_bias: ArrayLike
    ) -> AffineMap:
        """Collapse two linear layers, (H, 3) then (3, H), into one map."""
        first, second = np.asarray(fc1_weight, np.float64), np.asarray(fc2_weight, np.float64)
        offset = second @ np.asarray(fc1_bias, np.float64) + np.asarray(fc2_bias, np.float64)
        return cls(second @ first, offset)

    def __call__(self, points: Float64Array) -> Float64Array:
        """Move (..., 3) points."""
        moved: Float64Array = points @ self.matrix.T + self.offset
        return moved


PUBLISHED_ALIGNMENT = AffineMap(
    np.array(
        [
            [1.0195609871470461, 0.005741969033724511, -0.01967370972425919],
            [-0.019876855715856286, 0.9693709233228975, -0.009842354023016264],
            [0.0071554042264816015, 0.07973362221113231, 0.9880279927577799],
        ]
    ),
    np.array([0.0011485939414852507, 0.048703273288930836, -0.014159332373042406]),
)
"""What SynthForge's released map does. Most of its offset in y makes up for a sign slip of 0.01 in
the shift it is applied after (0.05 volume units)."""


def volume_points(vertices_m: ArrayLike, shift_m: ArrayLike, scale: float) -> Float64Array:
    """Place head-model points in the generator's volume: scale / 2 * (v + shift), then forward.

    Args:
        vertices_m: (..., 3) FLAME's frame, metres.
        shift_m: (3,) `orth_shift` of the checkpoint, metres.
        scale: `orth_scale` of the checkpoint, volume units per half metre.

    Returns:
        (..., 3) volume units, not yet aligned.
    """
    shifted = np.asarray(vertices_m, np.float64) + np.asarray(shift_m, np.float64)
    return np.asarray(scale / 2 * shifted + np.array([0.0, 0.0, FORWARD_SHIFT]))


def to_camera(points: Float64Array, cam2world: ArrayLike) -> Float64Array:
    """(B, N, 3) volume points to the axes of each camera, (B, 4, 4)."""
    world2cam = np.linalg.inv(np.asarray(cam2world, np.float64))
    placed = points @ world2cam[:, :3, :3].transpose(0, 2, 1) + world2cam[:, None, :3, 3]
    return np.asarray(placed)


def project(points_cam: Float64Array, focal: ArrayLike, image_size_px: int) -> Float64Array:
    """Project (B, N, 3) to pixels, (B, N, 2), of a square image with the principal point centred.

    Args:
        points_cam: camera axes.
        focal: (B,) normalised by the image's width.
        image_size_px: its side. The image's top-left corner is (0, 0).
    """
    slopes = points_cam[..., :2] / points_cam[..., 2:]
    return image_size_px * (np.asarray(focal, np.float64)[:, None, None] * slopes + 0.5)


def mask_focal(fov_diagonal_deg: ArrayLike) -> Float64Array:
    """The focal length that the published masks are drawn with, normalised by the image's width.

    It divides the field of view by 1.414 where the image's camera divides the focal length by it,
    and so draws the head 0.39 % too large at 18 degrees, 0.71 % at 24.
    """
    across = np.radians(np.asarray(fov_diagonal_deg, np.float64) / PUBLISHED_SQRT_2)
    return np.asarray(0.5 / np.tan(across / 2))


def mask_colours(
    uv: NDArray[np.float32], is_hit: NDArray[np.bool_], texture: UInt8Array
) -> UInt8Array:
    """Colour a mask by looking the class colours up between texels, which mixes classes.

    Args:
        uv: (B, H, W, 2) of the point hit, v up.
        is_hit: (B, H, W); elsewhere the mask is white.
        texture: (Ht, Wt, 3) class colours; texel centres lie on the map's edges.

    Returns:
        (B, H, W, 3), truncated to 8 bits as published.
    """
    rows, columns = texture.shape[:2]
    x, x_next, x_part = _between(uv[..., 0], columns)
    y, y_next, y_part = _between(1 - uv[..., 1], rows)
    colours = texture.astype(np.float64) / 255
    upper = colours[y, x] * (1 - x_part) + colours[y, x_next] * x_part
    lower = colours[y_next, x] * (1 - x_part) + colours[y_next, x_next] * x_part
    mixed = upper * (1 - y_part) + lower * y_part
    return (np.where(is_hit[..., None], mixed, 1.0) * 255).astype(np.uint8)


def depth_to_8_bits(ray_depth: ArrayLike) -> UInt8Array:
    """Store depth as published: the image's own range, background included, cut to 8 bits."""
    depth = np.asarray(ray_depth)
    low, high = depth.min(), depth.max()
    grey: UInt8Array = ((depth - low) / (high - low) * 255).astype(np.uint8)
    return grey


def gate_error_px(projected_px: ArrayLike, detected_px: ArrayLike) -> Float64Array:
    """Mean distance of (B, 68, 2) landmarks from a detector's, (B,). Stored as `mse` upstream."""
    apart = np.asarray(projected_px, np.float64) - np.asarray(detected_px, np.float64)
    return np.asarray(np.linalg.norm(apart, axis=-1).mean(axis=-1))


def passes_gate(error_px: ArrayLike) -> NDArray[np.bool_]:
    """Whether the published gate keeps an image."""
    return np.asarray(error_px) <= GATE_LIMIT_PX


def decode_colours(mask: UInt8Array, class_colours: ArrayLike) -> NDArray[np.int64]:
    """Decode a colour mask as the published trainer does.

    A pixel belongs to every class within `COLOUR_MATCH` of its colour, each class is dilated by
    3x3, and the lowest class wins: it eats a pixel of its neighbours. What matches none is
    background.

    Args:
        mask: (H, W, 3).
        class_colours: (C, 3) in 0..1, without the background.

    Returns:
        (H, W) class ids; C is background.
    """
    pixels = _cielab(mask.astype(np.float64) / 255)
    palette = _cielab(np.asarray(class_colours, np.float64))
    apart = np.linalg.norm(pixels[:, :, None] - palette, axis=-1)  # (H, W, C)
    grown = _dilate_3x3(apart < COLOUR_MATCH)
    return np.where(grown.any(axis=-1), grown.argmax(axis=-1), len(palette))


def _between(
    position: NDArray[np.float32], num_texels: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], Float64Array]:
    """The texels on either side of positions in 0..1, and how far towards the second."""
    at = np.clip(position.astype(np.float64), 0, 1) * (num_texels - 1)
    first = np.floor(at).astype(np.int64)
    return first, np.minimum(first + 1, num_texels - 1), (at - first)[..., None]


def _dilate_3x3(is_class: NDArray[np.bool_]) -> NDArray[np.bool_]:
    height, width = is_class.shape[:2]
    padded = np.pad(is_class, ((1, 1), (1, 1), (0, 0)))
    shifts = [padded[i : i + height, j : j + width] for i in range(3) for j in range(3)]
    grown: NDArray[np.bool_] = np.logical_or.reduce(shifts)
    return grown


_SRGB_TO_XYZ = np.array(
    [
        [0.412453, 0.357580, 0.180423],
        [0.212671, 0.715160, 0.072169],
        [0.019334, 0.119193, 0.950227],
    ]
)
_WHITE_D65 = np.array([0.95047, 1.0, 1.08883])


def _cielab(srgb: Float64Array) -> Float64Array:
    """CIE 1976 L*a*b* of (..., 3) sRGB in 0..1, under D65. Source: IEC 61966-2-1; CIE 15."""
    linear = np.where(srgb > 0.04045, ((srgb + 0.055) / 1.055) ** 2.4, srgb / 12.92)
    xyz = linear @ _SRGB_TO_XYZ.T / _WHITE_D65
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)
