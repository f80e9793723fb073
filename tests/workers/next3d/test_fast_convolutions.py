"""The processor's own forms of convolution give what the plain ones give."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from threading import Thread
from time import sleep

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from workers.generators.next3d import layers
from workers.generators.next3d.convolution import ConvKernel, convolve, mixed_channels
from workers.generators.next3d.finish import Finish
from workers.generators.next3d.layers import (
    Conv2dLayer,
    NoiseMode,
    SynthesisLayer,
    prepare_all,
)
from workers.generators.next3d.shares import shared_out
from workers.generators.next3d.up_convolution import ROWS_AT_ONCE, convolve_up
from workers.generators.next3d.winograd import TILES_AT_ONCE, TiledKernel, convolve_tiles

ROUNDING = 5e-6
"""Of the result's spread, root mean square; the tiles' own is 1.5e-6."""


@contextmanager
def _with_threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@pytest.fixture(params=[1, 2, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    with _with_threads(request.param):
        yield request.param


def _drawn(*shape: int) -> Tensor:
    seed = int.from_bytes(sha256(repr(shape).encode()).digest()[:4], "big")
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _plainly(x: Tensor, weight: Tensor, styles: Tensor, finish: Finish, *, up: int = 1) -> Tensor:
    """Convolution, low-pass where it doubles, and finish, step by step in float64."""
    kernel = ConvKernel.of(weight.double(), up=up, dtype=torch.float64)
    y = convolve(x.double() * styles.double()[:, :, None, None], kernel)
    if finish.scale is not None:
        y = y * finish.scale.double()[:, :, None, None]
    if finish.bias is not None:
        y = y + finish.bias.double()[:, None, None]
    if finish.noise is not None:
        y = y + finish.noise.double()
    y = functional.leaky_relu(y, finish.leak) * finish.gain
    return y if finish.clamp is None else y.clamp(-finish.clamp, finish.clamp)


def _error(found: Tensor, exact: Tensor) -> float:
    assert found.shape == exact.shape
    return float((found - exact).square().mean().sqrt() / exact.std())


def _whole_finish(batch: int, channels: int, height: int, width: int) -> Finish:
    scale = _drawn(batch, channels).abs() + 0.5
    return Finish(scale, _drawn(height, width), _drawn(channels), 0.2, 1.5, 4.0)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize(
    ("batch", "size_in", "size_out", "height", "width"),
    [(1, 1, 1, 4, 4), (2, 5, 7, 8, 20), (1, 64, 48, 64, 64), (1, 16, 33, 12, 4 * TILES_AT_ONCE)],
)
def test_tiles_give_the_convolution(
    batch: int, size_in: int, size_out: int, height: int, width: int
) -> None:
    x, weight = _drawn(batch, size_in, height, width), _drawn(size_out, size_in, 3, 3)
    styles, finish = _drawn(batch, size_in), _whole_finish(batch, size_out, height, width)

    found = convolve_tiles(x, TiledKernel.of(weight), styles, finish)

    assert _error(found, _plainly(x, weight, styles, finish)) < ROUNDING


@given(rows=st.integers(1, 6), columns=st.integers(1, 6), where=st.data())
def test_a_tap_of_a_tile_moves_a_pixel_exactly_there(
    rows: int, columns: int, where: st.DataObject
) -> None:
    height, width = 4 * rows, 4 * columns
    row, column = (where.draw(st.integers(0, n - 1)) for n in (height, width))
    i, j = (where.draw(st.integers(0, 2)) for _ in range(2))
    x, weight = torch.zeros(1, 1, height, width), torch.zeros(1, 1, 3, 3)
    x[0, 0, row, column] = weight[0, 0, i, j] = 1.0

    found = convolve_tiles(x, TiledKernel.of(weight), torch.ones(1, 1), Finish())

    exact = functional.conv2d(x, weight, padding=1)
    torch.testing.assert_close(found, exact, rtol=0, atol=1e-6)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize(
    ("batch", "size_in", "size_out", "height", "width"),
    [(2, 3, 5, 1, 2), (1, 8, 6, 5, 7), (1, 16, 24, 2 * ROWS_AT_ONCE + 3, 9)],
)
def test_strips_give_the_up_convolution(
    batch: int, size_in: int, size_out: int, height: int, width: int
) -> None:
    x, weight = _drawn(batch, size_in, height, width), _drawn(size_out, size_in, 3, 3)
    styles = _drawn(batch, size_in)
    finish = _whole_finish(batch, size_out, 2 * height, 2 * width)

    found = convolve_up(x, ConvKernel.of(weight, up=2).phases, styles, finish)

    assert _error(found, _plainly(x, weight, styles, finish, up=2)) < ROUNDING


def test_nothing_but_the_convolution_where_nothing_follows() -> None:
    x, weight, ones = _drawn(1, 4, 8, 8), _drawn(3, 4, 3, 3), torch.ones(1, 4)

    tiles = convolve_tiles(x, TiledKernel.of(weight), ones, Finish())
    strips = convolve_up(x, ConvKernel.of(weight, up=2).phases, ones, Finish())

    assert _error(tiles, _plainly(x, weight, ones, Finish())) < ROUNDING
    assert _error(strips, _plainly(x, weight, ones, Finish(), up=2)) < ROUNDING


def test_a_picture_has_the_same_bytes_in_whatever_batch() -> None:
    x, weight, styles = _drawn(3, 8, 64, 64), _drawn(6, 8, 3, 3), _drawn(3, 8)
    kernel, phases = TiledKernel.of(weight), ConvKernel.of(weight, up=2).phases

    tiles = convolve_tiles(x, kernel, styles, Finish())
    strips = convolve_up(x, phases, styles, Finish())

    assert torch.equal(tiles[1:2], convolve_tiles(x[1:2], kernel, styles[1:2], Finish()))
    assert torch.equal(strips[1:2], convolve_up(x[1:2], phases, styles[1:2], Finish()))


@pytest.mark.parametrize(
    ("resolution", "dtype", "tiled"),
    [
        (64, torch.float32, True),
        (32, torch.float32, False),
        (64, torch.bfloat16, False),
        (None, torch.float32, False),
    ],
)
def test_large_layers_in_float32_run_in_tiles(
    resolution: int | None, dtype: torch.dtype, tiled: bool
) -> None:
    layer = Conv2dLayer(4, 6, 3, activation="lrelu", conv_clamp=2.0, resolution=resolution)
    weight, bias, x = _drawn(6, 4, 3, 3), _drawn(6), _drawn(2, 4, 64, 64)
    layer.load_state_dict({"weight": weight, "bias": bias})

    layer.prepare(dtype)

    assert (layer.tiled is not None) is tiled
    exact = _plainly(x, weight / 6, torch.ones(2, 4), Finish(None, None, bias, 0.2, 2.0**0.5, 2.0))
    assert _error(layer(x.to(dtype)), exact) < (ROUNDING if dtype == torch.float32 else 1e-2)


@pytest.mark.parametrize("up", [1, 2])
@pytest.mark.parametrize("noise", ["const", "none"])
def test_a_synthesis_layer_is_the_same_by_tiles_strips_and_plainly(
    up: int, noise: NoiseMode, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = {1: "convolve_tiles", 2: "convolve_up"}[up]
    fast, called = getattr(layers, form), []
    monkeypatch.setattr(layers, form, lambda *given: called.append(1) or fast(*given))
    made = []
    for dtype in (torch.float32, torch.float64):
        layer = SynthesisLayer(5, 7, 3, 64, up=up, conv_clamp=3.0)
        shapes = {name: value.shape for name, value in layer.state_dict().items()}
        layer.load_state_dict({name: _drawn(*shape) for name, shape in shapes.items()})
        prepare_all(layer, dtype)
        x, w = _drawn(2, 5, 64 // up, 64 // up), _drawn(2, 3)
        made.append(layer(x.to(dtype), w, noise))

    assert called == [1]  # for float32 alone
    assert _error(made[0], made[1]) < ROUNDING


def test_a_matrix_a_picture_is_the_modulated_1x1_convolution() -> None:
    x, weight, styles = _drawn(2, 5, 6, 7), _drawn(3, 5, 1, 1), _drawn(2, 5)

    found = mixed_channels(x, ConvKernel.of(weight), styles)

    assert _error(found, _plainly(x, weight, styles, Finish())) < ROUNDING


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_modes_and_layouts_change_nothing(memory_format: torch.memory_format) -> None:
    x, weight, styles = _drawn(2, 8, 64, 64), _drawn(6, 8, 3, 3), _drawn(2, 8)
    kernel, phases = TiledKernel.of(weight), ConvKernel.of(weight, up=2).phases

    def both() -> list[Tensor]:
        laid_out = x.contiguous(memory_format=memory_format)
        return [
            convolve_tiles(laid_out, kernel, styles, Finish()),
            convolve_up(laid_out, phases, styles, Finish()),
        ]

    with torch.inference_mode():
        inside = both()
    outside = both()

    for a, b in zip(inside, outside, strict=True):
        assert torch.equal(a, b)


def test_several_threads_may_convolve_at_once() -> None:
    x, weight, styles = _drawn(1, 8, 64, 64), _drawn(6, 8, 3, 3), _drawn(1, 8)
    kernel, found = TiledKernel.of(weight), list[Tensor]()

    def convolve_often() -> None:
        found.extend(convolve_tiles(x, kernel, styles, Finish()) for _ in range(5))

    callers = [Thread(target=convolve_often) for _ in range(3)]
    with _with_threads(1):
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        alone = convolve_tiles(x, kernel, styles, Finish())

    assert len(found) == 15
    assert all(torch.equal(each, alone) for each in found)


@pytest.mark.parametrize(
    ("x", "styles", "finish", "message"),
    [
        (_drawn(1, 4, 8, 8).double(), _drawn(1, 4), Finish(), "float64; it must be"),
        (_drawn(4, 8, 8), _drawn(1, 4), Finish(), r"x is \(4, 8, 8\)"),
        (_drawn(1, 4, 8, 8), _drawn(1, 2), Finish(), r"styles is \(1, 2\); it must be \(1, 4\)"),
        (_drawn(1, 4, 8, 8), _drawn(1, 4), Finish(bias=_drawn(2)), r"bias is \(2,\)"),
        (_drawn(1, 4, 8, 8), _drawn(1, 4), Finish(scale=_drawn(1, 2)), r"scale of a picture is"),
        (_drawn(1, 4, 8, 8), _drawn(1, 4), Finish(noise=_drawn(4, 16)), r"noise is \(4, 16\)"),
        (_drawn(1, 4, 8, 8).requires_grad_(), _drawn(1, 4), Finish(), "asks for gradients"),
    ],
)
def test_what_the_kernels_cannot_read_is_refused(
    x: Tensor, styles: Tensor, finish: Finish, message: str
) -> None:
    weight = _drawn(3, 4, 3, 3)

    with pytest.raises(ValueError, match=message):
        convolve_tiles(x, TiledKernel.of(weight), styles, finish)
    with pytest.raises(ValueError, match=message):
        convolve_up(x, ConvKernel.of(weight, up=2).phases, styles, finish)


@pytest.mark.parametrize(
    ("shape", "message"),
    [((1, 4, 8, 6), "sides must be multiples of 4"), ((1, 3, 8, 8), r"it must be \(1, 4, 8, 8\)")],
)
def test_tiles_refuse_other_sides_and_channels(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        convolve_tiles(_drawn(*shape), TiledKernel.of(_drawn(3, 4, 3, 3)), _drawn(1, 4), Finish())


def test_what_is_not_finite_stays_where_it_is_read() -> None:
    x = torch.zeros(1, 1, 8, 8)
    x[0, 0, 0, 0] = torch.inf
    phases = ConvKernel.of(torch.ones(1, 1, 3, 3), up=2).phases

    found = convolve_up(x, phases, torch.ones(1, 1), Finish(clamp=256.0))

    assert not found.isnan().any()
    assert found[0, 0, 4:, 4:].eq(0).all()


@given(count=st.integers(0, 40), threads=st.integers(1, 5))
def test_shares_make_up_the_whole(count: int, threads: int) -> None:
    done, torch_threads = list[int](), set[int]()

    def work(first: int, stop: int) -> None:
        done.extend(range(first, stop))
        torch_threads.add(torch.get_num_threads())

    with _with_threads(threads):
        shared_out(work, count)

        assert torch.get_num_threads() == threads
    assert sorted(done) == list(range(count))
    assert torch_threads == {1} or threads == 1 or count <= 1


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_a_share_that_fails_fails_the_whole_after_all_have_ended(failing: int) -> None:
    ended: list[int] = []

    def work(first: int, stop: int) -> None:
        if first == failing:
            raise ValueError(f"row {first}")
        sleep(0.05)
        ended.append(stop)

    with _with_threads(3):
        with pytest.raises(ValueError, match=f"row {failing}"):
            shared_out(work, 3)

        assert len(ended) == 2
        assert torch.get_num_threads() == 3


def _nothing(first: int, stop: int) -> None:
    del first, stop


def test_a_forked_child_has_threads_of_its_own() -> None:
    with _with_threads(2):
        shared_out(_nothing, 2)
        child = os.fork()
        if child == 0:
            try:
                signal.alarm(20)
                shared_out(_nothing, 2)
                os._exit(0)
            finally:
                os._exit(1)
        _, status = os.waitpid(child, 0)

    assert status == 0
