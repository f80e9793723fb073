"""Where this user's programs keep what they have fetched, on this machine."""

from __future__ import annotations

import os
from pathlib import Path


def default_cache_folder() -> Path:
    """Return SYNTHFORGE_CACHE, or the user's own cache folder."""
    own = os.environ.get("SYNTHFORGE_CACHE")
    if own:
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "synthforge"
