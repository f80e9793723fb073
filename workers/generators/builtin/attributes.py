"""What the embedded head knows of a face: attributes of the person, movements of the face."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Final

import numpy as np

from synthforge.samples import AttributesMeta
from synthforge.truths import (
    age_of,
    eye_colour,
    facial_hair,
    hair_colour,
    hair_style,
    skin_group,
)
from workers.generators.builtin.colours import typology_angle
from workers.generators.builtin.dress import iris_radii, skin_albedo, wrinkle_depth
from workers.generators.builtin.fields import FaceFields
from workers.generators.builtin.occlusion import vertex_normals
from workers.generators.builtin.presets import full_movements
from workers.generators.builtin.surface import HeadSurface
from workers.generators.builtin.worn import (
    CAP_FROM,
    DARK_FROM,
    GLASSES_FROM,
    HAT_FROM,
    has_goatee,
)
from workers.types import Described, FaceParams, Float64Array

DECIMALS: Final = 4
FULL_JAW_DEG: Final = 30.0  # a mouth as wide open as most get
_ANCESTRY: Final = "ancestry_"
_SIGNED: Final = {"mouth_left": "mouth_right", "jaw_left": "jaw_right"}


class Describer:
    """Describes the faces of one head.

    Args:
        shape_names: of its shape directions.
        expression_names: of its movements.
        surface: of the head.
    """

    def __init__(
        self, shape_names: Sequence[str], expression_names: Sequence[str], surface: HeadSurface
    ) -> None:
        self._shape = {name: k for k, name in enumerate(shape_names)}
        self._movements = tuple(expression_names)
        self._full = full_movements(expression_names)
        weights = _face_weights(surface)
        self._chosen = np.flatnonzero(weights > 0)
        self._weights = weights[self._chosen] / weights.sum()
        self._fields = replace(
            surface.fields,
            **{
                each.name: getattr(surface.fields, each.name)[self._chosen]
                for each in fields(FaceFields)
            },
        )
        self._rest = surface.rest[self._chosen]
        self._eye_radius_m = surface.eye_radius

    def describe(self, params: FaceParams) -> Described:
        """Return what is known of a face."""
        iris_radius, pupil_radius = iris_radii(params, self._eye_radius_m)
        return Described(
            attributes=self.attributes(params),
            action_units=self.action_units(params),
            iris_radius=iris_radius,
            pupil_radius=pupil_radius,
        )

    def ageing(self, params: FaceParams) -> float | None:
        """Return the value of the head's direction of age; None where it has none."""
        return self._direction(params, "age")

    def attributes(self, params: FaceParams) -> AttributesMeta:
        """Return the attributes of the person."""
        drawn = {
            name.removeprefix("appearance."): round(value, DECIMALS)
            for name, value in params.scalars.items()
            if name.startswith("appearance.")
        }
        age = self.ageing(params)
        ita_deg = round(self.skin_angle(params), DECIMALS)
        hair = {name: drawn[f"hair_{name}"] for name in ("length", "tone", "redness", "grey")}
        return AttributesMeta(
            age_years=None if age is None else round(age_of(age), 2),
            sex=self._direction(params, "sex"),
            ancestry={
                name.removeprefix(_ANCESTRY): round(float(params.betas[k]), DECIMALS)
                for name, k in self._shape.items()
                if name.startswith(_ANCESTRY)
            },
            skin_ita_deg=ita_deg,
            skin_group=skin_group(ita_deg),
            **{f"hair_{name}": value for name, value in hair.items()},
            hair_colour=hair_colour(**hair),
            hair_style=hair_style(hair["length"]),
            eye_tone=drawn["eye_tone"],
            eye_colour=eye_colour(drawn["eye_tone"]),
            beard=drawn["beard"],
            moustache=drawn["moustache"],
            stubble=drawn["stubble"],
            facial_hair=facial_hair(
                drawn["beard"],
                drawn["moustache"],
                drawn["stubble"],
                is_goatee=has_goatee(params),
            ),
            wrinkles=round(wrinkle_depth(params, age), DECIMALS),
            glasses=_glasses(params.scalars),
            headwear=_headwear(params.scalars),
        )

    def skin_angle(self, params: FaceParams) -> float:
        """Return the typology angle of the mean albedo of the face's skin, degrees.

        The mean is over the area of the front of the face, without brows, lips and lid margins;
        pores, freckles and stubble are left out, and so is light.
        """
        albedo = skin_albedo(params, self._rest, self._fields)
        return typology_angle(self._weights @ albedo)

    def action_units(self, params: FaceParams) -> Mapping[str, float]:
        """Return how far each movement goes, 0 to 1; a signed one is written as two."""
        found = {"jaw_open": np.rad2deg(float(np.linalg.norm(params.jaw_pose))) / FULL_JAW_DEG}
        movements = zip(self._movements, self._full, params.expression.tolist(), strict=False)
        for name, full, value in movements:
            found[name] = value / full
            if name in _SIGNED:
                found[_SIGNED[name]] = -value / full
        return {name: round(min(max(value, 0.0), 1.0), DECIMALS) for name, value in found.items()}

    def _direction(self, params: FaceParams, name: str) -> float | None:
        index = self._shape.get(name)
        return None if index is None else round(float(params.betas[index]), DECIMALS)


def _face_weights(surface: HeadSurface) -> Float64Array:
    """(V,) area of the face's skin around each vertex at rest, m^2."""
    held = surface.fields
    a, b, c = (surface.rest[surface.faces[:, k]] for k in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    around = np.zeros(len(surface.rest))
    for corner in range(3):
        np.add.at(around, surface.faces[:, corner], area / 6.0)
    is_forward = vertex_normals(surface.rest, surface.faces)[:, 2] > 0
    plain = (held.lips == 0) & (held.brow == 0) & (held.lid_edge < 0.05) & (surface.scalp == 0)
    return np.asarray(around * (held.wrinkles > 0.9) * (held.neck == 0) * is_forward * plain)


def _glasses(scalars: Mapping[str, float]) -> str:
    if scalars["appearance.glasses"] < GLASSES_FROM:
        return "none"
    return "dark" if scalars["appearance.lens_tint"] >= DARK_FROM else "clear"


def _headwear(scalars: Mapping[str, float]) -> str:
    worn = scalars["appearance.headwear"]
    return "none" if worn < HAT_FROM else "hat" if worn < CAP_FROM else "cap"
