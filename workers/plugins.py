"""Programs of the user's that look at pictures: a landmark detector for the gate, a face parser.

A distribution offers one under an entry point of the group `synthforge.detectors` or
`synthforge.parsers`; what the entry point names is called without arguments, once a job, and gives
the plug-in. `face-alignment` needs no entry point: it is known, and used where it is installed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points, version
from typing import Final, Protocol

import numpy as np

from synthforge.conventions import CLASSES, FACE_CLASSES, IGNORE_CLASS, NUM_LANDMARKS
from synthforge.jobs import JobSpec
from workers.quality import Accepted, Rejected
from workers.types import Float64Array, UInt8Array

DETECTORS: Final = "synthforge.detectors"
PARSERS: Final = "synthforge.parsers"
FACE_ALIGNMENT: Final = "face-alignment"
REFERENCE_SIDE_PX: Final = 512  # errors are told in pixels of a picture of this side
PUBLISHED_LIMIT_PX: Final = 11.0

# What a parser may name: nothing of the face itself, which the mesh knows better.
_PARSED: Final = np.array(
    [
        class_id in CLASSES and class_id not in FACE_CLASSES and class_id != IGNORE_CLASS
        for class_id in range(256)
    ]
)


class LandmarkDetector(Protocol):
    """Finds a face's landmarks."""

    def __call__(self, image: UInt8Array) -> Float64Array | None:
        """Return (68, 2) pixels, iBUG order, top-left corner (0, 0); None where it finds no face.

        Args:
            image: (H, W, 3) RGB.
        """
        ...


class FaceParser(Protocol):
    """Names what pixels show."""

    def __call__(self, image: UInt8Array) -> UInt8Array:
        """Return (H, W) class ids of `synthforge.conventions`; 255 where it does not know.

        Args:
            image: (H, W, 3) RGB.
        """
        ...


@dataclass(frozen=True)
class PlugIns:
    """The plug-ins of one job.

    Attributes:
        detector: for the gate; None where the job names none.
        parser: for what the mesh does not know.
        versions: name and version of each, by its part.
    """

    detector: LandmarkDetector | None
    parser: FaceParser | None
    versions: dict[str, str]

    @classmethod
    def of(cls, spec: JobSpec) -> PlugIns:
        """Load what a job names.

        Raises:
            ValueError: a plug-in of that name is not installed.
        """
        detector, parser = spec.quality.detector, spec.generator.parser
        versions = {}
        if detector is not None:
            versions["detector"] = f"{detector} {_version(DETECTORS, detector, 'quality.detector')}"
        if parser is not None:
            versions["parser"] = f"{parser} {_version(PARSERS, parser, 'generator.parser')}"
        return cls(
            None if detector is None else _loaded_detector(detector),
            None if parser is None else _loaded(PARSERS, parser),
            versions,
        )


def judge_detected(
    landmarks_px: Float64Array, detected_px: Float64Array | None, side_px: int, limit_px: float
) -> Accepted | Rejected:
    """Compare landmarks with a detector's: mean distance, pixels of 512, as SynthForge's gate.

    Args:
        landmarks_px: (68, 2).
        detected_px: of the detector; None where it found no face.
        side_px: of the picture.
        limit_px: pixels of 512.
    """
    if detected_px is None:
        return Rejected("no_face_detected", 0.0, 1.0)
    apart = np.linalg.norm(landmarks_px - detected_px, axis=1).mean()
    error_px = round(float(apart) * REFERENCE_SIDE_PX / side_px, 3)
    if error_px > limit_px:
        return Rejected("detector_disagrees", error_px, limit_px)
    return Accepted({"detector_error": error_px})


def fill_unknown(segmentation: UInt8Array, parsed: UInt8Array) -> UInt8Array:
    """Give pixels without a class what a parser names there, but no part of the face.

    Raises:
        ValueError: the parser's picture has another size.
    """
    if parsed.shape != segmentation.shape or parsed.dtype != np.uint8:
        raise ValueError(
            f"generator.parser gave {parsed.dtype} {parsed.shape} for {segmentation.shape} pixels"
        )
    taken = (segmentation == IGNORE_CLASS) & _PARSED[parsed]
    return np.where(taken, parsed, segmentation).astype(np.uint8)


def installed() -> dict[str, str]:
    """Return the versions of all plug-ins that are installed: they are part of the fingerprint."""
    found = {
        f"{group} {entry.name}": _distribution_version(entry)
        for group in (DETECTORS, PARSERS)
        for entry in entry_points(group=group)
    }
    known = _face_alignment_version()
    return found if known is None else {**found, f"{DETECTORS} {FACE_ALIGNMENT}": known}


def _version(group: str, name: str, field: str) -> str:
    found = installed()
    if f"{group} {name}" not in found:
        held = ", ".join(_names(group)) or "none"
        raise ValueError(
            f"{field}: this worker has no plug-in {name!r} in {group} (it has {held}): install it "
            "where the workers run"
        )
    return found[f"{group} {name}"]


def _names(group: str) -> Iterator[str]:
    return (name.partition(" ")[2] for name in installed() if name.startswith(f"{group} "))


def _distribution_version(entry: EntryPoint) -> str:
    return "unknown" if entry.dist is None else entry.dist.version


def _face_alignment_version() -> str | None:
    try:
        return version(FACE_ALIGNMENT)
    except ModuleNotFoundError:
        return None


def _loaded(group: str, name: str) -> Callable[..., UInt8Array]:
    (entry,) = entry_points(group=group, name=name)
    return entry.load()()  # type: ignore[no-any-return]


def _loaded_detector(name: str) -> LandmarkDetector:
    if name != FACE_ALIGNMENT:
        (entry,) = entry_points(group=DETECTORS, name=name)
        return entry.load()()  # type: ignore[no-any-return]
    return face_alignment_detector()


def face_alignment_detector() -> LandmarkDetector:
    """Wrap the package `face-alignment` (Bulat and Tzimiropoulos, ICCV 2017), on the CPU.

    It fetches its own weights when first used.
    """
    package = import_module("face_alignment")
    network = package.FaceAlignment(package.LandmarksType.TWO_HALF_D, device="cpu")

    def detect(image: UInt8Array) -> Float64Array | None:
        faces = network.get_landmarks(image)
        if not faces:
            return None
        # Its pixels are counted from the first one's centre.
        return np.asarray(faces[0], np.float64)[:NUM_LANDMARKS, :2] + 0.5

    return detect
