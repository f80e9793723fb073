"""From linear light to the file's 8-bit sRGB: blur, vignetting, exposure, noise, tone curve."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import simplejpeg

from workers.generators.builtin.noise import SENSOR_TILE_PX, Int8Array, sensor_texture
from workers.raster.jit import compiled
from workers.types import FaceParams, Float32Array, Float64Array, UInt8Array

REFERENCE_PX = 512  # `lens.blur` is given for a picture of this width
MIN_BLUR_PX = 0.25  # less than this changes no byte that the eye would see
BRIGHTEST = 4.0  # linear light that the tone curve's table reaches
TABLE_SIZE = 4096
SHOULDER_START = 0.55  # linear light from where highlights are compressed
MID_GREY = 0.18
NO_JPEG = 100  # from this quality on no compression is done


@dataclass(frozen=True)
class Lens:
    """The camera of one sample.

    Attributes:
        gains: (3,) exposure and white balance.
        blur_px: standard deviation.
        noise: standard deviation at full scale, linear light.
        vignetting: loss of light in the corners, 0 to 1.
        contrast: exponent around mid grey.
        saturation: of colours, 1 unchanged.
        resolution: side of an earlier, smaller picture over this one's.
        jpeg: quality of an earlier compression; 100 is none.
    """

    gains: Float64Array
    blur_px: float
    noise: float
    vignetting: float
    contrast: float
    saturation: float
    resolution: float
    jpeg: int


def draw_lens(params: FaceParams, white_point: Float64Array, illumination: float) -> Lens:
    """Return the camera of one sample, from `lens.*` and the streams `lens.*` of the sample.

    Args:
        params: of the sample.
        white_point: (3,) gains that whiten the light.
        illumination: mean irradiance of the face; the exposure follows it in part, as a camera's
            automatic one does.
    """
    scalars = params.scalars
    automatic = 1.05 * max(illumination, 0.02) ** -0.75
    return Lens(
        gains=white_point * automatic * 2.0 ** scalars["lens.exposure"],
        blur_px=scalars["lens.blur"] * params.camera.width_px / REFERENCE_PX,
        noise=scalars["lens.noise"],
        vignetting=scalars["lens.vignetting"],
        contrast=scalars["lens.contrast"],
        saturation=scalars["lens.saturation"],
        resolution=scalars["lens.resolution"],
        jpeg=round(scalars["lens.jpeg"]),
    )


def expose(picture: Float32Array, lens: Lens, params: FaceParams) -> UInt8Array:
    """Return the (H, W, 3) sRGB picture of (H, W, 3) linear light, which is used up."""
    if lens.blur_px > MIN_BLUR_PX:
        kernel = _gaussian(lens.blur_px)
        _blur_rows(picture, kernel)
        _blur_columns(picture, kernel)
    height, width = picture.shape[:2]
    offset = params.streams.of_sample("lens.noise").integers(0, SENSOR_TILE_PX, 2)
    out = np.empty(picture.shape, np.uint8)
    _develop(
        picture,
        lens.gains,
        lens.noise,
        lens.vignetting / (0.25 * (height * height + width * width)),
        lens.saturation,
        _tone_table(lens.contrast),
        sensor_texture(),
        int(offset[0]),
        int(offset[1]),
        out,
    )
    return _handed_on(out, lens)


def _handed_on(picture: UInt8Array, lens: Lens) -> UInt8Array:
    """Make it smaller and larger again, and compress it, as pictures are on their way."""
    height, width = picture.shape[:2]
    small = (max(round(width * lens.resolution), 1), max(round(height * lens.resolution), 1))
    is_smaller = small != (width, height)
    sent = cv2.resize(picture, small, interpolation=cv2.INTER_AREA) if is_smaller else picture
    if lens.jpeg < NO_JPEG:
        data = simplejpeg.encode_jpeg(np.ascontiguousarray(sent), lens.jpeg, "RGB", "420")
        sent = simplejpeg.decode_jpeg(data, "RGB")
    if is_smaller:
        sent = cv2.resize(sent, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(sent, dtype=np.uint8)


def _gaussian(sigma_px: float) -> Float32Array:
    """(N,) one half of a normalised kernel, from the centre."""
    reach = int(np.ceil(2.6 * sigma_px))
    half = np.exp(-0.5 * (np.arange(reach + 1) / sigma_px) ** 2)
    return np.asarray(half / (2.0 * half.sum() - half[0]), dtype=np.float32)


def _tone_table(contrast: float) -> UInt8Array:
    """(TABLE_SIZE,) 8-bit sRGB by the square root of linear light over `BRIGHTEST`."""
    light = BRIGHTEST * ((np.arange(TABLE_SIZE) + 0.5) / TABLE_SIZE) ** 2
    light = MID_GREY * (light / MID_GREY) ** contrast
    room = 1.0 - SHOULDER_START
    over = np.maximum(light - SHOULDER_START, 0.0)
    light = np.minimum(light, SHOULDER_START) + room * (1.0 - np.exp(-over / room))
    encoded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.clip(np.rint(255.0 * encoded), 0, 255).astype(np.uint8)


@compiled
def _blur_rows(picture: Float32Array, half: Float32Array) -> None:
    """Gaussian blur along each row, in place; the border's pixels are repeated."""
    height, width, channels = picture.shape
    reach = half.shape[0] - 1
    num, margin = width * channels, reach * channels
    row = np.empty(num + 2 * margin, np.float32)
    for i in range(height):
        line = picture[i].reshape(num)
        row[margin : margin + num] = line
        for k in range(margin):
            row[k] = line[k % channels]
            row[margin + num + k] = line[num - channels + k % channels]
        for k in range(num):
            line[k] *= half[0]
        for t in range(1, reach + 1):
            weight = half[t]
            # Slices, as an index that might be negative keeps the loop from being vectorised.
            before = row[margin - t * channels : margin - t * channels + num]
            after = row[margin + t * channels : margin + t * channels + num]
            for k in range(num):
                line[k] += weight * (before[k] + after[k])


@compiled
def _blur_columns(picture: Float32Array, half: Float32Array) -> None:
    """Gaussian blur along each column, in place; the rows above are kept in a ring."""
    height, width, channels = picture.shape
    reach = half.shape[0] - 1
    num, size = width * channels, 2 * reach + 1
    ring = np.empty((size, num), np.float32)
    for r in range(size):
        ring[r] = picture[min(max(r - reach, 0), height - 1)].reshape(num)
    for i in range(height):
        line = picture[i].reshape(num)
        middle = ring[(i + reach) % size]
        for k in range(num):
            line[k] = half[0] * middle[k]
        for t in range(1, reach + 1):
            weight = half[t]
            above, below = ring[(i + reach - t) % size], ring[(i + reach + t) % size]
            for k in range(num):
                line[k] += weight * (above[k] + below[k])
        ring[i % size] = picture[min(i + reach + 1, height - 1)].reshape(num)


@compiled
def _develop(
    picture: Float32Array,
    gains: Float64Array,
    noise: float,
    vignetting: float,
    saturation: float,
    table: UInt8Array,
    sensor: Int8Array,
    noise_row: int,
    noise_column: int,
    out: UInt8Array,
) -> None:
    height, width = picture.shape[0], picture.shape[1]
    tile = sensor.shape[0]
    mask = table.shape[0] - 1  # keeps light that is no number inside the table
    last = np.float32(mask)
    bright = np.float32(table.shape[0] / 2.0)  # the table's index by the root of linear light
    gain_r, gain_g, gain_b = np.float32(gains[0]), np.float32(gains[1]), np.float32(gains[2])
    # Photon noise grows with the root of light, so that the root's own noise is even.
    spread = np.float32(0.5 * noise * table.shape[0] / 2.0 / 32.0)
    keep, zero = np.float32(saturation), np.float32(0.0)
    wr, wg, wb = np.float32(0.2126), np.float32(0.7152), np.float32(0.0722)
    across = np.empty(width, np.float32)  # what vignetting takes, by column
    for j in range(width):
        across[j] = np.float32(vignetting * (j + 0.5 - 0.5 * width) ** 2)
    # One flat row of three planes each: plain strides run in vectors.
    grain = np.empty(3 * width, np.float32)
    light = np.empty(3 * width, np.float32)
    place = np.empty(3 * width, np.int32)
    for i in range(height):
        centre = np.float32(1.0 - vignetting * (i + 0.5 - 0.5 * height) ** 2)
        row = (i + noise_row) % tile
        column = noise_column
        for j in range(width):  # the tile's row, over and over
            for c in range(3):
                grain[c * width + j] = spread * np.float32(sensor[row, column, c])
                light[c * width + j] = picture[i, j, c]
            column = column + 1 if column + 1 < tile else 0
        red, green, blue = light[:width], light[width : 2 * width], light[2 * width :]
        for j in range(width):
            fall = centre - across[j]
            r, g, b = red[j] * gain_r * fall, green[j] * gain_g * fall, blue[j] * gain_b * fall
            grey = wr * r + wg * g + wb * b
            red[j] = max(grey + keep * (r - grey), zero)
            green[j] = max(grey + keep * (g - grey), zero)
            blue[j] = max(grey + keep * (b - grey), zero)
        for k in range(3 * width):
            root = np.sqrt(light[k]) * bright + grain[k]
            place[k] = np.int32(min(max(root, zero), last))
        for j in range(width):
            for c in range(3):
                out[i, j, c] = table[place[c * width + j] & mask]
