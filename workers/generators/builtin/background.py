"""What is behind the head: painted small from random shapes, enlarged when the picture is drawn."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from workers.generators.builtin.colours import hue_colour, thing_hues
from workers.generators.builtin.noise import CLOUD_TILE_PX, cloud_texture
from workers.raster.jit import compiled
from workers.types import FaceParams, Float32Array, Float64Array

CANVAS_PX = 128

# A shape: centre x, y, half sizes x, y, turn (radians), softness of the border, roundness (2 is an
# ellipse, 8 a box), cover, red, green, blue. Lengths over the canvas' side.
NUM_SHAPE_NUMBERS = 11

KINDS = ("plain", "clouds", "bokeh", "room", "outdoors", "clutter", "foliage")
_KIND_WEIGHTS = np.array([0.14, 0.12, 0.14, 0.20, 0.14, 0.16, 0.10])


def draw_background(params: FaceParams) -> Float32Array:
    """Return (128, 128, 3) linear light of one sample, from its streams `background.*`."""
    stream = params.streams.of_sample("background")
    kind = KINDS[int(np.searchsorted(np.cumsum(_KIND_WEIGHTS), stream.random() * 0.999))]
    level = 0.55 * np.exp(-2.2 * stream.random())
    canvas = _gradient(stream, level)
    shapes = _SHAPES[kind](stream, level) if kind in _SHAPES else None
    if shapes is not None:
        _paint(shapes, canvas)
    strength = {"clouds": 0.45, "foliage": 0.35, "outdoors": 0.22, "clutter": 0.2}.get(kind, 0.08)
    return _mottled(canvas, stream, strength * (0.4 + 0.9 * stream.random()))


def _colours(stream: Generator, count: int, level: float, saturation: float) -> Float64Array:
    """(count, 3) colours of things."""
    u = stream.random((count, 3))
    return hue_colour(
        thing_hues(u[:, 0]), saturation * u[:, 1] ** 1.5, level * (0.3 + 1.4 * u[:, 2])
    )


def _gradient(stream: Generator, level: float) -> Float32Array:
    """Between two colours along a random direction, with a soft bright spot."""
    first, second = _colours(stream, 2, level, 0.7).astype(np.float32)
    u = stream.random(5)
    at = (np.arange(CANVAS_PX) + 0.5) / CANVAS_PX
    angle = 2.0 * np.pi * u[0]
    ramp = 0.5 + (np.cos(angle) * (at - 0.5))[None, :] + (np.sin(angle) * (at - 0.5))[:, None]
    mix = (np.clip(ramp, 0.0, 1.0) * u[1]).astype(np.float32)
    across, down = np.exp(-4.0 * (at - u[2]) ** 2), np.exp(-4.0 * (at - u[3]) ** 2)
    gain = (1.0 + 0.8 * u[4] * (across[None, :] * down[:, None])).astype(np.float32)
    canvas = (first + (second - first) * mix[..., None]) * gain[..., None]
    return np.asarray(canvas)


def _mottled(canvas: Float32Array, stream: Generator, strength: float) -> Float32Array:
    row, column = stream.integers(0, CLOUD_TILE_PX - CANVAS_PX, 2)
    layer = int(stream.random() < 0.5)
    piece = cloud_texture()[row : row + CANVAS_PX, column : column + CANVAS_PX, layer]
    gain = np.maximum(1.0 + np.float32(strength) * piece, np.float32(0.05))
    return np.asarray(canvas * gain[..., None])


def _shapes(stream: Generator, count: int) -> tuple[Float64Array, Float64Array]:
    return np.zeros((count, NUM_SHAPE_NUMBERS)), stream.random((count, NUM_SHAPE_NUMBERS))


def _coloured(shapes: Float64Array, stream: Generator, level: float, saturation: float) -> None:
    shapes[:, 8:11] = _colours(stream, len(shapes), level, saturation)


def _bokeh(stream: Generator, level: float) -> Float64Array:
    """Discs of light out of focus."""
    shapes, u = _shapes(stream, 14 + int(stream.integers(0, 30)))
    shapes[:, 0:2] = 1.2 * u[:, 0:2] - 0.1
    radius = (0.02 + 0.09 * stream.random()) * (0.7 + 0.6 * u[:, 2])
    shapes[:, 2] = shapes[:, 3] = radius
    shapes[:, 5] = 0.012 + 0.03 * stream.random()
    shapes[:, 6] = 2.0
    shapes[:, 7] = 0.2 + 0.6 * u[:, 7]
    _coloured(shapes, stream, 2.2 * level, 0.9)
    return shapes


def _room(stream: Generator, level: float) -> Float64Array:
    """Walls, doors, windows, shelves, pictures: boxes with level edges, more or less in focus."""
    shapes, u = _shapes(stream, 8 + int(stream.integers(0, 14)))
    tilt = 0.12 * (stream.random() - 0.5)
    shapes[:, 0:2] = 1.3 * u[:, 0:2] - 0.15
    tall = u[:, 3] < 0.5
    shapes[:, 2] = np.where(tall, 0.02 + 0.16 * u[:, 2], 0.08 + 0.4 * u[:, 2])
    shapes[:, 3] = np.where(tall, 0.15 + 0.6 * u[:, 4], 0.01 + 0.14 * u[:, 4])
    shapes[0, :4] = 0.5, 0.95 + 0.25 * u[0, 1], 1.2, 0.25 + 0.2 * u[0, 3]  # floor or table
    shapes[1, :4] = 1.0 * (u[1, 0] > 0.5), 0.5, 0.15 + 0.3 * u[1, 2], 1.5  # a side wall
    shapes[:, 4] = tilt
    shapes[:, 5] = 0.006 + 0.05 * stream.random() ** 2
    shapes[:, 6] = 8.0
    shapes[:, 7] = 0.5 + 0.5 * u[:, 7]
    _coloured(shapes, stream, level, 0.6)
    bright = u[:, 8] > 0.88  # windows and lamps
    shapes[bright, 8:11] = 0.5 + 1.2 * u[bright, 9:10]
    return shapes


def _outdoors(stream: Generator, level: float) -> Float64Array:
    """Sky above, ground below, blobs of trees or houses on the horizon."""
    shapes, u = _shapes(stream, 16 + int(stream.integers(0, 18)))
    horizon = 0.3 + 0.5 * stream.random()
    bright = 1.5 * level + 0.1
    soft = 0.01 + 0.06 * stream.random()
    shapes[:, 0] = 1.2 * u[:, 0] - 0.1
    shapes[:, 1] = horizon - 0.12 * u[:, 1]
    shapes[:, 2] = 0.03 + 0.14 * u[:, 2]
    shapes[:, 3] = 0.04 + 0.18 * u[:, 3]
    shapes[:, 6] = np.where(u[:, 4] < 0.6, 2.0, 8.0)
    shapes[:, 7] = 0.6 + 0.4 * u[:, 7]
    shapes[:, 8:11] = hue_colour(0.10 + 0.26 * u[:, 8], 0.5 * u[:, 9], level * u[:, 10])
    shapes[0] = 0.5, horizon - 1.0, 2.0, 1.0, 0.0, soft, 8.0, 1.0, *_sky(u[0], bright)
    ground = hue_colour(0.05 + 0.3 * u[1, 8], 0.5 * u[1, 9], 0.6 * level)
    shapes[-1] = 0.5, horizon + 1.0, 2.0, 1.0, 0.0, soft, 8.0, 1.0, *ground
    shapes[:, 5] = soft
    return shapes


def _sky(drawn: Float64Array, level: float) -> Float64Array:
    return hue_colour(0.58 + 0.06 * drawn[8], 0.6 * drawn[9], level)


def _clutter(stream: Generator, level: float) -> Float64Array:
    """Many turned shapes of all colours, some in focus."""
    shapes, u = _shapes(stream, 25 + int(stream.integers(0, 45)))
    shapes[:, 0:2] = 1.2 * u[:, 0:2] - 0.1
    shapes[:, 2] = 0.015 + 0.2 * u[:, 2] ** 2
    shapes[:, 3] = 0.015 + 0.2 * u[:, 3] ** 2
    shapes[:, 4] = np.pi * u[:, 4]
    shapes[:, 5] = 0.005 + 0.03 * stream.random()
    shapes[:, 6] = np.where(u[:, 6] < 0.4, 2.0, 8.0)
    shapes[:, 7] = 0.4 + 0.6 * u[:, 7]
    _coloured(shapes, stream, 1.2 * level, 0.9)
    return shapes


def _foliage(stream: Generator, level: float) -> Float64Array:
    """Leaves with light between them."""
    shapes, u = _shapes(stream, 90 + int(stream.integers(0, 60)))
    shapes[:, 0:2] = 1.2 * u[:, 0:2] - 0.1
    shapes[:, 2] = 0.01 + 0.05 * u[:, 2]
    shapes[:, 3] = 0.6 * shapes[:, 2]
    shapes[:, 4] = np.pi * u[:, 4]
    shapes[:, 5] = 0.008 + 0.03 * stream.random()
    shapes[:, 6] = 2.0
    shapes[:, 7] = 0.35 + 0.6 * u[:, 7]
    shapes[:, 8:11] = hue_colour(0.2 + 0.14 * u[:, 8], 0.8 * u[:, 9], level * 2.5 * u[:, 10] ** 3)
    return shapes


_SHAPES = {
    "bokeh": _bokeh,
    "room": _room,
    "outdoors": _outdoors,
    "clutter": _clutter,
    "foliage": _foliage,
}


@compiled
def _paint(shapes: Float64Array, canvas: Float32Array) -> None:
    """Lay soft superellipses over the canvas, one after another."""
    size = canvas.shape[0]
    per_px = 1.0 / size
    for k in range(shapes.shape[0]):
        shape = shapes[k]
        half_x, half_y, soft = shape[2], shape[3], max(shape[5], 0.4 * per_px)
        c, s = np.cos(shape[4]), np.sin(shape[4])
        reach_x = abs(c) * half_x + abs(s) * half_y + soft
        reach_y = abs(s) * half_x + abs(c) * half_y + soft
        first_row = max(int((shape[1] - reach_y) * size), 0)
        last_row = min(int((shape[1] + reach_y) * size) + 1, size)
        first_column = max(int((shape[0] - reach_x) * size), 0)
        last_column = min(int((shape[0] + reach_x) * size) + 1, size)
        smaller = min(half_x, half_y)
        for i in range(first_row, last_row):
            dy = (i + 0.5) * per_px - shape[1]
            for j in range(first_column, last_column):
                dx = (j + 0.5) * per_px - shape[0]
                x, y = (c * dx + s * dy) / half_x, (-s * dx + c * dy) / half_y
                x, y = x * x, y * y
                if shape[6] > 2.0:
                    reach = np.sqrt(np.sqrt(np.sqrt(x * x * x * x + y * y * y * y)))
                else:
                    reach = np.sqrt(x + y)
                cover = min(max((1.0 - reach) * smaller / soft + 0.5, 0.0), 1.0) * shape[7]
                for channel in range(3):
                    under = canvas[i, j, channel]
                    canvas[i, j, channel] = under + np.float32(cover) * (
                        np.float32(shape[8 + channel]) - under
                    )
