"""The manifest with links: whoever has it reads the dataset, without credentials, for a while."""

from __future__ import annotations

import json
from typing import Final

from service import manifests
from service.errors import StorageUnavailableError, invalid
from service.objects import StorageFactory
from service.store.rows import JobRow
from synthforge.shards import Manifest
from synthforge.storage import StorageError, StorageRefused

LINKS_FIELD: Final = "links"  # beside the manifest's own fields: name under the prefix -> URL


def manifest_with_links(open_storage: StorageFactory, job: JobRow, expires_s: int) -> bytes:
    """Return a finished job's manifest with a presigned link for each shard and file.

    Args:
        open_storage: opens the dataset's store.
        job: that made it.
        expires_s: how long the links are good, seconds.

    Raises:
        NotYetError: the job has not succeeded.
        DatasetDeletedError: its dataset is gone.
        InvalidRequestError: the dataset's store has no links.
        StorageUnavailableError: the store does not give the manifest.
    """
    content = manifests.read(open_storage, job)
    manifest = Manifest.model_validate_json(content)
    storage = open_storage(job.output_url)
    named = [shard.name for shard in manifest.shards] + [file.name for file in manifest.files]
    try:
        links = {name: storage.presign(name, expires_s) for name in named}
    except StorageRefused as error:
        raise invalid("links", "presigned", str(error)) from None
    except StorageError as error:
        raise StorageUnavailableError(f"links of job {job.id}: {error}") from None
    # The manifest's own text stays as it is; the links stand behind its last field.
    body = content.rstrip().removesuffix(b"}").rstrip()
    return body + b",\n " + _field(links) + b"\n}\n"


def _field(links: dict[str, str]) -> bytes:
    lines = ",\n  ".join(f"{json.dumps(name)}: {json.dumps(url)}" for name, url in links.items())
    return f'"{LINKS_FIELD}": {{\n  {lines}\n }}'.encode()
