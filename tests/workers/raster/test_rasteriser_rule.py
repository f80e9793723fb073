"""The rule of workers/raster/rule.py, of both backends that follow it to the bit."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.workers.raster.naive import cover, rasterise_naive
from workers.raster.protocol import NEAR_M, Fragments, Rasteriser
from workers.raster.rule import GUARD_PX
from workers.raster.select import Backend, make_rasteriser

UNIT = torch.eye(3, dtype=torch.float64)[None]  # u = x / z, v = y / z: coordinates are pixels
EXACT = [name for name in get_args(Backend) if name != "pytorch3d"]


@pytest.fixture(params=EXACT, scope="module")
def rasteriser(request: pytest.FixtureRequest) -> Rasteriser:
    return make_rasteriser(request.param)


def flat(points: list[tuple[float, float]], z: float = 1.0) -> Tensor:
    """(1, V, 3) corners that project to the given pixels."""
    return torch.tensor([[(x * z, y * z, z) for x, y in points]], dtype=torch.float64)


def covered(rasteriser: Rasteriser, points: list[tuple[float, float]], size: int = 8) -> np.ndarray:
    fragments = rasteriser.rasterise(flat(points), torch.tensor([[0, 1, 2]]), UNIT, size, size)
    return (fragments.face_id[0] >= 0).numpy()


def equal(one: Fragments, other: Fragments) -> bool:
    pairs = ((one.face_id, other.face_id), (one.bary, other.bary), (one.z, other.z))
    return all(torch.equal(a, b) for a, b in pairs)


@st.composite
def meshes(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """A few triangles in and around an image of 12 px; corners often on pixel centres and edges."""
    num_vertices = draw(st.integers(3, 9))
    quarter = st.integers(-16, 64).map(lambda n: n / 4)
    anywhere = st.floats(-4, 16, allow_nan=False, width=32)
    position = st.one_of(quarter, anywhere)
    depth = st.floats(0.5, 2, width=32)
    corners = [(draw(position), draw(position), draw(depth)) for _ in range(num_vertices)]
    index = st.integers(0, num_vertices - 1)
    faces = draw(st.lists(st.tuples(index, index, index), min_size=1, max_size=8))
    vertices = np.array([(x * z, y * z, z) for x, y, z in corners])
    return vertices, np.array(faces, np.int64)


@settings(max_examples=60)
@given(mesh=meshes())
@pytest.mark.parametrize("backend", EXACT)
def test_the_winner_of_every_pixel_is_the_naive_twins(
    backend: Backend, mesh: tuple[np.ndarray, np.ndarray]
) -> None:
    vertices, faces = mesh
    fragments = make_rasteriser(backend).rasterise(
        torch.tensor(vertices)[None], torch.tensor(faces), UNIT, 12, 12
    )
    q = 1 / vertices[faces, 2]
    slack = 1e-6 + (q.max(1) - q.min(1)) * 1e-4  # float32 steps across a sliver
    for row, line in enumerate(rasterise_naive(vertices, faces, np.eye(3), 12, 12)):
        for column, hits in enumerate(line):
            winner = int(fragments.face_id[0, row, column])
            if not hits:
                assert winner == -1
                continue
            assert hits[winner] >= max(nearness - slack[f] for f, nearness in hits.items())
            assert fragments.z[0, row, column] == pytest.approx(1 / hits[winner], rel=1e-6)


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), steps=st.sampled_from([1, 2, 4, 2**16]))
@pytest.mark.parametrize("backend", EXACT)
def test_triangles_with_common_edges_tile_the_plane(
    backend: Backend, seed: int, steps: int
) -> None:
    """Every pixel belongs to one triangle of a crooked net: no gap, no double, in any order."""
    random = np.random.default_rng(seed)
    num_cells, cell_px, margin = 4, 6, 2
    lattice = np.stack(np.meshgrid(*[np.arange(num_cells + 1.0)] * 2), -1) * cell_px - margin
    lattice += random.uniform(-0.2, 0.2, lattice.shape) * cell_px
    points = (np.round(lattice * steps) / steps).reshape(-1, 2)
    faces = []
    for i in range(num_cells):
        for j in range(num_cells):
            a = i * (num_cells + 1) + j
            quad = [a, a + 1, a + num_cells + 2, a + num_cells + 1]
            halves = ([0, 1, 2], [0, 2, 3]) if random.random() < 0.5 else ([0, 1, 3], [1, 2, 3])
            faces += [[quad[k] for k in random.permutation(half)] for half in halves]
    z = random.uniform(0.5, 2, len(points))[:, None]
    vertices = torch.tensor(np.concatenate([points * z, z], 1))[None]
    rasteriser, count = make_rasteriser(backend), 0
    for face in faces:
        alone = rasteriser.rasterise(vertices, torch.tensor([face]), UNIT, 16, 16)
        count = count + (alone.face_id[0] >= 0).int()
    assert torch.equal(count, torch.ones(16, 16, dtype=torch.int32))


def test_pixel_centres_on_edges_go_to_the_lower_right_triangle(rasteriser: Rasteriser) -> None:
    """Corners on pixel centres: the top and left edges' pixels are in, the others' are out."""
    upper_left = covered(rasteriser, [(1.5, 1.5), (4.5, 1.5), (1.5, 4.5)])
    lower_right = covered(rasteriser, [(4.5, 1.5), (4.5, 4.5), (1.5, 4.5)])
    expected = np.zeros((8, 8), bool)
    expected[1:4, 1:4] = True
    assert np.array_equal(upper_left | lower_right, expected)
    assert not (upper_left & lower_right).any()
    on_diagonal = (np.array([2, 3]), np.array([3, 2]))
    assert lower_right[on_diagonal].all()


def test_a_triangle_is_seen_from_both_sides(rasteriser: Rasteriser) -> None:
    vertices = flat([(0.2, 0.3), (7.1, 1.9), (2.2, 7.4)])
    one = rasteriser.rasterise(vertices, torch.tensor([[0, 1, 2]]), UNIT, 8, 8)
    other = rasteriser.rasterise(vertices, torch.tensor([[0, 2, 1]]), UNIT, 8, 8)
    assert torch.equal(one.face_id, other.face_id)
    assert torch.equal(one.bary, other.bary[..., [0, 2, 1]])


def test_the_nearest_wins_and_of_equals_the_lower_face(rasteriser: Rasteriser) -> None:
    square = [(0.0, 0.0), (8.0, 0.0), (0.0, 8.0), (8.0, 8.0)]
    vertices = torch.cat([flat(square, 2.0), flat(square, 1.0), flat(square, 1.0)], 1)
    faces = torch.tensor(
        [[c + k for c in half] for k in (0, 4, 8) for half in ((0, 1, 2), (1, 3, 2))]
    )
    fragments = rasteriser.rasterise(vertices, faces, UNIT, 8, 8)
    assert set(fragments.face_id.unique().tolist()) == {2, 3}
    assert torch.equal(fragments.z, torch.ones(1, 8, 8))


def test_a_hit_point_lies_on_the_ray_through_the_pixels_centre(rasteriser: Rasteriser) -> None:
    torch.manual_seed(0)
    vertices = torch.rand(3, 30, 3, dtype=torch.float64) * 2 - 1
    vertices[..., 2] += 1.6
    faces = torch.randint(0, 30, (40, 3))
    K = torch.tensor([[40.0, 3, 17], [0, 50, 13], [0, 0, 1]], dtype=torch.float64)
    fragments = rasteriser.rasterise(vertices, faces, K.repeat(3, 1, 1), 26, 34)
    mesh, row, column = (fragments.face_id >= 0).nonzero().T
    corners = vertices[mesh[:, None], faces[fragments.face_id[mesh, row, column].long()]]
    bary = fragments.bary[mesh, row, column].double()
    point = (bary[..., None] * corners).sum(1)
    pixel = point @ K.T / point[:, 2:]
    centre = torch.stack([column + 0.5, row + 0.5], 1)
    wide = corners[..., 2].amin(1) > 0.2
    assert wide.sum() > 500
    assert (pixel[:, :2] - centre)[wide].abs().max() < 1e-3
    assert (fragments.z[mesh, row, column] / point[:, 2] - 1).abs().max() < 1e-6
    assert bary.min() >= 0
    assert (bary.sum(1) - 1).abs().max() < 2e-7


def test_a_mesh_does_not_depend_on_its_batch(rasteriser: Rasteriser) -> None:
    torch.manual_seed(1)
    vertices = torch.randn(4, 40, 3)
    vertices[..., 2] = vertices[..., 2].abs() + 0.2
    faces = torch.randint(0, 40, (60, 3), dtype=torch.int32)
    K = torch.tensor([[9.0, 0, 8], [0, 9, 8], [0, 0, 1]]) + torch.rand(4, 1, 1)
    together = rasteriser.rasterise(vertices, faces, K, 16, 20)
    for b in range(4):
        alone = rasteriser.rasterise(vertices[b : b + 1], faces, K[b : b + 1], 16, 20)
        part = slice(b, b + 1)
        assert equal(
            alone, Fragments(together.face_id[part], together.bary[part], together.z[part])
        )


@settings(max_examples=25)
@given(right=st.integers(-9, 9), down=st.integers(-9, 9), seed=st.integers(0, 999))
@pytest.mark.parametrize("backend", EXACT)
def test_an_image_is_a_window_of_a_larger_one(
    backend: Backend, right: int, down: int, seed: int
) -> None:
    """Moving the mesh by whole pixels moves the image, also where triangles leave it."""
    random = np.random.default_rng(seed)
    points = np.round(random.uniform(-6, 22, (12, 2)) * 8) / 8
    z = 2.0 ** random.integers(-1, 3, (12, 1))
    vertices = torch.tensor(np.concatenate([points * z, z], 1))[None]
    z_of_layers = np.repeat(z[:4], 3, 0)  # parallel triangles: no ties that rounding decides
    layers = torch.tensor(np.concatenate([points * z_of_layers, z_of_layers], 1))[None]
    rasteriser, faces = make_rasteriser(backend), torch.arange(12).reshape(4, 3)
    shifted = UNIT.clone()
    shifted[0, :2, 2] = torch.tensor([right + 10.0, down + 10.0])
    for mesh in (vertices[:, :3], layers):
        faces_of_mesh = faces[: mesh.shape[1] // 3]
        small = rasteriser.rasterise(mesh, faces_of_mesh, UNIT, 16, 18)
        large = rasteriser.rasterise(mesh, faces_of_mesh, shifted, 40, 42)
        rows, columns = slice(down + 10, down + 26), slice(right + 10, right + 28)
        window = Fragments(
            large.face_id[:, rows, columns], large.bary[:, rows, columns], large.z[:, rows, columns]
        )
        assert equal(small, window)


@pytest.mark.parametrize(
    "points",
    [
        [(1.0, 1.0), (1.0, 1.0), (1.0, 1.0)],
        [(0.5, 0.5), (3.5, 3.5), (6.5, 6.5)],
        [(0.0, 2.5), (8.0, 2.5), (4.0, 2.5)],
    ],
)
def test_a_triangle_without_area_covers_nothing(
    rasteriser: Rasteriser, points: list[tuple[float, float]]
) -> None:
    assert not covered(rasteriser, points).any()


@pytest.mark.parametrize(
    ("corner", "others"),
    [
        ((0.0, 0.0, NEAR_M), [(9.0, 0.0), (0.0, 9.0)]),
        ((0.0, 0.0, 0.0), [(9.0, 0.0), (0.0, 9.0)]),
        ((0.0, 0.0, -1.0), [(9.0, 0.0), (0.0, 9.0)]),
        ((float("nan"), 0.0, 1.0), [(9.0, 0.0), (0.0, 9.0)]),
        ((0.0, 0.0, float("nan")), [(9.0, 0.0), (0.0, 9.0)]),
        ((0.0, 0.0, float("inf")), [(9.0, 0.0), (0.0, 9.0)]),
        ((GUARD_PX, 0.0, 1.0), [(-9.0, -9.0), (-9.0, 60.0)]),
        ((0.0, -GUARD_PX, 1.0), [(-9.0, 40.0), (60.0, 40.0)]),
    ],
)
def test_a_triangle_with_an_unusable_corner_is_left_out_whole(
    rasteriser: Rasteriser,
    corner: tuple[float, float, float],
    others: list[tuple[float, float]],
) -> None:
    """It would cover the image, as its neighbour does whose corner lies a little inside."""
    wall = flat([(-9.0, -9.0), (30.0, -9.0), (-9.0, 30.0)], 4.0)
    bad = torch.tensor([[corner]], dtype=torch.float64)
    faces = torch.tensor([[0, 1, 2], [3, 4, 5]])
    fragments = rasteriser.rasterise(torch.cat([bad, flat(others), wall], 1), faces, UNIT, 4, 4)
    assert (fragments.face_id == 1).all()
    if abs(corner[0]) + abs(corner[1]) >= GUARD_PX or corner[2] == NEAR_M:
        good = bad * torch.tensor([0.9999, 0.9999, 1.0]) + torch.tensor([0.0, 0.0, 1e-9])
        mesh = torch.cat([good, flat(others), wall], 1)
        assert (rasteriser.rasterise(mesh, faces, UNIT, 4, 4).face_id == 0).all()


def test_a_slivers_depth_stays_between_its_corners(rasteriser: Rasteriser) -> None:
    """Slivers a few 2^-16 px wide, through a pixel's centre: there a plane's steps are rounding.

    A wall before the nearest corner hides them, one behind the farthest corner does not.
    """
    random = np.random.default_rng(0)
    step = random.integers(1, 1000, (400, 2)) * random.choice([-1, 1], (400, 2))
    centre = np.array([7.5, 7.5])
    start = centre - step * random.integers(200, 400, (400, 1)) / 2**16
    end = centre + step * random.integers(10_000, 60_000, (400, 1)) / 2**16
    aside = end + random.integers(-3, 4, (400, 2)) / 2**16
    points = np.stack([start, end, aside], 1)
    z = random.uniform(1, 2, (400, 3, 1))
    slivers = torch.from_numpy(np.concatenate([points * z, z], 2))
    faces, K = torch.tensor([[0, 1, 2], [3, 4, 5]]), UNIT.expand(400, 3, 3)
    alone = rasteriser.rasterise(slivers, faces[:1], K, 16, 16).face_id
    assert (alone[:, 7, 7] == 0).sum() > 100
    wall = flat([(-99.0, -99.0), (200.0, -99.0), (-99.0, 200.0)])
    before, behind = torch.from_numpy(z.min(1) * 0.9999), torch.from_numpy(z.max(1) * 1.0001)
    for depth, expected in ((before, torch.ones_like(alone)), (behind, (alone != 0).int())):
        meshes = torch.cat([slivers, wall * depth[..., None]], 1)
        assert torch.equal(rasteriser.rasterise(meshes, faces, K, 16, 16).face_id, expected)


def test_the_longest_edges_that_are_allowed_do_not_overflow(rasteriser: Rasteriser) -> None:
    far = GUARD_PX - 1
    points = [(-far, -far), (far, -far + 40), (-far + 30, far)]
    image = covered(rasteriser, points, 64)
    corners = [(round(x * 2**16), round(y * 2**16)) for x, y in points]
    expected = [[cover(corners, i, j) is not None for j in range(64)] for i in range(64)]
    assert np.array_equal(image, np.array(expected))
    assert not image.all()
    assert image.any()


def test_an_empty_batch_or_mesh_gives_an_empty_image(rasteriser: Rasteriser) -> None:
    no_faces = rasteriser.rasterise(
        flat([(0.0, 0.0)]), torch.zeros(0, 3, dtype=torch.long), UNIT, 4, 5
    )
    assert (no_faces.face_id == -1).all()
    assert not no_faces.z.any()
    no_mesh = rasteriser.rasterise(
        torch.zeros(0, 3, 3), torch.tensor([[0, 1, 2]]), torch.zeros(0, 3, 3), 4, 5
    )
    assert no_mesh.bary.shape == (0, 4, 5, 3)


@pytest.mark.parametrize("num_channels", [0, 1, 2, 3, 4, 5, 7])
def test_attributes_are_weighted_by_barycentrics(rasteriser: Rasteriser, num_channels: int) -> None:
    torch.manual_seed(2)
    vertices = torch.randn(2, 20, 3)
    vertices[..., 2] = vertices[..., 2].abs() + 0.3
    faces = torch.randint(0, 20, (9, 3))
    uv_faces = torch.randint(0, 33, (9, 3), dtype=torch.int32)
    K = torch.tensor([[6.0, 0, 6], [0, 6, 5], [0, 0, 1]]).repeat(2, 1, 1)
    fragments = rasteriser.rasterise(vertices, faces, K, 10, 12)
    for attributes in (torch.randn(33, num_channels), torch.randn(2, 33, num_channels)):
        ours = rasteriser.interpolate(fragments, uv_faces, attributes)
        for b, row, column in np.ndindex(2, 10, 12):
            face = int(fragments.face_id[b, row, column])
            expected = torch.zeros(num_channels)
            if face >= 0:
                values = (attributes if attributes.ndim == 2 else attributes[b])[uv_faces[face]]
                expected = fragments.bary[b, row, column] @ values
            assert torch.allclose(ours[b, row, column], expected, atol=1e-6)
    assert (fragments.face_id == -1).any()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"vertices_cam": torch.zeros(3, 3)}, r"vertices_cam has shape \(3, 3\); it must be"),
        (
            {"vertices_cam": torch.zeros(1, 3, 3, dtype=torch.float16)},
            "vertices_cam is torch.float16",
        ),
        ({"faces": torch.tensor([[0, 1, 3]])}, "faces holds indices 0 to 3; there are 3 corners"),
        ({"faces": torch.tensor([[-1, 1, 2]])}, "faces holds indices -1 to 2"),
        ({"faces": torch.zeros(1, 3)}, "faces is torch.float32"),
        ({"intrinsics_px": torch.zeros(2, 3, 3)}, r"it must be \(1, 3, 3\)"),
        ({"height_px": 0}, "height_px is 0"),
        ({"width_px": 20000}, "width_px is 20000; the rasteriser takes 1 to 16384"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_by_name(
    rasteriser: Rasteriser, changed: dict[str, object], message: str
) -> None:
    arguments = {
        "vertices_cam": torch.zeros(1, 3, 3),
        "faces": torch.tensor([[0, 1, 2]]),
        "intrinsics_px": UNIT,
        "height_px": 4,
        "width_px": 4,
    } | changed
    with pytest.raises(ValueError, match=message):
        rasteriser.rasterise(**arguments)


def test_attributes_of_another_mesh_are_refused(rasteriser: Rasteriser) -> None:
    vertices = flat([(0.0, 0.0), (8.0, 0.0), (0.0, 8.0)])
    fragments = rasteriser.rasterise(vertices, torch.tensor([[0, 0, 0], [0, 1, 2]]), UNIT, 4, 4)
    with pytest.raises(ValueError, match="face_id reaches 1, but faces has 1 rows"):
        rasteriser.interpolate(fragments, torch.tensor([[0, 1, 2]]), torch.zeros(3, 2))
    with pytest.raises(ValueError, match="there are 2 corners"):
        rasteriser.interpolate(fragments, torch.tensor([[0, 1, 2]] * 2), torch.zeros(2, 2))
    with pytest.raises(ValueError, match="attributes has shape"):
        rasteriser.interpolate(fragments, torch.tensor([[0, 1, 2]] * 2), torch.zeros(2, 3, 2))
