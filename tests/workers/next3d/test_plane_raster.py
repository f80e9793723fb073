"""The planes' rasteriser: its portable twin, culling, and order."""

from __future__ import annotations

import pytest
import torch

from workers.generators.next3d.plane_raster import rasterise_plane, rasterise_plane_portable


def _soup(num_faces: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(7)
    points = torch.rand((2, 3 * num_faces, 3), generator=generator) * 2.4 - 1.2
    points[..., 2] += 10.0
    return points, torch.arange(3 * num_faces).view(-1, 3)


def test_the_portable_twin_gives_the_same_bits() -> None:
    points, faces = _soup(200)

    fast, portable = (
        rasterise(points, faces, 64) for rasterise in (rasterise_plane, rasterise_plane_portable)
    )

    assert torch.equal(fast.face_id, portable.face_id)
    assert torch.equal(fast.bary, portable.bary)
    assert torch.equal(fast.z, portable.z)
    assert (fast.face_id >= 0).any()


def test_a_face_turned_away_is_not_drawn() -> None:
    triangle = torch.tensor([[[-1.0, -1.0, 10.0], [1.0, -1.0, 10.0], [0.0, 1.0, 10.0]]])

    towards = rasterise_plane(triangle, torch.tensor([[0, 2, 1]]), 16)
    away = rasterise_plane(triangle, torch.tensor([[0, 1, 2]]), 16)

    assert (towards.face_id >= 0).any()
    assert not (away.face_id >= 0).any()


def test_the_nearer_face_wins_and_of_equals_the_first() -> None:
    flat = [[-1.0, -1.0], [1.0, -1.0], [0.0, 1.0]]
    layers = torch.tensor([[[*corner, z] for z in (10.0, 9.0, 9.0) for corner in flat]])
    faces = torch.arange(9).view(3, 3)[:, [0, 2, 1]]

    drawn = rasterise_plane(layers, faces, 16)

    assert set(drawn.face_id.unique().tolist()) == {-1, 1}
    assert torch.equal(drawn.face_id, rasterise_plane_portable(layers, faces, 16).face_id)


def test_a_face_that_names_a_missing_corner_is_refused() -> None:
    with pytest.raises(ValueError, match="corners 0 to 3; there are 3"):
        rasterise_plane(torch.zeros(1, 3, 3), torch.tensor([[0, 1, 3]]), 8)
