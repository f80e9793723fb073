"""Makes keys: random, shown once, kept as a hash."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from service.access import hash_key
from service.store import Store
from service.store.rows import KeyRow
from synthforge.keys import KeyRequest

_PREFIX: Final = "sf_"  # by which scanners of leaked secrets may know one
_SECRET_BYTES: Final = 32


def issue(store: Store, wanted: KeyRequest, key: str | None = None) -> tuple[KeyRow, str]:
    """Make a key.

    Args:
        store: that keeps its hash.
        wanted: its name, scopes and limits.
        key: its text, where the caller made one; the same text again gives the same key.

    Returns:
        What is kept of it, and its text, which is told nowhere else.
    """
    made = key or _PREFIX + secrets.token_urlsafe(_SECRET_BYTES)
    return store.keys.create(wanted, hash_key(made)), made


@contextmanager
def issued_for(store: Store, wanted: KeyRequest) -> Iterator[str]:
    """Make a key for as long as a block runs; then it is revoked."""
    row, key = issue(store, wanted)
    try:
        yield key
    finally:
        store.keys.revoke(row.id)
