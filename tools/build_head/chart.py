"""A flat, nearly conformal chart of the left half of the loft, and its inverse.

The crown is the origin, the front midline runs down the negative second axis, the back midline up
the positive one; the neck's lower border is the outer half circle. Triangulating here is easy:
the half head is a half disc.
"""

from __future__ import annotations

import numpy as np

from tools.build_head.loft import LAST_ROW, Loft
from tools.build_head.spline import Floats

NUM_GRID_ROWS = 441
NUM_GRID_ANGLES = 241
FIRST_ROW = 0.02


class Chart:
    """Maps (theta, row) to the plane and back, and points near the loft to (theta, row)."""

    def __init__(self, loft: Loft) -> None:
        self.loft = loft
        self._rows = np.linspace(FIRST_ROW, LAST_ROW, NUM_GRID_ROWS)
        self._angles = np.linspace(0.0, np.pi, NUM_GRID_ANGLES)
        grid = loft(self._angles[None, :], self._rows[:, None])  # (R, A, 3)
        self._grid = grid
        girth = np.linalg.norm(np.diff(grid, axis=1), axis=2).sum(1) / np.pi
        step = np.linalg.norm(np.diff(grid, axis=0), axis=2).mean(1)
        middle_girth = 0.5 * (girth[1:] + girth[:-1])
        # Conformal: relative growth of the radius equals step length over the section's radius.
        self._log_radius = np.r_[0.0, np.cumsum(step / middle_girth)] + np.log(girth[0])

    def radius(self, row: Floats) -> Floats:
        """Distance from the chart's origin; linear in the row next to the crown."""
        inside = np.minimum(row / FIRST_ROW, 1.0)
        out: Floats = inside * np.exp(np.interp(row, self._rows, self._log_radius))
        return out

    def to_plane(self, theta: Floats, row: Floats) -> Floats:
        """(..., 2) chart coordinates."""
        r = self.radius(row)
        return np.stack([r * np.sin(theta), -r * np.cos(theta)], -1)

    def from_plane(self, q: Floats) -> tuple[Floats, Floats]:
        """(theta, row) of (..., 2) chart coordinates, clamped to the domain."""
        r = np.maximum(np.hypot(q[..., 0], q[..., 1]), 1e-12)
        theta = np.arctan2(np.maximum(q[..., 0], 0.0), -q[..., 1])
        log_r = np.log(r)
        row = np.interp(log_r, self._log_radius, self._rows)
        near = log_r < self._log_radius[0]
        row = np.where(near, FIRST_ROW * r / np.exp(self._log_radius[0]), row)
        return theta, row

    def surface(self, q: Floats) -> Floats:
        """Points of the loft above chart coordinates: (..., 3) mm."""
        return self.loft(*self.from_plane(q))

    def locate(self, points: Floats, weights: tuple[float, float, float]) -> tuple[Floats, Floats]:
        """(theta, row) of the loft's points nearest to (N, 3), axes weighted (0 ignores one)."""
        scale = np.asarray(weights)
        # The first guess also minds the ignored axis, or it may land on the far side of the head.
        first = np.maximum(scale, 0.1)
        flat = self._grid.reshape(-1, 3) * first
        theta = np.empty(len(points))
        row = np.empty(len(points))
        for i, target in enumerate(points * first):
            best = int(np.argmin(((flat - target) ** 2).sum(1)))
            row[i] = self._rows[best // NUM_GRID_ANGLES]
            theta[i] = self._angles[best % NUM_GRID_ANGLES]
        for _ in range(12):
            theta, row = self._newton(points, theta, row, scale)
        return theta, row

    def _newton(
        self, points: Floats, theta: Floats, row: Floats, scale: Floats
    ) -> tuple[Floats, Floats]:
        eps = 1e-5
        here = self.loft(theta, row)
        d_theta = (self.loft(theta + eps, row) - here) / eps * scale
        d_row = (self.loft(theta, np.maximum(row - eps, 0.0)) - here) / -eps * scale
        error = (points - here) * scale
        a, b, c = (d_theta**2).sum(1), (d_theta * d_row).sum(1), (d_row**2).sum(1)
        u, v = (d_theta * error).sum(1), (d_row * error).sum(1)
        det = a * c - b * b + 1e-9
        theta = theta + np.clip((c * u - b * v) / det, -0.05, 0.05)
        row = row + np.clip((a * v - b * u) / det, -0.2, 0.2)
        return np.clip(theta, 0.0, np.pi), np.clip(row, FIRST_ROW, LAST_ROW)

    def locate_front(self, xy: Floats) -> tuple[Floats, Floats]:
        """(theta, row) of the loft's front above (N, 2) frontal coordinates, mm."""
        targets = np.concatenate([xy, np.full((len(xy), 1), 75.0)], 1)
        return self.locate(targets, (1.0, 1.0, 1e-3))

    def locate_side(self, yz: Floats) -> tuple[Floats, Floats]:
        """(theta, row) of the loft's left side beside (N, 2) coordinates (y, z), mm."""
        targets = np.concatenate([np.full((len(yz), 1), 75.0), yz], 1)
        return self.locate(targets, (1e-3, 1.0, 1.0))
