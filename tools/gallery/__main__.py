"""`make gallery`: write docs/gallery.md and its contact sheets."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from synthforge.assets import registry_url
from tools.gallery.drawing import draw_sheet
from tools.gallery.sheets import Sheet, sheets
from workers.assets import open_assets
from workers.one_thread import one_thread

ROOT: Final = Path(__file__).resolve().parents[2]
FOLDER: Final = "images/gallery"
_START: Final = """# Gallery

Faces of the `builtin` generator as `make gallery` draws them, at 288 px, shown at half of that.
Nothing is picked by hand: people are numbered, and the numbers stand in `tools/gallery/sheets.py`.
"""


def page(shown: tuple[Sheet, ...]) -> str:
    """Return the page's text."""
    parts = [
        f"## {sheet.title}\n\n{sheet.says}\n\n![{sheet.title}]({FOLDER}/{sheet.name}.jpg)\n"
        for sheet in shown
    ]
    return "\n".join([_START, *parts])


def main() -> None:
    """Draw every sheet, or those named; the page is written when all are there."""
    parser = argparse.ArgumentParser(prog="python -m tools.gallery", description=__doc__)
    parser.add_argument("names", nargs="*", help="sheets to draw anew; all by default")
    names: list[str] = parser.parse_args().names
    registry = open_assets(None) if registry_url() else None
    has_ict = registry is not None and registry.find("ict_head") is not None
    docs = ROOT / "docs"
    (docs / FOLDER).mkdir(parents=True, exist_ok=True)
    with one_thread():
        for sheet in sheets(has_ict=has_ict):
            if names and sheet.name not in names:
                continue
            path = docs / FOLDER / f"{sheet.name}.jpg"
            path.write_bytes(draw_sheet(sheet))
            print(path.relative_to(ROOT), path.stat().st_size)
    drawn = {path.stem for path in (docs / FOLDER).glob("*.jpg")}
    shown = tuple(sheet for sheet in sheets(has_ict=True) if sheet.name in drawn)
    (docs / "gallery.md").write_text(page(shown))


if __name__ == "__main__":
    main()
