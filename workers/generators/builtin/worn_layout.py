"""How hair and what a head may wear list their vertices: for the head's build and its dressing.

Only the left half is listed; the right one is its mirror image.
"""

from __future__ import annotations

from typing import Final

# Beard: columns from the philtrum (0) over the cheek to below the chin (1); in each, rings from the
# lips' border (0) outward (1). First the outer layer, then the inner one.
BEARD_COLUMNS: Final = 27
BEARD_RINGS: Final = (0.0, 0.07, 0.16, 0.25, 0.34, 0.44, 0.55, 0.66, 0.77, 0.88, 1.0)

# Hat: rings from the crown to the edge, then the crown itself; outer layer, inner layer. Then the
# brim's rows from the forehead forward, its top and its bottom.
HAT_COLUMNS: Final = 19
HAT_RINGS: Final = (0.12, 0.26, 0.4, 0.54, 0.68, 0.8, 0.9, 0.96, 1.0)
BRIM_COLUMNS: Final = 9
BRIM_ROWS: Final = 3

# Hair: rings from the crown to the hairline, each from the front to the back; then the crown and a
# point inside the skull to which the hairline closes.
HAIR_COLUMNS: Final = 33
HAIR_RINGS: Final = (0.1, 0.22, 0.34, 0.46, 0.58, 0.69, 0.78, 0.86, 0.92, 0.96, 0.985, 1.0)
