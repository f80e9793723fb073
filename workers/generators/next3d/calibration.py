"""Fits the affine map between a checkpoint's matter and the head model's mesh.

Source of the idea: SynthForge trains a small network for it, which is affine (reference: its
`train_alignment_mlp.py`); a robust least-squares fit to the volume's own surface needs neither a
detector nor a training run.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from workers.flame.arrays_file import read_arrays, write_arrays
from workers.generators.next3d.published import AffineMap


def write_calibration(path: Path, alignment: AffineMap, checkpoint_sha256: str) -> str:
    """Write a fitted map, bound to its checkpoint; returns the file's sha256."""
    return write_arrays(
        path,
        {
            "matrix": np.asarray(alignment.matrix, np.float64),
            "offset": np.asarray(alignment.offset, np.float64),
            "checkpoint_sha256": np.array(checkpoint_sha256),
        },
    )


def read_calibration(path: Path, checkpoint_sha256: str) -> AffineMap:
    """Read a fitted map.

    Raises:
        ValueError: the file is torn, or was fitted to another checkpoint.
    """
    arrays = read_arrays(path, ("matrix", "offset", "checkpoint_sha256"))
    fitted_to = str(arrays["checkpoint_sha256"])
    if fitted_to != checkpoint_sha256:
        raise ValueError(
            f"calibration was fitted to next3d_checkpoint {fitted_to[:12]}, the registry has "
            f"{checkpoint_sha256[:12]}: run 'synthforge assets calibrate' again"
        )
    return AffineMap(arrays["matrix"].astype(np.float64), arrays["offset"].astype(np.float64))
