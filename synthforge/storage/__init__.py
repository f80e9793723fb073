"""Object stores behind one small protocol: directories (`file://`) and S3 (`s3://`)."""

from __future__ import annotations

from collections.abc import Callable

from synthforge.storage.directory import DirectoryStorage
from synthforge.storage.protocol import (
    MAX_LINK_S,
    NotFound,
    Storage,
    StorageError,
    StorageRefused,
    StorageUnavailable,
    StoredObject,
    uncounted,
)
from synthforge.urls import is_under, parse_url

__all__ = [
    "MAX_LINK_S",
    "DirectoryStorage",
    "NotFound",
    "Storage",
    "StorageError",
    "StorageRefused",
    "StorageUnavailable",
    "StoredObject",
    "listing_fault",
    "open_storage",
]


def open_storage(
    url: str, *, root: str | None = None, on_bytes: Callable[[int], None] = uncounted
) -> Storage:
    """Return the store that keeps what lies under a URL; nothing is touched yet.

    Args:
        url: `s3://bucket/prefix`, `file:///folder` or an absolute path.
        root: the prefix, at or above `url`, whose owner is trusted: in a directory no symbolic link
            is followed below it. By default `url` itself.
        on_bytes: called, maybe by other threads, with each number of bytes that went to the store
            or came from it.

    Raises:
        UrlError: `url` is not one of these.
        StorageRefused: `url` does not lie under `root`.
    """
    location = parse_url(url)
    if root is not None and not is_under(url, root):
        raise StorageRefused(f"{location} does not lie under {root}")
    if location.scheme == "file":
        trusted = parse_url(root) if root is not None else location
        return DirectoryStorage(location, trusted, on_bytes)
    from synthforge.storage.s3 import S3Storage  # noqa: PLC0415 - boto3 takes 0.3 s to import

    return S3Storage(location, on_bytes)


def listing_fault(url: str) -> str | None:
    """Return why what lies under a URL cannot be listed, None if it can; asked once, briefly.

    Raises:
        UrlError: as of `open_storage`.
    """
    try:
        next(_asked_once(url).list_objects(), None)
    except StorageError as error:
        return str(error)
    return None


def _asked_once(url: str) -> Storage:
    location = parse_url(url)
    if location.scheme == "file":
        return open_storage(url)
    from synthforge.storage.s3 import ONCE, S3Storage  # noqa: PLC0415 - as above

    return S3Storage(location, patience=ONCE)
