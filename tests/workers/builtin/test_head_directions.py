"""The embedded head's directions: named, human in their spread, harmless when combined."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tools.build_head import anatomy
from tools.build_head.assemble import assemble
from tools.build_head.write import build_arrays

REPOSITORY = Path(__file__).resolve().parents[3]
HEAD = REPOSITORY / "workers/generators/builtin/head.npz"

Arrays = dict[str, NDArray[np.generic]]
Floats = NDArray[np.float64]


@pytest.fixture(scope="module")
def head() -> Arrays:
    with np.load(HEAD, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _names(head: Arrays, key: str) -> list[str]:
    return [str(n) for n in head[key]]


def test_there_are_enough_directions_with_names_of_their_own(head: Arrays) -> None:
    shape, expression = _names(head, "shape_names"), _names(head, "expression_names")
    assert len(shape) >= 40
    assert len(expression) >= 30
    assert len(set(shape)) == len(shape) == head["shapedirs"].shape[2]
    assert len(set(expression)) == len(expression) == head["expressiondirs"].shape[2]


def test_every_direction_moves_something_and_nothing_too_far(head: Arrays) -> None:
    for key, names in (("shapedirs", "shape_names"), ("expressiondirs", "expression_names")):
        far_mm = np.linalg.norm(head[key].astype(float), axis=1).max(0) * 1000
        for name, far in zip(_names(head, names), far_mm, strict=True):
            assert 0.3 < far < 12, name


def test_left_and_right_units_are_mirror_images(head: Arrays) -> None:
    names = _names(head, "expression_names")
    moved = head["expressiondirs"].astype(float)
    pairs = [n for n in names if n.endswith("_left") and n.replace("_left", "_right") in names]
    assert len(pairs) >= 12
    for name in pairs:
        left = moved[..., names.index(name)]
        right = moved[..., names.index(name.replace("_left", "_right"))]
        np.testing.assert_allclose(right[head["mirror"]] * [-1, 1, 1], left, atol=2e-6)
        strength = np.linalg.norm(left, axis=1)
        x = head["v_template"][:, 0]
        assert strength[x > 0.01].max() > 5 * strength[x < -0.01].max()


def test_symmetric_shapes_stay_symmetric_and_asymmetries_do_not(head: Arrays) -> None:
    for i, name in enumerate(_names(head, "shape_names")):
        d = head["shapedirs"][..., i].astype(float)
        gap = np.abs(d[head["mirror"]] * [-1, 1, 1] - d).max()
        assert (gap > 1e-4) == name.startswith("asymmetry_"), name


# Between two of the 68 points: mean sd (mm) of adults pooled over sexes, see docs/head.md.
SPREADS = {
    "outer canthi": (36, 45, 3.9),
    "inner canthi": (39, 42, 2.6),
    "mouth width": (48, 54, 3.7),
    "nose to chin": (27, 8, 7.0),
    "mouth to chin": (66, 8, 3.9),
    "brow to lid": (24, 44, 2.6),
}


@pytest.mark.parametrize("name", SPREADS)
def test_the_spread_of_measures_is_that_of_people(head: Arrays, name: str) -> None:
    """Directions are independent, so the variance of a distance is the sum of theirs."""
    a, b, sd_mm = SPREADS[name]
    face = np.concatenate([head["jaw_fixed_face"], head["landmark_face"]])
    bary = np.concatenate([head["jaw_fixed_bary"], head["landmark_bary"]])
    corners = head["faces"][face]
    mean = (head["v_template"][corners].astype(float) * bary[..., None]).sum(1)
    moved = (head["shapedirs"][corners].astype(float) * bary[..., None, None]).sum(1)
    along = (mean[a] - mean[b]) / np.linalg.norm(mean[a] - mean[b])
    spread = np.sqrt((((moved[a] - moved[b]).T @ along) ** 2).sum()) * 1000
    assert spread == pytest.approx(sd_mm, rel=0.3)


def test_pupil_distance_varies_as_in_people(head: Arrays) -> None:
    """63 mm, sd 3.6 mm (Dodgson 2004)."""
    regressor = head["joint_regressor"].astype(float)
    joints = regressor @ head["v_template"].astype(float) * 1000
    assert joints[3, 0] - joints[4, 0] == pytest.approx(63, abs=0.2)
    moved = np.einsum("jv,vcs->jcs", regressor, head["shapedirs"].astype(float)) * 1000
    assert np.sqrt(((moved[3, 0] - moved[4, 0]) ** 2).sum()) == pytest.approx(3.6, rel=0.15)


def test_eyeballs_stay_round(head: Arrays) -> None:
    """Whatever the identity, the eyeball is a sphere about its joint."""
    rng = np.random.default_rng(0)
    ids = np.unique(head["faces"][head["face_region"] == 4])
    for _ in range(20):
        betas = rng.normal(size=head["shapedirs"].shape[2])
        v = head["v_template"].astype(float) + head["shapedirs"].astype(float) @ betas
        joint = head["joint_regressor"].astype(float)[3] @ v
        radii = np.linalg.norm(v[ids] - joint, axis=1) * 1000
        assert radii.max() - radii.min() < 0.1


def test_lids_follow_the_eyeballs_whatever_the_identity(head: Arrays) -> None:
    """Eye points stay 1 to 3.5 mm off the ball: farther, pixels beside them see it far behind."""
    rng = np.random.default_rng(1)
    eye = slice(42 - 17, 48 - 17)
    faces, bary = head["faces"][head["landmark_face"][eye]], head["landmark_bary"][eye]
    ball = np.unique(head["faces"][head["face_region"] == 4])
    for _ in range(50):
        betas = rng.normal(size=head["shapedirs"].shape[2])
        v = head["v_template"].astype(float) + head["shapedirs"].astype(float) @ betas
        joint = head["joint_regressor"].astype(float)[3] @ v
        radius = np.linalg.norm(v[ball] - joint, axis=1).mean()
        point = (v[faces] * bary[..., None]).sum(1)
        gap_mm = (np.linalg.norm(point - joint, axis=1) - radius) * 1000
        assert gap_mm.min() > 1.0
        assert gap_mm.max() < 3.5
        assert gap_mm[[1, 2, 4, 5]].max() < 2.3


@pytest.fixture(scope="module")
def lid_edge() -> NDArray[np.int32]:
    """Vertices of the left lids' edge: the upper from inner to outer corner, the lower back."""
    return assemble()[0].sets["lids"]


def _blinking(head: Arrays, amount: float) -> Floats:
    blink = _names(head, "expression_names").index("blink_left")
    moved = amount * head["expressiondirs"][..., blink].astype(float)
    return np.asarray((head["v_template"].astype(float) + moved) * 1000)


def test_lids_stay_outside_the_eyeball_all_the_way_down(
    head: Arrays, lid_edge: NDArray[np.int32]
) -> None:
    centre = head["joint_regressor"].astype(float)[3] @ head["v_template"].astype(float) * 1000
    for amount in np.linspace(0, 2.4, 13):
        edge = _blinking(head, amount)[lid_edge]
        assert np.linalg.norm(edge - centre, axis=1).min() > anatomy.EYE_RADIUS + 0.1


def test_a_full_blink_closes_the_eye(head: Arrays, lid_edge: NDArray[np.int32]) -> None:
    edge = _blinking(head, 2.38)[lid_edge]
    n = anatomy.NUM_LID_SEGMENTS
    upper, lower = edge[: n + 1], np.concatenate([edge[n:], edge[:1]])[::-1]
    x = upper[0, 0] + np.linspace(0.25, 0.75, 20) * (upper[-1, 0] - upper[0, 0])
    between = [np.interp(x, lid[:, 0], lid[:, 1]) for lid in (upper, lower)]
    assert np.abs(between[0] - between[1]).max() < 0.8


def test_the_jaw_opens_the_mouth_and_moves_no_upper_lip(head: Arrays) -> None:
    weights = head["weights"].astype(float)[:, 2]
    faces, bary = head["faces"][head["landmark_face"]], head["landmark_bary"]
    jaw = (weights[faces] * bary).sum(1)
    assert jaw[62 - 17] < 0.01
    assert jaw[66 - 17] > 0.99
    assert jaw[57 - 17] > 0.99
    assert 0.3 < jaw[48 - 17] < 0.7
    assert jaw[: 48 - 17].max() < 0.05
    fixed = (weights[head["faces"][head["jaw_fixed_face"]]] * head["jaw_fixed_bary"]).sum(1)
    assert fixed[8] > 0.9
    assert fixed[0] < 0.35


def test_random_heads_keep_their_faces_unfolded(head: Arrays) -> None:
    """Of the skin's area, drawn identities and expressions turn next to nothing inside out."""
    rng = np.random.default_rng(3)
    faces = head["faces"][np.isin(head["face_region"], [1, 2, 3, 6, 13]) & (head["face_part"] == 0)]

    def normals(v: Floats) -> Floats:
        a, b, c = (v[faces[:, i]] for i in range(3))
        return np.cross(b - a, c - a)

    rest = normals(head["v_template"].astype(float))
    area = np.linalg.norm(rest, axis=1)
    worst = 0.0
    for _ in range(30):
        betas = np.clip(rng.normal(size=head["shapedirs"].shape[2]), -3, 3)
        units = np.clip(0.7 * rng.normal(size=head["expressiondirs"].shape[2]), -2, 2)
        v = head["v_template"].astype(float) + head["shapedirs"].astype(float) @ betas
        v = v + head["expressiondirs"].astype(float) @ units
        folded = (normals(v) * rest).sum(1) < 0
        worst = max(worst, float(area[folded].sum() / area.sum()))
    assert worst < 0.004


def test_the_build_reproduces_the_committed_file(head: Arrays) -> None:
    """Same sources, same head; the last bits of a processor may differ."""
    built = build_arrays()
    assert set(built) == set(head)
    for name, array in built.items():
        assert array.shape == head[name].shape, name
        if array.dtype.kind == "f":
            np.testing.assert_allclose(
                array.astype(float), head[name].astype(float), atol=2e-5, err_msg=name
            )
        else:
            assert np.array_equal(array, head[name]), name
