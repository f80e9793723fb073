"""The record of a run: one JSON line a step."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Final, Self

from trainer.loop import StepReport

HISTORY_NAME: Final = "history.jsonl"


class History:
    """The file, from a step on: what a stopped run took beyond it is taken again.

    Args:
        path: of the file.
        step: of the checkpoint that the run goes on from, 0 for a fresh one.
    """

    def __init__(self, path: Path, step: int) -> None:
        forget_after(path, step)
        self._file = path.open("a", buffering=1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._file.close()

    def add_step(self, report: StepReport) -> None:
        """Write one step."""
        self._file.write(json.dumps(asdict(report)) + "\n")


def forget_after(history: Path, step: int) -> None:
    """Drop the steps that a stopped run took after its last checkpoint: they are taken again."""
    lines = history.read_text().splitlines() if step and history.exists() else []
    kept = [line for line in lines if json.loads(line)["step"] <= step]
    history.write_text("".join(f"{line}\n" for line in kept))
