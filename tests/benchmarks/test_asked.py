"""Draws follow what was asked for, and a draw that does not is found."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks.asked import MIXED, Fit, fit, fits_of, refused
from synthforge.jobs import parse_job_spec
from workers.sampling import Rig
from workers.tally import varied

NUM_DRAWN = 2000  # the benchmark draws 10,000
RIG = Rig(
    look_at_m=np.array([0, 0.01, 0.02]),
    face_height_m=0.14,
    num_betas=8,
    num_expression=8,
    presets={name: np.ones(8, np.float32) for name in MIXED["expression"]["presets"]},
)


@pytest.mark.parametrize("sampling", ["random", "sobol"])
def test_every_distribution_of_a_job_is_drawn_as_asked(sampling: str) -> None:
    spec = parse_job_spec(json.dumps(MIXED | {"sampling": sampling}))
    fits = fits_of(spec, RIG, NUM_DRAWN)
    assert refused(fits) == []
    assert {each.name.split("[")[0] for each in fits} == set(varied(spec))
    if sampling == "sobol":  # these lie far closer than random ones may
        assert all(each.distance < 0.005 for each in fits if "[" not in each.name)


def test_a_draw_that_is_not_as_asked_is_found() -> None:
    spec = parse_job_spec(json.dumps(MIXED))
    uniform = np.random.default_rng(0).random(NUM_DRAWN)
    asked = varied(spec)
    right = {"appearance.eye_tone": uniform, "pose.pitch": 40 * uniform - 20}
    wrong = {"appearance.skin_tone": 100 * uniform - 40, "appearance.beard": uniform**0.5}
    fits = [fit(name, asked[name], values) for name, values in (right | wrong).items()]
    assert {each.name for each in refused(fits)} == set(wrong)


def test_holms_bound_loosens_with_each_refusal() -> None:
    fits = [Fit(str(k), 1, 0.5, p) for k, p in enumerate((0.009, 0.5, 0.003, 0.004))]
    assert [each.probability for each in refused(fits)] == []
    fits[2] = Fit("2", 1, 0.5, 0.0024)
    assert [each.name for each in refused(fits)] == ["2"]
    fits[3] = Fit("3", 1, 0.5, 0.0033)
    assert [each.name for each in refused(fits)] == ["2", "3"]
