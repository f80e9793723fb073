"""The light on a face: one key light and an ambient field, drawn from a sample's scalars."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from workers.generators.builtin.colours import LUMINANCE, hue_colour, light_colour
from workers.types import FaceParams, Float64Array

# A clamped cosine about a direction as a quadratic in x = n . direction, to second order
# (Ramamoorthi and Hanrahan, "An Efficient Representation for Irradiance Environment Maps", 2001).
_COSINE = (0.09375, 0.5, 0.46875)

KEY_STRENGTH = 1.9  # irradiance of the key light alone, over that of the ambient light alone
UP = np.array([0.0, -1.0, 0.0])  # camera axes; heads and cameras are near enough upright


WHITE_ERROR = 0.25  # of the logarithm of the red gain, where `lens.white_balance` is 1


@dataclass(frozen=True)
class Lighting:
    """Light in camera axes. A white surface under irradiance 1 has radiance 1.

    Attributes:
        key_direction: (3,) unit, from the face to the light.
        key_rgb: (3,) irradiance square to the light.
        key_half_angle: radians, apparent size of the light: of catchlights and highlights.
        ambient: (3, 4, 4) irradiance from everywhere else as a quadratic form of (n, 1).
        sky_rgb: (3,) what shines from above: seen in reflections.
        ground_rgb: (3,) what shines from below.
        window_direction: (3,) unit, the brightest part of the ambient light.
        window_rgb: (3,) its irradiance.
    """

    key_direction: Float64Array
    key_rgb: Float64Array
    key_half_angle: float
    ambient: Float64Array
    sky_rgb: Float64Array
    ground_rgb: Float64Array
    window_direction: Float64Array
    window_rgb: Float64Array


def light_direction(azimuth_deg: float, elevation_deg: float) -> Float64Array:
    """Return the unit vector to a light, camera axes.

    Args:
        azimuth_deg: 0 behind the camera, > 0 from the image's right.
        elevation_deg: > 0 from above.
    """
    azimuth, elevation = np.deg2rad(azimuth_deg), np.deg2rad(elevation_deg)
    return np.array(
        [
            np.sin(azimuth) * np.cos(elevation),
            -np.sin(elevation),
            -np.cos(azimuth) * np.cos(elevation),
        ]
    )


def draw_lighting(params: FaceParams) -> Lighting:
    """Return the light of one sample, from `light.*` and the streams `light.*` of the sample."""
    scalars = params.scalars
    contrast = scalars["light.contrast"]
    u = params.streams.sample_uniforms("light.ambient", 12)
    key = KEY_STRENGTH * contrast * light_colour(scalars["light.temperature"])
    level = (1.0 - contrast) + 0.03
    tint = light_colour(scalars["light.ambient_temperature"])
    bounce = hue_colour(u[1], 0.25 * u[2], 1.0)
    balance = 0.15 + 0.75 * u[3]  # how much brighter above than below
    sky = level * (1.0 + balance) * tint
    ground = level * (1.0 - balance) * tint * bounce
    window_share = 0.2 + 0.5 * u[4]
    window_direction = light_direction(-150.0 + 300.0 * u[5], -20.0 + 70.0 * u[6])
    window = 2.0 * window_share * level * light_colour(3500.0 + 6000.0 * u[7])
    ambient = (1.0 - window_share) * _sky_and_ground(sky, ground) + _lobe(window_direction, window)
    return Lighting(
        key_direction=light_direction(scalars["light.azimuth"], scalars["light.elevation"]),
        key_rgb=key,
        key_half_angle=float(np.deg2rad(scalars["light.size"])),
        ambient=ambient,
        sky_rgb=sky,
        ground_rgb=ground,
        window_direction=window_direction,
        window_rgb=window,
    )


def white_point(params: FaceParams, lighting: Lighting) -> Float64Array:
    """Return the gains by which the camera whitens this light, in part and with an error.

    The mix of both lights is the reference; luminance is kept.
    """
    u = params.streams.sample_uniforms("lens.white_balance", 3)
    mix = lighting.key_rgb + np.trace(lighting.ambient, axis1=1, axis2=2) * 0.5
    adapted = (mix / (mix @ LUMINANCE)) ** (0.6 + 0.4 * u[0])
    warmth = WHITE_ERROR * params.scalars["lens.white_balance"]
    error = np.exp(np.array([warmth, 0.06 * (u[2] - 0.5), -warmth]))
    gains = error / adapted
    return np.asarray(gains / (gains @ LUMINANCE))


def _sky_and_ground(sky: Float64Array, ground: Float64Array) -> Float64Array:
    """Irradiance that goes from `ground` on faces turned down to `sky` on those turned up."""
    form = np.zeros((3, 4, 4))
    for axis in range(3):
        form[:, axis, 3] = form[:, 3, axis] = 0.25 * (sky - ground) * UP[axis]
    form[:, 3, 3] = 0.5 * (sky + ground)
    return form


def _lobe(direction: Float64Array, rgb: Float64Array) -> Float64Array:
    constant, linear, square = _COSINE
    form = np.zeros((4, 4))
    form[:3, :3] = square * np.outer(direction, direction)
    form[:3, 3] = form[3, :3] = 0.5 * linear * direction
    form[3, 3] = constant
    return rgb[:, None, None] * form
