"""A manifest read a shard at a time: one of a million shards takes no more memory than a small one.

It is read as it was written (`synthforge.shards.manifest_pieces`): a line a shard.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, TypeVar

from pydantic import BaseModel, ValidationError

from synthforge.distributions import STRICT
from synthforge.shards import ManifestHead, Sha256, ShardRecord, ShardSums

# One space stands before no other line than that of a field of the manifest itself.
_SHARDS_BEGIN: Final = b' "shards": [\n'
_SHARDS_END: Final = b" ],\n"
_T = TypeVar("_T", bound=BaseModel)


class _Tail(BaseModel):
    """What a manifest says behind its shards."""

    model_config = STRICT
    parent: Sha256 | None = None
    digest: Sha256


class ManifestReader:
    """A manifest whose shards are read once, in order.

    Attributes:
        head: what it says before them.
    """

    def __init__(self, pieces: Iterable[bytes]) -> None:
        """Read up to the first shard.

        Args:
            pieces: of the manifest's text, cut anywhere.

        Raises:
            ValueError: this is no manifest, or its text is not as it was written.
        """
        self._lines = _lines(pieces)
        head = b"".join(self._until(_SHARDS_BEGIN))
        self.head = _parsed(ManifestHead, _without_comma(head) + b"}")
        self._tail: _Tail | None = None

    @property
    def digest(self) -> str:
        """Of the dataset; there once all shards were read."""
        assert self._tail is not None, "its shards were read"  # noqa: S101
        return self._tail.digest

    def shards(self) -> Iterator[ShardRecord]:
        """Yield the shards, and in the end compare what they add up to with what is said of them.

        Raises:
            ValueError: a line is no shard, the text ends early, or sums or digest differ.
        """
        sums = ShardSums()
        for line in self._until(_SHARDS_END):
            shard = _parsed(ShardRecord, _without_comma(line))
            sums.add(shard)
            yield shard
        self._tail = _parsed(_Tail, b"".join((b"{", *self._lines)))
        sums.check(self.head, self._tail.digest)

    def _until(self, end: bytes) -> Iterator[bytes]:
        for line in self._lines:
            if line == end:
                return
            yield line
        raise ValueError(f"its text ends before the line {end.decode().strip()}")


def _parsed(model: type[_T], text: bytes) -> _T:
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{field}: {first['msg']}" if field else first["msg"]) from None


def _without_comma(line: bytes) -> bytes:
    return line.rstrip().removesuffix(b",")


def _lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield lines with their ends; the last may have none."""
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            yield line + b"\n"
    if rest:
        yield rest
