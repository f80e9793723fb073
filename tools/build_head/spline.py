"""Smooth curves through given points."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class CubicSpline:
    """The natural cubic spline through samples of any number of channels.

    Args:
        knots: (N,) ascending.
        values: (N, C).
        flat_start: (C,) bool, channels whose slope is 0 at the first knot instead of curvature.
    """

    def __init__(self, knots: Floats, values: Floats, flat_start: NDArray[np.bool_] | None = None):
        self.knots = np.asarray(knots, dtype=np.float64)
        self.values = np.asarray(values, dtype=np.float64)
        is_flat = np.zeros(self.values.shape[1], bool) if flat_start is None else flat_start
        self.curvature = np.stack(
            [self._curvature(self.values[:, c], bool(is_flat[c])) for c in range(len(is_flat))], 1
        )

    def _curvature(self, values: Floats, is_flat: bool) -> Floats:
        """Second derivatives at the knots, from continuity of the first (tridiagonal system)."""
        h = np.diff(self.knots)
        slope = np.diff(values) / h
        n = len(values)
        A = np.eye(n)
        b = np.zeros(n)
        for i in range(1, n - 1):
            A[i, i - 1 : i + 2] = h[i - 1], 2 * (h[i - 1] + h[i]), h[i]
            b[i] = 6 * (slope[i] - slope[i - 1])
        if is_flat:
            A[0, :2] = 2 * h[0], h[0]
            b[0] = 6 * slope[0]
        out: Floats = np.linalg.solve(A, b).astype(np.float64)
        return out

    def __call__(self, at: Floats) -> Floats:
        """Values at (...,) parameters, clamped to the knots' range: (..., C)."""
        x = np.clip(at, self.knots[0], self.knots[-1])
        i = np.clip(np.searchsorted(self.knots, x, side="right") - 1, 0, len(self.knots) - 2)
        h = (self.knots[i + 1] - self.knots[i])[..., None]
        t = x[..., None] - self.knots[i][..., None]
        u = h - t
        m0, m1 = self.curvature[i], self.curvature[i + 1]
        linear = self.values[i] * u / h + self.values[i + 1] * t / h
        bend = m0 * (u**3 / h - h * u) / 6 + m1 * (t**3 / h - h * t) / 6
        out: Floats = linear + bend
        return out


def smooth_curve(points: Sequence[tuple[float, ...]] | Floats, num_points: int) -> Floats:
    """Points at equal arc length on the spline through `points`, ends included: (num_points, D)."""
    anchors = np.asarray(points, dtype=np.float64)
    chord = np.r_[0.0, np.cumsum(np.linalg.norm(np.diff(anchors, axis=0), axis=1))]
    spline = CubicSpline(chord, anchors)
    return resample(spline(np.linspace(0.0, chord[-1], 400)), num_points)


def resample(polyline: Floats, num_points: int) -> Floats:
    """Points at equal arc length on a fine polyline: (num_points, D)."""
    length = np.r_[0.0, np.cumsum(np.linalg.norm(np.diff(polyline, axis=0), axis=1))]
    at = np.linspace(0.0, length[-1], num_points)
    return np.stack([np.interp(at, length, polyline[:, d]) for d in range(polyline.shape[1])], 1)


def smoothstep(low: float | Floats, high: float | Floats, x: Floats) -> Floats:
    """0 below `low`, 1 above `high`, with continuous slope between."""
    t = np.clip((x - low) / (high - low), 0.0, 1.0)
    out: Floats = t * t * (3.0 - 2.0 * t)
    return out
