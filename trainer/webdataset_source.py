"""For loops that are built on webdataset: our stores as its openers, our table as its decoders.

    dataset = plain_dataset("s3://bucket/faces", split="train")
    for sample in dataset: ...                       # `Sample`s, shard after shard

webdataset knows no `s3://`, and its `rgb8` decoder cuts 16-bit depth to 8 bits; this keeps both
right. It reads shards as they come, unchecked and in their order: `open_stream` is what verifies,
shuffles by (seed, epoch) and resumes.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import webdataset
from webdataset.gopen import gopen_schemes

from synthforge.storage import open_storage
from synthforge.urls import canonical_url, join_url
from trainer.decoding import Sample, decode_sample, wanted_suffixes
from trainer.sources import open_source
from trainer.stream import DEFAULT_FIELDS

_BUFFER_BYTES = 1 << 20


class ChunkReader(io.RawIOBase):
    """A readable file over an iterator of bytes."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer` with what comes next; 0 at the end."""
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def register_openers() -> None:
    """Teach webdataset to open `s3://` by the endpoint and keys of the AWS_* variables."""
    gopen_schemes["s3"] = _open_object


def plain_dataset(
    url: str, *, split: str = "train", fields: Iterable[str] = DEFAULT_FIELDS
) -> Iterable[Sample]:
    """Return a webdataset pipeline over the shards of a split, decoded by the member table.

    Args:
        url: of a dataset in a store (`s3://`, a folder).
        split: whose shards are read.
        fields: members to decode.
    """
    register_openers()
    base = canonical_url(url, working_folder=str(Path.cwd()))
    shards = [r.name for r in open_source(base).manifest().shards if r.split == split]
    urls = [join_url(base, name) for name in shards]
    suffixes = wanted_suffixes(fields)

    def decode(members: dict[str, Any]) -> Sample:
        wanted = [suffix for suffix in members if suffix in suffixes]
        return decode_sample(members["__key__"], wanted, members.__getitem__)

    dataset: Iterable[Sample] = webdataset.WebDataset(
        urls, shardshuffle=False, empty_check=False
    ).map(decode)
    return dataset


def _open_object(url: str, mode: str = "rb", bufsize: int = 0, **options: Any) -> io.BufferedReader:
    """Open one object of a store for reading."""
    del bufsize, options
    if mode != "rb":
        raise ValueError(f"{url}: mode {mode!r}; rb would do")
    prefix, _, key = url.rpartition("/")
    return io.BufferedReader(ChunkReader(open_storage(prefix).stream(key)), _BUFFER_BYTES)
