"""Exit 0 if a URL answers 2xx, else 1: the health check of images that hold no curl."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from typing import Final

TIMEOUT_S: Final = 3.0


def is_healthy(url: str) -> bool:
    """Tell whether a GET of `url` is answered 2xx within the time limit; no proxy is asked."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=TIMEOUT_S):
            return True
    except (OSError, urllib.error.HTTPError):
        return False


if __name__ == "__main__":
    sys.exit(0 if is_healthy(sys.argv[1]) else 1)
