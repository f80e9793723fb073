"""What a generator promises: heads from parameters, pictures from heads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from synthforge.shards import GeneratorInfo
from workers.sampling import Rig
from workers.types import Described, FaceParams, PosedHeads, Topology, VolumeView


class FaceGenerator(Protocol):
    """Poses and draws faces, always `chunk_size` at a time: the last chunk of a shard is padded.

    A face's bytes depend on its own parameters alone, never on its neighbours in the chunk.
    """

    @property
    def chunk_size(self) -> int:
        """Faces in a chunk: a constant of the release."""
        ...

    @property
    def device(self) -> torch.device:
        """What `observe` and `render` compute on."""
        ...

    @property
    def topology(self) -> Topology:
        """The mesh that every face shares."""
        ...

    @property
    def rig(self) -> Rig:
        """What a draw needs to know of the head: look-at point, coefficients, presets."""
        ...

    def info(self) -> GeneratorInfo:
        """Tell versions, assets and licences."""
        ...

    def describe(self, face: FaceParams) -> Described:
        """Return what is known of a face beside its mesh: for `K.json`."""
        ...

    def pose(self, faces: Sequence[FaceParams]) -> PosedHeads:
        """Return the meshes of a chunk of `chunk_size` faces."""
        ...

    def observe(
        self, faces: Sequence[FaceParams], heads: PosedHeads
    ) -> Sequence[VolumeView | None]:
        """Look for the matter that pictures will show; None where the mesh is all there is.

        Args:
            faces: `chunk_size` of them, whose cameras look.
            heads: what `pose` made of them.
        """
        ...

    def render(self, faces: Sequence[FaceParams], heads: PosedHeads) -> Tensor:
        """Draw a chunk.

        Args:
            faces: `chunk_size` of them.
            heads: what `pose` made of them.

        Returns:
            (B, H, W, 3) uint8 sRGB pictures, seen by each face's camera.
        """
        ...
