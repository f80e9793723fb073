"""Small tileable textures made once from fixed random streams: every face looks up the same ones.

A texture is band-limited Gaussian noise, shaped in the frequency domain, so that its left edge
continues its right one. Levels are the same texture blurred for coarser pixels, at full size: a
look-up takes the nearest texel of the level that fits, which is smooth because the blur is wider
than a texel.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from workers.streams import bit_generator
from workers.types import Float32Array, Float64Array

Int8Array = NDArray[np.int8]

SKIN_TILE_PX = 512
SKIN_TEXEL_M = 0.00025
STRAND_TILE_PX = 512
SENSOR_TILE_PX = 1031  # odd, so that a repetition does not line up with a picture's size
CLOUD_TILE_PX = 256
NUM_LEVELS = 4  # level k suits pixels of 2^k texels

UNIT = 32  # one standard deviation in an int8 texture
FULL = 127  # a density of 1 in an int8 texture

# Channels of the skin texture.
MELANIN, BLOOD, FRECKLE, PORE_X, PORE_Y, STUBBLE = range(6)


def band_noise(
    name: str, shape: tuple[int, int], finest_px: tuple[float, float], coarsest_px: float
) -> Float64Array:
    """Return tileable Gaussian noise of zero mean and unit standard deviation.

    Args:
        name: of the fixed stream that it is drawn from.
        shape: rows, columns.
        finest_px: detail smaller than this is smoothed away, along rows' and columns' direction
            (vertical, horizontal).
        coarsest_px: variation slower than this is removed.
    """
    stream = np.random.Generator(bit_generator(0, f"builtin.texture.{name}", 0))
    spectrum = np.fft.rfft2(stream.standard_normal(shape))
    fy = np.fft.fftfreq(shape[0])[:, None]
    fx = np.fft.rfftfreq(shape[1])[None, :]
    low_pass = np.exp(-2.0 * ((fy * finest_px[0]) ** 2 + (fx * finest_px[1]) ** 2))
    high_pass = 1.0 - np.exp(-2.0 * (fy**2 + fx**2) * coarsest_px**2)
    return _standard(np.fft.irfft2(spectrum * low_pass * high_pass, s=shape))


def blurred(texture: Float64Array, sigma_px: float) -> Float64Array:
    """Return a tileable (H, W) texture under a Gaussian of the given standard deviation."""
    fy = np.fft.fftfreq(texture.shape[0])[:, None]
    fx = np.fft.rfftfreq(texture.shape[1])[None, :]
    gain = np.exp(-2.0 * (np.pi * sigma_px) ** 2 * (fy**2 + fx**2))
    return np.asarray(np.fft.irfft2(np.fft.rfft2(texture) * gain, s=texture.shape))


@lru_cache(maxsize=1)
def skin_texture() -> Int8Array:
    """Return (levels, 512, 512, 8): melanin, blood, freckles, pores' slope in x and y, stubble.

    The last two channels are padding: a texel is read as one number of 64 bits. A tile is 128 mm
    wide. Values are in 1/32 standard deviations; freckles and stubble are densities (0 to 127:
    none to full).
    """
    shape = (SKIN_TILE_PX, SKIN_TILE_PX)
    melanin = band_noise("melanin", shape, (8.0, 8.0), 120.0)
    blood = band_noise("blood", shape, (6.0, 6.0), 90.0)
    pores = band_noise("pores", shape, (2.2, 2.2), 7.0)
    folds = band_noise("folds", shape, (5.0, 5.0), 24.0)
    relief = 0.8 * pores + 2.0 * folds
    channels = [
        UNIT * melanin,
        UNIT * blood,
        _spots("freckles", shape, 900, (2.0, 5.5)),
        UNIT * 0.5 * (np.roll(relief, -1, 1) - np.roll(relief, 1, 1)),
        UNIT * 0.5 * (np.roll(relief, -1, 0) - np.roll(relief, 1, 0)),
        _spots("stubble", shape, 26000, (0.55, 0.8)),
    ]
    levels = _levels(np.stack(channels, -1))
    return np.pad(levels, ((0, 0), (0, 0), (0, 0), (0, 2)))


@lru_cache(maxsize=1)
def strand_texture() -> Int8Array:
    """Return (levels, 512, 512, 2): brightness and identity of strands, which run along rows'
    direction (axis 1 is along, axis 2 across), in 1/32 standard deviations."""
    shape = (STRAND_TILE_PX, STRAND_TILE_PX)
    fine = band_noise("strands", shape, (60.0, 1.2), 12.0)
    locks = band_noise("locks", shape, (110.0, 7.0), 60.0)
    other = band_noise("strands of grey", shape, (200.0, 1.6), 40.0)
    return _levels(UNIT * np.stack([0.75 * fine + 0.65 * locks, other], -1))


@lru_cache(maxsize=1)
def sensor_texture() -> Int8Array:
    """Return (1031, 1031, 3): the noise of a colour sensor after its mosaic was filled in."""
    shape = (SENSOR_TILE_PX, SENSOR_TILE_PX)
    luma = band_noise("sensor", shape, (0.35, 0.35), 1e6)
    chroma = [band_noise(f"sensor {c}", shape, (0.9, 0.9), 1e6) for c in "rgb"]
    return _to_int8(UNIT * np.stack([0.85 * luma + 0.5 * c for c in chroma], -1))


@lru_cache(maxsize=1)
def cloud_texture() -> Float32Array:
    """Return (256, 256, 2): soft clouds and leafy detail, zero mean, unit standard deviation."""
    shape = (CLOUD_TILE_PX, CLOUD_TILE_PX)
    octaves = [(64.0, 1.0), (30.0, 0.6), (14.0, 0.35), (6.0, 0.2), (3.0, 0.12)]
    clouds = sum(a * band_noise(f"clouds {s:g}", shape, (s, s), 4 * s) for s, a in octaves)
    leaves = sum(a * band_noise(f"leaves {s:g}", shape, (s, s), 3 * s) for s, a in octaves[2:])
    layers = [_standard(np.asarray(layer)) for layer in (clouds, leaves)]
    return np.stack(layers, -1).astype(np.float32)


def _spots(
    name: str, shape: tuple[int, int], count: int, radius_px: tuple[float, float]
) -> Float64Array:
    """Return random soft dots, 0 to 127, that wrap around the borders."""
    stream = np.random.Generator(bit_generator(0, f"builtin.texture.{name}", 0))
    drawn = stream.random((count, 4))
    out = np.zeros(shape)
    reach = int(np.ceil(2 * radius_px[1]))
    steps = np.arange(-reach, reach + 1)
    for x, y, size, strength in drawn:
        column, row = x * shape[1], y * shape[0]
        radius = radius_px[0] + (radius_px[1] - radius_px[0]) * size**2
        dx = steps + int(column) - column
        dy = steps + int(row) - row
        dot = np.exp(-0.5 * ((dx[None, :] ** 2 + dy[:, None] ** 2) / (0.6 * radius) ** 2))
        rows, columns = (steps + int(row)) % shape[0], (steps + int(column)) % shape[1]
        out[np.ix_(rows, columns)] += (0.4 + 0.6 * strength) * dot
    return FULL * np.minimum(out, 1.0)


def _levels(texture: Float64Array) -> Int8Array:
    levels = [texture]
    for level in range(1, NUM_LEVELS):
        sigma_px = 0.4 * 2.0**level
        soft = [blurred(texture[..., c], sigma_px) for c in range(texture.shape[-1])]
        levels.append(np.stack(soft, -1))
    return _to_int8(np.stack(levels))


def _to_int8(texture: Float64Array) -> Int8Array:
    return np.clip(np.rint(texture), -FULL, FULL).astype(np.int8)


def _standard(field: Float64Array) -> Float64Array:
    return np.asarray((field - field.mean()) / field.std())
