"""Registries of converted files, as the tests need them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from synthforge.assets import OFFICIAL_SOURCES, AssetEntry, AssetKind, Provenance
from workers.assets import AssetRegistry, open_assets
from workers.assets.registry import asset_key
from workers.flame.arrays_file import Array, file_sha256, write_arrays
from workers.flame.official import read_contour_bins, read_model, read_static_points


def add_arrays(
    registry: AssetRegistry, kind: AssetKind, arrays: Mapping[str, Array], folder: Path
) -> None:
    """Put named arrays into a registry."""
    path = folder / f"{kind}.npz"
    write_arrays(path, arrays)
    add_file(registry, kind, path)


def add_file(registry: AssetRegistry, kind: AssetKind, path: Path) -> None:
    """Put a converted file into a registry."""
    sha256, num_bytes = file_sha256(path), path.stat().st_size
    source = OFFICIAL_SOURCES[kind]
    registry.add(
        path,
        AssetEntry(
            kind=kind,
            name=source.name,
            file=asset_key(kind, sha256, path.suffix),
            sha256=sha256,
            num_bytes=num_bytes,
            licence=source.licence,
            source=source.site,
            wiring="front-plane" if kind == "next3d_checkpoint" else None,
            provenance=Provenance(
                imported_at="2026-01-01T00:00:00+00:00",
                file=path.name,
                sha256=sha256,
                num_bytes=num_bytes,
                tool="test",
            ),
        ),
    )


def mini_flame(fixtures: Path, folder: Path) -> str:
    """Make a registry that holds the small FLAME-format model of the fixtures; return its URL."""
    url = folder / "registry"
    registry = open_assets(str(url))
    model = read_model((fixtures / "mini_generic_model_chumpy.pkl").read_bytes(), "mini")
    add_arrays(registry, "flame_model", model.to_arrays(), folder)
    face, bary = read_static_points(
        (fixtures / "mini_flame_static_embedding.pkl").read_bytes(), "mini"
    )
    static = {"lmk_face_idx": face, "lmk_b_coords": bary}
    add_arrays(registry, "flame_static_embedding", static, folder)
    face, bary = read_contour_bins(
        (fixtures / "mini_flame_dynamic_embedding.npy").read_bytes(), "mini"
    )
    dynamic = {"lmk_face_idx": face, "lmk_b_coords": bary}
    add_arrays(registry, "flame_dynamic_embedding", dynamic, folder)
    return str(url)
