"""Plain directories as a store: objects appear by rename, and no symbolic link is followed.

Every folder below the trusted root is opened relative to its parent with O_NOFOLLOW, so that a
link put in the way, even between check and use, leads nowhere (openat(2)). A folder goes with the
last object in it, as in an object store, which has none.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

from synthforge.shards import StoredFile
from synthforge.storage.protocol import (
    CHUNK_BYTES,
    NotFound,
    StorageError,
    StorageRefused,
    StorageUnavailable,
    StoredObject,
    check_range,
    hash_stream,
    uncounted,
)
from synthforge.urls import Location, check_key

_FOLDER_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# O_NONBLOCK: opening a named pipe must not wait for its other end.
_READ_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_CREATE_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_PUT_TRIES: Final = 100  # each but the last was lost to a `delete` that took the folder away
_TRANSIENT: Final = {
    errno.EAGAIN,
    errno.EDQUOT,
    errno.EIO,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOSPC,
    errno.ESTALE,
    errno.ETIMEDOUT,
}


@dataclass(frozen=True)
class DirectoryStorage:
    """Objects as files below a folder; see `Storage` for the methods.

    Attributes:
        location: the prefix.
        root: at or above it; links on the way to the root are its owner's business, none below
            it is followed.
        on_bytes: called with what was just written or read.
    """

    location: Location
    root: Location
    on_bytes: Callable[[int], None] = field(default=uncounted, compare=False)

    @property
    def url(self) -> str:
        """The canonical URL of the prefix."""
        return str(self.location)

    def put_file(self, path: Path, key: str, sha256: str) -> StoredFile:
        """Copy a file to its key."""
        num_bytes = path.stat().st_size
        if self._holds(key, num_bytes, sha256):
            return StoredFile(name=key, num_bytes=num_bytes, sha256=sha256)
        with path.open("rb") as source:
            return self._put(key, lambda: _pieces(source), sha256)

    def put_bytes(self, key: str, data: bytes) -> StoredFile:
        """Write bytes to a key."""
        return self._put(key, lambda: (data,), hashlib.sha256(data).hexdigest())

    def copy(self, source: str, key: str, sha256: str) -> StoredFile:
        """Copy a file."""
        return self._put(key, lambda: self.stream(source), sha256)

    def get_bytes(self, key: str, *, max_bytes: int | None = None) -> bytes:
        """Read a whole file."""
        with self._reading(key) as file:
            num_bytes = os.fstat(file).st_size
            if max_bytes is not None and num_bytes > max_bytes:
                raise StorageRefused(f"{key}: {num_bytes} bytes are more than {max_bytes}")
            return b"".join(self._counted(_chunks(file)))

    def stream(self, key: str) -> Iterator[bytes]:
        """Read a file in chunks."""
        with self._reading(key) as file:
            yield from self._counted(_chunks(file))

    def read_range(self, key: str, offset: int, length: int) -> bytes:
        """Read part of a file."""
        check_range(key, offset, length)
        with self._reading(key) as file:
            data = bytearray()
            while len(data) < length:
                piece = os.pread(file, length - len(data), offset + len(data))
                if not piece:
                    raise StorageRefused(f"{key}: it ends before byte {offset + length}")
                data += piece
                self.on_bytes(len(piece))
            return bytes(data)

    def head(self, key: str) -> int | None:
        """Return a file's size."""
        try:
            with self._reading(key) as file:
                return os.fstat(file).st_size
        except NotFound:
            return None

    def list_objects(self, folder: str = "") -> Iterator[StoredObject]:
        """Walk the files below a folder; links and special files are no objects."""
        names = tuple(check_key(folder).split("/")) if folder else ()
        try:
            with _typed(folder or self.url), self._folder(names) as top:
                yield from _walk(top, folder)
        except NotFound:
            return

    def delete(self, key: str) -> None:
        """Unlink a file, and remove the folders that hold nothing then."""
        folders, name = _split(key)
        with suppress(NotFound), _typed(key), self._folder(folders) as folder:
            os.unlink(name, dir_fd=folder)
        self._prune(folders)

    def presign(self, key: str, expires_s: int) -> str:  # noqa: ARG002
        """Refuse: a directory has no links."""
        raise StorageRefused(f"{key}: a file:// store gives no links; s3:// does")

    def _counted(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            yield chunk
            self.on_bytes(len(chunk))

    def _put(self, key: str, source: Callable[[], Iterable[bytes]], sha256: str) -> StoredFile:
        """Write what the source gives and read it back: its hash is taken there, and only there.

        Where it is wrong, the source is hashed too, to tell which of the two is.
        """
        folders, name = _split(key)
        temporary = f".{secrets.token_hex(8)}.tmp"
        with _typed(key), self._created(folders, temporary) as (folder, file):
            try:
                num_written = _write_all(file, self._counted(source()))
                os.fsync(file)
                os.lseek(file, 0, os.SEEK_SET)
                if hash_stream(self._counted(_chunks(file))) != (num_written, sha256):
                    _, found = hash_stream(source())
                    if found != sha256:
                        raise StorageRefused(f"{key}: its sha256 is {found}, not {sha256}")
                    raise StorageUnavailable(f"{key}: the disk gave other bytes back")
                os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                os.unlink(temporary, dir_fd=folder)
                raise
            os.fsync(folder)
        return StoredFile(name=key, num_bytes=num_written, sha256=sha256)

    def _holds(self, key: str, num_bytes: int, sha256: str) -> bool:
        try:
            with self._reading(key) as file:
                same_size = os.fstat(file).st_size == num_bytes
                return same_size and hash_stream(self._counted(_chunks(file))) == (
                    num_bytes,
                    sha256,
                )
        except (NotFound, StorageRefused):
            return False  # nothing there, or nothing that a rename would not replace

    @contextmanager
    def _reading(self, key: str) -> Iterator[int]:
        folders, name = _split(key)
        with _typed(key), self._folder(folders) as folder:
            file = os.open(name, _READ_FLAGS, dir_fd=folder)
            try:
                if not stat.S_ISREG(os.fstat(file).st_mode):
                    raise StorageRefused(f"{key}: not a regular file")
                yield file
            finally:
                os.close(file)

    @contextmanager
    def _created(self, folders: tuple[str, ...], name: str) -> Iterator[tuple[int, int]]:
        """Open a folder, and a new file in it."""
        folder, file = self._create(folders, name)
        try:
            yield folder, file
        finally:
            os.close(file)
            os.close(folder)

    def _create(self, folders: tuple[str, ...], name: str) -> tuple[int, int]:
        for _ in range(_PUT_TRIES):
            with suppress(FileNotFoundError):  # taken away since it was opened, or on the way there
                folder = self._opened((*self._below_root, *folders), create=True)
                try:
                    return folder, os.open(name, _CREATE_FLAGS, 0o666, dir_fd=folder)
                except BaseException:
                    os.close(folder)
                    raise
        raise StorageUnavailable(f"{'/'.join((*folders, name))}: its folder is deleted each time")

    @contextmanager
    def _folder(self, names: tuple[str, ...]) -> Iterator[int]:
        """Open a folder below the prefix that is there."""
        folder = self._opened((*self._below_root, *names), create=False)
        try:
            yield folder
        finally:
            os.close(folder)

    @property
    def _below_root(self) -> tuple[str, ...]:
        """The prefix's folders from the root on."""
        return self.location.segments[len(self.root.segments) :]

    def _opened(self, names: tuple[str, ...], *, create: bool) -> int:
        """Open a folder below the root, one name after the other; the caller closes it."""
        if create:
            os.makedirs(self.root.path, exist_ok=True)
        folder = os.open(self.root.path, _FOLDER_FLAGS)
        try:
            for name in names:
                inner = _open_folder(name, folder, create=create)
                os.close(folder)
                folder = inner
        except BaseException:
            os.close(folder)
            raise
        return folder

    def _prune(self, folders: tuple[str, ...]) -> None:
        """Remove the folders that hold nothing, from a key's up to the prefix's own.

        Neither the root nor what lies between it and the prefix is ours to remove; and one that
        stays, for whatever reason, does no harm.
        """
        names = (*self._below_root, *folders)
        with suppress(OSError):  # most of all: it is not empty
            for depth in range(len(names), max(len(self._below_root) - 1, 0), -1):
                parent = self._opened(names[: depth - 1], create=False)
                try:
                    os.rmdir(names[depth - 1], dir_fd=parent)
                finally:
                    os.close(parent)


def _open_folder(name: str, parent: int, *, create: bool) -> int:
    try:
        return os.open(name, _FOLDER_FLAGS | os.O_NOFOLLOW, dir_fd=parent)
    except FileNotFoundError:
        if not create:
            raise
    with suppress(FileExistsError):  # another writer was faster
        os.mkdir(name, dir_fd=parent)
        os.fsync(parent)
    return os.open(name, _FOLDER_FLAGS | os.O_NOFOLLOW, dir_fd=parent)


def _split(key: str) -> tuple[tuple[str, ...], str]:
    *folders, name = check_key(key).split("/")
    return tuple(folders), name


def _chunks(file: int) -> Iterator[bytes]:
    while chunk := os.read(file, CHUNK_BYTES):
        yield chunk


def _pieces(source: BinaryIO) -> Iterator[bytes]:
    source.seek(0)
    while chunk := source.read(CHUNK_BYTES):
        yield chunk


def _write_all(file: int, chunks: Iterable[bytes]) -> int:
    num_bytes = 0
    for chunk in chunks:
        num_bytes += len(chunk)
        rest = memoryview(chunk)
        while rest:
            rest = rest[os.write(file, rest) :]
    return num_bytes


def _walk(folder: int, path: str) -> Iterator[StoredObject]:
    with os.scandir(folder) as entries:
        # A folder sorts as its keys do, by its name and a slash: the order of an S3 listing.
        names = sorted(
            entry.name + "/" * entry.is_dir(follow_symlinks=False)
            for entry in entries
            if not entry.is_symlink()
        )
    for name in names:
        key = f"{path}/{name}" if path else name
        with suppress(FileNotFoundError):  # deleted since the folder was read
            if name.endswith("/"):
                inner = os.open(name[:-1], _FOLDER_FLAGS | os.O_NOFOLLOW, dir_fd=folder)
                try:
                    yield from _walk(inner, key[:-1])
                finally:
                    os.close(inner)
                continue
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if stat.S_ISREG(found.st_mode):
                yield StoredObject(key, found.st_size, found.st_mtime)


@contextmanager
def _typed(what: str) -> Iterator[None]:
    """Turn the operating system's errors into ours."""
    try:
        yield
    except FileNotFoundError as error:
        raise NotFound(f"{what}: no such object") from error
    except OSError as error:
        raise _of_os_error(what, error) from error


def _of_os_error(what: str, error: OSError) -> StorageError:
    if error.errno in _TRANSIENT:
        return StorageUnavailable(f"{what}: {error.strerror}")
    if error.errno in {errno.ELOOP, errno.ENOTDIR}:
        return StorageRefused(f"{what}: a symbolic link or a file stands where a folder should")
    return StorageRefused(f"{what}: {error.strerror}")
