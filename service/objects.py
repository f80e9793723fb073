"""The object store as the service sees it: opened by URL, under the allowed prefixes alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from synthforge.storage import Storage, listing_fault, open_storage
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


def warn_of_unlistable(prefixes: Iterable[str], warn: Callable[[str], None]) -> threading.Thread:
    """Warn, beside whatever else starts, of prefixes that cannot be listed: jobs will fail there.

    A store may come up after the service, which is why it is no error. The thread returned ends
    when all was told, and keeps no process alive.
    """

    def look() -> None:
        for prefix in prefixes:
            fault = listing_fault(prefix)
            if fault is not None:
                warn(f"output cannot be listed now, and jobs will fail there: {fault}")

    thread = threading.Thread(target=look, name="store-check", daemon=True)
    thread.start()
    return thread
