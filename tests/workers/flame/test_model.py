"""The layer poses heads as its formulas say, alone or in any batch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from benchmarks.parity.flame import checks
from workers.flame.assets import PARENTS, FlameAssets
from workers.flame.model import Flame
from workers.flame.rotations import axis_angle_to_matrix

POSES = ("global_orient", "neck_pose", "jaw_pose", "leye_pose", "reye_pose")


def _inputs(head: FlameAssets, batch: int, seed: int, dtype: torch.dtype) -> dict[str, Tensor]:
    rng = np.random.default_rng(seed)
    sizes = {"betas": head.num_shape, "expression": head.num_expression}
    sizes |= dict.fromkeys((*POSES, "transl"), 3)
    return {
        name: torch.tensor(rng.normal(0, 0.7, (batch, size)), dtype=dtype)
        for name, size in sizes.items()
    }


def _naive_rotation(theta: np.ndarray) -> np.ndarray:
    """The matrix exponential of the cross product matrix, as a series."""
    x, y, z = theta
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    total, term = np.eye(3), np.eye(3)
    for n in range(1, 40):
        term = term @ cross / n
        total = total + term
    return total


def _naive_face(head: FlameAssets, given: dict[str, np.ndarray]) -> np.ndarray:
    """One face, a vertex at a time, straight from the formulas."""
    shaped = (
        head.v_template
        + head.shapedirs @ given["betas"]
        + head.expressiondirs @ given["expression"]
    )
    joints = head.joint_regressor @ shaped
    turns = [_naive_rotation(given[name]) for name in POSES]
    features = np.concatenate([(turn - np.eye(3)).ravel() for turn in turns[1:]])
    posed = shaped + head.posedirs @ features
    chain: list[np.ndarray] = []
    for joint, parent in enumerate(PARENTS):
        local = np.eye(4)
        local[:3, :3] = turns[joint]
        local[:3, 3] = joints[joint] - (joints[parent] if parent >= 0 else 0)
        chain.append(chain[parent] @ local if parent >= 0 else local)
    out = []
    for vertex, weights in zip(posed, head.weights, strict=True):
        moved = np.zeros(3)
        for joint, weight in enumerate(weights):
            from_joint = np.append(vertex - joints[joint], 1)
            moved += weight * (chain[joint] @ from_joint)[:3]
        out.append(moved + given["transl"])
    return np.array(out)


def test_every_recorded_vertex_and_landmark_is_equalled(shared_dir: Path) -> None:
    found = list(checks(shared_dir / "fixtures" / "flame"))
    assert len(found) >= 63
    assert [str(check) for check in found if not check.is_ok] == []


def test_the_layer_equals_its_formulas_a_vertex_at_a_time(tiny_head: FlameAssets) -> None:
    given_ = _inputs(tiny_head, 3, 1, torch.float64)
    found = Flame(tiny_head, dtype=torch.float64)(**given_).vertices.numpy()
    for row in range(3):
        expected = _naive_face(tiny_head, {k: v[row].numpy() for k, v in given_.items()})
        np.testing.assert_allclose(found[row], expected, atol=3e-8)  # the layer's angle + 1e-8


def test_float32_follows_float64(tiny_head: FlameAssets) -> None:
    given_ = _inputs(tiny_head, 2, 2, torch.float64)
    single = {name: values.float() for name, values in given_.items()}
    exact = Flame(tiny_head, dtype=torch.float64)(**{k: v.double() for k, v in single.items()})
    found = Flame(tiny_head)(**single)
    assert found.vertices.dtype == torch.float32
    assert (found.vertices - exact.vertices).abs().max() < 1e-6


@given(seed=st.integers(0, 10**6))
@settings(max_examples=10)
def test_without_a_pose_only_the_blend_shapes_are_left(tiny_head: FlameAssets, seed: int) -> None:
    given_ = _inputs(tiny_head, 2, seed, torch.float64)
    layer = Flame(tiny_head, dtype=torch.float64)
    found = layer(given_["betas"], given_["expression"]).vertices.numpy()
    blended = (
        tiny_head.v_template
        + np.einsum("vds,bs->bvd", tiny_head.shapedirs, given_["betas"].numpy())
        + np.einsum("vde,be->bvd", tiny_head.expressiondirs, given_["expression"].numpy())
    )
    np.testing.assert_allclose(found, blended, atol=1e-12)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=10)
def test_the_root_turns_the_whole_head_about_its_joint(tiny_head: FlameAssets, seed: int) -> None:
    given_ = _inputs(tiny_head, 2, seed, torch.float64)
    layer = Flame(tiny_head, dtype=torch.float64)
    upright = layer(**(given_ | {"global_orient": torch.zeros(2, 3).double()}))
    turned = layer(**given_)
    root = upright.joint_transforms[:, 0, :3, 3]
    assert torch.equal(root, turned.joint_transforms[:, 0, :3, 3])  # it stays where it is
    turn = turned.joint_transforms[:, 0, :3, :3]
    expected = (upright.vertices - root[:, None]) @ turn.mT + root[:, None]
    assert (turned.vertices - expected).abs().max() < 1e-7


def test_joint_transforms_are_rigid_and_carry_what_hangs_on_them(tiny_head: FlameAssets) -> None:
    """A vertex that belongs to one joint alone moves with that joint's transform."""
    weights = np.zeros((tiny_head.num_vertices, 5))
    weights[np.arange(len(weights)), np.arange(len(weights)) % 5] = 1
    head = dataclasses.replace(tiny_head, weights=weights, posedirs=tiny_head.posedirs * 0)
    layer = Flame(head, dtype=torch.float64)
    given_ = _inputs(head, 2, 4, torch.float64)
    rest = layer(given_["betas"], given_["expression"])
    posed = layer(**given_)
    turns = posed.joint_transforms[:, :, :3, :3]
    identity = torch.eye(3, dtype=torch.float64).expand_as(turns)
    torch.testing.assert_close(turns @ turns.mT, identity)
    assert torch.linalg.det(turns).min() > 0.999
    assert posed.joint_transforms[:, :, 3].unique(dim=0).squeeze().tolist()[0] == [0, 0, 0, 1]
    for joint in range(5):
        mine = torch.arange(joint, head.num_vertices, 5)
        before = rest.vertices[:, mine] - rest.joint_transforms[:, joint, None, :3, 3]
        after = before @ turns[:, joint].mT + posed.joint_transforms[:, joint, None, :3, 3]
        assert (after - posed.vertices[:, mine]).abs().max() < 1e-7


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_head_has_the_same_bytes_anywhere_in_any_batch(
    tiny_head: FlameAssets, dtype: torch.dtype
) -> None:
    """In a padded chunk, at another row, and alone: the worker may group faces as it likes."""
    layer = Flame(tiny_head, dtype=dtype)
    whole = _inputs(tiny_head, 11, 5, dtype)
    expected = layer(**whole)
    padded = {name: torch.cat([v[7:8], v.new_zeros(10, v.shape[1])]) for name, v in whole.items()}
    rolled = {name: v.roll(3, 0) for name, v in whole.items()}
    alone = {name: v[7:8] for name, v in whole.items()}
    for given_, row in ((padded, 0), (rolled, 10), (alone, 0)):
        found = layer(**given_)
        assert torch.equal(found.vertices[row], expected.vertices[7])
        assert torch.equal(found.joint_transforms[row], expected.joint_transforms[7])


def test_a_head_without_correctives_skips_them(tiny_head: FlameAssets) -> None:
    plain = dataclasses.replace(tiny_head, posedirs=tiny_head.posedirs * 0)
    tiny = dataclasses.replace(tiny_head, posedirs=tiny_head.posedirs * 0 + 1e-300)
    given_ = _inputs(tiny_head, 2, 6, torch.float64)
    skipped, made = (Flame(head, dtype=torch.float64)(**given_) for head in (plain, tiny))
    torch.testing.assert_close(skipped.vertices, made.vertices, atol=1e-14, rtol=0)


def test_fewer_coefficients_equal_zeros_for_the_rest(tiny_head: FlameAssets) -> None:
    given_ = _inputs(tiny_head, 2, 8, torch.float64)
    short = given_ | {"betas": given_["betas"][:, :2], "expression": given_["expression"][:, :1]}
    padded = {
        name: torch.nn.functional.pad(
            short[name], (0, given_[name].shape[1] - short[name].shape[1])
        )
        for name in ("betas", "expression")
    }
    few = Flame(tiny_head, num_shape=2, num_expression=1, dtype=torch.float64)(**short)
    all_ = Flame(tiny_head, dtype=torch.float64)(**(given_ | padded))
    torch.testing.assert_close(few.vertices, all_.vertices, atol=1e-14, rtol=0)


def test_gradients_reach_every_argument(tiny_head: FlameAssets) -> None:
    given_ = {k: v.requires_grad_() for k, v in _inputs(tiny_head, 2, 9, torch.float64).items()}
    layer = Flame(tiny_head, dtype=torch.float64)
    weigh = torch.linspace(-1, 1, tiny_head.num_vertices * 6, dtype=torch.float64)
    (layer(**given_).vertices.flatten() @ weigh).backward()
    for name, values in given_.items():
        assert values.grad is not None
        assert values.grad.abs().min() > 0, name
    step = 1e-6
    moved = {k: v.detach().clone() for k, v in given_.items()}
    moved["jaw_pose"][1, 0] += step
    rise = layer(**moved).vertices.flatten() @ weigh - layer(**given_).vertices.flatten() @ weigh
    assert given_["jaw_pose"].grad is not None
    assert abs(rise.item() / step - given_["jaw_pose"].grad[1, 0].item()) < 1e-4


def test_the_gradient_of_no_rotation_is_finite(tiny_head: FlameAssets) -> None:
    theta = torch.zeros(1, 5, 3, dtype=torch.float64, requires_grad=True)
    axis_angle_to_matrix(theta)[0, 0, 0, 1].backward()
    assert theta.grad is not None
    assert theta.grad[0, 0].tolist() == pytest.approx([0, 0, -1], abs=1e-6)


def test_an_empty_batch_is_empty(tiny_head: FlameAssets) -> None:
    mesh = Flame(tiny_head)(**_inputs(tiny_head, 0, 0, torch.float32))
    assert mesh.vertices.shape == (0, tiny_head.num_vertices, 3)
    assert mesh.joint_transforms.shape == (0, 5, 4, 4)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"betas": lambda v: v[:, :3]}, r"betas is torch.float32 of shape \(2, 3\)"),
        ({"expression": lambda v: v.double()}, "expression is torch.float64"),
        ({"jaw_pose": lambda v: v[:1]}, r"jaw_pose is .* of shape \(1, 3\), this layer takes"),
        ({"transl": lambda v: v[:, :2]}, r"transl is .* of shape \(2, 2\)"),
    ],
)
def test_a_wrong_shape_is_named(
    tiny_head: FlameAssets, change: dict[str, Callable[[Tensor], Tensor]], says: str
) -> None:
    given_ = _inputs(tiny_head, 2, 0, torch.float32)
    changed = {name: alter(given_[name]) for name, alter in change.items()}
    with pytest.raises(ValueError, match=says):
        Flame(tiny_head)(**(given_ | changed))


def test_more_coefficients_than_the_model_has_are_refused(tiny_head: FlameAssets) -> None:
    with pytest.raises(ValueError, match="num_shape is 7, the head model has 0 to 6"):
        Flame(tiny_head, num_shape=7)


@pytest.mark.gpu
def test_cuda_follows_the_cpu(tiny_head: FlameAssets) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    given_ = _inputs(tiny_head, 3, 1, torch.float64)
    expected = Flame(tiny_head, dtype=torch.float64)(**given_).vertices
    on_cuda = {name: values.cuda() for name, values in given_.items()}
    found = Flame(tiny_head, dtype=torch.float64, device="cuda")(**on_cuda).vertices
    torch.testing.assert_close(found.cpu(), expected, atol=1e-12, rtol=0)
