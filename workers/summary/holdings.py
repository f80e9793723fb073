"""What a dataset's faces turned out to be: a histogram of each attribute in its index."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from workers.index import ATTRIBUTE_FIELDS
from workers.tally import NUM_BINS

# Ranges of what is no share of 0 to 1; the outermost bins hold what lies beyond.
_RANGES: Final[Mapping[str, tuple[float, float]]] = {
    "age_years": (20.0, 90.0),
    "sex": (-3.0, 3.0),
    "skin_ita_deg": (-70.0, 80.0),
    "opening_left": (0.0, 0.6),
    "opening_right": (0.0, 0.6),
}
_NAMES: Final = (*(each.name for each in ATTRIBUTE_FIELDS), "opening_left", "opening_right")


@dataclass(frozen=True)
class Holding:
    """One attribute of the faces.

    Attributes:
        name: of the column of the index.
        count: faces that have it.
        words: how many faces each word has, most first; empty where it is a number.
        low: of the first bin; high: of the last. 0 where it is a word, as are mean and shares.
        mean: of the numbers; least, most: of them, too.
        shares: of `NUM_BINS` equal bins.
    """

    name: str
    count: int
    words: Mapping[str, int] = field(default_factory=dict)
    low: float = 0.0
    high: float = 0.0
    mean: float = 0.0
    shares: tuple[float, ...] = ()
    least: float = 0.0
    most: float = 0.0


def read_holdings(
    index_path: Path, on_column: Callable[[], None] = lambda: None
) -> tuple[Holding, ...]:
    """Read the attributes of all samples, a column at a time, but those that no sample has.

    Args:
        index_path: of the joined index.
        on_column: called before each column is read.
    """
    with pq.ParquetFile(index_path) as index:
        return tuple(_holdings(index, on_column))


def _holdings(index: pq.ParquetFile, on_column: Callable[[], None]) -> Iterator[Holding]:
    for name in _NAMES:
        on_column()
        column = index.read(columns=[name])[name].drop_null()
        if not len(column):
            continue
        if pa.types.is_string(column.type):
            words = Counter(column.to_pylist())
            yield Holding(name, len(column), dict(sorted(words.items(), key=_most_first)))
        else:
            yield _numbers(name, column.to_numpy())


def _most_first(item: tuple[str, int]) -> tuple[int, str]:
    return -item[1], item[0]


def _numbers(name: str, values: np.ndarray) -> Holding:
    low, high = _RANGES.get(name, (0.0, 1.0))
    counts, _ = np.histogram(np.clip(values, low, high), NUM_BINS, (low, high))
    shares = tuple(round(float(share), 6) for share in counts / len(values))
    mean = round(float(values.mean()), 6)
    least, most = (round(float(end), 6) for end in (values.min(), values.max()))
    return Holding(name, len(values), {}, low, high, mean, shares, least, most)
