"""Calibrates a registry's checkpoint: draws faces, fits the map, keeps it beside the checkpoint."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np

from synthforge.assets import OFFICIAL_SOURCES, AssetEntry, Provenance
from synthforge.conventions import CLASS_IDS, FACE_CLASSES
from synthforge.jobs import JobSpec, parse_job_spec
from workers.assets.registry import TOOL, asset_key
from workers.assets.snapshot import AssetSnapshot
from workers.flame.arrays_file import file_sha256
from workers.generators.next3d.calibration import (
    Fit,
    Observation,
    fit_alignment,
    observe_face,
    write_calibration,
)
from workers.generators.next3d.generator import Next3DGenerator
from workers.generators.next3d.opening import open_unaligned
from workers.one_thread import one_thread
from workers.sampling import sample_face

NUM_FACES: Final = 64
SIZE_PX: Final = 256
# Views that fix all three axes; faces near the mean, as the map is one for all.
_SPEC: Final = {
    "generator": "next3d",
    "pose": {"yaw": [-40, 40], "pitch": [-20, 20], "roll": 0},
    "camera": {"fov": 18.837},
    "image": {"size": SIZE_PX},
    "expression": {"coefficients": {"type": "normal", "std": 0.3, "low": -1, "high": 1}},
}


def calibrate(
    held: AssetSnapshot, num_faces: int = NUM_FACES, on_face: Callable[[int], None] = lambda _: None
) -> tuple[Fit, AssetEntry]:
    """Fit the map of a registry's checkpoint and add it to the registry.

    Args:
        held: with a checkpoint, a FLAME model and its landmarks.
        num_faces: drawn; a quarter of them measures the fit.
        on_face: called with the number of faces drawn so far.

    Raises:
        AssetError: an asset is missing.
        ValueError: assets do not fit each other, or the matter is nowhere near the meshes.
    """
    spec = parse_job_spec(json.dumps({**_SPEC, "count": num_faces}))
    with one_thread():
        generator = open_unaligned(held)
        faces = []
        for index in range(num_faces):
            faces.append(_observed(generator, spec, index))
            on_face(index + 1)
        fit = fit_alignment(faces)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "calibration.npz"
        checkpoint = held.held["next3d_checkpoint"]
        write_calibration(path, fit, checkpoint.sha256)
        return fit, held.registry.add(path, _entry(path, fit, checkpoint))


def _observed(generator: Next3DGenerator, spec: JobSpec, index: int) -> Observation:
    face = sample_face(spec, generator.rig, index, 0, "train")
    chunk = [face] * generator.chunk_size
    heads = generator.pose(chunk)
    topology = generator.topology
    of_face = np.isin(topology.face_region, FACE_CLASSES)
    of_face &= topology.face_region != CLASS_IDS["inner_mouth"]
    return observe_face(
        heads.vertices[0].double().numpy(),
        topology.faces,
        np.unique(topology.faces[of_face]),
        face.camera,
        generator.observe(chunk, heads)[0],
    )


def _entry(path: Path, fit: Fit, checkpoint: AssetEntry) -> AssetEntry:
    sha256 = file_sha256(path)
    source = OFFICIAL_SOURCES["calibration"]
    return AssetEntry(
        kind="calibration",
        name=source.name,
        file=asset_key("calibration", sha256, path.suffix),
        sha256=sha256,
        num_bytes=path.stat().st_size,
        licence=checkpoint.licence,
        source=source.site,
        provenance=Provenance(
            imported_at=datetime.now(UTC).isoformat(timespec="seconds"),
            file=checkpoint.file,
            sha256=checkpoint.sha256,
            num_bytes=checkpoint.num_bytes,
            tool=TOOL,
            notes={
                "faces": str(fit.num_faces),
                "rms_before_m": f"{fit.before_m:.6f}",
                "rms_after_m": f"{fit.after_m:.6f}",
                "margin_m": f"{fit.margin_m:.6f}",
            },
        ),
    )
