"""What training minimises: named terms, a value a sample each, summed by a config's weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from synthforge.conventions import IGNORE_CLASS
from trainer import consistency
from trainer.consistency import ConsistencyConfig, Moved
from trainer.model.heads import LandmarkPrediction, full_precision
from trainer.model.network import Predictions
from trainer.targets import Targets
from trainer.weighted import mean_of_each

HEATMAP_SPREAD_CELLS: Final = 1.0  # of the target Gaussian, in heatmap cells
_TERMS: Final[dict[str, Callable[[Predictions, Targets], Tensor]]] = {}


@dataclass(frozen=True)
class LossConfig:
    """Weights of the terms; a term that is not named is not computed.

    Attributes:
        weights: name of a term -> its weight in the sum.
        consistency: how far pictures are moved for the terms that compare the model with itself.
    """

    weights: Mapping[str, float] = field(
        default_factory=lambda: {
            # The dense terms lead: they show a young model where the parts of a face are.
            "segmentation": 3.0,
            "heatmaps": 4.0,
            "landmarks": 3.0,
            "coarse_landmarks": 2.0,
            "doubt": 0.05,
            "depth_metric": 2.0,
            "depth_relative": 0.2,
        }
    )
    consistency: ConsistencyConfig = field(default_factory=ConsistencyConfig)

    def __post_init__(self) -> None:
        unknown = sorted(set(self.weights) - set(_TERMS))
        if unknown:
            raise ValueError(f"loss term {unknown[0]!r}: one of {', '.join(_TERMS)} would do")

    @property
    def needs_moved(self) -> bool:
        """Whether a term compares the model with itself on moved pictures."""
        return any(name in self.weights for name in consistency.TERMS)

    @property
    def needs_moved_answers(self) -> bool:
        """Whether it compares what the heads say, not features alone."""
        return consistency.OUTPUTS in self.weights


@dataclass(frozen=True)
class LossTerms:
    """The sum and what it is made of, each a scalar, weighted by sample weight / `total_weight`."""

    total: Tensor
    terms: dict[str, Tensor]


def compute_losses(
    predictions: Predictions,
    targets: Targets,
    config: LossConfig,
    total_weight: Tensor,
    learnt: tuple[str, ...] = (),
) -> LossTerms:
    """Sum the terms over the samples of a batch.

    Args:
        predictions: of the model.
        targets: of the same batch.
        config: weights of the terms.
        total_weight: sum of the sample weights over all parts of the step: ranks and accumulated
            batches. Each part's loss is its share of the whole's mean.
        learnt: terms whose weight the model learns, in the order of `log_variances`.

    Raises:
        ValueError: a term's head or label is missing.
    """
    terms = {}
    with full_precision(targets.weight):
        for name in config.weights:
            each = _TERMS[name](predictions, targets)  # (B,)
            terms[name] = (each * targets.weight).sum() / total_weight
    share = targets.weight.sum() / total_weight
    weighted = []
    for name, weight in config.weights.items():
        value = terms[name]
        if name in learnt:
            value = _by_uncertainty(value, predictions, learnt.index(name), share)
        weighted.append(value * weight)
    return LossTerms(torch.stack(weighted).sum(), terms)


def _by_uncertainty(value: Tensor, predictions: Predictions, number: int, share: Tensor) -> Tensor:
    """Weigh a term by its learnt variance: exp(-s) L + s.

    Source: Kendall, Gal and Cipolla, "Multi-Task Learning Using Uncertainty to Weigh Losses", CVPR
    2018, with the factors of one half left out.
    """
    if predictions.log_variances is None:
        raise ValueError("learnt weights: the model has none, name them in `learnt_weights`")
    log_variance = predictions.log_variances[number]
    return (-log_variance).exp() * value + log_variance * share


def _term(
    function: Callable[[Predictions, Targets], Tensor],
) -> Callable[[Predictions, Targets], Tensor]:
    _TERMS[function.__name__] = function
    return function


@_term
def segmentation(predictions: Predictions, targets: Targets) -> Tensor:
    """Cross-entropy of the classes, mean over the pixels that are not to be ignored."""
    logits, classes = _both("segmentation", predictions.segmentation, targets.segmentation)
    losses = functional.cross_entropy(logits, classes, ignore_index=IGNORE_CLASS, reduction="none")
    return mean_of_each(losses, (classes != IGNORE_CLASS).float())


@_term
def segmentation_overlap(predictions: Predictions, targets: Targets) -> Tensor:
    """One minus the soft overlap (Dice) of each class that a picture shows, mean over these.

    A class of few pixels, as an eye, counts as much as the skin around it.
    Source: Milletari et al., "V-Net", 3DV 2016, with plain sums in the denominator.
    """
    logits, classes = _both("segmentation", predictions.segmentation, targets.segmentation)
    known = (classes != IGNORE_CLASS).unsqueeze(1)
    ids = torch.arange(logits.shape[1], device=logits.device)
    truth = classes.unsqueeze(1) == ids[:, None, None]  # (B, K, h, w)
    found = logits.softmax(1)
    both, area = (found * truth).sum((2, 3)), truth.sum((2, 3))
    either = (found * known).sum((2, 3)) + area
    return mean_of_each(1.0 - 2.0 * both / either.clamp_min(1.0), (area > 0).float())


@_term
def depth_metric(predictions: Predictions, targets: Targets) -> Tensor:
    """Distance of log depths: a relative error, 0.01 is 1 %."""
    found, truth = _both("depth_metric", predictions.log_depth, targets.log_depth)
    there = truth.isfinite()
    return mean_of_each((found - truth.nan_to_num()).abs(), there.float())


@_term
def depth_relative(predictions: Predictions, targets: Targets) -> Tensor:
    """What is left of the depth error after each picture's best scale and shift, in spreads.

    Source: Ranftl et al., "Towards Robust Monocular Depth Estimation", TPAMI 2020, eq. 2-5, in log
    depth and with the truth's own mean absolute deviation as its unit.
    """
    found, truth = _both("depth_relative", predictions.log_depth, targets.log_depth)
    there = truth.isfinite().float()
    return mean_of_each(
        (_standardised(found, there) - _standardised(truth.nan_to_num(), there)).abs(), there
    )


@_term
def landmarks(predictions: Predictions, targets: Targets) -> Tensor:
    """Mean distance of the points, in shares of the picture's side."""
    found, truth, weight = _points(predictions, targets)
    return mean_of_each(_distance(found.xy, truth), weight)


@_term
def coarse_landmarks(predictions: Predictions, targets: Targets) -> Tensor:
    """Mean distance of the first guess, also of points outside the picture."""
    found, truth, weight = _points(predictions, targets)
    return mean_of_each(_distance(found.coarse_xy, truth), torch.ones_like(weight))


@_term
def heatmaps(predictions: Predictions, targets: Targets) -> Tensor:
    """Cross-entropy of each heatmap with a Gaussian around the true point, less its minimum."""
    found, truth, weight = _points(predictions, targets)
    height, width = found.log_shares.shape[-2:]
    across = _gaussian(truth[..., 0] * width, width)  # (B, N, w)
    down = _gaussian(truth[..., 1] * height, height)  # (B, N, h)
    entropy = -(torch.xlogy(across, across).sum(-1) + torch.xlogy(down, down).sum(-1))
    # The target is a product of the two: it need not be made.
    expected = down[..., None, :] @ found.log_shares @ across[..., :, None]  # (B, N, 1, 1)
    return mean_of_each(-expected.flatten(1) - entropy, weight)


@_term
def doubt(predictions: Predictions, targets: Targets) -> Tensor:
    """Negative log-likelihood of each point's error under an exponential of its own spread.

    The error is held fixed: the term teaches the doubt and leaves the points alone.
    """
    found, truth, weight = _points(predictions, targets)
    error = _distance(found.xy, truth).detach()
    return mean_of_each(found.log_spread + error * (-found.log_spread).exp(), weight)


@_term
def normals(predictions: Predictions, targets: Targets) -> Tensor:
    """One minus the cosine between predicted and true normal."""
    found, truth = _both("normals", predictions.normals, targets.normals)
    cosine = (functional.normalize(found, dim=1) * truth).sum(1)
    return mean_of_each(1.0 - cosine, (truth != 0).any(1).float())


@_term
def consistency_features(predictions: Predictions, targets: Targets) -> Tensor:
    """Distance of the features of a moved picture from the moved features."""
    features = replace(predictions, segmentation=None, log_depth=None, landmarks=None, normals=None)
    return consistency.features_apart(_moved(features, targets))


@_term
def consistency_outputs(predictions: Predictions, targets: Targets) -> Tensor:
    """Distance of what the heads say of a moved picture from what they said, moved."""
    return consistency.outputs_apart(_moved(predictions, targets))


def _moved(predictions: Predictions, targets: Targets) -> Moved:
    if targets.moved is None or targets.moves is None:
        raise ValueError("consistency terms: the batch was not moved")
    wanted, is_valid = consistency.move_predictions(predictions, targets.moves)
    return Moved(targets.moved, wanted, is_valid)


def _both(name: str, found: Tensor | None, truth: Tensor | None) -> tuple[Tensor, Tensor]:
    if found is None:
        raise ValueError(f"loss term {name!r}: the model has no such head")
    if truth is None:
        raise ValueError(f"loss term {name!r}: the data has no such label")
    return found, truth


def _points(
    predictions: Predictions, targets: Targets
) -> tuple[LandmarkPrediction, Tensor, Tensor]:
    if predictions.landmarks is None:
        raise ValueError("loss on landmarks: the model has no such head")
    if targets.landmarks is None or targets.landmark_weight is None:
        raise ValueError("loss on landmarks: the data has no such label")
    return predictions.landmarks, targets.landmarks, targets.landmark_weight


def _distance(found: Tensor, truth: Tensor) -> Tensor:
    # The root's slope is infinite at 0; a thousandth of a picture's side is far below a pixel.
    return ((found - truth).square().sum(-1) + 1e-6).sqrt() - 1e-3


def _standardised(values: Tensor, there: Tensor) -> Tensor:
    """Subtract each picture's mean and divide by its mean absolute deviation."""
    centre = mean_of_each(values, there)[:, None, None]
    deviation = mean_of_each((values - centre).abs(), there)[:, None, None]
    return (values - centre) / deviation.clamp_min(1e-4)


def _gaussian(centre: Tensor, size: int) -> Tensor:
    """Return (B, N, size) weights of cells that sum to 1 around `centre`, in cells."""
    cells = torch.arange(size, device=centre.device) + 0.5
    exponent = -0.5 * ((cells - centre[..., None]) / HEATMAP_SPREAD_CELLS).square()
    return exponent.softmax(-1)
