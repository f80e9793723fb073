"""From errors a face to a table with intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.real_faces.parsing import REGIONS, iou
from benchmarks.real_faces.photographs import Float64Array
from benchmarks.real_faces.points import GROUPS
from trainer.metrics import bootstrap_interval

_DRAWS = 1000


@dataclass(frozen=True)
class Figure:
    """A mean over faces and its 95 % interval by bootstrap over faces; shares, not percent."""

    value: float
    low: float
    high: float

    def percent(self) -> str:
        """Return `value [low, high]` in percent."""
        return f"{self.value:6.2%} [{self.low:6.2%}, {self.high:6.2%}]"

    def share(self) -> str:
        """Return `value [low, high]`."""
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def point_figures(
    errors: Float64Array, subsets: Mapping[str, NDArray[np.bool_]]
) -> dict[str, dict[str, Figure]]:
    """Return figures by subset and group of points, of errors a face and point, (F, 68)."""
    return {
        subset: {
            group: _mean_figure(errors[chosen][:, points].mean(1))
            for group, points in GROUPS.items()
        }
        for subset, chosen in subsets.items()
    }


def overlap_figures(counts: NDArray[np.int64]) -> dict[str, Figure]:
    """Return the IoU of each region over the set, of counts (F, regions, 2)."""
    random = np.random.default_rng(0)
    draws = random.integers(0, len(counts), (_DRAWS, len(counts)))
    drawn = np.array([iou(counts[rows]) for rows in draws])
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    whole = iou(counts)
    return {
        region: Figure(float(whole[i]), float(low[i]), float(high[i]))
        for i, region in enumerate(REGIONS)
    }


def point_lines(title: str, figures: Mapping[str, Mapping[str, Figure]]) -> list[str]:
    """Return the table's lines of one method."""
    return [
        f"{title:<34} {subset:<13} {group:<9} {figure.percent()}"
        for subset, groups in figures.items()
        for group, figure in groups.items()
    ]


def overlap_lines(title: str, figures: Mapping[str, Figure]) -> list[str]:
    """Return the table's lines of one method."""
    return [f"{title:<34} IoU {region:<19} {figure.share()}" for region, figure in figures.items()]


def plain(figures: Any) -> Any:
    """Return nested figures as JSON takes them."""
    if isinstance(figures, Figure):
        return asdict(figures)
    return {name: plain(inner) for name, inner in figures.items()}


def _mean_figure(values: Float64Array) -> Figure:
    low, high = bootstrap_interval(values, draws=_DRAWS)
    return Figure(float(values.mean()), low, high)
