"""Triton's kernels against torch's operations: interpreted on a processor, compiled on a GPU."""

from __future__ import annotations

import os

import pytest
import torch
from torch import Tensor
from torch.nn import functional

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")  # read when a kernel is defined
pytest.importorskip("triton", reason="Triton is not installed: it comes with torch's CUDA builds")

from workers.generators.next3d import fused_filters, fused_lookup
from workers.generators.next3d.convolution import ConvKernel, phase_images, transposed_conv2d
from workers.generators.next3d.decoder import OSGDecoder
from workers.generators.next3d.finish import Finish
from workers.generators.next3d.plane_lookup import ray_features
from workers.generators.next3d.resampling import fir_filter, upfirdn2d

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 4e-2, torch.float16: 4e-3}
DTYPES = pytest.mark.parametrize("dtype", TOLERANCE, ids=str)


def _drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def _finished(x: Tensor, how: Finish) -> Tensor:
    assert how.scale is not None
    assert how.bias is not None
    x = x * how.scale[:, :, None, None] + how.bias[:, None, None]
    x = x if how.noise is None else x + how.noise
    x = functional.leaky_relu(x, how.leak) * how.gain
    return x if how.clamp is None else x.clamp(-how.clamp, how.clamp)


def _on_device(how: Finish) -> Finish:
    parts = [None if each is None else each.to(DEVICE) for each in (how.scale, how.noise, how.bias)]
    return Finish(*parts, leak=how.leak, gain=how.gain, clamp=how.clamp)


@DTYPES
@pytest.mark.parametrize("channels", [3, 70])
def test_an_up_convolution_is_woven_filtered_and_finished_in_one_pass(
    dtype: torch.dtype, channels: int
) -> None:
    x = _drawn(2, 6, 5, 7).to(dtype)
    kernel = ConvKernel.of(_drawn(channels, 6, 3, 3), up=2, dtype=dtype)
    how = Finish(_drawn(2, channels), _drawn(10, 14), _drawn(channels), 0.2, 1.5, 3.0)
    phases = tuple(image.to(DEVICE) for image in phase_images(x, kernel.phases))

    found = fused_filters.up_filtered(phases, _on_device(how))

    woven = transposed_conv2d(x, kernel.phases).float()
    slow = upfirdn2d(woven, fir_filter(), padding=(1, 1, 1, 1), gain=4.0)
    bound = TOLERANCE[dtype]
    torch.testing.assert_close(found.float().cpu(), _finished(slow, how), atol=bound, rtol=bound)


@DTYPES
def test_what_follows_a_convolution_is_one_pass(dtype: torch.dtype) -> None:
    x, how = _drawn(2, 70, 6, 9).to(dtype), Finish(_drawn(2, 70), None, _drawn(70), 0.2)

    found = fused_filters.finish(x.to(DEVICE, copy=True), _on_device(how))

    bound = TOLERANCE[dtype]
    whole = _finished(x.float(), how)
    torch.testing.assert_close(found.float().cpu(), whole, atol=bound, rtol=bound)


@DTYPES
@pytest.mark.parametrize(("padding", "step"), [(2, 1), (1, 2)])
def test_the_low_pass_is_that_of_the_reference(dtype: torch.dtype, padding: int, step: int) -> None:
    x = _drawn(2, 70, 6, 10).to(dtype)

    found = fused_filters.low_passed(x.to(DEVICE), padding=padding, step=step)

    around = (padding, padding, padding, padding)
    slow = upfirdn2d(x.float(), fir_filter(), down=step, padding=around)
    bound = TOLERANCE[dtype]
    torch.testing.assert_close(found.float().cpu(), slow, atol=bound, rtol=bound)


@pytest.mark.parametrize("num_origins", [1, 5], ids=["one origin", "an origin a ray"])
@torch.inference_mode()
def test_rays_are_read_and_decoded_as_by_the_reference(num_origins: int) -> None:
    batch, rays, depths, side = 2, 5, 7, 9
    table, decoder = _drawn(batch * 3 * side * side, 32), OSGDecoder(32, 32)
    for parameter in decoder.parameters():
        parameter.copy_(_drawn(*parameter.shape))
    given = (
        _drawn(batch, num_origins, 3) * 0.3,
        functional.normalize(_drawn(batch, rays, 3), dim=-1),
        _drawn(batch, rays, depths).abs(),
    )
    colours, densities = decoder(ray_features(table, *given, resolution=side, box_side=1.2))
    moved = decoder.to(DEVICE)

    for has_colours in (True, False):
        found_colours, found_densities = fused_lookup.look(
            table.to(DEVICE),
            *(each.to(DEVICE) for each in given),
            moved.laid_out,
            resolution=side,
            box_side=1.2,
            has_colours=has_colours,
        )
        flat = found_densities.cpu().view(densities.shape)
        torch.testing.assert_close(flat, densities, atol=2e-4, rtol=1e-5)
        assert found_colours.shape[-1] == (32 if has_colours else 0)
        if has_colours:
            same = found_colours.cpu().view(colours.shape)
            torch.testing.assert_close(same, colours, atol=1e-5, rtol=0)
