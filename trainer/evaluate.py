"""A model's figures on samples of known truth, at the pictures' own size."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from synthforge.conventions import CLASSES, DEPTH_UNIT_M
from trainer import metrics
from trainer.batches import Batch
from trainer.model.heads import NUM_CLASSES
from trainer.model.network import FaceModel
from trainer.predicting import FacePrediction, predict_pictures

_TINY_ERROR: Final = 1e-9
_YAW_EDGES_DEG: Final = (0, 15, 30, 45, 90)


@dataclass(frozen=True)
class LandmarkFigures:
    """Errors over the inter-ocular distance (outer corners), all 68 points; shares, not percent.

    Attributes:
        nme: mean over images.
        interval: 95 % of it, by bootstrap over images.
        failure_rate: share of images above 0.10.
        auc: area under the cumulative error curve up to 0.10.
        baseline_nme: of the mean shape of the training faces, put into every picture.
        times_better: baseline_nme / nme.
        by_yaw: mean of each bin of |yaw|, degrees.
    """

    nme: float
    interval: tuple[float, float]
    failure_rate: float
    auc: float
    baseline_nme: float
    times_better: float
    by_yaw: dict[str, float]


@dataclass(frozen=True)
class SegmentationFigures:
    """Scores over all pixels of the set.

    Attributes:
        mean_f1: over the classes that the truth holds, background apart.
        f1: of each class that is true or was found anywhere.
    """

    mean_f1: float
    f1: dict[str, float]


@dataclass(frozen=True)
class DepthFigures:
    """Mean over images.

    Attributes:
        metric: of the depth as predicted, metres.
        aligned: after each image's best scale and shift.
    """

    metric: metrics.DepthErrors
    aligned: metrics.DepthErrors


@dataclass(frozen=True)
class Figures:
    """All that was measured; a part is None where model or data lack it."""

    num_images: int
    landmarks: LandmarkFigures | None
    segmentation: SegmentationFigures | None
    depth: DepthFigures | None

    def to_json(self) -> str:
        """Return the figures as JSON, indented."""
        return json.dumps(asdict(self), indent=1) + "\n"


class Evaluation:
    """Gathers the figures of a model, batch by batch.

    Args:
        model: in evaluation mode.
        size_px: side of the model's input.
        shape: (68, 2) mean shape in shares of the picture: the baseline.
        device: that the model is on.
    """

    def __init__(
        self,
        model: FaceModel,
        size_px: int,
        shape: NDArray[np.float64],
        device: torch.device | str = "cpu",
    ) -> None:
        self._model, self._size_px, self._shape = model, size_px, shape
        self._device = device
        self._errors: list[float] = []
        self._baseline: list[float] = []
        self._yaw: list[float] = []
        self._confusion = np.zeros((NUM_CLASSES, NUM_CLASSES), np.int64)
        self._metric: list[metrics.DepthErrors] = []
        self._aligned: list[metrics.DepthErrors] = []
        self._num_images = 0

    def add(self, batch: Batch) -> None:
        """Predict a batch of pictures at their own size and compare."""
        pictures = list(batch.image.permute(0, 2, 3, 1).contiguous().numpy())
        focals = [None] * len(batch) if batch.focal_px is None else batch.focal_px.tolist()
        found = predict_pictures(self._model, pictures, focals, self._size_px, self._device)
        for i, prediction in enumerate(found):
            if batch.weight[i] > 0:
                self._num_images += 1
                self._add_image(batch, i, prediction)

    def figures(self) -> Figures:
        """Return what was gathered."""
        return Figures(
            num_images=self._num_images,
            landmarks=self._landmarks() if self._errors else None,
            segmentation=self._segmentation() if self._confusion.any() else None,
            depth=self._depth() if self._metric else None,
        )

    def _add_image(self, batch: Batch, i: int, prediction: FacePrediction) -> None:
        height, width = batch.image.shape[-2:]
        if batch.landmarks_px is not None and prediction.landmarks_px is not None:
            truth = batch.landmarks_px[i].double().numpy()
            self._errors.append(float(metrics.nme(prediction.landmarks_px, truth)))
            self._baseline.append(float(metrics.nme(self._shape * (width, height), truth)))
            yaw = np.nan if batch.pose_deg is None else float(batch.pose_deg[i, 0])
            self._yaw.append(yaw)
        if batch.segmentation is not None and prediction.segmentation is not None:
            truth_classes = batch.segmentation[i].numpy()
            self._confusion += metrics.confusion(
                prediction.segmentation, truth_classes, NUM_CLASSES
            )
        if batch.depth is not None and prediction.depth_m is not None:
            truth_m = batch.depth[i].numpy() * DEPTH_UNIT_M
            aligned = metrics.aligned_depth(prediction.depth_m, truth_m)
            self._metric.append(metrics.depth_errors(prediction.depth_m, truth_m))
            self._aligned.append(metrics.depth_errors(aligned, truth_m))

    def _landmarks(self) -> LandmarkFigures:
        errors, yaw = np.array(self._errors), np.abs(self._yaw)
        bins = pairwise(_YAW_EDGES_DEG)
        held = {f"{low}-{high}": errors[(yaw >= low) & (yaw < high)] for low, high in bins}
        baseline = float(np.mean(self._baseline))
        return LandmarkFigures(
            nme=float(errors.mean()),
            interval=metrics.bootstrap_interval(errors),
            failure_rate=metrics.failure_rate(errors),
            auc=metrics.area_under_curve(errors),
            baseline_nme=baseline,
            times_better=baseline / max(float(errors.mean()), _TINY_ERROR),
            by_yaw={name: float(values.mean()) for name, values in held.items() if len(values)},
        )

    def _segmentation(self) -> SegmentationFigures:
        scores = metrics.f1_scores(self._confusion)
        is_true = self._confusion.sum(1) > 0
        is_true[0] = False
        named = {CLASSES[i]: float(score) for i, score in enumerate(scores) if np.isfinite(score)}
        return SegmentationFigures(mean_f1=float(scores[is_true].mean()), f1=named)

    def _depth(self) -> DepthFigures:
        return DepthFigures(_mean(self._metric), _mean(self._aligned))


def evaluate(
    model: FaceModel,
    batches: Iterable[Batch],
    size_px: int,
    shape: NDArray[np.float64],
    device: torch.device | str = "cpu",
) -> Figures:
    """Return a model's figures on batches of whole pictures at their own size.

    The model lies on `device`, the batches on the CPU.
    """
    model.eval()
    evaluation = Evaluation(model, size_px, shape, device)
    for batch in batches:
        evaluation.add(batch)
    return evaluation.figures()


def _mean(errors: list[metrics.DepthErrors]) -> metrics.DepthErrors:
    rows = np.array([list(asdict(each).values()) for each in errors])
    return metrics.DepthErrors(*rows.mean(0).tolist())
