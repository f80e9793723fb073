"""What a job will cost, before anything runs: pure, from measured rates or built-in figures.

The nearest measurement is taken: the same ranges first, then the same picture and labels, then
the generator at all, scaled by pixels. A figure that nobody has measured here is built in, and
the answer says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from service import planning
from service.rates import Rate, RateKey, rate_key
from synthforge.jobs import JobSpec
from synthforge.samples import members_of

Basis = Literal["measured", "scaled", "built-in"]
ENOUGH_SAMPLES: Final = 20
_REFERENCE_PX: Final = 512
# Seconds a sample at 512 px. builtin: one CPU core, all annotations, `python -m
# benchmarks.pipeline` (AMD EPYC, 2026-11-24). next3d: one H200, float32, all labels, a new identity
# a sample, shards written (docs/performance.md, "Next3D on a GPU", 2026-11-26).
_SECONDS: Final[dict[str, float]] = {"builtin": 0.0625, "next3d": 0.145}
# Draws refused a sample at the default ranges: a guess on the safe side.
_REFUSALS: Final = 0.1
# Bytes a sample at 512 px by member; docs/performance.md, "Encoding". The last two do not grow.
_BYTES: Final[dict[str, int]] = {
    "jpg": 91_640, "png": 400_000, "seg.png": 7_923, "depth.png": 82_082, "normal.png": 183_500,
    "u.png": 126_047, "v.png": 131_003, "dense.npy": 67_916, "json": 6_112,
}  # fmt: skip
_FIXED: Final = {"dense.npy", "json"}
_TAR_BYTES: Final = 768  # a member: its header, and half a block of padding


@dataclass(frozen=True)
class Figure:
    """A number a sample, and where it is from."""

    value: float
    basis: Basis
    num_samples: int = 0


@dataclass(frozen=True)
class Estimate:
    """What a job will cost; each figure with what it rests on.

    Attributes:
        seconds: of one worker, a sample.
        num_bytes: a sample.
        refusals: draws that the gate refuses, a sample.
    """

    num_samples: int
    num_shards: int
    workers: int
    seconds: Figure
    num_bytes: Figure
    refusals: Figure

    @property
    def worker_seconds(self) -> float:
        """Of all samples together."""
        return self.seconds.value * self.num_samples

    @property
    def wall_s(self) -> float:
        """Time from the first lease to the last report, on that many workers."""
        at_once = max(1, min(self.workers, self.num_shards))
        return self.worker_seconds / at_once


def estimate(spec: JobSpec, measured: Mapping[RateKey, Rate], workers: int) -> Estimate:
    """Estimate a job.

    Args:
        spec: of the job.
        measured: what is known of its generator.
        workers: that will make it, each with a GPU of its own if the generator needs one.
    """
    key = rate_key(spec)
    return Estimate(
        num_samples=spec.count,
        num_shards=planning.total_shards(spec),
        workers=workers,
        seconds=_nearest(
            key, measured, lambda rate: rate.seconds, _built_in_seconds(spec), scales=True
        ),
        num_bytes=_nearest(
            key, measured, lambda rate: float(rate.num_bytes), built_in_bytes(spec), scales=False
        ),
        refusals=_refusals(key, measured),
    )


def _built_in_seconds(spec: JobSpec) -> float:
    return _SECONDS[spec.generator.kind] * (spec.image.size / _REFERENCE_PX) ** 2


def built_in_bytes(spec: JobSpec) -> float:
    """Return the bytes of a sample as the documented figures have them."""
    scale = (spec.image.size / _REFERENCE_PX) ** 2
    total = 0.0
    for member in members_of(spec):
        grows = member.suffix not in _FIXED
        total += _BYTES[member.suffix] * (scale if grows else 1.0) + _TAR_BYTES
    return total


def _nearest(
    key: RateKey,
    measured: Mapping[RateKey, Rate],
    of: Callable[[Rate], float],
    built_in: float,
    *,
    scales: bool,
) -> Figure:
    same = _sum(measured, lambda other: other == key)
    alike = _sum(
        measured,
        lambda other: (other.image_size, other.members) == (key.image_size, key.members),
    )
    for rate in (same, alike):
        if rate.num_samples >= ENOUGH_SAMPLES:
            return Figure(of(rate) / rate.num_samples, "measured", rate.num_samples)
    if scales:
        pixels, rate = _per_pixel(measured)
        if rate.num_samples >= ENOUGH_SAMPLES:
            return Figure(of(rate) / pixels * key.image_size**2, "scaled", rate.num_samples)
    return Figure(built_in, "built-in")


def _refusals(key: RateKey, measured: Mapping[RateKey, Rate]) -> Figure:
    """Return refusals a sample: they hang on the ranges, and on neither picture nor labels."""
    same = _sum(measured, lambda other: other.ranges == key.ranges)
    for rate, basis in ((same, "measured"), (_sum(measured, lambda _: True), "scaled")):
        if rate.num_samples >= ENOUGH_SAMPLES:
            value = rate.num_rejected / rate.num_samples
            return Figure(value, "measured" if basis == "measured" else "scaled", rate.num_samples)
    return Figure(_REFUSALS, "built-in")


def _sum(measured: Mapping[RateKey, Rate], fits: Callable[[RateKey], bool]) -> Rate:
    return sum((rate for key, rate in measured.items() if fits(key)), Rate())


def _per_pixel(measured: Mapping[RateKey, Rate]) -> tuple[float, Rate]:
    pixels = sum(rate.num_samples * key.image_size**2 for key, rate in measured.items())
    return float(pixels), _sum(measured, lambda _: True)
