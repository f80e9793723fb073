"""Encoded samples to one local tar: equal samples, equal bytes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from synthforge.tar_format import end_of_archive, header_block, padding
from workers.encoding import EncodedSample
from workers.index import IndexRow, index_row


@dataclass(frozen=True)
class ShardFile:
    """A whole shard on the local disk.

    Attributes:
        path: of the tar.
        num_samples: in it.
        num_bytes: its size.
        sha256: of the file, hex.
        rows: one a sample, in order: where it lies, its hash, its scalars.
    """

    path: Path
    num_samples: int
    num_bytes: int
    sha256: str
    rows: tuple[IndexRow, ...]


class ShardWriter:
    """Writes `PATH.tmp`, and renames it when it is closed; leaving the `with` earlier removes it.

    with ShardWriter(path) as writer:
        writer.add(sample)
        shard = writer.close()
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._temporary = path.with_name(f"{path.name}.tmp")
        self._file = self._temporary.open("wb", buffering=0)
        self._digest = hashlib.sha256()
        self._num_bytes = 0
        self._rows: list[IndexRow] = []
        self._keys: set[str] = set()

    @property
    def num_samples(self) -> int:
        """Samples added so far."""
        return len(self._rows)

    def add(self, sample: EncodedSample) -> IndexRow:
        """Append a sample.

        Raises:
            ValueError: a sample of that key is in the shard already.
        """
        if sample.key in self._keys:
            raise ValueError(f"sample {sample.key} is in the shard already")
        pieces: list[bytes] = []
        for suffix, data in sample.members:
            pieces += (header_block(f"{sample.key}.{suffix}", len(data)), data, padding(len(data)))
        run = b"".join(pieces)
        row = index_row(sample.meta, self._num_bytes, len(run), hashlib.sha256(run).hexdigest())
        self._write(run)
        self._keys.add(sample.key)
        self._rows.append(row)
        return row

    def close(self) -> ShardFile:
        """Finish the archive and give it its name.

        Raises:
            ValueError: no sample was added.
        """
        if not self._rows:
            raise ValueError(f"shard {self._path.name} has no sample")
        self._write(end_of_archive(self._num_bytes))
        self._file.close()
        self._temporary.rename(self._path)
        return ShardFile(
            path=self._path,
            num_samples=len(self._rows),
            num_bytes=self._num_bytes,
            sha256=self._digest.hexdigest(),
            rows=tuple(self._rows),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._file.closed:
            self._file.close()
            self._temporary.unlink(missing_ok=True)

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) :]
        self._digest.update(data)
        self._num_bytes += len(data)
