"""permutation.py: every result is a permutation, and all of them are equally frequent."""

import math
from collections import Counter

import numpy as np
import pytest

from tinygrad_llm.data.permutation import draw_keys, permute


def draw(size, rng):
    return permute(np.arange(size), size, draw_keys(rng))


@pytest.mark.parametrize("size", [*range(1, 40), 63, 64, 65, 255, 256, 257, 4096, 4097, 100_003])
def test_it_is_a_permutation(size):
    for seed in range(3):
        assert np.array_equal(np.sort(draw(size, np.random.default_rng(seed))), np.arange(size))


def test_each_position_is_computed_on_its_own():
    keys = draw_keys(np.random.default_rng(0))
    whole = permute(np.arange(1000), 1000, keys)
    some = np.random.default_rng(1).integers(1000, size=50)
    assert np.array_equal(permute(some, 1000, keys), whole[some])


def chi_squared(orders, possible):
    expected = len(orders) / possible
    missing = possible - len(set(orders))
    return (
        sum((count - expected) ** 2 / expected for count in Counter(orders).values())
        + missing * expected
    )


@pytest.mark.parametrize("size, positions", [(64, [0, 1, 8, 9]), (4, [0, 1, 2, 3])])
def test_all_orders_are_equally_frequent(size, positions):
    """24 orders of four, 23 degrees of freedom: chi squared is above 58 in one of 10,000 cases.

    The four of 64 share their halves in pairs, which four rounds are too few to hide.
    """
    rng, draws = np.random.default_rng(0), 1500
    orders = [
        tuple(np.argsort(permute(np.array(positions), size, draw_keys(rng))).tolist())
        for _ in range(draws)
    ]
    assert chi_squared(orders, math.factorial(4)) < 58


def test_neighbours_land_anywhere():
    """The distance of neighbours mod 101 takes 100 values; chi squared: 99 degrees of freedom."""
    rng, draws = np.random.default_rng(0), 200
    distances = np.concatenate([np.diff(draw(101, rng)) % 101 for _ in range(draws)])
    assert chi_squared(distances.tolist(), 100) < 160
