"""The record of a run: one JSON line a step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

HISTORY_NAME: Final = "history.jsonl"


def forget_after(history: Path, step: int) -> None:
    """Drop the steps that a stopped run took after its last checkpoint: they are taken again."""
    lines = history.read_text().splitlines() if step and history.exists() else []
    kept = [line for line in lines if json.loads(line)["step"] <= step]
    history.write_text("".join(f"{line}\n" for line in kept))
