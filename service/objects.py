"""The object store as the service sees it: opened by URL, under the allowed prefixes alone."""

from __future__ import annotations

from collections.abc import Callable

from synthforge.storage import Storage, open_storage
from synthforge.urls import is_under

StorageFactory = Callable[[str], Storage]


def storage_under(prefixes: tuple[str, ...]) -> StorageFactory:
    """Return what opens the store at a URL under one of the prefixes.

    The prefixes are the operator's own and trusted; below them no symbolic link is followed.
    It raises StorageRefused for any other URL.
    """

    def opened(url: str) -> Storage:
        root = next((prefix for prefix in prefixes if is_under(url, prefix)), prefixes[0])
        return open_storage(url, root=root)

    return opened
