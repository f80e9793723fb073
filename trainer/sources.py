"""Where a dataset's bytes come from: a store, or https links that need no credentials."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit, urlunsplit

import httpx

from synthforge.keys import key_for
from synthforge.shards import MANIFEST_NAME, Manifest
from synthforge.storage import (
    NotFound,
    Storage,
    StorageRefused,
    StorageUnavailable,
    open_storage,
)
from synthforge.urls import canonical_url, parse_url

CHUNK_BYTES = 1 << 20
_TIMEOUT = httpx.Timeout(30.0)
_OF_SERVICE = re.compile(r"/v1/jobs/[^/]+/manifest$")  # asks for the service's key
_LINKS_FIELD = "links"  # beside the manifest's own fields: name under the prefix -> https URL


class TransferError(OSError):
    """A transfer that broke off; a further try may succeed."""


class Source(Protocol):
    """The objects of one dataset, by their name under its prefix."""

    @property
    def url(self) -> str:
        """What to call it in messages."""
        ...

    def manifest(self) -> Manifest:
        """Return the dataset's manifest."""
        ...

    def local_path(self, name: str) -> Path | None:
        """Return the object's file where it lies on this machine, else None."""
        ...

    def chunks(self, name: str, start: int, stop: int) -> Iterator[bytes]:
        """Yield the object's bytes from `start` on; one that is no `stop` bytes long may end early.

        Raises:
            TransferError: the transfer broke off.
            OSError: there is no such object, or no right to read it.
        """
        ...


class StoredSource:
    """A dataset in a store: a directory or a bucket."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    @property
    def url(self) -> str:
        """The store's prefix."""
        return self._storage.url

    def manifest(self) -> Manifest:
        """Read the manifest."""
        with _as_os_error(f"{self.url}: no dataset, which exists once its job has succeeded"):
            return Manifest.model_validate_json(self._storage.get_bytes(MANIFEST_NAME))

    def local_path(self, name: str) -> Path | None:
        """Return the file of a directory's object."""
        location = parse_url(self.url)
        return Path(location.path, name) if location.scheme == "file" else None

    def chunks(self, name: str, start: int, stop: int) -> Iterator[bytes]:
        """Yield the object's bytes from `start` on."""
        with _as_os_error(f"{name} of {self.url}"):
            if start == 0:
                yield from self._storage.stream(name)
                return
            for offset in range(start, stop, CHUNK_BYTES):
                yield self._storage.read_range(name, offset, min(CHUNK_BYTES, stop - offset))


class LinkedSource:
    """A dataset behind https: a manifest, and for each object a link.

    The manifest's document may carry `links` (name -> URL, as presigned ones are given); a name
    that it lacks is looked for beside the manifest, as on a public bucket. Links that have lapsed
    are renewed by fetching the document once more.
    """

    def __init__(self, manifest_url: str) -> None:
        self._manifest_url = manifest_url
        self._links: Mapping[str, str] = {}
        self._client: httpx.Client | None = None

    @property
    def url(self) -> str:
        """The manifest's URL without its query, where a signature may stand."""
        return urlunsplit((*urlsplit(self._manifest_url)[:3], "", ""))

    def manifest(self) -> Manifest:
        """Fetch the manifest and its links."""
        url = self._manifest_url
        key = key_for(url) if _OF_SERVICE.search(urlsplit(url).path) else None
        headers = {"Authorization": f"Bearer {key}"} if key else None
        response = _checked(url, self._connected().get(url, headers=headers))
        document = json.loads(response.content)
        self._links = document.pop(_LINKS_FIELD, {})
        return Manifest.model_validate_json(json.dumps(document))

    def local_path(self, name: str) -> Path | None:
        """Return None: nothing of it lies here."""
        del name
        return None

    def chunks(self, name: str, start: int, stop: int) -> Iterator[bytes]:
        """Yield the object's bytes from `start` on; a broken transfer is a `TransferError`."""
        del stop
        link = self._links.get(name)
        try:
            yield from self._chunks(name, link or self._beside(name), start)
        except PermissionError:
            # Told before the first byte. Another thread may have renewed the links already.
            if link is None or (link == self._links.get(name) and not self._is_renewed(name, link)):
                raise
            yield from self._chunks(name, self._links[name], start)

    def _is_renewed(self, name: str, link: str) -> bool:
        """Fetch the manifest's document again; tell whether it gives another link."""
        self.manifest()
        return self._links.get(name, link) != link

    def _chunks(self, name: str, url: str, start: int) -> Iterator[bytes]:
        headers = {"Range": f"bytes={start}-"} if start else {}
        skip = start
        try:
            with self._connected().stream("GET", url, headers=headers) as response:
                _checked(url, response)
                if response.status_code == httpx.codes.PARTIAL_CONTENT:
                    skip = 0
                for chunk in response.iter_bytes(CHUNK_BYTES):
                    if len(chunk) > skip:
                        yield chunk[skip:]
                    skip = max(skip - len(chunk), 0)
        except httpx.TransportError as error:
            raise TransferError(f"{name} of {self.url}: {type(error).__name__} {error}") from error

    def _beside(self, name: str) -> str:
        scheme, host, path, query, _ = urlsplit(self._manifest_url)
        return urlunsplit((scheme, host, f"{path.rpartition('/')[0]}/{name}", query, ""))

    def _connected(self) -> httpx.Client:
        if self._client is None:
            self._client = httpx.Client(timeout=_TIMEOUT, follow_redirects=True)
        return self._client

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_client": None}  # a connection does not travel to a worker


def open_source(url: str) -> Source:
    """Return the dataset at a URL.

    Args:
        url: `s3://bucket/prefix`, `file:///folder`, a plain folder, or the http(s) URL of a
            manifest (a folder's URL stands for its manifest.json).
    """
    if url.startswith(("http://", "https://")):
        parts = urlsplit(url)
        is_document = parts.path.rsplit("/", 1)[-1] not in {"", parts.path} and (
            parts.path.endswith(".json") or bool(parts.query)
        )
        path = parts.path if is_document else f"{parts.path.rstrip('/')}/{MANIFEST_NAME}"
        return LinkedSource(urlunsplit((*parts[:2], path, parts.query, "")))
    return StoredSource(open_storage(canonical_url(url, working_folder=str(Path.cwd()))))


@contextmanager
def _as_os_error(name: str) -> Iterator[None]:
    """Turn a store's errors to those of the other sources."""
    try:
        yield
    except StorageUnavailable as error:
        raise TransferError(f"{name}: {error}") from error
    except NotFound as error:
        raise FileNotFoundError(f"{name}: {error}") from error
    except StorageRefused as error:
        raise PermissionError(f"{name}: {error}") from error


def _checked(url: str, response: httpx.Response) -> httpx.Response:
    """Return a good answer; tell one that may become good from one that will not."""
    if response.is_success:
        return response
    shown = urlunsplit((*urlsplit(url)[:3], "", ""))
    message = f"GET {shown} answered {response.status_code}"
    if response.status_code in {404, 410}:
        raise FileNotFoundError(message)
    if response.status_code in {401, 403}:
        raise PermissionError(f"{message}: the link has lapsed or is not signed for this")
    raise TransferError(message)
