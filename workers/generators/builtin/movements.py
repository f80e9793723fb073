"""How a face's movements go together: which occur at once, and what may not cross."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from synthforge.parameters import ACTION_UNITS, SIDED_UNITS
from workers.generators.builtin.presets import full_movements
from workers.types import Float64Array

# ARKit's names of our units; those of one side end in `_L`, `_R`.
_ARKIT: Final[Mapping[str, str]] = {
    "brow_raise_inner": "browInnerUp", "brow_raise_outer": "browOuterUp", "brow_lower": "browDown",
    "blink": "eyeBlink", "upper_lid_raise": "eyeWide", "squint": "eyeSquint",
    "cheek_raise": "cheekSquint", "nose_wrinkle": "noseSneer", "smile": "mouthSmile",
    "frown": "mouthFrown", "dimple": "mouthDimple", "mouth_stretch": "mouthStretch",
    "upper_lip_raise": "mouthUpperUp", "lower_lip_depress": "mouthLowerDown",
    "cheek_puff": "cheekPuff", "pucker": "mouthPucker", "funnel": "mouthFunnel",
    "lip_press": "mouthPress", "lip_suck_upper": "mouthRollUpper",
    "lip_suck_lower": "mouthRollLower", "chin_raise": "mouthShrugLower",
    "mouth_left": "mouthLeft", "mouth_right": "mouthRight", "jaw_left": "jawLeft",
    "jaw_right": "jawRight", "jaw_forward": "jawForward",
}  # fmt: skip
_OPPOSITE: Final = {"mouth_right": "mouth_left", "jaw_right": "jaw_left"}

BOTH_SIDES: Final = 0.85  # correlation of a movement's two sides: most faces move both
# Correlations of movements that go together or against each other, set by hand after the pairs that
# Ekman and Friesen's FACS manual lists for common expressions (6+12, 1+2+5, 4+7, 9+10, 15+17,
# 23+24, 18+22); none was measured.
TOGETHER: Final[Mapping[tuple[str, str], float]] = {
    ("smile", "cheek_raise"): 0.7,
    ("smile", "lips_part"): 0.4,
    ("smile", "squint"): 0.35,
    ("smile", "dimple"): 0.3,
    ("smile", "frown"): -0.6,
    ("smile", "pucker"): -0.4,
    ("cheek_raise", "squint"): 0.5,
    ("brow_raise_inner", "brow_raise_outer"): 0.7,
    ("brow_raise_inner", "brow_lower"): -0.4,
    ("brow_raise_outer", "brow_lower"): -0.5,
    ("brow_raise_outer", "upper_lid_raise"): 0.5,
    ("brow_lower", "squint"): 0.4,
    ("brow_lower", "nose_wrinkle"): 0.4,
    ("brow_lower", "frown"): 0.3,
    ("nose_wrinkle", "upper_lip_raise"): 0.6,
    ("frown", "chin_raise"): 0.5,
    ("blink", "upper_lid_raise"): -0.5,
    ("lips_part", "lower_lip_depress"): 0.4,
    ("lips_part", "upper_lip_raise"): 0.3,
    ("lips_part", "lip_press"): -0.6,
    ("lips_part", "chin_raise"): -0.3,
    ("lip_press", "lip_tighten"): 0.5,
    ("lip_suck_upper", "lip_suck_lower"): 0.6,
    ("pucker", "funnel"): 0.5,
    ("pucker", "mouth_stretch"): -0.4,
}
_COUPLING_DECIMALS: Final = 6  # the last bits of a decomposition differ between machines
_LEAST_EIGENVALUE: Final = 1e-3


def unit_targets(names: Sequence[str]) -> dict[str, tuple[tuple[int, float], ...]]:
    """Return for each action unit the coefficients it sets, and their value where it is 1.

    Args:
        names: of the head's movements; units that the head lacks are left out.
    """
    index, full = {name: k for k, name in enumerate(names)}, full_movements(names)
    found = {}
    for unit in ACTION_UNITS:
        stem, side = stem_and_side(unit)
        sign = 1.0
        places = places_of(stem, side, index)
        if not places and stem in _OPPOSITE:
            sign, places = -1.0, places_of(_OPPOSITE[stem], side, index)
        if places:
            found[unit] = tuple((k, sign * full[k]) for k in places)
    return found


def stem_and_side(unit: str) -> tuple[str, str]:
    """Return `blink`, `_left` of `blink_left`; of a unit without sides it and an empty side."""
    for side in ("_left", "_right"):
        if unit.removesuffix(side) in SIDED_UNITS and unit.endswith(side):
            return unit.removesuffix(side), side
    return unit, ""


def places_of(stem: str, side: str, index: Mapping[str, int]) -> list[int]:
    """Return the places of a movement's sides, or of one; by ARKit's names too."""
    sides = {
        "_left": ("_left", "_L"),
        "_right": ("_right", "_R"),
        "": ("_left", "_right", "_L", "_R"),
    }
    ends = ("", *sides[side]) if not side else sides[side]
    arkit = _ARKIT.get(stem, stem)
    return [
        index[s + end] for s in dict.fromkeys((stem, arkit)) for end in ends if s + end in index
    ]


def coupling_matrix(names: Sequence[str]) -> Float64Array:
    """Return (E, E): independent normal numbers times this are movements as faces make them.

    Each row has length 1, so that every movement keeps the distribution it was asked to have.
    """
    index = {name: k for k, name in enumerate(names)}
    wanted = np.eye(len(names))
    pairs = {(stem, stem): BOTH_SIDES for stem in SIDED_UNITS} | dict(TOGETHER)
    for (one, other), value in pairs.items():
        for a in places_of(one, "", index):
            for b in places_of(other, "", index):
                if a != b:
                    wanted[a, b] = wanted[b, a] = value
    values, vectors = np.linalg.eigh(wanted)
    near = (vectors * np.maximum(values, _LEAST_EIGENVALUE)) @ vectors.T
    scale = 1.0 / np.sqrt(np.diag(near))
    factor = np.linalg.cholesky(near * np.outer(scale, scale))
    return np.asarray(np.round(factor, _COUPLING_DECIMALS), dtype=np.float64)
