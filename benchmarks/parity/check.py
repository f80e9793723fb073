"""One comparison of ours with a recorded number."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Check:
    """What one comparison found.

    Attributes:
        fixture: the file it is from.
        quantity: what was compared, with unit or count of what.
        error: the largest found.
        tolerance: the largest allowed.
        note: what else a reader should know.
    """

    fixture: str
    quantity: str
    error: float
    tolerance: float
    note: str = ""

    @property
    def is_ok(self) -> bool:
        return self.error <= self.tolerance  # and so not for NaN

    def __str__(self) -> str:
        verdict = "ok" if self.is_ok else "NOT OK"
        line = f"{self.fixture}: {self.quantity}: largest error {self.error:.3g}"
        line += f", tolerance {self.tolerance:.3g}, {verdict}"
        return f"{line} ({self.note})" if self.note else line


def largest(
    fixture: str, quantity: str, ours: ArrayLike, recorded: ArrayLike, *, tolerance: float
) -> Check:
    """Compare arrays by their largest absolute difference; other shapes are never equal."""
    mine, theirs = np.asarray(ours, np.float64), np.asarray(recorded, np.float64)
    if mine.shape != theirs.shape:
        note = f"shape {mine.shape}, recorded {theirs.shape}"
        return Check(fixture, quantity, float("inf"), tolerance, note)
    error = float(np.abs(mine - theirs).max(initial=0.0))
    return Check(fixture, quantity, error, tolerance)


def count_unequal(fixture: str, quantity: str, ours: ArrayLike, recorded: ArrayLike) -> Check:
    """Compare what must be equal: the error is how many entries differ."""
    mine, theirs = np.asarray(ours), np.asarray(recorded)
    if mine.shape != theirs.shape:
        note = f"shape {mine.shape}, recorded {theirs.shape}"
        return Check(fixture, quantity, float("inf"), 0, note)
    return Check(fixture, quantity, float((mine != theirs).sum()), 0)
