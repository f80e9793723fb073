"""The semantic map is what its script draws, and names what the published one names."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from synthforge.conventions import CLASS_IDS, class_mirror
from tools.semantic_map import agreement, draw_map
from workers.assets.layouts import read_semantic_map
from workers.generators.next3d.semantics import OWN_MAP_PATH, look_up


def test_the_file_is_what_the_script_draws() -> None:
    np.testing.assert_array_equal(read_semantic_map(OWN_MAP_PATH), draw_map())


def test_the_map_agrees_with_the_published_colours(shared_dir: Path) -> None:
    published = cv2.imread(str(shared_dir / "assets" / "flame_seg_tex.png"), cv2.IMREAD_COLOR)
    assert published is not None
    found = agreement(draw_map(), np.asarray(published[..., ::-1], np.uint8))
    assert found.pop("all") > 0.98
    brows = {name: found.pop(name) for name in ("left_brow", "right_brow")}
    assert min(brows.values()) > 0.7, brows  # theirs cover 20 triangles
    assert min(found.values()) > 0.9, found


def test_the_face_is_drawn_on_both_sides_alike() -> None:
    drawn = draw_map()[:, :1019]  # the layout's middle lies at 0.4976
    twins = class_mirror()
    flipped = np.vectorize(lambda class_id: twins[int(class_id)], otypes=[np.uint8])(drawn[:, ::-1])
    face = drawn != CLASS_IDS["left_eye"]
    face &= (drawn != CLASS_IDS["right_eye"]) & (flipped != CLASS_IDS["left_eye"])
    face &= flipped != CLASS_IDS["right_eye"]
    assert (drawn == flipped)[face].mean() > 0.995


def test_v_points_up() -> None:
    rows = np.array([[CLASS_IDS["hair"]], [CLASS_IDS["neck"]]], np.uint8)
    at = np.array([[0.5, 0.9], [0.5, 0.1], [1.0, 1.0]], np.float32)
    assert look_up(rows, at).tolist() == [CLASS_IDS["hair"], CLASS_IDS["neck"], CLASS_IDS["hair"]]
