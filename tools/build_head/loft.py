"""The bulk of the head: tilted cross-sections from crown to bust, blended into one smooth surface.

A section is given by where it meets the midline in front and behind, where it is widest and by
how square it is. Widths, depths and heights are the means of docs/head.md's tables.
"""

from __future__ import annotations

import numpy as np

from tools.build_head.spline import CubicSpline, Floats

# One row a section, millimetres: front y, z; widest y, z, half width; back y, z; squareness of
# the front and the back half (2 = ellipse).
SECTIONS = np.array(
    [
        [146.0, -14.0, 146.0, -14.0, 0.0, 146.0, -14.0, 2.0, 2.0],  # crown
        [143.0, 14.0, 142.0, -16.0, 28.0, 143.0, -45.0, 2.0, 2.0],
        [134.0, 42.0, 131.5, -19.0, 49.0, 133.0, -74.0, 2.0, 2.0],
        [120.0, 61.0, 115.0, -22.0, 62.0, 115.0, -93.0, 2.05, 2.0],
        [104.0, 72.5, 97.5, -24.0, 70.5, 95.0, -103.0, 2.1, 2.05],  # hairline
        [86.0, 78.5, 79.0, -25.0, 75.5, 72.0, -108.0, 2.15, 2.05],
        [68.0, 81.0, 61.0, -25.0, 77.5, 50.0, -107.5, 2.2, 2.05],  # widest
        [52.0, 82.0, 45.0, -22.0, 76.5, 30.0, -103.5, 2.2, 2.05],  # glabella
        [36.0, 80.0, 30.0, -17.0, 74.5, 12.0, -97.0, 2.12, 2.0],  # eyes
        [14.0, 79.0, 13.0, -12.0, 72.5, -4.0, -90.0, 2.1, 2.0],  # cheekbones
        [-8.0, 81.0, -7.0, -9.0, 70.0, -20.0, -83.0, 2.07, 2.0],
        [-28.0, 83.0, -22.0, -8.0, 66.5, -34.0, -77.0, 2.02, 2.0],  # upper lip
        [-42.0, 82.5, -34.0, -7.0, 64.0, -46.0, -73.0, 1.98, 2.0],
        [-56.0, 80.0, -43.0, -7.0, 60.8, -56.0, -71.0, 1.95, 2.0],  # mentolabial
        [-70.0, 80.5, -50.0, -8.0, 57.4, -63.5, -70.0, 1.93, 2.0],  # pogonion
        [-82.0, 75.5, -56.5, -10.0, 54.8, -70.5, -69.5, 1.93, 2.0],  # gnathion
        [-87.5, 61.0, -64.0, -14.0, 53.2, -77.5, -69.5, 1.95, 2.0],
        [-91.0, 42.0, -74.0, -18.0, 52.6, -84.5, -70.5, 2.0, 2.0],
        [-98.0, 29.0, -86.0, -22.0, 53.0, -93.0, -72.5, 2.0, 2.0],  # throat
        [-112.0, 24.0, -103.0, -25.0, 54.0, -105.0, -75.5, 2.0, 2.0],
        [-130.0, 20.5, -121.0, -28.0, 57.0, -119.0, -80.0, 2.0, 2.0],
        [-148.0, 18.0, -137.0, -31.0, 65.0, -132.0, -88.0, 2.0, 2.0],
        [-166.0, 20.0, -150.0, -34.0, 78.0, -144.0, -97.0, 2.0, 2.0],  # inside the collar
    ]
)
LAST_ROW = float(len(SECTIONS) - 1)
ROW_JAW_BORDER = 15.55


class Loft:
    """The bulk surface over (theta, row): theta 0 is the front midline, pi the back's."""

    def __init__(self, sections: Floats = SECTIONS) -> None:
        is_height = np.array([1, 0, 1, 0, 0, 1, 0, 0, 0], bool)
        self._spline = CubicSpline(np.arange(len(sections), dtype=float), sections, is_height)

    def __call__(self, theta: Floats, row: Floats) -> Floats:
        """Points on the subject's left half and, for negative theta, on the right: (..., 3) mm."""
        yf, zf, yw, zw, w, yb, zb, nf, nb = np.moveaxis(self._spline(row), -1, 0)
        c, s = np.cos(theta), np.sin(theta)
        is_front = c >= 0
        depth = np.where(is_front, zf - zw, zw - zb)
        n = np.where(is_front, nf, nb)
        # The crown is a point: keep the formula finite and let the width take it to zero.
        a, b = np.maximum(np.abs(depth), 1e-6), np.maximum(np.abs(w), 1e-6)
        radius = ((np.abs(c) / a) ** n + (np.abs(s) / b) ** n) ** (-1.0 / n)
        y_end = np.where(is_front, yf, yb)
        y = yw + (y_end - yw) * c * c
        return np.stack([radius * s, y, zw + radius * c], -1)
