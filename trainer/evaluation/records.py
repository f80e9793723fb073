"""What a model's answer to one picture of a real set was worth; figures are made of these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from synthforge.conventions import DEPTH_UNIT_M
from trainer import metrics
from trainer.datasets.classes import OURS, ClassScheme
from trainer.datasets.frames import Framing
from trainer.datasets.points import IBUG_68, PointScheme
from trainer.datasets.real_set import RealSample, RealSet
from trainer.predicting import FacePrediction, predict_pictures
from trainer.saved import SavedModel

Float64Array = NDArray[np.float64]
# How far the nose tip stands before the outer eye corners, in their distance: of the mean head of
# ICT-FaceKit (Li et al., CVPR 2020).
_NOSE_REACH: Final = 0.5


@dataclass(frozen=True)
class ImageRecord:
    """One picture measured; a part is None where model or set lack it.

    Attributes:
        key: of the picture.
        errors_px: (P,) distances of the points that are compared.
        interocular_px: distance of the outer eye corners of the truth.
        interpupil_px: of the pupils.
        box_px: square root of the area of the truth's box.
        yaw_deg: of the head: the set's own, or estimated from the truth's points.
        counts: (K, K) pixels by true and found class.
        depth: errors in metres as predicted; None for a depth without unit.
        aligned_depth: after the picture's best scale and shift.
    """

    key: str
    errors_px: Float64Array | None = None
    interocular_px: float = np.nan
    interpupil_px: float = np.nan
    box_px: float = np.nan
    yaw_deg: float = np.nan
    counts: NDArray[np.int64] | None = None
    depth: metrics.DepthErrors | None = None
    aligned_depth: metrics.DepthErrors | None = None

    @property
    def nme(self) -> float:
        """Mean point error over the inter-ocular distance; NaN without points."""
        return (
            np.nan if self.errors_px is None else float(self.errors_px.mean() / self.interocular_px)
        )


@dataclass(frozen=True)
class Comparison:
    """How a model's answers are laid beside a set's labels.

    Attributes:
        found_points: indices into the model's points; None where they cannot be compared.
        true_points: of the same points in the set.
        class_table: (256,) id of the set for each id of the model; None where there is none.
        num_classes: of the set.
        notes: what had to be left out, a line each.
    """

    found_points: NDArray[np.int64] | None
    true_points: NDArray[np.int64] | None
    class_table: NDArray[np.uint8] | None
    num_classes: int
    notes: tuple[str, ...]


def compare(saved: SavedModel, real: RealSet) -> Comparison:
    """Tell what of a model's answers can be measured on a set, and under which names."""
    notes: list[str] = []
    found, true = _common_points(saved.points, real.points, notes)
    table = _class_table(saved.classes, real.classes, notes)
    num_classes = real.classes.num_classes if real.classes else 0
    return Comparison(found, true, table, num_classes, tuple(notes))


def measure(
    saved: SavedModel,
    real: RealSet,
    keys: Sequence[str],
    framing: Framing,
    *,
    batch_size: int = 8,
    device: torch.device | str = "cpu",
) -> list[ImageRecord]:
    """Predict pictures of a set at their own size and compare with their labels.

    The crops come from `framing` alone; nothing but the comparison reads the labels.
    """
    comparison = compare(saved, real)
    records = []
    for start in range(0, len(keys), batch_size):
        batch = [real.read(key) for key in keys[start : start + batch_size]]
        pictures = [each.sample.image for each in batch]
        found = predict_pictures(
            saved.model,
            pictures,
            [each.sample.focal_px for each in batch],
            saved.size_px,
            device,
            [framing.warp(each.sample, saved.size_px) for each in batch],
        )
        records += [
            record_of(real, each, answer, comparison)
            for each, answer in zip(batch, found, strict=True)
        ]
    return records


def record_of(
    real: RealSet, truth: RealSample, found: FacePrediction, comparison: Comparison
) -> ImageRecord:
    """Compare one answer with one picture's labels."""
    sample = truth.sample
    held: dict[str, object] = {"yaw_deg": np.nan if truth.yaw_deg is None else truth.yaw_deg}
    if sample.landmarks_px is not None and real.points is not None:
        points = sample.landmarks_px.astype(np.float64)
        held |= _lengths(points, real.points)
        if truth.yaw_deg is None:
            held["yaw_deg"] = estimated_yaw_deg(points, real.points)
        if comparison.true_points is not None and found.landmarks_px is not None:
            answers = found.landmarks_px[comparison.found_points]
            held["errors_px"] = metrics.point_errors(answers, points[comparison.true_points])
    table, answer = comparison.class_table, found.segmentation
    if sample.segmentation is not None and table is not None and answer is not None:
        held["counts"] = metrics.confusion(
            table[answer], sample.segmentation, comparison.num_classes
        )
    if sample.depth is not None and found.depth_m is not None:
        truth_m = np.where(found.depth_m > 0, sample.depth * DEPTH_UNIT_M, 0.0)
        aligned = metrics.aligned_depth(found.depth_m, truth_m)
        held["aligned_depth"] = metrics.depth_errors(aligned, truth_m)
        if sample.focal_px is not None:
            held["depth"] = metrics.depth_errors(found.depth_m, truth_m)
    return ImageRecord(key=sample.key, **held)  # type: ignore[arg-type]


def estimated_yaw_deg(points: Float64Array, scheme: PointScheme) -> float:
    """Return the head's yaw as the nose tip's way off the middle of the eyes tells it.

    Args:
        points: (N, 2) in the order of `scheme`.
        scheme: it has a point that is iBUG's nose tip.
    """
    right, left = (points[corner] for corner in scheme.outer_eye_corners)
    tip = points[scheme.from_ibug.index((30,))]
    across = (left - right) / max(float(np.linalg.norm(left - right)), 1e-9)
    off = float((tip - (left + right) / 2) @ across) / max(
        float(np.linalg.norm(left - right)), 1e-9
    )
    return float(np.rad2deg(np.arctan2(off, _NOSE_REACH)))


def _lengths(points: Float64Array, scheme: PointScheme) -> dict[str, object]:
    right, left = scheme.outer_eye_corners
    pupils = [points[list(group)].mean(0) for group in scheme.pupils]
    extent = points.max(0) - points.min(0)
    return {
        "interocular_px": float(np.linalg.norm(points[right] - points[left])),
        "interpupil_px": float(np.linalg.norm(pupils[0] - pupils[1])),
        "box_px": float(np.sqrt(extent.prod())),
    }


def _common_points(
    ours: PointScheme | None, theirs: PointScheme | None, notes: list[str]
) -> tuple[NDArray[np.int64] | None, NDArray[np.int64] | None]:
    if ours is None or theirs is None:
        return None, None
    if ours.name == theirs.name:
        every = np.arange(ours.num_points)
        return every, every
    if ours.name != IBUG_68.name:
        notes.append(f"points not compared: the model gives {ours.name}, the set has {theirs.name}")
        return None, None
    pairs: dict[int, int] = {}
    for place, sources in enumerate(theirs.from_ibug):
        if len(sources) == 1:
            pairs.setdefault(sources[0], place)
    notes.append(
        f"NME over the {len(pairs)} points of {theirs.name} that have a namesake of the 68"
    )
    return np.array(list(pairs), np.int64), np.array(list(pairs.values()), np.int64)


def _class_table(
    ours: ClassScheme | None, theirs: ClassScheme | None, notes: list[str]
) -> NDArray[np.uint8] | None:
    if ours is None or theirs is None:
        return None
    if ours.names == theirs.names:
        return np.arange(256, dtype=np.uint8)
    if ours.name == OURS.name:
        notes.append(f"classes renamed by their names, {ours.name} to {theirs.name}")
        return theirs.relabelling()
    if sorted(ours.names) == sorted(theirs.names):
        table = np.arange(256, dtype=np.uint8)
        for class_id, name in enumerate(ours.names):
            table[class_id] = theirs.names.index(name)
        return table
    notes.append(f"classes not compared: the model gives {ours.name}, the set has {theirs.name}")
    return None
