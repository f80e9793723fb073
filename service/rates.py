"""What samples cost, measured: every accepted shard is noted, and kept in the database in sums.

A note is kept in memory until the next flush, off the path of reports; what a crash loses is a
few seconds of measuring.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from synthforge.jobs import JobSpec
from synthforge.samples import members_of

# Sums beyond this many samples are halved, so that what was measured lately counts most.
MOST_SAMPLES: Final = 200_000
# What of a spec does not shape a sample's draw: two jobs that differ here alone refuse alike.
_NOT_RANGES: Final = {"count", "name", "seed", "sampling", "image", "annotations", "output"}


@dataclass(frozen=True)
class RateKey:
    """What was made: samples that cost about the same.

    Attributes:
        generator: its kind.
        image_size: side, pixels.
        members: suffixes of a sample's files, comma-separated.
        ranges: hash of the parameters' ranges and of the gate's limits.
    """

    generator: str
    image_size: int
    members: str
    ranges: str


@dataclass(frozen=True)
class Rate:
    """What it cost, in sums; `seconds` of workers, from lease to report."""

    num_samples: int = 0
    num_rejected: int = 0
    num_bytes: int = 0
    seconds: float = 0.0

    def __add__(self, other: Rate) -> Rate:
        return Rate(
            self.num_samples + other.num_samples,
            self.num_rejected + other.num_rejected,
            self.num_bytes + other.num_bytes,
            self.seconds + other.seconds,
        )

    def halved(self) -> Rate:
        """Return the sums so that newer ones outweigh them, once there are many."""
        if self.num_samples <= MOST_SAMPLES:
            return self
        halves = (self.num_samples // 2, self.num_rejected // 2, self.num_bytes // 2)
        return Rate(*halves, self.seconds / 2)


def rate_key(spec: JobSpec) -> RateKey:
    """Return what a job's samples are counted under."""
    data = spec.model_dump(mode="json", exclude_none=True, exclude=_NOT_RANGES)
    text = json.dumps(data, sort_keys=True, separators=(",", ":"))
    return RateKey(
        generator=spec.generator.kind,
        image_size=spec.image.size,
        members=",".join(member.suffix for member in members_of(spec)),
        ranges=hashlib.sha256(text.encode()).hexdigest()[:16],
    )


class RateBook:
    """Notes of shards that were accepted since the last flush; safe to use from threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._noted: dict[RateKey, Rate] = {}
        self._clock_offset_s = 0.0

    def set_clock(self, database_now: float) -> None:
        """Note how the database's clock, by which leases are dated, differs from this machine's."""
        self._clock_offset_s = database_now - time.time()

    def seconds_since(self, leased_at: float) -> float:
        """Return how long ago something happened by the database's clock."""
        return max(0.0, time.time() + self._clock_offset_s - leased_at)

    def note(self, key: RateKey, rate: Rate) -> None:
        """Note what one shard cost."""
        with self._lock:
            self._noted[key] = self._noted.get(key, Rate()) + rate

    def drain(self) -> Mapping[RateKey, Rate]:
        """Return all notes, and begin anew."""
        with self._lock:
            noted, self._noted = self._noted, {}
        return noted
