"""Eyes and lips of a head: what opens and closes them, and how far it may go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from workers.flame.assets import FlameAssets
from workers.flame.embedding import LandmarkEmbedding
from workers.generators.builtin.movements import places_of, stem_and_side
from workers.generators.builtin.presets import full_movements
from workers.types import Float32Array, Float64Array

WIDEST: Final = 1.35  # opening of an eye, of that at rest: beyond, lids would leave the eyeball
LID_OVERLAP_M: Final = 0.0003  # that closes the last gap of lids that meet slantwise
# Opposite points whose distance along y is an opening, and the movement that closes it.
_EYES: Final[Mapping[str, tuple[tuple[int, int], ...]]] = {
    "blink_right": ((37, 41), (38, 40)),
    "blink_left": ((43, 47), (44, 46)),
}
_LIPS: Final = ((61, 67), (62, 66), (63, 65))
_FIRST_INNER: Final = 17
_JAW_JOINT: Final = 2


@dataclass(frozen=True)
class _Eye:
    """The lids of one eye.

    Attributes:
        blink: the movement that shuts them.
        raises: movements of the upper one alone.
        full: value of `blink` that shuts them.
        of_shape: (S,) metres of opening a coefficient.
        of_movement: (E,) the same.
    """

    blink: int
    raises: tuple[int, ...]
    full: float
    of_shape: Float64Array
    of_movement: Float64Array

    def settle(self, shape: Float64Array, out: Float64Array) -> None:
        """Keep the opening between shut and widest; a blink closes its share of what is open."""
        pull = self.of_movement
        room = LID_OVERLAP_M - float(pull[self.blink]) * self.full + float(self.of_shape @ shape)
        room = max(room, 0.0)
        share = min(max(out[self.blink] / self.full, 0.0), 1.0)
        out[self.blink] = min(out[self.blink], 0.0)
        self._narrow(room + float(pull @ out) - WIDEST * room, out)
        opening = room + float(pull @ out)
        if share > 0.0 or opening < 0.0:
            out[self.blink] -= (share if opening > 0.0 else 1.0) * opening / pull[self.blink]

    def _narrow(self, excess: float, out: Float64Array) -> None:
        """Let what widens the eye give way, each movement by the same share."""
        if excess > 0.0:
            wideners = [self.blink, *self.raises]
            pull = np.maximum(self.of_movement[wideners] * out[wideners], 0.0)
            kept = max(1.0 - excess / max(float(pull.sum()), 1e-9), 0.0)
            out[wideners] *= np.where(pull > 0.0, kept, 1.0)


@dataclass(frozen=True)
class _Lips:
    """Upper and lower lip.

    Attributes:
        part: the movement that opens them.
        of_movement: (E,) metres of opening a coefficient.
        jaw_m: metres that the jaw opens them, over the sine of its angle.
    """

    part: int
    of_movement: Float64Array
    jaw_m: float

    def settle(self, jaw_rad: float, out: Float64Array) -> None:
        """Part the lips as far as all else would push one into the other."""
        opening = max(self.jaw_m * np.sin(jaw_rad), 0.0) + float(self.of_movement @ out)
        if opening < 0.0:
            out[self.part] -= opening / self.of_movement[self.part]


class Openings:
    """Lids meet and do not cross, lips touch and do not pass each other, no lid leaves its eye.

    An opening is linear in the coefficients; where a sum of movements would close it further than
    shut, the movement that opens it is set to the value at which it is shut. Where one would open
    an eye beyond `WIDEST`, all that widen it give way by the same share.

    Args:
        assets: of the head.
        embedding: of its landmarks.
        names: of its movements.
    """

    def __init__(
        self, assets: FlameAssets, embedding: LandmarkEmbedding, names: Sequence[str]
    ) -> None:
        index, full = {name: k for k, name in enumerate(names)}, full_movements(names)
        corners = assets.faces[embedding.landmark_face]
        bary = embedding.landmark_bary[..., None]

        def opening(
            basis: Float32Array | Float64Array, pairs: Sequence[tuple[int, int]]
        ) -> Float64Array:
            upper, lower = (np.array(side) - _FIRST_INNER for side in zip(*pairs, strict=True))
            points = (basis[corners] * bary[..., None]).sum(1)
            return np.asarray((points[upper] - points[lower])[:, 1].mean(0), np.float64)

        self._eyes = []
        for blink, pairs in _EYES.items():
            stem, side = stem_and_side(blink)
            for k in places_of(stem, side, index):
                raises = tuple(places_of("upper_lid_raise", side, index))
                of_shape = opening(assets.shapedirs, pairs)
                of_movement = opening(assets.expressiondirs, pairs)
                self._eyes.append(_Eye(k, raises, float(full[k]), of_shape, of_movement))
        lower = np.array([low for _, low in _LIPS]) - _FIRST_INNER
        rest = (assets.v_template[corners] * bary).sum(1)
        turned = (assets.weights[corners][..., _JAW_JOINT] * bary[..., 0]).sum(1)
        hinge = (assets.joint_regressor @ assets.v_template)[_JAW_JOINT]
        jaw_m = float((turned[lower] * (rest[lower, 2] - hinge[2])).mean())
        self._lips = [
            _Lips(k, opening(assets.expressiondirs, _LIPS), jaw_m)
            for k in places_of("lips_part", "", index)
        ]

    def settled(
        self, betas: Float32Array, expression: Float32Array, jaw_rad: float
    ) -> Float32Array:
        """Return (E,) coefficients under which no lid or lip passes its counterpart."""
        out = expression.astype(np.float64)
        shape = betas.astype(np.float64)
        for eye in self._eyes:
            eye.settle(shape, out)
        for lips in self._lips:
            lips.settle(jaw_rad, out)
        return out.astype(np.float32)
