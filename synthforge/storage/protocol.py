"""What every store can do, and the ways in which it can fail."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from synthforge.shards import StoredFile

CHUNK_BYTES: Final = 1 << 20  # a stream is read and hashed this much at a time

MAX_LINK_S: Final = 7 * 24 * 3600  # of a presigned link: S3's signature, version 4


class StorageError(Exception):
    """A store did not do what it was asked."""


class StorageUnavailable(StorageError):  # noqa: N818 - says what happened
    """Not now: the network, the store or its disk failed; trying again later may help."""


class StorageRefused(StorageError):  # noqa: N818 - says what happened
    """Not ever like this: no permission, no such bucket, a link in the way, a wrong argument."""


class NotFound(StorageError):  # noqa: N818 - says what happened
    """There is no such object."""


@dataclass(frozen=True)
class StoredObject:
    """One object of a listing.

    Attributes:
        key: path under the store's prefix.
        num_bytes: its size.
        modified_s: when it was written, seconds since 1970 by the store's clock.
    """

    key: str
    num_bytes: int
    modified_s: float


class Storage(Protocol):
    """A store bound to one prefix. Keys are relative: see `synthforge.urls.check_key`.

    Every method raises `StorageUnavailable` or `StorageRefused`, and `UrlError` for a bad key.
    Objects appear whole or not at all. Instances may be pickled, and used by several threads.
    Those of `open_storage` tell `on_bytes` how much they have just written or read.
    """

    @property
    def url(self) -> str:
        """The canonical URL of the prefix."""
        ...

    def put_file(self, path: Path, key: str, sha256: str) -> StoredFile:
        """Store a file, then check its size and hash as the store gives it back.

        What already lies there and is right is left as it is, so putting twice is putting once.

        Args:
            path: a local file.
            key: where it goes.
            sha256: hex digest that the file must have.

        Raises:
            StorageRefused: the file has another digest.
            StorageUnavailable: also when the store gave other bytes back; nothing stays.
        """
        ...

    def put_bytes(self, key: str, data: bytes) -> StoredFile:
        """Store bytes, checked as `put_file` does; what lay there is replaced."""
        ...

    def copy(self, source: str, key: str, sha256: str) -> StoredFile:
        """Store under `key` what lies under `source`; what lay there is replaced.

        Raises:
            NotFound: nothing lies under `source`.
            StorageRefused: it has another hash than `sha256`.
        """
        ...

    def get_bytes(self, key: str, *, max_bytes: int | None = None) -> bytes:
        """Return an object's bytes.

        Raises:
            NotFound: there is none.
            StorageRefused: it is larger than `max_bytes`.
        """
        ...

    def stream(self, key: str) -> Iterator[bytes]:
        """Yield an object in chunks of at most `CHUNK_BYTES`; `NotFound` if there is none."""
        ...

    def read_range(self, key: str, offset: int, length: int) -> bytes:
        """Return exactly `length` bytes from `offset` on.

        Raises:
            NotFound: there is no such object.
            StorageRefused: it ends before `offset + length`.
        """
        ...

    def head(self, key: str) -> int | None:
        """Return an object's size in bytes, or None if there is none."""
        ...

    def list_objects(self, folder: str = "") -> Iterator[StoredObject]:
        """Yield everything below a folder, sorted by key; nothing if there is no such folder."""
        ...

    def delete(self, key: str) -> None:
        """Remove an object; none there is fine."""
        ...

    def presign(self, key: str, expires_s: int) -> str:
        """Return an https link by which anyone may read the object for `expires_s` seconds.

        Raises:
            StorageRefused: the store has no links.
        """
        ...


def uncounted(_num_bytes: int) -> None:
    """Take note of nothing: for a store whose progress nobody watches."""


def hash_stream(chunks: Iterable[bytes]) -> tuple[int, str]:
    """Return size and sha256 hex digest of a stream."""
    digest = hashlib.sha256()
    num_bytes = 0
    for chunk in chunks:
        digest.update(chunk)
        num_bytes += len(chunk)
    return num_bytes, digest.hexdigest()


def check_range(key: str, offset: int, length: int) -> None:
    """Raise StorageRefused unless the range is one."""
    if offset < 0 or length < 0:
        raise StorageRefused(f"{key}: range of {length} bytes from {offset} has a negative number")
