"""Reads and writes a registry of assets: a directory, or a prefix of an S3 bucket."""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from synthforge import __version__
from synthforge.assets import (
    FILES_FOLDER,
    KINDS,
    SET_TO,
    AssetEntry,
    AssetError,
    AssetKind,
    find_asset,
    index_key,
    registry_url,
)
from synthforge.storage import Storage, open_storage
from synthforge.urls import canonical_url
from workers.flame.arrays_file import file_sha256

_ABANDONED_S = 3600.0  # nobody has written to a partial download for so long
TOOL = f"synthforge {__version__}"


@dataclass(frozen=True)
class AssetRegistry:
    """The assets at a place.

    Attributes:
        storage: where they are; None holds nothing and takes nothing.
    """

    storage: Storage | None

    def entries(self) -> tuple[AssetEntry, ...]:
        """Return every asset, in the order of the kinds; errors as `find`."""
        return tuple(entry for kind in KINDS if (entry := self.find(kind)) is not None)

    def find(self, kind: AssetKind) -> AssetEntry | None:
        """Return the asset of a kind, or None.

        Raises:
            AssetError: its description is malformed.
            StorageError: the store does not answer.
        """
        return None if self.storage is None else find_asset(self.storage, kind)

    def fetch(self, entry: AssetEntry, cache_folder: Path) -> Path:
        """Return a local copy of an asset's file, downloaded unless the cache holds it whole.

        Processes that share a cache fetch a file once: the others wait for it.

        Args:
            entry: of this registry.
            cache_folder: this user's own, made if it is not there; files in it are named by
                their hash.

        Raises:
            AssetError: the file has other bytes than the index says.
            NotFound: the registry lost the file.
            StorageError: the store does not answer.
        """
        storage = self._store()
        path = cache_folder / f"{entry.sha256}{Path(entry.file).suffix}"
        cache_folder.mkdir(parents=True, exist_ok=True)
        with _locked(path.with_suffix(".lock")):
            _sweep(cache_folder, entry.sha256)
            if not (path.exists() and file_sha256(path) == entry.sha256):
                _download(storage, entry, path)
        return path

    def add(self, path: Path, entry: AssetEntry) -> AssetEntry:
        """Store a converted file, then its description, in the place of the one of its kind.

        The file that it replaces stays: running jobs fetch it by its hash.

        Args:
            path: the converted file.
            entry: its description; `file` is the key under which it is stored.

        Raises:
            StorageError: the store does not take it; the index is as it was.
        """
        storage = self._store()
        storage.put_file(path, entry.file, entry.sha256)
        storage.put_bytes(index_key(entry.kind), entry.to_json())
        return entry

    def _store(self) -> Storage:
        if self.storage is None:
            raise AssetError(f"no registry: set {SET_TO}")
        return self.storage


def open_assets(url: str | None) -> AssetRegistry:
    """Open the registry at a URL; nothing is touched yet.

    Args:
        url: a directory or s3://bucket/prefix. None takes what SYNTHFORGE_ASSETS says; where
            that is not set, the registry is empty.

    Raises:
        UrlError: it is no such URL.
    """
    place = url or registry_url()
    if place is None:
        return AssetRegistry(None)
    return AssetRegistry(open_storage(canonical_url(place, working_folder=str(Path.cwd()))))


def asset_key(kind: AssetKind, sha256: str, suffix: str) -> str:
    """Return the key of a converted file; its own hash in it keeps other bytes away."""
    return f"{FILES_FOLDER}/{kind}-{sha256[:12]}{suffix}"


def _sweep(folder: Path, sha256: str) -> None:
    """Delete what killed processes left of a file, once it is old enough to be nobody's."""
    for left in folder.glob(f".{sha256}-*.part"):
        with suppress(FileNotFoundError):  # its writer may be done with it just now
            if left.stat().st_mtime < time.time() - _ABANDONED_S:
                left.unlink()


def _download(storage: Storage, entry: AssetEntry, path: Path) -> None:
    """Fetch a file under its lock.

    What is not yet whole has a name of its own: where a shared folder's lock holds nobody back, two
    downloads may meet, and neither writes into the other's file or takes it away. Licensed files
    are for this user alone.
    """
    digest = hashlib.sha256()
    partial = path.parent / f".{entry.sha256}-{secrets.token_hex(8)}.part"
    try:
        with open(partial, "xb", opener=_for_its_owner) as file:
            for chunk in storage.stream(entry.file):
                digest.update(chunk)
                file.write(chunk)
            if digest.hexdigest() != entry.sha256:
                raise AssetError(
                    f"{storage.url}/{entry.file} has sha256 {digest.hexdigest()}, the index says "
                    f"{entry.sha256}: import {entry.name} again"
                )
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _for_its_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # given back when the file is closed, or the process dies
        yield
