"""The table of a dataset's samples: a parquet part a shard, joined into one file at the end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal, get_origin

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from synthforge.samples import AttributesMeta, SampleMeta
from synthforge.shards import sample_key

ROW_GROUP_ROWS: Final = 1 << 16  # of the joined file: few groups, flat memory

# Scalars of `attributes` in K.json, numbers and words alike.
ATTRIBUTE_FIELDS: Final = tuple(
    pa.field(name, pa.string() if get_origin(field.annotation) is Literal else pa.float64())
    for name, field in AttributesMeta.model_fields.items()
    if name != "ancestry"
)

# `key`, `shard`, `offset`, `num_bytes`, `sha256` find a sample's run of bytes in its tar by one
# range request; the rest are the scalars of K.json. Null: the job did not ask for them.
INDEX_SCHEMA: Final = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("shard", pa.string(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("num_bytes", pa.int64(), nullable=False),
        pa.field("sha256", pa.string(), nullable=False),
        pa.field("index", pa.int64(), nullable=False),
        pa.field("identity", pa.int64(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("attempt", pa.int32(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("yaw_deg", pa.float64()),
        pa.field("pitch_deg", pa.float64()),
        pa.field("roll_deg", pa.float64()),
        pa.field("bbox_px", pa.list_(pa.float64(), 4)),
        pa.field("bbox_visible_px", pa.list_(pa.int32(), 4)),
        pa.field("quality", pa.map_(pa.string(), pa.float64())),
        pa.field("opening_left", pa.float64()),
        pa.field("opening_right", pa.float64()),
        pa.field("hidden", pa.map_(pa.string(), pa.float64())),
        *ATTRIBUTE_FIELDS,
        pa.field("ancestry", pa.map_(pa.string(), pa.float64())),
    ]
)


@dataclass(frozen=True, slots=True)
class IndexRow:
    """One sample of a shard: columns as `INDEX_SCHEMA`, but the shard's name, known later."""

    key: str
    offset: int
    num_bytes: int
    sha256: str
    index: int
    identity: int
    split: str
    attempt: int
    width: int
    height: int
    yaw_deg: float | None
    pitch_deg: float | None
    roll_deg: float | None
    bbox_px: tuple[float, float, float, float] | None
    bbox_visible_px: tuple[int, int, int, int] | None
    quality: dict[str, float]
    opening_left: float | None
    opening_right: float | None
    hidden: dict[str, float] | None
    attributes: dict[str, float | str | dict[str, float] | None]


def index_row(meta: SampleMeta, offset: int, num_bytes: int, sha256: str) -> IndexRow:
    """Return the row of a sample that lies at `offset` of its tar."""
    head = meta.head
    return IndexRow(
        key=sample_key(meta.index),
        offset=offset,
        num_bytes=num_bytes,
        sha256=sha256,
        index=meta.index,
        identity=meta.identity,
        split=meta.split,
        attempt=meta.attempt,
        width=meta.width,
        height=meta.height,
        yaw_deg=head.yaw_deg if head else None,
        pitch_deg=head.pitch_deg if head else None,
        roll_deg=head.roll_deg if head else None,
        bbox_px=meta.bbox_px,
        bbox_visible_px=meta.bbox_visible_px,
        quality=dict(sorted(meta.quality.items())),
        opening_left=meta.eyes.left.opening if meta.eyes else None,
        opening_right=meta.eyes.right.opening if meta.eyes else None,
        hidden=dict(sorted(meta.occlusion.hidden.items())) if meta.occlusion else None,
        attributes=meta.attributes.model_dump() if meta.attributes else {},
    )


def write_part(path: Path, shard_name: str, rows: Iterable[IndexRow]) -> None:
    """Write the rows of one shard; equal rows, equal bytes.

    Args:
        path: a local file.
        shard_name: path of the tar under the dataset's prefix.
        rows: in the order of the tar.
    """
    data = [{"shard": shard_name} | _columns(row) for row in rows]
    with _writer(path) as writer:
        writer.write_table(pa.Table.from_pylist(data, INDEX_SCHEMA))


def _columns(row: IndexRow) -> dict[str, object]:
    columns = asdict(row)
    columns |= columns.pop("attributes")
    maps = ("quality", "hidden", "ancestry")
    pairs = {name: list(columns[name].items()) for name in maps if columns.get(name) is not None}
    return {**columns, **pairs}


def join_parts(parts: Iterable[Path], path: Path) -> int:
    """Write the rows of files of `write_part`, in order, into one; as `join_tables`."""
    return join_tables((pq.read_table(part) for part in parts), path)


def split_tables(path: Path, split: str) -> Iterator[pa.Table]:
    """Yield the rows of one split from a joined file, a row group at a time."""
    with pq.ParquetFile(path) as index:
        for group in range(index.num_row_groups):
            table = index.read_row_group(group)
            yield table.filter(pc.equal(table["split"], split))


def join_tables(tables: Iterable[pa.Table], path: Path) -> int:
    """Write the rows of all tables, in order, into one file; memory stays flat.

    Args:
        tables: of `INDEX_SCHEMA`, in the order of the manifest.
        path: of the joined file.

    Returns:
        The number of rows.

    Raises:
        ValueError: a table has other columns.
    """
    num_rows = 0
    with _writer(path) as writer:
        for table in _row_groups(tables):
            writer.write_table(table, row_group_size=ROW_GROUP_ROWS)
            num_rows += table.num_rows
    return num_rows


def _row_groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Yield tables of `ROW_GROUP_ROWS` rows, the last one shorter."""
    held = INDEX_SCHEMA.empty_table()
    for table in tables:
        if table.schema != INDEX_SCHEMA:
            raise ValueError(f"an index part has other columns: {table.schema.names}")
        held = pa.concat_tables([held, table])
        while held.num_rows >= ROW_GROUP_ROWS:
            yield held.slice(0, ROW_GROUP_ROWS)
            held = held.slice(ROW_GROUP_ROWS)
    if held.num_rows:
        yield held.combine_chunks()


def _writer(path: Path) -> pq.ParquetWriter:
    return pq.ParquetWriter(path, INDEX_SCHEMA, compression="zstd")
