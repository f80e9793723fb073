"""What the summary of an extension takes from the dataset that it extends."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthforge.shards import (
    INDEX_NAME,
    REPORT_JSON_NAME,
    Manifest,
    StoredFile,
    manifest_copy_key,
)
from synthforge.storage import Storage, StorageRefused
from workers.flame.arrays_file import file_sha256
from workers.tally import Tally


@dataclass(frozen=True)
class Parent:
    """A finished dataset.

    Attributes:
        manifest: of it.
        index_path: its joined index, fetched.
        tally: what became of its draws.
    """

    manifest: Manifest
    index_path: Path
    tally: Tally


def read_parent(storage: Storage, digest: str, folder: Path) -> Parent:
    """Fetch what is needed of the dataset with a digest.

    Args:
        storage: bound to the prefix that it shares with its extension.
        digest: of its manifest.
        folder: a local one.

    Raises:
        StorageError: a file is not there, or not the one that the manifest names.
    """
    manifest = Manifest.model_validate_json(storage.get_bytes(manifest_copy_key(digest)))
    files = {file.name: file for file in manifest.files}
    index_path, report_path = folder / "parent.parquet", folder / "parent.json"
    for name, path in ((INDEX_NAME, index_path), (REPORT_JSON_NAME, report_path)):
        _fetch(storage, files[name], path)
    return Parent(manifest, index_path, tally_of_report(json.loads(report_path.read_bytes())))


def tally_of_report(report: dict[str, Any]) -> Tally:
    """Return the counts behind a `report.json`; its shares have six decimals, and so they do."""
    tally = Tally(rejected=Counter(report["rejected"]))
    for bounds, count in report["rejected_yaw"].items():
        tally.rejected_yaw[int(bounds.partition("..")[0])] = count
    for parameter in report["parameters"]:
        name = parameter["name"]
        # Reports without these counts hold numbers alone: a value a draw.
        num_drawn = parameter.get("num_drawn", report["num_draws"])
        num_accepted = parameter.get("num_accepted", report["num_samples"])
        tally.drawn[name] = [round(share * num_drawn) for share in parameter["drawn"]]
        tally.accepted[name] = [round(share * num_accepted) for share in parameter["accepted"]]
    return tally


def _fetch(storage: Storage, file: StoredFile, path: Path) -> None:
    with path.open("wb") as target:
        for chunk in storage.stream(file.name):
            target.write(chunk)
    if file_sha256(path) != file.sha256:
        raise StorageRefused(f"{file.name}: not the one that the dataset's manifest names")
