"""A cache that is bounded by bytes: what was not asked for longest makes room."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V")


class SizedCache(Generic[_K, _V]):
    """Values by key; safe to use from several threads."""

    def __init__(self, max_bytes: int, size_of: Callable[[_V], int]) -> None:
        """Hold nothing yet.

        Args:
            max_bytes: of all values together; a larger one is made, and not kept.
            size_of: bytes that a value takes, about.
        """
        self._max_bytes = max_bytes
        self._size_of = size_of
        self._held: OrderedDict[_K, _V] = OrderedDict()
        self._lock = threading.Lock()
        self.num_bytes = 0

    def get(self, key: _K, make: Callable[[], _V]) -> _V:
        """Return the value of a key; made outside of the lock, twice where two ask at once."""
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                return self._held[key]
        made = make()
        size = self._size_of(made)
        with self._lock:
            if key in self._held or size > self._max_bytes:
                return made
            self._held[key] = made
            self.num_bytes += size
            while self.num_bytes > self._max_bytes:
                _, oldest = self._held.popitem(last=False)
                self.num_bytes -= self._size_of(oldest)
        return made
