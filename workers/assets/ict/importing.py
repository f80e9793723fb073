"""Imports a clone of ICT-FaceKit: made into a head once, kept with its provenance."""

from __future__ import annotations

import hashlib
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from synthforge.assets import (
    ICT_LICENCE,
    OFFICIAL_SOURCES,
    AssetEntry,
    AssetError,
    AssetKind,
    Provenance,
)
from workers.assets.ict.facekit import MODEL_FOLDER, read_facekit
from workers.assets.ict.head import head_arrays
from workers.assets.registry import TOOL, AssetRegistry, asset_key
from workers.flame.arrays_file import file_sha256, write_arrays
from workers.generators.builtin.head import load_head

_KIND: Final[AssetKind] = "ict_head"


def import_ict_facekit(folder: Path, registry: AssetRegistry) -> AssetEntry:
    """Bring a clone of ICT-FaceKit into a registry, as a head of ours.

    Args:
        folder: the clone, or one that holds a single .npz export of it.
        registry: where it goes.

    Raises:
        AssetError: it is neither, or not the published model; nothing was added.
        StorageError: the registry does not take it.
    """
    if not folder.is_dir():
        raise AssetError(f"{folder} is no folder: give the clone of ICT-FaceKit")
    own = load_head()
    arrays = head_arrays(read_facekit(folder), own)
    sha256, num_bytes = _source(folder)
    with tempfile.TemporaryDirectory(prefix="synthforge-assets-") as made:
        path = Path(made) / f"{_KIND}.npz"
        head_sha256 = write_arrays(path, arrays)
        official = OFFICIAL_SOURCES[_KIND]
        entry = AssetEntry(
            kind=_KIND,
            name=official.name,
            file=asset_key(_KIND, head_sha256, path.suffix),
            sha256=head_sha256,
            num_bytes=path.stat().st_size,
            licence=ICT_LICENCE,
            source=official.site,
            provenance=Provenance(
                imported_at=datetime.now(UTC).isoformat(timespec="seconds"),
                file=folder.name,
                sha256=sha256,
                num_bytes=num_bytes,
                tool=TOOL,
                notes={"own_head_sha256": own.sha256},  # worn parts, classes and outline are of it
            ),
        )
        return registry.add(path, entry)


def _source(folder: Path) -> tuple[str, int]:
    """Hash and size of the files that were read, all in one: in the order of their names."""
    model = folder / MODEL_FOLDER
    found = model.glob("*.obj") if model.is_dir() else folder.glob("*.npz")
    digest, num_bytes = hashlib.sha256(), 0
    for path in sorted(found):
        digest.update(f"{path.name} {file_sha256(path)}\n".encode())
        num_bytes += path.stat().st_size
    return digest.hexdigest(), num_bytes
