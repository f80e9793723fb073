"""Counts of what was drawn and what was accepted: a part a shard, added up for the report."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from synthforge.distributions import Distribution, support
from synthforge.jobs import JobSpec
from workers.sampling import (
    IDENTITY_SCALARS,
    SAMPLE_SCALARS,
    UNIT_FIELD,
    coefficient_distributions,
    distribution_of,
    drawn_coefficients,
)
from workers.types import FaceParams

NUM_BINS: Final = 20
YAW_BIN_DEG: Final = 15  # refusals are counted in yaw bins of this width


@dataclass(frozen=True)
class Axis:
    """The range of one scalar parameter, cut into `NUM_BINS` equal bins."""

    low: float
    high: float

    def bin_of(self, value: float) -> int:
        """Return the bin of a value; the last one holds its upper edge."""
        width = (self.high - self.low) / NUM_BINS
        if width == 0:
            return 0
        return min(NUM_BINS - 1, max(0, int((value - self.low) / width)))

    def bins_of(self, values: NDArray[np.floating]) -> NDArray[np.int64]:
        """Return the bins of (N,) values."""
        width = (self.high - self.low) / NUM_BINS
        if width == 0:
            return np.zeros(len(values), np.int64)
        places = (values.astype(np.float64) - self.low) / width
        return np.clip(places.astype(np.int64), 0, NUM_BINS - 1)


def varied(spec: JobSpec) -> dict[str, Distribution]:
    """Return every distribution of a job that can give more than one value, by its dotted name.

    A coefficients field is one name, and all its coefficients count; with `per_index` each index
    is one.
    """
    units = (f"{UNIT_FIELD}{name}" for name in spec.expression.action_units or ())
    names = (*SAMPLE_SCALARS, *units, *IDENTITY_SCALARS)
    scalars = ((name, distribution_of(spec, name)) for name in names)
    found = {name: each for name, each in scalars if each is not None}
    found |= coefficient_distributions(spec)
    return {name: each for name, each in found.items() if support(each)[0] < support(each)[1]}


@dataclass(frozen=True)
class Axes:
    """What is counted of a job's draws.

    Attributes:
        spec: of the job.
        by_name: the axis of each distribution that varies.
    """

    spec: JobSpec
    by_name: Mapping[str, Axis]

    @classmethod
    def of(cls, spec: JobSpec) -> Self:
        """Return the axes of a job."""
        return cls(spec, {name: Axis(*support(each)) for name, each in varied(spec).items()})

    def bins(self, face: FaceParams, name: str) -> list[int]:
        """Return the bin of all that a face drew for a name: a number, or some coefficients."""
        axis = self.by_name[name]
        if name in face.scalars:
            return [axis.bin_of(face.scalars[name])]
        places: list[int] = axis.bins_of(drawn_coefficients(self.spec, face, name)).tolist()
        return places


@dataclass
class Tally:
    """What became of the draws of one shard, or of many.

    Attributes:
        drawn: of each scalar, how many draws fell into each bin.
        accepted: the same, of the draws that passed the gate.
        rejected: refusals by reason.
        rejected_yaw: refusals by the lower edge of their yaw bin, degrees.
    """

    drawn: dict[str, list[int]] = field(default_factory=dict)
    accepted: dict[str, list[int]] = field(default_factory=dict)
    rejected: Counter[str] = field(default_factory=Counter)
    rejected_yaw: Counter[int] = field(default_factory=Counter)

    def count_draw(self, axes: Axes, face: FaceParams) -> None:
        """Count a draw, whatever becomes of it."""
        _count(self.drawn, axes, face)

    def count_accepted(self, axes: Axes, face: FaceParams) -> None:
        """Count a draw that passed the gate."""
        _count(self.accepted, axes, face)

    def count_rejected(self, reason: str, face: FaceParams) -> None:
        """Count a refusal."""
        self.rejected[reason] += 1
        self.rejected_yaw[int(face.yaw_deg // YAW_BIN_DEG) * YAW_BIN_DEG] += 1

    def add(self, other: Tally) -> None:
        """Add another's counts to this one's."""
        _add(self.drawn, other.drawn)
        _add(self.accepted, other.accepted)
        self.rejected.update(other.rejected)
        self.rejected_yaw.update(other.rejected_yaw)

    def to_json(self) -> bytes:
        """Return canonical bytes."""
        data = {
            "drawn": self.drawn,
            "accepted": self.accepted,
            "rejected": dict(self.rejected),
            "rejected_yaw": {str(edge): count for edge, count in self.rejected_yaw.items()},
        }
        return json.dumps(data, sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, document: bytes) -> Self:
        """Read what `to_json` wrote."""
        data = json.loads(document)
        return cls(
            drawn=data["drawn"],
            accepted=data["accepted"],
            rejected=Counter(data["rejected"]),
            rejected_yaw=Counter(
                {int(edge): count for edge, count in data["rejected_yaw"].items()}
            ),
        )


def _count(counts: dict[str, list[int]], axes: Axes, face: FaceParams) -> None:
    for name in axes.by_name:
        held = counts.setdefault(name, [0] * NUM_BINS)
        for place in axes.bins(face, name):
            held[place] += 1


def _add(total: dict[str, list[int]], counts: Mapping[str, list[int]]) -> None:
    for name, bins in counts.items():
        held = total.setdefault(name, [0] * NUM_BINS)
        for position, count in enumerate(bins):
            held[position] += count
