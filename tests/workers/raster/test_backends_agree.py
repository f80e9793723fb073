"""numba and torch give equal bits, on any device, in tiles of any size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from benchmarks.raster import head_like_mesh
from workers.raster import torch_portable
from workers.raster.numba_cpu import NumbaRasteriser
from workers.raster.numba_kernels import BAND_KEYS
from workers.raster.protocol import Fragments
from workers.raster.torch_portable import TorchRasteriser

Scene = tuple[Tensor, Tensor, Tensor, int, int]


def head_scene(size: int, num_rows: int = 50) -> Scene:
    vertices, faces = head_like_mesh(num_rows)
    moved = torch.tensor(vertices).repeat(2, 1, 1) + torch.tensor([[[0.0]], [[0.0123]]])
    K = torch.tensor([[4.7 * size, 0, size / 2], [0, 4.7 * size, size / 2], [0, 0, 1]])
    return moved, torch.tensor(faces), K.repeat(2, 1, 1), size, size


def soup(seed: int) -> Scene:
    """Triangles of every size, through each other, out of view, behind the camera."""
    random = torch.Generator().manual_seed(seed)
    num_vertices = 30
    vertices = torch.randn(2, num_vertices, 3, generator=random)
    vertices[..., 2] += 0.5
    vertices[:, ::3] = vertices[:, :1] + 0.01 * vertices[:, ::3]
    faces = torch.randint(0, num_vertices, (80, 3), generator=random)
    K = torch.tensor([[90.0, 3, 70], [0, 80, 40], [0, 0, 1]]) + torch.rand(
        2, 3, 3, generator=random
    )
    return vertices, faces, K, 90, 130


def tall_soup(seed: int) -> Scene:
    """The soup over four bands of rows, the last one cut."""
    vertices, faces, K, height, width = soup(seed)
    zoom = torch.tensor([[7.0], [7.0], [1.0]])
    return vertices, faces, K * zoom, 7 * height, 3 * width


def assert_equal(one: Fragments, other: Fragments) -> None:
    assert torch.equal(one.face_id, other.face_id.cpu())
    assert torch.equal(one.bary, other.bary.cpu())
    assert torch.equal(one.z, other.z.cpu())


@pytest.mark.parametrize("size", [97, 256])
def test_numba_and_torch_agree_to_the_bit_on_a_head(size: int) -> None:
    scene = head_scene(size)
    ours, portable = NumbaRasteriser().rasterise(*scene), TorchRasteriser().rasterise(*scene)
    assert_equal(ours, portable)
    assert (ours.face_id >= 0).float().mean() > 0.5


@settings(max_examples=40)
@given(seed=st.integers(0, 2**31))
def test_numba_and_torch_agree_to_the_bit_on_a_soup_of_triangles(seed: int) -> None:
    scene = soup(seed)
    ours, portable = NumbaRasteriser().rasterise(*scene), TorchRasteriser().rasterise(*scene)
    assert_equal(ours, portable)
    for rasteriser in (NumbaRasteriser(), TorchRasteriser()):
        assert torch.equal(ours.face_id, rasteriser.first_faces(*scene))
    attributes = torch.randn(2, scene[0].shape[1], 4)
    assert torch.equal(
        NumbaRasteriser().interpolate(ours, scene[1], attributes),
        TorchRasteriser().interpolate(portable, scene[1], attributes),
    )


@pytest.mark.parametrize("seed", range(4))
def test_a_face_across_bands_of_rows_is_drawn_whole(seed: int) -> None:
    scene = tall_soup(seed)
    bands = -(-scene[3] // (BAND_KEYS // scene[4]))
    assert bands >= 3
    portable = TorchRasteriser().rasterise(*scene)
    assert_equal(NumbaRasteriser().rasterise(*scene), portable)
    assert torch.equal(NumbaRasteriser().first_faces(*scene), portable.face_id)


def test_the_order_in_which_faces_are_drawn_changes_nothing() -> None:
    """Turned inside out, a head's faces are drawn back to front; reversed, last to first."""
    vertices, faces, K, height, width = head_scene(200)
    rasteriser = NumbaRasteriser()
    straight = rasteriser.rasterise(vertices, faces, K, height, width)
    inside_out = rasteriser.rasterise(vertices, faces[:, [0, 2, 1]], K, height, width)
    backwards = rasteriser.rasterise(vertices, faces.flip(0), K, height, width)
    assert torch.equal(straight.face_id, inside_out.face_id)
    is_hit = straight.face_id >= 0
    assert torch.equal(straight.face_id[is_hit], len(faces) - 1 - backwards.face_id[is_hit])
    assert torch.equal(straight.z, backwards.z)


def test_what_is_turned_away_is_drawn_where_nothing_hides_it() -> None:
    """A far wall seen from behind around and through a hole of a nearer one."""
    square = np.array([(0, 0), (20, 0), (20, 20), (0, 20)], np.float64)
    ring = square * 0.5 + 5
    near = np.concatenate([square, ring])
    vertices = np.concatenate([np.c_[near, np.ones(8)], np.c_[square * 2 - 10, np.ones(4)] * 1.5])
    wall = [[i, (i + 1) % 4, i + 4] for i in range(4)] + [
        [(i + 1) % 4, (i + 1) % 4 + 4, i + 4] for i in range(4)
    ]
    faces = [[a, c, b] for a, b, c in wall] + [[8, 9, 10], [8, 10, 11]]  # the far wall: turned away
    scene = (torch.tensor(vertices)[None], torch.tensor(faces), torch.eye(3)[None], 24, 24)
    fragments = NumbaRasteriser().rasterise(*scene)
    assert_equal(fragments, TorchRasteriser().rasterise(*scene))
    far = fragments.face_id[0] >= 8
    assert far[6:14, 6:14].all()
    assert far[21:].all()
    assert not far[:5, :20].any()


def test_tiles_of_any_size_give_the_same_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """And are not larger than they may be, but for a single face or row."""
    scene = head_scene(64, num_rows=8)
    whole = TorchRasteriser().rasterise(*scene)
    attributes = torch.randn(scene[0].shape[1], 2)
    colours = TorchRasteriser().interpolate(whole, scene[1], attributes)
    monkeypatch.setattr(torch_portable, "FACES_PER_TILE", 37)
    monkeypatch.setattr(torch_portable, "ROWS_PER_TILE", 11)
    monkeypatch.setattr(torch_portable, "PIXELS_PER_TILE", 23)
    sizes, expand = [], torch_portable._expand

    def expand_and_record(counts: Tensor) -> tuple[Tensor, Tensor]:
        sizes.append(int(counts.sum()) if len(counts) > 1 else 0)
        return expand(counts)

    monkeypatch.setattr(torch_portable, "_expand", expand_and_record)
    assert_equal(whole, TorchRasteriser().rasterise(*scene))
    assert 15 < max(sizes) <= 23
    assert torch.equal(colours, TorchRasteriser().interpolate(whole, scene[1], attributes))


def test_strided_and_float64_arguments_are_taken_as_they_are() -> None:
    vertices, faces, K, height, width = head_scene(64, num_rows=8)
    expected = NumbaRasteriser().rasterise(vertices, faces, K, height, width)
    strided = vertices.double().transpose(1, 2).contiguous().transpose(1, 2)
    columns = faces.long().T.contiguous().T
    for rasteriser in (NumbaRasteriser(), TorchRasteriser()):
        assert_equal(expected, rasteriser.rasterise(strided, columns, K.double(), height, width))


@pytest.mark.gpu
def test_a_gpu_gives_the_bits_of_a_cpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    for scene in (head_scene(256), soup(0), soup(1)):
        on_gpu = [part.cuda() if isinstance(part, Tensor) else part for part in scene]
        ours, theirs = NumbaRasteriser().rasterise(*scene), TorchRasteriser().rasterise(*on_gpu)
        assert theirs.z.is_cuda
        assert_equal(ours, theirs)
        attributes = torch.randn(scene[0].shape[1], 5)
        assert torch.equal(
            NumbaRasteriser().interpolate(ours, scene[1], attributes),
            TorchRasteriser().interpolate(theirs, on_gpu[1], attributes.cuda()).cpu(),
        )
