"""What each place on a FLAME-shaped head is: from a map over its UV layout, or from its joints."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from synthforge.conventions import CLASS_IDS, CLASSES, LANDMARK_GROUPS
from workers.flame.assets import JOINT_NAMES, FlameAssets
from workers.types import Float32Array, Int32Array, Topology, UInt8Array

OWN_MAP_PATH: Final = Path(__file__).parent / "semantic_map.png"
"""Drawn by `python -m tools.semantic_map`, in the published UV layout of FLAME's 9976 faces."""

FLAME_FACES: Final = 9976

_JOINT_CLASSES: Final = {"root": "neck", "left_eye": "left_eye", "right_eye": "right_eye"}
_EXPECTED: Final = {
    "right_brow": {"right_brow", "skin"},
    "left_brow": {"left_brow", "skin"},
    "nose": {"nose"},
    "outer_lips": {"upper_lip", "lower_lip", "skin"},
    "inner_lips": {"upper_lip", "lower_lip", "inner_mouth"},
}
LEAST_FIT: Final = 0.8
"""Share of brow, nose and lip landmarks that a map must show on their own features."""


def look_up(region_map: UInt8Array, uv: Float32Array) -> UInt8Array:
    """Return the (...) classes at (..., 2) places, u to the right and v up: the texel they lie in.

    Hard edges: texels are never mixed.
    """
    height, width = region_map.shape
    columns = np.clip(np.floor(uv[..., 0] * width), 0, width - 1).astype(np.int64)
    rows = np.clip(np.floor((1 - uv[..., 1]) * height), 0, height - 1).astype(np.int64)
    return np.asarray(region_map[rows, columns])


def face_regions(region_map: UInt8Array, uv: Float32Array, uv_faces: Int32Array) -> UInt8Array:
    """Return the (F,) classes at the middles of faces."""
    return look_up(region_map, uv[uv_faces].mean(axis=1))


def joint_regions(assets: FlameAssets) -> UInt8Array:
    """Return the (F,) classes that the joints tell: eyes, the neck below it; all else is skin."""
    table = np.full(len(JOINT_NAMES), CLASS_IDS["skin"], np.uint8)
    for joint, name in _JOINT_CLASSES.items():
        table[JOINT_NAMES.index(joint)] = CLASS_IDS[name]
    nearest = assets.weights[assets.faces].sum(axis=1).argmax(axis=1)
    return np.asarray(table[nearest])


def map_fit(region_map: UInt8Array, topology: Topology) -> float:
    """Return the share of brow, nose and lip landmarks that a map shows where they belong.

    A map drawn for another UV layout puts them anywhere.
    """
    landmarks = topology.landmarks
    corners = topology.uv[topology.uv_faces[landmarks.landmark_face]]
    at = (landmarks.landmark_bary[..., None] * corners).sum(axis=1)  # (51, 2), iBUG 17 to 67
    found = look_up(region_map, at.astype(np.float32))
    hits = [
        CLASSES[int(found[point - 17])] in _EXPECTED[group]
        for group in _EXPECTED
        for point in LANDMARK_GROUPS[group]
    ]
    return float(np.mean(hits))
