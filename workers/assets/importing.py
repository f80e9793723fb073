"""Imports a licensed file: recognises it, converts it once, keeps it with its provenance."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal, get_args

from synthforge.assets import (
    FLAME_LICENCE,
    FLAME_OPEN_LICENCE,
    OFFICIAL_SOURCES,
    AssetEntry,
    AssetError,
    AssetKind,
    PlaneWiring,
    Provenance,
)
from workers.assets.convert import Converted, convert
from workers.assets.recognise import recognise
from workers.assets.registry import TOOL, AssetRegistry, asset_key
from workers.flame.arrays_file import file_sha256

FlameRelease = Literal["2020", "2023", "2023-open"]
FLAME_RELEASES: Final[tuple[FlameRelease, ...]] = get_args(FlameRelease)


def import_asset(
    path: Path,
    registry: AssetRegistry,
    *,
    wiring: PlaneWiring | None = None,
    release: FlameRelease | None = None,
) -> tuple[AssetEntry, ...]:
    """Bring a licensed file into a registry.

    Args:
        path: as its publisher distributes it, under any name.
        registry: where it goes.
        wiring: of a Next3D checkpoint; None reads it from the source in the file.
        release: of a FLAME model: its files do not tell, and only the open one has an open
            licence. None records the strict one.

    Returns:
        What was added.

    Raises:
        AssetError: see `convert`; nothing was added.
        StorageError: the registry does not take it.
    """
    kind = recognise(path)
    if release is not None and kind != "flame_model":
        raise AssetError(f"{path.name} is a {kind}: a release belongs to a FLAME model")
    with tempfile.TemporaryDirectory(prefix="synthforge-assets-") as folder:
        made = convert(path, kind, Path(folder), wiring)
        source = Provenance(
            imported_at=datetime.now(UTC).isoformat(timespec="seconds"),
            file=path.name,
            sha256=file_sha256(path),
            num_bytes=path.stat().st_size,
            tool=TOOL,
        )
        return tuple(registry.add(one.path, _entry(one, source, release)) for one in made)


def _entry(made: Converted, source: Provenance, release: FlameRelease | None) -> AssetEntry:
    official = OFFICIAL_SOURCES[made.kind]
    sha256 = file_sha256(made.path)
    return AssetEntry(
        kind=made.kind,
        name=official.name,
        version=release or "",
        file=asset_key(made.kind, sha256, made.path.suffix),
        sha256=sha256,
        num_bytes=made.path.stat().st_size,
        licence=_licence(made.kind, release),
        source=official.site,
        wiring=made.wiring,
        provenance=source.model_copy(update={"notes": dict(made.notes)}),
    )


def _licence(kind: AssetKind, release: FlameRelease | None) -> str:
    if kind != "flame_model":
        return OFFICIAL_SOURCES[kind].licence
    return FLAME_OPEN_LICENCE if release == "2023-open" else FLAME_LICENCE
