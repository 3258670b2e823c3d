"""baselines.py: n-grams by hand and by the slow definition; their probabilities sum to 1."""

import math
import time
import zlib
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.random_texts import shared_text
from tinygrad_llm.data.baselines import (
    _discounts,
    fill_hidden,
    gzip_bits_per_byte,
    ngram_bits_per_byte,
    ngram_probabilities,
)
from tinygrad_llm.errors import InputError


def slow_discounts(counts):
    n = Counter(counts)
    if all(n[j] for j in (1, 2, 3, 4)):
        y = n[1] / (n[1] + 2 * n[2])
        d = {j: j - (j + 1) * y * n[j + 1] / n[j] for j in (1, 2, 3)}
        if all(0 < d[j] <= j for j in d):
            return d
    return {1: 0.5, 2: 1.0, 3: 1.5}


def slow(train, history, token, order, size):
    """p(token | history) by the formula; history: a tuple of up to order - 1 ids."""
    p = 1 / size
    for n in range(1, len(history) + 2):
        h = history[len(history) + 1 - n :]
        grams = zip(*(train[i:] for i in range(min(n + 1, order))))
        c = Counter(grams) if n == order else Counter(gram[1:] for gram in set(grams))
        d = slow_discounts(c.values())
        following = [count for gram, count in c.items() if gram[:-1] == h]
        if following:
            own = c[(*h, token)]
            kept = own - d[min(own, 3)] if own else 0
            p = (kept + sum(d[min(count, 3)] for count in following) * p) / sum(following)
    return p


def test_a_bigram_by_hand():
    """Counted on a b a b a c, with V = 3. No count is 3, so D(1) = 0.5 and D(2) = 1.

    One id stands before each of a, b and c: p(w) = (1 - 0.5 + 1.5 * 1/3) / 3 = 1/3.
    After a stand b, b, c: p(b | a) = (2 - 1 + 1.5 * 1/3) / 3 = 1/2, p(a | a) = (0 + 1.5 * 1/3) / 3
    = 1/6. After b stand a, a: p(a | b) = (2 - 1 + 1 * 1/3) / 2 = 2/3. Nothing stands after c:
    p(a | c) = p(a).
    """
    a, b, c = range(3)
    p = ngram_probabilities([a, b, a, b, a, c], [a, b, a, a, c, a], order=2)
    assert p == pytest.approx([1 / 3, 1 / 2, 2 / 3, 1 / 6, 1 / 3, 1 / 3], abs=1e-15)
    assert ngram_bits_per_byte([a, b, a, b, a, c], [a, b], 4, order=2) == pytest.approx(
        (math.log2(3) + 1) / 4
    )


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("size, length", [(3, 30), (12, 3000), (400, 900)])
def test_the_probabilities_are_those_of_the_formula(order, size, length):
    rng = np.random.default_rng(order)
    weights = 1 / np.arange(1, size + 1)
    train, ids = (rng.choice(size, n, p=weights / weights.sum()) for n in (length, 30))
    p = ngram_probabilities(train, ids, order=order, vocab_size=size)
    histories = [tuple(ids[max(0, i - order + 1) : i].tolist()) for i in range(len(ids))]
    expected = [slow(train.tolist(), h, token, order, size) for h, token in zip(histories, ids)]
    assert p == pytest.approx(expected, rel=1e-12)


def test_the_discounts_by_hand():
    """n_1 to n_4 are 4, 2, 1, 1, so Y = 1/2: 1 - 2 Y 2/4, 2 - 3 Y 1/2 and 3 - 4 Y 1/1."""
    assert _discounts(np.array([1, 1, 1, 1, 2, 2, 3, 4])).tolist() == [0, 0.5, 1.25, 1.0]
    for counts in ([1, 1, 2], [1, 2, 3, 3, 3, 4]):  # no n_3; D(2) below 0
        assert _discounts(np.array(counts)).tolist() == [0, 0.5, 1.0, 1.5]


@given(
    st.lists(st.integers(0, 4), min_size=6, max_size=60),
    st.lists(st.integers(0, 5), max_size=4),
    st.integers(1, 4),
)
def test_the_probabilities_of_the_next_token_sum_to_one(train, history, order):
    p = [
        ngram_probabilities(train, [*history, token], order=order, vocab_size=6)[-1]
        for token in range(6)
    ]
    assert min(p) > 0 and sum(p) == pytest.approx(1, abs=1e-12)


def test_more_context_helps_on_shakespeare():
    """Bits per character, as a model that sees one or two characters must be beaten by."""
    ids = np.frombuffer(shared_text("tinyshakespeare.txt").encode(), np.uint8)
    train, held_out = ids[:1_003_854], ids[1_003_854:]
    bits = [ngram_bits_per_byte(train, held_out, len(held_out), order=n) for n in (1, 2, 3)]
    assert bits == pytest.approx([4.8, 3.58, 2.94], abs=0.05)


def test_half_a_million_tokens_take_less_than_three_seconds():
    ids = np.minimum(np.random.default_rng(0).zipf(1.3, 500_000), 8191)
    start = time.perf_counter()
    ngram_bits_per_byte(ids[:450_000], ids[450_000:], 200_000, order=3)
    assert time.perf_counter() - start < 3


@pytest.mark.parametrize(
    "train, ids, settings, message",
    [
        ([1, 2], [1], {"order": 2}, r"more ids than that to count \(2\)"),
        ([1, 2, 3], [], {"order": 2}, r"1 or more to score \(0\)"),
        ([1, 2, 3], [1], {"order": 0}, "an order of 1 or more"),
        ([1, 2, 3], [9], {"order": 2, "vocab_size": 9}, "ids up to 9 over a vocabulary of 9"),
        ([1, 2, -3], [1], {"order": 2}, "ids go from 0"),
        ([1, 2, 3, 4, 5], [1], {"order": 4, "vocab_size": 60_000}, "use a lower order"),
    ],
)
def test_what_cannot_be_counted_is_refused(train, ids, settings, message):
    with pytest.raises(InputError, match=message):
        ngram_probabilities(train, ids, **settings)


def test_gzip_is_deflate_with_eighteen_bytes_around_it():
    text = b"to be or not to be, that is the question " * 20
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    size = len(deflate.compress(text) + deflate.flush()) + 18
    assert gzip_bits_per_byte(text) == 8 * size / len(text)
    with pytest.raises(InputError, match="no text"):
        gzip_bits_per_byte(b"")


def test_trigrams_fill_a_place_by_bayes_rule():
    """Every word is put into the place, and the whole text scored: what changes is the answer."""
    rng = np.random.default_rng(0)
    train, ids = rng.integers(6, size=300), rng.integers(6, size=12)
    for place in (0, 1, 5, 11):
        hidden = np.arange(12) == place
        texts = [np.where(hidden, word, ids) for word in range(6)]
        padded = [np.concatenate([[6, 6], text]) for text in texts]  # a word that is never seen
        for both in (True, False):
            last = len(ids) + 2 if both else place + 3
            cut = [text[:last] for text in padded]
            whole = [ngram_probabilities(train, text, order=3, vocab_size=7) for text in cut]
            p = np.array([np.prod(text[2:]) for text in whole])
            best, found = fill_hidden(train, ids, hidden, both_sides=both, vocab_size=6)
            assert found == pytest.approx([(p / p.sum())[ids[place]]])
            assert best == p.argmax()


def test_a_hidden_neighbour_is_not_looked_at():
    rng = np.random.default_rng(0)
    train, ids = rng.integers(6, size=300), rng.integers(6, size=9)
    hidden = np.isin(np.arange(9), (3, 4))
    other = np.where(np.arange(9) == 4, (ids + 1) % 6, ids)
    first, second = (fill_hidden(train, x, hidden, vocab_size=6) for x in (ids, other))
    assert first[1][0] == second[1][0] and first[1][1] != second[1][1]


def test_a_place_that_its_neighbours_decide():
    train = np.tile([0, 1, 2, 3, 2, 4], 40)
    ids = np.array([3, 2, 4, 0, 1, 2, 3])
    best, p = fill_hidden(train, ids, np.isin(np.arange(7), (2, 4)), vocab_size=5)
    assert best.tolist() == [4, 1] and (p > 0.9).all()
