"""How the parts that a head may wear list their vertices: for the head's build and for worn.py.

Only the left half is listed; the right one is its mirror image.
"""

from __future__ import annotations

from typing import Final

# Beard: columns from the philtrum (0) over the cheek to below the chin (1); in each, rings from the
# lips' border (0) outward (1). First the outer layer, then the inner one.
BEARD_COLUMNS: Final = 27
BEARD_RINGS: Final = (0.0, 0.1, 0.22, 0.36, 0.52, 0.68, 0.84, 1.0)

# Hat: rings from the crown to the edge, then the crown itself; outer layer, inner layer. Then the
# brim's rows from the forehead forward, its top and its bottom.
HAT_COLUMNS: Final = 19
HAT_RINGS: Final = (0.16, 0.38, 0.6, 0.8, 0.93, 1.0)
BRIM_COLUMNS: Final = 9
BRIM_ROWS: Final = 3
