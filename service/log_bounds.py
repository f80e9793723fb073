"""How much of a job's log is kept: so many lines, so many bytes, the newest."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

MAX_LINES: Final = 2000  # of one job
MAX_BYTES: Final = 1 << 20
# A log that is full is cut down so far at once, so that it is not cut at every line from then on.
_KEPT_SHARE: Final = 0.9


def is_over(num_lines: int, num_bytes: int) -> bool:
    """Tell whether a job's log is longer than it may be."""
    return num_lines > MAX_LINES or num_bytes > MAX_BYTES


def num_kept(newest_first: Iterable[int]) -> int:
    """Return how many of a log's newest lines stay when it is cut.

    Args:
        newest_first: bytes of each line.
    """
    count = total = 0
    for num_bytes in newest_first:
        total += num_bytes
        if count + 1 > _KEPT_SHARE * MAX_LINES or total > _KEPT_SHARE * MAX_BYTES:
            break
        count += 1
    return count
