"""Random numbers that depend on named keys alone, never on workers, ranks or what came before.

Philox 4x64-10 (Salmon et al., SC 2011) through NumPy, keyed by a hash. Where an order must stay
the same across NumPy's releases only the raw stream is used: `Generator`'s methods promise none.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray


def keyed_bits(*key: int | str) -> np.random.Philox:
    """Return the raw stream of a key; equal keys, equal numbers on any machine."""
    text = "\x00".join(f"{type(part).__name__}:{part}" for part in key)
    digest = hashlib.sha256(text.encode()).digest()
    return np.random.Philox(key=np.frombuffer(digest[:16], dtype="<u8").astype(np.uint64))


def keyed_generator(*key: int | str) -> np.random.Generator:
    """Return a NumPy generator over the raw stream of a key."""
    return np.random.Generator(keyed_bits(*key))


def keyed_permutation(count: int, *key: int | str) -> NDArray[np.int64]:
    """Return a permutation of `range(count)`: the order of that many raw numbers of the key."""
    raw = np.atleast_1d(keyed_bits(*key).random_raw(count)) if count else np.empty(0, np.uint64)
    return np.argsort(raw, kind="stable").astype(np.int64)
