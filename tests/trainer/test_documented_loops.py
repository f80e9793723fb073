"""The loops of docs/training.md run as they are written, on a dataset that is smaller."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "training.md"


def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


def with_sizes(code: str, sizes: dict[str, str]) -> str:
    """Put other sizes in the place of those that the page names; each must be there."""
    for written, ours in sizes.items():
        assert written in code, f"the page no longer says {written}"
        code = code.replace(written, ours)
    return code


def test_the_ten_line_loop_trains(made: Any) -> None:
    code = with_sizes(
        blocks()[0],
        {
            "s3://bucket/faces": str(made.folder),
            "batch_size=64, workers=4": "batch_size=16",
            "512, 512": "16, 16",
            "range(10)": "range(6)",
            "1e-3": "1e-2",
        },
    )
    losses: list[float] = []
    noted = code.replace("loss.backward()", "loss.backward(); note(loss.item())")
    exec(noted, {"note": losses.append})
    assert len(losses) == 6 * 7
    assert sum(losses[-7:]) < sum(losses[:7])
