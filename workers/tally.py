"""Counts of what was drawn and what was accepted: a part a shard, added up for the report."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Self

from synthforge.distributions import support
from synthforge.jobs import JobSpec
from workers.sampling import IDENTITY_SCALARS, SAMPLE_SCALARS, distribution_of
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


def scalar_axes(spec: JobSpec) -> dict[str, Axis]:
    """Return the axis of each scalar that a job varies, by its dotted name."""
    axes = {}
    for name in (*SAMPLE_SCALARS, *IDENTITY_SCALARS):
        distribution = distribution_of(spec, name)
        if distribution is not None:
            low, high = support(distribution)
            if low < high:
                axes[name] = Axis(low, high)
    return axes


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

    def count_draw(self, axes: Mapping[str, Axis], face: FaceParams) -> None:
        """Count a draw, whatever becomes of it."""
        _count(self.drawn, axes, face.scalars)

    def count_accepted(self, axes: Mapping[str, Axis], face: FaceParams) -> None:
        """Count a draw that passed the gate."""
        _count(self.accepted, axes, face.scalars)

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


def _count(
    counts: dict[str, list[int]], axes: Mapping[str, Axis], scalars: Mapping[str, float]
) -> None:
    for name, axis in axes.items():
        counts.setdefault(name, [0] * NUM_BINS)[axis.bin_of(scalars[name])] += 1


def _add(total: dict[str, list[int]], counts: Mapping[str, list[int]]) -> None:
    for name, bins in counts.items():
        held = total.setdefault(name, [0] * NUM_BINS)
        for position, count in enumerate(bins):
            held[position] += count
