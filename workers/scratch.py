"""Local folders for shards on their way: one a process, swept once its process is gone."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from workers.orphans import is_alive

_PREFIX: Final = "synthforge-"


def make_scratch(parent: Path) -> Path:
    """Make this process' folder under `parent`, and sweep those of processes that are gone."""
    parent.mkdir(parents=True, exist_ok=True)
    for left in parent.glob(f"{_PREFIX}*-*"):
        owner = left.name.removeprefix(_PREFIX).partition("-")[0]
        if owner.isdigit() and not is_alive(int(owner)):
            shutil.rmtree(left, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=parent))


@contextmanager
def scratch_folder(parent: Path | None = None) -> Iterator[Path]:
    """Hold this process' folder for the length of a block; by default among temporary files."""
    path = make_scratch(parent or Path(tempfile.gettempdir()))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
