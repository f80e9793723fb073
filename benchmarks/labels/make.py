"""Jobs of scratch datasets with every annotation."""

from __future__ import annotations

import json
from typing import Any

from synthforge.jobs import ANNOTATIONS, JobSpec, parse_job_spec
from workers.generators.builtin.head import load_head


def scratch_spec(num_samples: int, size_px: int, **changes: Any) -> JobSpec:
    """Return a job that moves all that the default leaves still."""
    document = {
        "count": num_samples,
        "image": {"size": size_px, "format": "jpg"},
        "pose": {"yaw": [-75, 75], "pitch": [-30, 30], "roll": [-30, 30]},
        "neck": {"yaw": [-15, 15], "pitch": [-10, 10], "roll": [-10, 10]},
        "camera": {"fov": [12, 27], "distance": [0.9, 1.4]},
        "annotations": list(ANNOTATIONS),
    }
    return parse_job_spec(json.dumps(document | changes))


def covered_spec(num_samples: int, size_px: int, **changes: Any) -> JobSpec:
    """Return such a job in which all that hides a face is worn: lids are between open and shut."""
    half_shut = {"type": "uniform", "low": 0.4, "high": 2.6}
    lids = (load_head().expression_names.index(f"blink_{side}") for side in ("left", "right"))
    worn = {
        "hair_length": {"type": "uniform", "low": 0.7, "high": 1},
        "beard": {"type": "uniform", "low": 0.15, "high": 1},
        "moustache": {"type": "uniform", "low": 0.2, "high": 1},
        "glasses": 1.0,
        "lens_tint": {"type": "choice", "values": [0, 1], "weights": [3, 1]},
        "headwear": {"type": "choice", "values": [0.5, 1], "weights": [1, 1]},
    }
    expression = {"coefficients": {"per_index": {str(lid): half_shut for lid in lids}}}
    return scratch_spec(num_samples, size_px, appearance=worn, expression=expression, **changes)
