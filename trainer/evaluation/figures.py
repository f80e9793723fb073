"""Records of pictures to the figures of a subset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trainer import metrics
from trainer.datasets.classes import ClassScheme
from trainer.evaluation.records import ImageRecord

YAW_EDGES_DEG: Final = (0, 15, 30, 45, 60, 90, 180)
_DRAWS: Final = 1000
_NUM_WORST: Final = 8
Interval = tuple[float, float]


@dataclass(frozen=True)
class PointFigures:
    """Shares, not percent.

    Attributes:
        num_points: that were compared.
        nme: over the distance of the outer eye corners, mean over pictures.
        interval: 95 % of it, by bootstrap over pictures.
        nme_interpupil: over the distance of the pupils.
        nme_box: over the root of the area of the points' box.
        failure_rate: pictures whose `nme` is above 0.10.
        auc: area under the cumulative curve up to 0.10.
        by_yaw: bin of |yaw|, degrees -> (mean nme, pictures).
    """

    num_points: int
    nme: float
    interval: Interval
    nme_interpupil: float
    nme_box: float
    failure_rate: float
    auc: float
    by_yaw: dict[str, tuple[float, int]]


@dataclass(frozen=True)
class ClassFigures:
    """F1 over all pixels of the subset, at the labels' own size; shares.

    Attributes:
        f1: of each class that is true or was found anywhere.
        means: protocol -> (mean of its classes, 95 % interval by bootstrap over pictures).
    """

    f1: dict[str, float]
    means: dict[str, tuple[float, Interval]]


@dataclass(frozen=True)
class DepthSummary:
    """Means over pictures.

    Attributes:
        alignment: `none`, or `scale and shift`, fitted by least squares a picture.
        errors: the means.
        interval: 95 % of AbsRel, by bootstrap over pictures.
    """

    alignment: str
    errors: metrics.DepthErrors
    interval: Interval


@dataclass(frozen=True)
class SubsetFigures:
    """All that was measured on one subset.

    Attributes:
        subset: its name.
        num_images: in it.
        points: of landmarks, None if not compared; so too the others.
        classes: of segmentation.
        depth: under each alignment.
        worst: (key, nme or 1 - mean F1), worst first.
    """

    subset: str
    num_images: int
    points: PointFigures | None
    classes: ClassFigures | None
    depth: tuple[DepthSummary, ...]
    worst: tuple[tuple[str, float], ...]


def summarise(
    subset: str, records: Sequence[ImageRecord], scheme: ClassScheme | None
) -> SubsetFigures:
    """Return the figures of a subset's records."""
    with_points = [record for record in records if record.errors_px is not None]
    counts = [record.counts for record in records if record.counts is not None]
    return SubsetFigures(
        subset=subset,
        num_images=len(records),
        points=_points(with_points) if with_points else None,
        classes=_classes(np.stack(counts), scheme) if counts and scheme else None,
        depth=_depth(records),
        worst=_worst(records),
    )


def mean_f1(counts: NDArray[np.int64], classes: Sequence[int]) -> float:
    """Return the mean F1 of some classes of a (K, K) confusion; one that never is counts not."""
    scores = metrics.f1_scores(counts)[list(classes)]
    scores = scores[np.isfinite(scores)]
    return float(scores.mean()) if len(scores) else float("nan")


def _points(records: Sequence[ImageRecord]) -> PointFigures:
    error = np.array([float(r.errors_px.mean()) for r in records if r.errors_px is not None])
    lengths = np.array([(r.interocular_px, r.interpupil_px, r.box_px) for r in records]).T
    nme, interpupil, box = error / lengths
    return PointFigures(
        num_points=max(len(r.errors_px) for r in records if r.errors_px is not None),
        nme=float(nme.mean()),
        interval=metrics.bootstrap_interval(nme, draws=_DRAWS),
        nme_interpupil=float(interpupil.mean()),
        nme_box=float(box.mean()),
        failure_rate=metrics.failure_rate(nme),
        auc=metrics.area_under_curve(nme),
        by_yaw=_by_yaw(nme, np.abs([record.yaw_deg for record in records])),
    )


def _by_yaw(nme: NDArray[np.float64], yaw_deg: NDArray[np.float64]) -> dict[str, tuple[float, int]]:
    found = {}
    for low, high in pairwise(YAW_EDGES_DEG):
        held = nme[(yaw_deg >= low) & (yaw_deg < high)]
        if len(held):
            found[f"{low}-{high}"] = (float(held.mean()), len(held))
    return found


def _classes(counts: NDArray[np.int64], scheme: ClassScheme) -> ClassFigures:
    """Return scores of (N, K, K) confusions, one a picture."""
    scores = metrics.f1_scores(counts.sum(0))
    protocols = dict(scheme.protocols) or {"mean": scheme.names[1:]}
    random = np.random.default_rng(0)
    # How often each picture is drawn, a row a draw: the sums of drawn confusions in one product.
    times = random.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), _DRAWS)
    drawn = (times @ counts.reshape(len(counts), -1)).reshape(_DRAWS, *counts.shape[1:])
    means = {}
    for name, members in protocols.items():
        ids = [scheme.names.index(member) for member in members]
        spread = np.array([mean_f1(each, ids) for each in drawn])
        low, high = np.nanquantile(spread, [0.025, 0.975])
        means[name] = (mean_f1(counts.sum(0), ids), (float(low), float(high)))
    named = {n: float(s) for n, s in zip(scheme.names, scores, strict=True) if np.isfinite(s)}
    return ClassFigures(named, means)


def _depth(records: Sequence[ImageRecord]) -> tuple[DepthSummary, ...]:
    found = []
    for alignment, name in (("none", "depth"), ("scale and shift", "aligned_depth")):
        held = [getattr(record, name) for record in records]
        rows = np.array([list(asdict(each).values()) for each in held if each is not None])
        if len(rows):
            errors = metrics.DepthErrors(*rows.mean(0).tolist())
            interval = metrics.bootstrap_interval(rows[:, 0], draws=_DRAWS)
            found.append(DepthSummary(alignment, errors, interval))
    return tuple(found)


def _worst(records: Sequence[ImageRecord]) -> tuple[tuple[str, float], ...]:
    def badness(record: ImageRecord) -> float:
        if record.errors_px is not None:
            return record.nme
        if record.counts is None:
            return 0.0
        return 1.0 - mean_f1(record.counts, range(1, len(record.counts)))

    ranked = sorted(((r.key, badness(r)) for r in records), key=lambda pair: -pair[1])
    return tuple((key, value) for key, value in ranked[:_NUM_WORST] if value > 0)
