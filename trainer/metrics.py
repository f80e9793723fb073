"""What a model is judged by. Plain NumPy, a value an image or counts that add up over a set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from synthforge.conventions import OUTER_EYE_CORNERS

FloatArray = NDArray[np.floating]
FAILURE_NME: Final = 0.10  # the usual limit of 300-W


def point_errors(found: FloatArray, truth: FloatArray) -> NDArray[np.float64]:
    """Return the distances of points, (..., N) for (..., N, 2)."""
    difference = np.asarray(found, np.float64) - np.asarray(truth, np.float64)
    return np.asarray(np.linalg.norm(difference, axis=-1))


def interocular(points: FloatArray) -> NDArray[np.float64]:
    """Return the distance of the outer eye corners, (...,) for (..., 68, 2)."""
    right, left = OUTER_EYE_CORNERS
    return point_errors(points[..., right, :], points[..., left, :])


def nme(
    found: FloatArray, truth: FloatArray, normaliser: FloatArray | None = None
) -> NDArray[np.float64]:
    """Return each image's mean point error over a length.

    Args:
        found: (B, N, 2) pixels.
        truth: (B, N, 2) pixels.
        normaliser: (B,) pixels; by default the truth's inter-ocular distance (outer corners).

    Returns:
        (B,), 0.05 is 5 %.
    """
    length = interocular(truth) if normaliser is None else np.asarray(normaliser, np.float64)
    return np.asarray(point_errors(found, truth).mean(-1) / length)


def failure_rate(errors: FloatArray, limit: float = FAILURE_NME) -> float:
    """Return the share of images whose error is above the limit."""
    return float(np.mean(np.asarray(errors) > limit))


def area_under_curve(errors: FloatArray, limit: float = FAILURE_NME) -> float:
    """Return the area under the cumulative error curve up to the limit, divided by the limit.

    Exact: the curve is a step function, so the area is the mean of what each error leaves over.
    """
    left_over: NDArray[np.float64] = np.clip(limit - np.asarray(errors, np.float64), 0.0, None)
    return float(left_over.mean() / limit)


def confusion(
    found: NDArray[np.integer], truth: NDArray[np.integer], num_classes: int
) -> NDArray[np.int64]:
    """Count pixels by (true class, found class); true classes from `num_classes` on are ignored."""
    counted = np.asarray(truth).ravel() < num_classes
    pairs = truth.ravel()[counted].astype(np.int64) * num_classes + found.ravel()[counted]
    counts = np.bincount(pairs, minlength=num_classes**2)
    table: NDArray[np.int64] = counts.reshape(num_classes, num_classes)
    return table


def f1_scores(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return F1 = 2 TP / (2 TP + FP + FN) of each class; NaN for one neither true nor found."""
    hits = np.diag(counts).astype(np.float64)
    total = counts.sum(0) + counts.sum(1)
    scores = np.full(len(hits), np.nan)
    np.divide(2 * hits, total, out=scores, where=total > 0)
    return scores


@dataclass(frozen=True)
class DepthErrors:
    """Errors of one depth map over the pixels that have a true depth.

    Attributes:
        abs_rel: mean of |found - truth| / truth.
        rmse_m: root of the mean square, metres.
        delta1: share of pixels whose ratio, the larger over the smaller, is below 1.25.
        delta_strict: the same below 1.01: a face spans a tenth of its distance.
    """

    abs_rel: float
    rmse_m: float
    delta1: float
    delta_strict: float


def depth_errors(found_m: FloatArray, truth_m: FloatArray) -> DepthErrors:
    """Compare metric depths where the truth is above 0; arrays of one shape, metres."""
    there = np.asarray(truth_m) > 0
    found = np.asarray(found_m, np.float64)[there]
    truth = np.asarray(truth_m, np.float64)[there]
    ratio = np.maximum(found / truth, truth / np.maximum(found, 1e-9))
    return DepthErrors(
        abs_rel=float(np.mean(np.abs(found - truth) / truth)),
        rmse_m=float(np.sqrt(np.mean((found - truth) ** 2))),
        delta1=float(np.mean(ratio < 1.25)),
        delta_strict=float(np.mean(ratio < 1.01)),
    )


def aligned_depth(found_m: FloatArray, truth_m: FloatArray) -> NDArray[np.float64]:
    """Return `found_m` after the scale and shift that fit the truth best, by least squares."""
    there = np.asarray(truth_m) > 0
    found = np.asarray(found_m, np.float64)
    system = np.stack([found[there], np.ones(int(there.sum()))], -1)
    scale, shift = np.linalg.lstsq(system, np.asarray(truth_m, np.float64)[there], rcond=None)[0]
    return np.asarray(found * scale + shift)


def bootstrap_interval(
    values: FloatArray, *, draws: int = 1000, seed: int = 0, level: float = 0.95
) -> tuple[float, float]:
    """Return the interval of the mean over images drawn with replacement."""
    random = np.random.default_rng(seed)
    values = np.asarray(values, np.float64)
    means = values[random.integers(0, len(values), (draws, len(values)))].mean(1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
