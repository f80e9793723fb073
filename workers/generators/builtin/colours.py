"""Colours of skin, hair, eyes and light as linear sRGB reflectances and intensities (D65 white)."""

from __future__ import annotations

import numpy as np

from workers.types import Float64Array

# Linear sRGB from CIE XYZ (IEC 61966-2-1), and the D65 white point.
XYZ_TO_RGB = np.array(
    [
        [3.2404542, -1.5371385, -0.4985314],
        [-0.9692660, 1.8760108, 0.0415560],
        [0.0556434, -0.2040259, 1.0572252],
    ]
)
WHITE_XYZ = np.array([0.95047, 1.0, 1.08883])
LUMINANCE = np.array([0.2126, 0.7152, 0.0722])

# CIELAB chroma of unexposed facial skin by ITA: its lightness follows from the angle. Rounded from
# the means by group of Xiao et al., "Characterising the variations in ethnic skin colours", 2017.
_SKIN_ITA_DEG = (-70.0, -50.0, -20.0, 10.0, 30.0, 45.0, 60.0, 80.0)
_SKIN_A = (7.0, 9.5, 12.0, 12.5, 11.0, 9.5, 8.5, 7.0)
_SKIN_B = (8.0, 13.0, 17.5, 18.5, 17.5, 16.0, 13.0, 5.5)
_REDNESS_A = 3.5

# Extinction by red, green and blue light of a unit of melanin and of blood in the skin (relative).
MELANIN_EXTINCTION = np.array([0.45, 0.85, 1.25])
BLOOD_EXTINCTION = np.array([0.12, 1.0, 0.75])

# Absorption of hair by eumelanin and pheomelanin (d'Eon et al., "An Energy-Conserving Hair
# Reflectance Model", 2011).
_EUMELANIN = np.array([0.419, 0.697, 1.37])
_PHEOMELANIN = np.array([0.187, 0.4, 1.05])
_HAIR_WHITE = 0.5
GREY_HAIR = np.array([0.42, 0.41, 0.40])

_IRIS_TONE = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
_IRIS_RGB = np.array(
    [
        [0.080, 0.125, 0.185],
        [0.090, 0.120, 0.130],
        [0.085, 0.085, 0.042],
        [0.075, 0.042, 0.016],
        [0.042, 0.020, 0.009],
        [0.020, 0.011, 0.007],
    ]
)


def skin_reflectance(ita_deg: float, redness: float) -> Float64Array:
    """Return the mean skin colour of an individual typology angle.

    Args:
        ita_deg: arctan((L* - 50) / b*): dark -50, light 60 (Chardon et al., 1991).
        redness: -1 pale to 1 flushed; moves a*.

    Returns:
        (3,) linear sRGB reflectance, inside (0, 1).
    """
    b = float(np.interp(ita_deg, _SKIN_ITA_DEG, _SKIN_B))
    a = float(np.interp(ita_deg, _SKIN_ITA_DEG, _SKIN_A)) + _REDNESS_A * redness
    lightness = 50.0 + b * np.tan(np.deg2rad(ita_deg))
    return np.clip(_lab_to_rgb(float(lightness), a, b), 0.008, 0.95)


def typology_angle(rgb: Float64Array) -> float:
    """Return the individual typology angle of a colour, degrees; the inverse way of the above.

    Args:
        rgb: (3,) linear sRGB reflectance.

    Source: atan((L* - 50) / b*) in CIELAB, D65 (Chardon et al., 1991); b* below 1 is taken as 1.
    """
    t = np.linalg.solve(XYZ_TO_RGB, rgb) / WHITE_XYZ
    f = np.where(t > (6.0 / 29.0) ** 3, np.cbrt(t), t / (3.0 * (6.0 / 29.0) ** 2) + 4.0 / 29.0)
    lightness, b = 116.0 * f[1] - 16.0, 200.0 * (f[1] - f[2])
    return float(np.rad2deg(np.arctan2(lightness - 50.0, max(b, 1.0))))


def hair_reflectance(tone: float, redness: float) -> Float64Array:
    """Return the colour of hair: `tone` 0 blond to 1 black, `redness` adds pheomelanin."""
    eumelanin = 0.3 + 10.5 * tone**1.8
    absorption = eumelanin * _EUMELANIN + 2.2 * redness * _PHEOMELANIN * (1.0 - 0.6 * tone)
    return np.asarray(_HAIR_WHITE * np.exp(-absorption) + 0.004)


def iris_reflectance(tone: float) -> Float64Array:
    """Return the colour of an iris: `tone` 0 blue over green and hazel to 1 dark brown."""
    channels = [np.interp(tone, _IRIS_TONE, _IRIS_RGB[:, c]) for c in range(3)]
    return np.array(channels)


def light_colour(kelvin: float) -> Float64Array:
    """Return the colour of a black body, luminance 1, as linear sRGB.

    Source: cubic fit of the Planckian locus by Kim et al., US patent 7024034 (1667-25000 K).
    """
    t = 1000.0 / min(max(kelvin, 1667.0), 25000.0)
    if t > 0.25:
        x = -0.2661239 * t**3 - 0.2343589 * t**2 + 0.8776956 * t + 0.179910
    else:
        x = -3.0258469 * t**3 + 2.1070379 * t**2 + 0.2226347 * t + 0.240390
    if kelvin < 2222.0:
        y = -1.1063814 * x**3 - 1.34811020 * x**2 + 2.18555832 * x - 0.20219683
    elif kelvin < 4000.0:
        y = -0.9549476 * x**3 - 1.37418593 * x**2 + 2.09137015 * x - 0.16748867
    else:
        y = 3.0817580 * x**3 - 5.87338670 * x**2 + 3.75112997 * x - 0.37001483
    rgb: Float64Array = np.maximum(XYZ_TO_RGB @ np.array([x / y, 1.0, (1.0 - x - y) / y]), 0.02)
    return np.asarray(rgb / (rgb @ LUMINANCE))


def hue_colour(
    hue: float | Float64Array, saturation: float | Float64Array, luminance: float | Float64Array
) -> Float64Array:
    """Return linear colours of a hue (0 red, 1/3 green, 2/3 blue), saturation and luminance.

    Args:
        hue: a number or (N,); saturation and luminance likewise.
        saturation: 0 grey to 1.
        luminance: of a colour that is not too strong to have it.

    Returns:
        (3,) or (N, 3).
    """
    hue, saturation, luminance = (np.asarray(v)[..., None] for v in (hue, saturation, luminance))
    phase = 2.0 * np.pi * (hue - np.array([0.0, 1.0 / 3.0, 2.0 / 3.0]))
    pure = np.clip(0.5 + 0.75 * np.cos(phase), 0.02, 1.0)
    # A strong blue or magenta of given luminance would be brighter than white: it gets darker.
    mixed = 1.0 + saturation * (pure / (0.35 + 0.65 * (pure @ LUMINANCE)[..., None]) - 1.0)
    return np.asarray(np.maximum(luminance * mixed, 0.0))


def thing_hue(u: float) -> float:
    """Return a hue of things around us from a uniform number: mostly earth, leaves and sky."""
    return float(thing_hues(np.asarray(u)))


def thing_hues(u: Float64Array) -> Float64Array:
    """Return `thing_hue` of (N,) uniform numbers."""
    ends = ((0.0, 0.03), (0.45, 0.15), (0.62, 0.40), (0.64, 0.53), (0.9, 0.66), (1.0, 1.0))
    at, hues = zip(*ends, strict=True)
    return np.asarray(np.interp(u, at, hues))


def _lab_to_rgb(lightness: float, a: float, b: float) -> Float64Array:
    fy = (lightness + 16.0) / 116.0
    f = np.array([fy + a / 500.0, fy, fy - b / 200.0])
    linear = np.where(f > 6.0 / 29.0, f**3, 3.0 * (6.0 / 29.0) ** 2 * (f - 4.0 / 29.0))
    return np.asarray(XYZ_TO_RGB @ (linear * WHITE_XYZ))
