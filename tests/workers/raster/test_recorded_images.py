"""Both exact backends against images that PyTorch3D 0.7.9 drew in the published pipelines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from workers.raster.protocol import Rasteriser
from workers.raster.select import Backend, make_rasteriser

FAR = 1000.0  # a camera this far away sees the recorded orthographic views, to 1e-5 of barycentrics
DEPTH_STEP = FAR * 2**-23  # of float32 nearness there; the recorded head is 1.3 deep
PUBLISHED_DIAGONAL = 1.414  # the published mask camera divides its field of view by this


@pytest.fixture(params=["numba", "torch"], scope="module")
def rasteriser(request: pytest.FixtureRequest) -> Rasteriser:
    backend: Backend = request.param
    return make_rasteriser(backend)


def screen_edges(corners: Tensor, point: Tensor) -> Tensor:
    """(..., 3) distances of a point from a triangle's edges in float64; positive inside."""
    start, end = corners[..., [1, 2, 0], :2], corners[..., [2, 0, 1], :2]
    along, to = end - start, point[..., None, :] - start
    return (to[..., 0] * along[..., 1] - to[..., 1] * along[..., 0]) / along.norm(dim=-1)


def nearness_at(corners: Tensor, point: Tensor) -> tuple[Tensor, Tensor]:
    """Depth of triangles (P, 3, 3) at points (P, 2), and the recorded epsilon's share of it.

    The recorded code divides by area + 1e-8, so its depth is too small by 1e-8 / area: beside a
    sliver's neighbours that decides who is nearer. In float64, without it, we see who really is.
    """
    a, b, c = corners.unbind(1)
    area = (c[:, 0] - a[:, 0]) * (b[:, 1] - a[:, 1]) - (c[:, 1] - a[:, 1]) * (b[:, 0] - a[:, 0])
    edges = screen_edges(corners, point)
    lengths = (corners[:, [2, 0, 1], :2] - corners[:, [1, 2, 0], :2]).norm(dim=-1)
    depth = (edges * lengths * corners[..., 2]).sum(1) / area
    return depth, 1e-8 / area


@pytest.mark.parametrize("name", ["e2e_1", "e2e_2", "e2e_syn"])
def test_the_texture_rasters_recorded_are_ours_but_for_ties(
    rasteriser: Rasteriser, shared_dir: Path, name: str
) -> None:
    """Views of 256 px: a pixel that differs is an edge or a depth within the recorded rounding."""
    recorded = np.load(shared_dir / "fixtures" / "next3d" / f"{name}_io.npz")
    weights = np.load(shared_dir / "fixtures" / "next3d" / f"{name}_weights.npz")
    faces = torch.from_numpy(weights["faces"][0].astype(np.int64))[:, [0, 2, 1]]
    views = torch.from_numpy(recorded["transformed_vertices"]).double().flatten(0, 1)
    theirs = torch.from_numpy(recorded["pix_to_face"]).long().flatten(0, 1)
    size, num_differing = 256, 0
    K = torch.tensor([[size / 2, 0, size / 2], [0, size / 2, size / 2], [0, 0, 1.0]])
    for index, (points, wanted) in enumerate(zip(views, theirs, strict=True)):
        corners = points[faces]
        u, d = corners[..., 0], corners[..., 1]
        area = (u[:, 2] - u[:, 0]) * (d[:, 1] - d[:, 0]) - (d[:, 2] - d[:, 0]) * (u[:, 1] - u[:, 0])
        facing = (area > 1e-8).nonzero()[:, 0]  # the recorded pipeline culls back faces and slivers
        depth = points[:, 2:] + FAR
        mesh = torch.cat([points[:, :2] * depth, depth], 1)[None]
        fragments = rasteriser.rasterise(mesh, faces[facing], K[None], size, size)
        hit = fragments.face_id[0].long()
        ours = torch.where(hit >= 0, facing[hit.clamp(min=0)], -1)

        row, column = (ours != wanted).nonzero().T
        num_differing += len(row)
        centre = (2 * torch.stack([column, row], 1).double() + 1) / size - 1
        one, other = ours[row, column], wanted[row, column]
        assert (one >= 0).all()
        assert (other >= 0).all()
        is_edge = torch.zeros(len(row), dtype=torch.bool)
        for face in (one, other):
            is_edge |= screen_edges(corners[face], centre).abs().amin(1) * size / 2 < 1e-4
        (our_depth, _), (their_depth, slack) = (
            nearness_at(corners[face], centre) for face in (one, other)
        )
        is_tie = our_depth < their_depth + DEPTH_STEP
        assert (is_edge | is_tie).all()
        assert (is_edge | (their_depth * (1 - slack) < our_depth + DEPTH_STEP)).all()

        check_barycentrics(
            fragments.bary[0],
            recorded["bary"].reshape(-1, 3, 64, 64)[index],
            ours == wanted,
            area[ours],
        )
    assert num_differing <= 2 * len(views)


def check_barycentrics(ours: Tensor, recorded: np.ndarray, same: Tensor, area: Tensor) -> None:
    theirs = torch.from_numpy(recorded).permute(1, 2, 0)
    theirs = theirs / theirs.sum(-1, keepdim=True)  # they sum to 1 - 1e-8 / area
    clear = (same & (ours.sum(-1) > 0) & (area > 1e-4))[::4, ::4]
    assert clear.sum() > 200
    assert (ours[::4, ::4] - theirs)[clear].abs().max() < 1e-4


def test_the_published_mask_is_drawn_with_its_camera(
    rasteriser: Rasteriser, shared_dir: Path
) -> None:
    """seg_render.npz: the same pixels covered, and the texture's colours within rounding."""
    recorded = np.load(shared_dir / "fixtures" / "annotations" / "seg_render.npz")
    size = int(recorded["image_size"])
    fov = np.deg2rad(recorded["fov_deg"] / PUBLISHED_DIAGONAL)
    focal = torch.from_numpy(size / 2 / np.tan(fov / 2))
    K = torch.zeros(2, 3, 3, dtype=torch.float64)
    K[:, 0, 0] = K[:, 1, 1] = focal
    K[:, :2, 2] = size / 2
    K[:, 2, 2] = 1
    faces = torch.from_numpy(recorded["faces"])
    fragments = rasteriser.rasterise(torch.from_numpy(recorded["verts_cam"]), faces, K, size, size)
    theirs = recorded["seg_rgb"]
    is_hit = fragments.face_id >= 0
    assert np.array_equal(is_hit.numpy(), (theirs != 255).any(-1))

    uv = rasteriser.interpolate(fragments, faces, torch.from_numpy(recorded["uvs"]))
    texture = torch.from_numpy(recorded["texture"]).float().permute(2, 0, 1)[None] / 255
    grid = torch.stack([2 * uv[..., 0] - 1, 1 - 2 * uv[..., 1]], -1)
    colours = torch.nn.functional.grid_sample(
        texture.expand(2, -1, -1, -1), grid, align_corners=True, padding_mode="border"
    )
    ours = (colours.permute(0, 2, 3, 1) * 255).numpy()[is_hit.numpy()]
    assert np.abs(ours - theirs[is_hit.numpy()]).max() < 1.01  # theirs are cut to whole numbers
