"""A local shard to its final key, size and hash read back there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from synthforge.shards import StoredFile, part_key, shard_key
from synthforge.storage import Storage
from workers.index import write_part
from workers.shard_writer import ShardFile


@dataclass(frozen=True)
class UploadedShard:
    """What lies in the store.

    Attributes:
        tar: the shard; its name holds its own hash.
        part: its part of the index.
    """

    tar: StoredFile
    part: StoredFile


def upload_shard(
    storage: Storage,
    shard: ShardFile,
    split: str,
    number: int,
    check: Callable[[], None] = lambda: None,
) -> UploadedShard:
    """Put a shard and its index part into the store; the part first, so that no tar lacks one.

    The key holds the file's hash, so an upload can replace no other bytes, and one that was done
    before is only checked. The local files stay the caller's.

    Args:
        storage: bound to the dataset's prefix.
        shard: closed.
        split: that the shard belongs to.
        number: of the shard in its split.
        check: raises where the shard is wanted no longer; called before the tar and after it.

    Raises:
        StorageUnavailable: try again later; nothing wrong stays in the store.
        StorageRefused: trying again would not help.
    """
    name = shard_key(split, number, shard.sha256)
    part_path = shard.path.with_suffix(".parquet")
    try:
        write_part(part_path, name, shard.rows)
        part = storage.put_bytes(part_key(name), part_path.read_bytes())
    finally:
        part_path.unlink(missing_ok=True)
    check()
    tar = storage.put_file(shard.path, name, shard.sha256)
    check()
    return UploadedShard(tar=tar, part=part)
