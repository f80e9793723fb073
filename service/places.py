"""Where a job's dataset may lie: below an allowed prefix, and apart from whatever is there."""

from __future__ import annotations

from itertools import islice
from typing import Final

from service.errors import (
    InvalidRequestError,
    OutputTakenError,
    StorageUnavailableError,
    field_error,
    invalid,
)
from service.objects import StorageFactory
from service.settings import Settings
from synthforge.jobs import JobSpec
from synthforge.shards import (
    MANIFEST_FOLDER,
    MANIFEST_NAME,
    PARTS_FOLDER,
    SHARD_FOLDER,
    SUMMARY_NAMES,
    is_own_key,
)
from synthforge.storage import Storage, StorageError, StorageRefused
from synthforge.urls import UrlError, canonical_url, is_under, join_url, without_credentials

_FOLDERS: Final = (SHARD_FOLDER, PARTS_FOLDER, MANIFEST_FOLDER)
# Of what earlier jobs left in a folder: a page of a listing. Sweeps spare other names anyway.
_LOOKED_AT: Final = 1000


def output_url_of(spec: JobSpec, settings: Settings, job_id: str) -> str:
    """Return where a job's dataset goes, in canonical form.

    Raises:
        InvalidRequestError: the URL is none, lies outside the allowed prefixes, or is one of them.
    """
    if spec.output.url is None:
        return join_url(settings.output_prefixes[0], job_id)
    try:
        url = canonical_url(spec.output.url)
    except UrlError as error:
        fault = field_error("output.url", without_credentials(spec.output.url), str(error))
        raise InvalidRequestError(f"output.url: {error}", [fault]) from None
    if not any(is_under(url, prefix) for prefix in settings.output_prefixes):
        allowed = ", ".join(settings.output_prefixes)
        raise invalid("output.url", spec.output.url, f"a URL under one of {allowed} would do")
    if url in settings.output_prefixes and settings.whole_prefix == "refused":
        below = join_url(url, "faces")
        message = f"it is where all datasets of the service lie: a folder below, as {below}, would"
        raise invalid("output.url", spec.output.url, f"{message} do")
    return url


def check_place(open_storage: StorageFactory, url: str, *, is_ours: bool) -> None:
    """Check that nothing lies at a prefix that a job would write over or sweep.

    Args:
        open_storage: opens the store.
        url: the prefix, canonical.
        is_ours: a job of ours wrote there, and has no dataset there (any more): what it left, or
            sent after it was deleted, may stay.

    Raises:
        OutputTakenError: naming the first object that lies there.
        InvalidRequestError: the store refuses to tell.
        StorageUnavailableError: the store does not answer.
    """
    try:
        found = _first_foreign(open_storage(url), is_ours=is_ours)
    except StorageRefused as error:
        raise invalid("output.url", url, f"it cannot be written to: {error}") from None
    except StorageError as error:
        raise StorageUnavailableError(f"output.url {url}: {error}") from None
    if found is None:
        return
    if found == MANIFEST_NAME:
        message = "a dataset lies there already: a prefix apart would do"
    else:
        message = f"{found} lies there already, and is of no job of ours: an empty prefix would do"
    raise OutputTakenError(
        f"output.url is {url!r}: {message}", [field_error("output.url", url, message)]
    )


def _first_foreign(storage: Storage, *, is_ours: bool) -> str | None:
    """Return the first key at a prefix that no ended job of ours can have left there."""
    if storage.head(MANIFEST_NAME) is not None:
        return MANIFEST_NAME
    has_left = False
    for folder in _FOLDERS:
        for found in islice(storage.list_objects(folder), _LOOKED_AT):
            if found.key.endswith("/"):  # a console's mark of a folder: it holds nothing
                continue
            if not (is_ours and is_own_key(found.key)):
                return found.key
            has_left = True
    # A summary's files have everybody's names: they are a job's where its shards are.
    names = () if has_left else SUMMARY_NAMES
    return next((name for name in names if storage.head(name) is not None), None)
