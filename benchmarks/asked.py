"""Whether draws are what was asked for: `python -m benchmarks.asked [--draws N] [--job FILE]`.

Draws parameters alone, no picture: 10,000 samples of a job in seconds. For every distribution a
line with the Kolmogorov-Smirnov distance of its draws from what was asked, and the probability of
one as large; of a field of coefficients each is compared by itself and the worst is shown. The
draws pass when no probability lies below Holm's bound at 1 % over all. With `--gate N` the first N
samples go through the quality gate too, and what it moved is shown apart.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from synthforge.distributions import Distribution, cumulative
from synthforge.jobs import JobSpec, parse_job_spec
from workers.face_maker import Draw, FaceMaker, Refusal
from workers.generators.protocol import FaceGenerator
from workers.generators.registry import open_generator
from workers.sampling import Rig, drawn_coefficients, sample_face
from workers.summary.report import build_report
from workers.tally import Axes, Tally, varied
from workers.timing import Stages
from workers.types import FaceParams

LEVEL = 0.01
WORST_SHOWN = 12
# Every kind of distribution, where the defaults are simpler.
MIXED = {
    "count": 10**6,
    "expression": {"presets": {"neutral": 2, "smile": 3, "shout": 1, "wink": 0.5}},
    "neck": {"yaw": {"type": "normal", "std": 8}, "pitch": [-5, 5], "roll": [-5, 5]},
    "pose": {"yaw": {"type": "mixture", "weights": [3, 1], "parts": [[-30, 30], [60, 89]]}},
    "camera": {"distance": {"type": "choice", "values": [0.5, 1, 2], "weights": [1, 2, 1]}},
    "framing": {"face_fraction": [0.3, 0.9], "offset": [-0.4, 0.4]},
}


@dataclass(frozen=True)
class Fit:
    """How near the draws of one distribution lie to what was asked.

    Attributes:
        name: of the field, with the index of a coefficient.
        num_values: drawn.
        distance: largest gap between both cumulative distributions.
        probability: of a gap as large, where draws are as asked.
    """

    name: str
    num_values: int
    distance: float
    probability: float


def fit(name: str, distribution: Distribution, values: NDArray[np.floating]) -> Fit:
    """Compare draws with what was asked.

    Values that have a probability of their own (choices, parts of mixtures) make the test cautious:
    both sides of each step are compared.
    """
    at, counts = np.unique(values.astype(np.float64), return_counts=True)
    upto = np.cumsum(counts) / len(values)
    before = np.concatenate([[0.0], upto[:-1]])
    asked = np.array([cumulative(distribution, value) for value in at.tolist()])
    asked_before = np.array([cumulative(distribution, value, below=True) for value in at.tolist()])
    gaps = np.maximum(np.abs(upto - asked), np.abs(before - asked_before))
    distance = float(gaps.max())
    return Fit(name, len(values), distance, float(stats.kstwo.sf(distance, len(values))))


def fits_of(spec: JobSpec, rig: Rig, num_draws: int) -> list[Fit]:
    """Draw `num_draws` samples of a job and compare each distribution."""
    distributions = varied(spec)
    faces = [sample_face(spec, rig, index, 0, "train") for index in range(num_draws)]
    found = []
    for name, distribution in distributions.items():
        for label, values in _values(spec, faces, name).items():
            found.append(fit(label, distribution, values))
    return found


def _values(
    spec: JobSpec, faces: Sequence[FaceParams], name: str
) -> Mapping[str, NDArray[np.floating]]:
    """Draws by name; a field of coefficients is one name a coefficient."""
    if name in faces[0].scalars:
        return {name: np.array([face.scalars[name] for face in faces])}
    table = np.stack([drawn_coefficients(spec, face, name) for face in faces])
    if table.shape[1] == 1:
        return {name: table[:, 0]}
    return {f"{name}[{k}]": table[:, k] for k in range(table.shape[1])}


def refused(fits: Sequence[Fit]) -> list[Fit]:
    """Return the fits that fail at `LEVEL` over all (Holm, 1979)."""
    ordered = sorted(fits, key=lambda each: each.probability)
    for place, each in enumerate(ordered):
        if each.probability > LEVEL / (len(ordered) - place):
            return ordered[:place]
    return ordered


def report_fits(fits: Sequence[Fit]) -> bool:
    """Print a line a distribution, coefficients by their worst, and the verdict."""
    shown = [each for each in fits if "[" not in each.name]
    for field in sorted({each.name.split("[")[0] for each in fits if "[" in each.name}):
        members = [each for each in fits if each.name.startswith(f"{field}[")]
        worst = min(members, key=lambda each: each.probability)
        print(f"  {field}: {len(members)} coefficients, the worst of them:")
        shown.append(worst)
    for each in sorted(shown, key=lambda each: each.name):
        print(f"  {each.name:34s} D {each.distance:.4f}  p {each.probability:.3f}")
    failed = refused(fits)
    least = min(each.probability for each in fits)
    print(
        f"{len(fits)} distributions, {fits[0].num_values} draws each: smallest p {least:.2g}, "
        f"Holm's bound {LEVEL / len(fits):.2g} at {LEVEL:.0%}: "
        f"{'passed' if not failed else 'FAILED: ' + ', '.join(each.name for each in failed)}"
    )
    return not failed


def report_gate(spec: JobSpec, generator: FaceGenerator, num_samples: int) -> None:
    """Send the first samples through the gate and print what it moved."""
    maker = FaceMaker(spec, generator, "numba", Stages())
    tally, axes = Tally(), Axes.of(spec)
    for start in range(0, num_samples, maker.chunk_size):
        draws = [Draw(index, 0, "train") for index in range(start, start + maker.chunk_size)]
        for result in maker.propose(draws):
            tally.count_draw(axes, result.face)
            if isinstance(result, Refusal):
                tally.count_rejected(result.verdict.reason, result.face)
            else:
                tally.count_accepted(axes, result.face)
    report = build_report(spec, [], tally)
    refusals = ", ".join(f"{n} {reason}" for reason, n in Counter(report.rejected).items())
    print(f"the gate, over {num_samples} first attempts: refused {refusals or 'none'}")
    moved = sorted(report.parameters, key=lambda each: -each.shift)[:WORST_SHOWN]
    for each in (each for each in moved if each.shift > 0):
        print(f"  {each.name:34s} shift {each.shift:.4f} between drawn and accepted")


def main(arguments: list[str] | None = None) -> int:
    """Draw, compare, print; 1 where a distribution is not what was asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.asked", description=__doc__)
    parser.add_argument("--draws", type=int, default=10_000, help="samples drawn")
    parser.add_argument("--job", type=Path, help="a job's JSON; by default two of our own")
    parser.add_argument("--gate", type=int, default=0, help="samples sent through the gate")
    given = parser.parse_args(arguments)
    if given.job is not None:
        specs = {str(given.job): parse_job_spec(given.job.read_bytes())}
    else:
        specs = {
            "every default": JobSpec(count=10**6),
            "every kind of distribution": parse_job_spec(json.dumps(MIXED)),
            "sobol points": parse_job_spec(json.dumps(MIXED | {"sampling": "sobol"})),
        }
    has_passed = True
    for title, spec in specs.items():
        generator = open_generator(spec.generator)
        print(f"{title}:")
        has_passed &= report_fits(fits_of(spec, generator.rig, given.draws))
        if given.gate:
            report_gate(spec, generator, given.gate)
    return 0 if has_passed else 1


if __name__ == "__main__":
    sys.exit(main())
