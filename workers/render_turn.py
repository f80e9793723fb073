"""Whose turn it is to render: a shard gives way to a preview between two chunks.

One thread renders at a time, so a preview changes no byte of the shard that waits for it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_LOOK_EVERY_S: Final = 0.005


class RenderTurn:
    """A lock that its long holder lends to whoever cuts in."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counting = threading.Lock()
        self._num_waiting = 0

    @contextmanager
    def held(self) -> Iterator[None]:
        """Render for long; call `give_way` between chunks."""
        with self._lock:
            yield

    def give_way(self) -> bool:
        """Let those who wait render first; the turn is held again when this returns.

        Returns:
            Whether anybody did.
        """
        if not self._num_waiting:
            return False
        self._lock.release()
        try:
            while self._num_waiting:
                time.sleep(_LOOK_EVERY_S)
        finally:
            self._lock.acquire()
        return True

    @contextmanager
    def cut_in(self) -> Iterator[None]:
        """Render for a short while, before the long holder goes on."""
        with self._counting:
            self._num_waiting += 1
        try:
            with self._lock:
                yield
        finally:
            with self._counting:
                self._num_waiting -= 1
