"""Named expressions as mixtures of the head's own movements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from workers.types import Float32Array

FULL: Final = 3.0  # standard deviations of a movement as far as it goes
BLINK_FULL: Final = 2.38  # closes the lids exactly
ARKIT_FULL: Final = 1.0 / 0.42
_SIDES: Final = ("_left", "_right", "_L", "_R")

# Weights of movements in standard deviations; `x` stands for `x_left` and `x_right`.
PRESETS: Final[Mapping[str, Mapping[str, float]]] = {
    "neutral": {},
    "smile": {"smile": 2.4, "cheek_raise": 1.4, "lips_part": 0.8, "dimple": 0.5, "squint": 0.4},
    "frown": {"frown": 2.2, "brow_lower": 2.0, "chin_raise": 1.0, "lip_press": 0.6},
    "surprise": {
        "brow_raise_inner": 2.2,
        "brow_raise_outer": 2.2,
        "upper_lid_raise": 2.0,
        "lips_part": 1.5,
        "funnel": 0.8,
    },
    "disgust": {
        "nose_wrinkle": 2.4,
        "upper_lip_raise": 1.8,
        "brow_lower": 1.2,
        "squint": 0.8,
        "lower_lip_depress": 0.6,
    },
    "kiss": {"pucker": 2.6, "funnel": 0.6, "lip_tighten": 0.4},
    "wink": {"blink_left": 2.6, "cheek_raise_left": 1.2, "smile_left": 0.8},
    "shout": {
        "lips_part": 2.2,
        "lower_lip_depress": 1.6,
        "upper_lip_raise": 1.2,
        "brow_lower": 1.2,
        "mouth_stretch": 1.0,
    },
}

# The same of a head with ARKit's blend shapes; a unit is 0.42 of a full activation.
ARKIT_PRESETS: Final[Mapping[str, Mapping[str, float]]] = {
    "neutral": {},
    "smile": {"mouthSmile": 1.8, "cheekSquint": 1.2, "mouthUpperUp": 0.5, "eyeSquint": 0.5},
    "frown": {"mouthFrown": 2.0, "browDown": 1.8, "mouthShrugLower": 1.0, "mouthPress": 0.6},
    "surprise": {"browInnerUp": 1.8, "browOuterUp": 1.8, "eyeWide": 1.8, "mouthFunnel": 1.0},
    "disgust": {"noseSneer": 2.2, "mouthUpperUp": 1.4, "browDown": 1.2, "eyeSquint": 0.8},
    "kiss": {"mouthPucker": 2.2, "mouthFunnel": 0.5},
    "wink": {"eyeBlink_L": 2.4, "cheekSquint_L": 1.2, "mouthSmile_L": 0.8},
    "shout": {"mouthLowerDown": 1.6, "mouthUpperUp": 1.4, "mouthStretch": 1.0, "browDown": 1.0},
}


def preset_vectors(expression_names: Sequence[str]) -> dict[str, Float32Array]:
    """Return each preset's (E,) coefficients; movements that the head lacks are left out."""
    index = {name: i for i, name in enumerate(expression_names)}
    out = {}
    presets = ARKIT_PRESETS if "eyeBlink_L" in index else PRESETS
    for preset, weights in presets.items():
        vector = np.zeros(len(index), np.float32)
        for movement, weight in weights.items():
            for name in (movement, *(f"{movement}{side}" for side in _SIDES)):
                if name in index:
                    vector[index[name]] += weight
        out[preset] = vector
    return out


def full_movements(expression_names: Sequence[str]) -> tuple[float, ...]:
    """Return the standard deviations at which each movement is as far as it goes."""
    if "eyeBlink_L" in expression_names:
        return (ARKIT_FULL,) * len(expression_names)
    return tuple(BLINK_FULL if name.startswith("blink") else FULL for name in expression_names)
