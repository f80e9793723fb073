"""Draws the semantic map in FLAME's UV layout: `python -m tools.semantic_map`.

Every outline is our own: a few points on the right half of the layout (the subject's right, the
picture's left), joined by smooth curves and mirrored. FLAME's layout itself (where eye, nose or ear
lie on it) is a fact of the model; no other map is read to draw this one. `--compare PNG` measures
how far it agrees with SynthForge's published colours, which users have.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from synthforge.conventions import CLASS_IDS, CLASSES, IGNORE_CLASS
from workers.generators.next3d.semantics import OWN_MAP_PATH
from workers.png import encode_png
from workers.types import UInt8Array

SIDE: Final = 1024
MIDDLE: Final = 0.4976
"""Where the layout is mirrored, along u."""

Points = Sequence[tuple[float, float]]
_CURVE_STEPS: Final = 24  # points of a curve between two of its own
_SUBPIXEL_BITS: Final = 6

# All in parts of the side, x to the right and y DOWN, one half from top to bottom.
_FACE: Points = (
    (MIDDLE, 0.168), (0.41, 0.178), (0.335, 0.200), (0.265, 0.245), (0.208, 0.304), (0.170, 0.376),
    (0.158, 0.460), (0.178, 0.530), (0.182, 0.600), (0.205, 0.662), (0.232, 0.703), (0.270, 0.734),
    (0.330, 0.757), (0.385, 0.753), (0.445, 0.741), (MIDDLE, 0.736),
)  # fmt: skip
_NECK: Points = (
    (MIDDLE, 0.725), (0.40, 0.735), (0.30, 0.735), (0.262, 0.728), (0.226, 0.722), (0.205, 0.735),
    (0.150, 0.722), (0.08, 0.710), (0.0, 0.697), (0.0, 0.999), (0.25, 0.999), (MIDDLE, 0.999),
)  # fmt: skip
_NOSE: Points = (
    (MIDDLE, 0.366), (0.470, 0.372), (0.456, 0.400), (0.441, 0.445), (0.427, 0.490), (0.434, 0.508),
    (0.460, 0.511), (MIDDLE, 0.512),
)  # fmt: skip
_LIPS: Points = (
    (MIDDLE, 0.531), (0.465, 0.534), (0.430, 0.557), (0.409, 0.588), (0.403, 0.617), (0.420, 0.642),
    (0.455, 0.664), (MIDDLE, 0.672),
)  # fmt: skip
_LOWER_LIP: Points = (
    (MIDDLE, 0.585), (0.462, 0.596), (0.403, 0.617), (0.403, 0.70), (0.45, 0.70), (MIDDLE, 0.70),
)  # fmt: skip
_INNER_MOUTH: Points = (
    (MIDDLE, 0.554), (0.477, 0.560), (0.465, 0.580), (0.464, 0.594), (0.470, 0.612), (0.483, 0.621),
    (MIDDLE, 0.623),
)  # fmt: skip

# Whole outlines of the right side, mirrored for the left.
_BROW: Points = (
    (0.274, 0.360), (0.292, 0.330), (0.325, 0.301), (0.375, 0.283), (0.425, 0.281), (0.444, 0.293),
    (0.444, 0.309), (0.415, 0.308), (0.370, 0.313), (0.325, 0.333),
)  # fmt: skip
_EAR: Points = (
    (0.117, 0.446), (0.152, 0.461), (0.176, 0.497), (0.189, 0.548), (0.177, 0.600), (0.160, 0.628),
    (0.138, 0.630), (0.115, 0.612), (0.096, 0.560), (0.086, 0.505), (0.093, 0.460),
)  # fmt: skip

# Eyeballs are discs of their own: a globe, and what lies behind its pole.
_RIGHT_EYE: Final = ((0.0745, 0.0767, 0.0692), (0.0215, 0.1475, 0.0185))
_LEFT_EYE: Final = ((0.9253, 0.0738, 0.0715), (0.9775, 0.1472, 0.0185))


def draw_map() -> UInt8Array:
    """Return the map: (SIDE, SIDE) class ids, row 0 at v = 1."""
    canvas = np.full((SIDE, SIDE), CLASS_IDS["hair"], np.uint8)  # the scalp, and beside the layout
    _fill(canvas, "neck", _both_halves(_NECK), is_curved=False)
    _fill(canvas, "skin", _both_halves(_FACE))
    _fill(canvas, "nose", _both_halves(_NOSE))
    _fill_lips(canvas)
    for right, left, outline in (
        ("right_brow", "left_brow", _BROW),
        ("right_ear", "left_ear", _EAR),
    ):
        _fill(canvas, right, outline)
        _fill(canvas, left, _mirrored(outline))
    for name, discs in (("right_eye", _RIGHT_EYE), ("left_eye", _LEFT_EYE)):
        for x, y, radius in discs:
            turn = np.linspace(0, 2 * np.pi, 96, endpoint=False)
            disc = [(x + radius * np.cos(t), y + radius * np.sin(t)) for t in turn]
            _fill(canvas, name, disc, is_curved=False)
    return canvas


def _fill_lips(canvas: UInt8Array) -> None:
    """The lips share one outline; the lower one is what lies under the line between the corners."""
    lips, lower = np.zeros_like(canvas), np.zeros_like(canvas)
    _fill(lips, "upper_lip", _both_halves(_LIPS))
    _fill(lower, "lower_lip", _both_halves(_LOWER_LIP), is_curved=False)
    canvas[lips > 0] = CLASS_IDS["upper_lip"]
    canvas[(lips > 0) & (lower > 0)] = CLASS_IDS["lower_lip"]
    _fill(canvas, "inner_mouth", _both_halves(_INNER_MOUTH))


def _mirrored(points: Points) -> Points:
    return [(2 * MIDDLE - x, y) for x, y in points]


def _both_halves(half: Points) -> Points:
    """Close a half outline that begins and ends on the middle."""
    return [*half, *_mirrored(half[1:-1])[::-1]]


def _fill(canvas: UInt8Array, name: str, outline: Points, *, is_curved: bool = True) -> None:
    points = np.array(outline, np.float64)
    curve = _curve(points) if is_curved else points
    at = np.round((curve * SIDE - 0.5) * 2**_SUBPIXEL_BITS).astype(np.int32)
    cv2.fillPoly(canvas, [at[:, None]], CLASS_IDS[name], cv2.LINE_8, _SUBPIXEL_BITS)


def _curve(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """A closed Catmull-Rom curve through points (Catmull and Rom, 1974)."""
    before, after, later = (np.roll(points, shift, axis=0) for shift in (1, -1, -2))
    t = (np.arange(_CURVE_STEPS) / _CURVE_STEPS)[None, :, None]
    p0, p1, p2, p3 = (p[:, None] for p in (before, points, after, later))
    whole = 0.5 * (
        2 * p1
        + (p2 - p0) * t
        + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2
        + (3 * p1 - p0 - 3 * p2 + p3) * t**3
    )
    return np.asarray(whole.reshape(-1, 2))


# SynthForge's colours (RGB) and what each is in our classes.
_PUBLISHED: Final[Mapping[str, str]] = {
    "f5dccb": "skin", "440f85": "skin", "9dab3b": "skin", "757ae4": "skin", "e5a5e7": "skin",
    "656b38": "skin", "e4f18f": "neck", "50443d": "neck", "00fff1": "neck", "0000ff": "right_eye",
    "f600ff": "left_eye", "8fa9d3": "left_brow", "d38f8f": "right_brow", "00ff3c": "left_ear",
    "fcff00": "right_ear", "008880": "lower_lip", "d91717": "upper_lip", "002f99": "inner_mouth",
    "c602ac": "nose", "683516": "hair",
}  # fmt: skip
_FILLER: Final = "d1823d"


def agreement(ours: UInt8Array, published: UInt8Array) -> dict[str, float]:
    """Compare with the published texture, (S, S, 3) RGB, over the layout.

    Returns:
        Intersection over union by class, and `all`, the share of the layout with equal classes.
    """
    size = (SIDE, SIDE)
    small = cv2.resize(published, size, interpolation=cv2.INTER_NEAREST).astype(np.int32)
    colours = [*_PUBLISHED, _FILLER]
    palette = np.array([[int(c[i : i + 2], 16) for i in (0, 2, 4)] for c in colours], np.int32)
    nearest = np.stack([np.abs(small - colour).sum(-1) for colour in palette]).argmin(0)
    ids = np.array([CLASS_IDS[name] for name in _PUBLISHED.values()] + [IGNORE_CLASS], np.uint8)
    theirs = ids[nearest]
    inside = theirs != IGNORE_CLASS
    found = {"all": float((ours == theirs)[inside].mean())}
    for class_id in np.unique(ids[:-1]):
        one, other = (ours == class_id) & inside, theirs == class_id
        found[CLASSES[int(class_id)]] = float((one & other).sum() / (one | other).sum())
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description="Draw the semantic map.")
    parser.add_argument("--compare", type=Path, help="the published texture; nothing is written")
    arguments = parser.parse_args()
    if arguments.compare is None:
        OWN_MAP_PATH.write_bytes(encode_png(draw_map()))
        return 0
    published = cv2.imread(str(arguments.compare), cv2.IMREAD_COLOR)
    if published is None:
        parser.error(f"{arguments.compare} is no picture")
    for name, share in agreement(draw_map(), np.asarray(published[..., ::-1], np.uint8)).items():
        sys.stdout.write(f"{name:12} {share:.3f}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
