"""The shards that a manifest names, a million of them in 17 MB, and what it does not name."""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator
from typing import Final

from synthforge.shards import ShardRecord, is_manifest_copy, is_own_key, shard_key
from synthforge.storage import Storage, StoredObject

# As `shard_key` makes it; the hash's 12 hexadecimal digits fit 64 bits.
_NAME: Final = re.compile(r"(.+)-(\d{6})-([0-9a-f]{12})\.tar")
# Of a shard, an index part or its counts.
_NUMBERED: Final = re.compile(r"[a-z]+/(.+)-(\d{6})-[0-9a-f]{12}\.\w+")
_FOLDER: Final = shard_key("", 0, "").partition("/")[0] + "/"
_DIGITS: Final = 12


class _Split:
    """The shards of one split, by number from 0."""

    def __init__(self) -> None:
        self.hashes = array("Q")
        self.sizes = array("Q")
        self.seen = bytearray()


class NamedShards:
    """Names and sizes of shards, and which of them a listing showed."""

    def __init__(self) -> None:
        self._splits: dict[str, _Split] = {}

    def add(self, shard: ShardRecord) -> None:
        """Take in the next shard of its split.

        Raises:
            ValueError: it is not the next.
        """
        split = self._splits.setdefault(shard.split, _Split())
        if shard.number != len(split.hashes):
            raise ValueError(f"{shard.name} stands where number {len(split.hashes)} belongs")
        split.hashes.append(int(shard.sha256[:_DIGITS], 16))
        split.sizes.append(shard.num_bytes)
        split.seen.append(0)

    def names(self) -> Iterator[str]:
        """Yield the names, split by split in order of the number."""
        for name, split in self._splits.items():
            for number, digits in enumerate(split.hashes):
                yield shard_key(name, number, f"{digits:0{_DIGITS}x}")

    def __contains__(self, key: str) -> bool:
        """Tell whether an object's key is that of a shard."""
        return self._find(key) is not None

    def is_beyond(self, key: str) -> bool:
        """Tell whether a shard's or a part's number follows those that its split has."""
        parts = _NUMBERED.fullmatch(key)
        if parts is None:
            return False
        split = self._splits.get(parts[1])
        return split is None or int(parts[2]) >= len(split.hashes)

    def see(self, key: str, num_bytes: int) -> None:
        """Take in an object of a listing; one of another size is as good as none."""
        found = self._find(key)
        if found is not None:
            split, number = found
            split.seen[number] = split.sizes[number] == num_bytes

    def unseen(self) -> Iterator[tuple[str, int]]:
        """Yield name and size of the shards that no listing showed."""
        for name, split in self._splits.items():
            number = split.seen.find(0)
            while number >= 0:
                digits = f"{split.hashes[number]:0{_DIGITS}x}"
                yield shard_key(name, number, digits), split.sizes[number]
                number = split.seen.find(0, number + 1)

    def _find(self, key: str) -> tuple[_Split, int] | None:
        parts = _NAME.fullmatch(key.removeprefix(_FOLDER)) if key.startswith(_FOLDER) else None
        split = self._splits.get(parts[1]) if parts else None
        if parts is None or split is None:
            return None
        number = int(parts[2])
        held = number < len(split.hashes) and split.hashes[number] == int(parts[3], 16)
        return (split, number) if held else None


def unnamed(storage: Storage, named: NamedShards) -> Iterator[StoredObject]:
    """Yield what jobs left under a prefix beside a dataset: shards, index parts, half files.

    What has a name that no job gives is not ours, and is left out.

    Raises:
        StorageError: the store does not answer.
    """
    for found in storage.list_objects():
        is_ours = is_own_key(found.key) and not is_manifest_copy(found.key)
        if is_ours and found.key not in named:
            yield found
