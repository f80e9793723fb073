"""Counter-based random numbers: a draw depends on (seed, name, index, attempt) and nothing else.

Philox 4x64-10 (Salmon et al., SC 2011) through NumPy's bit generator, whose raw stream is stable
across releases. The key is the hash of seed and stream name, the counter holds index and attempt,
so streams never meet and any worker makes the same numbers in any order.
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_SCOPE = "synthforge/1"  # raise when the meaning of a stream changes: every dataset changes with it
_DOUBLE_BITS = 53
_NO_BUFFER = np.zeros(4, dtype=np.uint64)


class _Reused(threading.local):
    """A generator a thread that `uniforms` sets to stream after stream: a new one costs 7 us."""

    def __init__(self) -> None:
        self.generator = np.random.Philox(counter=0, key=0)


_reused = _Reused()


@lru_cache(maxsize=4096)
def _key(seed: int, name: str) -> NDArray[np.uint64]:
    digest = hashlib.sha256(f"{_SCOPE} {seed} {name}".encode()).digest()
    return np.frombuffer(digest[:16], dtype="<u8").astype(np.uint64)


def bit_generator(seed: int, name: str, index: int, attempt: int = 0) -> np.random.Philox:
    """Return the generator of one named stream at one index and attempt."""
    counter = np.array([0, attempt, index, 0], dtype=np.uint64)
    return np.random.Philox(counter=counter, key=_key(seed, name))


def raw(seed: int, name: str, index: int, attempt: int, count: int) -> NDArray[np.uint64]:
    """Return the first `count` numbers of a stream, 64 random bits each."""
    generator = _reused.generator
    generator.state = {
        "bit_generator": "Philox",
        "state": {
            "counter": np.array([0, attempt, index, 0], dtype=np.uint64),
            "key": _key(seed, name),
        },
        "buffer": _NO_BUFFER,
        "buffer_pos": len(_NO_BUFFER),  # past the end: nothing of another stream is left
        "has_uint32": 0,
        "uinteger": 0,
    }
    return np.asarray(generator.random_raw(count))


def uniforms(seed: int, name: str, index: int, attempt: int, count: int) -> NDArray[np.float64]:
    """Return the first `count` numbers of a stream, each in [0, 1) with 53 random bits."""
    bits = raw(seed, name, index, attempt, count)
    return np.asarray((bits >> np.uint64(64 - _DOUBLE_BITS)) * 2.0**-_DOUBLE_BITS)


@dataclass(frozen=True)
class Streams:
    """The named streams of one attempt at one sample.

    An identity's streams know neither sample nor attempt: a refused sample keeps its identity.
    """

    seed: int
    identity: int
    index: int
    attempt: int

    def of_identity(self, name: str) -> np.random.Generator:
        """Return a fresh generator that every sample of this identity sees alike."""
        return np.random.Generator(bit_generator(self.seed, name, self.identity))

    def of_sample(self, name: str) -> np.random.Generator:
        """Return a fresh generator of this sample and attempt."""
        return np.random.Generator(bit_generator(self.seed, name, self.index, self.attempt))

    def identity_uniforms(self, name: str, count: int) -> NDArray[np.float64]:
        """Return the first numbers of an identity's stream."""
        return uniforms(self.seed, name, self.identity, 0, count)

    def sample_uniforms(self, name: str, count: int) -> NDArray[np.float64]:
        """Return the first numbers of a sample's stream at this attempt."""
        return uniforms(self.seed, name, self.index, self.attempt, count)

    def sample_raw(self, name: str, count: int) -> NDArray[np.uint64]:
        """Return the bits that `sample_uniforms` takes the upper 53 of."""
        return raw(self.seed, name, self.index, self.attempt, count)
