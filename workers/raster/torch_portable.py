"""The portable rasteriser: `rule.py` in torch operations, on any device, bit for bit as numba's.

Faces become rows of pixels, rows become pixels, each step in tiles of bounded size. A pixel's
winner is the largest of 64-bit keys that hold the bits of q = 1/z above the inverted face index:
a maximum does not depend on the order in which a GPU's threads arrive at it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Tensor

from workers.raster.checks import check_attributes, check_meshes
from workers.raster.protocol import Fragments
from workers.raster.rule import GUARD_PX, NEAR_M, SUBPIXEL_BITS

FACES_PER_TILE = 2**16
ROWS_PER_TILE = 2**19
PIXELS_PER_TILE = 2**21
FACE_MASK = 0x7FFFFFFF  # low half of a key: FACE_MASK - face; high half: the bits of q as float32
HALF = 1 << (SUBPIXEL_BITS - 1)


class TorchRasteriser:
    """`Rasteriser` on any torch device; see the protocol for shapes and frames."""

    def rasterise(
        self,
        vertices_cam: Tensor,
        faces: Tensor,
        intrinsics_px: Tensor,
        height_px: int,
        width_px: int,
    ) -> Fragments:
        """See `Rasteriser.rasterise`."""
        check_meshes(vertices_cam, faces, intrinsics_px, height_px, width_px)
        meshes = _project(vertices_cam.double(), intrinsics_px.double(), faces.long())
        image = _Image(len(vertices_cam), height_px, width_px)
        return _resolve(meshes, image, _find_keys(meshes, image))

    def first_faces(
        self,
        vertices_cam: Tensor,
        faces: Tensor,
        intrinsics_px: Tensor,
        height_px: int,
        width_px: int,
    ) -> Tensor:
        """See `Rasteriser.first_faces`."""
        check_meshes(vertices_cam, faces, intrinsics_px, height_px, width_px)
        meshes = _project(vertices_cam.double(), intrinsics_px.double(), faces.long())
        image = _Image(len(vertices_cam), height_px, width_px)
        return _face_of(_find_keys(meshes, image)).view(image.batch, height_px, width_px)

    def interpolate(self, fragments: Fragments, faces: Tensor, attributes: Tensor) -> Tensor:
        """See `Rasteriser.interpolate`."""
        check_attributes(fragments, faces, attributes)
        batch, height, width = fragments.face_id.shape
        num_channels = attributes.shape[-1]
        values = attributes.flatten(0, -2)
        mesh_stride = attributes.shape[1] if attributes.ndim == 3 else 0
        face_id = fragments.face_id.reshape(-1)
        bary = fragments.bary.reshape(-1, 3)
        out = torch.zeros((len(face_id), num_channels), device=attributes.device)
        for hit in _hits(face_id >= 0):
            mesh = hit // (height * width)
            corners = faces[face_id[hit].long()].long() + (mesh * mesh_stride)[:, None]  # (P, 3)
            weight = bary[hit]
            out[hit] = (
                weight[:, 0:1] * values[corners[:, 0]] + weight[:, 1:2] * values[corners[:, 1]]
            ) + weight[:, 2:3] * values[corners[:, 2]]
        return out.view(batch, height, width, num_channels)


@dataclass(frozen=True)
class _Image:
    batch: int
    height: int
    width: int

    @property
    def num_pixels(self) -> int:
        return self.batch * self.height * self.width


@dataclass(frozen=True)
class _Meshes:
    """Projected meshes of one topology: `x`, `y` (B*V,) on the grid, `q` (B*V,) = 1/z or 0."""

    x: Tensor
    y: Tensor
    q: Tensor
    faces: Tensor
    num_vertices: int

    def corners(self, pairs: Tensor) -> Tensor:
        """Rows (P, 3) of x, y and q for pairs mesh * num_faces + face."""
        mesh = pairs // len(self.faces)
        return self.faces[pairs % len(self.faces)] + (mesh * self.num_vertices)[:, None]


@dataclass(frozen=True)
class _Setup:
    """Faces that may cover a pixel, every field (P,): bounding box, edge functions, plane of q.

    An edge function is given at the first pixel of the box, less one where the edge's own points
    are not the face's; `kI` and `rI` are its steps a column and a row.
    """

    pair: Tensor
    first_column: Tensor
    last_column: Tensor
    first_row: Tensor
    last_row: Tensor
    e0: Tensor
    e1: Tensor
    e2: Tensor
    k0: Tensor
    k1: Tensor
    k2: Tensor
    r0: Tensor
    r1: Tensor
    r2: Tensor
    origin: Tensor
    gx: Tensor
    gy: Tensor
    q_low: Tensor
    q_high: Tensor

    def pick(self, index: Tensor) -> Self:
        return type(self)(
            **{field.name: getattr(self, field.name)[index] for field in fields(self)}
        )


def _project(vertices: Tensor, K: Tensor, faces: Tensor) -> _Meshes:
    x, y, z = vertices.unbind(-1)  # (B, V)
    fx, skew, cx = (K[:, 0, column, None] for column in range(3))
    fy, cy = K[:, 1, 1, None], K[:, 1, 2, None]
    px = (fx * x + skew * y) / z + cx
    py = (fy * y) / z + cy
    fits = (z > NEAR_M) & (z < torch.inf) & (px.abs() < GUARD_PX) & (py.abs() < GUARD_PX)
    scale = float(1 << SUBPIXEL_BITS)
    zero = torch.zeros_like(z)
    return _Meshes(
        x=torch.where(fits, px * scale, zero).round().long().reshape(-1),
        y=torch.where(fits, py * scale, zero).round().long().reshape(-1),
        q=torch.where(fits, z.reciprocal(), zero).reshape(-1),
        faces=faces,
        num_vertices=vertices.shape[1],
    )


def _find_keys(meshes: _Meshes, image: _Image) -> Tensor:
    """(B*H*W,) key of the winning face at every pixel, 0 where there is none."""
    keys = torch.zeros(image.num_pixels, dtype=torch.int64, device=meshes.q.device)
    num_pairs = image.batch * len(meshes.faces)
    for start in range(0, num_pairs, FACES_PER_TILE):
        pairs = torch.arange(start, min(start + FACES_PER_TILE, num_pairs), device=keys.device)
        _enter(meshes, pairs, image, keys)
    return keys


def _face_of(keys: Tensor) -> Tensor:
    return torch.where(keys == 0, -1, FACE_MASK - (keys & FACE_MASK)).int()


def _enter(meshes: _Meshes, pairs: Tensor, image: _Image, keys: Tensor) -> None:
    """Enter faces into `keys` wherever they are nearer than what stands there."""
    setup = _set_up(meshes, pairs, image)
    for tile in _tiles(setup.last_row - setup.first_row + 1, ROWS_PER_TILE):
        face, row = _expand(setup.last_row[tile] - setup.first_row[tile] + 1)
        rows = setup.pick(face + tile.start)
        first, last = _cut_rows(rows, row)
        count = (last - first + 1).clamp(min=0)
        for part in _tiles(count, PIXELS_PER_TILE):
            owner, offset = _expand(count[part])
            owner = owner + part.start
            column = first[owner] + offset
            _enter_pixels(rows, row, owner, column, meshes, image, keys)


def _set_up(meshes: _Meshes, pairs: Tensor, image: _Image) -> _Setup:
    corners = meshes.corners(pairs)
    q = meshes.q[corners]
    x, y = meshes.x[corners], meshes.y[corners]  # (P, 3)
    area = (x[:, 1] - x[:, 0]) * (y[:, 2] - y[:, 0]) - (y[:, 1] - y[:, 0]) * (x[:, 2] - x[:, 0])
    first_column, last_column = _bounds(x, image.width)
    first_row, last_row = _bounds(y, image.height)
    may_cover = (q > 0).all(1) & (area != 0)
    may_cover &= (first_column <= last_column) & (first_row <= last_row)
    px = (first_column << SUBPIXEL_BITS) + HALF
    py = (first_row << SUBPIXEL_BITS) + HALF
    e0, k0, r0 = _edge(x, y, 1, 2, area, px, py)
    e1, k1, r1 = _edge(x, y, 2, 0, area, px, py)
    e2, k2, r2 = _edge(x, y, 0, 1, area, px, py)
    origin, gx, gy = _plane(x, y, q, area, px, py)
    setup = _Setup(
        pairs, first_column, last_column, first_row, last_row,
        e0, e1, e2, k0, k1, k2, r0, r1, r2,
        origin, gx.float(), gy, q.amin(1).float(), q.amax(1).float(),
    )  # fmt: skip
    return setup.pick(may_cover.nonzero()[:, 0])


def _bounds(position: Tensor, size: int) -> tuple[Tensor, Tensor]:
    first = (position.amin(1) + (HALF - 1)) >> SUBPIXEL_BITS
    last = (position.amax(1) - HALF) >> SUBPIXEL_BITS
    return first.clamp(min=0), last.clamp(max=size - 1)


def _edge(
    x: Tensor, y: Tensor, s: int, t: int, area: Tensor, px: Tensor, py: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Edge function from corner s to t at (px, py), biased, and its steps a column and a row."""
    sign = area.sign()
    ex, ey = sign * (x[:, t] - x[:, s]), sign * (y[:, t] - y[:, s])
    is_top_left = (ey < 0) | ((ey == 0) & (ex > 0))
    value = ex * (py - y[:, s]) - ey * (px - x[:, s])
    return value - (~is_top_left).long(), -(ey << SUBPIXEL_BITS), ex << SUBPIXEL_BITS


def _plane(
    x: Tensor, y: Tensor, q: Tensor, area: Tensor, px: Tensor, py: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """q at (px, py) and its steps a column and a row; float operations in the order of numba's."""
    per_area = area.double().reciprocal()
    db, dc = q[:, 1] - q[:, 0], q[:, 2] - q[:, 0]
    bx, by = (x[:, 1] - x[:, 0]).double(), (y[:, 1] - y[:, 0]).double()
    cx, cy = (x[:, 2] - x[:, 0]).double(), (y[:, 2] - y[:, 0]).double()
    gx = (db * cy - dc * by) * per_area
    gy = (dc * bx - db * cx) * per_area
    origin = (q[:, 0] + gx * (px - x[:, 0]).double()) + gy * (py - y[:, 0]).double()
    scale = float(1 << SUBPIXEL_BITS)
    return origin, gx * scale, gy * scale


def _cut_rows(rows: _Setup, row: Tensor) -> tuple[Tensor, Tensor]:
    """First and last column of every row, from the bounding box's first, that the face covers."""
    first = torch.zeros_like(row)
    last = rows.last_column - rows.first_column
    edges = ((rows.e0, rows.k0, rows.r0), (rows.e1, rows.k1, rows.r1), (rows.e2, rows.k2, rows.r2))
    for start, k, r in edges:
        e = start + row * r
        quotient = torch.div(e, torch.where(k == 0, 1, k.abs()), rounding_mode="floor")
        first = torch.where(k > 0, torch.maximum(first, -quotient), first)
        last = torch.where(k < 0, torch.minimum(last, quotient), last)
        last = torch.where((k == 0) & (e < 0), -1, last)
    return first, last


def _enter_pixels(
    rows: _Setup,
    row: Tensor,
    owner: Tensor,
    column: Tensor,
    meshes: _Meshes,
    image: _Image,
    keys: Tensor,
) -> None:
    at_row = (rows.origin + rows.gy * row.double()).float()
    q = at_row[owner] + rows.gx[owner] * column.float()
    q = torch.minimum(torch.maximum(q, rows.q_low[owner]), rows.q_high[owner])
    pair = rows.pair[owner]
    num_faces = len(meshes.faces)
    key = (q.view(torch.int32).long() << 32) | (FACE_MASK - pair % num_faces)
    line = (pair // num_faces) * image.height + (rows.first_row + row)[owner]
    pixel = line * image.width + rows.first_column[owner] + column
    keys.scatter_reduce_(0, pixel, key, "amax")


def _resolve(meshes: _Meshes, image: _Image, keys: Tensor) -> Fragments:
    """Face id, barycentrics and z of the winning faces."""
    face_id = _face_of(keys)
    bary = torch.zeros((image.num_pixels, 3), device=keys.device)
    z = torch.zeros(image.num_pixels, device=keys.device)
    for hit in _hits(keys != 0):
        mesh = hit // (image.height * image.width)
        corners = meshes.corners(mesh * len(meshes.faces) + face_id[hit].long())
        x, y, q = meshes.x[corners], meshes.y[corners], meshes.q[corners]  # (P, 3)
        px = (hit % image.width << SUBPIXEL_BITS) + HALF
        py = (hit // image.width % image.height << SUBPIXEL_BITS) + HALF
        s, t = [1, 2, 0], [2, 0, 1]
        edges = (x[:, t] - x[:, s]) * (py[:, None] - y[:, s]) - (y[:, t] - y[:, s]) * (
            px[:, None] - x[:, s]
        )
        weights = edges.double() * q
        per_total = ((weights[:, 0] + weights[:, 1]) + weights[:, 2]).reciprocal()
        bary[hit] = (weights * per_total[:, None]).float()
        z[hit] = (edges.sum(1).double() * per_total).float()
    shape = (image.batch, image.height, image.width)
    return Fragments(face_id=face_id.view(shape), bary=bary.view(*shape, 3), z=z.view(shape))


def _hits(mask: Tensor) -> Iterator[Tensor]:
    """Indices of the set elements, a bounded number at a time."""
    for start in range(0, len(mask), PIXELS_PER_TILE):
        yield mask[start : start + PIXELS_PER_TILE].nonzero()[:, 0] + start


def _tiles(counts: Tensor, limit: int) -> Iterator[slice]:
    """Runs of elements whose counts sum to at most `limit`, or of one element alone."""
    ends = counts.cumsum(0).cpu()
    start, done = 0, 0
    while start < len(ends):
        stop = int(torch.searchsorted(ends, done + limit, right=True))
        stop = max(stop, start + 1)
        yield slice(start, stop)
        start, done = stop, int(ends[stop - 1])


def _expand(counts: Tensor) -> tuple[Tensor, Tensor]:
    """Element i repeated counts[i] times: the elements' indices, and 0, 1, ... within each."""
    owner = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)
    starts = counts.cumsum(0) - counts
    return owner, torch.arange(len(owner), device=counts.device) - starts[owner]
