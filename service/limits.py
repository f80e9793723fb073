"""How often: a bucket of tokens that fills at a steady rate, with `now` as an argument."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

_MAX_BUCKETS: Final = 10_000  # the longest unused goes first: it would be full anyway


@dataclass
class _Bucket:
    tokens: float
    filled_at: float


class RateLimit:
    """So many requests a second for each name, twice as many at once; safe to use from threads."""

    def __init__(self, rate_per_s: float) -> None:
        self._rate_per_s = rate_per_s
        self._burst = 2 * rate_per_s
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, name: str, now: float) -> float:
        """Let one request pass, or return how many seconds it should wait; 0.0 lets it pass."""
        with self._lock:
            return self._take(name, now)

    def _take(self, name: str, now: float) -> float:
        bucket = self._buckets.get(name)
        if bucket is None:
            bucket = self._buckets[name] = _Bucket(self._burst, now)
            if len(self._buckets) > _MAX_BUCKETS:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(name)
            filled = bucket.tokens + (now - bucket.filled_at) * self._rate_per_s
            bucket.tokens, bucket.filled_at = min(filled, self._burst), now
        if bucket.tokens < 1.0:
            return (1.0 - bucket.tokens) / self._rate_per_s
        bucket.tokens -= 1.0
        return 0.0
