"""The manifest with links: whoever has it reads the dataset, without credentials, for a while."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain
from typing import Final

from service import manifests
from service.errors import StorageUnavailableError, invalid
from service.named_shards import NamedShards
from service.objects import StorageFactory
from service.store.rows import JobRow
from synthforge.manifest_reader import ManifestReader
from synthforge.shards import MANIFEST_NAME
from synthforge.storage import Storage, StorageError, StorageRefused

LINKS_FIELD: Final = "links"  # beside the manifest's own fields: name under the prefix -> URL
_LINKS_AT_ONCE: Final = 256  # in a piece of the answer


def manifest_with_links(
    open_storage: StorageFactory, job: JobRow, expires_s: int
) -> Iterator[bytes]:
    """Open a finished job's manifest, and return it in pieces, with a presigned link a file.

    Its own text stays as it is; the links stand behind its last field. Of a million shards the
    names' hashes are held meanwhile, 17 MB, and nothing else.

    Args:
        open_storage: opens the dataset's store.
        job: that made it.
        expires_s: how long the links are good, seconds.

    Raises: at the call; later only what breaks on the way.
        NotYetError: the job has not succeeded.
        DatasetDeletedError: its dataset is gone.
        InvalidRequestError: the dataset's store has no links.
        StorageUnavailableError: the store does not give the manifest.
    """
    text = manifests.stream(open_storage, job)
    storage = open_storage(job.output_url)
    try:
        storage.presign(MANIFEST_NAME, expires_s)
    except StorageRefused as error:
        raise invalid("links", "presigned", str(error)) from None
    except StorageError as error:
        raise StorageUnavailableError(f"links of job {job.id}: {error}") from None
    pieces = _pieces(text, storage, job, expires_s)
    return chain([next(pieces)], pieces)


def _pieces(
    text: Iterator[bytes], storage: Storage, job: JobRow, expires_s: int
) -> Iterator[bytes]:
    read: list[bytes] = []  # and not yet passed on

    def noted() -> Iterator[bytes]:
        for piece in text:
            read.append(piece)
            yield piece

    names = NamedShards()
    try:
        manifest = ManifestReader(noted())
        for shard in manifest.shards():
            names.add(shard)
            if len(read) > 1:  # the last may hold the end, which links stand before
                yield b"".join(read[:-1])
                del read[:-1]
    except ValueError as error:
        raise StorageUnavailableError(f"manifest of job {job.id}: {error}") from None
    yield b"".join(read).rstrip().removesuffix(b"}").rstrip()
    files = (file.name for file in manifest.head.files)
    yield from _field(chain(names.names(), files), storage, expires_s)


def _field(names: Iterator[str], storage: Storage, expires_s: int) -> Iterator[bytes]:
    lines: list[str] = []
    before = f',\n "{LINKS_FIELD}": {{\n  '
    for name in names:
        lines.append(f"{json.dumps(name)}: {json.dumps(storage.presign(name, expires_s))}")
        if len(lines) == _LINKS_AT_ONCE:
            yield (before + ",\n  ".join(lines)).encode()
            lines.clear()
            before = ",\n  "
    yield (before + ",\n  ".join(lines) if lines else "").encode() + b"\n }\n}\n"
