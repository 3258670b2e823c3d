"""What simpler models make of a text: gzip, and n-grams with modified Kneser-Ney smoothing.

Chen and Goodman 1998, "An Empirical Study of Smoothing Techniques for Language Modeling".
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tinygrad_llm.errors import InputError

FALLBACK = (0.5, 1.0, 1.5)  # KenLM's discounts for counts that allow no estimate
PLACES = 32  # that are filled at a time: each takes some arrays of 5 V numbers


def gzip_bits_per_byte(text: bytes) -> float:
    """8 * the length of `text` under gzip -9 / its length."""
    if not text:
        raise InputError("gzip was given no text; hold out a larger part")
    return 8 * len(gzip.compress(text, 9, mtime=0)) / len(text)


def ngram_bits_per_byte(
    train_ids: np.ndarray,
    valid_ids: np.ndarray,
    n_bytes: int,
    *,
    order: int = 3,
    vocab_size: int | None = None,
) -> float:
    """-sum_i log2 p(w_i | the `order` - 1 ids before it) / `n_bytes`, p counted on `train_ids`.

    n_bytes: the bytes of text that `valid_ids` stand for. The rest is as in `ngram_probabilities`.
    """
    probabilities = ngram_probabilities(train_ids, valid_ids, order=order, vocab_size=vocab_size)
    return float(-np.log2(probabilities).sum() / n_bytes)


def ngram_probabilities(
    train_ids: np.ndarray, ids: np.ndarray, *, order: int, vocab_size: int | None = None
) -> np.ndarray:
    """p(w | h) of each of `ids` (n,), h being the up to `order` - 1 ids before it; (n,) float64.

        p(w | h) = (c(h w) - D(c(h w)) + sum_v D(c(h v)) p(w | h')) / sum_v c(h v)

    h' is h without its first id; the p that the empty h falls back on is 1 / V. For a context never
    seen, p(w | h) = p(w | h'). c counts n-grams in `train_ids` at the highest order; below it, how
    many different ids stand before the n-gram there. vocab_size: V, by default the largest id + 1.
    InputError for too few ids, ids outside the vocabulary, and V^order of 2^63 or more.
    """
    train_ids, ids = np.asarray(train_ids, np.int64), np.asarray(ids, np.int64)
    base = _vocabulary(train_ids, ids, order, vocab_size)
    return _score(_tables(train_ids, min(order, len(ids)), order, base), ids, base)


def fill_hidden(
    train_ids: np.ndarray,
    ids: np.ndarray,
    hidden: np.ndarray,
    *,
    both_sides: bool = True,
    vocab_size: int,
    progress: Callable[[int], object] = lambda done: None,
) -> tuple[np.ndarray, np.ndarray]:
    """What trigrams put at the hidden places of a text: (their best ids (n,), p of the true (n,)).

        p(w | rest) is in proportion to p(w | a b) p(c | b w) p(d | w c),  where a b w c d stand

    one behind the other: Bayes' rule for the trigram model of `ngram_probabilities`. both_sides
    False leaves out the last two factors, what stands behind. ids (N,): the whole text; hidden (N,)
    bool. A neighbour that is hidden itself is not looked at. progress is told of places done.
    """
    train_ids, ids = np.asarray(train_ids, np.int64), np.asarray(ids, np.int64)
    unknown = vocab_size  # an id that is nowhere in train_ids, so that shorter contexts decide
    base = _vocabulary(train_ids, ids, 3, vocab_size + 1)
    tables = _tables(train_ids, 3, 3, base)
    places = np.flatnonzero(hidden)
    seen = np.pad(np.where(hidden, unknown, ids), 2, constant_values=unknown)
    best, p_true = np.empty(len(places), np.int64), np.empty(len(places))
    for start in range(0, len(places), PLACES):
        some = places[start : start + PLACES]
        p = _filled(tables, seen[some[:, None] + np.arange(5)], vocab_size, base, both_sides)
        best[start : start + PLACES] = p.argmax(-1)
        p_true[start : start + PLACES] = p[np.arange(len(some)), ids[some]]
        progress(len(some))
    return best, p_true


def _filled(
    tables: list[_Table], around: np.ndarray, vocab_size: int, base: int, both_sides: bool
) -> np.ndarray:
    """around (n, 5), the place and two ids on either side -> p of every word there (n, V)."""
    texts = np.repeat(around[:, None], vocab_size, axis=1)  # (n, V, 5)
    texts[..., 2] = np.arange(vocab_size)
    factors = _score(tables, texts.reshape(-1), base).reshape(texts.shape)
    p = factors[..., 2]
    if both_sides:
        for i in (3, 4):
            p = p * np.where(around[:, None, i] == vocab_size, 1.0, factors[..., i])
    return p / p.sum(-1, keepdims=True)


class _Table(NamedTuple):
    """Of n-grams of one length: those that were counted, with what each keeps of its count, and
    their contexts, with what each passes on and its count.
    """

    grams: np.ndarray
    kept: np.ndarray
    contexts: np.ndarray
    passed_on: np.ndarray
    total: np.ndarray


def _tables(train_ids: np.ndarray, longest: int, order: int, base: int) -> list[_Table]:
    """The tables of lengths 1 to `longest`, for n-grams of this order."""
    tables = []
    for n in range(1, longest + 1):
        grams, counts = _count(train_ids, n, base, highest=n == order)
        discounts = _discounts(counts)[np.minimum(counts, 3)]
        contexts, first = np.unique(grams // base, return_index=True)
        passed_on, total = (np.add.reduceat(values, first) for values in (discounts, counts))
        tables.append(_Table(grams, counts - discounts, contexts, passed_on, total))
    return tables


def _score(tables: list[_Table], ids: np.ndarray, base: int) -> np.ndarray:
    """p of each of ids (n,), from the shortest n-grams to the longest."""
    p = np.full(len(ids), 1 / base)
    for n, table in enumerate(tables, 1):
        asked = _codes(ids, n, base)
        kept = _look_up(table.grams, table.kept, asked)
        passed_on = _look_up(table.contexts, table.passed_on, asked // base)
        total = _look_up(table.contexts, table.total, asked // base)
        lower = p[n - 1 :]
        p[n - 1 :] = np.where(total > 0, (kept + passed_on * lower) / np.maximum(total, 1), lower)
    return p


def _vocabulary(train_ids: np.ndarray, ids: np.ndarray, order: int, vocab_size: int | None) -> int:
    if order < 1 or min(len(train_ids) - order, len(ids)) < 1:
        raise InputError(
            f"n-grams of order {order} need an order of 1 or more, more ids than that "
            f"to count ({len(train_ids)}) and 1 or more to score ({len(ids)})"
        )
    largest = int(max(train_ids.max(), ids.max()))
    base = largest + 1 if vocab_size is None else vocab_size
    if largest >= base or min(train_ids.min(), ids.min()) < 0 or base**order >= 1 << 63:
        raise InputError(
            f"{order}-grams of ids up to {largest} over a vocabulary of {base} cannot "
            "be counted: ids go from 0 to the vocabulary's size - 1, and its power "
            "to the order stays below 2^63; use a lower order"
        )
    return base


def _codes(ids: np.ndarray, n: int, base: int) -> np.ndarray:
    """The n-gram at each position as one number whose digits to the base V are its ids."""
    codes = np.zeros(len(ids) - n + 1, np.int64)
    for i in range(n):
        codes = codes * base + ids[i : i + len(codes)]
    return codes


def _count(ids: np.ndarray, n: int, base: int, *, highest: bool) -> tuple[np.ndarray, np.ndarray]:
    """(codes of the n-grams, sorted; c of each)."""
    if highest:
        return np.unique(_codes(ids, n, base), return_counts=True)
    longer = np.unique(_codes(ids, n + 1, base))
    return np.unique(longer % base**n, return_counts=True)


def _discounts(counts: np.ndarray) -> np.ndarray:
    """D(0) = 0, D(1), D(2) and D(3 or more).

    D(j) = j - (j + 1) Y n_{j+1} / n_j with Y = n_1 / (n_1 + 2 n_2); n_j n-grams have the count j.
    """
    n = [int((counts == j).sum()) for j in range(5)]
    if all(n[1:]):
        y = n[1] / (n[1] + 2 * n[2])
        discounts = [j - (j + 1) * y * n[j + 1] / n[j] for j in (1, 2, 3)]
        if all(0 < discount <= j for j, discount in enumerate(discounts, 1)):
            return np.array([0, *discounts])
    return np.array([0, *FALLBACK])


def _look_up(keys: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The value of each of `wanted` among the sorted `keys`, 0 where it is missing."""
    found = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[found] == wanted, values[found], 0)
