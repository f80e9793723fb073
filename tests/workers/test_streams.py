"""Streams are Philox 4x64-10 at a place of their own, whoever asks and in whatever order."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.streams import Streams, bit_generator, uniforms

COUNTERS = st.integers(0, 10**8)
_MULTIPLIERS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
_WEYL = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)
_MASK = 2**64 - 1


def philox(counter: list[int], key: list[int]) -> list[int]:
    """Philox 4x64-10 from its paper (Salmon et al., SC 2011), in whole numbers."""
    a, b, c, d = counter
    k, m = key
    for _ in range(10):
        left, right = _MULTIPLIERS[0] * a, _MULTIPLIERS[1] * c
        a, b, c, d = (right >> 64) ^ b ^ k, right & _MASK, (left >> 64) ^ d ^ m, left & _MASK
        k, m = (k + _WEYL[0]) & _MASK, (m + _WEYL[1]) & _MASK
    return [a, b, c, d]


@given(
    seed=st.integers(0, 2**63 - 1),
    name=st.text(max_size=12),
    index=COUNTERS,
    attempt=st.integers(0, 1000),
    count=st.integers(1, 100),
)
def test_uniforms_are_those_of_a_fresh_generator(
    seed: int, name: str, index: int, attempt: int, count: int
) -> None:
    raw = bit_generator(seed, name, index, attempt).random_raw(count)
    expected = (raw >> np.uint64(11)) * 2.0**-53
    np.testing.assert_array_equal(uniforms(seed, name, index, attempt, count), expected)


def test_the_numbers_are_philox_of_index_and_attempt() -> None:
    key = bit_generator(5, "pose.yaw", 0).state["state"]["key"].tolist()
    expected = philox([1, 3, 70, 0], key) + philox([2, 3, 70, 0], key)
    raw = bit_generator(5, "pose.yaw", 70, 3).random_raw(8)
    assert raw.tolist() == expected
    assert uniforms(5, "pose.yaw", 70, 3, 8).tolist() == [(r >> 11) * 2.0**-53 for r in expected]


# Recorded when first released: a dataset's seed means these numbers for ever.
@pytest.mark.parametrize(
    ("name", "index", "attempt", "expected"),
    [
        ("pose.yaw", 0, 0, [0.10479633538659638, 0.8163906978648408]),
        ("identity.shape", 12345, 0, [0.07300233025048963, 0.6137343751764734]),
        ("light.azimuth", 3, 2, [0.6207050574177856, 0.26794976145906846]),
    ],
)
def test_recorded_numbers_stay(name: str, index: int, attempt: int, expected: list[float]) -> None:
    assert uniforms(0, name, index, attempt, 2).tolist() == expected


def test_a_stream_is_not_moved_by_what_was_drawn_before() -> None:
    alone = uniforms(1, "a", 5, 0, 3)
    uniforms(1, "b", 6, 1, 2)  # leaves half a block of Philox behind
    np.testing.assert_array_equal(uniforms(1, "a", 5, 0, 3), alone)


def test_threads_do_not_disturb_each_other() -> None:
    def draw(index: int) -> list[float]:
        return [float(uniforms(9, "x", index, k, 1)[0]) for k in range(200)]

    with ThreadPoolExecutor(8) as pool:
        beside = list(pool.map(draw, range(16)))
    assert beside == [draw(index) for index in range(16)]


def test_generators_handed_out_are_their_own() -> None:
    streams = Streams(seed=1, identity=2, index=3, attempt=0)
    first, second = streams.of_sample("x"), streams.of_sample("x")
    first.random(5)
    uniforms(1, "y", 0, 0, 3)
    np.testing.assert_array_equal(second.random(5), streams.of_sample("x").random(5))
    assert streams.of_identity("x").random() != streams.of_sample("x").random()
