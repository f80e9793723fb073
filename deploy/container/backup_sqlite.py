"""Copy a live SQLite database: a consistent file, while the service goes on writing.

Usage: backup_sqlite.py SOURCE TARGET
"""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from pathlib import Path


def backup(source: Path, target: Path) -> None:
    """Copy `source`, its write-ahead log included, to `target`, which appears whole or not at all.

    Raises:
        FileNotFoundError: there is no database at `source`.
        sqlite3.DatabaseError: the copy fails SQLite's own integrity check.
    """
    if not source.is_file():
        raise FileNotFoundError(f"{source}: no such database")
    partial = target.with_name(f"{target.name}.partial")
    partial.unlink(missing_ok=True)
    with closing(sqlite3.connect(source)) as live, closing(sqlite3.connect(partial)) as copy:
        live.backup(copy)
        # One file to carry away: a copy in WAL mode would grow two more beside it.
        copy.execute("PRAGMA journal_mode = DELETE")
        (verdict,) = copy.execute("PRAGMA integrity_check").fetchone()
    if verdict != "ok":
        raise sqlite3.DatabaseError(f"{partial}: {verdict}")
    partial.replace(target)


if __name__ == "__main__":
    backup(Path(sys.argv[1]), Path(sys.argv[2]))
