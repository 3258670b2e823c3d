"""The compiled scanner cuts every text where the patterns do."""

import random

import numpy as np
import pytest
from numba import njit

from tests.random_texts import random_texts
from tinygrad_llm.kernels.pieces import KINDS, next_piece
from tinygrad_llm.text.patterns import PATTERNS, splitter
from tinygrad_llm.text.streams import well_formed
from tinygrad_llm.text.unicode_classes import unicode_classes

TRICKY = " \n\r\t'sSſtTrReEvVlLmMdDaZ19٣½é中!…\u00a0\u2003\u2028"


@njit
def cut(text, end, classes, kind):
    stops = [0]
    while stops[-1] < end:
        stops.append(next_piece(text, stops[-1], end, classes, kind))
    return stops


def pieces(text, name):
    text = text.encode()
    behind = b"letters behind the end"
    padded = np.frombuffer(text + behind, np.uint8)
    stops = cut(padded, len(text), unicode_classes(), KINDS[name])
    return [text[a:b].decode() for a, b in zip(stops, stops[1:])]


def test_every_pattern_has_a_scanner():
    assert KINDS.keys() == PATTERNS.keys()


@pytest.mark.parametrize("name", PATTERNS)
def test_random_texts(name):
    rng = random.Random(4)
    tricky = ["".join(rng.choices(TRICKY, k=rng.randrange(1, 30))) for _ in range(5000)]
    for text in map(well_formed, random_texts(5000, seed=9) + tricky):
        assert pieces(text, name) == splitter(name)(text), repr(text)
