"""The gallery: its page shows every sheet, and every sheet can be drawn anew."""

from __future__ import annotations

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from synthforge.jobs import parse_job_spec
from tools.gallery.__main__ import FOLDER, page
from tools.gallery.drawing import TILE_PX, draw_sheet
from tools.gallery.sheets import Picture, Sheet, sheets
from workers.one_thread import one_thread

DOCS = Path(__file__).resolve().parents[1] / "docs"
MOST_BYTES = 2_000_000


def test_the_page_shows_every_sheet_and_its_pictures_are_small() -> None:
    text = (DOCS / "gallery.md").read_text()
    assert text == page(sheets(has_ict=True))
    shown = re.findall(r"\]\((images/[^)]+)\)", text)
    assert sorted(shown) == sorted(f"{FOLDER}/{path.name}" for path in (DOCS / FOLDER).iterdir())
    assert sum((DOCS / name).stat().st_size for name in shown) < MOST_BYTES


@pytest.mark.parametrize("sheet", sheets(has_ict=True), ids=lambda sheet: sheet.name)
def test_every_picture_is_a_job_that_the_service_takes(sheet: Sheet) -> None:
    assert len(sheet.pictures) % sheet.columns == 0
    for picture in sheet.pictures:
        parse_job_spec(json.dumps(picture.spec))


def test_a_sheet_is_drawn_row_by_row_from_its_specs() -> None:
    spec = {"count": 9}
    pictures = (Picture(3, spec, "a"), Picture(4, spec), Picture(4, {"count": 9, "seed": 1}))
    with one_thread():
        drawn = draw_sheet(Sheet("some", "", "", 3, pictures))
    picture = cv2.imdecode(np.frombuffer(drawn, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (TILE_PX, 3 * TILE_PX, 3)
    tiles = np.split(picture.astype(int), 3, axis=1)
    assert np.abs(tiles[0] - tiles[1]).mean() > 5  # another person
    assert np.abs(tiles[1] - tiles[2]).mean() > 5  # another spec
