"""Any S3-compatible store. Endpoint, region and keys come from the usual AWS_* variables.

Nothing here trusts an ETag (it is no hash once a file went up in parts) or needs conditional puts
(not every store has them). Payloads are signed, so a store refuses a body that changed on the way,
and each put is read back and hashed.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from boto3.s3.transfer import TransferConfig
from boto3.session import Session
from botocore.config import Config
from botocore.session import get_session

from synthforge.shards import StoredFile
from synthforge.storage.protocol import (
    CHUNK_BYTES,
    MAX_LINK_S,
    NotFound,
    StorageRefused,
    StorageUnavailable,
    StoredObject,
    check_range,
    hash_stream,
    uncounted,
)
from synthforge.storage.s3_errors import typed_s3_errors
from synthforge.urls import Location, check_key

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from mypy_boto3_s3 import S3Client

_PART_BYTES: Final = 16 << 20  # 10,000 parts at most: objects up to 160 GB
_TRANSFER: Final = TransferConfig(
    multipart_threshold=2 * _PART_BYTES, multipart_chunksize=_PART_BYTES, max_concurrency=4
)
_NUM_PUTS: Final = 3  # a put that reads back wrong is put again
_PAGE_KEYS: Final = 1000  # of a listing: the most that S3 gives
_NUM_READS: Final = 5  # a stream that breaks off goes on from where it was


@dataclass(frozen=True)
class Patience:
    """How long a request may take: to connect, between two bytes (s), and how often it is sent."""

    connect_s: int
    read_s: int
    attempts: int


# standard retries: exponential back-off with full jitter, 20 s at most
USUAL: Final = Patience(connect_s=10, read_s=60, attempts=6)
ONCE: Final = Patience(connect_s=1, read_s=2, attempts=1)


@dataclass(frozen=True)
class S3Storage:
    """Objects below `s3://bucket/prefix`; see `Storage` for the methods.

    Attributes:
        location: bucket and prefix.
        on_bytes: called, by other threads too, with what was just sent or received.
        patience: of each request.
    """

    location: Location
    on_bytes: Callable[[int], None] = field(default=uncounted, compare=False)
    patience: Patience = field(default=USUAL, compare=False)

    @property
    def url(self) -> str:
        """The canonical URL of the prefix."""
        return str(self.location)

    def put_file(self, path: Path, key: str, sha256: str) -> StoredFile:
        """Upload a file, in parts if it is large."""
        num_bytes = path.stat().st_size
        with path.open("rb") as source:
            if hash_stream(iter(lambda: source.read(CHUNK_BYTES), b"")) != (num_bytes, sha256):
                raise StorageRefused(f"{key}: the file's sha256 is not {sha256}")
        stored = StoredFile(name=key, num_bytes=num_bytes, sha256=sha256)
        if self.head(key) == num_bytes and self._reads_back(stored):
            return stored
        return self._put(stored, lambda: path.open("rb"))

    def put_bytes(self, key: str, data: bytes) -> StoredFile:
        """Upload bytes."""
        digest = hashlib.sha256(data).hexdigest()
        stored = StoredFile(name=key, num_bytes=len(data), sha256=digest)
        return self._put(stored, lambda: io.BytesIO(data))

    def copy(self, source: str, key: str, sha256: str) -> StoredFile:
        """Copy an object inside the store, in parts if it is large."""
        num_bytes = self.head(source)
        if num_bytes is None:
            raise NotFound(f"{source}: no such object under {self.url}")
        bucket = self.location.bucket
        with typed_s3_errors(self.url, key):
            self._client.copy(
                {"Bucket": bucket, "Key": self._key(source)},
                bucket,
                self._key(key),
                Config=_TRANSFER,
            )
        stored = StoredFile(name=key, num_bytes=num_bytes, sha256=sha256)
        if not self._reads_back(stored):
            raise StorageRefused(f"{key}: the sha256 of {source} is not {sha256}")
        return stored

    def get_bytes(self, key: str, *, max_bytes: int | None = None) -> bytes:
        """Download an object."""
        num_bytes = self.head(key)
        if num_bytes is None:
            raise NotFound(f"{key}: no such object under {self.url}")
        if max_bytes is not None and num_bytes > max_bytes:
            raise StorageRefused(f"{key}: {num_bytes} bytes are more than {max_bytes}")
        return b"".join(self.stream(key))

    def stream(self, key: str) -> Iterator[bytes]:
        """Download in chunks; a connection that breaks off is resumed at the byte it reached."""
        return self._read(key, 0, None)

    def read_range(self, key: str, offset: int, length: int) -> bytes:
        """Download part of an object."""
        check_range(key, offset, length)
        data = b"".join(self._read(key, offset, length)) if length else b""
        if len(data) != length:
            raise StorageRefused(f"{key}: it ends before byte {offset + length}")
        return data

    def head(self, key: str) -> int | None:
        """Ask for an object's size."""
        try:
            with typed_s3_errors(self.url, key):
                found = self._client.head_object(Bucket=self.location.bucket, Key=self._key(key))
                return found["ContentLength"]
        except NotFound:
            return None

    def list_objects(self, folder: str = "") -> Iterator[StoredObject]:
        """List page by page."""
        base = f"{self.location.path}/" if self.location.segments else ""
        prefix = f"{base}{check_key(folder)}/" if folder else base
        with typed_s3_errors(self.url, folder):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.location.bucket,
                Prefix=prefix,
                PaginationConfig={"PageSize": _PAGE_KEYS},
            )
            for page in pages:
                for found in page.get("Contents", ()):
                    key = found["Key"].removeprefix(base)
                    yield StoredObject(key, found["Size"], found["LastModified"].timestamp())

    def delete(self, key: str) -> None:
        """Delete an object."""
        try:
            with typed_s3_errors(self.url, key):
                self._client.delete_object(Bucket=self.location.bucket, Key=self._key(key))
        except NotFound:
            return

    def presign(self, key: str, expires_s: int) -> str:
        """Sign a link; the store is not asked."""
        if not 1 <= expires_s <= MAX_LINK_S:
            raise StorageRefused(f"{key}: a link lasts 1 to {MAX_LINK_S} s, not {expires_s}")
        with typed_s3_errors(self.url, key):
            return self._client.generate_presigned_url(
                "get_object",
                Params={"Bucket": self.location.bucket, "Key": self._key(key)},
                ExpiresIn=expires_s,
            )

    @property
    def _client(self) -> S3Client:
        # Sockets must not be shared with a forked process (loader workers are forked).
        settings = tuple(item for item in os.environ.items() if item[0].startswith("AWS_"))
        return _client_of(os.getpid(), settings, self.patience)

    def _key(self, key: str) -> str:
        return "/".join((*self.location.segments, check_key(key)))

    def _put(self, stored: StoredFile, open_source: Callable[[], BinaryIO]) -> StoredFile:
        """Put, read back, compare; a wrong object is put again, and in the end removed."""
        for _ in range(_NUM_PUTS):
            with typed_s3_errors(self.url, stored.name), open_source() as source:
                self._client.upload_fileobj(
                    source,
                    self.location.bucket,
                    self._key(stored.name),
                    Callback=self.on_bytes,
                    Config=_TRANSFER,
                )
            if self._reads_back(stored):
                return stored
        self.delete(stored.name)
        raise StorageUnavailable(
            f"{stored.name}: {self.url} gave other bytes back after {_NUM_PUTS} puts"
        )

    def _reads_back(self, stored: StoredFile) -> bool:
        try:
            return hash_stream(self.stream(stored.name)) == (stored.num_bytes, stored.sha256)
        except NotFound:
            return False

    def _read(self, key: str, offset: int, length: int | None) -> Iterator[bytes]:
        position, end = offset, None if length is None else offset + length
        etag: str | None = None
        for attempt in range(1, _NUM_READS + 1):
            try:
                with typed_s3_errors(self.url, key):
                    body, etag = self._open(key, position, end, etag)
                    with body:
                        while chunk := body.read(CHUNK_BYTES):
                            position += len(chunk)
                            self.on_bytes(len(chunk))
                            yield chunk
                        return
            except StorageUnavailable:
                if attempt == _NUM_READS:
                    raise

    def _open(
        self, key: str, start: int, end: int | None, etag: str | None
    ) -> tuple[StreamingBody, str]:
        """Open an object from a byte on; with an etag, only if it is still the same one."""
        wanted: dict[str, Any] = {} if etag is None else {"IfMatch": etag}
        if start or end is not None:
            wanted["Range"] = f"bytes={start}-" if end is None else f"bytes={start}-{end - 1}"
        found = self._client.get_object(Bucket=self.location.bucket, Key=self._key(key), **wanted)
        return found["Body"], found["ETag"]


@lru_cache(maxsize=4)
def _client_of(
    process_id: int,  # noqa: ARG001
    settings: tuple[tuple[str, str], ...],
    patience: Patience,
) -> S3Client:
    """Return the client of a process and its AWS_* variables, made once."""
    named = dict(settings)
    endpoint = named.get("AWS_ENDPOINT_URL_S3") or named.get("AWS_ENDPOINT_URL")
    region = named.get("AWS_REGION") or named.get("AWS_DEFAULT_REGION")
    config = Config(
        connect_timeout=patience.connect_s,
        read_timeout=patience.read_s,
        retries={"mode": "standard", "total_max_attempts": patience.attempts},
        max_pool_connections=32,
        tcp_keepalive=True,
        signature_version="s3v4",
        # The default, CRC32 trailers, is refused by stores that are not Amazon's.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": "path" if endpoint else "auto", "payload_signing_enabled": True},
    )
    core = get_session()
    # Read from JSON once, it saves nine tenths of a client's 0.1 s; forked processes inherit it.
    core.register_component("data_loader", _what_aws_can_do())
    with typed_s3_errors("AWS_* variables", ""):
        return Session(botocore_session=core).client(
            "s3", region_name=region or "us-east-1", endpoint_url=endpoint or None, config=config
        )


@cache
def _what_aws_can_do() -> Any:
    """Return botocore's loader of service descriptions, which keeps what it has read."""
    return get_session().get_component("data_loader")
