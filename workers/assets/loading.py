"""Opens the converted files of a registry, each fetched into a cache and checked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from synthforge.assets import AssetEntry, AssetError, AssetKind
from synthforge.caches import default_cache_folder
from workers.assets.layouts import read_semantic_map
from workers.flame.arrays_file import Array, read_all_arrays, read_arrays
from workers.flame.assets import FlameAssets, load_npz
from workers.flame.embedding import LandmarkEmbedding
from workers.flame.official import OfficialEmbedding, to_view_grid
from workers.generators.builtin.head import BuiltinHead, load_head
from workers.generators.next3d.checkpoint import TOPOLOGY_TENSORS, Next3DWeights
from workers.types import UInt8Array

EMBEDDING_ARRAYS = ("lmk_face_idx", "lmk_b_coords")
_CACHE_FOLDER: Final = "assets"


class AssetSource(Protocol):
    """A registry, or what it held at some moment."""

    def entries(self) -> tuple[AssetEntry, ...]:
        """See `AssetRegistry.entries`."""
        ...

    def find(self, kind: AssetKind) -> AssetEntry | None:
        """See `AssetRegistry.find`."""
        ...

    def fetch(self, entry: AssetEntry, cache_folder: Path) -> Path:
        """See `AssetRegistry.fetch`."""
        ...


@dataclass(frozen=True)
class AssetLoader:
    """Opens what a registry holds.

    Attributes:
        registry: where the files are.
        cache_folder: where they are kept on this machine.
    """

    registry: AssetSource
    cache_folder: Path

    def flame_model(self) -> FlameAssets:
        """Open the FLAME model."""
        return load_npz(self._path("flame_model"))

    def official_embedding(self) -> OfficialEmbedding:
        """Open FLAME's landmarks, as published."""
        static = read_arrays(self._path("flame_static_embedding"), EMBEDDING_ARRAYS)
        dynamic = read_arrays(self._path("flame_dynamic_embedding"), EMBEDDING_ARRAYS)
        return OfficialEmbedding(
            static_face=np.asarray(static["lmk_face_idx"], np.int32),
            static_bary=np.asarray(static["lmk_b_coords"], np.float64),
            bins_face=np.asarray(dynamic["lmk_face_idx"], np.int32),
            bins_bary=np.asarray(dynamic["lmk_b_coords"], np.float64),
        )

    def landmarks(self, model: FlameAssets) -> LandmarkEmbedding:
        """Open FLAME's landmarks, ordered by the yaw at which a camera sees the model."""
        return to_view_grid(self.official_embedding(), model)

    def masks(self) -> dict[str, Array]:
        """Open FLAME's vertex masks: the ids of each region's vertices."""
        return read_all_arrays(self._path("flame_masks"))

    def uv_layout(self) -> dict[str, Array]:
        """Open FLAME's UV layout: `vt` (T, 2) float32, v up; `ft` (F, 3) int32."""
        return read_arrays(self._path("flame_texture_uv"), ("vt", "ft"))

    def semantic_map(self) -> UInt8Array:
        """Open the user's map of class ids: (H, W) uint8, its first row at v = 1."""
        return read_semantic_map(self._path("semantic_map"))

    def checkpoint(self) -> Next3DWeights:
        """Open the Next3D checkpoint; its tensors are mapped, not read."""
        return Next3DWeights.load(self._path("next3d_checkpoint"))

    def checkpoint_topology(self) -> dict[str, Array]:
        """Open the mesh that the checkpoint dresses: `TOPOLOGY_TENSORS`."""
        return read_arrays(self._path("next3d_topology"), TOPOLOGY_TENSORS)

    def ict_head(self) -> BuiltinHead:
        """Open the head made of ICT-FaceKit."""
        entry = self.entry("ict_head")
        path = self.registry.fetch(entry, self.cache_folder)
        return replace(load_head(path), kind=entry.kind, licence=entry.licence)

    def entry(self, kind: AssetKind) -> AssetEntry:
        """Return the description of a kind.

        Raises:
            AssetError: the registry has none.
        """
        found = self.registry.find(kind)
        if found is None:
            raise AssetError(f"the registry has no {kind}: synthforge assets import FILE adds it")
        return found

    def _path(self, kind: AssetKind) -> Path:
        return self.registry.fetch(self.entry(kind), self.cache_folder)


def shared_loader(held: AssetSource) -> AssetLoader:
    """Return a loader whose cache this user's workers on this machine share."""
    return AssetLoader(held, default_cache_folder() / _CACHE_FOLDER)
