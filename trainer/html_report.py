"""What a fit came to, as one HTML file that needs nothing beside it."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

_WIDTH: Final = 640
_HEIGHT: Final = 220
_MARGIN: Final = 44
_MOST_POINTS: Final = 400  # of a curve: more are not to be told apart
_STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1000px; margin: 2em auto; color: #222; }
table { border-collapse: collapse; } td, th { padding: 2px 14px 2px 0; text-align: left; }
td.value { text-align: right; font-variant-numeric: tabular-nums; white-space: pre; }
figure { margin: 1em 0; } figcaption { color: #666; } img { max-width: 100%; display: block; }
svg text { font-size: 11px; fill: #666; } .curves { display: flex; flex-wrap: wrap; gap: 1em; }
"""


def write_report(
    path: Path,
    title: str,
    rows: Sequence[tuple[str, str]],
    history: Path,
    pictures: Mapping[str, NDArray[np.uint8]],
    settings: Mapping[str, object],
) -> None:
    """Write a report.

    Args:
        path: of the HTML file.
        title: its heading.
        rows: names and values of the figures.
        history: file with a line of JSON for each step.
        pictures: caption -> (H, W, 3) RGB.
        settings: shown at the end as JSON.
    """
    steps = [json.loads(line) for line in history.read_text().splitlines()]
    cells = "".join(
        f"<tr><td>{html.escape(name)}</td><td class=value>{html.escape(value)}</td></tr>"
        for name, value in rows
    )
    shown = html.escape(json.dumps(settings, indent=1, default=str))
    path.write_text(
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{html.escape(title)}</title>"
        f"<style>{_STYLE}</style><h1>{html.escape(title)}</h1><table>{cells}</table>"
        f"<h2>Curves</h2><div class=curves>{''.join(_curves(steps))}</div>"
        f"<h2>Faces</h2>{''.join(_figure(*each) for each in pictures.items())}"
        f"<h2>Settings</h2><details><summary>recipe</summary><pre>{shown}</pre></details></html>\n",
        encoding="utf-8",
    )


def _curves(steps: list[dict[str, object]]) -> list[str]:
    if not steps:
        return []
    names = [f"terms.{name}" for name in dict(steps[-1]["terms"])]  # type: ignore[call-overload]
    return [_curve(name, steps) for name in ("loss", "learning_rate", *names)]


def _curve(name: str, steps: list[dict[str, object]]) -> str:
    """Return one curve as SVG: each point the mean of a stretch of steps."""
    path = name.split(".")
    held = [_number(step, path) for step in steps]
    parts = np.array_split(np.array(held), min(len(held), _MOST_POINTS))
    values = np.array([float(np.mean(part)) for part in parts])
    low, high = float(values.min()), float(values.max())
    x = np.linspace(_MARGIN, _WIDTH - 8, len(values))
    y = _HEIGHT - 24 - (values - low) / max(high - low, 1e-12) * (_HEIGHT - 40)
    line = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    return (
        f"<figure><svg width={_WIDTH // 2} viewBox='0 0 {_WIDTH} {_HEIGHT}' role=img>"
        f"<polyline fill=none stroke='#1565c0' stroke-width=2 points='{line}'/>"
        f"<text x=2 y=20>{high:.3g}</text><text x=2 y={_HEIGHT - 24}>{low:.3g}</text>"
        f"<text x={_WIDTH - 70} y={_HEIGHT - 6}>step {len(held)}</text></svg>"
        f"<figcaption>{html.escape(path[-1])}, at the end {values[-1]:.4g}</figcaption></figure>"
    )


def _number(step: dict[str, object], path: list[str]) -> float:
    held: object = step
    for name in path:
        held = dict(held)[name]  # type: ignore[call-overload]
    return float(held)  # type: ignore[arg-type]


def _figure(caption: str, picture: NDArray[np.uint8]) -> str:
    packed = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])[1]
    data = base64.b64encode(packed.tobytes()).decode()
    return (
        f"<figure><img alt='{html.escape(caption)}' src='data:image/jpeg;base64,{data}'>"
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )
