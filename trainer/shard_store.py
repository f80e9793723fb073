"""Whole, verified shards on this machine: fetched once, kept within a size limit.

A shard is handed out only when its length and sha256 are those of the manifest. A broken transfer
goes on where it broke; a shard whose bytes are wrong is fetched once more, then refused by name.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from synthforge.shards import ShardRecord
from trainer.sources import CHUNK_BYTES, Source, TransferError
from trainer.tar_index import Row, read_rows

_FETCHES = 2  # a bad shard is fetched once more, then refused
_RESUMES = 5  # of one fetch whose connection breaks
_FIRST_PAUSE_S = 0.2
_MOST_OPEN = 256  # shards held open by one process


class ShardError(RuntimeError):
    """A shard that cannot be had as the manifest says."""


class _BadShardError(Exception):
    """The bytes fetched are not those of the manifest."""


@dataclass(frozen=True)
class CacheConfig:
    """Where fetched shards are kept.

    Attributes:
        folder: may be shared by processes and kept between runs.
        limit_bytes: shards least recently used are removed beyond it.
    """

    folder: Path
    limit_bytes: int = 50 << 30


class OpenShard:
    """A verified shard, open for reading; the file may be removed meanwhile."""

    def __init__(self, file: int, num_bytes: int) -> None:
        self._file = file
        self.rows: tuple[Row, ...] = read_rows(file, num_bytes)

    def read(self, row: Row, suffix: str) -> bytes:
        """Return the content of one member."""
        offset, size = row.members[suffix]
        return os.pread(self._file, size, offset)

    def __del__(self) -> None:
        os.close(self._file)


class ShardStore:
    """Opens the shards of one dataset. Safe for threads; several processes share one cache.

    Args:
        source: of the dataset.
        cache: for shards that are not files of this machine.
        stamps: folder in which processes of one run tell each other which files they have verified.
        pause: waits before a broken transfer goes on; tests pass their own.
    """

    def __init__(
        self,
        source: Source,
        cache: CacheConfig,
        stamps: Path,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._source, self._cache, self._stamps, self._pause = source, cache, stamps, pause
        self._start()

    def _start(self) -> None:
        self._open: OrderedDict[str, OpenShard] = OrderedDict()
        self._locks: dict[str, threading.Lock] = {}
        self._guard = threading.Lock()

    def __getstate__(self) -> dict[str, object]:
        state = dict(self.__dict__)
        for name in ("_open", "_locks", "_guard"):
            del state[name]
        return state

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._start()

    def open(self, record: ShardRecord) -> OpenShard:
        """Return a shard that is wholly here and right.

        Raises:
            ShardError: it was fetched twice and both were wrong, or it cannot be had.
        """
        with self._guard:
            shard = self._open.get(record.sha256)
            if shard is not None:
                self._open.move_to_end(record.sha256)
                return shard
            lock = self._locks.setdefault(record.sha256, threading.Lock())
        with lock:
            with self._guard:
                shard = self._open.get(record.sha256)
            return shard or self._keep(record, self._opened(record))

    def _keep(self, record: ShardRecord, shard: OpenShard) -> OpenShard:
        with self._guard:
            self._open[record.sha256] = shard
            while len(self._open) > _MOST_OPEN:
                self._open.popitem(last=False)
            self._locks.pop(record.sha256, None)
        return shard

    def _opened(self, record: ShardRecord) -> OpenShard:
        name = f"shard {record.name} of {self._source.url}"
        try:
            with _locked(self._stamps / f"{record.sha256}.lock"):
                file = self._verified(record)
            shard = OpenShard(file, record.num_bytes)
        except (_BadShardError, OSError, ValueError) as error:
            raise ShardError(f"{name}: {error}") from error
        if len(shard.rows) != record.num_samples:
            raise ShardError(f"{name}: {len(shard.rows)} samples, {record.num_samples} in manifest")
        return shard

    def _verified(self, record: ShardRecord) -> int:
        """Return a descriptor of the verified file; a wrong one is got once more."""
        for _ in range(_FETCHES - 1):
            with suppress(_BadShardError):
                return self._looked_at(record)
            self._discard(record)
        return self._looked_at(record)

    def _looked_at(self, record: ShardRecord) -> int:
        """Return a descriptor of the file that is to be had now, if it is right."""
        file = self._obtained(record)
        try:
            self._verify(record, file)
        except BaseException:
            os.close(file)
            raise
        return file

    def _obtained(self, record: ShardRecord) -> int:
        local = self._source.local_path(record.name)
        if local is not None:
            return os.open(local, os.O_RDONLY | os.O_CLOEXEC)
        path = self._cached(record)
        self._cache.folder.mkdir(parents=True, exist_ok=True)
        with _locked(self._cache.folder / f"{record.sha256[:2]}.lock"):
            with suppress(FileNotFoundError):
                file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                os.utime(path, ns=(time.time_ns(), os.fstat(file).st_mtime_ns))
                return file
            return self._download(record, path)

    def _download(self, record: ShardRecord, path: Path) -> int:
        if record.num_bytes > self._cache.limit_bytes:
            raise _BadShardError(
                f"its {record.num_bytes} bytes are more than the cache's limit of "
                f"{self._cache.limit_bytes}: raise it"
            )
        with tempfile.NamedTemporaryFile(dir=self._cache.folder, suffix=".part") as part:
            self._check(record, self._written(record, part))
            self._make_room(record.num_bytes)
            path.unlink(missing_ok=True)
            path.hardlink_to(part.name)
            self._stamp_path(record).write_text(_state_of(part.fileno()))
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def _written(self, record: ShardRecord, part: IO[bytes]) -> tuple[int, str]:
        """Write an object to a file; return length and sha256, taken on the way."""
        digest, num_bytes = hashlib.sha256(), 0
        for chunk in self._chunks(record):
            part.write(chunk)
            digest.update(chunk)
            num_bytes += len(chunk)
            if num_bytes > record.num_bytes:
                break
        part.flush()
        return num_bytes, digest.hexdigest()

    def _chunks(self, record: ShardRecord) -> Iterator[bytes]:
        """Yield an object's bytes; where the connection breaks, go on at that byte."""
        position = 0
        for resume in range(_RESUMES + 1):
            try:
                for chunk in self._source.chunks(record.name, position, record.num_bytes):
                    position += len(chunk)
                    yield chunk
            except TransferError:
                if resume == _RESUMES:
                    raise
                self._pause(_FIRST_PAUSE_S * 2**resume)
            else:
                return

    def _make_room(self, num_bytes: int) -> None:
        """Remove shards least recently used until `num_bytes` more fit; open ones stay readable."""
        held = []
        for path in self._cache.folder.glob("*.tar"):
            with suppress(FileNotFoundError):
                status = path.stat()
                held.append((status.st_atime_ns, status.st_size, path))
        excess = sum(size for _, size, _ in held) + num_bytes - self._cache.limit_bytes
        for _, size, path in sorted(held):
            if excess <= 0:
                return
            path.unlink(missing_ok=True)
            excess -= size

    def _verify(self, record: ShardRecord, file: int) -> None:
        """Check length and hash, once a run for each state of each file."""
        state, path = _state_of(file), self._stamp_path(record)
        with suppress(FileNotFoundError):
            if path.read_text() == state:
                return
        num_bytes = os.fstat(file).st_size
        digest = hashlib.sha256()
        for position in range(0, min(num_bytes, record.num_bytes), CHUNK_BYTES):
            digest.update(os.pread(file, CHUNK_BYTES, position))
        self._check(record, (num_bytes, digest.hexdigest()))
        path.write_text(state)

    def _check(self, record: ShardRecord, found: tuple[int, str]) -> None:
        num_bytes, sha256 = found
        if num_bytes != record.num_bytes:
            raise _BadShardError(f"{num_bytes} bytes, {record.num_bytes} in the manifest")
        if sha256 != record.sha256:
            raise _BadShardError(f"sha256 {sha256}, {record.sha256} in the manifest")

    def _stamp_path(self, record: ShardRecord) -> Path:
        return self._stamps / record.sha256

    def _discard(self, record: ShardRecord) -> None:
        """Remove the cached copy; a file of the dataset itself is left as it is."""
        if self._source.local_path(record.name) is None:
            self._cached(record).unlink(missing_ok=True)

    def _cached(self, record: ShardRecord) -> Path:
        return self._cache.folder / f"{record.sha256}.tar"


def _state_of(file: int) -> str:
    """Return what changes when a file does."""
    status = os.fstat(file)
    return f"{status.st_dev} {status.st_ino} {status.st_size} {status.st_mtime_ns}"


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock that other processes and threads respect."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)
