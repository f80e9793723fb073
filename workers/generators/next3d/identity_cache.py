"""What an identity's pictures share is computed once: texture and static planes, and drawn planes.

Texture and static planes depend on latent, conditioning camera, truncation and noise; drawn planes
on these and the mesh. An identity of many expressions and cameras pays for each once. Everything is
computed in passes of one fixed number of rows (one on a CPU), so that nothing depends on who else
is in a chunk, and a forgotten entry comes back with the same bits.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import torch
from torch import Tensor

from workers.generators.next3d.layers import NoiseMode
from workers.generators.next3d.network import DrawnPlanes, Identity, Next3DNetwork
from workers.generators.next3d.recording import Recordings

T = TypeVar("T")


@dataclass(frozen=True)
class IdentityRequest:
    """All that texture and static planes depend on.

    Attributes:
        z: (z_dim,) float32, the latent.
        conditioning_camera: (25,) float32: one for all to share planes over cameras, or, as
            SynthForge does, the camera of the picture.
        truncation_psi: 1 is none.
        truncation_cutoff: rows truncated; None truncates all.
        noise_mode: whether stored noise is added.
    """

    z: Tensor
    conditioning_camera: Tensor
    truncation_psi: float = 0.7
    truncation_cutoff: int | None = 14
    noise_mode: NoiseMode = "const"

    @property
    def style(self) -> tuple[float, int | None, NoiseMode]:
        """What identities that are drawn in one pass have in common."""
        return self.truncation_psi, self.truncation_cutoff, self.noise_mode

    @property
    def key(self) -> str:
        """Equal for equal requests."""
        words = f"{self.truncation_psi!r} {self.truncation_cutoff!r} {self.noise_mode}"
        return _digest(words.encode(), self.z, self.conditioning_camera)


def _in_groups(items: Sequence[T], size: int) -> Iterator[tuple[list[T], int]]:
    """Cut into groups of `size`, the last item repeated to fill up; and how many are no repeats."""
    for start in range(0, len(items), size):
        group = list(items[start : start + size])
        yield group + group[-1:] * (size - len(group)), len(group)


def _digest(start: bytes, *tensors: Tensor) -> str:
    digest = hashlib.sha256(start)
    for tensor in tensors:
        digest.update(f" {tuple(tensor.shape)} {tensor.dtype} ".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


class _Recent(Generic[T]):
    """The values asked for last, at most so many."""

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"a cache's capacity is {capacity}; use 1 or more")
        self._capacity = capacity
        self._values: OrderedDict[str, T] = OrderedDict()

    def get(self, keys: Sequence[str], make: Callable[[list[int]], Iterable[T]]) -> list[T]:
        """Return the values of some keys; `make` is asked at once for the places of those missing.

        A key that stands twice is made once.
        """
        found = {key: self._values[key] for key in keys if key in self._values}
        missing = {key: place for place, key in enumerate(keys) if key not in found}
        found.update(zip(missing, make(list(missing.values())), strict=True))
        for key in dict.fromkeys(keys):
            self._values[key] = found[key]
            self._values.move_to_end(key)
        while len(self._values) > self._capacity:
            self._values.popitem(last=False)
        return [found[key] for key in keys]


class IdentityCache:
    """Draws identities and their meshes, each once while it is among the last asked for.

    At full size an identity holds 33 MB and a mesh's planes 25 MB in float32.

    Args:
        network: that draws.
        max_identities: that are kept.
        max_meshes: that are kept.
        rows: drawn in one pass, always so many: the last one is repeated where fewer are missing.
        recordings: of the network's device; None makes some.
    """

    def __init__(
        self,
        network: Next3DNetwork,
        *,
        max_identities: int = 4,
        max_meshes: int = 4,
        rows: int = 1,
        recordings: Recordings | None = None,
    ) -> None:
        self._network = network
        self._recordings = recordings or Recordings(network.device)
        self._rows = rows
        self._identities: _Recent[Identity] = _Recent(max_identities)
        self._planes: _Recent[DrawnPlanes] = _Recent(max_meshes)

    def planes(
        self, requests: Sequence[IdentityRequest], vertices: Sequence[Tensor]
    ) -> DrawnPlanes:
        """The planes of several pictures, in order, for one `render`.

        Args:
            requests: of the people.
            vertices: of each its mesh: (V + 68, 3) float32, vertices then landmarks, metres, head
                model's frame.
        """
        keys = [
            _digest(request.key.encode(), mesh)
            for request, mesh in zip(requests, vertices, strict=True)
        ]

        def dress(places: list[int]) -> Iterator[DrawnPlanes]:
            people = self._people([requests[place] for place in places])
            for group, count in _in_groups(list(zip(people, places, strict=True)), self._rows):
                meshes = torch.stack([vertices[place] for _, place in group])
                identity = Identity.joined([person for person, _ in group])
                drawn = self._dressed(identity, meshes.to(self._network.device))
                yield from drawn.rows()[:count]

        return DrawnPlanes.joined(self._planes.get(keys, dress))

    def _people(self, requests: Sequence[IdentityRequest]) -> list[Identity]:
        def draw(places: list[int]) -> Iterator[Identity]:
            for group, count in _in_groups([requests[place] for place in places], self._rows):
                yield from self._draw_identities(group).rows()[:count]

        return self._identities.get([request.key for request in requests], draw)

    def _draw_identities(self, requests: Sequence[IdentityRequest]) -> Identity:
        first, device = requests[0], self._network.device
        if len({request.style for request in requests}) > 1:
            raise ValueError("identities drawn in one pass differ in truncation or noise")

        def draw(z: Tensor, camera: Tensor) -> tuple[Tensor, ...]:
            psi, cutoff, noise_mode = first.style
            ws = self._network.mapping(z, camera, psi=psi, cutoff=cutoff)
            return self._network.identity(ws, noise_mode).tensors

        drawn = self._recordings(
            ("identity", first.style),
            draw,
            torch.stack([request.z for request in requests]).to(device),
            torch.stack([request.conditioning_camera for request in requests]).to(device),
        )
        ws, textures, static_planes = drawn
        return Identity(ws, textures, static_planes, first.noise_mode)

    def _dressed(self, identity: Identity, vertices: Tensor) -> DrawnPlanes:
        """`Next3DNetwork.dress`; rasterising asks the host, what follows does not."""
        heads, noise_mode = self._network.view_heads(vertices), identity.noise_mode

        def draw(
            ws: Tensor, textures: Tensor, static: Tensor, uv: Tensor, alpha: Tensor, points: Tensor
        ) -> tuple[Tensor, ...]:
            person = Identity(ws, textures, static, noise_mode)
            seen = replace(heads, uv=uv, alpha=alpha, landmarks=points)
            return (DrawnPlanes.of(person, self._network.draw_over(person, seen)).table,)

        (table,) = self._recordings(
            ("planes", noise_mode), draw, *identity.tensors, heads.uv, heads.alpha, heads.landmarks
        )
        return DrawnPlanes(table, identity.plane_ws[:, -1])
