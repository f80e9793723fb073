"""Named expressions of any FLAME-shaped head: fitted to how its landmarks should move.

FLAME's expression directions are principal components: none of them is "a smile". Each name here
says how some landmarks move on a face; a ridge regression finds the coefficients that move them so
with the least effort. The jaw is a joint, not a coefficient: `expression.jaw_open` opens it.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from synthforge.conventions import landmark_mirror
from workers.flame.assets import FlameAssets
from workers.flame.embedding import LandmarkEmbedding
from workers.types import Float32Array, Float64Array

_RIDGE_M: Final = 0.0015
"""A coefficient of 1 costs as much as a landmark that is off by this."""

_LARGEST: Final = 3.0  # standard deviations
_NUM_FITTED: Final = 50  # the strongest directions

# Millimetres of iBUG points of the right side (x to the subject's left) or of the middle; the left
# side mirrors them unless the expression is one-sided.
_MOVES: Final[dict[str, dict[int, tuple[float, float, float]]]] = {
    "smile": {48: (-6, 6, -3), 60: (-4, 4, -2), 49: (-3, 2, -1), 59: (-3, 2, -1), 41: (0, 1, 0)},
    "frown": {48: (1, -5, 0), 60: (1, -4, 0), 21: (2, -4, 0), 20: (1, -2, 0), 57: (0, 1, 1)},
    "surprise": {17: (0, 5, 0), 18: (0, 7, 0), 19: (0, 7, 0), 20: (0, 7, 0), 21: (0, 6, 0),
                 37: (0, 2, 0), 38: (0, 2, 0), 40: (0, -1, 0), 41: (0, -1, 0)},
    "disgust": {31: (0, 3, 0), 49: (0, 3, 0), 50: (0, 4, 0), 61: (0, 3, 0), 21: (1, -3, 0),
                40: (0, 1, 0), 41: (0, 1, 0)},
    "kiss": {48: (7, 0, 4), 60: (6, 0, 4), 49: (4, 0, 5), 59: (4, 0, 5), 51: (0, 1, 6),
             57: (0, -1, 6)},
    "shout": {50: (0, 4, 0), 61: (0, 4, 0), 58: (0, -5, 0), 67: (0, -5, 0), 57: (0, -5, 0),
              66: (0, -5, 0), 51: (0, 4, 0), 62: (0, 4, 0), 48: (-1, 0, 0)},
    "wink": {37: (0, -6, 0), 38: (0, -6, 0), 40: (0, 2, 0), 41: (0, 2, 0), 19: (0, -2, 0)},
}  # fmt: skip
_ONE_SIDED: Final = ("wink",)


def expression_presets(
    assets: FlameAssets, landmarks: LandmarkEmbedding
) -> dict[str, Float32Array]:
    """Return the (E,) coefficients of every named expression; the neutral one is 0."""
    directions = _landmark_directions(assets, landmarks)
    held = {"neutral": np.zeros(assets.num_expression, np.float32)}
    return held | {name: _fitted(directions, name, assets.num_expression) for name in _MOVES}


def _landmark_directions(assets: FlameAssets, landmarks: LandmarkEmbedding) -> Float64Array:
    """(K, 68, 3): metres by which each landmark moves under each of the first directions."""
    faces = np.concatenate([landmarks.jaw_fixed_face, landmarks.landmark_face])
    bary = np.concatenate([landmarks.jaw_fixed_bary, landmarks.landmark_bary])
    corners = assets.expressiondirs[assets.faces[faces], :, :_NUM_FITTED].astype(np.float64)
    return np.asarray(np.einsum("lc,lcdk->kld", bary, corners))


def _fitted(directions: Float64Array, name: str, count: int) -> Float32Array:
    target = np.zeros(directions.shape[1:])
    twin = landmark_mirror()
    for point, move in _MOVES[name].items():
        target[point] = np.array(move) / 1000
        if name not in _ONE_SIDED:
            target[twin[point]] = target[point] * [-1, 1, 1]
    matrix = directions.reshape(len(directions), -1)
    gram = matrix @ matrix.T + _RIDGE_M**2 * np.eye(len(matrix))
    found = np.clip(np.linalg.solve(gram, matrix @ target.ravel()), -_LARGEST, _LARGEST)
    return np.pad(found, (0, count - len(found))).astype(np.float32)
