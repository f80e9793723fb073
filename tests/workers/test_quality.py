"""The gate measures what it says, and refuses what lies beyond a limit."""

from __future__ import annotations

import numpy as np

from synthforge.jobs import Quality
from workers.quality import Accepted, Rejected, judge, measure

LIMITS = Quality(min_landmarks_inside=0.75, min_face=0.1)


def test_the_face_is_the_share_of_its_classes() -> None:
    picture = np.zeros((10, 20), np.uint8)
    picture[:5, :10] = 10  # hair
    picture[5:, :10] = 14  # clothing
    picture[2:4, 2:7] = [[1], [9]]
    assert measure(np.full((68, 2), 5.0), picture)["face"] == 10 / 200


def test_a_landmark_on_the_far_edge_is_outside() -> None:
    points = np.full((68, 2), 5.0)
    points[:17] = [[20.0, 5.0]]
    points[17:34] = [[0.0, 0.0]]
    points[34:51] = [[5.0, -0.001]]
    assert measure(points, np.ones((10, 20), np.uint8))["landmarks_inside"] == 0.5


def test_a_face_inside_all_limits_is_accepted_with_what_was_measured() -> None:
    measured = {"landmarks_inside": 0.75, "face": 0.1}
    assert judge(measured, LIMITS) == Accepted(measured)


def test_the_first_limit_that_is_missed_names_the_reason() -> None:
    small = judge({"landmarks_inside": 1.0, "face": 0.05}, LIMITS)
    assert small == Rejected("face_too_small", 0.05, 0.1)
    both = judge({"landmarks_inside": 0.5, "face": 0.05}, LIMITS)
    assert both == Rejected("landmarks_outside", 0.5, 0.75)
