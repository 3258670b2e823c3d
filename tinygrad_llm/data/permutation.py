"""A random permutation of range(n), computed where it is asked for, so its memory does not grow.

A Feistel network permutes the numbers of an even count of bits; walking along its cycle to the next
number below n permutes range(n) (Black and Rogaway 2002, "Ciphers with Arbitrary Finite Domains").
"""

from __future__ import annotations

import numpy as np

ROUNDS = 6


def draw_keys(rng: np.random.Generator) -> np.ndarray:
    """What distinguishes one permutation from another, (ROUNDS,) uint64."""
    return rng.integers(1 << 64, size=ROUNDS, dtype=np.uint64)


def permute(positions: np.ndarray, size: int, keys: np.ndarray) -> np.ndarray:
    """Where a permutation of range(`size`) sends `positions` (n,), each below `size`; (n,) int64.

    A call costs about a millisecond and little more for a thousand positions: ask for many.
    """
    half = max(((size - 1).bit_length() + 1) // 2, 1)
    values = positions.astype(np.uint64)
    outside = np.ones(len(values), bool)
    while outside.any():
        values[outside] = _feistel(values[outside], half, keys)
        outside = values >= size
    return values.astype(np.int64)


def _feistel(values: np.ndarray, half: int, keys: np.ndarray) -> np.ndarray:
    """A permutation of the numbers of 2 `half` bits: a round is undone whatever it mixes in."""
    mask = (1 << half) - 1
    left, right = values >> half, values & mask
    for key in keys:
        left, right = right, left ^ (_mix(right ^ key) & mask)
    return (left << half) | right


def _mix(x: np.ndarray) -> np.ndarray:
    """The output function of SplitMix64 (Steele, Lea and Flood 2014)."""
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB
    return x ^ (x >> 31)
