"""The processor's own forms of convolution give what the plain ones give."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from workers.generators.next3d.convolution import ConvKernel, convolve
from workers.generators.next3d.finish import Finish
from workers.generators.next3d.layers import Conv2dLayer, SynthesisLayer, prepare_all
from workers.generators.next3d.shares import shared_out
from workers.generators.next3d.up_convolution import ROWS_AT_ONCE, convolve_up
from workers.generators.next3d.winograd import TILES_AT_ONCE, TiledKernel, convolve_tiles

ROUNDING = 5e-6
"""Of the result's spread, root mean square; the tiles' own is 1.5e-6."""


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def _drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


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
def test_a_synthesis_layer_is_the_same_by_tiles_strips_and_plainly(up: int) -> None:
    made = []
    for dtype in (torch.float32, torch.float64):
        layer = SynthesisLayer(5, 7, 3, 64, up=up, conv_clamp=3.0)
        shapes = {name: value.shape for name, value in layer.state_dict().items()}
        layer.load_state_dict({name: _drawn(*shape) for name, shape in shapes.items()})
        prepare_all(layer, dtype)
        x, w = _drawn(2, 5, 64 // up, 64 // up), _drawn(2, 3)
        made.append(layer(x.to(dtype), w, "const"))

    assert _error(made[0], made[1]) < ROUNDING


@given(count=st.integers(0, 40), threads=st.integers(1, 5))
def test_shares_make_up_the_whole(count: int, threads: int) -> None:
    done: list[int] = []
    before = torch.get_num_threads()
    torch.set_num_threads(threads)

    shared_out(lambda first, stop: done.extend(range(first, stop)), count)

    assert torch.get_num_threads() == threads
    torch.set_num_threads(before)
    assert sorted(done) == list(range(count))


@pytest.mark.parametrize("failing", [0, 1])
def test_a_share_that_fails_fails_the_whole_after_all_have_ended(failing: int) -> None:
    ended: list[int] = []

    def work(first: int, stop: int) -> None:
        if first == failing:
            raise ValueError(f"row {first}")
        ended.append(stop)

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    with pytest.raises(ValueError, match=f"row {failing}"):
        shared_out(work, 2)

    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)
    assert len(ended) == 1
