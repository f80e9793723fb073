"""Runs every check over a dataset's samples."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from benchmarks.labels.asked import check_asked, check_pose, rig_of
from benchmarks.labels.checks import CHECKS, Measured, view_of
from benchmarks.labels.dataset import Dataset, Sample
from benchmarks.labels.gauges import LIMITS, Gauge
from synthforge.jobs import ANNOTATIONS, JobSpec
from workers.sampling import Rig


def audit(dataset: Dataset, num_samples: int) -> dict[str, Gauge]:
    """Check up to `num_samples` samples.

    Returns:
        A gauge for every name of `LIMITS`, in that order.

    Raises:
        ValueError: the dataset lacks an annotation, so that nothing can be held against it.
    """
    missing = [name for name in ANNOTATIONS if name not in dataset.spec.annotations]
    if missing:
        raise ValueError(f"the dataset lacks {', '.join(missing)}: order one with all annotations")
    gauges = {name: Gauge(limit) for name, limit in LIMITS.items()}
    rig = rig_of(dataset.spec)
    for sample in dataset.samples(num_samples):
        for name, errors, num_ties in measure(sample, dataset, dataset.spec, rig):
            gauges[name].add(errors, num_ties)
    return gauges


def measure(sample: Sample, dataset: Dataset, spec: JobSpec, rig: Rig) -> Iterator[Measured]:
    """Yield what every check finds in one sample."""
    view = view_of(sample, dataset)
    yield from chain.from_iterable(check(view) for check in CHECKS)
    yield from check_pose(sample)
    yield from check_asked(sample, spec, rig)
