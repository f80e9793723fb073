"""What lies beside a dataset's shards: index, topology, report, preview and card."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

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
    join_shards,
    part_key,
    staged_key,
    tally_key,
)
from synthforge.storage import Storage
from workers.flame.arrays_file import Array, file_sha256, write_arrays
from workers.generators.protocol import FaceGenerator
from workers.index import join_tables, split_tables
from workers.summary.card import dataset_card
from workers.summary.holdings import read_holdings
from workers.summary.parent import Parent, read_parent
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
    parent_digest: str | None = None,
    on_step: Callable[[], None] = lambda: None,
) -> tuple[StoredFile, ...]:
    """Write the files beside the shards: functions of the job and its shards alone.

    The files of an extension are staged: until its manifest is written, those of the dataset
    that it extends stay in their places.

    Args:
        spec: of the job.
        shards: all that the job made, in order of the manifest.
        generator: that drew the faces.
        storage: bound to the dataset's prefix; parts of the index lie there.
        folder: a local one for work in progress.
        on_shard: called after each shard's parts are read, so that a long summary shows progress.
        parent_digest: of the dataset that the job adds to.
        on_step: called after each piece of the work behind the last shard.

    Returns:
        Name, size and hash of each file, sorted by name.
    """
    parent = None if parent_digest is None else read_parent(storage, parent_digest, folder)
    parts = _Parts(storage, folder, on_shard)
    if parent is not None:
        parts.tally.add(parent.tally)
    index_path = folder / INDEX_NAME
    join_tables(_tables(spec, shards, parent, parts), index_path)
    older = () if parent is None else parent.manifest.shards
    everything = tuple(join_shards(spec.output.splits, older, shards))
    on_step()
    holdings = read_holdings(index_path, on_step)
    report = build_report(spec, everything, parts.tally, holdings)
    on_step()
    topology_path = folder / TOPOLOGY_NAME
    write_arrays(topology_path, topology_arrays(generator.topology))
    key_of = staged_key if parent is not None else str
    files = [
        storage.put_file(path, key_of(path.name), file_sha256(path)).model_copy(
            update={"name": path.name}
        )
        for path in (index_path, topology_path)
    ]
    made = {
        REPORT_JSON_NAME: report_json(report),
        REPORT_HTML_NAME: report_html(report),
        PREVIEW_NAME: contact_sheet(index_path, storage),
        CARD_NAME: dataset_card(spec, everything, generator.info(), holdings),
    }
    files += [
        storage.put_bytes(key_of(name), data).model_copy(update={"name": name})
        for name, data in made.items()
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


class _Parts:
    """The shards' index parts and counts, fetched one after another; `tally` adds the counts up."""

    def __init__(
        self, storage: Storage, folder: Path, on_shard: Callable[[ShardRecord], None]
    ) -> None:
        self.tally = Tally()
        self._storage = storage
        self._path = folder / "part.parquet"
        self._on_shard = on_shard

    def tables(self, shards: Iterable[ShardRecord]) -> Iterator[pa.Table]:
        """Yield the index of each shard."""
        for shard in shards:
            self.tally.add(Tally.from_json(self._storage.get_bytes(tally_key(shard.name))))
            self._path.write_bytes(self._storage.get_bytes(part_key(shard.name)))
            yield pq.read_table(self._path)
            self._on_shard(shard)


def _tables(
    spec: JobSpec, shards: Sequence[ShardRecord], parent: Parent | None, parts: _Parts
) -> Iterator[pa.Table]:
    """Yield the index in the order of the manifest: of a split first what the parent has."""
    for split in spec.output.splits:
        if parent is not None:
            yield from split_tables(parent.index_path, split)
        yield from parts.tables(shard for shard in shards if shard.split == split)
