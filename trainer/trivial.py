"""What label adaptation must beat, and begins from: constants a point, a new name a class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from synthforge.conventions import LANDMARK_GROUPS
from trainer.datasets.points import PointScheme

Float64Array = NDArray[np.float64]
_RIGHT_EYE: Final = list(LANDMARK_GROUPS["right_eye"])
_LEFT_EYE: Final = list(LANDMARK_GROUPS["left_eye"])
_EYES: Final = np.array([(i in _RIGHT_EYE or i in _LEFT_EYE) / 12.0 for i in range(68)])
_RIDGES: Final = (0.003, 0.03, 0.3, 3.0)  # shares of the mean variance, tried in turn
_FOLDS: Final = 5


@dataclass(frozen=True)
class PointMix:
    """New points as mixes of the 68, moved by constants in the frame of the eyes.

    Attributes:
        mix: (N, 68) weights; each row sums to 1.
        shift: (N, 2) in eye distances: along the line from right to left eye, and downwards.
    """

    mix: Float64Array
    shift: Float64Array

    def apply(self, points: NDArray[np.floating]) -> Float64Array:
        """Return (M, N, 2) of (M, 68, 2)."""
        return np.asarray(self.mix @ points + self.shift @ eye_axes(points))


def eye_axes(points: NDArray[np.floating]) -> Float64Array:
    """Return (M, 2, 2): the row from right to left eye, and the row at right angles downwards."""
    across = points[:, _LEFT_EYE].mean(1) - points[:, _RIGHT_EYE].mean(1)
    down = np.stack([-across[:, 1], across[:, 0]], -1)
    return np.asarray(np.stack([across, down], 1), np.float64)


def constant_offsets(
    found: NDArray[np.floating], truth: NDArray[np.floating], scheme: PointScheme
) -> PointMix:
    """Return the trivial adapter: each point's namesake, moved by its mean offset.

    Args:
        found: (M, 68, 2) of the frozen model.
        truth: (M, N, 2) of the new labels, same pixels.
        scheme: their order.
    """
    mix = np.zeros((scheme.num_points, 68))
    for point, sources in enumerate(scheme.from_ibug):
        mix[point, list(sources)] = 1 / len(sources)
    rest = (truth - mix @ found) @ np.linalg.inv(eye_axes(found))
    return PointMix(mix, rest.mean(0))


def linear_mix(
    found: NDArray[np.floating], truth: NDArray[np.floating], scheme: PointScheme
) -> PointMix:
    """Return the mix that fits best, drawn to the trivial adapter by a ridge chosen across folds.

    Arguments as of `constant_offsets`. It moves with any similarity of the picture.
    """
    start = constant_offsets(found, truth, scheme)
    axes = np.linalg.inv(eye_axes(found))
    inputs = (found - (_EYES @ found)[:, None]) @ axes  # (M, 68, 2)
    rest = (truth - start.mix @ found) @ axes - start.shift  # (M, N, 2)
    if len(found) < 2 * _FOLDS:
        return start
    errors = [_held_out_error(inputs, rest, ridge) for ridge in _RIDGES]
    change, constant = _ridge(inputs, rest, _RIDGES[int(np.argmin(errors))])
    mix = start.mix + change - change.sum(1, keepdims=True) * _EYES
    return PointMix(mix, start.shift + constant)


def _held_out_error(inputs: Float64Array, rest: Float64Array, ridge: float) -> float:
    fold = np.arange(len(inputs)) % _FOLDS
    errors = []
    for held in range(_FOLDS):
        change, constant = _ridge(inputs[fold != held], rest[fold != held], ridge)
        left = rest[fold == held] - change @ inputs[fold == held] - constant
        errors.append(np.linalg.norm(left, axis=-1).mean())
    return float(np.mean(errors))


def _ridge(
    inputs: Float64Array, rest: Float64Array, ridge: float
) -> tuple[Float64Array, Float64Array]:
    """Return (N, 68) and (N, 2) that minimise |rest - A inputs - b|^2 + ridge |A|^2."""
    mean_in, mean_out = inputs.mean(0), rest.mean(0)
    rows = (inputs - mean_in).transpose(0, 2, 1).reshape(-1, inputs.shape[1])  # (2 M, 68)
    goals = (rest - mean_out).transpose(0, 2, 1).reshape(-1, rest.shape[1])  # (2 M, N)
    gram = rows.T @ rows
    gram += ridge * np.trace(gram) / len(gram) * np.eye(len(gram))
    change = np.linalg.solve(gram, rows.T @ goals).T
    return change, mean_out - change @ mean_in


def best_relabelling(counts: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return for each old class the new one it most often is.

    Args:
        counts: (old, new) pixels of the training pictures.
    """
    return np.asarray(counts.argmax(1), np.uint8)
