"""Where an execution is, in a small file that outlives its process, however that one ends.

A worker's own count of samples is told now and then; what killed it lies behind the last telling.
The recorder is a page of memory shared with a file: a write costs nanoseconds, and the kernel keeps
it when the process is gone.
"""

from __future__ import annotations

import mmap
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_NAME: Final = "flight-recorder"
_POSITION: Final = struct.Struct("<q")
_TOLD_AT: Final = _POSITION.size
_TOKEN_AT: Final = 16
_TOKEN_BYTES: Final = 64
_NUM_BYTES: Final = _TOKEN_AT + _TOKEN_BYTES


@dataclass(frozen=True)
class LastWords:
    """What a worker that is gone was doing.

    Attributes:
        token: of the lease that it made a shard of; '' if none.
        position: samples of the plan before the one at work.
        was_told_to_leave: it got SIGTERM.
    """

    token: str
    position: int
    was_told_to_leave: bool


class FlightRecorder:
    """One worker's file; one execution at a time is recorded."""

    def __init__(self, folder: Path) -> None:
        """Make the file in a folder that is there."""
        path = folder / _NAME
        path.write_bytes(bytes(_NUM_BYTES))
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            self._page = mmap.mmap(file, _NUM_BYTES)
        finally:
            os.close(file)
        self.position = 0

    def begin(self, token: str) -> None:
        """Note that the work of a lease begins."""
        self.at(0)  # first, lest the new token stand beside the old position
        self._page[_TOKEN_AT:] = token.encode()[:_TOKEN_BYTES].ljust(_TOKEN_BYTES, b"\0")

    def at(self, position: int) -> None:
        """Note how many samples of the plan come before the one at work."""
        self._page[: _POSITION.size] = _POSITION.pack(position)
        self.position = position

    def told_to_leave(self) -> None:
        """Note that the process got SIGTERM."""
        self._page[_TOLD_AT] = 1


def read_last_words(folder: Path) -> LastWords | None:
    """Read what a worker left in its folder; None if it left nothing that can be read."""
    try:
        page = (folder / _NAME).read_bytes()
    except OSError:
        return None
    if len(page) != _NUM_BYTES:
        return None
    (position,) = _POSITION.unpack_from(page)
    return LastWords(
        token=page[_TOKEN_AT:].rstrip(b"\0").decode(errors="replace"),
        position=position,
        was_told_to_leave=bool(page[_TOLD_AT]),
    )
