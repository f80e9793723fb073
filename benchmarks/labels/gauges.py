"""What each check must show, and the tally of what it found."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float64Array = NDArray[np.float64]


@dataclass(frozen=True)
class Limit:
    """What a check must show.

    Attributes:
        what: is compared.
        tolerance: of one value; a value beyond it is wrong.
        unit: of both.
        share: of the values that must lie within the tolerance.
    """

    what: str
    tolerance: float
    unit: str
    share: float = 1.0


@dataclass
class Gauge:
    """Counts of one check over many samples."""

    limit: Limit
    num_values: int = 0
    num_within: int = 0
    num_excluded: int = 0
    worst: float = 0.0

    def add(self, errors: Float64Array, num_excluded: int = 0) -> None:
        """Take the errors of one sample; NaN is wrong too."""
        self.num_values += errors.size
        self.num_within += int((errors <= self.limit.tolerance).sum())
        self.num_excluded += num_excluded
        if errors.size:
            self.worst = max(self.worst, float(np.nan_to_num(errors, nan=np.inf).max()))

    @property
    def is_ok(self) -> bool:
        """Whether there were values and enough of them lie within the tolerance."""
        return self.num_values > 0 and self.num_within >= self.limit.share * self.num_values

    def __str__(self) -> str:
        limit = self.limit
        share = self.num_within / max(1, self.num_values)
        line = f"{limit.what}: {self.num_values:,} values, {100 * share:.4g} % within "
        line += f"{limit.tolerance:g} {limit.unit} (limit {100 * limit.share:g} %)"
        line += f", largest {self.worst:.3g} {limit.unit}"
        if self.num_excluded:
            line += f", {self.num_excluded:,} left out"
        return f"{line}: {'ok' if self.is_ok else 'NOT OK'}"


LIMITS: dict[str, Limit] = {
    "projection": Limit("a  3D landmarks project to the 2D ones", 0.01, "px"),
    "landmark_depth": Limit(
        "b  depth at visible inner landmarks, where a pixel shows them", 2.0, "mm"
    ),
    "landmark_depth_any": Limit("b' the same on all smooth ground, rims too", 2.0, "mm", 0.995),
    "depth_on_mesh": Limit("c  unprojected depth lies on the mesh", 0.5, "mm", 0.999),
    "depth_of_hit": Limit("c' depth is that of the first surface", 0.051, "mm", 0.9999),
    "normals": Limit("d  normals against planes through depth, smooth pixels", 10.0, "deg", 0.95),
    "segmentation": Limit("e  segmentation is the region of the point hit", 0.0, "wrong"),
    "uv": Limit("f  u, v name the point hit", 2.0, "steps", 0.999),
    "visibility": Limit("g  visibility is that of an independent ray", 0.0, "wrong"),
    "pose_measured": Limit("h  yaw, pitch, roll follow from camera and neck", 1e-3, "deg"),
    "pose_asked": Limit("h' yaw, pitch, roll are what was asked", 0.1, "deg"),
    "camera_asked": Limit("h\" camera's distance and field of view are what was asked", 1e-6, ""),
    "eyes_level": Limit("h'\" outer eye corners lie along the head's x", 8.0, "deg"),
    "boxes": Limit("i  boxes bound landmarks and face", 1e-3, "px"),
    "gaze": Limit("i  gaze is that of the eyes' poses", 0.01, "deg"),
    "gaze_unit": Limit("i  gaze vectors are unit", 1e-6, ""),
    "landmarks_on_mesh": Limit("i  landmarks are the topology's points of dense", 2e-3, "mm"),
    "background": Limit("i  depth, segmentation, normal, u, v have one background", 0.0, "px"),
    "quality": Limit("i  measured quality is that of the labels", 1e-6, ""),
}
"""Every check by its name. Ties are rays within 1e-4 px of an edge, or surfaces within 1e-6 m; at
landmarks, pixels that show another surface than theirs."""
