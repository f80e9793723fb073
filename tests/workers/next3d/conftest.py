"""A small untrained network on a mesh of our own, and the recorded tiny checkpoint."""

from __future__ import annotations

import gzip
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from workers.generators.next3d.checkpoint import Next3DWeights, untrained_weights
from workers.generators.next3d.config import Next3DConfig, RenderingConfig

RINGS, SEGMENTS = 12, 16
TINY = Next3DConfig(
    channel_base=512,
    channel_max=16,
    neural_resolution=16,
    rendering=RenderingConfig(num_coarse=8, num_fine=8),
)


def _ball() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices (V, 3) of a ball of 0.1 m, faces as a checkpoint stores them, UV of corners."""
    rows, cols = np.meshgrid(np.arange(RINGS + 1), np.arange(SEGMENTS + 1), indexing="ij")
    polar, azimuth = rows * math.pi / RINGS, cols * 2 * math.pi / SEGMENTS
    points = np.stack(
        [np.sin(polar) * np.sin(azimuth), np.cos(polar), np.sin(polar) * np.cos(azimuth)], -1
    )
    uv = np.stack([cols / SEGMENTS * 2 - 1, rows / RINGS * 2 - 1, np.ones_like(rows)], -1)
    at = np.arange((RINGS + 1) * (SEGMENTS + 1)).reshape(RINGS + 1, SEGMENTS + 1)
    a, b, c, d = at[:-1, :-1], at[1:, :-1], at[1:, 1:], at[:-1, 1:]
    faces = np.concatenate(
        [np.stack(corners, -1).reshape(-1, 3) for corners in ((a, b, c), (a, c, d))]
    )
    return points.reshape(-1, 3) * 0.1, faces, uv.reshape(-1, 3)[faces]


@pytest.fixture(scope="session")
def tiny_weights() -> Next3DWeights:
    """Random weights of a tiny network over a ball."""
    _, faces, corner_uv = _ball()
    topology = {
        "faces": faces[None].astype(np.int64),
        "face_uvcoords": corner_uv[None].astype(np.float32),
        "uv_face_mask": np.ones((1, 1, 32, 32), np.float32),
    }
    return untrained_weights(TINY, topology, seed=5)


@pytest.fixture(scope="session")
def ball_with_landmarks() -> torch.Tensor:
    """(V + 68, 3) float32: the ball, and landmarks on its front around a mouth."""
    points, _, _ = _ball()
    turn = np.arange(68) * 2 * math.pi / 12
    landmarks = np.stack([0.02 * np.cos(turn), -0.03 + 0.01 * np.sin(turn), 0 * turn + 0.095], -1)
    return torch.from_numpy(np.concatenate([points, landmarks]).astype(np.float32))


@pytest.fixture(scope="session")
def official_pickle(shared_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recorded tiny checkpoint in the released file's format, unpacked."""
    packed = shared_dir / "fixtures" / "next3d" / "next3d_tiny_official_format_syn.pkl.gz"
    path = tmp_path_factory.mktemp("official") / packed.stem
    path.write_bytes(gzip.decompress(packed.read_bytes()))
    return path
