"""The PyTorch3D backend: its conversions, and its plumbing over a stand-in for the library."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from types import ModuleType

import pytest
import torch
from torch import Tensor

from workers.raster.protocol import NEAR_M
from workers.raster.pytorch3d_backend import Pytorch3dRasteriser, to_fragments, to_ndc
from workers.raster.torch_portable import TorchRasteriser


def centre_ndc(size: int, other: int) -> Tensor:
    """NDC of pixel centres by PyTorch3D's documentation: from +range down to -range, +x left."""
    reach = max(size / other, 1.0)
    return torch.linspace(reach - reach / size, -reach + reach / size, size)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (6, 10), (10, 6)])
def test_a_pixels_centre_becomes_the_librarys_pixel_centre(height: int, width: int) -> None:
    K = torch.tensor([[[70.0, 2, 4], [0, 60, 3], [0, 0, 1]]], dtype=torch.float64)
    row, column = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    pixels = torch.stack([column + 0.5, row + 0.5, torch.ones_like(row)], -1).double()
    z = torch.rand(height * width, dtype=torch.float64) + 0.5
    points = pixels.reshape(-1, 3) @ torch.linalg.inv(K[0]).T * z[:, None]
    ndc = to_ndc(points[None], K, height, width)[0].view(height, width, 3)
    assert torch.allclose(ndc[..., 0], centre_ndc(width, height).expand(height, width), atol=1e-6)
    assert torch.allclose(
        ndc[..., 1], centre_ndc(height, width)[:, None].expand(-1, width), atol=1e-6
    )
    assert torch.allclose(ndc[..., 2].reshape(-1).double(), z, atol=1e-6)


def test_buffers_of_a_batch_become_faces_of_each_mesh() -> None:
    """Mesh 0 keeps faces 0 and 2, mesh 1 keeps 1 and 2: the library counts them 0 to 3."""
    pix_to_face = torch.tensor([[[[0], [1]]], [[[-1], [3]]]])
    zbuf = torch.tensor([[[[1.0], [2.0]]], [[[-1.0], [3.0]]]])
    bary = torch.full((2, 1, 2, 1, 3), 1 / 3)
    bary[1, 0, 0] = -1
    fragments = to_fragments(pix_to_face, zbuf, bary, torch.tensor([0, 2, 1, 2]))
    assert fragments.face_id.tolist() == [[[0, 2]], [[-1, 2]]]
    assert fragments.face_id.dtype == torch.int32
    assert fragments.z.tolist() == [[[1.0, 2.0]], [[0.0, 3.0]]]
    assert not fragments.bary[1, 0, 0].any()


@dataclass(frozen=True)
class StandInMeshes:
    verts: list[Tensor]
    faces: list[Tensor]


def stand_in_rasterize_meshes(
    meshes: StandInMeshes,
    image_size: tuple[int, int],
    blur_radius: float,
    faces_per_pixel: int,
    bin_size: int,
    perspective_correct: bool,
    clip_barycentric_coords: bool,
    cull_backfaces: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What the library's documentation promises, for one face a pixel, pixel by pixel."""
    assert (blur_radius, faces_per_pixel, bin_size) == (0.0, 1, 0)
    assert perspective_correct
    assert not clip_barycentric_coords
    assert not cull_backfaces
    height, width = image_size
    batch = len(meshes.verts)
    pix_to_face = torch.full((batch, height, width, 1), -1)
    zbuf, bary = -torch.ones(batch, height, width, 1), -torch.ones(batch, height, width, 1, 3)
    xs, ys = centre_ndc(width, height), centre_ndc(height, width)
    index = -1
    for b in range(batch):
        for face in meshes.faces[b]:
            index += 1
            corners = meshes.verts[b][face]
            edges = torch.cat([corners[:, :2], torch.ones(3, 1)], 1).T
            if edges.det().abs() < 1e-8:
                continue
            for i in range(height):
                for j in range(width):
                    w = edges.inverse() @ torch.tensor([xs[j], ys[i], 1.0])
                    w = w / corners[:, 2]
                    w = w / w.sum()
                    z = w @ corners[:, 2]
                    if (w > 0).all() and (pix_to_face[b, i, j] < 0 or z < zbuf[b, i, j]):
                        pix_to_face[b, i, j], zbuf[b, i, j], bary[b, i, j, 0] = index, z, w
    return pix_to_face, zbuf, bary, torch.zeros_like(zbuf)


def test_over_a_stand_in_it_draws_what_the_others_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    structures, mesh = ModuleType("pytorch3d.structures"), ModuleType("pytorch3d.renderer.mesh")
    vars(structures)["Meshes"] = StandInMeshes
    vars(mesh)["rasterize_meshes"] = stand_in_rasterize_meshes
    monkeypatch.setitem(sys.modules, "pytorch3d.structures", structures)
    monkeypatch.setitem(sys.modules, "pytorch3d.renderer.mesh", mesh)
    torch.manual_seed(5)
    vertices = torch.rand(2, 12, 3) * 2 - 1
    vertices[..., 2] += 2
    vertices[0, 0, 2] = NEAR_M
    vertices[1, 5, 2] = -1
    faces = torch.arange(12).view(4, 3)
    K = torch.tensor([[12.0, 1, 6], [0, 11, 4], [0, 0, 1]]).repeat(2, 1, 1)
    theirs = Pytorch3dRasteriser().rasterise(vertices, faces, K, 9, 13)
    ours = TorchRasteriser().rasterise(vertices, faces, K, 9, 13)
    assert torch.equal(theirs.face_id, ours.face_id)
    assert torch.allclose(theirs.bary, ours.bary, atol=1e-5)
    assert torch.allclose(theirs.z, ours.z, rtol=1e-5)
    assert torch.equal(Pytorch3dRasteriser().first_faces(vertices, faces, K, 9, 13), ours.face_id)
    colours = torch.rand(12, 3)
    assert torch.allclose(
        Pytorch3dRasteriser().interpolate(theirs, faces, colours),
        TorchRasteriser().interpolate(ours, faces, colours),
        atol=1e-5,
    )
    assert set(ours.face_id.unique().tolist()) >= {-1, 2, 3}
