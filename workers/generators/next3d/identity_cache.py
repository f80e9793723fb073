"""What an identity's pictures share is computed once: texture and static planes, and drawn planes.

Texture and static planes depend on latent, conditioning camera, truncation and noise; drawn planes
on these and the mesh. An identity of many expressions and cameras pays for each once. Everything is
computed one row at a time, so that nothing depends on who else is in a chunk, and a forgotten entry
comes back with the same bits.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

from workers.generators.next3d.layers import NoiseMode
from workers.generators.next3d.network import DrawnPlanes, Identity, Next3DNetwork

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
    def key(self) -> str:
        """Equal for equal requests."""
        words = f"{self.truncation_psi!r} {self.truncation_cutoff!r} {self.noise_mode}"
        return _digest(words.encode(), self.z, self.conditioning_camera)


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

    def get(self, key: str, make: Callable[[], T]) -> T:
        if key in self._values:
            self._values.move_to_end(key)
            return self._values[key]
        while len(self._values) >= self._capacity:
            self._values.popitem(last=False)
        value = self._values[key] = make()
        return value


class IdentityCache:
    """Draws identities and their meshes, each once while it is among the last asked for.

    At full size an identity holds 33 MB and a mesh's planes 25 MB in float32.
    """

    def __init__(
        self, network: Next3DNetwork, *, max_identities: int = 4, max_meshes: int = 4
    ) -> None:
        self._network = network
        self._identities: _Recent[Identity] = _Recent(max_identities)
        self._planes: _Recent[DrawnPlanes] = _Recent(max_meshes)

    def identity(self, request: IdentityRequest) -> Identity:
        """One person's styles, texture and static planes."""
        return self._identities.get(request.key, lambda: self._draw_identity(request))

    def planes(self, request: IdentityRequest, vertices: Tensor) -> DrawnPlanes:
        """One person's planes with one mesh drawn over them.

        Args:
            request: of the person.
            vertices: (V + 68, 3) float32, vertices then landmarks, metres, head model's frame.
        """
        key = _digest(request.key.encode(), vertices)
        return self._planes.get(
            key,
            lambda: self._network.dress(
                self.identity(request), vertices[None].to(self._network.device)
            ),
        )

    def batch(self, requests: Sequence[IdentityRequest], vertices: Sequence[Tensor]) -> DrawnPlanes:
        """The planes of several pictures, in order, for one `render`."""
        rows = [
            self.planes(request, mesh) for request, mesh in zip(requests, vertices, strict=True)
        ]
        return DrawnPlanes(
            table=torch.cat([row.table for row in rows]),
            last_w=torch.cat([row.last_w for row in rows]),
        )

    def _draw_identity(self, request: IdentityRequest) -> Identity:
        ws = self._network.mapping(
            request.z[None].to(self._network.device),
            request.conditioning_camera[None].to(self._network.device),
            psi=request.truncation_psi,
            cutoff=request.truncation_cutoff,
        )
        return self._network.identity(ws, request.noise_mode)
