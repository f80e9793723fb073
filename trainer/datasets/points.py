"""Orders of landmark points: what each is called, its twin, and where it lies among iBUG's 68.

`right` and `left` are the subject's own. An upright frontal picture shows the right eye on its
left; all four orders begin on that side.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from synthforge.conventions import LANDMARK_GROUPS, landmark_mirror


@dataclass(frozen=True)
class PointScheme:
    """One set's order of points.

    Attributes:
        name: of the order.
        from_ibug: for each point the iBUG points whose mean it is, or is nearest to.
        mirror: for each point its twin on the other side of the face.
        outer_eye_corners: right, left: their distance is the inter-ocular one.
        pupils: right, left: the points whose means are the pupils; their distance is the
            inter-pupil one.
    """

    name: str
    from_ibug: tuple[tuple[int, ...], ...]
    mirror: tuple[int, ...]
    outer_eye_corners: tuple[int, int]
    pupils: tuple[tuple[int, ...], tuple[int, ...]]

    @property
    def num_points(self) -> int:
        """How many points there are."""
        return len(self.from_ibug)


def _mirror(count: int, pairs: Iterable[tuple[int, int]]) -> tuple[int, ...]:
    twin = list(range(count))
    for a, b in pairs:
        twin[a], twin[b] = b, a
    return tuple(twin)


def _same(*points: int) -> tuple[tuple[int, ...], ...]:
    return tuple((point,) for point in points)


_RIGHT_EYE: Final = tuple(LANDMARK_GROUPS["right_eye"])
_LEFT_EYE: Final = tuple(LANDMARK_GROUPS["left_eye"])
# 33 contour points stand on iBUG's 17 and between them.
_CONTOUR_33: Final = tuple((i // 2,) if i % 2 == 0 else (i // 2, i // 2 + 1) for i in range(33))
# A brow's lower edge, from the nose outwards or from outside in: iBUG has the ridge alone.
_BROW_RIGHT_9: Final = (*_same(17, 18, 19, 20, 21), (20, 21), (19, 20), (18, 19), (17, 18))
_BROW_LEFT_9: Final = (*_same(22, 23, 24, 25, 26), (25, 26), (24, 25), (23, 24), (22, 23))

IBUG_68: Final = PointScheme(
    "ibug68",
    from_ibug=_same(*range(68)),
    mirror=landmark_mirror(),
    outer_eye_corners=(36, 45),
    pupils=(_RIGHT_EYE, _LEFT_EYE),
)

# Source: Wu et al., "Look at Boundary", CVPR 2018 (WFLW); the correspondence with iBUG's points is
# the usual one: every second contour point, upper brows, nose, six of eight eye points, the mouth.
WFLW_98: Final = PointScheme(
    "wflw98",
    from_ibug=(
        *_CONTOUR_33,  # 0-32
        *_BROW_RIGHT_9,  # 33-41
        *_BROW_LEFT_9,  # 42-50
        *_same(*range(27, 36)),  # 51-59 nose
        *((36,), (37,), (37, 38), (38,), (39,), (40,), (40, 41), (41,)),  # 60-67
        *((42,), (43,), (43, 44), (44,), (45,), (46,), (46, 47), (47,)),  # 68-75
        *_same(*range(48, 68)),  # 76-95 mouth
        *(_RIGHT_EYE, _LEFT_EYE),  # 96, 97 pupils
    ),
    mirror=_mirror(
        98,
        (
            *((i, 32 - i) for i in range(16)),
            *((33 + i, 46 - i) for i in range(5)),
            *((38 + i, 50 - i) for i in range(4)),
            *((55 + i, 59 - i) for i in range(2)),
            *((60 + i, 72 - i) for i in range(5)),
            *((65 + i, 75 - i) for i in range(3)),
            *((76 + i, 82 - i) for i in range(3)),
            *((83, 87), (84, 86), (88, 92), (89, 91), (93, 95), (96, 97)),
        ),
    ),
    outer_eye_corners=(60, 72),
    pupils=((96,), (97,)),
)

# Source: Liu et al., "Grand Challenge of 106-Point Facial Landmark Localization", 2019, whose order
# LaPa takes over; groups as in the table of its authors' FaceX-Zoo (106 points to 68).
LAPA_106: Final = PointScheme(
    "lapa106",
    from_ibug=(
        *_CONTOUR_33,  # 0-32
        *_BROW_RIGHT_9,  # 33-41
        *_BROW_LEFT_9,  # 42-50
        *_same(27, 28, 29, 30),  # 51-54 bridge
        *((27, 39), (29, 31), (31,)),  # 55-57 right flank, downwards
        *_same(31, 32, 33, 34, 35),  # 58-62 under the nose
        *((35,), (29, 35), (27, 42)),  # 63-65 left flank, upwards
        *((36,), (37,), (37, 38), (38,), (39,), (40,), (40, 41), (41,), _RIGHT_EYE),  # 66-74
        *((42,), (43,), (43, 44), (44,), (45,), (46,), (46, 47), (47,), _LEFT_EYE),  # 75-83
        *_same(*range(48, 68)),  # 84-103 mouth
        *(_RIGHT_EYE, _LEFT_EYE),  # 104, 105 pupils
    ),
    mirror=_mirror(
        106,
        (
            *((i, 32 - i) for i in range(16)),
            *((33 + i, 46 - i) for i in range(5)),
            *((38 + i, 50 - i) for i in range(4)),
            *((55 + i, 65 - i) for i in range(5)),
            *((66 + i, 79 - i) for i in range(5)),
            *((71 + i, 82 - i) for i in range(3)),
            (74, 83),
            *((84 + i, 90 - i) for i in range(3)),
            *((91, 95), (92, 94), (96, 100), (97, 99), (101, 103), (104, 105)),
        ),
    ),
    outer_eye_corners=(66, 79),
    pupils=((104,), (105,)),
)

# Source: microsoft/FaceSynthetics, README: 68 points as in iBUG, then the two pupils.
FACE_SYNTHETICS_70: Final = PointScheme(
    "facesynthetics70",
    from_ibug=(*IBUG_68.from_ibug, _RIGHT_EYE, _LEFT_EYE),
    mirror=(*landmark_mirror(), 69, 68),
    outer_eye_corners=(36, 45),
    pupils=((68,), (69,)),
)

POINT_SCHEMES: Final = {
    scheme.name: scheme for scheme in (IBUG_68, WFLW_98, LAPA_106, FACE_SYNTHETICS_70)
}
