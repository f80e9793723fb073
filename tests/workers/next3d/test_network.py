"""The network as a whole: the recorded run, independence of the batch, the cache."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from benchmarks.parity.next3d_end_to_end import Recording
from workers.generators.next3d.checkpoint import Next3DWeights, build_network
from workers.generators.next3d.identity_cache import IdentityCache, IdentityRequest
from workers.generators.next3d.network import Next3DNetwork
from workers.generators.next3d.rays import (
    camera_params,
    focal_from_fov,
    intrinsics_from_focal,
    orbit_camera,
)
from workers.generators.next3d.sampling import STRATIFIED_STREAM, VolumeDraws
from workers.streams import Streams


@pytest.fixture(autouse=True)
def _no_gradients() -> object:
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def network(tiny_weights: Next3DWeights) -> Next3DNetwork:
    return build_network(tiny_weights)


def _cameras(*yaws: float) -> Tensor:
    yaw = torch.tensor(yaws) + torch.pi / 2
    pose = orbit_camera(
        yaw, torch.full_like(yaw, torch.pi / 2), pivot=torch.tensor([0.0, 0.0, 0.2]), radius=2.7
    )
    lens = intrinsics_from_focal(focal_from_fov(18.837)).expand(len(yaws), 3, 3)
    return camera_params(pose, lens)


def _draws(*indices: int) -> VolumeDraws:
    streams = [Streams(seed=1, identity=0, index=index, attempt=0) for index in indices]
    return VolumeDraws.of_samples(streams, 16 * 16, 8, 8, torch.device("cpu"))


def _latents(count: int) -> Tensor:
    return torch.randn((count, 512), generator=torch.Generator().manual_seed(4))


def test_a_picture_does_not_depend_on_its_batch(
    network: Next3DNetwork, ball_with_landmarks: Tensor
) -> None:
    cameras, z = _cameras(0.3, -0.2), _latents(2)
    heads = torch.stack([ball_with_landmarks, ball_with_landmarks * 0.9])

    def drawn(rows: slice, draws: VolumeDraws) -> Tensor:
        identity = network.identity(network.mapping(z[rows], cameras[rows], psi=0.7, cutoff=14))
        planes = network.dress(identity, heads[rows])
        features = network.render(planes, cameras[rows], draws).features
        return network.superresolution.resized(features)

    together = drawn(slice(0, 2), _draws(7, 8))
    first, second = drawn(slice(0, 1), _draws(7)), drawn(slice(1, 2), _draws(8))

    assert torch.equal(together, torch.cat([first, second]))


def test_a_modulated_layer_does_not_depend_on_its_batch(network: Next3DNetwork) -> None:
    generator = torch.Generator().manual_seed(6)
    x, ws = torch.randn((3, 32, 128, 128), generator=generator), _latents(3)

    together = network.superresolution.block0.conv0(x, ws, "none")

    for row in range(3):
        alone = network.superresolution.block0.conv0(x[row : row + 1], ws[row : row + 1], "none")
        assert torch.equal(together[row], alone[0])


def test_wirings_differ_and_three_plane_looks_from_all_sides(
    tiny_weights: Next3DWeights, ball_with_landmarks: Tensor
) -> None:
    pictures = []
    for wiring in ("front-plane", "three-plane"):
        config = replace(tiny_weights.config, wiring=wiring)
        network = build_network(replace(tiny_weights, config=config))
        identity = network.identity(network.mapping(_latents(1), _cameras(0.0)))
        drawing = network.draw_planes(identity, ball_with_landmarks[None])
        assert len(drawing.views.fragments) == (1 if wiring == "front-plane" else 4)
        pictures.append(drawing.planes)

    assert torch.equal(pictures[0][:, 0], pictures[1][:, 0])
    assert not torch.equal(pictures[0][:, 1:], pictures[1][:, 1:])


def test_the_cache_gives_what_was_computed_anew(
    network: Next3DNetwork, ball_with_landmarks: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    z, frontal = _latents(2), _cameras(0.0)[0]
    cache = IdentityCache(network, max_identities=1, max_meshes=3)
    requests = [IdentityRequest(row, frontal) for row in z]
    calls: list[int] = []
    draw = network.identity
    monkeypatch.setattr(network, "identity", lambda *a: calls.append(1) or draw(*a))

    smile = ball_with_landmarks * 0.95
    both = cache.planes([requests[0]] * 3, [ball_with_landmarks, smile, ball_with_landmarks])
    assert len(calls) == 1
    other = cache.planes(requests[1:], [ball_with_landmarks])
    again = cache.planes(requests[:1], [smile * 1.0])

    assert len(calls) == 2, "a mesh still cached needs no identity"
    size = len(again.table)
    assert torch.equal(both.table[size : 2 * size], again.table)
    assert torch.equal(both.table[:size], both.table[2 * size :])
    assert not torch.equal(other.table, again.table)


def test_requests_that_differ_in_anything_have_other_keys() -> None:
    request = IdentityRequest(torch.zeros(512), torch.zeros(25))
    others = [
        replace(request, z=torch.ones(512)),
        replace(request, conditioning_camera=torch.ones(25)),
        replace(request, truncation_psi=0.5),
        replace(request, truncation_cutoff=None),
        replace(request, noise_mode="none"),
    ]

    assert len({request.key, *(other.key for other in others)}) == 6
    assert request.key == IdentityRequest(torch.zeros(512), torch.zeros(25)).key


def test_draws_are_below_one_and_each_samples_own() -> None:
    both, second = _draws(3, 4), _draws(4)

    assert both.stratified.shape == (2, 256, 8)
    assert float(both.stratified.max()) < 1.0
    assert torch.equal(both.importance[1:], second.importance)
    assert not torch.equal(both.stratified[0], both.stratified[1])


def test_draws_are_their_streams_numbers_rounded_down() -> None:
    stream = Streams(seed=1, identity=0, index=3, attempt=0)

    drawn = _draws(3).stratified.flatten().double().numpy()

    numbers = stream.sample_uniforms(STRATIFIED_STREAM, len(drawn))
    assert ((drawn <= numbers) & (numbers < drawn + 2.0**-24)).all()


def test_people_of_two_jobs_are_not_drawn_in_one_pass(
    network: Next3DNetwork, ball_with_landmarks: Tensor
) -> None:
    cache = IdentityCache(network, rows=2)
    requests = [IdentityRequest(_latents(1)[0], _cameras(0.0)[0], psi) for psi in (0.7, 0.5)]

    with pytest.raises(ValueError, match="differ in truncation"):
        cache.planes(requests, [ball_with_landmarks] * 2)


def test_bfloat16_stays_close_to_float32(
    tiny_weights: Next3DWeights, ball_with_landmarks: Tensor
) -> None:
    planes = []
    for dtype in (torch.float32, torch.bfloat16):
        network = build_network(tiny_weights, dtype=dtype)
        identity = network.identity(network.mapping(_latents(1), _cameras(0.0), psi=0.7))
        planes.append(network.dress(identity, ball_with_landmarks[None]).table)

    error = (planes[0] - planes[1]).square().mean().sqrt() / planes[0].square().mean().sqrt()

    assert 0 < float(error) < 0.05


def test_the_recorded_run_is_reproduced_where_the_face_is(shared_dir: Path) -> None:
    recording = Recording.at(shared_dir / "fixtures" / "next3d" / "e2e_syn_io.npz")
    network = build_network(recording.weights("three-plane"))
    spec = recording.meta["spec"]
    ws = network.mapping(recording["z"], recording["c_cond"], psi=spec["psi"], cutoff=spec["cut"])
    planes = network.dress(network.identity(ws, spec["noise"]), recording["v"])

    picture = network.render(planes, recording["c"], recording.draws("det", network, 64))
    image = network.upscale(planes, picture.features)

    assert float((image[..., ::4, ::4] - recording["det/image"]).abs().max()) < 2e-4
    assert float((picture.features[:, :3] - recording["det/image_raw"]).abs().max()) < 2e-4
