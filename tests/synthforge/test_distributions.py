"""Distributions: what is read, what is refused, and what the inverse CDF promises."""

from __future__ import annotations

import math
from itertools import pairwise
from statistics import NormalDist, fmean, pstdev

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from synthforge.distributions import (
    Choice,
    Distribution,
    Mixture,
    Normal,
    cumulative,
    quantile,
    support,
)

ADAPTER: TypeAdapter[Distribution] = TypeAdapter(Distribution)
NUMBERS = st.floats(-1e3, 1e3)


def ordered_pairs() -> st.SearchStrategy[list[float]]:
    return st.lists(NUMBERS, min_size=2, max_size=2).map(sorted)


@st.composite
def normals(draw: st.DrawFn) -> dict[str, object]:
    mean, std = draw(NUMBERS), draw(st.floats(1e-2, 1e2))
    low = mean + std * draw(st.floats(-6, 3))
    high = low + std * draw(st.floats(0.1, 6))
    return {"type": "normal", "mean": mean, "std": std, "low": low, "high": high}


def choices() -> st.SearchStrategy[dict[str, object]]:
    values = st.lists(NUMBERS, min_size=1, max_size=6)
    return values.map(lambda v: {"type": "choice", "values": v, "weights": [1.0] * len(v)})


SIMPLE = st.one_of(NUMBERS, ordered_pairs(), normals(), choices())
MIXTURES = st.lists(SIMPLE, min_size=1, max_size=4).map(
    lambda parts: {"type": "mixture", "parts": parts, "weights": [1.0] * len(parts)}
)
UNIFORMS = st.floats(0, 1, exclude_max=True)


@given(st.one_of(SIMPLE, MIXTURES))
def test_a_distribution_survives_a_round_trip_through_json(written: object) -> None:
    read = ADAPTER.validate_python(written)
    assert ADAPTER.validate_json(ADAPTER.dump_json(read)) == read


@given(st.one_of(SIMPLE, MIXTURES), UNIFORMS)
def test_a_draw_stays_inside_the_support(written: object, u: float) -> None:
    read = ADAPTER.validate_python(written)
    low, high = support(read)
    assert low <= quantile(read, u) <= high


@given(normals(), st.lists(UNIFORMS, min_size=2, max_size=20).map(sorted))
def test_a_larger_uniform_never_gives_a_smaller_value(written: object, us: list[float]) -> None:
    normal = ADAPTER.validate_python(written)
    values = [quantile(normal, u) for u in us]
    assert all(a <= b + 1e-9 * max(1, abs(a)) for a, b in pairwise(values))


@given(st.one_of(NUMBERS, ordered_pairs(), normals()), UNIFORMS)
def test_the_cumulative_probability_is_the_other_way_of_the_quantile(
    written: object, u: float
) -> None:
    read = ADAPTER.validate_python(written)
    value = quantile(read, u)
    assert cumulative(read, value, below=True) <= u + 1e-6
    assert cumulative(read, value) >= u - 1e-6


@settings(max_examples=40)
@given(st.one_of(SIMPLE, MIXTURES), UNIFORMS)
def test_the_cumulative_probability_is_the_share_of_the_draws(written: object, u: float) -> None:
    read = ADAPTER.validate_python(written)
    draws = [quantile(read, (k + 0.5) / 200) for k in range(200)]
    value = quantile(read, u)
    share = sum(draw <= value for draw in draws) / 200
    assert cumulative(read, value, below=True) - 0.1 <= share <= cumulative(read, value) + 0.1
    low, high = support(read)
    assert cumulative(read, low, below=True) == pytest.approx(0, abs=1e-9)
    assert cumulative(read, high) == pytest.approx(1, abs=1e-9)


def test_a_normal_has_its_mean_and_spread() -> None:
    normal = Normal(type="normal", mean=3, std=2, low=-7, high=13)
    values = [quantile(normal, (k + 0.5) / 10_000) for k in range(10_000)]
    assert fmean(values) == pytest.approx(3, abs=1e-6)
    assert pstdev(values) == pytest.approx(2, rel=1e-2)


def test_the_far_tails_of_a_normal_mirror_each_other() -> None:
    upper = Normal(type="normal", mean=0, std=1, low=7, high=9)
    lower = Normal(type="normal", mean=0, std=1, low=-9, high=-7)
    assert quantile(upper, 0.25) == pytest.approx(-quantile(lower, 0.75), rel=1e-12)
    assert 7 < quantile(upper, 0.5) < 7.2


def test_a_normal_inverts_its_own_cumulative_probability() -> None:
    reference = NormalDist(1, 0.5)
    normal = Normal(type="normal", mean=1, std=0.5, low=0, high=2)
    whole = reference.cdf(2) - reference.cdf(0)
    for u in (0.01, 0.3, 0.5, 0.9):
        x = quantile(normal, u)
        assert (reference.cdf(x) - reference.cdf(0)) / whole == pytest.approx(u, abs=1e-9)


def test_choices_and_mixtures_follow_their_weights() -> None:
    choice = Choice(type="choice", values=(1, 2, 3), weights=(1, 0, 3))
    drawn = [quantile(choice, (k + 0.5) / 1000) for k in range(1000)]
    assert (drawn.count(1), drawn.count(2), drawn.count(3)) == (250, 0, 750)
    mixture = Mixture(type="mixture", weights=(1, 1), parts=(5.0, choice))
    drawn = [quantile(mixture, (k + 0.5) / 1000) for k in range(1000)]
    assert (drawn.count(5), drawn.count(3)) == (500, 375)


def test_a_normal_without_bounds_is_cut_at_four_standard_deviations() -> None:
    assert support(ADAPTER.validate_python({"type": "normal", "std": 2})) == (-8, 8)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ([3, 1], "low 3 is above high 1"),
        ([1], "a range has two numbers"),
        ("12", "valid number"),
        (True, "valid number"),
        (math.nan, "finite"),
        ({"type": "gamma"}, "uniform, normal, choice or mixture"),
        ({"type": "normal", "std": 0}, "greater than 0"),
        ({"type": "normal", "std": 1, "low": 50, "high": 60}, "nothing would ever fall there"),
        ({"type": "normal", "std": 1, "low": 2, "high": 2}, "plain number"),
        ({"type": "choice", "values": []}, "at least 1 item"),
        ({"type": "choice", "values": [1, 2], "weights": [1]}, "1 weights for 2 values"),
        ({"type": "choice", "values": [1], "weights": [0]}, "all weights are 0"),
        ({"type": "uniform", "low": 1, "high": 2, "step": 1}, "Extra inputs"),
    ],
)
def test_what_cannot_be_drawn_from_is_refused_with_a_reason(written: object, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        ADAPTER.validate_python(written)


def test_a_mixture_does_not_nest() -> None:
    inner = {"type": "mixture", "weights": [1], "parts": [1]}
    with pytest.raises(ValidationError):
        ADAPTER.validate_python({"type": "mixture", "weights": [1], "parts": [inner]})
