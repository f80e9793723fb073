"""What a model must beat: the mean shape of the training faces, put into every picture."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from synthforge.samples import SampleMeta


def mean_shape(metas: Iterable[SampleMeta]) -> NDArray[np.float64]:
    """Return the mean of the landmarks, (68, 2), in shares of the picture's width and height.

    Raises:
        ValueError: no sample has landmarks.
    """
    shapes = [
        np.array(meta.landmarks68.xy_px) / (meta.width, meta.height)
        for meta in metas
        if meta.landmarks68 is not None
    ]
    if not shapes:
        raise ValueError("mean shape: no sample has landmarks68; ask for this annotation")
    return np.asarray(np.mean(shapes, axis=0))
