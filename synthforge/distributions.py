"""The small grammar of ranges: a number, [low, high], or an object with a `type`.

Every draw is one uniform number in [0, 1) through the inverse CDF of its distribution, so that a
changed distribution changes the values it shapes and no other draw.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from statistics import NormalDist
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    GetJsonSchemaHandler,
    Tag,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

STRICT = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
DEFAULT_TRUNCATION_STD = 4.0  # a normal without bounds is cut here: 6 in 100,000 fall outside
MAX_CHOICES = 10_000
_STANDARD_NORMAL = NormalDist()

Number = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=-1e9, le=1e9)]
Weights = Annotated[
    tuple[Annotated[float, Field(ge=0, le=1e9)], ...],
    Field(strict=False, min_length=1, max_length=MAX_CHOICES),
]


class Uniform(BaseModel):
    """Every value between `low` and `high` alike; `[low, high]` is the short form."""

    model_config = STRICT
    type: Literal["uniform"] = "uniform"
    low: Number
    high: Number

    @model_validator(mode="before")
    @classmethod
    def _read_pair(cls, data: Any) -> Any:
        if not isinstance(data, list | tuple):
            return data
        if len(data) != 2:
            raise ValueError(f"a range has two numbers, [low, high]; this one has {len(data)}")
        return {"type": "uniform", "low": data[0], "high": data[1]}

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        _check_bounds(self.low, self.high)
        return self

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        pair = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
        whole = handler.resolve_ref_schema(handler(schema))
        return {"anyOf": [pair, whole | {"required": ["type", "low", "high"]}]}


class Normal(BaseModel):
    """A normal distribution, truncated to [low, high]."""

    model_config = STRICT
    type: Literal["normal"]
    mean: Number = 0.0
    std: Annotated[float, Field(gt=0, le=1e9)]
    low: Number
    high: Number

    @model_validator(mode="before")
    @classmethod
    def _fill_bounds(cls, data: Any) -> Any:
        if not isinstance(data, dict) or not _is_number(data.get("std")):
            return data
        mean = data.get("mean", 0.0)
        if not _is_number(mean):
            return data
        reach = DEFAULT_TRUNCATION_STD * data["std"]
        return {"low": mean - reach, "high": mean + reach} | data

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        _check_bounds(self.low, self.high)
        if not self.low < self.high:
            raise ValueError(f"low {self.low:g} equals high: give the plain number instead")
        nearest = min(max(self.mean, self.low), self.high)
        if abs(nearest - self.mean) > 8 * self.std:
            raise ValueError(
                f"[low, high] = [{self.low:g}, {self.high:g}] lies more than 8 std from the mean "
                f"{self.mean:g}: nothing would ever fall there; move the range or raise std"
            )
        return self

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        # The bounds are filled in before they are looked for.
        return handler.resolve_ref_schema(handler(schema)) | {"required": ["type", "std"]}


class Choice(BaseModel):
    """One of `values`, by `weights` (equal ones where none are given)."""

    model_config = STRICT
    type: Literal["choice"]
    values: Annotated[tuple[Number, ...], Field(strict=False, min_length=1, max_length=MAX_CHOICES)]
    weights: Weights | None = None

    @model_validator(mode="after")
    def _check_weights(self) -> Self:
        if self.weights is not None:
            _check_weights(self.weights, len(self.values), "values")
        return self


def _kind(data: Any) -> str:
    if isinstance(data, BaseModel):
        return str(data.type)  # type: ignore[attr-defined]
    if isinstance(data, list | tuple):
        return "uniform"
    if isinstance(data, dict):
        return str(data.get("type"))
    return "fixed"


_DISCRIMINATOR = Discriminator(
    _kind,
    custom_error_type="distribution_type",
    custom_error_message=(
        "give a number, [low, high], or an object whose type is uniform, normal, choice or mixture"
    ),
)

SimpleDistribution = Annotated[
    Annotated[Number, Tag("fixed")]
    | Annotated[Uniform, Tag("uniform")]
    | Annotated[Normal, Tag("normal")]
    | Annotated[Choice, Tag("choice")],
    _DISCRIMINATOR,
]


class Mixture(BaseModel):
    """One of `parts`, by `weights`; parts are not mixtures themselves."""

    model_config = STRICT
    type: Literal["mixture"]
    weights: Weights
    parts: Annotated[
        tuple[SimpleDistribution, ...], Field(strict=False, min_length=1, max_length=100)
    ]

    @model_validator(mode="after")
    def _check_weights(self) -> Self:
        _check_weights(self.weights, len(self.parts), "parts")
        return self


Distribution = Annotated[
    Annotated[Number, Tag("fixed")]
    | Annotated[Uniform, Tag("uniform")]
    | Annotated[Normal, Tag("normal")]
    | Annotated[Choice, Tag("choice")]
    | Annotated[Mixture, Tag("mixture")],
    _DISCRIMINATOR,
]


def support(distribution: float | Uniform | Normal | Choice | Mixture) -> tuple[float, float]:
    """Return the smallest and the largest value that may be drawn."""
    match distribution:
        case Uniform() | Normal():
            return distribution.low, distribution.high
        case Choice(values=values):
            return min(values), max(values)
        case Mixture(parts=parts):
            lows, highs = zip(*(support(part) for part in parts), strict=True)
            return min(lows), max(highs)
        case _:
            return distribution, distribution


def quantile(distribution: float | Uniform | Normal | Choice | Mixture, u: float) -> float:
    """Pass one uniform number through the inverse CDF.

    Args:
        distribution: what to draw from.
        u: in [0, 1).

    Returns:
        The value whose cumulative probability is `u`, inside `support(distribution)`.
    """
    match distribution:
        case Uniform(low=low, high=high):
            return low + u * (high - low)
        case Normal():
            return _normal_quantile(distribution, u)
        case Choice(values=values, weights=weights):
            index, _ = _pick(weights or (1.0,) * len(values), u)
            return values[index]
        case Mixture(weights=weights, parts=parts):
            index, rest = _pick(weights, u)
            return quantile(parts[index], rest)
        case _:
            return distribution


def cumulative(
    distribution: float | Uniform | Normal | Choice | Mixture, value: float, *, below: bool = False
) -> float:
    """Return the probability of a draw up to a value: the other way of `quantile`.

    Args:
        distribution: what is drawn from.
        value: any number.
        below: leave out the value itself, which matters where it has a probability of its own.
    """
    match distribution:
        case Uniform(low=low, high=high) if low < high:
            return min(max((value - low) / (high - low), 0.0), 1.0)
        case Normal():
            return _normal_cumulative(distribution, value)
        case Choice(values=values, weights=weights):
            parts, shares = values, weights or (1.0,) * len(values)
        case Mixture(parts=parts, weights=shares):
            pass
        case _:
            held = distribution.low if isinstance(distribution, Uniform) else distribution
            return float(held < value or (held == value and not below))
    up_to = sum(
        share * cumulative(part, value, below=below)
        for part, share in zip(parts, shares, strict=True)
        if share
    )
    return min(up_to / sum(shares), 1.0)


def _normal_cumulative(normal: Normal, value: float) -> float:
    low, high, at = (
        (edge - normal.mean) / normal.std
        for edge in (normal.low, normal.high, min(max(value, normal.low), normal.high))
    )
    if low > 0:  # the upper tail is mirrored to the lower, where doubles are dense
        below, above = _below_and_above(-high, -low)
        return (above - _STANDARD_NORMAL.cdf(-at)) / (above - below)
    below, above = _below_and_above(low, high)
    return (_STANDARD_NORMAL.cdf(at) - below) / (above - below)


def _normal_quantile(normal: Normal, u: float) -> float:
    """Truncated normal; the upper tail is mirrored to the lower, where doubles are dense."""
    low = (normal.low - normal.mean) / normal.std
    high = (normal.high - normal.mean) / normal.std
    mirrored = low > 0
    if mirrored:
        low, high, u = -high, -low, 1.0 - u
    below, above = _below_and_above(low, high)
    probability = below + u * (above - below)
    if not 0.0 < probability < 1.0:
        standard = low if probability <= 0.0 else high
    else:
        standard = _STANDARD_NORMAL.inv_cdf(probability)
    value = normal.mean + normal.std * (-standard if mirrored else standard)
    return min(max(value, normal.low), normal.high)


@lru_cache(maxsize=1024)
def _below_and_above(low: float, high: float) -> tuple[float, float]:
    """Return the standard normal's probability up to both bounds: a job asks for few, often."""
    return _STANDARD_NORMAL.cdf(low), _STANDARD_NORMAL.cdf(high)


def _pick(weights: Sequence[float], u: float) -> tuple[int, float]:
    """Return the chosen index and what is left of `u`, again uniform in [0, 1)."""
    cumulative = list(accumulate(weights))
    target = u * cumulative[-1]
    index = min(bisect_right(cumulative, target), len(weights) - 1)
    while weights[index] == 0:
        index -= 1
    start = cumulative[index] - weights[index]
    rest = (target - start) / weights[index]
    return index, min(max(rest, 0.0), math.nextafter(1.0, 0.0))


def _check_bounds(low: float, high: float) -> None:
    if low > high:
        raise ValueError(f"low {low:g} is above high {high:g}: swap them")


def _check_weights(weights: Sequence[float], count: int, name: str) -> None:
    if len(weights) != count:
        raise ValueError(f"{len(weights)} weights for {count} {name}: give one weight each")
    if not sum(weights) > 0:
        raise ValueError("all weights are 0: at least one must be positive")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
