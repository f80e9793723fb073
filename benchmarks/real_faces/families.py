"""What the training pictures vary, and the same without one family of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

SPEC: Final[dict[str, Any]] = {
    "pose": {
        "yaw": {"type": "normal", "mean": 0, "std": 22, "low": -80, "high": 80},
        "pitch": {"type": "normal", "mean": 0, "std": 12, "low": -40, "high": 40},
        "roll": {"type": "normal", "mean": 0, "std": 12, "low": -40, "high": 40},
    },
    "camera": {"distance": [0.35, 2]},
    "framing": {"face_fraction": [0.45, 0.8], "offset": [-0.08, 0.08]},
    "expression": {"presets": {"neutral": 4, "smile": 3, "frown": 1, "surprise": 1, "shout": 1}},
    "annotations": ["landmarks68", "segmentation"],
    "image": {"size": 128, "format": "jpg"},
    "output": {"samples_per_shard": 250, "splits": {"train": 0.95, "val": 0.05}},
}
"""Of the built-in samples: ranges in which photographs of faces lie."""


@dataclass(frozen=True)
class Family:
    """One kind of variety, taken away.

    Attributes:
        spec: sections of the job that change; fields of a section are merged.
        augment: fields of `AugmentConfig` that change.
    """

    spec: dict[str, dict[str, Any]] = field(default_factory=dict)
    augment: dict[str, float] = field(default_factory=dict)


WITHOUT: Final[dict[str, Family]] = {
    "photometric": Family(
        augment=dict.fromkeys(
            ("blur", "low_resolution", "colour", "gamma", "noise", "grey", "jpeg", "occlusion"), 0.0
        )
    ),
    "occluders": Family(augment={"occlusion": 0.0}),
    "crop-jitter": Family(augment=dict.fromkeys(("shift", "rotation_deg", "scale"), 0.0)),
    "hair": Family(spec={"appearance": {"hair_length": 0}}),
    "brows-and-lips": Family(spec={"appearance": {"brow_density": 0, "lip_redness": 0}}),
    "skin": Family(
        spec={"appearance": {"skin_tone": 30, "skin_redness": 0, "wrinkles": 0, "stubble": 0}}
    ),
    "light": Family(spec={"light": {"azimuth": 0, "elevation": 40, "contrast": 0.4}}),
    "lens": Family(spec={"lens": {"exposure": 0, "blur": 0, "noise": 0}}),
    "expression": Family(
        spec={"expression": {"coefficients": 0, "jaw_open": 0, "presets": {"neutral": 1}}}
    ),
    "shape": Family(spec={"identity": {"shape": 0}}),
    "perspective": Family(spec={"camera": {"distance": 1.08}}),
}


def merged(changes: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return `SPEC` with fields of its sections changed."""
    document = dict(SPEC)
    for section, fields in changes.items():
        document[section] = document.get(section, {}) | fields
    return document
