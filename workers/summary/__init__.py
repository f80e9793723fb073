"""What lies beside a dataset's shards: index, topology, report, preview and card."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from synthforge.jobs import JobSpec
from synthforge.shards import (
    CARD_NAME,
    INDEX_NAME,
    PREVIEW_NAME,
    REPORT_HTML_NAME,
    REPORT_JSON_NAME,
    TOPOLOGY_NAME,
    ShardRecord,
    StoredFile,
    part_key,
    tally_key,
)
from synthforge.storage import Storage
from workers.flame.arrays_file import Array, file_sha256, write_arrays
from workers.generators.protocol import FaceGenerator
from workers.index import join_parts
from workers.summary.card import dataset_card
from workers.summary.preview import contact_sheet
from workers.summary.report import build_report, report_html, report_json
from workers.tally import Tally
from workers.types import Topology

__all__ = ["summarise"]


def summarise(
    spec: JobSpec,
    shards: Sequence[ShardRecord],
    generator: FaceGenerator,
    storage: Storage,
    folder: Path,
    on_shard: Callable[[ShardRecord], None],
) -> tuple[StoredFile, ...]:
    """Write the files beside the shards: functions of the job and its shards alone.

    Args:
        spec: of the job.
        shards: all of them, in order of the manifest.
        generator: that drew the faces.
        storage: bound to the dataset's prefix; parts of the index lie there.
        folder: a local one for work in progress.
        on_shard: called after each shard's parts are read, so that a long summary shows progress.

    Returns:
        Name, size and hash of each file, sorted by name.
    """
    index_path = folder / INDEX_NAME
    tally = Tally()
    join_parts(_parts(shards, storage, folder, tally, on_shard), index_path)
    report = build_report(spec, shards, tally)
    topology_path = folder / TOPOLOGY_NAME
    write_arrays(topology_path, topology_arrays(generator.topology))
    files = [
        storage.put_file(index_path, INDEX_NAME, file_sha256(index_path)),
        storage.put_file(topology_path, TOPOLOGY_NAME, file_sha256(topology_path)),
        storage.put_bytes(REPORT_JSON_NAME, report_json(report)),
        storage.put_bytes(REPORT_HTML_NAME, report_html(report)),
        storage.put_bytes(PREVIEW_NAME, contact_sheet(index_path, storage)),
        storage.put_bytes(CARD_NAME, dataset_card(spec, shards, generator.info())),
    ]
    return tuple(sorted(files, key=lambda file: file.name))


def topology_arrays(topology: Topology) -> dict[str, Array]:
    """Return the arrays of `topology.npz`: what dense points, classes and u, v refer to."""
    return {
        "faces": topology.faces,
        "uv": topology.uv,
        "uv_faces": topology.uv_faces,
        "face_region": topology.face_region,
        "face_part": topology.face_part,
        "part_names": np.array(topology.part_names),
        "mirror": topology.mirror,
        **topology.landmarks.to_arrays(),
    }


def _parts(
    shards: Sequence[ShardRecord],
    storage: Storage,
    folder: Path,
    tally: Tally,
    on_shard: Callable[[ShardRecord], None],
) -> Iterator[Path]:
    """Fetch the shards' index parts one after another into the same local file; add up counts."""
    path = folder / "part.parquet"
    for shard in shards:
        tally.add(Tally.from_json(storage.get_bytes(tally_key(shard.name))))
        path.write_bytes(storage.get_bytes(part_key(shard.name)))
        yield path
        on_shard(shard)
