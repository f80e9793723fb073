"""Metrics against the same worked out by hand or by another road."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score

from trainer import metrics
from trainer.evaluation.figures import summarise
from trainer.evaluation.records import ImageRecord


def test_nme_is_the_mean_distance_over_the_outer_eye_corners() -> None:
    truth = np.zeros((2, 68, 2))
    truth[:, 36], truth[:, 45] = (10, 20), (40, 60)  # 50 apart
    found = truth + np.array([3, 4])  # 5 off everywhere
    np.testing.assert_allclose(metrics.nme(found, truth), 0.1)
    np.testing.assert_allclose(metrics.nme(found, truth, np.array([5, 10])), [1.0, 0.5])


def test_f1_equals_precision_and_recall_class_by_class() -> None:
    random = np.random.default_rng(0)
    truth, found = random.integers(0, 5, (2, 3000))
    truth[random.random(3000) < 0.1] = 255
    scores = metrics.f1_scores(metrics.confusion(found, truth, 6))
    for number in range(5):
        counted = truth != 255
        hit = ((truth == number) & (found == number)).sum()
        precision = hit / ((found == number) & counted).sum()
        recall = hit / (truth == number).sum()
        assert scores[number] == pytest.approx(2 * precision * recall / (precision + recall))
    assert np.isnan(scores[5])


def test_f1_equals_scikit_learn_s() -> None:
    random = np.random.default_rng(5)
    for num_classes in (2, 11, 19):
        truth = random.integers(0, num_classes, (40, 50))
        found = np.where(random.random((40, 50)) < 0.6, truth, random.integers(0, num_classes))
        scores = metrics.f1_scores(metrics.confusion(found, truth, num_classes))
        theirs = f1_score(
            truth.ravel(), found.ravel(), average=None, labels=range(num_classes), zero_division=0
        )
        np.testing.assert_allclose(scores, theirs, rtol=1e-12)


def test_the_area_under_the_curve_equals_its_integral() -> None:
    errors = np.random.default_rng(1).uniform(0, 0.2, 500)
    grid = np.linspace(0, 0.1, 20_001)
    curve = (errors[None] <= grid[:, None]).mean(1)
    assert metrics.area_under_curve(errors) == pytest.approx(curve.mean(), abs=1e-4)
    assert metrics.failure_rate(errors) == (errors > 0.1).mean()


def test_depth_errors_by_hand() -> None:
    truth = np.array([[1.0, 2.0], [0.0, 4.0]])
    found = np.array([[1.1, 2.0], [9.0, 3.0]])
    errors = metrics.depth_errors(found, truth)
    assert errors.abs_rel == pytest.approx((0.1 + 0 + 0.25) / 3)
    assert errors.rmse_m == pytest.approx(np.sqrt((0.01 + 0 + 1) / 3))
    assert errors.delta1 == pytest.approx(2 / 3)
    assert errors.delta_strict == pytest.approx(1 / 3)


def test_figures_of_a_set_by_hand_also_by_yaw() -> None:
    yaws, errors = (-3.0, 14.0, -20.0, 95.0), (1.0, 3.0, 6.0, 12.0)
    records = [
        ImageRecord(f"p{number}", np.array([error, error]), 50.0, 25.0, 100.0, yaw_deg=yaw)
        for number, (yaw, error) in enumerate(zip(yaws, errors, strict=True))
    ]
    figures = summarise("full", records, None)
    assert figures.points is not None
    assert figures.points.nme == pytest.approx(0.11)
    assert figures.points.nme_interpupil == pytest.approx(0.22)
    assert figures.points.nme_box == pytest.approx(0.055)
    assert figures.points.failure_rate == 0.5
    by_yaw = {"0-15": (0.04, 2), "15-30": (0.12, 1), "90-180": (0.24, 1)}
    assert figures.points.by_yaw == {span: pytest.approx(row) for span, row in by_yaw.items()}
    assert figures.worst[0] == ("p3", 0.24)


def test_alignment_undoes_any_scale_and_shift() -> None:
    truth = np.random.default_rng(2).uniform(0.9, 1.2, (8, 8))
    truth[0] = 0
    aligned = metrics.aligned_depth(truth * 3 - 1, truth)
    np.testing.assert_allclose(aligned[1:], truth[1:], atol=1e-12)


def test_the_interval_holds_the_mean_and_narrows_with_more_images() -> None:
    values = np.random.default_rng(3).normal(0.05, 0.02, 400)
    low, high = metrics.bootstrap_interval(values)
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * 0.02 / 20, rel=0.15)
    few = metrics.bootstrap_interval(values[:40])
    assert few[1] - few[0] > 2 * (high - low)
