"""Turns a licensed file into one that cannot hold code: arrays, tensors, or a grey picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from synthforge.assets import AssetError, AssetKind, PlaneWiring
from workers.assets.layouts import read_semantic_map, read_uv_layout
from workers.assets.wiring import wiring_of_source
from workers.flame.arrays_file import Array, write_arrays
from workers.flame.official import read_contour_bins, read_masks, read_model, read_static_points
from workers.generators.next3d.checkpoint import TOPOLOGY_TENSORS, Next3DWeights
from workers.generators.next3d.official_pickle import read_official_checkpoint

ArrayReader = Callable[[Path], dict[str, Array]]


@dataclass(frozen=True)
class Converted:
    """A safe file, and what was learnt on the way.

    Attributes:
        kind: of the asset.
        path: of the safe file.
        wiring: of a checkpoint.
        notes: for the provenance record.
    """

    kind: AssetKind
    path: Path
    wiring: PlaneWiring | None = None
    notes: Mapping[str, str] = field(default_factory=dict)


def convert(
    path: Path, kind: AssetKind, folder: Path, wiring: PlaneWiring | None
) -> tuple[Converted, ...]:
    """Convert a file of a known kind; a checkpoint gives its topology too.

    Args:
        path: the publisher's file.
        kind: see `recognise`.
        folder: for the converted files.
        wiring: of a checkpoint, where the user says so; None reads it from the embedded source.

    Raises:
        AssetError: the file is not what it should be, or the wiring must be told.
        BadPickleError: a pickle is torn, or asks for what no such file needs.
        CheckpointError: tensors are missing, unknown or of another shape; all are listed.
    """
    if kind == "next3d_checkpoint":
        return _convert_checkpoint(path, folder, wiring)
    if wiring is not None:
        raise AssetError(f"{path.name} is a {kind}: a wiring belongs to a Next3D checkpoint")
    if kind == "semantic_map":
        return (_convert_map(path, folder),)
    target = folder / f"{kind}.npz"
    write_arrays(target, _READERS[kind](path))
    return (Converted(kind, target),)


def _convert_checkpoint(
    path: Path, folder: Path, told: PlaneWiring | None
) -> tuple[Converted, ...]:
    official = read_official_checkpoint(path)
    wiring = told or wiring_of_source(official.source)
    if wiring is None:
        raise AssetError(
            f"{path.name}: the source in it (sha256 {official.source_sha256}) does not tell how "
            "its planes are wired: give --wiring front-plane (what users report for "
            "next3d_ffhq_512) or --wiring three-plane (the public repository's)"
        )
    weights = Next3DWeights.from_official(official, wiring=wiring)
    notes = {
        "source_sha256": official.source_sha256,
        "wiring_from": "the user" if told else "the embedded source",
    }
    safe, topology = folder / "next3d_checkpoint.safetensors", folder / "next3d_topology.npz"
    weights.save(safe)
    write_arrays(topology, {name: weights.tensors[name] for name in TOPOLOGY_TENSORS})
    return (
        Converted("next3d_checkpoint", safe, wiring, notes),
        Converted("next3d_topology", topology),
    )


def _convert_map(path: Path, folder: Path) -> Converted:
    """Keep the ids alone, one grey channel, whatever the file had beside them."""
    target = folder / "semantic_map.png"
    if not cv2.imwrite(str(target), read_semantic_map(path)):
        raise OSError(f"{target.name} could not be written")
    return Converted("semantic_map", target)


def _model(path: Path) -> dict[str, Array]:
    return read_model(path.read_bytes(), path.name).to_arrays()


def _static(path: Path) -> dict[str, Array]:
    face, bary = read_static_points(path.read_bytes(), path.name)
    return {"lmk_face_idx": face, "lmk_b_coords": bary}


def _dynamic(path: Path) -> dict[str, Array]:
    face, bary = read_contour_bins(path.read_bytes(), path.name)
    return {"lmk_face_idx": face, "lmk_b_coords": bary}


def _masks(path: Path) -> dict[str, Array]:
    regions = read_masks(path.read_bytes(), path.name)
    return {name: np.asarray(ids) for name, ids in sorted(regions.items())}


_READERS: Final[Mapping[AssetKind, ArrayReader]] = {
    "flame_model": _model,
    "flame_static_embedding": _static,
    "flame_dynamic_embedding": _dynamic,
    "flame_masks": _masks,
    "flame_texture_uv": read_uv_layout,
}
