"""Which samples a stream keeps, judged on `K.json`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel

from synthforge.conventions import NUM_LANDMARKS
from synthforge.samples import SampleMeta

_SEEN = 2  # visibility of a landmark
SEEN_SHARE = "seen"


@dataclass(frozen=True)
class Filter:
    """Keeps samples whose number lies in [low, high].

    Attributes:
        field: dotted path in `K.json` (`head.yaw_deg`, `quality.face_share`, `attempt`), or `seen`:
            the share of the 68 landmarks with visibility 2.
        low: smallest value that stays.
        high: largest value that stays.
    """

    field: str
    low: float = -math.inf
    high: float = math.inf

    def __post_init__(self) -> None:
        if not self.low <= self.high:
            raise ValueError(f"filter {self.field}: low {self.low} is above high {self.high}")

    def keeps(self, meta: SampleMeta) -> bool:
        """Tell whether a sample stays.

        Raises:
            ValueError: its JSON has no such number.
        """
        return self.low <= number_at(meta, self.field) <= self.high


def keeps_all(filters: Sequence[Filter], meta: SampleMeta) -> bool:
    """Tell whether a sample passes every filter."""
    return all(each.keeps(meta) for each in filters)


def number_at(meta: SampleMeta, path: str) -> float:
    """Return the number that a dotted path names in a sample's JSON."""
    if path == SEEN_SHARE:
        if meta.landmarks68 is None:
            raise ValueError(f"filter {path!r}: sample {meta.index} has no landmarks68")
        return sum(seen == _SEEN for seen in meta.landmarks68.visibility) / NUM_LANDMARKS
    held: object = meta
    for name in path.split("."):
        if isinstance(held, dict):
            held = held.get(name)
        elif isinstance(held, tuple) and name.isdecimal() and int(name) < len(held):
            held = held[int(name)]
        else:
            held = getattr(held, name, None) if isinstance(held, BaseModel) else None
    if isinstance(held, bool) or not isinstance(held, int | float):
        raise ValueError(f"filter {path!r}: sample {meta.index} has no such number")
    return float(held)
